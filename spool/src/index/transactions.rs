//! The transactions of the last days, so that a sender that never heard our answer and asks again does
//! not leave a second copy.

use std::collections::{HashSet, VecDeque};

use crate::names::TransactionId;

/// Days a transaction is remembered.
pub const DAYS: u32 = 7;
/// Most transactions remembered; the oldest go first.
pub const MOST: usize = 50_000;

/// What is remembered.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Transactions {
    known: HashSet<TransactionId>,
    order: VecDeque<(u32, TransactionId)>,
}

impl Transactions {
    /// Whether it was delivered.
    #[must_use]
    pub fn knows(&self, transaction: TransactionId) -> bool {
        self.known.contains(&transaction)
    }

    /// Remembers one, on a day since 1970, and forgets what is too old.
    pub fn remember(&mut self, day: u32, transaction: TransactionId) {
        if self.known.insert(transaction) {
            self.order.push_back((day, transaction));
        }
        while let Some((then, oldest)) = self.order.front().copied() {
            if self.order.len() <= MOST && then.saturating_add(DAYS) >= day {
                break;
            }
            self.order.pop_front();
            self.known.remove(&oldest);
        }
    }

    /// All, oldest first.
    pub fn all(&self) -> impl Iterator<Item = (u32, TransactionId)> {
        self.order.iter().copied()
    }
}
