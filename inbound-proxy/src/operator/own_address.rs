//! Whether an address can be one home's alone.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use relay_link::dns::Dns;
use tokio::time::timeout;

use super::config::Config;
use super::{Doing, Failure};
use crate::leads::is_public;
use crate::limits;

/// In words, why it cannot; `named`: where the proxy's own name leads.
pub(super) fn unusable(address: IpAddr, config: &Config, named: &[IpAddr]) -> Option<String> {
    if let Some(what) = nobodys(address) {
        return Some(format!(
            "nobody reaches a home at {address}, which is {what}: say an address of this machine that the world has"
        ));
    }
    if is_broadcast(address) {
        return Some(format!(
            "{address} is where this machine reaches all of its network at once: no connection comes there"
        ));
    }
    if let Some((_, street)) = config.streets.iter().find(|(at, _)| at.to_canonical() == address) {
        return Some(format!("{address} is the street {street}'s (`streets` in the configuration)"));
    }
    named.iter().any(|at| at.to_canonical() == address).then(|| {
        let own = config.name();
        format!(
            "{address} is where {own} leads, and so where all homes live that have no address of their own: give this one another, \
             or, if it is the only one, none"
        )
    })
}

/// Whether the kernel says so: it refuses what is not asked for on purpose. (Nothing is sent.)
fn is_broadcast(address: IpAddr) -> bool {
    let reached = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.connect((address, 9));
    address.is_ipv4() && reached().is_err_and(|error: io::Error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// Why connections from elsewhere never arrive there.
fn nobodys(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(four) => nobodys4(four),
        IpAddr::V6(six) => nobodys6(six),
    }
}

fn nobodys4(four: Ipv4Addr) -> Option<&'static str> {
    match four.octets() {
        [0, ..] => Some("no address of a machine (RFC 1122)"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("for documents alone (RFC 5737)"),
        [198, 18..=19, ..] => Some("for benchmarks alone (RFC 2544)"),
        [192, 0, 0, _] | [192, 31, 196, _] | [192, 52, 193, _] | [192, 88, 99, _] => Some("of protocols (RFC 6890)"),
        [127, ..] => Some("this machine's own for itself"),
        [169, 254, ..] => Some("of one cable alone"),
        [224..=239, ..] => Some("of a group"),
        [240..=255, ..] => Some("reserved"),
        _ => None,
    }
}

fn nobodys6(six: Ipv6Addr) -> Option<&'static str> {
    let within = |four: [u16; 2]| {
        let [[a, b], [c, d]] = four.map(u16::to_be_bytes);
        let four = Ipv4Addr::new(a, b, c, d);
        nobodys4(four).is_some() || !is_public(four.into())
    };
    match six.segments() {
        [0, 0, 0, 0, 0, 0, ..] => Some("no address of a machine"),
        [0x64, 0xff9b, ..] => Some("an IPv4 address in disguise (RFC 6052)"),
        [0x2001, 0..=0x1ff, ..] | [0x2620, 0x4f, 0x8000, ..] => Some("of protocols, such as Teredo (RFC 6890)"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("for documents alone (RFC 3849, RFC 9637)"),
        [0x3ffe, ..] => Some("given to nobody"),
        [0x2002, high, low, ..] if within([high, low]) => Some("6to4 of an IPv4 address that nobody reaches"),
        [0xfe80..=0xfebf, ..] => Some("of one cable alone"),
        [0xff00..=0xffff, ..] => Some("of a group"),
        // The Internet's, a family's own (RFC 4193), and what came before that (RFC 3879).
        [0x2000..=0x3fff | 0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => None,
        _ => Some("given to nobody"),
    }
}

/// Where the proxy's own name leads, and whether that is all; where nobody says it in time, the operator knows best.
pub(super) fn named(config: &Config) -> Result<(Vec<IpAddr>, bool), Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().doing(|| "a runtime".to_owned())?;
    let (dns, name) = (Dns::new(config.upstreams()), config.name());
    let answer = runtime.block_on(async { timeout(limits::HERE, dns.all_addresses(&name)).await });
    Ok(answer.ok().and_then(Result::ok).map_or_else(Default::default, |answer| (answer.found, answer.silent.is_none())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_where_nobody_arrives() {
        for bad in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "169.254.3.3",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::1.2.3.4",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "64:ff9b::1.2.3.4",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2002:a00:1::1",
            "2002:c0a8:1::1",
            "2002:f000:1::1",
            "192.0.2.3",
            "198.51.100.1",
            "203.0.113.9",
            "198.18.0.1",
            "198.19.255.1",
            "192.0.0.8",
            "192.88.99.1",
            "2001::1",
            "2001:20::1",
            "2001:db8::5",
            "3fff::1",
            "3ffe::1",
            "100::1",
            "4000::1",
        ] {
            assert!(nobodys(bad.parse().unwrap()).is_some(), "{bad}");
        }
        for good in [
            "198.17.0.1",
            "198.20.0.1",
            "2001:200::1",
            "10.0.0.5",
            "44.0.0.20",
            "2a00:44::20",
            "fd00::1",
            "2002:2c00:14::1",
            "fec0::1",
        ] {
            assert_eq!(nobodys(good.parse().unwrap()), None, "{good}");
        }
    }

    #[test]
    fn the_address_of_all_is_nobodys_alone() {
        let config = Config::parse("name = \"clean.example\"\n[streets]\n\"44.0.0.7\" = \"lane\"").unwrap();
        let named: Vec<IpAddr> = ["44.0.0.20", "2a00:44::20"].map(|text| text.parse().unwrap()).into();
        for at in &named {
            assert!(unusable(*at, &config, &named).unwrap().contains("where clean.example leads"), "{at}");
            assert_eq!(unusable(*at, &config, &[]), None, "nobody has said so");
        }
        assert!(unusable("44.0.0.7".parse().unwrap(), &config, &named).unwrap().contains("the street lane's"));
        assert_eq!(unusable("44.0.0.21".parse().unwrap(), &config, &named), None);
    }

    #[test]
    fn the_address_of_a_whole_network_is_seen() {
        assert!(is_broadcast("127.255.255.255".parse().unwrap()));
        for other in ["127.0.0.1", "::1", "44.0.0.20"] {
            assert!(!is_broadcast(other.parse().unwrap()), "{other}");
        }
    }
}
