//! How many recipients elsewhere each transaction has, with all that aliases lead to. What is counted is never forgotten
//! while its transaction may still grow: whoever begins many could else send one letter to more than one may have.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::edges::outbox::limits::RECIPIENTS;
use crate::names::TransactionId;

/// Transactions counted at a time: more than sessions at once.
const TRANSACTIONS: usize = 4_096;
/// Twice the longest session (an hour): whose it was is gone.
const OLDEST: Duration = Duration::from_secs(7_200);

/// Those of one edge.
#[derive(Debug, Default)]
pub struct Elsewhere(HashMap<TransactionId, Open>);

/// One transaction.
#[derive(Debug)]
struct Open {
    recipients: usize,
    /// By which state of the house's addresses its first was answered.
    routes: u64,
    since: Instant,
}

/// What came of counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// They are in.
    Fits,
    /// One letter may not go to so many.
    TooMany,
    /// Too many transactions are under way.
    NotNow,
}

impl Elsewhere {
    /// Counts so many more, found by that state of the house's addresses.
    pub fn add(&mut self, transaction: TransactionId, more: usize, (routes, now): (u64, Instant)) -> Counted {
        if self.0.len() >= TRANSACTIONS && !self.0.contains_key(&transaction) {
            self.0.retain(|_, open| now.saturating_duration_since(open.since) < OLDEST);
            if self.0.len() >= TRANSACTIONS {
                return Counted::NotNow;
            }
        }
        let open = self.0.entry(transaction).or_insert(Open { recipients: 0, routes, since: now });
        if open.recipients + more > RECIPIENTS {
            return Counted::TooMany;
        }
        open.recipients += more;
        Counted::Fits
    }

    /// Whether its recipients still lead where they led when they were answered.
    #[must_use]
    pub fn is_as_told(&self, transaction: TransactionId, routes: u64) -> bool {
        self.0.get(&transaction).is_none_or(|open| open.routes == routes)
    }

    /// It has ended.
    pub fn end(&mut self, transaction: TransactionId) {
        self.0.remove(&transaction);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> TransactionId {
        let mut name = [0; 16];
        name[..size_of::<usize>()].copy_from_slice(&number.to_le_bytes());
        TransactionId(name)
    }

    #[test]
    fn others_never_make_a_transaction_s_count_forgotten() {
        let (mut all, now) = (Elsewhere::default(), Instant::now());
        assert_eq!(all.add(name(0), RECIPIENTS, (0, now)), Counted::Fits);
        let more = (1..2 * TRANSACTIONS).filter(|number| all.add(name(*number), 1, (0, now)) == Counted::Fits).count();
        assert_eq!(more, TRANSACTIONS - 1);
        assert_eq!(all.add(name(0), 1, (0, now)), Counted::TooMany);
        assert_eq!(all.add(name(1), 1, (0, now)), Counted::Fits, "who is known may go on");
        all.end(name(0));
        assert_eq!(all.add(name(3 * TRANSACTIONS), 1, (0, now)), Counted::Fits, "who has ended makes room");
        assert_eq!(all.add(name(0), 1, (0, now)), Counted::NotNow);
        assert_eq!(all.add(name(0), 1, (0, now + OLDEST)), Counted::Fits, "and so does whose session is long over");
    }
}
