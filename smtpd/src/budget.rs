//! The bytes of mail in flight. Mail is in memory from its first byte to its 250, so this is what bounds a
//! role's memory. It is taken in steps as bytes come, so that nobody holds what they do not send; one address gets a
//! share of it only.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use wire::logins::network;

use crate::limits;

/// A role's budget.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    all: u64,
    share: u64,
    taken: u64,
    by: HashMap<IpAddr, u64>,
}

/// Bytes taken, given back when dropped.
#[derive(Debug)]
pub struct Taken {
    budget: Budget,
    address: IpAddr,
    bytes: u64,
}

impl Budget {
    /// `all` bytes for the role; one address may hold a quarter, or one largest message if that is more.
    #[must_use]
    pub fn new(all: u64, largest: u64) -> Self {
        // A message is counted in whole steps.
        let one = largest.saturating_add(limits::BUDGET_STEP);
        let all = all.max(one);
        Self(Arc::new(Mutex::new(State { all, share: (all / 4).max(one), taken: 0, by: HashMap::new() })))
    }

    /// Takes bytes for a message from this address (of IPv6, its /64); `None` when they are not there.
    #[must_use]
    pub fn take(&self, address: IpAddr, bytes: u64) -> Option<Taken> {
        let mut taken = Taken { budget: self.clone(), address: network(address), bytes: 0 };
        taken.grow_to(bytes).then_some(taken)
    }

    /// Whether so many bytes would be there for this address now. Takes none.
    #[must_use]
    pub fn has_room(&self, address: IpAddr, bytes: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).room(network(address)).is_some_and(|room| bytes <= room)
    }

    /// Bytes taken by all.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).taken
    }
}

impl State {
    /// What this address may still take; `None` when others' share is overdrawn, which cannot be.
    fn room(&self, address: IpAddr) -> Option<u64> {
        let held = self.by.get(&address).copied().unwrap_or(0);
        Some(self.all.checked_sub(self.taken)?.min(self.share.checked_sub(held)?))
    }
}

impl Taken {
    /// Takes more until it is `bytes`; false, and nothing changed, when that is not there.
    #[must_use]
    pub fn grow_to(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let mut state = self.budget.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.room(self.address).is_none_or(|room| more > room) {
            return false;
        }
        if more > 0 {
            state.taken += more;
            *state.by.entry(self.address).or_insert(0) += more;
            drop(state);
            self.bytes += more;
        }
        true
    }

    /// Gives all back.
    pub fn give_back(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut state = self.budget.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.taken = state.taken.saturating_sub(bytes);
        if let Some(held) = state.by.get_mut(&self.address) {
            *held = held.saturating_sub(bytes);
            if *held == 0 {
                state.by.remove(&self.address);
            }
        }
    }

    /// Bytes taken.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::BUDGET_STEP as STEP;
    use proptest::prelude::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[test]
    fn one_address_has_a_quarter_or_a_largest_message() {
        let budget = Budget::new(400 * STEP, 50 * STEP);
        let first = budget.take(address(1), 100 * STEP).unwrap();
        assert!(budget.take(address(1), 1).is_none());
        let _second = budget.take(address(2), 100 * STEP).unwrap();
        drop(first);
        assert_eq!(budget.taken(), 100 * STEP);
        assert!(budget.take(address(1), 100 * STEP).is_some());
        assert!(Budget::new(100, 90 * STEP).take(address(1), 90 * STEP + 10).is_some());
    }

    #[test]
    fn all_together_have_no_more_than_all() {
        let budget = Budget::new(400 * STEP, 50);
        let held: Vec<Taken> = (0..4).map(|n| budget.take(address(n), 100 * STEP).unwrap()).collect();
        assert!(budget.take(address(9), 1).is_none());
        drop(held);
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn looking_takes_nothing() {
        let budget = Budget::new(400 * STEP, 50 * STEP);
        for _ in 0..100 {
            assert!(budget.has_room(address(1), 100 * STEP) && !budget.has_room(address(1), 100 * STEP + 1));
        }
        let _held = budget.take(address(1), 60 * STEP).unwrap();
        assert!(budget.has_room(address(1), 40 * STEP) && !budget.has_room(address(1), 40 * STEP + 1));
        assert!(!budget.has_room(address(1), u64::MAX) && budget.has_room(address(2), 100 * STEP));
    }

    #[test]
    fn growing() {
        let budget = Budget::new(400 * STEP, 50);
        let (mut taken, most) = (budget.take(address(1), 10).unwrap(), 100 * STEP);
        assert!(taken.grow_to(most) && taken.grow_to(20) && !taken.grow_to(most + 1) && !taken.grow_to(u64::MAX));
        assert_eq!((taken.bytes(), budget.taken()), (most, most));
    }

    proptest! {
        #[test]
        fn nothing_is_lost(steps in proptest::collection::vec((0u8..4, 0u64..2_000_000), 0..50)) {
            let budget = Budget::new(4_000_000, 50);
            let mut held = Vec::new();
            for (who, bytes) in steps {
                held.extend(budget.take(address(who), bytes));
                prop_assert_eq!(budget.taken(), held.iter().map(Taken::bytes).sum::<u64>());
                prop_assert!(budget.taken() <= 4_000_000);
                if held.len() > 3 { held.remove(0); }
            }
            drop(held);
            prop_assert_eq!(budget.taken(), 0);
        }
    }
}
