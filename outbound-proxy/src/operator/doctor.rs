//! `outbound-proxy doctor`: what works, what does not, and what to do about it.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;

use relay_link::dns::Dns;
use relay_link::limits::OUTBOUND_PORT;
use relay_link::operator::findings::{Finding, PATIENCE, addresses, metrics, name, pointer, port, print};
use relay_link::operator::folder::Folder;

use super::config::Config;
use super::{Doing, Failure};
use crate::address::{self, Policy};
use crate::source::{self, Machine, Source, source};

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
    findings.extend(source::FAR.iter().filter_map(|far| leaving(&own, &here, *far, &Policy::new(config.own.clone()))));
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

/// Far servers, and SPF records, know this proxy by its name: letters must come from where that leads.
fn leaving(own: &str, here: &[IpAddr], far: IpAddr, machine: &impl Machine) -> Option<Finding> {
    let usual = machine.usual(far)?;
    let (kind, record) = if far.is_ipv4() { ("IPv4", "A") } else { ("IPv6", "AAAA") };
    let named = || here.iter().any(|address| address.is_ipv4() == far.is_ipv4());
    Some(match source(here, far, machine) {
        Source::Named(from) => Finding::good(format!("{kind}: letters leave from {from}, an address of {own}")),
        Source::Never => Finding::weak(
            format!("{kind}: no letter leaves by it, since {own} has no such address of this machine"),
            format!(
                "for letters to leave from {usual}, give {own} that {record} record, and {usual} the PTR record {own}"
            ),
        ),
        Source::Usual if named() && !machine.is_public(usual) => Finding::good(format!(
            "{kind}: letters leave from {usual}; the router that translates it must make an address of {own} of it"
        )),
        Source::Usual if named() && here.iter().any(|address| machine.is_outside(*address)) => {
            Finding::good(format!("{kind}: letters leave from {usual}, by the outside that `own` names"))
        }
        Source::Usual => Finding::bad(
            format!("{kind}: letters leave from {usual}, which is no address of {own}: far servers compare the two"),
            format!(
                "give {own} that {record} record (and {usual} the PTR record {own}), or this machine an address of {own}"
            ),
        ),
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

    /// A machine with these addresses, of which the first of a kind is the usual.
    struct Has<'a>(&'a [&'a str]);

    impl Machine for Has<'_> {
        fn has(&self, it: IpAddr) -> bool {
            self.0.iter().any(|own| own.parse() == Ok(it))
        }

        fn is_outside(&self, _: IpAddr) -> bool {
            false
        }

        fn usual(&self, to: IpAddr) -> Option<IpAddr> {
            self.0.iter().map(|own| own.parse::<IpAddr>().unwrap()).find(|own| own.is_ipv4() == to.is_ipv4())
        }

        fn is_public(&self, it: IpAddr) -> bool {
            Policy::default().allows(it)
        }
    }

    #[test]
    fn where_letters_leave_from_is_compared_with_the_name() {
        let says = |here: &[&str], machine: &[&str]| {
            let here: Vec<IpAddr> = here.iter().map(|text| text.parse().unwrap()).collect();
            source::FAR.map(|far| leaving("clean.test", &here, far, &Has(machine)).map(|said| said.to_string()))
        };
        let [four, six] = says(&["44.0.0.20"], &["44.0.0.22", "44.0.0.20", "2a00::22"]).map(Option::unwrap);
        assert!(four.starts_with("good") && four.contains("44.0.0.20"), "{four}");
        assert!(six.starts_with("weak") && six.contains("no letter leaves") && six.contains("2a00::22"), "{six}");
        let [four, six] = says(&["44.0.0.9"], &["44.0.0.22"]);
        assert!(four.is_some_and(|four| four.starts_with("BAD") && four.contains("44.0.0.22")));
        assert_eq!(six, None, "there is no way by it");
        let [four, _] = says(&["44.0.0.9"], &["10.0.0.2"]);
        assert!(four.is_some_and(|four| four.starts_with("good") && four.contains("router")));
    }

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
