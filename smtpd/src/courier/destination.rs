//! Where mail for a domain goes: its MX records, or itself (RFC 5321 §5.1); pure over the resolver's answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::dns::normal;

use super::fate::{Fate, Status, Why};
use super::limits;

/// A resolver's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// There are some; `secure` when DNSSEC proves it.
    Found {
        /// At least one.
        records: Vec<T>,
        /// Authenticated.
        secure: bool,
    },
    /// The name is there, and has none of these.
    Nothing {
        /// Authenticated.
        secure: bool,
    },
    /// There is no such name.
    NoName {
        /// Authenticated.
        secure: bool,
    },
    /// Nobody knows: no answer, SERVFAIL, a bogus signature.
    Failed,
}

impl<T> Answer<T> {
    /// Whether DNSSEC proves it.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        match self {
            Self::Found { secure, .. } | Self::Nothing { secure } | Self::NoName { secure } => *secure,
            Self::Failed => false,
        }
    }
}

/// An MX record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mx {
    /// Lower is better.
    pub preference: u16,
    /// As in DNS, with or without the last dot; `.` or empty: none at all (RFC 7505).
    pub host: String,
}

/// A host that may take the mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Lower-case, without the last dot.
    pub name: String,
    /// Its preference.
    pub preference: u16,
    /// It comes from the domain itself, without an MX record.
    pub implicit: bool,
}

/// What is ours, and what may be connected to.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// Our names, lower-case.
    pub names: Vec<String>,
    /// Our addresses.
    pub addresses: Vec<IpAddr>,
    /// Addresses inside houses (private, loopback) are connected to: for tests and for relays at home. Else a domain's
    /// owner could make the courier knock at the house's own doors.
    pub inner: bool,
}

/// Whether a domain is written as an address (`[192.0.2.1]`): we send nothing there.
///
/// # Errors
/// The fate of its recipients.
pub fn is_name(domain: &str) -> Result<(), Fate> {
    if domain.starts_with('[') {
        let words = format!("{domain} is an address, not a domain: mail is sent to domains only");
        return Err(Fate::Failed(Why::ours(Status::new(5, 1, 2), words)));
    }
    Ok(())
}

/// The hosts for a domain, best first; those of one preference in an order that `seed` gives.
///
/// # Errors
/// The fate of all recipients there.
pub fn hosts(domain: &str, answer: &Answer<Mx>, own: &Own, seed: u64) -> Result<Vec<Host>, Fate> {
    let records = match answer {
        Answer::Found { records, .. } => records,
        // RFC 5321 §5.1: no MX, so its addresses are asked for.
        Answer::Nothing { .. } => return implicit(domain, own),
        Answer::NoName { .. } => {
            let words = format!("there is no domain {domain}");
            return Err(Fate::Failed(Why::ours(Status::new(5, 1, 2), words)));
        }
        Answer::Failed => {
            let words = format!("DNS does not say where mail for {domain} goes");
            return Err(Fate::Deferred(Why::ours(Status::new(4, 4, 3), words)));
        }
    };
    let mut hosts: Vec<Host> = records.iter().take(limits::MX_RECORDS).filter_map(host).collect();
    if hosts.is_empty() {
        return Err(Fate::Failed(no_host(domain, records)));
    }
    shuffle(&mut hosts, seed);
    hosts.sort_by_key(|host| host.preference);
    let mut seen = std::collections::HashSet::new();
    hosts.retain(|host| seen.insert(host.name.clone()));
    before_us(domain, hosts, own)
}

/// Why there is no host among these records.
fn no_host(domain: &str, records: &[Mx]) -> Why {
    let Some(other) = records.iter().map(|record| normal(&record.host)).find(|name| !matches!(name.as_str(), "" | "."))
    else {
        // RFC 7505 §3, §4.1: a null MX.
        return Why::ours(Status::new(5, 1, 10), format!("{domain} says that it takes no mail"));
    };
    let shown: String = other.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect();
    // RFC 1035 §3.3.9 wants a name; an address there resolves to nothing.
    let what = if other.parse::<IpAddr>().is_ok() { "an address" } else { "no name" };
    let words = format!(
        "DNS names no server for mail to {domain}: its MX record has {shown}, which is {what}. Whoever runs {domain} must mend that"
    );
    Why::ours(Status::new(5, 4, 4), words)
}

fn implicit(domain: &str, own: &Own) -> Result<Vec<Host>, Fate> {
    before_us(domain, vec![Host { name: normal(domain), preference: 0, implicit: true }], own)
}

fn host(record: &Mx) -> Option<Host> {
    let name = normal(&record.host);
    crate::session::path::is_domain(&name).then_some(())?;
    (!name.starts_with('[') && name.parse::<IpAddr>().is_err()).then_some(())?;
    Some(Host { name, preference: record.preference, implicit: false })
}

/// RFC 5321 §5.1: where we are among the hosts ourselves, we and all that are not better are left out, or the mail
/// would go round in circles.
fn before_us(domain: &str, mut hosts: Vec<Host>, own: &Own) -> Result<Vec<Host>, Fate> {
    let ours = hosts.iter().filter(|host| own.names.contains(&host.name)).map(|host| host.preference).min();
    if let Some(ours) = ours {
        hosts.retain(|host| host.preference < ours);
    }
    if hosts.is_empty() {
        return Err(Fate::Failed(back_to_us(domain)));
    }
    hosts.truncate(limits::HOSTS);
    Ok(hosts)
}

/// Mail for a domain that DNS sends to us, and that is not ours.
#[must_use]
pub fn back_to_us(domain: &str) -> Why {
    Why::ours(Status::new(5, 4, 6), format!("DNS sends mail for {domain} to this server, which does not serve it"))
}

/// Where a host can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// In the order to try.
    At(Vec<IpAddr>),
    /// It is us: this host and all after it are left out.
    Us,
    /// Nowhere; the next host.
    Nowhere(Why),
}

/// The addresses of a host, IPv6 and IPv4 by turns, IPv6 first (RFC 8305 §4): a broken family costs one attempt.
#[must_use]
pub fn addresses(host: &str, six: &Answer<Ipv6Addr>, four: &Answer<Ipv4Addr>, own: &Own) -> Reach {
    let sixes = found(six).map(|address| IpAddr::from(*address).to_canonical());
    let fours = found(four).map(|address| IpAddr::from(*address));
    let all: Vec<IpAddr> = by_turns(sixes, fours);
    if all.iter().any(|address| own.addresses.contains(address)) {
        return Reach::Us;
    }
    let mut open: Vec<IpAddr> = all.iter().copied().filter(|address| own.inner || is_public(*address)).collect();
    open.truncate(limits::ADDRESSES);
    if !open.is_empty() {
        return Reach::At(open);
    }
    let (status, words) = if !all.is_empty() {
        (Status::new(5, 4, 4), format!("{host} has only addresses that are not of the Internet"))
    } else if matches!(six, Answer::Failed) || matches!(four, Answer::Failed) {
        (Status::new(4, 4, 3), format!("DNS does not say where {host} is"))
    } else {
        (Status::new(5, 4, 4), format!("{host} has no address"))
    };
    Reach::Nowhere(Why::ours(status, words))
}

fn found<T>(answer: &Answer<T>) -> std::slice::Iter<'_, T> {
    match answer {
        Answer::Found { records, .. } => records.iter(),
        _ => [].iter(),
    }
}

fn by_turns(mut sixes: impl Iterator<Item = IpAddr>, mut fours: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut all = Vec::new();
    loop {
        let (six, four) = (sixes.next(), fours.next());
        if (six, four) == (None, None) {
            return all;
        }
        for address in six.into_iter().chain(four) {
            if !all.contains(&address) {
                all.push(address);
            }
        }
    }
}

/// Whether an address is one of the Internet.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(four) => is_public_four(four),
        IpAddr::V6(six) => {
            let [first, second, third, ..] = six.segments();
            let [high, low, ..] = [second, third].map(u16::to_be_bytes);
            // RFC 4291 §2.4, 6890, 9637: of what is assigned, 2000::/3 is global; documentation, and blocks of protocols
            // (Teredo's among them), are not. RFC 3056 §2: a 6to4 address leads where the one within it does.
            match first {
                0x2001 => second != 0x0db8 && second >= 0x0200,
                0x2002 => is_public_four(Ipv4Addr::new(high[0], high[1], low[0], low[1])),
                0x3fff => second >= 0x1000,
                _ => first & 0xe000 == 0x2000,
            }
        }
    }
}

// RFC 6890.
fn is_public_four(four: Ipv4Addr) -> bool {
    let [a, b, ..] = four.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmarks = a == 198 && (18..20).contains(&b);
    let protocol = four.octets()[..3] == [192, 0, 0];
    !(four.is_private()
        || four.is_loopback()
        || four.is_link_local()
        || four.is_documentation()
        || a == 0
        || a >= 224
        || shared
        || benchmarks
        || protocol)
}

// Fisher and Yates with a small generator: who is first among equals decides about load, not about security.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    for at in (1..items.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = usize::try_from((state >> 33) % (at as u64 + 1)).unwrap_or(0);
        items.swap(at, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mx(records: &[(u16, &str)]) -> Answer<Mx> {
        let records = records.iter().map(|(preference, host)| Mx { preference: *preference, host: (*host).to_owned() });
        Answer::Found { records: records.collect(), secure: false }
    }

    fn names(answer: &Answer<Mx>, own: &Own, seed: u64) -> Result<Vec<String>, Status> {
        let hosts = hosts("far.test", answer, own, seed);
        hosts.map(|hosts| hosts.into_iter().map(|host| host.name).collect()).map_err(|fate| fate.why().status)
    }

    fn us() -> Own {
        Own { names: vec!["mx.home.test".into()], addresses: vec!["192.88.1.1".parse().unwrap()], inner: false }
    }

    #[test]
    fn best_first_each_once() {
        let records =
            mx(&[(20, "c.far.test."), (10, "A.far.test"), (30, "a.far.test."), (20, "[192.0.2.1]"), (5, "192.0.2.1")]);
        assert_eq!(names(&records, &us(), 0), Ok(vec!["a.far.test".into(), "c.far.test".into()]));
    }

    #[test]
    fn equals_take_turns() {
        let records = mx(&[(10, "a.far.test"), (10, "b.far.test"), (20, "z.far.test")]);
        let firsts: std::collections::BTreeSet<_> = (0..50)
            .map(|seed| names(&records, &us(), seed).unwrap())
            .map(|hosts| (hosts[0].clone(), hosts[2].clone()))
            .collect();
        let expected = ["a", "b"].map(|first| (format!("{first}.far.test"), "z.far.test".to_owned()));
        assert_eq!(firsts.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn none_null_and_nobody_knows() {
        let implicit = hosts("Far.Test", &Answer::Nothing { secure: true }, &us(), 0).unwrap();
        assert_eq!(implicit, [Host { name: "far.test".into(), preference: 0, implicit: true }]);
        assert_eq!(names(&mx(&[(0, ".")]), &us(), 0), Err(Status::new(5, 1, 10)));
        assert_eq!(names(&mx(&[(0, "")]), &us(), 0), Err(Status::new(5, 1, 10)));
        let Err(Fate::Failed(why)) = hosts("far.test", &mx(&[(0, "."), (1, "192.0.2.1.")]), &us(), 0) else { panic!() };
        assert_eq!(why.status, Status::new(5, 4, 4));
        assert!(why.words.contains("its MX record has 192.0.2.1, which is an address."), "{}", why.words);
        assert_eq!(names(&Answer::NoName { secure: false }, &us(), 0), Err(Status::new(5, 1, 2)));
        assert_eq!(names(&Answer::Failed, &us(), 0), Err(Status::new(4, 4, 3)));
        assert!(matches!(hosts("far.test", &Answer::Failed, &us(), 0), Err(Fate::Deferred(_))));
    }

    #[test]
    fn ourselves_among_them() {
        let records = mx(&[(10, "a.far.test"), (20, "MX.home.test."), (20, "b.far.test"), (30, "c.far.test")]);
        assert_eq!(names(&records, &us(), 0), Ok(vec!["a.far.test".into()]));
        assert_eq!(names(&mx(&[(20, "mx.home.test"), (30, "c.far.test")]), &us(), 0), Err(Status::new(5, 4, 6)));
    }

    #[test]
    fn literals() {
        assert!(is_name("far.test").is_ok());
        assert!(matches!(is_name("[192.0.2.1]"), Err(Fate::Failed(_))));
    }

    fn nothing<T>() -> Answer<T> {
        Answer::Nothing { secure: false }
    }

    fn some<T>(records: Vec<T>) -> Answer<T> {
        Answer::Found { records, secure: false }
    }

    #[test]
    fn families_by_turns() {
        let six = some(vec!["2a00::1".parse().unwrap(), "2a00::2".parse().unwrap(), "2a00::3".parse().unwrap()]);
        let four = some(vec!["8.8.8.8".parse().unwrap()]);
        let Reach::At(all) = addresses("h", &six, &four, &us()) else { panic!("reachable") };
        assert_eq!(
            all.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["2a00::1", "8.8.8.8", "2a00::2", "2a00::3"]
        );
        let none = Answer::Nothing { secure: false };
        assert_eq!(addresses("h", &none, &some(vec!["192.88.1.1".parse().unwrap()]), &us()), Reach::Us);
        let mapped = some(vec!["::ffff:192.88.1.1".parse().unwrap()]);
        assert_eq!(addresses("h", &mapped, &Answer::Failed, &us()), Reach::Us);
    }

    #[test]
    fn nowhere() {
        let status = |six, four| match addresses("h", &six, &four, &us()) {
            Reach::Nowhere(why) => Some(why.status),
            _ => None,
        };
        assert_eq!(status(nothing(), Answer::NoName { secure: false }), Some(Status::new(5, 4, 4)));
        assert_eq!(status(nothing(), Answer::Failed), Some(Status::new(4, 4, 3)));
        // A stranger's DNS does not make us knock at doors inside the house.
        for inner in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
        ] {
            assert_eq!(status(nothing(), some(vec![inner.parse().unwrap()])), Some(Status::new(5, 4, 4)), "{inner}");
        }
        let tunnels = ["2002:a00:1::1", "2002:7f00:1::1", "2002:c0a8:101::1", "2001:0:1::1", "2001:10::1", "3fff::1"];
        let usual = ["::1", "fe80::1", "fc00::1", "::", "ff02::1", "::ffff:10.0.0.1", "2001:db8::1"];
        for inner in usual.into_iter().chain(tunnels) {
            assert_eq!(status(some(vec![inner.parse().unwrap()]), nothing()), Some(Status::new(5, 4, 4)), "{inner}");
        }
        let own = Own { inner: true, ..us() };
        let reach = addresses("h", &nothing(), &some(vec!["127.0.0.1".parse().unwrap()]), &own);
        assert_eq!(reach, Reach::At(vec!["127.0.0.1".parse().unwrap()]));
    }

    proptest! {
        #[test]
        fn never_a_host_that_is_not_better_than_us(records in prop::collection::vec((0u16..5, 0u8..8), 1..30), seed in any::<u64>()) {
            let name = |n: u8| if n == 0 { "mx.home.test".to_owned() } else { format!("{n}.far.test") };
            let records: Vec<_> = records.into_iter().map(|(preference, n)| Mx { preference, host: name(n) }).collect();
            let ours = records.iter().filter(|mx| mx.host == "mx.home.test").map(|mx| mx.preference).min();
            if let Ok(hosts) = hosts("far.test", &some(records), &us(), seed) {
                prop_assert!(!hosts.is_empty() && hosts.len() <= limits::HOSTS);
                prop_assert!(hosts.iter().all(|host| ours.is_none_or(|ours| host.preference < ours)));
                prop_assert!(hosts.is_sorted_by_key(|host| host.preference));
            }
        }
    }
}
