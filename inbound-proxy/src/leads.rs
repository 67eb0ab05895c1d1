//! Where the homes' names lead, as DNS says: a family may point its name at an address that the operator has given to others, or
//! have it there still. What comes to such an address without a word is then not surely its owners'.
//!
//! The letters that a wrong answer here could mislead are those of the home whose name was asked for, so its own DNS speaks
//! for nobody else: a name that cannot be looked up keeps its last answer, and one that has never had any counts as leading
//! anywhere for ten minutes. What was answered of one kind of address counts, whatever becomes of the other's question.
//!
//! Pure but for [`Leads::open`] and [`Leads::save`]: times are seconds since 1970, given by the caller.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use relay_link::dns::{self, Addresses, Silent};
use relay_link::durable;
use serde::{Deserialize, Serialize};

use crate::grant::HomeGrant;
use crate::limits;

/// All names that were asked for.
#[derive(Debug, Default)]
pub struct Leads {
    names: BTreeMap<String, Name>,
    path: Option<PathBuf>,
    /// Something is known that the file lacks.
    unsaved: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Name {
    /// Since when it is a home's.
    since: u64,
    /// When it was last asked for.
    #[serde(skip)]
    asked: u64,
    /// When there was last an answer.
    answered: Option<u64>,
    /// Its addresses, and when an answer last had them.
    seen: BTreeMap<IpAddr, u64>,
}

/// Homes that a connection may be meant for at an address that is not theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strays {
    /// By address: homes whose names lead there.
    pub at: BTreeMap<IpAddr, BTreeSet<String>>,
    /// Homes whose names lead somewhere.
    pub somewhere: BTreeSet<String>,
    /// Homes of which it is not known yet.
    pub anywhere: BTreeSet<String>,
}

impl Leads {
    /// Reads what was known; a file that cannot be understood is as none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(path: &Path) -> io::Result<Self> {
        let read = match durable::read(path, limits::LEADS_FILE) {
            Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(error),
            read => read.ok().flatten(),
        };
        let known = read.map(|bytes| postcard::from_bytes(&bytes));
        if let Some(Err(error)) = &known {
            tracing::warn!(%error, "where the homes' names led cannot be read: they are asked for anew");
        }
        let names = known.and_then(Result::ok).unwrap_or_default();
        Ok(Self { names, path: Some(path.to_owned()), unsaved: false })
    }

    /// Writes it down, if there is something new.
    ///
    /// # Errors
    /// The kernel's.
    pub fn save(&mut self) -> io::Result<()> {
        let Some(path) = self.path.as_ref().filter(|_| self.unsaved) else { return Ok(()) };
        let bytes = postcard::to_stdvec(&self.names).map_err(io::Error::other)?;
        durable::replace(path, &bytes)?;
        self.unsaved = false;
        Ok(())
    }

    /// From now on these are the homes' names: those of whom it is time to ask, the new ones first.
    pub fn due<'a>(&mut self, names: impl Iterator<Item = &'a String>, now: u64) -> Vec<String> {
        let names: BTreeSet<&String> = names.collect();
        let before = self.names.len();
        self.names.retain(|name, _| names.contains(name));
        self.unsaved |= self.names.len() != before;
        for name in names {
            // Since when, also of one that nobody ever answers for.
            self.names.entry(name.clone()).or_insert_with(|| {
                self.unsaved = true;
                Name { since: now, ..Name::default() }
            });
        }
        let again = |name: &Name| name.answered.map_or(limits::LEADS_SOON, |_| limits::LEADS_AGAIN).as_secs();
        let old = |name: &Name| now.abs_diff(name.asked) >= again(name);
        let mut due: Vec<_> = self.names.iter().filter(|(_, name)| old(name)).collect();
        due.sort_by_key(|(_, name)| (name.answered.is_some(), name.asked));
        due.into_iter().map(|(name, _)| name.clone()).take(limits::LEADS_AT_ONCE).collect()
    }

    /// What came of it; `None`: nobody has answered.
    pub fn heard(&mut self, name: &str, answer: Option<&Addresses>, now: u64) {
        let Some(name) = self.names.get_mut(name) else { return };
        name.asked = now;
        let Some(answer) = answer else { return };
        let before = name.clone();
        name.hear(answer, now);
        // Times alone are worth a write now and then only.
        let hour = |name: &Name| name.answered.map(|at| at / 3_600);
        self.unsaved |= !name.seen.keys().eq(before.seen.keys()) || hour(name) != hour(&before);
    }

    /// What follows for these homes.
    #[must_use]
    pub fn strays(&self, homes: &BTreeMap<String, HomeGrant>, now: u64) -> Strays {
        let mut strays = Strays::default();
        for (home, grant) in homes {
            for name in &grant.names {
                match self.names.get(name).filter(|name| name.is_known(now)) {
                    None => drop(strays.anywhere.insert(home.clone())),
                    Some(name) => name.leads(now).for_each(|to| strays.lead(to, home)),
                }
            }
        }
        strays
    }
}

impl Strays {
    /// A home's name leads to this address.
    pub fn lead(&mut self, to: IpAddr, home: &str) {
        self.at.entry(to).or_default().insert(home.to_owned());
        self.somewhere.insert(home.to_owned());
    }

    /// Whether this home's name leads there, or may; of one that nobody can have written to yet, whether it does.
    #[must_use]
    pub fn may(&self, to: IpAddr, home: &str, is_expected: bool) -> bool {
        // Behind an address that is not the Internet's own there is another, of which DNS speaks, and nobody here knows it.
        let leads = match is_public(to) {
            true => self.at.get(&to).is_some_and(|homes| homes.contains(home)),
            false => !is_expected || self.somewhere.contains(home),
        };
        leads || self.anywhere.contains(home)
    }
}

impl Name {
    fn hear(&mut self, answer: &Addresses, now: u64) {
        if let Some(silent) = answer.silent {
            self.keep(silent, now);
        }
        // Of the other kind nothing has ever been heard: it may lead anywhere yet.
        if answer.silent.is_none() || self.is_known(now) {
            self.answered = Some(now);
        }
        self.seen.retain(|_, seen| now.abs_diff(*seen) < limits::LED.as_secs());
        let found = answer.found.iter().map(IpAddr::to_canonical);
        let (four, six): (Vec<_>, Vec<_>) = found.partition(IpAddr::is_ipv4);
        // None of the two hides the other.
        let found = dns::in_turn(six, four).into_iter().take(limits::LEADS_OF_ONE);
        self.seen.extend(found.map(|address| (address, now)));
        while self.seen.len() > limits::LEADS_OF_ONE {
            let oldest = self.seen.iter().min_by_key(|(_, seen)| **seen).map(|(address, _)| *address);
            oldest.map(|oldest| self.seen.remove(&oldest));
        }
    }

    /// Of this kind the last answer stays.
    fn keep(&mut self, silent: Silent, now: u64) {
        let last = self.answered;
        let stays = self.seen.iter_mut().filter(|(address, seen)| silent.is_of(**address) && Some(**seen) == last);
        stays.for_each(|(_, seen)| *seen = now);
    }

    const fn is_known(&self, now: u64) -> bool {
        self.answered.is_some() || now.abs_diff(self.since) >= limits::UNANSWERED.as_secs()
    }

    /// Also where it led within the last day: other resolvers keep what they were told for about as long.
    fn leads(&self, now: u64) -> impl Iterator<Item = IpAddr> {
        let last = self.answered;
        let recent = move |seen: u64| Some(seen) == last || now.abs_diff(seen) < limits::LED.as_secs();
        self.seen.iter().filter(move |(_, seen)| recent(**seen)).map(|(address, _)| *address)
    }
}

/// Whether DNS names the same address as the kernel does: no router translates it.
#[must_use]
pub const fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => {
            let [a, b, ..] = four.octets();
            // RFC 6598's as well.
            !(four.is_private() || four.is_loopback() || four.is_link_local() || a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(six) => !(six.is_loopback() || six.is_unique_local() || six.is_unicast_link_local()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;
    const BOB: &str = "mail.bob.example";

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn to(found: &[IpAddr]) -> Addresses {
        Addresses::all(found.to_vec())
    }

    fn homes() -> BTreeMap<String, HomeGrant> {
        [("bob".to_owned(), HomeGrant { names: [BOB.to_owned()].into(), ..HomeGrant::default() })].into()
    }

    fn names() -> Vec<String> {
        vec![BOB.to_owned()]
    }

    fn strays(leads: &Leads, to: &str, now: u64) -> bool {
        leads.strays(&homes(), now).may(address(to), "bob", false)
    }

    #[test]
    fn a_name_nobody_has_asked_for_leads_anywhere() {
        let mut leads = Leads::default();
        assert!(strays(&leads, "192.0.2.1", 0));
        assert_eq!(leads.due(names().iter(), 1_000), [BOB]);
        assert!(strays(&leads, "192.0.2.1", 1_000), "asked, and not answered");
        leads.heard(BOB, None, 1_000);
        let over = 1_000 + limits::UNANSWERED.as_secs();
        assert!(strays(&leads, "192.0.2.1", over - 1), "nobody answers");
        assert!(!strays(&leads, "192.0.2.1", over), "who finds it, if nobody answers?");
        leads.heard(BOB, Some(&to(&[])), 1_000);
        assert!(!strays(&leads, "192.0.2.1", 1_000), "there is no such name: that is an answer");
    }

    #[test]
    fn an_answer_lasts_while_there_is_no_other_and_a_day_longer() {
        let mut leads = Leads::default();
        leads.due(names().iter(), 0);
        leads.heard(BOB, Some(&to(&[address("::ffff:192.0.2.1")])), 0);
        leads.heard(BOB, None, 30 * DAY);
        assert!(strays(&leads, "192.0.2.1", 30 * DAY) && !strays(&leads, "192.0.2.2", 30 * DAY));
        leads.heard(BOB, Some(&to(&[address("192.0.2.1")])), 30 * DAY);
        leads.heard(BOB, Some(&to(&[address("192.0.2.2")])), 30 * DAY + 600);
        assert!(strays(&leads, "192.0.2.1", 31 * DAY - 1) && strays(&leads, "192.0.2.2", 30 * DAY + 600));
        assert!(!strays(&leads, "192.0.2.1", 31 * DAY), "what others were told is old, too");
        assert!(strays(&leads, "10.0.0.5", 31 * DAY), "a router's: DNS speaks of another address");
    }

    /// Mail for Bob was brought to whom he had lived with, though his new A record was known.
    #[test]
    fn what_was_answered_of_one_kind_counts() {
        let silent = |found: &[&str], silent| Addresses {
            found: found.iter().map(|text| address(text)).collect(),
            silent: Some(silent),
        };
        let mut leads = Leads::default();
        leads.due(names().iter(), 0);
        leads.heard(BOB, Some(&to(&[address("192.0.2.1"), address("2001:db8::1")])), 0);
        leads.heard(BOB, Some(&silent(&["192.0.2.2"], Silent::Six)), 3 * DAY);
        assert!(strays(&leads, "192.0.2.2", 3 * DAY), "senders that ask for A find it");
        assert!(strays(&leads, "2001:db8::1", 3 * DAY) && !strays(&leads, "192.0.2.1", 3 * DAY));
        leads.heard(BOB, Some(&silent(&["192.0.2.2"], Silent::Six)), 9 * DAY);
        leads.heard(BOB, None, 12 * DAY);
        assert!(strays(&leads, "2001:db8::1", 12 * DAY) && strays(&leads, "192.0.2.2", 12 * DAY), "the last answers");
        leads.heard(BOB, Some(&silent(&["2001:db8::2"], Silent::Four)), 13 * DAY);
        leads.heard(BOB, Some(&silent(&["2001:db8::2"], Silent::Four)), 15 * DAY);
        assert!(!strays(&leads, "2001:db8::1", 15 * DAY) && strays(&leads, "192.0.2.2", 15 * DAY));
    }

    #[test]
    fn a_new_name_of_which_half_is_known() {
        let half = Addresses { found: vec![address("192.0.2.2")], silent: Some(Silent::Six) };
        let (mut leads, over) = (Leads::default(), limits::UNANSWERED.as_secs());
        leads.due(names().iter(), 0);
        leads.heard(BOB, Some(&half), 1);
        assert!(strays(&leads, "2001:db8::1", over - 1), "AAAA may lead anywhere");
        for now in [over, 9 * DAY] {
            leads.heard(BOB, Some(&half), now);
            assert!(strays(&leads, "192.0.2.2", now) && !strays(&leads, "192.0.2.1", now));
        }
        leads.heard(BOB, None, 19 * DAY);
        assert!(strays(&leads, "192.0.2.2", 19 * DAY), "the last answer");
    }

    /// Who is found nowhere is not found behind a router, either.
    #[test]
    fn an_expected_home_that_leads_nowhere_is_meant_nowhere() {
        let mut leads = Leads::default();
        leads.due(names().iter(), 0);
        let may = |leads: &Leads, to| leads.strays(&homes(), 1).may(address(to), "bob", true);
        assert!(may(&leads, "10.0.0.5"), "nobody has answered");
        leads.heard(BOB, Some(&to(&[])), 1);
        assert!(!may(&leads, "10.0.0.5") && !may(&leads, "192.0.2.1"));
        assert!(strays(&leads, "10.0.0.5", 1), "others may have kept where a home led that was here");
        leads.heard(BOB, Some(&to(&[address("192.0.2.9")])), 1);
        assert!(may(&leads, "10.0.0.5") && !may(&leads, "192.0.2.1"), "which of them the router has nobody knows");
    }

    #[test]
    fn names_are_asked_for_in_turn() {
        let mut leads = Leads::default();
        let names: Vec<String> =
            (0..limits::LEADS_AT_ONCE + 5).map(|number| format!("mail.{number}.example")).collect();
        let first = leads.due(names.iter(), 1_000);
        assert_eq!(first.len(), limits::LEADS_AT_ONCE);
        first.iter().for_each(|name| leads.heard(name, Some(&to(&[])), 1_000));
        let second = leads.due(names.iter(), 1_001);
        assert!(second.len() == 5 && second.iter().all(|name| !first.contains(name)), "{second:?}");
        second.iter().for_each(|name| leads.heard(name, None, 1_001));
        assert!(leads.due(names.iter(), 1_002).is_empty());
        assert_eq!(leads.due(names.iter(), 1_001 + limits::LEADS_SOON.as_secs()), second, "nobody has answered");
        let again = leads.due(names.iter(), 1_002 + limits::LEADS_AGAIN.as_secs());
        assert_eq!(again[..5], second, "those without an answer first");
        assert!(leads.due([].iter(), 1_003).is_empty() && leads.names.is_empty(), "homes that are no more");
    }

    #[test]
    fn a_name_has_so_many_addresses() {
        let mut leads = Leads::default();
        leads.due(names().iter(), 0);
        for turn in 0..100u8 {
            leads.heard(BOB, Some(&to(&[[198, 51, 100, turn].into()])), turn.into());
        }
        assert_eq!(leads.names[BOB].seen.len(), limits::LEADS_OF_ONE);
        assert!(strays(&leads, "198.51.100.99", 100), "the newest are kept");
        let six = (0..100u16).map(|last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]));
        let all: Vec<IpAddr> = six.chain([address("192.0.2.1")]).collect();
        leads.heard(BOB, Some(&to(&all)), 101);
        assert!(strays(&leads, "192.0.2.1", 101) && strays(&leads, "2001:db8::1", 101), "AAAA records hide no A");
        assert_eq!(leads.names[BOB].seen.len(), limits::LEADS_OF_ONE);
    }

    #[test]
    fn what_is_known_survives_a_restart() {
        let path = std::env::temp_dir().join(format!("inbound-leads-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut leads = Leads::open(&path).unwrap();
        leads.due(names().iter(), 0);
        leads.heard(BOB, Some(&to(&[address("192.0.2.1")])), 0);
        leads.save().unwrap();
        let again = Leads::open(&path).unwrap();
        assert!(strays(&again, "192.0.2.1", 9 * DAY) && !strays(&again, "192.0.2.2", 9 * DAY));
        // Of one that nobody answers for it is known since when: a restart does not begin its ten minutes anew.
        let lame =
            |leads: &mut Leads, now| drop(leads.due([BOB.to_owned(), "mail.lame.example".to_owned()].iter(), now));
        let (mut leads, over) = (again, 5 + limits::UNANSWERED.as_secs());
        lame(&mut leads, 5);
        leads.save().unwrap();
        let mut again = Leads::open(&path).unwrap();
        lame(&mut again, over);
        again.heard("mail.lame.example", None, over);
        let is_known = |leads: &Leads, now| leads.names["mail.lame.example"].is_known(now);
        assert!(!is_known(&again, over - 1) && is_known(&again, over));
        again.due(names().iter(), over);
        again.save().unwrap();
        assert_eq!(Leads::open(&path).unwrap().names.len(), 1, "who is forgotten leaves nothing behind");
        std::fs::write(&path, b"\xff\xff\xff damaged").unwrap();
        assert!(strays(&Leads::open(&path).unwrap(), "192.0.2.2", 0), "unknown again");
        std::fs::remove_file(&path).unwrap();
    }
}
