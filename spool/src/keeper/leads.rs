//! Where an address of ours leads: into mailboxes here, to addresses elsewhere, or to nobody. An alias may name an address
//! that was another house's then, and is in a domain of ours now.

use std::collections::BTreeSet;

use crate::edges::outbox::limits::RECIPIENTS;
use crate::edges::{Size, limits};
use crate::index::{Index, normal_address};
use crate::names::MailboxId;

use super::delivering::postmaster;
use super::house::House;

/// What an address leads to, each once.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Leads {
    /// Mailboxes.
    pub here: Vec<MailboxId>,
    /// Addresses elsewhere, as the admin wrote them.
    pub elsewhere: Vec<String>,
    /// Addresses of ours that nobody has; and what lies beyond the bounds.
    pub dead: Vec<String>,
}

/// Whether mail for that address is ours.
#[must_use]
pub fn is_ours(house: &House, index: &Index, address: &str) -> bool {
    address.rsplit_once('@').is_some_and(|(_, domain)| is_our_domain(house, index, domain))
}

/// Whether that domain is.
#[must_use]
pub fn is_our_domain(house: &House, index: &Index, domain: &str) -> bool {
    let domain = wire::dns::in_ascii(domain).map_or_else(|| domain.to_lowercase(), |domain| domain.to_lowercase());
    house.domains.contains(&domain) || index.has_domain(&domain)
}

/// Where mail for that address of ours (lower-case, without a tag) goes.
#[must_use]
pub fn of(house: &House, index: &Index, address: &str) -> Leads {
    // Most lead nowhere but here.
    if index.forwards(address).is_empty() {
        return Leads { here: index.targets(address), ..Leads::default() };
    }
    follow(index, address, &|to| is_ours(house, index, to), &|to| mailboxes(house, index, to))
}

/// RFC 5321 §4.5.1: somebody gets the postmaster's mail in every domain of ours.
fn mailboxes(house: &House, index: &Index, address: &str) -> Vec<MailboxId> {
    let named = index.targets(address);
    if named.is_empty() && address.starts_with("postmaster@") {
        return postmaster(house, index, Size::Said(0)).into_iter().collect();
    }
    named
}

fn follow(
    index: &Index,
    address: &str,
    is_ours: &dyn Fn(&str) -> bool,
    mailboxes: &dyn Fn(&str) -> Vec<MailboxId>,
) -> Leads {
    let mut leads = Leads { here: index.targets(address), ..Leads::default() };
    let (mut seen, mut elsewhere) = (BTreeSet::from([address.to_owned()]), BTreeSet::new());
    let mut next: Vec<&String> = index.forwards(address).iter().rev().collect();
    while let Some(to) = next.pop() {
        if !is_ours(to) {
            match elsewhere.insert(to.to_lowercase()) {
                true if elsewhere.len() <= RECIPIENTS => leads.elsewhere.push(to.clone()),
                true => leads.dead.push(to.clone()),
                false => {}
            }
            continue;
        }
        let ours = normal_address(to).unwrap_or_else(|| to.clone());
        if !seen.insert(ours.clone()) {
            continue;
        }
        let (here, further) = (mailboxes(&ours), index.forwards(&ours));
        let new: Vec<_> = here.iter().copied().filter(|id| !leads.here.contains(id)).collect();
        let is_beyond = seen.len() > limits::ALIAS_STEPS || leads.here.len() + new.len() >= limits::LETTERS;
        if is_beyond || (here.is_empty() && further.is_empty()) {
            leads.dead.push(ours);
            continue;
        }
        leads.here.extend(new);
        next.extend(further.iter().rev());
    }
    leads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::record::Record;

    fn index(forwards: &[(&str, &str)]) -> Index {
        let mut index = Index::default();
        for (alias, to) in forwards {
            index.apply(1, Record::ForwardAdded { alias: (*alias).into(), to: (*to).into() }, &mut ());
        }
        index
    }

    fn led(index: &Index, from: &str) -> (Vec<u64>, Vec<String>, Vec<String>) {
        let has = |to: &str| if to.starts_with("anna@") { vec![MailboxId(7)] } else { index.targets(to) };
        let Leads { here, elsewhere, dead } = follow(index, from, &|to| to.ends_with(".home"), &has);
        (here.iter().map(|id| id.0).collect(), elsewhere, dead)
    }

    #[test]
    fn from_one_of_ours_to_the_next_each_once_and_never_round() {
        let index = index(&[
            ("us@a.home", "them@b.home"),
            ("us@a.home", "Ben@far.test"),
            ("us@a.home", "nobody@b.home"),
            ("them@b.home", "us@a.home"),
            ("them@b.home", "Anna+tag@B.home"),
            ("them@b.home", "anna@b.home"),
            ("them@b.home", "ben@FAR.test"),
        ]);
        let dead = vec!["nobody@b.home".to_owned()];
        assert_eq!(led(&index, "us@a.home"), (vec![7], vec!["ben@FAR.test".to_owned()], dead));
    }

    #[test]
    fn a_chain_ends_somewhere() {
        let steps: Vec<(String, String)> =
            (0..100).map(|step| (format!("a{step}@a.home"), format!("a{}@a.home", step + 1))).collect();
        let steps: Vec<(&str, &str)> = steps.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
        let (here, elsewhere, dead) = led(&index(&steps), "a0@a.home");
        assert_eq!((here, elsewhere), (vec![], vec![]));
        assert_eq!(dead, [format!("a{}@a.home", limits::ALIAS_STEPS)]);
    }
}
