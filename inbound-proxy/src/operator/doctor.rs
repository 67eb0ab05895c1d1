//! `inbound-proxy doctor`: what works, what does not, and what to do about it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use relay_link::dns::Dns;
use relay_link::homes::Home;
use relay_link::limits::INBOUND_PORT;
use relay_link::operator::findings::{Finding, addresses, metrics, name, port, print};
use relay_link::operator::folder::Folder;

use super::certificate::certificate;
use super::config::Config;
use super::whither::Whither;
use super::{Doing, Failure};
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
    let found = names.map(|name| (name.clone(), runtime.block_on(dns.all_addresses(name)).ok())).collect();
    let map = Map {
        homes: all.iter().map(|(home, facts)| (home.clone(), facts.grant.clone())).collect(),
        hides_some: !homes.are_all_read().doing(|| "the homes".to_owned())?,
        streets: config.streets.clone(),
        strays: known(&all)?,
    };
    findings.extend(Whither::new(map, found, Here::new(&here, &config.bind)).findings());
    Ok(print(&findings))
}

/// Where the names led within the last day, as `run` has seen it: what leads there no more may do so still for others. This program
/// stands in the process's folder by now, as its user, who may not enter the operator's.
fn known(all: &BTreeMap<String, Home<HomeGrant>>) -> Result<Strays, Failure> {
    let what = || "where the homes' names led".to_owned();
    let leads = Leads::open(Path::new("leads")).doing(what)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let homes = all.iter().map(|(home, facts)| (home.clone(), facts.grant.clone())).collect();
    // What nobody has answered yet is asked for here.
    Ok(Strays { anywhere: BTreeSet::new(), ..leads.strays(&homes, now) })
}

/// A home whose box has not come, or may not: its mail waits.
fn absent(home: &str, facts: &Home<HomeGrant>) -> Option<Finding> {
    facts.paired.is_none().then(|| {
        Finding::weak(
            format!("{home} is not paired: mail for its names waits at its senders"),
            "`postern pair CODE` in its house (`invite` gives a new code), or `inbound-proxy forget` once its names lead elsewhere",
        )
    })
}
