//! `inbound-proxy doctor`: what works, what does not, and what to do about it.

use std::net::IpAddr;
use std::process::ExitCode;

use relay_link::dns::Dns;
use relay_link::homes::Home;
use relay_link::limits::INBOUND_PORT;
use relay_link::operator::findings::{Finding, addresses, metrics, name, port, print};
use relay_link::operator::folder::Folder;

use super::certificate::certificate;
use super::config::Config;
use super::{Doing, Failure};
use crate::grant::HomeGrant;
use crate::route::Map;

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
    let all = folder.homes::<HomeGrant>()?.all().doing(|| "the homes".to_owned())?;
    findings.extend(all.iter().filter_map(|(home, facts)| absent(home, facts)));
    findings.extend(all.iter().flat_map(|(home, facts)| homes_names(home, facts, &here, &lookup)));
    findings.extend(streets(all.iter().map(|(home, facts)| (home.as_str(), facts)), config));
    Ok(print(&findings))
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

/// A home's names must lead here.
fn homes_names(
    home: &str,
    facts: &Home<HomeGrant>,
    here: &[IpAddr],
    lookup: &impl Fn(&str) -> Vec<IpAddr>,
) -> Vec<Finding> {
    let grant = &facts.grant;
    let leads_here = |address: &IpAddr| here.contains(address) || grant.addresses.contains(address);
    let name = |name: &String| match lookup(name).as_slice() {
        [] => Finding::bad(format!("{home}: {name} has no address in DNS"), "its family must point it at this proxy"),
        found if found.iter().all(leads_here) => Finding::good(format!("{home}: {name} leads here")),
        found => Finding::bad(format!("{home}: {name} leads to {found:?}"), "its family must point it at this proxy"),
    };
    grant.names.iter().map(name).collect()
}

/// Senders without SNI are served inside one street only (DESIGN section 7): the operator is told where that fails.
fn streets<'a>(homes: impl Iterator<Item = (&'a str, &'a Home<HomeGrant>)>, config: &Config) -> Option<Finding> {
    let shared = homes.filter(|(_, home)| home.grant.addresses.is_empty());
    let homes = shared.map(|(name, home)| (name.to_owned(), home.grant.clone())).collect();
    let map = Map { homes, streets: config.streets.clone(), hides_some: false };
    let elsewhere = IpAddr::from([0, 0, 0, 0]);
    (map.homes.len() > 1 && map.street(elsewhere).is_none()).then(|| {
        Finding::weak(
            "homes of several streets share an address: a sender that sends no SNI and no ticket is never served",
            "give each street its own address (`streets`), or each home (`invite --address`)",
        )
    })
}
