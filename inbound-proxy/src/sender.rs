//! Who is sending, as far as that lasts: pools of large providers try again from another address and under another
//! name, so what is learnt belongs to a group of senders.

use std::fmt;
use std::net::IpAddr;

use relay_link::inbound::ClientName;
use serde::{Deserialize, Serialize};

/// A group of senders.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Group {
    /// The organisation of an EHLO name that DNS confirms: it has the client's address.
    Organisation(String),
    /// An IPv4 /24.
    Network4([u8; 3]),
    /// An IPv6 /48.
    Network6([u16; 3]),
}

impl Group {
    /// `confirmed`: whether a forward look-up of the EHLO name gave the client's address. Else anybody could name
    /// himself into another's group.
    #[must_use]
    pub fn of(client: IpAddr, ehlo: Option<&ClientName>, confirmed: bool) -> Self {
        let organisation = ehlo.filter(|_| confirmed).and_then(|name| organisation(name.as_str()));
        organisation.map_or_else(|| Self::network(client), Self::Organisation)
    }

    fn network(client: IpAddr) -> Self {
        match client.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self::Network4([a, b, c])
            }
            IpAddr::V6(address) => {
                let [a, b, c, ..] = address.segments();
                Self::Network6([a, b, c])
            }
        }
    }
}

/// Whence somebody comes, as far as addresses are given out: what one has costs the others nothing ([`crate::memory`]).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Network([u8; 7]);

impl Network {
    /// An address's.
    #[must_use]
    pub fn of(client: IpAddr) -> Self {
        Self::from(&Group::network(client))
    }

    /// What a large provider has of such: an IPv4 /16, an IPv6 /32.
    #[must_use]
    pub const fn provider(self) -> Self {
        let Self([kind, a, b, c, d, ..]) = self;
        if kind == 4 { Self([kind, a, b, 0, 0, 0, 0]) } else { Self([kind, a, b, c, d, 0, 0]) }
    }
}

/// Of an organisation nobody knows it.
impl From<&Group> for Network {
    fn from(group: &Group) -> Self {
        match group {
            Group::Organisation(_) => Self::default(),
            Group::Network4([a, b, c]) => Self([4, *a, *b, *c, 0, 0, 0]),
            Group::Network6([a, b, c]) => {
                let ([a, b], [c, d], [e, f]) = (a.to_be_bytes(), b.to_be_bytes(), c.to_be_bytes());
                Self([6, a, b, c, d, e, f])
            }
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organisation(name) => f.write_str(name),
            Self::Network4([a, b, c]) => write!(f, "{a}.{b}.{c}.0/24"),
            Self::Network6([a, b, c]) => write!(f, "{a:x}:{b:x}:{c:x}::/48"),
        }
    }
}

/// What registries of countries call their own parts of the name space (`co.uk`, `com.au`, `or.jp`): below them three labels are one
/// organisation's. Any other short name may be somebody's (`t.co`), who can have as many names below it as he likes.
const SECOND_LEVEL: [&str; 36] = [
    "ac", "ad", "adv", "asn", "biz", "blog", "co", "com", "ed", "edu", "firm", "gen", "go", "gob", "gouv", "gov", "id",
    "ind", "info", "lg", "ltd", "me", "mil", "my", "ne", "net", "nhs", "nom", "or", "org", "plc", "police", "res",
    "sch", "school", "web",
];

/// The name's last two labels, or three under what looks like a public suffix of two. Without the
/// list of public suffixes that is a guess; a wrong one puts strangers into one group, which costs a deferral.
fn organisation(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let labels: Vec<&str> = name.split('.').collect();
    let letters = |label: &&str| label.bytes().any(|byte| byte.is_ascii_alphabetic());
    if labels.len() < 2 || labels.iter().any(|label| label.is_empty()) || !labels.last().is_some_and(letters) {
        return None;
    }
    let suffix_of_two = match labels.as_slice() {
        [_, .., second, first] => first.len() == 2 && SECOND_LEVEL.contains(second),
        _ => false,
    };
    let kept = if suffix_of_two { 3 } else { 2 };
    Some(labels[labels.len() - kept..].join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn organisations() {
        for (name, expected) in [
            ("mail-ed1-f41.Google.com", Some("google.com")),
            ("mta1.mail.bbc.co.uk", Some("bbc.co.uk")),
            ("bbc.co.uk", Some("bbc.co.uk")),
            ("mx.posteo.de.", Some("posteo.de")),
            ("posteo.de", Some("posteo.de")),
            ("x7.abc.de", Some("abc.de")),
            ("x7.t.co", Some("t.co")),
            ("x7.x.io", Some("x.io")),
            ("mail.example.or.jp", Some("example.or.jp")),
            ("co.uk", Some("co.uk")),
            ("localhost", None),
            ("[192.0.2.1]", None),
            ("a..b", None),
        ] {
            assert_eq!(organisation(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn networks_and_their_providers() {
        let network = |address: &str| Network::of(address.parse().unwrap());
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.200"));
        assert_ne!(network("192.0.2.1"), network("192.0.3.1"));
        assert_eq!(network("192.0.2.1").provider(), network("192.0.3.1").provider());
        assert_ne!(network("2001:db8:1::1"), network("2001:db8:2::1"));
        assert_eq!(network("2001:db8:1::1").provider(), network("2001:db8:2::1").provider());
        assert_ne!(network("2001:db8:1::1").provider(), network("2001:db9:1::1").provider());
    }

    #[test]
    fn only_a_confirmed_name_makes_a_group() {
        let name = ClientName::new("mx1.posteo.de").unwrap();
        let client = "192.0.2.77".parse().unwrap();
        assert_eq!(Group::of(client, Some(&name), true), Group::Organisation("posteo.de".into()));
        assert_eq!(Group::of(client, Some(&name), false), Group::Network4([192, 0, 2]));
        assert_eq!(Group::of("::ffff:192.0.2.1".parse().unwrap(), None, false), Group::Network4([192, 0, 2]));
        assert_eq!(Group::of("2001:db8:5:6::1".parse().unwrap(), None, true).to_string(), "2001:db8:5::/48");
    }
}
