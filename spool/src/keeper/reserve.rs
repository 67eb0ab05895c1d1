//! Room reserved at RCPT, so that mail that was accepted for a mailbox also fits into it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::edges::{Size, limits};
use crate::index::Mailbox;
use crate::names::{MailboxId, TransactionId};

/// Transactions of one edge that may hold room at once.
pub const TRANSACTIONS: usize = 4_096;

/// Bytes reserved in each mailbox by all edges together.
#[derive(Debug, Default)]
pub struct Reserved {
    taken: Mutex<HashMap<MailboxId, u64>>,
    /// The largest message that was sent to a mailbox without fitting: what its sender says of its size when it comes
    /// again is not relied on.
    too_large: Mutex<HashMap<MailboxId, u64>>,
}

impl Reserved {
    fn lock(&self) -> MutexGuard<'_, HashMap<MailboxId, u64>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn too_large(&self) -> MutexGuard<'_, HashMap<MailboxId, u64>> {
        self.too_large.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message did not fit into that mailbox.
    pub fn did_not_fit(&self, mailbox: MailboxId, bytes: u64) {
        let mut all = self.too_large();
        let largest = all.entry(mailbox).or_default();
        *largest = bytes.max(*largest);
    }

    /// Whether that mailbox has room for a message of that size even if its sender is mistaken, `held` of it reserved
    /// already.
    #[must_use]
    pub fn is_ample(&self, mailbox: &Mailbox, id: MailboxId, size: Size, held: u64) -> bool {
        let most = self.too_large().get(&id).copied().unwrap_or(0).max(size.ample());
        self.fits(mailbox, id, most.saturating_sub(held))
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
    /// The mailboxes of each address asked for: one of them at least must get the letter.
    addresses: Vec<Vec<MailboxId>>,
    /// It may not fit into the one address's mailboxes: nobody else's letter is to wait for that.
    alone: bool,
}

impl Rooms {
    /// None yet.
    #[must_use]
    pub fn new(reserved: &Arc<Reserved>) -> Self {
        Self { reserved: reserved.clone(), rooms: HashMap::new(), addresses: Vec::new(), alone: false }
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

    /// Makes the mailbox's room at least so large, if it has it.
    pub fn grow(&mut self, mailbox: &Mailbox, id: MailboxId, bytes: u64) -> bool {
        let has = self.reserved.fits(mailbox, id, bytes.saturating_sub(self.of(id)));
        if has {
            self.add(id, bytes);
        }
        has
    }

    /// Whether every address still gets the letter when those mailboxes get none.
    #[must_use]
    pub fn can_do_without(&self, left_out: &HashSet<MailboxId>) -> bool {
        self.addresses.iter().all(|mailboxes| mailboxes.iter().any(|id| !left_out.contains(id)))
    }

    /// Whether an address of those mailboxes may be named beside those before it.
    fn admits(&self, mailboxes: &[MailboxId], ample: bool) -> bool {
        let beside = self.rooms.keys().any(|known| !mailboxes.contains(known));
        let new = mailboxes.iter().any(|id| !self.has(*id));
        (ample || !beside) && !(self.alone && new)
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

/// What came of asking for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It is reserved.
    Reserved,
    /// Not beside the others of the transaction.
    Separately,
    /// The transaction or the edge has too many.
    TooMuch,
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

    /// Reserves for one address; `ample`: the message fits into one of its mailboxes, whatever comes.
    pub fn reserve(&mut self, transaction: TransactionId, mailboxes: &[MailboxId], bytes: u64, ample: bool) -> Asked {
        if self.open.len() >= TRANSACTIONS && !self.open.contains_key(&transaction) {
            return Asked::TooMuch;
        }
        let open = self.open.entry(transaction).or_insert_with(|| Rooms::new(&self.reserved));
        let fresh = mailboxes.iter().filter(|mailbox| !open.has(**mailbox)).count();
        let known = open.addresses.iter().any(|known| known == mailboxes);
        if open.rooms.len() + fresh > limits::LETTERS || (!known && open.addresses.len() >= limits::LETTERS) {
            return Asked::TooMuch;
        }
        if !open.admits(mailboxes, ample) {
            return Asked::Separately;
        }
        open.alone |= !ample;
        // What only leaves needs none of them.
        if !known && !mailboxes.is_empty() {
            open.addresses.push(mailboxes.to_vec());
        }
        mailboxes.iter().for_each(|mailbox| open.add(*mailbox, bytes));
        Asked::Reserved
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
        assert_eq!(open.reserve(transaction, &[mailbox], 10, true), Asked::Reserved);
        // By another of its addresses: one copy comes, so one room is enough.
        assert_eq!(open.reserve(transaction, &[mailbox], 5, true), Asked::Reserved);
        assert_eq!(open.reserve(transaction, &[mailbox, MailboxId(2)], 12, true), Asked::Reserved);
        let rooms = open.end(transaction);
        assert_eq!((reserved.of(mailbox), rooms.of(mailbox), reserved.of(MailboxId(2))), (12, 12, 12));
        drop(rooms);
        assert_eq!(reserved.of(mailbox), 0);
        assert_eq!(open.reserve(transaction, &[mailbox], 10, true), Asked::Reserved);
        drop(open);
        assert_eq!(reserved.of(mailbox), 0);
    }

    #[test]
    fn a_transaction_takes_only_so_many_rooms() {
        let reserved = Arc::new(Reserved::default());
        let mut open = Open::new(&reserved);
        let most = limits::LETTERS as u64;
        let rooms: Vec<_> = (0..most).map(MailboxId).collect();
        let mut reserve = |mailboxes: &[MailboxId]| open.reserve(TransactionId([1; 16]), mailboxes, 1, true);
        assert_eq!(reserve(&rooms), Asked::Reserved);
        assert_eq!(reserve(&rooms), Asked::Reserved, "mailboxes count once");
        assert_eq!(reserve(&[MailboxId(most)]), Asked::TooMuch);
        let same: Vec<_> = (1..=limits::LETTERS).map(|many| reserve(&rooms[..many])).collect();
        assert_eq!(same.last(), Some(&Asked::Reserved), "the whole list is known");
        assert_eq!(same[limits::LETTERS - 2], Asked::Reserved);
        assert_eq!(reserve(&rooms[1..]), Asked::TooMuch, "and so do addresses");
    }

    #[test]
    fn a_tight_address_goes_alone_and_each_address_needs_one_mailbox() {
        let reserved = Arc::new(Reserved::default());
        let mut open = Open::new(&reserved);
        let (one, two, us) = ([MailboxId(1)], [MailboxId(2)], [MailboxId(1), MailboxId(2)]);
        let transaction = |n: u8| TransactionId([n; 16]);
        for (n, asked) in [
            (1, [(&one[..], false, Asked::Reserved), (&two, true, Asked::Separately), (&one, false, Asked::Reserved)]),
            (2, [(&two, true, Asked::Reserved), (&one, false, Asked::Separately), (&us, true, Asked::Reserved)]),
            (3, [(&us, false, Asked::Reserved), (&one, false, Asked::Separately), (&two, true, Asked::Reserved)]),
        ] {
            for (mailboxes, ample, answer) in asked {
                assert_eq!(open.reserve(transaction(n), mailboxes, 1, ample), answer, "{n}: {mailboxes:?}");
            }
        }
        // What leaves, and may not fit.
        assert_eq!(open.reserve(transaction(4), &[], 0, false), Asked::Reserved);
        assert_eq!(open.reserve(transaction(4), &one, 1, true), Asked::Separately);
        assert!(open.end(transaction(4)).can_do_without(&HashSet::new()));
        let rooms = open.end(transaction(2));
        assert!(rooms.can_do_without(&HashSet::from(one)));
        assert!(!rooms.can_do_without(&HashSet::from(two)));
    }
}
