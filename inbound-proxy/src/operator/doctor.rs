//! `inbound-proxy doctor`: what works, what does not, and what to do about it.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::ExitCode;

use relay_link::dns::Dns;
use relay_link::homes::Home;
use relay_link::limits::INBOUND_PORT;

use super::config::{Config, is_host};
use super::folder::Folder;
use super::run::PATIENCE;
use super::{Doing, Failure};
use crate::grant::HomeGrant;
use crate::route::Map;

/// Looks at everything; fails when something is wrong.
pub(super) fn doctor(folder: &Folder, config: &Config) -> Result<ExitCode, Failure> {
    let own = config.name();
    let mut findings = vec![port("mail", 25, Some("220 ")), port("link", INBOUND_PORT, None)];
    let lookup = Lookup::new(config)?;
    let here = lookup.addresses(&own);
    findings.push(name(&own, &here));
    folder.certificate(config)?;
    if config.tls_cert.is_none() {
        findings.push(Finding::weak(
            "its certificate is self-signed: senders that check certificates learn nothing from it, and wait",
            "say `tls-cert` and `tls-key` in the configuration",
        ));
    }
    let all = folder.homes()?.all().doing(|| "the homes".to_owned())?;
    findings.extend(all.iter().flat_map(|(home, facts)| homes_names(home, facts, &here, &lookup)));
    findings.extend(streets(all.iter().map(|(home, facts)| (home.as_str(), facts)), config));
    findings.iter().for_each(Finding::print);
    Ok(if findings.iter().any(|finding| finding.state == "BAD") { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

struct Finding {
    state: &'static str,
    words: String,
    advice: String,
}

impl Finding {
    fn good(words: impl Into<String>) -> Self {
        Self { state: "good", words: words.into(), advice: String::new() }
    }

    fn weak(words: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { state: "weak", words: words.into(), advice: advice.into() }
    }

    fn bad(words: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { state: "BAD", words: words.into(), advice: advice.into() }
    }

    fn print(&self) {
        println!("{:4}  {}", self.state, self.words);
        if !self.advice.is_empty() {
            println!("      -> {}", self.advice);
        }
    }
}

/// Whether the proxy answers on this machine; `greeting` is how it begins.
fn port(what: &str, port: u16, greeting: Option<&str>) -> Finding {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let talk = || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut said = [0; 4];
        if greeting.is_some() {
            stream.read_exact(&mut said)?;
        }
        std::io::Result::Ok(said)
    };
    match talk() {
        Ok(said) if greeting.is_none_or(|greeting| said == *greeting.as_bytes()) => {
            Finding::good(format!("{what}: port {port} answers"))
        }
        Ok(_) => Finding::bad(format!("{what}: something else answers at port {port}"), "which program has that port?"),
        Err(error) => Finding::bad(format!("{what}: port {port}: {error}"), "is `inbound-proxy run` running?"),
    }
}

/// Asks the resolvers that the proxy itself asks.
struct Lookup {
    dns: Dns,
    runtime: tokio::runtime::Runtime,
}

impl Lookup {
    fn new(config: &Config) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self { dns: Dns::new(config.upstreams()), runtime: runtime.doing(|| "a runtime".to_owned())? })
    }

    fn addresses(&self, host: &str) -> Vec<IpAddr> {
        let found = self.runtime.block_on(self.dns.addresses(host)).unwrap_or_default();
        found.iter().map(IpAddr::to_canonical).collect()
    }
}

fn name(own: &str, here: &[IpAddr]) -> Finding {
    match here {
        _ if !is_host(own) => {
            Finding::bad(format!("`{own}` is no name for the world"), "say `name = ...` in the configuration")
        }
        [] => Finding::bad(format!("{own} has no address in DNS"), "homes dial that name: give it an A or AAAA record"),
        found => Finding::good(format!("{own} is {found:?}")),
    }
}

/// A home's names must lead here.
fn homes_names(home: &str, facts: &Home<HomeGrant>, here: &[IpAddr], lookup: &Lookup) -> Vec<Finding> {
    let grant = &facts.grant;
    let leads_here = |address: &IpAddr| here.contains(address) || grant.addresses.contains(address);
    let name = |name: &String| match lookup.addresses(name).as_slice() {
        [] => Finding::bad(format!("{home}: {name} has no address in DNS"), "its family must point it at this proxy"),
        found if found.iter().all(leads_here) => Finding::good(format!("{home}: {name} leads here")),
        found => Finding::bad(format!("{home}: {name} leads to {found:?}"), "its family must point it at this proxy"),
    };
    grant.names.iter().map(name).collect()
}

/// Senders without SNI are served inside one street only (DESIGN section 7): the operator is told where that fails.
fn streets<'a>(homes: impl Iterator<Item = (&'a str, &'a Home<HomeGrant>)>, config: &Config) -> Option<Finding> {
    let shared = homes.filter(|(_, home)| home.paired.is_some() && home.grant.addresses.is_empty());
    let homes = shared.map(|(name, home)| (name.to_owned(), home.grant.clone())).collect();
    let map = Map { homes, streets: config.streets.clone() };
    let elsewhere = IpAddr::from([0, 0, 0, 0]);
    (map.homes.len() > 1 && map.street(elsewhere).is_none()).then(|| {
        Finding::weak(
            "homes of several streets share an address: a sender that sends no SNI and no ticket is never served",
            "give each street its own address (`streets`), or each home (`invite --address`)",
        )
    })
}
