//! Room reserved at RCPT, so that mail that was accepted for a mailbox also fits into it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::index::Mailbox;
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

    /// Whether that mailbox has room for so many bytes beside what is in it and what is reserved.
    #[must_use]
    pub fn fits(&self, mailbox: &Mailbox, id: MailboxId, bytes: u64) -> bool {
        let taken = mailbox.used().saturating_add(self.of(id));
        bytes == 0 || taken.saturating_add(bytes) <= mailbox.profile().quota
    }
}

/// One transaction's rooms, one a mailbox; given back when dropped.
#[derive(Debug)]
pub struct Rooms {
    reserved: Arc<Reserved>,
    rooms: HashMap<MailboxId, u64>,
}

impl Rooms {
    /// None yet.
    #[must_use]
    pub fn new(reserved: &Arc<Reserved>) -> Self {
        Self { reserved: reserved.clone(), rooms: HashMap::new() }
    }

    /// Makes the mailbox's room at least so large: one copy of a message comes to it, however many of the mailbox's
    /// addresses were named.
    pub fn add(&mut self, mailbox: MailboxId, bytes: u64) {
        let more = bytes.saturating_sub(self.of(mailbox));
        let mut reserved = self.reserved.lock();
        let sum = reserved.entry(mailbox).or_default();
        *sum = sum.saturating_add(more);
        *self.rooms.entry(mailbox).or_default() += more;
    }

    /// Whether the transaction has room in that mailbox: it asked for it and it was known.
    #[must_use]
    pub fn has(&self, mailbox: MailboxId) -> bool {
        self.rooms.contains_key(&mailbox)
    }

    /// Bytes this transaction reserved there.
    #[must_use]
    pub fn of(&self, mailbox: MailboxId) -> u64 {
        self.rooms.get(&mailbox).copied().unwrap_or(0)
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
        let fresh = rooms.iter().filter(|(mailbox, _)| !open.has(*mailbox)).count();
        if open.rooms.len() + fresh > crate::edges::limits::LETTERS {
            return false;
        }
        rooms.iter().for_each(|(mailbox, bytes)| open.add(*mailbox, *bytes));
        true
    }

    /// Bytes that transaction has reserved in a mailbox.
    #[must_use]
    pub fn of(&self, transaction: TransactionId, mailbox: MailboxId) -> u64 {
        self.open.get(&transaction).map_or(0, |rooms| rooms.of(mailbox))
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
        // By another of its addresses: one copy comes, so one room is enough.
        assert!(open.reserve(transaction, &[(mailbox, 5)]));
        assert!(open.reserve(transaction, &[(mailbox, 12), (MailboxId(2), 12)]));
        let rooms = open.end(transaction);
        assert_eq!((reserved.of(mailbox), rooms.of(mailbox), reserved.of(MailboxId(2))), (12, 12, 12));
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
        let most = crate::edges::limits::LETTERS as u64;
        let rooms: Vec<_> = (0..most).map(|number| (MailboxId(number), 1)).collect();
        assert!(open.reserve(TransactionId([1; 16]), &rooms));
        assert!(open.reserve(TransactionId([1; 16]), &rooms), "mailboxes count once");
        assert!(!open.reserve(TransactionId([1; 16]), &[(MailboxId(most), 1)]));
    }
}
