//! The sled: where each letter's value lies. Every call into it is caught.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fmt, io, thread};

use super::CacheError;
use super::values::Place;
use crate::limits;
use crate::names::LetterId;

/// Dropping a sled gives its lock back a moment later: tries to open, and the wait between them.
const TRIES: u32 = 20;
const WAIT: Duration = Duration::from_millis(10);

/// The sled. After its first error or panic nothing reaches it any more.
pub(super) struct Places {
    db: sled::Db,
    broken: AtomicBool,
}

impl Places {
    pub(super) fn open(folder: &Path) -> Result<Self, String> {
        let config = sled::Config::new()
            .path(folder)
            .cache_capacity(limits::CACHE_MEMORY)
            .mode(sled::Mode::LowSpace)
            .flush_every_ms(None);
        for _ in 0..TRIES {
            match catch_unwind(AssertUnwindSafe(|| config.open())) {
                Ok(Ok(db)) => return Ok(Self { db, broken: AtomicBool::new(false) }),
                Ok(Err(sled::Error::Io(error))) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(WAIT),
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => return Err("panicked".to_owned()),
            }
        }
        Err("locked".to_owned())
    }

    pub(super) fn get(&self, letter: LetterId) -> Option<Place> {
        self.guard(|db| db.get(letter.0)).flatten().and_then(|bytes| Place::decode(&bytes))
    }

    /// Returns the place it had before.
    pub(super) fn put(&self, letter: LetterId, place: Place) -> Option<Place> {
        self.guard(|db| db.insert(letter.0, &place.encode())).flatten().and_then(|bytes| Place::decode(&bytes))
    }

    pub(super) fn remove(&self, letter: LetterId) -> Option<Place> {
        self.guard(|db| db.remove(letter.0)).flatten().and_then(|bytes| Place::decode(&bytes))
    }

    pub(super) fn len(&self) -> usize {
        self.guard(|db| Ok(db.len())).unwrap_or(0)
    }

    pub(super) fn all(&self) -> Option<Vec<(LetterId, Place)>> {
        self.guard(|db| {
            let read = |(key, value): (sled::IVec, sled::IVec)| {
                Some((LetterId(key.as_ref().try_into().ok()?), Place::decode(&value)?))
            };
            db.iter().filter_map(|entry| entry.map(read).transpose()).collect()
        })
    }

    pub(super) fn close(self) -> Result<(), CacheError> {
        let flushed = self.guard(|db| db.flush()).is_some();
        let Self { db, broken } = self;
        let dropped = catch_unwind(AssertUnwindSafe(move || drop(db))).is_ok();
        if flushed && dropped && !broken.into_inner() {
            Ok(())
        } else {
            Err(CacheError::Sled("stopped working".to_owned()))
        }
    }

    fn guard<T>(&self, call: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Option<T> {
        if self.broken.load(Ordering::Relaxed) {
            return None;
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| call(&self.db)));
        if let Ok(Ok(value)) = outcome {
            return Some(value);
        }
        self.broken.store(true, Ordering::Relaxed);
        tracing::warn!("a cache of summaries stopped working and will be thrown away");
        None
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("broken", &self.broken).finish_non_exhaustive()
    }
}
