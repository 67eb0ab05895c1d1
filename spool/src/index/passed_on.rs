//! How much waits of what strangers sent and an alias passes on, or that finds its way back to a sender: in all, and for
//! each address that it goes to. It takes from nobody's quota and nobody's allowance.

use std::collections::{BTreeMap, BTreeSet};

use crate::edges::outbox::{Outgoing, State};
use crate::journal::record::charge;

/// Under this name stands what has no sender: strangers alone decide where it goes, to as many addresses as they like. No
/// address is this one.
const WITHOUT_SENDER: &str = "";

/// So much of it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// Of the messages.
    pub bytes: u64,
    /// Who has not got theirs yet.
    pub recipients: u64,
}

impl Amount {
    const fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            recipients: self.recipients.saturating_add(other.recipients),
        }
    }

    const fn minus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            recipients: self.recipients.saturating_sub(other.recipients),
        }
    }

    const fn is_within(self, most: Self) -> bool {
        self.bytes <= most.bytes && self.recipients <= most.recipients
    }
}

/// One letter's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    all: Amount,
    to: BTreeSet<String>,
}

impl Load {
    /// Of a letter of that size for these addresses.
    pub fn new<'a>(size: u64, has_sender: bool, to: impl Iterator<Item = &'a str>) -> Self {
        let mut to: BTreeSet<String> = to.map(str::to_lowercase).collect();
        let all = Amount { bytes: charge(size), recipients: to.len() as u64 };
        if !has_sender {
            to.insert(WITHOUT_SENDER.to_owned());
        }
        Self { all, to }
    }

    /// Of one that waits: nothing more for those who have it.
    fn of(outgoing: &Outgoing) -> Self {
        let wait = outgoing.recipients.iter().filter(|one| !matches!(one.state, State::Done { .. }));
        Self::new(outgoing.size.into(), outgoing.sender.is_some(), wait.map(|one| one.address.as_str()))
    }

    const fn each(&self) -> Amount {
        Amount { bytes: self.all.bytes, recipients: 1 }
    }
}

/// All of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PassedOn {
    all: Amount,
    to: BTreeMap<String, Amount>,
}

impl PassedOn {
    /// In all.
    #[must_use]
    pub const fn all(&self) -> Amount {
        self.all
    }

    /// Counts a letter that waits, if it is one of these.
    pub(super) fn placed(&mut self, outgoing: &Outgoing) {
        if outgoing.passed_on {
            self.add(&Load::of(outgoing));
        }
    }

    /// It waits no more, or is about to change.
    pub(super) fn removed(&mut self, outgoing: &Outgoing) {
        if outgoing.passed_on {
            self.remove(&Load::of(outgoing));
        }
    }

    /// One more.
    pub fn add(&mut self, load: &Load) {
        self.all = self.all.plus(load.all);
        for name in &load.to {
            let sum = self.to.entry(name.clone()).or_default();
            *sum = sum.plus(load.each());
        }
    }

    /// One less.
    pub fn remove(&mut self, load: &Load) {
        self.all = self.all.minus(load.all);
        for name in &load.to {
            let Some(sum) = self.to.get_mut(name) else { continue };
            *sum = sum.minus(load.each());
            if *sum == Amount::default() {
                self.to.remove(name);
            }
        }
    }

    /// Whether one more may wait, beside what is on its way in. With it no address may have more than then is still free:
    /// one that takes nothing holds the half at most, a second a third; and there is room left for the next.
    #[must_use]
    pub fn has_room(&self, coming: &Self, load: &Load, most: Amount) -> bool {
        let all = self.all.plus(coming.all).plus(load.all);
        let free = most.minus(all);
        let held = |name| self.of(name).plus(coming.of(name)).plus(load.each());
        all.is_within(most) && load.to.iter().all(|name| held(name).is_within(free))
    }

    fn of(&self, name: &str) -> Amount {
        self.to.get(name).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Amount = Amount { bytes: 1_000_000, recipients: 1_000 };

    fn load(size: u64, to: &[&str]) -> Load {
        Load::new(size, true, to.iter().copied())
    }

    /// Until it is full: how many.
    fn fill(passed_on: &mut PassedOn, load: &Load) -> u64 {
        let mut taken = 0;
        while passed_on.has_room(&PassedOn::default(), load, MOST) {
            passed_on.add(load);
            taken += 1;
        }
        taken
    }

    #[test]
    fn one_holds_the_half_and_there_is_always_room_for_the_next() {
        let mut passed_on = PassedOn::default();
        assert_eq!(fill(&mut passed_on, &load(10_000, &["a@gone.test"])), 50);
        assert_eq!(fill(&mut passed_on, &load(10_000, &["A@GONE.test"])), 0, "the same address");
        assert_eq!(fill(&mut passed_on, &load(10_000, &["b@gone.test"])), 25);
        assert_eq!(fill(&mut passed_on, &load(10_000, &["c@gone.test"])), 12);
        assert!(passed_on.has_room(&PassedOn::default(), &load(10_000, &["d@far.test"]), MOST));
        assert!(!passed_on.has_room(&PassedOn::default(), &load(10, &["d@far.test", "a@gone.test"]), MOST));
    }

    #[test]
    fn many_small_ones_are_bounded_by_their_number() {
        let mut passed_on = PassedOn::default();
        assert_eq!(fill(&mut passed_on, &load(1, &["a@gone.test"])), 500_000 / 1_024);
        let to: Vec<String> = (0..100).map(|n| format!("{n}@gone.test")).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        assert_eq!(fill(&mut PassedOn::default(), &load(1, &to)), 9, "a hundred recipients each");
    }

    #[test]
    fn what_has_no_sender_is_one() {
        let mut passed_on = PassedOn::default();
        let bounce = |n: u64| Load::new(10_000, false, [format!("{n}@far.test")].iter().map(String::as_str));
        for n in 0..50 {
            assert!(passed_on.has_room(&PassedOn::default(), &bounce(n), MOST), "{n}");
            passed_on.add(&bounce(n));
        }
        assert!(!passed_on.has_room(&PassedOn::default(), &bounce(50), MOST));
        assert!(passed_on.has_room(&PassedOn::default(), &load(10_000, &["50@far.test"]), MOST));
    }

    #[test]
    fn what_is_on_its_way_in_counts() {
        let (mut coming, big) = (PassedOn::default(), load(400_000, &["a@gone.test"]));
        assert!(PassedOn::default().has_room(&coming, &big, MOST));
        coming.add(&big);
        assert!(!PassedOn::default().has_room(&coming, &big, MOST));
        coming.remove(&big);
        assert_eq!(coming, PassedOn::default());
    }
}
