//! The machine's addresses in its house, without asking anybody.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Addresses named at most: each is a name in the self-signed certificate.
const MOST: usize = 16;

/// Those that a phone at home may reach, the likeliest first. No global IPv6 ones: they change, and a certificate that
/// follows them would have to be trusted anew each time.
#[must_use]
pub fn all() -> Vec<IpAddr> {
    let v4 = fs::read_to_string("/proc/self/net/fib_trie").unwrap_or_default();
    let v6 = fs::read_to_string("/proc/self/net/if_inet6").unwrap_or_default();
    let mut all: Vec<IpAddr> = towards_the_world().into_iter().chain(local_v4(&v4)).map(IpAddr::from).collect();
    all.extend(local_v6(&v6).map(IpAddr::from));
    let mut seen = std::collections::HashSet::new();
    all.retain(|ip| seen.insert(*ip));
    all.truncate(MOST);
    all
}

/// All but loopback ones, the global too: so that the box knows itself where DNS names it.
#[must_use]
pub fn every() -> Vec<IpAddr> {
    let v4 = fs::read_to_string("/proc/self/net/fib_trie").unwrap_or_default();
    let v6 = fs::read_to_string("/proc/self/net/if_inet6").unwrap_or_default();
    let six = table_v6(&v6).map(|(address, _)| address).filter(|address| !address.is_loopback());
    local_v4(&v4).map(IpAddr::from).chain(six.map(IpAddr::from)).collect()
}

/// Where packets to the Internet leave from. Connecting a UDP socket sends nothing.
fn towards_the_world() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // RFC 5737: nobody's.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(ip) => Some(ip).filter(is_reachable),
        IpAddr::V6(_) => None,
    }
}

const fn is_reachable(ip: &Ipv4Addr) -> bool {
    !ip.is_loopback() && !ip.is_unspecified() && !ip.is_link_local()
}

/// `|-- ADDRESS` with `/32 host LOCAL` under it.
fn local_v4(trie: &str) -> impl Iterator<Item = Ipv4Addr> {
    let mut last = None;
    let mut found = Vec::new();
    for line in trie.lines().map(str::trim) {
        match line.strip_prefix("|-- ") {
            Some(address) => last = address.parse().ok(),
            None if line == "/32 host LOCAL" => found.extend(last.filter(is_reachable)),
            None => {}
        }
    }
    found.into_iter()
}

/// Unique local ones (RFC 4193) that are not temporary.
fn local_v6(table: &str) -> impl Iterator<Item = Ipv6Addr> {
    const TEMPORARY: u32 = 1;
    let local = |(address, flags): &(Ipv6Addr, u32)| address.is_unique_local() && flags & TEMPORARY == 0;
    table_v6(table).filter(local).map(|(address, _)| address)
}

/// `ADDRESS INDEX PREFIX SCOPE FLAGS NAME`, all in hex: addresses with their flags.
fn table_v6(table: &str) -> impl Iterator<Item = (Ipv6Addr, u32)> {
    table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let address = Ipv6Addr::from_bits(u128::from_str_radix(fields.first()?, 16).ok()?);
        Some((address, u32::from_str_radix(fields.get(4)?, 16).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_kernels_tables() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 192.168.1.0\n        \
                    /24 link UNICAST\n     |-- 192.168.1.20\n        /32 host LOCAL\n     |-- 192.168.1.255\n        \
                    /32 link BROADCAST\n";
        assert_eq!(local_v4(trie).collect::<Vec<_>>(), [Ipv4Addr::new(192, 168, 1, 20)]);
        let table = "fd000000000000000000000000000020 02 40 00 80 eth0\n\
                     fd0000000000000012340000000000ff 02 40 00 01 eth0\n\
                     20010db8000000000000000000000001 02 40 00 00 eth0\n\
                     00000000000000000000000000000001 01 80 10 80 lo\n";
        assert_eq!(local_v6(table).collect::<Vec<_>>(), ["fd00::20".parse::<Ipv6Addr>().unwrap()]);
        assert_eq!(table_v6(table).count(), 4);
        assert!(all().iter().chain(&every()).all(|ip| !ip.is_loopback()));
    }
}
