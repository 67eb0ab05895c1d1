//! From which address mail leaves. Far servers compare it with the name that they are greeted with, and SPF records name that
//! name: so it is one that the name has, or mail does not leave by that kind of address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How a far server is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From this address, which the name has and this machine, too.
    Named(IpAddr),
    /// From the one that the kernel takes: a router makes another of it, or the name says nothing of this machine.
    Usual,
    /// Not at all: the name has an IPv4 address here, and none of IPv6.
    Never,
}

/// What a machine says of itself.
pub trait Machine {
    /// Whether an interface of it has this address.
    fn has(&self, address: IpAddr) -> bool;
    /// Whether it is reached there, though no interface says so.
    fn is_outside(&self, address: IpAddr) -> bool;
    /// From which address packets to `to` leave; `None`: it knows no way.
    fn usual(&self, to: IpAddr) -> Option<IpAddr>;
    /// Whether the world knows an address.
    fn is_public(&self, address: IpAddr) -> bool;
}

/// Far hosts to which the way is looked up, one of each kind. Nothing is sent there. (a.root-servers.net.)
pub const FAR: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4)), IpAddr::V6(Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30))];

/// From where `to` is dialled by who is called what has the addresses `named`.
pub fn source(named: &[IpAddr], to: IpAddr, machine: &impl Machine) -> Source {
    let [four, six] = FAR;
    let other = if to.is_ipv4() { six } else { four };
    match of_kind(named, to, machine) {
        // A name that leads elsewhere, or nowhere, must not stop all mail, and one that has no A record, or none that anybody
        // answers with now, not nine tenths of it: `doctor` says what it costs.
        Source::Never if to.is_ipv4() || of_kind(named, other, machine) == Source::Never => Source::Usual,
        source => source,
    }
}

fn of_kind(named: &[IpAddr], to: IpAddr, machine: &impl Machine) -> Source {
    let mut named: Vec<IpAddr> = named.iter().copied().filter(|address| address.is_ipv4() == to.is_ipv4()).collect();
    // Resolvers turn them round.
    named.sort_unstable();
    let usual = machine.usual(to);
    let usually_named = usual.filter(|address| named.contains(address));
    if let Some(address) = usually_named.or_else(|| named.iter().copied().find(|address| machine.has(*address))) {
        return Source::Named(address);
    }
    let inner = usual.is_some_and(|address| !machine.is_public(address));
    let translated = named.iter().any(|address| inner || machine.is_outside(*address));
    if translated { Source::Usual } else { Source::Never }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// What its interfaces have, the first of a kind being the usual; and what the operator says of its outside.
    struct Has<'a>(&'a [&'a str], &'a [&'a str]);

    impl Machine for Has<'_> {
        fn has(&self, it: IpAddr) -> bool {
            self.0.iter().any(|own| address(own) == it)
        }

        fn is_outside(&self, it: IpAddr) -> bool {
            self.1.iter().any(|own| address(own) == it)
        }

        fn usual(&self, to: IpAddr) -> Option<IpAddr> {
            self.0.iter().map(|own| address(own)).find(|own| own.is_ipv4() == to.is_ipv4())
        }

        fn is_public(&self, it: IpAddr) -> bool {
            !matches!(it, IpAddr::V4(it) if it.is_private())
        }
    }

    /// For IPv4 and IPv6.
    fn sources(named: &[&str], machine: &Has<'_>) -> [Source; 2] {
        let named: Vec<IpAddr> = named.iter().map(|it| address(it)).collect();
        FAR.map(|to| source(&named, to, machine))
    }

    #[test]
    fn it_is_one_of_the_names() {
        let (four, six) = (Source::Named(address("44.0.0.20")), Source::Named(address("2a00::20")));
        let many = Has(&["44.0.0.22", "44.0.0.20", "2a00::22", "2a00::20"], &[]);
        assert_eq!(sources(&["2a00::20", "44.0.0.20"], &many), [four, six], "the kernel would take another");
        assert_eq!(sources(&["44.0.0.9", "44.0.0.20"], &many), [four, Source::Never], "one of them is elsewhere");
        assert_eq!(sources(&["2a00::20"], &many), [Source::Usual, six], "most hosts have IPv4 alone");
        let usual = Has(&["44.0.0.22", "44.0.0.20"], &[]);
        let both = sources(&["44.0.0.20", "44.0.0.22"], &usual);
        assert_eq!(both[0], Source::Named(address("44.0.0.22")), "where both are named, the usual");
    }

    #[test]
    fn a_name_that_says_nothing_of_here_stops_nothing() {
        let machine = Has(&["44.0.0.22", "2a00::22"], &[]);
        assert_eq!(sources(&[], &machine), [Source::Usual; 2]);
        assert_eq!(sources(&["44.0.0.9"], &machine), [Source::Usual; 2]);
    }

    /// A cloud's 1:1 NAT.
    #[test]
    fn a_router_may_make_another_of_it() {
        let inner = Has(&["10.0.0.2", "2a00::22"], &[]);
        assert_eq!(sources(&["44.0.0.20"], &inner), [Source::Usual, Source::Never]);
        let told = Has(&["44.0.0.22", "2a00::22"], &["44.0.0.20"]);
        assert_eq!(sources(&["44.0.0.20"], &told), [Source::Usual, Source::Never]);
        let native = Source::Named(address("2a00::22"));
        assert_eq!(sources(&["44.0.0.20", "2a00::22"], &inner), [Source::Usual, native]);
    }
}
