//! A session's place among those of its mailbox, given up when dropped. With the first IMAP session of a
//! mailbox its cache of summaries opens, with the last it closes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::cache::Cache;
use crate::edges::limits::SUMMARIES_BYTES;
use crate::names::{LetterId, MailboxId};
use crate::slots::Purpose;
use crate::store;

use super::house::House;
use super::share::Share;

/// One session.
#[derive(Debug)]
pub struct Seat {
    house: Arc<House>,
    mailbox: MailboxId,
    number: u64,
    purpose: Purpose,
    share: Arc<Share>,
}

impl Seat {
    /// For a session that has entered the hub.
    #[must_use]
    pub fn new(house: Arc<House>, mailbox: MailboxId, number: u64, purpose: Purpose) -> Self {
        let share = house.shares.of(mailbox);
        Self { house, mailbox, number, purpose, share }
    }

    /// The house.
    #[must_use]
    pub const fn house(&self) -> &Arc<House> {
        &self.house
    }

    /// Whose it is.
    #[must_use]
    pub const fn mailbox(&self) -> MailboxId {
        self.mailbox
    }

    /// What its mailbox's sessions may hold together.
    #[must_use]
    pub const fn share(&self) -> &Arc<Share> {
        &self.share
    }

    /// Its number in the hub.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut core = self.house.committer.lock();
        core.hub.leave(self.mailbox, self.number);
        drop(core);
        if self.purpose == Purpose::Imap {
            let (house, mailbox) = (self.house.clone(), self.mailbox);
            let close = move || house.caches.close_unless_read(&house, mailbox);
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn_blocking(close)),
                // The keeper is ending.
                Err(_) => close(),
            }
        }
    }
}

type Shared = Arc<Mutex<Option<Cache>>>;

/// The open caches. Calls block; each mailbox has a lock of its own, which stays once it was used: whoever waits for it
/// while a cache closes must find the one that opens next behind the same lock. `None` once all were closed for good.
#[derive(Debug)]
pub struct Caches(Mutex<Option<HashMap<MailboxId, Shared>>>);

impl Default for Caches {
    fn default() -> Self {
        Self(Mutex::new(Some(HashMap::new())))
    }
}

impl Caches {
    fn of(&self, mailbox: MailboxId) -> Option<Shared> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.as_mut().map(|all| all.entry(mailbox).or_default().clone())
    }

    fn with<T>(&self, house: &House, mailbox: MailboxId, ask: impl FnOnce(&Cache) -> T) -> Option<T> {
        let shared = self.of(mailbox)?;
        let mut cache = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.is_none() && readable(house, mailbox) {
            let opened = Cache::open(&store::cache_path(&house.root, mailbox));
            *cache = opened.inspect_err(|error| tracing::warn!(%mailbox, %error, "no cache")).ok();
        }
        cache.as_ref().map(ask)
    }

    /// Values, in order, as many from the front as one answer carries (its own bytes apart).
    pub fn get(&self, house: &House, mailbox: MailboxId, letters: &[LetterId]) -> Vec<Option<Vec<u8>>> {
        let most = SUMMARIES_BYTES - 16 * letters.len();
        self.with(house, mailbox, |cache| cache.get(letters, most)).unwrap_or_else(|| vec![None; letters.len()])
    }

    /// Puts values.
    pub fn put(&self, house: &House, mailbox: MailboxId, values: &[(LetterId, Vec<u8>)]) {
        let values = values.iter().map(|(letter, value)| (*letter, value.as_slice()));
        self.with(house, mailbox, |cache| cache.put(values));
    }

    /// Forgets expunged letters, where the cache is open.
    pub fn remove(&self, mailbox: MailboxId, letters: &[LetterId]) {
        let Some(shared) = self.of(mailbox) else { return };
        if let Some(cache) = &*shared.lock().unwrap_or_else(PoisonError::into_inner) {
            cache.remove(letters.iter().copied());
        }
    }

    /// Closes a mailbox's cache when no IMAP session is left.
    pub fn close_unless_read(&self, house: &House, mailbox: MailboxId) {
        let Some(shared) = self.of(mailbox) else { return };
        let mut cache = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if house.committer.lock().hub.reads(mailbox) {
            return;
        }
        if let Some(cache) = cache.take()
            && let Err(error) = cache.close()
        {
            tracing::warn!(%mailbox, %error, "closing a cache");
        }
    }

    /// Closes all for good: the keeper ends.
    pub fn close(&self) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        for (mailbox, shared) in all.unwrap_or_default() {
            let cache = shared.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(Err(error)) = cache.map(Cache::close) {
                tracing::warn!(%mailbox, %error, "closing a cache");
            }
        }
    }

    /// Closes one for good, and deletes it: its mailbox is being removed.
    ///
    /// # Errors
    /// The disk's.
    pub fn discard(&self, house: &House, mailbox: MailboxId) -> std::io::Result<()> {
        let shared = self.of(mailbox).unwrap_or_default();
        let mut cache = shared.lock().unwrap_or_else(PoisonError::into_inner);
        drop(cache.take());
        crate::cache::discard(&store::cache_path(&house.root, mailbox))
    }
}

/// Whether a cache may be open: an IMAP session is there, and the mailbox still is.
fn readable(house: &House, mailbox: MailboxId) -> bool {
    // To open one is to write.
    if house.manner.only_reads() {
        return false;
    }
    let core = house.committer.lock();
    core.hub.reads(mailbox) && core.index.mailbox(mailbox).is_some()
}
