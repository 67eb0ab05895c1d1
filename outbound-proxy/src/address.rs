//! Whom a home may reach: hosts of the public Internet, and not this machine. Checked after a name is resolved, on the
//! very addresses that are then dialled.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use relay_link::outbound::Refusal;

use crate::limits;
use crate::source::Machine;

/// Addresses that are this machine's own, however public.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    own: BTreeSet<IpAddr>,
}

impl Policy {
    /// `own`: every address of every interface, and what the operator adds (a NAT's outside).
    #[must_use]
    pub fn new(own: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { own: own.into_iter().map(|address| address.to_canonical()).collect() }
    }

    /// What may be dialled of what a name resolved to, in its order.
    ///
    /// # Errors
    /// [`Refusal::NoSuchHost`] for nothing, [`Refusal::NotPublic`] when nothing is left.
    pub fn choose(&self, resolved: &[IpAddr]) -> Result<Vec<IpAddr>, Refusal> {
        if resolved.is_empty() {
            return Err(Refusal::NoSuchHost);
        }
        let mut chosen: Vec<IpAddr> = resolved.iter().copied().filter(|address| self.allows(*address)).collect();
        chosen.truncate(limits::ADDRESSES);
        if chosen.is_empty() { Err(Refusal::NotPublic) } else { Ok(chosen) }
    }

    /// Whether an address may be dialled.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let public = match address {
            IpAddr::V4(address) => is_public4(address),
            IpAddr::V6(address) => is_public6(address),
        };
        public && !self.own.contains(&address)
    }
}

impl Machine for Policy {
    fn has(&self, address: IpAddr) -> bool {
        is_own(address)
    }

    fn is_outside(&self, address: IpAddr) -> bool {
        self.own.contains(&address)
    }

    fn usual(&self, to: IpAddr) -> Option<IpAddr> {
        source(to).ok()
    }

    fn is_public(&self, address: IpAddr) -> bool {
        Self::default().allows(address)
    }
}

/// An IPv4 prefix and why nobody is sent there (the registry of RFC 6890).
type Prefix4 = ([u8; 4], u32, &'static str);

const NOT_PUBLIC4: [Prefix4; 16] = [
    ([0, 0, 0, 0], 8, "this network; Linux takes 0.0.0.0 for the loopback"),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "a provider's NAT (RFC 6598)"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([169, 254, 0, 0], 16, "link-local; clouds keep their secrets at 169.254.169.254"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "protocol assignments"),
    ([192, 0, 2, 0], 24, "documentation"),
    ([192, 31, 196, 0], 24, "AS112, for DNS alone"),
    ([192, 52, 193, 0], 24, "AMT relays"),
    ([192, 88, 99, 0], 24, "6to4 relays"),
    ([192, 168, 0, 0], 16, "private"),
    ([198, 18, 0, 0], 15, "benchmarks"),
    ([198, 51, 100, 0], 24, "documentation"),
    ([203, 0, 113, 0], 24, "documentation"),
    ([224, 0, 0, 0], 3, "multicast, reserved and broadcast"),
];

fn is_public4(address: Ipv4Addr) -> bool {
    !NOT_PUBLIC4.iter().any(|(prefix, bits, _)| same4(address, *prefix, *bits))
}

fn same4(address: Ipv4Addr, prefix: [u8; 4], bits: u32) -> bool {
    let shift = 32 - bits;
    u32::from(address) >> shift == u32::from(Ipv4Addr::from(prefix)) >> shift
}

/// Of IPv6, only 2000::/3 is given out at all; so loopback, unique local, link-local, multicast, IPv4-mapped and
/// -compatible addresses and both NAT64 prefixes (64:ff9b::/96, 64:ff9b:1::/48) are outside it. Of what is inside, these
/// are not hosts, or lead to an IPv4 address that was not looked at.
const NOT_PUBLIC6: [([u16; 3], u32, &str); 6] = [
    ([0x2001, 0, 0], 23, "protocol assignments: Teredo (an IPv4 address inside), ORCHID, benchmarks"),
    ([0x2001, 0xdb8, 0], 32, "documentation"),
    ([0x2002, 0, 0], 16, "6to4: an IPv4 address inside"),
    ([0x2620, 0x4f, 0x8000], 48, "AS112, for DNS alone"),
    ([0x3ffe, 0, 0], 16, "the 6bone that was; given to nobody"),
    ([0x3fff, 0, 0], 20, "documentation (RFC 9637)"),
];

fn is_public6(address: Ipv6Addr) -> bool {
    let unicast = same6(address, [0x2000, 0, 0], 3);
    unicast && !NOT_PUBLIC6.iter().any(|(prefix, bits, _)| same6(address, *prefix, *bits))
}

fn same6(address: Ipv6Addr, prefix: [u16; 3], bits: u32) -> bool {
    let prefix = Ipv6Addr::new(prefix[0], prefix[1], prefix[2], 0, 0, 0, 0, 0);
    u128::from(address) >> (128 - bits) == u128::from(prefix) >> (128 - bits)
}

/// Whether an address is this machine's own, on any of its interfaces, just now. Nothing is sent.
#[must_use]
pub fn is_own(address: IpAddr) -> bool {
    // Neither tells alone: to a second address of an interface packets leave from its first, and where `ip_nonlocal_bind` is set
    // anything may be bound (of IPv6; but there what is one's own leaves from itself, RFC 6724 §5, rule 1).
    leaves_from_itself(address) || (is_bound_to(address) && !is_bound_to(nobodys(address)))
}

/// Whether this machine knows a way to an address. Nothing is sent.
#[must_use]
pub fn has_way(address: IpAddr) -> bool {
    source(address).is_ok()
}

/// Whether it knows one from an address of its own. Nothing is sent.
#[must_use]
pub fn may_leave(from: IpAddr, to: IpAddr) -> bool {
    UdpSocket::bind((from, 0)).and_then(|socket| socket.connect((to, limits::PORT))).is_ok()
}

fn leaves_from_itself(address: IpAddr) -> bool {
    // Without a way there it cannot be its own; connecting says why it is of no use. What leaves from the loopback does
    // not leave.
    source(address).is_ok_and(|source| source == address || source.is_loopback())
}

/// From which address packets to it leave.
fn source(address: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((address, limits::PORT))?;
    Ok(socket.local_addr()?.ip())
}

/// Whether the kernel takes it for a source of what is sent to itself.
fn is_bound_to(address: IpAddr) -> bool {
    may_leave(address, address)
}

/// One that no machine has: RFC 5737, RFC 3849.
const fn nobodys(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    }
}

/// How far two far servers are one: a /24 or a /48. What an hour's spread is counted in.
#[must_use]
pub fn network(address: IpAddr) -> [u8; 7] {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            [4, a, b, c, 0, 0, 0]
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, ..] = address.octets();
            [6, a, b, c, d, e, f]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_public_internet() {
        let policy = Policy::default();
        for public in [
            "8.8.8.8",
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2a00:1450::1",
            "2001:4860::8888",
            "2600::1",
            "2003::1",
        ] {
            assert!(policy.allows(address(public)), "{public}");
        }
    }

    #[test]
    fn everything_else() {
        let policy = Policy::new([address("8.8.4.4"), address("2a00::5"), address("::ffff:8.8.4.5")]);
        for other in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::8.8.8.8",
            "::ffff:8.8.8.8",
            "::ffff:127.0.0.1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:808:808::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "8.8.4.4",
            "2a00::5",
            "8.8.4.5",
        ] {
            assert!(!policy.allows(address(other)), "{other}");
        }
    }

    #[test]
    fn what_this_machine_has_is_its_own() {
        assert!(is_own(address("127.0.0.1")) && is_own(address("127.1.2.3")));
        assert!(!is_own(address("8.8.8.8")));
    }

    #[test]
    fn a_name_is_worth_what_it_resolves_to() {
        let policy = Policy::default();
        let (public, private) = (address("8.8.8.8"), address("192.168.1.1"));
        assert_eq!(policy.choose(&[private, public]), Ok(vec![public]));
        assert_eq!(policy.choose(&[private]), Err(Refusal::NotPublic));
        assert_eq!(policy.choose(&[]), Err(Refusal::NoSuchHost));
        assert_eq!(policy.choose(&[public; 50]).unwrap().len(), limits::ADDRESSES);
    }

    proptest! {
        /// The standard library knows most of these ranges, too: where it says "not global", so do we.
        #[test]
        fn what_the_library_calls_special_is_refused(bits: u32, low: u128) {
            let (policy, v4, v6) = (Policy::default(), Ipv4Addr::from(bits), Ipv6Addr::from(low));
            let special4 = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast()
                || v4.is_documentation() || v4.is_unspecified();
            prop_assert!(!(special4 && policy.allows(v4.into())));
            prop_assert!(!policy.allows(v4.to_ipv6_mapped().into()));
            prop_assert!(!policy.allows(v4.to_ipv6_compatible().into()));
            let special6 = v6.is_loopback() || v6.is_multicast() || v6.is_unspecified() || v6.is_unique_local()
                || v6.is_unicast_link_local();
            prop_assert!(!(special6 && policy.allows(v6.into())));
        }
    }
}
