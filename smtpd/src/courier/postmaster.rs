//! What the postmaster hears of what aliases passed on and nobody took: strangers decide how much of it there is, and must not
//! decide how much lies in somebody's mailbox. Of letters for the same addresses that are refused in the same way there is one
//! notice a day; the log has them all.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ring::digest;
use spool::edges::outbox::{Outgoing, State};
use spool::names::TransactionId;

use super::limits;
use super::outcome::Due;

const DAY: i64 = 86_400;
/// Kinds of reasons that are told apart (RFC 3463 §2 knows eight): far servers say any number.
const SUBJECTS: u16 = 8;

/// The name of that notice: the same for all of one day that tell the same. By it the keeper, too, knows the second, also after
/// a start.
#[must_use]
pub fn name(outgoing: &Outgoing, due: &Due, alias: Option<&str>, now: i64) -> TransactionId {
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

/// What was told today.
#[derive(Debug, Default)]
pub struct Postmaster(Mutex<(i64, HashSet<TransactionId>)>);

/// Whether a notice is made.
#[derive(Debug)]
pub enum May<'a> {
    /// It is; what is not kept was none after all.
    Tell(Telling<'a>),
    /// There is one already.
    Told,
    /// There are as many as there may be in a day.
    Enough,
}

/// A notice that is being made.
#[derive(Debug)]
pub struct Telling<'a> {
    of: &'a Postmaster,
    name: TransactionId,
    kept: bool,
}

impl Telling<'_> {
    /// It lies in the mailbox.
    pub fn kept(mut self) {
        self.kept = true;
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.of.lock().1.remove(&self.name);
        }
    }
}

impl Postmaster {
    /// Asks for one of that name.
    pub fn may(&self, name: TransactionId, now: i64) -> May<'_> {
        let mut today = self.lock();
        let day = now.div_euclid(DAY);
        if today.0 != day {
            *today = (day, HashSet::new());
        }
        if today.1.contains(&name) {
            return May::Told;
        }
        if today.1.len() >= limits::POSTMASTER_NOTICES {
            return May::Enough;
        }
        today.1.insert(name);
        May::Tell(Telling { of: self, name, kept: false })
    }

    fn lock(&self) -> MutexGuard<'_, (i64, HashSet<TransactionId>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use spool::edges::outbox::{OutgoingRecipient, Said};

    use super::*;
    use crate::courier::dsn::Kind;
    use crate::courier::samples;

    fn named(to: &str, subject: u16, alias: Option<&str>, now: i64) -> TransactionId {
        let last = Said { status: (5, subject, 1), by: None, words: "no".into(), at: 0 };
        let state = State::Untold { delivered: false, last };
        let one = OutgoingRecipient { address: to.into(), original: None, notify: None, state };
        let due =
            Due { kind: Kind::Failure, recipients: vec![0], transaction: TransactionId([1; 16]), then: Vec::new() };
        name(&samples::outgoing(Some("joe@far.test"), std::iter::once(one)), &due, alias, now)
    }

    #[test]
    fn the_same_of_one_day_has_one_name() {
        let us = Some("us@home.test");
        let one = named("ben@far.test", 7, us, 100);
        assert_eq!(named("Ben@far.test", 7, us, DAY - 1), one);
        for other in [
            named("ben@far.test", 7, us, DAY),
            named("ben@far.test", 1, us, 100),
            named("cleo@far.test", 7, us, 100),
            named("ben@far.test", 7, Some("them@home.test"), 100),
        ] {
            assert_ne!(other, one);
        }
        assert_eq!(
            named("ben@far.test", 900, us, 1),
            named("ben@far.test", 901, us, 1),
            "a far server cannot go on for ever"
        );
    }

    #[test]
    fn one_of_each_and_so_many_a_day() {
        let (postmaster, name) = (Postmaster::default(), |n: usize| TransactionId([u8::try_from(n).unwrap(); 16]));
        let tell = |n, now| match postmaster.may(name(n), now) {
            May::Tell(telling) => {
                telling.kept();
                true
            }
            May::Told | May::Enough => false,
        };
        drop(postmaster.may(name(0), 0));
        assert!(tell(0, 0), "it was none after all");
        assert!(matches!(postmaster.may(name(0), 1), May::Told));
        assert_eq!((1..100).filter(|n| tell(*n, 1)).count(), limits::POSTMASTER_NOTICES - 1);
        assert!(matches!(postmaster.may(name(100), 1), May::Enough) && matches!(postmaster.may(name(0), 1), May::Told));
        assert!(tell(100, DAY), "another day");
    }
}
