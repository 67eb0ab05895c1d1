//! What an operator grants a home at the inbound proxy.

use std::collections::BTreeSet;
use std::net::IpAddr;

use relay_link::homes::Grant;
use relay_link::limits::{NAME, NAMES};
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

/// Whether a street can be called so: who writes nothing means no street, a list shows one line for each home, and two streets do
/// not look like one.
#[must_use]
pub fn is_street(name: &str) -> bool {
    // Letters that nobody sees: fillers of Korean syllables.
    let hidden = |c: char| matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}');
    let shown = |c: char| c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric() && !hidden(c);
    !name.is_empty() && name.trim() == name && name.len() <= NAME && name.chars().all(shown) && !name.contains("  ")
}

/// Whether two streets are two, and nobody would think so.
#[must_use]
pub fn is_mistaken_for(one: &str, other: &str) -> bool {
    one != other && one.to_lowercase() == other.to_lowercase()
}

/// Whether a sender can be meant by both.
fn overlap(one: &str, other: &str) -> bool {
    let below = |all: &str, one: &str| all.starts_with('.') && one.ends_with(all);
    one == other || below(one, other) || below(other, one)
}

impl HomeGrant {
    /// A sender is given to one home of a street.
    fn shared_sender(&self, other: &Self) -> Option<String> {
        let pairs = self.senders.iter().filter(|_| self.street == other.street);
        let clash = pairs.flat_map(|one| other.senders.iter().map(move |theirs| (one, theirs)));
        let (one, theirs) = clash.into_iter().find(|(one, theirs)| overlap(one, theirs))?;
        Some(if one == theirs { one.clone() } else { format!("{one} (as {theirs})") })
    }

    fn mistaken_street(&self, other: &Self) -> Option<String> {
        let (one, other) = (self.street.as_ref()?, other.street.as_ref()?);
        is_mistaken_for(one, other).then(|| format!("the street {one}, written {other},"))
    }
}

impl Grant for HomeGrant {
    fn clashes_with(&self, other: &Self) -> Option<String> {
        let name = self.names.intersection(&other.names).next().cloned();
        let address = || self.addresses.intersection(&other.addresses).next().map(ToString::to_string);
        name.or_else(address).or_else(|| self.shared_sender(other)).or_else(|| self.mistaken_street(other))
    }

    /// Its names stay its own until the operator forgets each: mail for them waits.
    fn renewed(mut self, before: &Self) -> Self {
        self.names.extend(before.names.iter().cloned());
        self
    }

    /// Only of one street, or of none: what is learnt in a street would else lead neighbours to a name that was invited as nobody's.
    fn joined(&self, other: &Self) -> Option<Self> {
        let mut both = self.clone();
        both.names.extend(other.names.iter().cloned());
        both.addresses.extend(&other.addresses);
        both.senders.extend(other.senders.iter().cloned());
        (self.street == other.street && both.names.len() <= NAMES).then_some(both)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streets() {
        assert!(
            is_street("lane") && is_street("Unter den Linden") && is_street("Königstraße 7b") && is_street("a-b_c")
        );
        let hidden = ["la\u{200b}ne", "la\u{ad}ne", "lane\u{3164}", "la\u{202e}ne", "cafe\u{301}", "a\u{a0}b", "a  b"];
        for bad in ["", " ", "lane ", "a\nb", "a\u{1b}[2J", &"a".repeat(NAME + 1)].into_iter().chain(hidden) {
            assert!(!is_street(bad), "{bad:?}");
        }
    }

    fn of(street: &str, sender: &str, name: &str) -> HomeGrant {
        HomeGrant {
            names: [name.to_owned()].into(),
            street: Some(street.to_owned()),
            senders: [sender.to_owned()].into_iter().filter(|sender| !sender.is_empty()).collect(),
            ..HomeGrant::default()
        }
    }

    #[test]
    fn a_sender_is_given_to_one_home_of_a_street() {
        let clash = |one: &str, other: &str| {
            of("lane", one, "mail.alice.example").clashes_with(&of("lane", other, "mail.bob.example"))
        };
        for (one, other) in [
            (".bank.example", "out.bank.example"),
            ("out.bank.example", ".bank.example"),
            (".bank.example", ".out.bank.example"),
            ("out.bank.example", "out.bank.example"),
        ] {
            assert!(clash(one, other).is_some_and(|words| words.starts_with(one)), "{one} {other}");
        }
        for other in ["bank.example", "out.riverbank.example", ".example.bank", ""] {
            assert_eq!(clash(".bank.example", other), None, "{other}");
        }
        let elsewhere = of("hill", "out.bank.example", "mail.bob.example");
        assert_eq!(of("lane", "out.bank.example", "mail.alice.example").clashes_with(&elsewhere), None, "a table each");
    }

    #[test]
    fn a_street_is_written_in_one_way() {
        let lane = of("lane", "", "mail.alice.example");
        let words = of("Lane", "", "mail.bob.example").clashes_with(&lane).unwrap();
        assert!(words.contains("the street Lane, written lane"), "{words}");
        assert_eq!(of("lane", "", "mail.bob.example").clashes_with(&lane), None);
    }

    #[test]
    fn who_is_invited_anew_keeps_its_names() {
        let before = of("lane", "out.bank.example", "mail.alice.example").joined(&of("lane", "", "mail.club.example"));
        let anew = of("hill", "", "mail.alice.example").renewed(&before.unwrap());
        assert_eq!((anew.names.len(), anew.street.as_deref(), anew.senders.len()), (2, Some("hill"), 0));
    }

    #[test]
    fn what_one_box_has_of_two_invitations() {
        let (lane, more) = (of("lane", "out.bank.example", "mail.alice.example"), of("lane", "", "mail.club.example"));
        let both = lane.joined(&more).unwrap();
        assert_eq!(both.names.len(), 2);
        assert_eq!((both.street, both.senders), (lane.street.clone(), lane.senders.clone()));
        for stranger in [of("hill", "", "mail.club.example"), HomeGrant { street: None, ..more }] {
            assert_eq!(lane.joined(&stranger), None, "{stranger:?}");
        }
        let many = HomeGrant {
            names: (0..NAMES).map(|number| format!("mail{number}.example")).collect(),
            ..of("lane", "", "mail.x.example")
        };
        assert_eq!(lane.joined(&many), None);
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
