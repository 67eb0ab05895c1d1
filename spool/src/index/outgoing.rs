//! What waits to leave: letters in the order in which they came, and for each destination which of them are due when.
//!
//! A recipient only ever moves forward: waiting, then decided, then done. A letter goes when all of its recipients are
//! done, or when the admin drops it.

use std::collections::{BTreeMap, BTreeSet};

use crate::edges::outbox::{Outgoing, State, limits};
use crate::journal::record::Record;
use crate::names::{LetterId, MailboxId};

use super::passed_on::PassedOn;

/// The destination under which letters stand whose sender is still to be told something: no address has this one.
pub const TELL: &str = "";

/// All of it.
#[derive(Debug, Default)]
pub struct Waiting {
    /// With its number.
    letters: BTreeMap<LetterId, (u64, Outgoing)>,
    /// Which letter came as which; numbers are of this start alone.
    came: BTreeMap<u64, LetterId>,
    /// By destination: when due, and the letter's number, so that of one second the first that came is the first to go.
    due: BTreeMap<String, BTreeSet<(i64, u64)>>,
    /// Each destination by the time its first is due.
    first: BTreeSet<(i64, String)>,
    passed_on: PassedOn,
}

impl PartialEq for Waiting {
    /// The same letters in the same order, due at the same times, and counted the same.
    fn eq(&self, other: &Self) -> bool {
        self.all().eq(other.all())
            && self.times().eq(other.times())
            && self.first == other.first
            && self.passed_on == other.passed_on
    }
}

impl Eq for Waiting {}

/// Whether what is due at that time is due now. What lies further ahead than any courier puts it was put there by a clock
/// that was wrong.
const fn is_due(at: i64, now: i64) -> bool {
    at <= now || at > now.saturating_add(limits::FARTHEST)
}

/// Whether one state may follow another.
#[must_use]
pub const fn may_follow(before: &State, after: &State) -> bool {
    match (before, after) {
        (State::Waiting { .. }, _) | (State::Untold { .. }, State::Untold { .. }) => true,
        (State::Untold { delivered, .. }, State::Done { delivered: still }) => *delivered == *still,
        _ => false,
    }
}

impl Waiting {
    /// A letter.
    #[must_use]
    pub fn get(&self, letter: LetterId) -> Option<&Outgoing> {
        self.letters.get(&letter).map(|(_, outgoing)| outgoing)
    }

    /// All, in the order in which they came.
    pub fn all(&self) -> impl Iterator<Item = (LetterId, &Outgoing)> {
        self.came.values().filter_map(|letter| Some((*letter, self.get(*letter)?)))
    }

    fn times(&self) -> impl Iterator<Item = (&str, i64, Option<LetterId>)> {
        let one = |destination, (at, number): &(i64, u64)| (destination, *at, self.came.get(number).copied());
        self.due
            .iter()
            .flat_map(move |(destination, times)| times.iter().map(move |time| one(destination.as_str(), time)))
    }

    /// How much of it is passed on for strangers.
    #[must_use]
    pub const fn passed_on(&self) -> &PassedOn {
        &self.passed_on
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.letters.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// The letter that has been due longest, of the first destination that is not `busy`, and not `taken`.
    #[must_use]
    pub fn next(
        &self,
        now: i64,
        busy: impl Fn(&str) -> bool,
        taken: impl Fn(LetterId, &str) -> bool,
    ) -> Option<(LetterId, &str)> {
        let due = self.first.iter().take_while(|(at, _)| *at <= now);
        let misplaced = self.first.range((beyond(now), String::new())..);
        let due = due.chain(misplaced).map(|(_, destination)| destination);
        due.filter(|destination| !busy(destination)).find_map(|destination| self.next_of(destination, now, &taken))
    }

    /// The same, of one destination.
    #[must_use]
    pub fn next_of(
        &self,
        destination: &str,
        now: i64,
        taken: impl Fn(LetterId, &str) -> bool,
    ) -> Option<(LetterId, &str)> {
        let (name, letters) = self.due.get_key_value(destination)?;
        let due = letters.iter().take_while(|(at, _)| *at <= now);
        let due = due.chain(letters.range((beyond(now), 0)..)).filter_map(|(_, number)| self.came.get(number).copied());
        let mut free = due.filter(|letter| !taken(*letter, name));
        free.next().map(|letter| (letter, name.as_str()))
    }

    /// When the next thing becomes due that is not yet.
    #[must_use]
    pub fn due_after(&self, now: i64) -> Option<i64> {
        let later =
            self.due.values().filter_map(|letters| letters.range((now.checked_add(1)?, 0)..).next().map(|(at, _)| *at));
        later.min()
    }

    /// The recipients of a letter that are due at a destination.
    #[must_use]
    pub fn recipients(&self, letter: LetterId, destination: &str, now: i64) -> Vec<u16> {
        let Some(outgoing) = self.get(letter) else { return Vec::new() };
        let due = outgoing.recipients.iter().zip(0u16..).filter(|(one, _)| match &one.state {
            State::Waiting { due, .. } => is_due(*due, now) && one.destination() == destination,
            State::Untold { .. } => destination == TELL,
            State::Done { .. } => false,
        });
        due.map(|(_, number)| number).collect()
    }

    /// Applies a record; a letter that is gone by it.
    pub(super) fn apply(&mut self, record: Record) -> Option<LetterId> {
        match record {
            Record::Queued { letter, outgoing } | Record::Outgoing { letter, outgoing } => {
                let number = self.remove(letter).map_or_else(|| self.next_number(), |(number, _)| number);
                self.place(letter, number, *outgoing);
                None
            }
            Record::Fates { letter, states } => self.change(letter, |outgoing| {
                for (number, state) in states {
                    let one = outgoing.recipients.get_mut(usize::from(number));
                    if let Some(one) = one.filter(|one| may_follow(&one.state, &state)) {
                        one.state = state;
                    }
                }
            }),
            Record::Held { letter, on } => self.change(letter, |outgoing| outgoing.held = on),
            Record::Hurried { letter, at } => self.change(letter, |outgoing| {
                for one in &mut outgoing.recipients {
                    if let State::Waiting { due, .. } = &mut one.state {
                        *due = at.min(*due);
                    }
                }
            }),
            Record::Dropped { letter } => self.remove(letter).map(|_| letter),
            _ => None,
        }
    }

    /// Gives up what a mailbox has written; not what was passed on for it.
    pub(super) fn remove_of(&mut self, mailbox: MailboxId) -> Vec<LetterId> {
        let its = self.all().filter(|(_, one)| one.mailbox == mailbox && !one.passed_on);
        let its: Vec<_> = its.map(|(letter, _)| letter).collect();
        its.into_iter().filter(|letter| self.remove(*letter).is_some()).collect()
    }

    fn change(&mut self, letter: LetterId, change: impl FnOnce(&mut Outgoing)) -> Option<LetterId> {
        let (number, mut outgoing) = self.remove(letter)?;
        change(&mut outgoing);
        if outgoing.recipients.iter().all(|one| matches!(one.state, State::Done { .. })) {
            return Some(letter);
        }
        self.place(letter, number, outgoing);
        None
    }

    fn next_number(&self) -> u64 {
        self.came.last_key_value().map_or(0, |(number, _)| number + 1)
    }

    fn remove(&mut self, letter: LetterId) -> Option<(u64, Outgoing)> {
        let (number, outgoing) = self.letters.remove(&letter)?;
        self.came.remove(&number);
        self.passed_on.removed(&outgoing);
        for (destination, at) in stands(&outgoing) {
            self.strike(&destination, (at, number));
        }
        Some((number, outgoing))
    }

    fn place(&mut self, letter: LetterId, number: u64, outgoing: Outgoing) {
        for (destination, at) in stands(&outgoing) {
            let letters = self.due.entry(destination.clone()).or_default();
            let before = letters.first().map(|(at, _)| *at);
            letters.insert((at, number));
            if before.is_none_or(|before| at < before) {
                if let Some(before) = before {
                    self.first.remove(&(before, destination.clone()));
                }
                self.first.insert((at, destination));
            }
        }
        self.passed_on.placed(&outgoing);
        self.came.insert(number, letter);
        self.letters.insert(letter, (number, outgoing));
    }

    fn strike(&mut self, destination: &str, entry: (i64, u64)) {
        let Some(letters) = self.due.get_mut(destination) else { return };
        letters.remove(&entry);
        let now = letters.first().map(|(at, _)| *at);
        if now.is_none_or(|now| now > entry.0) {
            self.first.remove(&(entry.0, destination.to_owned()));
        }
        match now {
            Some(now) => drop(self.first.insert((now, destination.to_owned()))),
            None => drop(self.due.remove(destination)),
        }
    }
}

/// The first time after now that nobody waits for.
const fn beyond(now: i64) -> i64 {
    now.saturating_add(limits::FARTHEST).saturating_add(1)
}

/// Where a letter stands: each destination with the time its first recipient there is due. Held, nowhere.
fn stands(outgoing: &Outgoing) -> BTreeMap<String, i64> {
    let mut stands = BTreeMap::new();
    if outgoing.held {
        return stands;
    }
    for one in &outgoing.recipients {
        let (destination, at) = match &one.state {
            State::Waiting { due, .. } => (one.destination(), *due),
            State::Untold { .. } => (TELL.to_owned(), i64::MIN),
            State::Done { .. } => continue,
        };
        let first = stands.entry(destination).or_insert(at);
        *first = at.min(*first);
    }
    stands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edges::outbox::{OutgoingRecipient, Said};
    use crate::index::{Index, News};
    use crate::names::MailboxId;
    use proptest::prelude::*;

    fn letter(number: u8) -> LetterId {
        LetterId([number; 16])
    }

    fn to(addresses: &[&str], due: i64) -> Box<Outgoing> {
        let recipients = addresses.iter().map(|address| OutgoingRecipient {
            address: (*address).to_owned(),
            original: None,
            notify: None,
            state: State::new(due),
        });
        Box::new(Outgoing {
            mailbox: MailboxId(1),
            sender: Some("anna@home.test".into()),
            queued: 0,
            size: 100,
            generation: 1,
            digest: [0; 32],
            eight_bit: false,
            international: false,
            require_tls: false,
            full: None,
            envelope_id: None,
            recipients: recipients.collect(),
            held: false,
            passed_on: false,
        })
    }

    fn queue(waiting: &mut Waiting, number: u8, addresses: &[&str], due: i64) {
        waiting.apply(Record::Queued { letter: letter(number), outgoing: to(addresses, due) });
    }

    fn later(due: i64) -> State {
        State::Waiting { failures: 1, due, delay_told: false, last: None }
    }

    fn said() -> Said {
        Said { status: (5, 1, 1), by: None, words: "no".into(), at: 0 }
    }

    fn next(waiting: &Waiting, now: i64) -> Option<(u8, String)> {
        waiting.next(now, |_| false, |_, _| false).map(|(letter, destination)| (letter.0[0], destination.to_owned()))
    }

    #[test]
    fn longest_due_first_and_no_destination_holds_up_another() {
        let mut waiting = Waiting::default();
        queue(&mut waiting, 1, &["a@Slow.test"], 10);
        queue(&mut waiting, 2, &["b@slow.test"], 20);
        queue(&mut waiting, 3, &["c@far.test"], 30);
        assert_eq!(next(&waiting, 9), None);
        assert_eq!(next(&waiting, 100), Some((1, "slow.test".into())));
        let other = waiting.next(100, |destination| destination == "slow.test", |_, _| false);
        assert_eq!(other, Some((letter(3), "far.test")));
        let second = waiting.next(100, |_| false, |taken, _| taken == letter(1));
        assert_eq!(second, Some((letter(2), "slow.test")));
        assert_eq!(waiting.next_of("far.test", 29, |_, _| false), None);
        assert_eq!((waiting.due_after(10), waiting.due_after(30)), (Some(20), None));
    }

    #[test]
    fn of_one_second_in_the_order_in_which_they_came() {
        let mut waiting = Waiting::default();
        for number in [7, 2, 9, 4] {
            queue(&mut waiting, number, &["a@far.test"], 10);
        }
        // What happens to one of them changes nothing.
        waiting.apply(Record::Fates { letter: letter(7), states: vec![(0, later(10))] });
        waiting.apply(Record::Held { letter: letter(9), on: true });
        waiting.apply(Record::Held { letter: letter(9), on: false });
        let mut order = Vec::new();
        while let Some((first, _)) = next(&waiting, 10) {
            order.push(first);
            waiting.apply(Record::Dropped { letter: letter(first) });
        }
        assert_eq!(order, [7, 2, 9, 4]);
    }

    #[test]
    fn what_a_wrong_clock_put_far_ahead_is_due() {
        let mut waiting = Waiting::default();
        queue(&mut waiting, 1, &["a@far.test"], 100 + limits::FARTHEST);
        assert_eq!((next(&waiting, 100), waiting.recipients(letter(1), "far.test", 100)), (None, Vec::new()));
        queue(&mut waiting, 2, &["b@other.test"], 101 + limits::FARTHEST);
        assert_eq!(next(&waiting, 100), Some((2, "other.test".into())));
        assert_eq!(waiting.next_of("other.test", 100, |_, _| false), Some((letter(2), "other.test")));
        assert_eq!(waiting.recipients(letter(2), "other.test", 100), [0]);
        queue(&mut waiting, 3, &["c@third.test"], 50);
        assert_eq!(next(&waiting, 100), Some((3, "third.test".into())), "first what really is");
    }

    #[test]
    fn each_recipient_has_its_own_fate() {
        let mut waiting = Waiting::default();
        queue(&mut waiting, 1, &["a@far.test", "b@far.test", "c@other.test"], 0);
        assert_eq!(waiting.recipients(letter(1), "far.test", 0), [0, 1]);
        let states = vec![(0, State::Done { delivered: true }), (1, later(50))];
        assert_eq!(waiting.apply(Record::Fates { letter: letter(1), states }), None);
        assert_eq!(waiting.recipients(letter(1), "far.test", 49), [0u16; 0]);
        assert_eq!(next(&waiting, 49), Some((1, "other.test".into())));
        let states = vec![(2, State::Untold { delivered: false, last: said() })];
        waiting.apply(Record::Fates { letter: letter(1), states });
        // To be told at once, whatever time it is.
        assert_eq!(next(&waiting, 0), Some((1, TELL.into())));
        assert_eq!(waiting.recipients(letter(1), TELL, 0), [2]);
        let states = vec![(2, State::Done { delivered: false }), (1, State::Done { delivered: true })];
        assert_eq!(waiting.apply(Record::Fates { letter: letter(1), states }), Some(letter(1)));
        assert_eq!(waiting, Waiting::default());
    }

    #[test]
    fn nothing_moves_backward() {
        let mut waiting = Waiting::default();
        queue(&mut waiting, 1, &["a@far.test", "b@far.test"], 0);
        waiting.apply(Record::Fates {
            letter: letter(1),
            states: vec![(0, State::Untold { delivered: false, last: said() })],
        });
        waiting.apply(Record::Fates {
            letter: letter(1),
            states: vec![(0, later(1)), (0, State::Done { delivered: true }), (9, later(1))],
        });
        assert!(matches!(waiting.get(letter(1)).unwrap().recipients[0].state, State::Untold { delivered: false, .. }));
    }

    #[test]
    fn the_last_fate_of_a_letter_is_no_news_of_what_is_due() {
        struct Told(usize);
        impl News for Told {
            fn outgoing(&mut self) {
                self.0 += 1;
            }
        }
        let (mut index, mut told) = (Index::default(), Told(0));
        let fate = |number, state| Record::Fates { letter: letter(1), states: vec![(number, state)] };
        let done = || State::Done { delivered: true };
        let queued = Record::Queued { letter: letter(1), outgoing: to(&["a@far.test", "b@far.test"], 0) };
        for (sequence, record, heard) in
            [(1, queued, 1), (2, fate(0, done()), 2), (3, fate(1, later(9)), 3), (4, fate(1, done()), 3)]
        {
            index.apply(sequence, record, &mut told);
            assert_eq!(told.0, heard, "{sequence}");
        }
        assert!(index.waiting().is_empty());
    }

    #[test]
    fn whom_a_letter_that_waits_goes_to_as_well_is_no_letter_more() {
        let mut index = Index::default();
        let queued = |number, all: &[&str]| Record::Queued { letter: letter(number), outgoing: to(all, 0) };
        for (sequence, record) in [(1, queued(1, &["a@far.test"])), (2, queued(2, &["c@far.test"]))] {
            index.apply(sequence, record, &mut ());
        }
        let sent = index.sent(MailboxId(1)).unwrap().hours();
        index.apply(3, queued(1, &["a@far.test", "b@far.test"]), &mut ());
        assert_eq!(index.sent(MailboxId(1)).unwrap().hours(), sent);
        let all: Vec<_> = index.waiting().all().map(|(id, outgoing)| (id, outgoing.recipients.len())).collect();
        assert_eq!(all, [(letter(1), 2), (letter(2), 1)], "where it stood");
    }

    #[test]
    fn the_admin() {
        let mut waiting = Waiting::default();
        queue(&mut waiting, 1, &["a@far.test"], 1_000);
        waiting.apply(Record::Hurried { letter: letter(1), at: 5 });
        assert_eq!(next(&waiting, 5), Some((1, "far.test".into())));
        waiting.apply(Record::Held { letter: letter(1), on: true });
        assert_eq!(next(&waiting, 5), None);
        waiting.apply(Record::Held { letter: letter(1), on: false });
        assert_eq!(next(&waiting, 5), Some((1, "far.test".into())));
        assert_eq!(waiting.apply(Record::Dropped { letter: letter(1) }), Some(letter(1)));
        assert_eq!(waiting.apply(Record::Dropped { letter: letter(1) }), None);
        assert!(waiting.is_empty());
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let state = prop_oneof![
            (0i64..9).prop_map(later),
            Just(State::Untold { delivered: false, last: said() }),
            any::<bool>().prop_map(|delivered| State::Done { delivered }),
        ];
        let addresses = prop::sample::select(vec![vec!["a@a"], vec!["a@a", "b@b"], vec!["a@a", "c@a", "b@b"]]);
        let outgoing = (addresses, 0i64..9, any::<bool>())
            .prop_map(|(addresses, due, passed_on)| Box::new(Outgoing { passed_on, ..*to(&addresses, due) }));
        let id = (0u8..4).prop_map(letter);
        prop_oneof![
            3 => (id.clone(), outgoing).prop_map(|(letter, outgoing)| Record::Queued { letter, outgoing }),
            6 => (id.clone(), prop::collection::vec((0u16..4, state), 1..3)).prop_map(|(letter, states)| Record::Fates { letter, states }),
            1 => (id.clone(), any::<bool>()).prop_map(|(letter, on)| Record::Held { letter, on }),
            1 => (id.clone(), 0i64..9).prop_map(|(letter, at)| Record::Hurried { letter, at }),
            1 => id.prop_map(|letter| Record::Dropped { letter }),
        ]
    }

    proptest! {
        #[test]
        fn the_times_always_fit_the_letters(records in prop::collection::vec(any_record(), 0..80), now in 0i64..9) {
            let mut waiting = Waiting::default();
            for record in records {
                waiting.apply(record);
                let mut afresh = Waiting::default();
                for (letter, outgoing) in waiting.all() {
                    afresh.apply(Record::Outgoing { letter, outgoing: Box::new(outgoing.clone()) });
                }
                prop_assert_eq!(&waiting, &afresh);
                if let Some((letter, destination)) = waiting.next(now, |_| false, |_, _| false) {
                    prop_assert!(!waiting.recipients(letter, destination, now).is_empty());
                }
                prop_assert!(waiting.due_after(now).is_none_or(|at| at > now));
            }
        }
    }
}
