//! What the postmaster hears of what aliases passed on and nobody took: strangers decide how much of it there is, and must not
//! decide how much lies in somebody's mailbox. The first letter of a kind that fails has a notice of its own; the others
//! wait, and come in one notice, a few times a day. A letter of which nobody has heard yet stays untold in the journal, so
//! that the next courier tells of it.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ring::digest;
use spool::edges::outbox::{Outgoing, State};
use spool::names::TransactionId;

use super::limits;
use super::outcome::Due;
use super::summary::{self, Counted, Entry, Rest, Sum};

const DAY: i64 = 86_400;
/// Kinds of reasons that are told apart (RFC 3463 §2 knows eight): far servers say any number.
const SUBJECTS: u16 = 8;

/// Letters of one day are of a kind that came for the same alias, and fail at the same addresses for the same kind of reason.
#[must_use]
pub fn kind(outgoing: &Outgoing, due: &Due, alias: Option<&str>, now: i64) -> TransactionId {
    let about = due.recipients.iter().filter_map(|number| outgoing.recipients.get(usize::from(*number)));
    let mut lines: Vec<String> = about
        .map(|one| {
            let subject = match &one.state {
                State::Untold { last, .. } | State::Waiting { last: Some(last), .. } => last.status.1.min(SUBJECTS),
                State::Waiting { last: None, .. } | State::Done { .. } => 0,
            };
            format!("{subject} {}", one.address.to_lowercase())
        })
        .collect();
    lines.sort_unstable();
    let day = now.div_euclid(DAY);
    let text = format!("postern postmaster\0{day}\0{}\0{}", alias.unwrap_or_default(), lines.join("\0"));
    let mut name = [0; 16];
    name.copy_from_slice(&digest::digest(&digest::SHA256, text.as_bytes()).as_ref()[..16]);
    TransactionId(name)
}

/// What was told, and what is still to be.
#[derive(Debug, Default)]
pub struct Postmaster(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    day: i64,
    kinds: HashSet<TransactionId>,
    rest: Rest,
}

/// How the postmaster hears of a letter.
#[derive(Debug)]
pub enum May<'a> {
    /// By a notice about it; what is not kept was none after all.
    Tell(Telling<'a>),
    /// By one that is due now, with all that wait for it.
    Sum(Summing<'a>),
    /// Later, with others; whether it is the first time that this is said.
    Wait(bool),
    /// Already.
    Told,
    /// As one of a number.
    Counted,
}

/// A notice about one letter that is being made.
#[derive(Debug)]
pub struct Telling<'a> {
    of: &'a Postmaster,
    kind: TransactionId,
    /// Of these it tells, too.
    counted: Counted,
    kept: bool,
}

impl Telling<'_> {
    /// What it says of others, of which nothing else is told.
    #[must_use]
    pub fn more(&self) -> Option<String> {
        summary::more(&self.counted)
    }

    /// It lies in the mailbox.
    pub fn kept(mut self) {
        self.kept = true;
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if !self.kept {
            let mut told = self.of.lock();
            told.kinds.remove(&self.kind);
            told.rest.give_back(&self.counted);
        }
    }
}

/// A notice about many that is being made.
#[derive(Debug)]
pub struct Summing<'a> {
    of: &'a Postmaster,
    /// What it says.
    pub sum: Sum,
}

impl Summing<'_> {
    /// It lies in the mailbox; the letter for which it was made goes now, the others when their turn comes.
    pub fn kept(mut self, one: TransactionId, now: i64) {
        let mut told = self.of.lock();
        told.rest.told(&mut self.sum, now);
        told.rest.has_told(one);
    }
}

impl Drop for Summing<'_> {
    fn drop(&mut self) {
        self.of.lock().rest.ended(&self.sum);
    }
}

impl Postmaster {
    /// Asks for one letter, of that kind. `one` is the name of a notice about it alone.
    pub fn may(&self, one: TransactionId, kind: TransactionId, entry: &Entry, now: i64) -> May<'_> {
        let mut told = self.lock();
        let day = now.div_euclid(DAY);
        if told.day != day {
            (told.day, told.kinds) = (day, HashSet::new());
        }
        if told.rest.has_told(one) {
            return May::Told;
        }
        if !told.rest.has(one) && told.kinds.len() < limits::POSTMASTER_NOTICES && told.kinds.insert(kind) {
            return May::Tell(self.telling(&mut told, kind));
        }
        let Some(is_new) = told.rest.add(one, entry, now) else {
            // Nobody knows yet whether those that wait will be there to ask. The other half is for what is of a new kind.
            if told.kinds.len() < limits::POSTMASTER_NOTICES / 2 && told.kinds.insert(one) {
                return May::Tell(self.telling(&mut told, one));
            }
            told.rest.count(&entry.domain, now);
            return May::Counted;
        };
        match told.rest.due(now) {
            Some(sum) => May::Sum(Summing { of: self, sum }),
            None => May::Wait(is_new),
        }
    }

    fn telling(&self, told: &mut Told, kind: TransactionId) -> Telling<'_> {
        Telling { of: self, kind, counted: told.rest.take_counted(), kept: false }
    }

    /// The admin wants to hear of it now.
    pub fn hurry(&self) {
        self.lock().rest.hurry();
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use spool::edges::outbox::{OutgoingRecipient, Said};

    use super::*;
    use crate::courier::dsn::Kind;
    use crate::courier::samples;

    fn of_kind(to: &str, subject: u16, alias: Option<&str>, now: i64) -> TransactionId {
        let last = Said { status: (5, subject, 1), by: None, words: "no".into(), at: 0 };
        let state = State::Untold { delivered: false, last };
        let one = OutgoingRecipient { address: to.into(), original: None, notify: None, state };
        let due =
            Due { kind: Kind::Failure, recipients: vec![0], transaction: TransactionId([1; 16]), then: Vec::new() };
        kind(&samples::outgoing(Some("joe@far.test"), std::iter::once(one)), &due, alias, now)
    }

    #[test]
    fn the_same_of_one_day_is_one_kind() {
        let us = Some("us@home.test");
        let one = of_kind("ben@far.test", 7, us, 100);
        assert_eq!(of_kind("Ben@far.test", 7, us, DAY - 1), one);
        for other in [
            of_kind("ben@far.test", 7, us, DAY),
            of_kind("ben@far.test", 1, us, 100),
            of_kind("cleo@far.test", 7, us, 100),
            of_kind("ben@far.test", 7, Some("them@home.test"), 100),
        ] {
            assert_ne!(other, one);
        }
        assert_eq!(
            of_kind("ben@far.test", 900, us, 1),
            of_kind("ben@far.test", 901, us, 1),
            "a far server cannot go on for ever"
        );
    }

    fn name(number: usize) -> TransactionId {
        let mut name = [0; 16];
        name[..8].copy_from_slice(&(number as u64).to_le_bytes());
        TransactionId(name)
    }

    fn entry(from: &str) -> Entry {
        Entry { domain: "far.test".into(), lines: format!("{from}, for us@home.test\r\n"), size: 1_000 }
    }

    /// Whether it is told by itself.
    fn tells(postmaster: &Postmaster, one: usize, kind: usize, now: i64) -> bool {
        match postmaster.may(name(one), name(kind), &entry("joe"), now) {
            May::Tell(telling) => {
                telling.kept();
                true
            }
            _ => false,
        }
    }

    #[test]
    fn one_of_each_kind_and_so_many_a_day() {
        let postmaster = Postmaster::default();
        drop(postmaster.may(name(0), name(0), &entry("joe"), 0));
        assert!(tells(&postmaster, 0, 0, 0), "it was none after all");
        assert!(!tells(&postmaster, 1, 0, 1));
        assert_eq!((2..100).filter(|n| tells(&postmaster, *n, *n, 1)).count(), limits::POSTMASTER_NOTICES - 1);
        assert!(tells(&postmaster, 100, 100, DAY), "another day");
        assert!(!tells(&postmaster, 1, 0, DAY), "what waits to be told with others is told with them");
    }

    #[test]
    fn what_is_not_told_by_itself_is_told_with_others() {
        let (postmaster, hour) = (Postmaster::default(), limits::SUMMARY_AFTER);
        assert!(tells(&postmaster, 0, 0, 0));
        let may = |one, from: &str, now| postmaster.may(name(one), name(0), &entry(from), now);
        assert!(matches!(may(1, "spam", 10), May::Wait(true)) && matches!(may(1, "spam", 20), May::Wait(false)));
        assert!(matches!(may(2, "aunt", 10 + hour - 1), May::Wait(true)));
        let May::Sum(summing) = may(1, "spam", 10 + hour) else { panic!("not yet") };
        assert!(["aunt, for", "spam, for"].iter().all(|one| summing.sum.text.contains(one)), "{}", summing.sum.text);
        assert!(matches!(may(2, "aunt", 10 + hour), May::Wait(false)), "it is being told");
        drop(summing);
        let May::Sum(summing) = may(2, "aunt", 10 + hour) else { panic!("it was not kept") };
        assert!(matches!(may(3, "late", 10 + hour), May::Wait(true)));
        summing.kept(name(2), 10 + hour);
        assert!(matches!(may(1, "spam", 11 + hour), May::Told));
        assert!(matches!(may(3, "late", 10 + 2 * hour), May::Wait(false)), "a few times a day");
        postmaster.hurry();
        let May::Sum(summing) = may(3, "late", 10 + 2 * hour) else { panic!("the admin asks") };
        assert!(!summing.sum.text.contains("aunt"));
        summing.kept(name(3), 10 + 2 * hour);
        assert!(matches!(may(4, "next", 10 + 2 * hour), May::Wait(true)));
        let next = 10 + 2 * hour + limits::SUMMARY_BETWEEN;
        assert!(matches!(may(4, "next", next - 1), May::Wait(false)) && matches!(may(4, "next", next), May::Sum(_)));
    }

    #[test]
    fn beyond_what_may_wait_they_are_counted() {
        let postmaster = Postmaster::default();
        assert!(tells(&postmaster, 0, 0, 0));
        for number in 1..=limits::SUMMARY_LETTERS {
            assert!(matches!(postmaster.may(name(number), name(0), &entry("joe"), 0), May::Wait(true)), "{number}");
        }
        let alone = limits::POSTMASTER_NOTICES / 2 - 1;
        assert_eq!((200..300).filter(|number| tells(&postmaster, *number, 0, 0)).count(), alone, "at once, so many");
        assert!(matches!(postmaster.may(name(1), name(0), &entry("joe"), 0), May::Wait(false)));
        let May::Tell(telling) = postmaster.may(name(400), name(400), &entry("joe"), 0) else { panic!("a new kind") };
        let counted = 100 - alone;
        assert_eq!(telling.more(), Some(format!("{counted} more, from: far.test ({counted})")));
        assert!(matches!(postmaster.may(name(401), name(0), &entry("joe"), 0), May::Counted));
        telling.kept();
        for number in 0..2 {
            let more = name(1_000 + number);
            assert!(matches!(postmaster.may(more, name(0), &entry("joe"), 0), May::Counted));
        }
        postmaster.hurry();
        for _ in 0..2 {
            let May::Sum(summing) = postmaster.may(name(1), name(0), &entry("joe"), 0) else { panic!("none") };
            assert!(summing.sum.text.contains("3 more, from: far.test (3)"), "{}", summing.sum.text);
        }
        let May::Sum(summing) = postmaster.may(name(1), name(0), &entry("joe"), 0) else { panic!("none") };
        assert!(summing.sum.text.contains("3 more, from: far.test (3)"), "{}", summing.sum.text);
        summing.kept(name(1), 0);
        let large = Entry { size: limits::SUMMARY_BYTES + 1, ..entry("joe") };
        assert!(matches!(postmaster.may(name(2_000), name(0), &large, 0), May::Wait(true)), "it asks for itself");
    }

    /// As many as may wait, and some that are counted, none of which asks again.
    fn all_dropped() -> Postmaster {
        let postmaster = Postmaster::default();
        assert!(tells(&postmaster, 0, 0, 0));
        let alone = limits::POSTMASTER_NOTICES / 2 - 1;
        for number in 1..=limits::SUMMARY_LETTERS + alone + 3 {
            match postmaster.may(name(number), name(0), &entry("spam"), 0) {
                May::Tell(telling) => telling.kept(),
                May::Wait(_) | May::Counted => {}
                other => panic!("{other:?}"),
            }
        }
        postmaster
    }

    #[test]
    fn the_counted_are_told_though_nobody_waits_any_more() {
        let postmaster = all_dropped();
        for kept in [false, true] {
            let May::Tell(telling) = postmaster.may(name(900), name(900), &entry("aunt"), 1) else { panic!("new") };
            assert_eq!(telling.more().as_deref(), Some("3 more, from: far.test (3)"));
            if kept {
                telling.kept();
            }
        }
        let May::Tell(telling) = postmaster.may(name(901), name(901), &entry("aunt"), 1) else { panic!("new") };
        assert_eq!(telling.more(), None, "once");
        let postmaster = all_dropped();
        postmaster.hurry();
        let aunt = postmaster.may(name(900), name(0), &entry("aunt"), 1);
        let May::Sum(summing) = aunt else { panic!("the admin asks, and nobody else can: {aunt:?}") };
        let text = &summing.sum.text;
        assert!(text.contains("aunt, for") && text.contains("3 more, from: far.test (3)"), "{text}");
        drop(summing);
        assert!(matches!(postmaster.may(name(901), name(0), &entry("joe"), 1), May::Counted), "one, not any number");
        let May::Sum(summing) = postmaster.may(name(900), name(0), &entry("aunt"), 1) else { panic!("not kept") };
        assert!(summing.sum.text.contains("4 more, from: far.test (4)"), "{}", summing.sum.text);
    }

    #[test]
    fn what_comes_after_them_is_told_with_others() {
        let (postmaster, later) = (all_dropped(), 601);
        let may = |one, now| postmaster.may(name(one), name(0), &entry("aunt"), now);
        assert!(matches!(may(900, later), May::Wait(true)));
        let May::Sum(summing) = may(900, limits::SUMMARY_AFTER) else { panic!("not yet") };
        let text = &summing.sum.text;
        assert!(text.contains("aunt, for") && text.contains("3 more, from"), "{text}");
    }
}
