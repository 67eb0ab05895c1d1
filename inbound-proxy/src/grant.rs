//! What an operator grants a home at the inbound proxy.

use std::collections::BTreeSet;
use std::net::IpAddr;

use relay_link::homes::Grant;
use relay_link::limits::NAME;
use serde::{Deserialize, Serialize};

/// One home's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HomeGrant {
    /// Its host names: what its MX records say, and what phones connect to. Lower case.
    pub names: BTreeSet<String>,
    /// Homes of one street trust each other not to take each other's post.
    pub street: Option<String>,
    /// Addresses of the proxy that are this home's alone.
    #[serde(default)]
    pub addresses: BTreeSet<IpAddr>,
    /// EHLO names of senders (or, with a leading dot, of all below) whose mail without SNI is for this home. Works
    /// only inside a street.
    #[serde(default)]
    pub senders: BTreeSet<String>,
}

/// Whether a street can be called so: who writes nothing means no street, and a list shows one line for each home.
#[must_use]
pub fn is_street(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && name.len() <= NAME && !name.contains(char::is_control)
}

impl Grant for HomeGrant {
    fn clashes_with(&self, other: &Self) -> Option<String> {
        let name = self.names.intersection(&other.names).next().cloned();
        let address = || self.addresses.intersection(&other.addresses).next().map(ToString::to_string);
        let sender = || self.senders.intersection(&other.senders).next().cloned();
        name.or_else(address).or_else(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streets() {
        assert!(is_street("lane") && is_street("Unter den Linden"));
        for bad in ["", " ", "lane ", "a\nb", "a\u{1b}[2J", &"a".repeat(NAME + 1)] {
            assert!(!is_street(bad), "{bad:?}");
        }
    }

    #[test]
    fn what_only_one_can_have() {
        let grant = |name: &str, address: &str| HomeGrant {
            names: [name.to_owned()].into(),
            addresses: [address.parse().unwrap()].into(),
            ..HomeGrant::default()
        };
        let alice = grant("mail.alice.example", "192.0.2.1");
        assert_eq!(alice.clashes_with(&grant("mail.bob.example", "192.0.2.2")), None);
        assert_eq!(alice.clashes_with(&grant("mail.alice.example", "192.0.2.2")), Some("mail.alice.example".into()));
        assert_eq!(alice.clashes_with(&grant("mail.bob.example", "192.0.2.1")), Some("192.0.2.1".into()));
    }
}
