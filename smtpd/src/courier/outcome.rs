//! What an attempt comes to: the next state of each recipient, and the notices that are due.

use ring::digest;
use spool::edges::outbox::limits::{FARTHEST, REST_WORDS};
use spool::edges::outbox::{Outgoing, OutgoingRecipient, Said, State};
use spool::names::{LetterId, TransactionId};

use super::dsn::{self, Kind};
use super::elsewhere;
use super::fate::{Fate, Status, Why};
use super::limits;
use super::schedule::{self, Next};
use super::session::Notify;

/// One attempt's circumstances.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// Now.
    pub now: i64,
    /// Any random number.
    pub jitter: u64,
    /// The far server makes notices itself (DSN): what it took it also tells.
    pub far_notifies: bool,
}

/// The states after an attempt, of the recipients it was about, by number.
#[must_use]
pub fn states(outgoing: &Outgoing, fates: &[(u16, Fate)], attempt: Attempt) -> Vec<(u16, State)> {
    let some_taken = elsewhere::is_taken(fates);
    let after = fates.iter().filter_map(|(number, fate)| {
        let one = outgoing.recipients.get(usize::from(*number))?;
        Some((*number, state(outgoing, one, fate, some_taken, attempt)?))
    });
    after.collect()
}

fn state(
    outgoing: &Outgoing,
    one: &OutgoingRecipient,
    fate: &Fate,
    some_taken: bool,
    attempt: Attempt,
) -> Option<State> {
    let State::Waiting { failures, delay_told, .. } = &one.state else { return None };
    let last = said(fate.why(), attempt.now);
    Some(match fate {
        Fate::Delivered(_) => {
            let tell = !attempt.far_notifies && hears(outgoing, one, Kind::Relayed);
            decided(true, last, tell)
        }
        Fate::Failed(_) => decided(false, last, hears(outgoing, one, Kind::Failure)),
        Fate::Deferred(why) if is_left_over(why, some_taken) => {
            State::Waiting { failures: *failures, due: attempt.now, delay_told: *delay_told, last: Some(last) }
        }
        Fate::Deferred(why) => {
            // What this house's own proxy has no room for was no attempt, unless it has none for days.
            let end = outgoing.queued.saturating_add(limits::GIVE_UP);
            let only_waits = why.wait.is_some() && (outgoing.queued..end).contains(&attempt.now);
            let failures = failures.saturating_add(u32::from(!only_waits));
            match schedule::next(outgoing.queued, failures, attempt.now, attempt.jitter) {
                Next::At(due) => {
                    let due = why.wait.map_or(due, |wait| told(wait, attempt));
                    State::Waiting { failures, due, delay_told: *delay_told, last: Some(last) }
                }
                Next::GiveUp => decided(false, given_up(last), hears(outgoing, one, Kind::Failure)),
            }
        }
    })
}

/// Whether it is that one's turn at once, and what was is no failure: the host was not asked, since it takes fewer in one
/// transaction; or it had enough of the others, or lacked something that another may have.
fn is_left_over(why: &Why, some_taken: bool) -> bool {
    match why.is_too_many_recipients() {
        true => some_taken || why.said.is_none(),
        false => some_taken && elsewhere::is_postponed(why),
    }
}

/// The time that was told; not all letters at the same second, and none so late that the keeper takes it for a wrong clock.
fn told(seconds: u32, attempt: Attempt) -> i64 {
    let spread = (attempt.jitter % 30).cast_signed();
    attempt.now.saturating_add((i64::from(seconds) + 1 + spread).min(FARTHEST - 1))
}

fn decided(delivered: bool, last: Said, tell: bool) -> State {
    if tell { State::Untold { delivered, last } } else { State::Done { delivered } }
}

/// RFC 3463 X.4.7: the time is over. The words stay whose they are; the notice says that it was given up.
fn given_up(last: Said) -> Said {
    let (class, subject, detail) = super::dsn::GIVEN_UP;
    Said { status: (class, subject, detail), ..last }
}

fn hears(outgoing: &Outgoing, one: &OutgoingRecipient, kind: Kind) -> bool {
    // Of what an alias passed on, the postmaster hears that it failed: nobody else here knows of it.
    let is_known_here = !outgoing.passed_on || kind == Kind::Failure;
    outgoing.sender.is_some() && is_known_here && dsn::is_wanted(kind, notify(one))
}

/// NOTIFY as the keeper has it.
#[must_use]
pub fn notify(one: &OutgoingRecipient) -> Option<Notify> {
    one.notify.map(|(success, failure, delay)| Notify { success, failure, delay })
}

/// A notice that is due, and the recipients it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// What.
    pub kind: Kind,
    /// By number.
    pub recipients: Vec<u16>,
    /// The name under which it is deposited: the same each time, so that a crash between the deposit and its record makes
    /// no second one.
    pub transaction: TransactionId,
    /// Their states once it is deposited.
    pub then: Vec<(u16, State)>,
}

/// The notices that a letter's sender is to get now, about recipients that are leased.
#[must_use]
pub fn due(letter: LetterId, outgoing: &Outgoing, leased: &[u16], now: i64) -> Vec<Due> {
    let until = outgoing.queued.saturating_add(limits::GIVE_UP);
    let failed = notice(letter, (outgoing, leased), Kind::Failure, |state| match state {
        State::Untold { delivered: false, .. } => Some(State::Done { delivered: false }),
        _ => None,
    });
    let passed_on = notice(letter, (outgoing, leased), Kind::Relayed, |state| match state {
        State::Untold { delivered: true, last } if last.by.is_some() => Some(State::Done { delivered: true }),
        _ => None,
    });
    // No far server took it: this house did.
    let delivered = notice(letter, (outgoing, leased), Kind::Delivered, |state| match state {
        State::Untold { delivered: true, last } if last.by.is_none() => Some(State::Done { delivered: true }),
        _ => None,
    });
    let late = notice(letter, (outgoing, leased), Kind::Delay(until), |state| match state {
        State::Waiting { failures, due, delay_told: false, last: last @ Some(_) }
            if schedule::is_delayed(outgoing.queued, now) =>
        {
            Some(State::Waiting { failures: *failures, due: *due, delay_told: true, last: last.clone() })
        }
        _ => None,
    });
    [failed, passed_on, delivered, late].into_iter().flatten().collect()
}

fn notice(
    letter: LetterId,
    (outgoing, leased): (&Outgoing, &[u16]),
    kind: Kind,
    after: impl Fn(&State) -> Option<State>,
) -> Option<Due> {
    let all = outgoing.recipients.iter().zip(0u16..);
    let about = all.filter(|(one, number)| leased.contains(number) && hears(outgoing, one, kind));
    let then: Vec<(u16, State)> = about.filter_map(|(one, number)| Some((number, after(&one.state)?))).collect();
    let recipients: Vec<u16> = then.iter().map(|(number, _)| *number).collect();
    let transaction = name(letter, kind, &recipients);
    (!then.is_empty()).then_some(Due { kind, recipients, transaction, then })
}

fn name(letter: LetterId, kind: Kind, recipients: &[u16]) -> TransactionId {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"postern notice\0");
    context.update(&letter.0);
    context.update(match kind {
        Kind::Failure => b"f",
        Kind::Delay(_) => b"d",
        Kind::Relayed => b"r",
        Kind::Delivered => b"h",
    });
    recipients.iter().for_each(|number| context.update(&number.to_le_bytes()));
    let mut name = [0; 16];
    name.copy_from_slice(&context.finish().as_ref()[..16]);
    TransactionId(name)
}

/// For the keeper.
#[must_use]
pub fn said(why: &Why, at: i64) -> Said {
    let status = (why.status.class, why.status.subject, why.status.detail);
    Said { status, by: why.said.clone(), words: bounded(&why.words, limits::WORDS), at }
}

/// From the keeper.
#[must_use]
pub fn why(said: &Said) -> Why {
    let (class, subject, detail) = said.status;
    Why { status: Status::new(class, subject, detail), said: said.by.clone(), words: said.words.clone(), wait: None }
}

/// Why a destination rests, for the admin's list.
#[must_use]
pub fn reason(words: &str) -> String {
    bounded(words, REST_WORDS)
}

/// The keeper drops a courier that hands in more, or controls.
fn bounded(words: &str, most: usize) -> String {
    let mut out = String::new();
    for c in words.chars().map(|c| if c.is_control() { '?' } else { c }) {
        if out.len() + c.len_utf8() > most {
            break;
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::courier::samples;
    use proptest::prelude::*;

    const ALL: Option<(bool, bool, bool)> = Some((true, true, true));
    const NEVER: Option<(bool, bool, bool)> = Some((false, false, false));
    const LETTER: LetterId = LetterId([1; 16]);

    fn outgoing(sender: Option<&str>, notify: &[Option<(bool, bool, bool)>]) -> Outgoing {
        let recipients = notify.iter().map(|notify| OutgoingRecipient {
            address: "ben@far.test".into(),
            original: None,
            notify: *notify,
            state: State::new(0),
        });
        samples::outgoing(sender, recipients)
    }

    fn because(class: u8, subject: u16, detail: u16) -> Why {
        Why {
            status: Status::new(class, subject, detail),
            said: Some(("mx.far.test".into(), 450)),
            words: "so".into(),
            wait: None,
        }
    }

    fn at(now: i64) -> Attempt {
        Attempt { now, jitter: 125, far_notifies: false }
    }

    fn one(sender: Option<&str>, notify: Option<(bool, bool, bool)>, fate: Fate, attempt: Attempt) -> State {
        states(&outgoing(sender, &[notify]), &[(0, fate)], attempt).remove(0).1
    }

    const ANNA: Option<&str> = Some("anna@home.test");

    #[test]
    fn who_is_told_of_what() {
        let taken = || Fate::Delivered(because(2, 0, 0));
        let refused = || Fate::Failed(because(5, 1, 1));
        let done = |delivered| State::Done { delivered };
        assert_eq!(one(ANNA, None, taken(), at(1)), done(true));
        assert!(matches!(one(ANNA, ALL, taken(), at(1)), State::Untold { delivered: true, .. }));
        assert_eq!(one(ANNA, ALL, taken(), Attempt { far_notifies: true, ..at(1) }), done(true));
        assert!(matches!(one(ANNA, None, refused(), at(1)), State::Untold { delivered: false, .. }));
        assert_eq!(one(ANNA, NEVER, refused(), at(1)), done(false));
        assert_eq!(one(None, None, refused(), at(1)), done(false), "never to the null sender");
        assert_eq!(one(None, ALL, taken(), at(1)), done(true));
        let passed_on = Outgoing { passed_on: true, ..outgoing(ANNA, &[None]) };
        let after = states(&passed_on, &[(0, refused())], at(1)).remove(0).1;
        assert!(matches!(after, State::Untold { delivered: false, .. }), "the postmaster hears what an alias lost");
        let passed_on = Outgoing { passed_on: true, ..outgoing(ANNA, &[ALL]) };
        assert_eq!(states(&passed_on, &[(0, taken())], at(1)).remove(0).1, done(true), "no stranger hears");
        let bounce = Outgoing { passed_on: true, ..outgoing(None, &[None]) };
        assert_eq!(states(&bounce, &[(0, refused())], at(1)).remove(0).1, done(false), "no bounce of a bounce");
    }

    #[test]
    fn later_and_at_last_never() {
        let later = || Fate::Deferred(because(4, 2, 0));
        let State::Waiting { failures: 1, due, last: Some(last), .. } = one(ANNA, None, later(), at(0)) else {
            panic!()
        };
        assert!(due > 0 && due < 200 && last.words == "so");
        let mut often = outgoing(ANNA, &[None]);
        let failures = limits::ATTEMPTS - 1;
        often.recipients[0].state = State::Waiting { failures, due: 0, delay_told: true, last: None };
        let after = states(&often, &[(0, later())], at(limits::GIVE_UP)).remove(0).1;
        let State::Untold { delivered: false, last } = after else { panic!() };
        assert_eq!((last.status, last.words.as_str()), ((5, 4, 7), "so"));
        assert_eq!(last.by, Some(("mx.far.test".into(), 450)), "the far server's words stay its own");
    }

    #[test]
    fn who_is_told_when_asks_then() {
        let told = |wait| Fate::Deferred(Why { wait: Some(wait), ..because(4, 4, 1) });
        for (wait, least, most) in [(5, 6, 36), (7_000, 7_001, 7_031), (86_400, FARTHEST - 1, FARTHEST - 1)] {
            let State::Waiting { failures: 0, due, .. } = one(ANNA, None, told(wait), at(1_000)) else { panic!() };
            assert!((1_000 + least..=1_000 + most).contains(&due), "{wait}: {due}");
        }
    }

    #[test]
    fn a_wait_for_the_own_proxy_is_no_failure_until_the_days_are_over() {
        let wait = || Fate::Deferred(Why { wait: Some(360), ..because(4, 4, 1) });
        let mut often = outgoing(ANNA, &[None]);
        let before = limits::ATTEMPTS - 1;
        often.recipients[0].state = State::Waiting { failures: before, due: 0, delay_told: true, last: None };
        let after = |now| states(&often, &[(0, wait())], at(now)).remove(0).1;
        assert!(matches!(after(limits::GIVE_UP - 1), State::Waiting { failures, .. } if failures == before));
        assert!(matches!(after(limits::GIVE_UP), State::Untold { delivered: false, .. }), "it does not wait for ever");
        often.queued = 2_000;
        let after = |now| states(&often, &[(0, wait())], at(now)).remove(0).1;
        assert!(
            matches!(after(1_000), State::Waiting { failures, .. } if failures == before + 1),
            "a clock that was ahead"
        );
    }

    #[test]
    fn the_rest_at_once_when_it_was_only_too_many() {
        let too_many = [(0, Fate::Delivered(because(2, 0, 0))), (1, Fate::Deferred(because(4, 5, 3)))];
        let after = states(&outgoing(ANNA, &[None, None]), &too_many, at(50));
        assert!(matches!(after[1].1, State::Waiting { failures: 0, due: 50, .. }));
        // Those who were refused are out of the way: the others have not been asked.
        let not_asked = Why { said: None, ..because(4, 5, 3) };
        let fates = [(0, Fate::Deferred(because(4, 2, 2))), (1, Fate::Deferred(not_asked))];
        let later = states(&outgoing(ANNA, &[None, None]), &fates, at(50));
        assert!(matches!(later[0].1, State::Waiting { failures: 1, due: 51.., .. }));
        assert!(matches!(later[1].1, State::Waiting { failures: 0, due: 50, .. }));
        // So it is for whom that host lacks something, and another may have it.
        let lacks = Why { said: None, ..because(4, 6, 7) };
        let fates = [(0, Fate::Delivered(because(2, 0, 0))), (1, Fate::Deferred(lacks))];
        let later = states(&outgoing(ANNA, &[None, None]), &fates, at(50));
        assert!(matches!(later[1].1, State::Waiting { failures: 0, due: 50, .. }));
        // Nobody taken: then it is a failure like any other.
        for fates in [&fates[1..], &too_many[1..]] {
            let after = states(&outgoing(ANNA, &[None, None]), fates, at(50));
            assert!(matches!(after[0].1, State::Waiting { failures: 1, due: 51.., .. }));
        }
    }

    #[test]
    fn notices_each_once() {
        let mut letter = outgoing(ANNA, &[None, ALL, NEVER, None, ALL]);
        let last = said(&because(5, 1, 1), 1);
        letter.recipients[0].state = State::Untold { delivered: false, last: last.clone() };
        letter.recipients[1].state = State::Untold { delivered: true, last: last.clone() };
        letter.recipients[2].state =
            State::Waiting { failures: 9, due: 1, delay_told: false, last: Some(last.clone()) };
        letter.recipients[3].state =
            State::Waiting { failures: 9, due: 1, delay_told: false, last: Some(last.clone()) };
        let here = Said { by: None, ..last };
        letter.recipients[4].state = State::Untold { delivered: true, last: here };
        let notices = due(LETTER, &letter, &[0, 1, 2, 3, 4], limits::DELAYED);
        let shown: Vec<_> = notices.iter().map(|due| (due.kind, due.recipients.clone())).collect();
        let until = Kind::Delay(limits::GIVE_UP);
        let told = [(Kind::Failure, vec![0]), (Kind::Relayed, vec![1]), (Kind::Delivered, vec![4]), (until, vec![3])];
        assert_eq!(shown, told);
        assert_eq!(
            due(LETTER, &letter, &[0, 1, 2, 3, 4], limits::DELAYED),
            notices,
            "the same names, if it is to be done again"
        );
        assert_eq!(due(LETTER, &letter, &[1], limits::DELAYED).len(), 1);
        let names: std::collections::HashSet<_> = notices.iter().map(|due| due.transaction).collect();
        assert_eq!(names.len(), 4);
        assert_eq!(due(LETTER, &letter, &[0, 1, 2, 3], limits::DELAYED - 1).len(), 2);
        for notice in &notices {
            for (number, state) in &notice.then {
                letter.recipients[usize::from(*number)].state = state.clone();
            }
        }
        assert_eq!(due(LETTER, &letter, &[0, 1, 2, 3, 4], limits::GIVE_UP), []);
    }

    proptest! {
        #[test]
        fn what_the_keeper_gets_is_within_its_bounds(words in "\\PC{0,3000}|[\\x00-\\x1f]{0,10}", now in 0i64..600_000) {
            let fate = Fate::Deferred(Why { words, ..because(4, 2, 0) });
            match one(ANNA, None, fate, at(now)) {
                State::Waiting { last: Some(last), .. } | State::Untold { last, .. } => {
                    prop_assert!(last.words.len() <= limits::WORDS);
                    prop_assert!(!last.words.chars().any(char::is_control));
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
