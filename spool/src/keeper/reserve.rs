//! Room reserved at RCPT, so that mail that was accepted for a mailbox also fits into it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::names::{MailboxId, TransactionId};

/// Transactions of one edge that may hold room at once.
pub const TRANSACTIONS: usize = 4_096;

/// Bytes reserved in each mailbox by all edges together.
#[derive(Debug, Default)]
pub struct Reserved(Mutex<HashMap<MailboxId, u64>>);

impl Reserved {
    fn lock(&self) -> MutexGuard<'_, HashMap<MailboxId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes reserved in that mailbox.
    #[must_use]
    pub fn of(&self, mailbox: MailboxId) -> u64 {
        self.lock().get(&mailbox).copied().unwrap_or(0)
    }
}

/// One transaction's rooms; given back when dropped.
#[derive(Debug)]
pub struct Rooms {
    reserved: Arc<Reserved>,
    rooms: Vec<(MailboxId, u64)>,
}

impl Rooms {
    fn new(reserved: &Arc<Reserved>) -> Self {
        Self { reserved: reserved.clone(), rooms: Vec::new() }
    }

    fn add(&mut self, mailbox: MailboxId, bytes: u64) {
        let mut reserved = self.reserved.lock();
        let sum = reserved.entry(mailbox).or_default();
        *sum = sum.saturating_add(bytes);
        self.rooms.push((mailbox, bytes));
    }

    /// Whether the transaction has room in that mailbox: it asked for it and it was known.
    #[must_use]
    pub fn has(&self, mailbox: MailboxId) -> bool {
        self.rooms.iter().any(|(known, _)| *known == mailbox)
    }

    /// Bytes this transaction reserved there.
    #[must_use]
    pub fn of(&self, mailbox: MailboxId) -> u64 {
        self.rooms.iter().filter(|(known, _)| *known == mailbox).map(|(_, bytes)| bytes).sum()
    }
}

impl Drop for Rooms {
    fn drop(&mut self) {
        let mut reserved = self.reserved.lock();
        for (mailbox, bytes) in &self.rooms {
            if let Some(sum) = reserved.get_mut(mailbox) {
                *sum = sum.saturating_sub(*bytes);
                if *sum == 0 {
                    reserved.remove(mailbox);
                }
            }
        }
    }
}

/// The transactions of one edge that have asked for recipients.
#[derive(Debug)]
pub struct Open {
    reserved: Arc<Reserved>,
    open: HashMap<TransactionId, Rooms>,
}

impl Open {
    /// None yet.
    #[must_use]
    pub fn new(reserved: &Arc<Reserved>) -> Self {
        Self { reserved: reserved.clone(), open: HashMap::new() }
    }

    /// Reserves; `false` when the transaction or the edge has too many.
    pub fn reserve(&mut self, transaction: TransactionId, rooms: &[(MailboxId, u64)]) -> bool {
        if self.open.len() >= TRANSACTIONS && !self.open.contains_key(&transaction) {
            return false;
        }
        let open = self.open.entry(transaction).or_insert_with(|| Rooms::new(&self.reserved));
        if open.rooms.len() + rooms.len() > crate::edges::limits::LETTERS {
            return false;
        }
        rooms.iter().for_each(|(mailbox, bytes)| open.add(*mailbox, *bytes));
        true
    }

    /// Ends a transaction; its rooms last until the caller drops them.
    pub fn end(&mut self, transaction: TransactionId) -> Rooms {
        self.open.remove(&transaction).unwrap_or_else(|| Rooms::new(&self.reserved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_come_back_however_a_transaction_ends() {
        let reserved = Arc::new(Reserved::default());
        let (mailbox, transaction) = (MailboxId(1), TransactionId([1; 16]));
        let mut open = Open::new(&reserved);
        assert!(open.reserve(transaction, &[(mailbox, 10)]));
        assert!(open.reserve(transaction, &[(mailbox, 5)]));
        let rooms = open.end(transaction);
        assert_eq!((reserved.of(mailbox), rooms.of(mailbox)), (15, 15));
        drop(rooms);
        assert_eq!(reserved.of(mailbox), 0);
        assert!(open.reserve(transaction, &[(mailbox, 10)]));
        drop(open);
        assert_eq!(reserved.of(mailbox), 0);
    }

    #[test]
    fn a_transaction_takes_only_so_many_rooms() {
        let reserved = Arc::new(Reserved::default());
        let mut open = Open::new(&reserved);
        let rooms = [(MailboxId(1), 1); crate::edges::limits::LETTERS];
        assert!(open.reserve(TransactionId([1; 16]), &rooms));
        assert!(!open.reserve(TransactionId([1; 16]), &[(MailboxId(2), 1)]));
    }
}
