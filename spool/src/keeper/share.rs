//! What the sessions of one mailbox may hold of the keeper's at once, together: a process of one owner that was taken
//! over uses up its own share, and nobody else's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Semaphore;

use crate::names::MailboxId;

/// Answers with letters' descriptors that are being sent or lie unread: 32 descriptors each.
const OPENED: usize = 8;
/// Pipes that wait to be read: two messages of the most recipients.
const PIPES: usize = 2 * crate::edges::limits::LETTERS;
/// Threads taking in what is appended.
const HANDS: usize = 2;

/// One mailbox's share.
#[derive(Debug)]
pub struct Share {
    /// Answers with letters' descriptors.
    pub opened: Arc<Semaphore>,
    /// Pipes of letters to come.
    pub pipes: Arc<Semaphore>,
    /// Threads taking in what is appended.
    pub hands: Arc<Semaphore>,
}

impl Default for Share {
    fn default() -> Self {
        let of = |many| Arc::new(Semaphore::new(many));
        Self { opened: of(OPENED), pipes: of(PIPES), hands: of(HANDS) }
    }
}

/// The shares of all mailboxes that have a session.
#[derive(Debug, Default)]
pub struct Shares(Mutex<HashMap<MailboxId, Weak<Share>>>);

impl Shares {
    /// A mailbox's; the same for all its sessions.
    #[must_use]
    pub fn of(&self, mailbox: MailboxId) -> Arc<Share> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = all.get(&mailbox).and_then(Weak::upgrade) {
            return share;
        }
        all.retain(|_, share| share.strong_count() > 0);
        let share = Arc::default();
        all.insert(mailbox, Arc::downgrade(&share));
        share
    }
}
