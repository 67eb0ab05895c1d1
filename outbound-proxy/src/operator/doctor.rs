//! `outbound-proxy doctor`: what works, what does not, and what to do about it.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;

use relay_link::dns::Dns;
use relay_link::limits::OUTBOUND_PORT;
use relay_link::operator::findings::{Finding, PATIENCE, addresses, metrics, name, port, print};
use relay_link::operator::folder::Folder;

use super::config::Config;
use super::{Doing, Failure};
use crate::address::{self, Policy};

/// Whose mail hosts are asked whether port 25 is open to this machine; they have many, and always answer.
const REACHED: [&str; 2] = ["gmail.com", "outlook.com"];

/// Looks at everything; fails when something is wrong.
pub(super) fn doctor(folder: &Folder, config: &Config) -> Result<ExitCode, Failure> {
    folder.link_key()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().doing(|| "a runtime".to_owned())?;
    let dns = Arc::new(Dns::new(config.upstreams()));
    let own = config.name();
    let here = runtime.block_on(addresses(&dns, &own));
    let mut findings =
        vec![port("outbound-proxy", &config.bind, "link", OUTBOUND_PORT, None), public_name(&own, &here)];
    findings.extend(here.iter().map(|address| runtime.block_on(pointer(&dns, &own, *address))));
    findings.extend(here.iter().filter_map(|at| translated(*at, &config.own, address::is_own(*at))));
    findings.push(runtime.block_on(port_25(&dns)));
    findings.extend(metrics(config.metrics));
    Ok(print(&findings))
}

/// Far servers compare that name with the address that mail comes from.
fn public_name(own: &str, here: &[IpAddr]) -> Finding {
    match here.iter().find(|address| !Policy::default().allows(**address)) {
        Some(inner) => Finding::bad(
            format!("{own} is {inner}, which is no public address"),
            "far servers compare that name with the address mail comes from",
        ),
        None => name(own, here),
    }
}

/// Far servers distrust an address whose PTR record does not say the EHLO name.
async fn pointer(dns: &Dns, own: &str, address: IpAddr) -> Finding {
    let advice = format!("the provider of the address can set it: {address} must be called {own}");
    match dns.names(address).await {
        Ok(names) if names.iter().any(|name| name == own) => Finding::good(format!("PTR: {address} is called {own}")),
        Ok(names) if names.is_empty() => Finding::bad(format!("PTR: {address} has no name"), advice),
        Ok(names) => Finding::bad(format!("PTR: {address} is called {}", names.join(", ")), advice),
        Err(error) => Finding::bad(format!("PTR of {address}: {error}"), "is `dns` in the configuration right?"),
    }
}

/// An address that a router translates (a cloud's 1:1 NAT) is this machine's all the same, and no interface says so.
fn translated(address: IpAddr, own: &[IpAddr], is_here: bool) -> Option<Finding> {
    let named = own.iter().any(|own| own.to_canonical() == address);
    (!named && !is_here && Policy::default().allows(address)).then(|| {
        Finding::weak(
            format!("no interface of this machine has {address}: homes may be connected with it by that address"),
            format!("say `own = [\"{address}\"]` in the configuration"),
        )
    })
}

/// Many providers close port 25 until they are asked.
async fn port_25(dns: &Dns) -> Finding {
    let mut last = "DNS knows no mail host".to_owned();
    for domain in REACHED {
        for host in dns.mail_hosts(domain).await.unwrap_or_default().iter().take(2) {
            for address in dns.addresses(host).await.unwrap_or_default() {
                match TcpStream::connect_timeout(&SocketAddr::new(address, crate::limits::PORT), PATIENCE) {
                    Ok(_) => return Finding::good(format!("port 25 is open from here: {host} answers")),
                    Err(error) if address::is_own(address) => last = format!("{host} is this machine: {error}"),
                    Err(error) => last = format!("{host} ({address}): {error}"),
                }
            }
        }
    }
    Finding::bad(format!("port 25 seems closed from here: {last}"), "ask the provider of this machine to open it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_a_router_translates_must_be_named() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (ours, mapped, inner) = (address("44.0.0.30"), address("::ffff:44.0.0.30"), address("192.168.7.2"));
        let said = translated(ours, &[], false).unwrap().to_string();
        assert!(said.contains("weak") && said.contains("own = [\"44.0.0.30\"]"), "{said}");
        assert!(translated(ours, &[ours], false).is_none() && translated(ours, &[mapped], false).is_none(), "named");
        assert!(translated(ours, &[], true).is_none(), "an interface has it");
        assert!(translated(inner, &[], false).is_none(), "nobody is connected with such a one");
    }
}
