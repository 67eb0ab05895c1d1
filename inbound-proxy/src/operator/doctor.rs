//! `inbound-proxy doctor`: what works, what does not, and what to do about it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use relay_link::dns::Dns;
use relay_link::homes::Home;
use relay_link::limits::INBOUND_PORT;
use relay_link::operator::findings::{Finding, addresses, metrics, name, pointer, port, print};
use relay_link::operator::folder::Folder;

use super::certificate::certificate;
use super::config::Config;
use super::whither::{Found, Whither};
use super::{Doing, Failure};
use crate::asking;
use crate::grant::HomeGrant;
use crate::leads::{Leads, Strays};
use crate::route::{Here, Map};

const PROGRAM: &str = "inbound-proxy";

/// Looks at everything; fails when something is wrong.
pub(super) fn doctor(folder: &Folder, config: &Config) -> Result<ExitCode, Failure> {
    let own = config.name();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (runtime, dns) = (runtime.doing(|| "a runtime".to_owned())?, Dns::new(config.upstreams()));
    let lookup = |host: &str| runtime.block_on(addresses(&dns, host));
    let here = lookup(&own);
    let answers = |what, at, greeting| port(PROGRAM, &config.bind, what, at, greeting);
    let (mail, link) = (answers("mail", 25, Some(b"220 ")), answers("link", INBOUND_PORT, None));
    let mut findings = vec![mail, link, name(&own, &here)];
    // No mail leaves from here; but who looks at it takes a machine without a name for somebody's bot.
    findings.extend(here.iter().map(|address| runtime.block_on(pointer(&dns, &own, *address)).at_worst_weak()));
    findings.extend(metrics(config.metrics));
    certificate(folder, config)?;
    if config.tls_cert.is_none() {
        findings.push(Finding::weak(
            "its certificate is self-signed: senders that check certificates learn nothing from it, and wait",
            "say `tls-cert` and `tls-key` in the configuration",
        ));
    }
    let homes = folder.homes::<HomeGrant>()?;
    let all = homes.all().doing(|| "the homes".to_owned())?;
    findings.extend(all.iter().filter_map(|(home, facts)| absent(home, facts)));
    let names = all.values().flat_map(|facts| &facts.grant.names);
    let found: Found = names.map(|name| (name.clone(), runtime.block_on(asking::name(&dns, name)))).collect();
    let mut heard = found.clone();
    let hosts = found.keys().cloned().collect();
    for name in all.values().filter(|facts| facts.expected).flat_map(|facts| &facts.grant.names) {
        heard.insert(name.clone(), runtime.block_on(asking::expected(&dns, name, &hosts)));
    }
    let granted = all.iter().map(|(home, facts)| (home.clone(), facts.grant.clone())).collect();
    let expected = all.iter().filter(|(_, facts)| facts.expected).map(|(home, _)| home.clone());
    let map = Map {
        strays: strays(&granted, &heard)?,
        homes: granted,
        hides_some: !homes.are_all_read().doing(|| "the homes".to_owned())?,
        streets: config.streets.clone(),
        expected: expected.collect(),
    };
    findings.extend(Whither::new(map, found, Here::new(&here, &config.bind)).findings());
    Ok(print(&findings))
}

/// Where the names lead, as `run` sees it: what it has heard before counts as long as it does there, and so does what is heard now.
/// This program stands in the process's folder by now, as its user, who may not enter the operator's.
fn strays(homes: &BTreeMap<String, HomeGrant>, found: &Found) -> Result<Strays, Failure> {
    let what = || "where the homes' names led".to_owned();
    let leads = Leads::open(Path::new("leads")).doing(what)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(judged(leads, homes, found, now))
}

/// What follows from both.
fn judged(mut leads: Leads, homes: &BTreeMap<String, HomeGrant>, found: &Found, now: u64) -> Strays {
    leads.due(homes.values().flat_map(|grant| &grant.names), now);
    found.iter().for_each(|(name, answer)| leads.heard(name, answer.as_ref(), now));
    leads.strays(homes, now)
}

/// A home whose box has not come, or may not: its mail waits.
fn absent(home: &str, facts: &Home<HomeGrant>) -> Option<Finding> {
    let mail = if facts.expected { "" } else { ": mail for its names waits at its senders" };
    facts.paired.is_none().then(|| {
        Finding::weak(
            format!("{home} is not paired{}{mail}", if facts.expected { " yet" } else { "" }),
            "`postern pair CODE` in its house (`invite` gives a new code), or `inbound-proxy forget` once its names lead elsewhere",
        )
    })
}

#[cfg(test)]
mod tests {
    use relay_link::dns::{Addresses, Silent};

    use super::*;

    /// Its DNS fails for AAAA, or has failed altogether for a month: mail for its neighbours is served all the same, and `run` says so.
    #[test]
    fn doctor_judges_as_the_gate_does() {
        const EVE: &str = "mail.eve.test";
        let [before, now] = ["44.0.0.20", "44.0.0.21"].map(|text| text.parse().unwrap());
        let grant = HomeGrant { names: [EVE.to_owned()].into(), ..HomeGrant::default() };
        let homes = BTreeMap::from([("eve".to_owned(), grant)]);
        let known = || {
            let mut leads = Leads::default();
            leads.due([EVE.to_owned()].iter(), 0);
            leads.heard(EVE, Some(&Addresses::all(vec![before])), 0);
            leads
        };
        let month = 30 * 86_400;
        let judged = |leads, answer| judged(leads, &homes, &Found::from([(EVE.to_owned(), answer)]), month);
        let silent = judged(known(), None);
        assert!(silent.may(before, "eve", false) && !silent.may(now, "eve", false), "the last answer");
        let half = judged(known(), Some(Addresses { found: vec![now], silent: Some(Silent::Six) }));
        assert!(half.may(now, "eve", false) && !half.may(before, "eve", false));
        assert!(judged(Leads::default(), None).may(now, "eve", false), "nobody has ever answered");
    }
}
