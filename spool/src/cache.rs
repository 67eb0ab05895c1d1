//! One mailbox's cache of sealed summaries: a small sled that may vanish at any time.
//!
//! sled 0.34's `flush` does not reach the disk, a power cut leaves it unopenable, and it may panic on what it then
//! finds. So nothing depends on it, every call is caught, and what was not closed cleanly is thrown away:
//!
//! | in `cache/<mailbox>/` | |
//! | --- | --- |
//! | `db/` | the sled: letter name to the value its owner sealed ([`crate::summary_seal`]) |
//! | `clean` | there exactly while nobody has it open and all of `db/` is on the disk |
//!
//! A flipped bit in a value is the owner's to find: its seal no longer opens.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fmt, thread};

use crate::disk::Disk;
use crate::limits;
use crate::names::LetterId;

const CLEAN: &str = "clean";
const DB: &str = "db";
/// Dropping a sled gives its lock back a moment later: tries to open, and the wait between them.
const TRIES: u32 = 20;
const WAIT: Duration = Duration::from_millis(10);

/// Why there is no cache now. Summaries then come from the letters; nothing is lost but time.
#[derive(Debug)]
pub enum CacheError {
    /// The disk's.
    Io(io::Error),
    /// sled could not open even an empty folder.
    Sled(String),
}

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cache: {error}"),
            Self::Sled(error) => write!(f, "cache: sled: {error}"),
        }
    }
}

impl std::error::Error for CacheError {}

impl From<io::Error> for CacheError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// An open cache. Closed with [`Self::close`] at the end of the last session; merely dropped, it is thrown away
/// at the next open. Calls block: on the disk, for milliseconds at most.
pub struct Cache {
    db: sled::Db,
    folder: PathBuf,
    broken: AtomicBool,
}

impl Cache {
    /// Opens the cache in `folder`, which is made if missing; what was not closed cleanly is deleted first.
    ///
    /// # Errors
    /// [`CacheError`].
    pub fn open(folder: &Path) -> Result<Self, CacheError> {
        let disk = Disk::default();
        fs::create_dir_all(folder)?;
        let clean = folder.join(CLEAN);
        if clean.try_exists()? {
            // Gone from the disk before sled writes: a cut from here on must not find a mark and half a sled.
            disk.remove(&clean)?;
            disk.sync_folder(folder)?;
            if let Ok(db) = start(folder) {
                return Ok(Self::new(db, folder));
            }
        }
        discard_db(folder)?;
        start(folder).map(|db| Self::new(db, folder)).map_err(CacheError::Sled)
    }

    fn new(db: sled::Db, folder: &Path) -> Self {
        Self { db, folder: folder.to_owned(), broken: AtomicBool::new(false) }
    }

    /// The values of some letters, in order; `None` for what is not there.
    #[must_use]
    pub fn get(&self, letters: &[LetterId]) -> Vec<Option<Vec<u8>>> {
        let get = |letter: &LetterId| self.guard(|db| db.get(letter.0)).flatten().map(|value| value.to_vec());
        letters.iter().map(get).collect()
    }

    /// Puts values, each already sealed by the owner; one over [`limits::CACHE_VALUE`] is left out.
    pub fn put<'a>(&self, values: impl IntoIterator<Item = (LetterId, &'a [u8])>) {
        let mut batch = sled::Batch::default();
        for (letter, value) in values {
            if value.len() <= limits::CACHE_VALUE {
                batch.insert(&letter.0, value);
            }
        }
        self.guard(|db| db.apply_batch(batch));
    }

    /// Forgets letters that were expunged.
    pub fn remove(&self, letters: impl IntoIterator<Item = LetterId>) {
        let mut batch = sled::Batch::default();
        letters.into_iter().for_each(|letter| batch.remove(&letter.0));
        self.guard(|db| db.apply_batch(batch));
    }

    /// Values in it; for tests and `doctor`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.guard(|db| Ok(db.len())).unwrap_or(0)
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes it so that the next open finds everything: flushed, on the disk, and marked.
    ///
    /// # Errors
    /// [`CacheError`]; then it will be thrown away at the next open.
    pub fn close(self) -> Result<(), CacheError> {
        let flushed = self.guard(|db| db.flush()).is_some();
        let Self { db, folder, broken } = self;
        let dropped = catch_unwind(AssertUnwindSafe(move || drop(db))).is_ok();
        if !flushed || !dropped || broken.into_inner() {
            return Err(CacheError::Sled("stopped working".to_owned()));
        }
        sync_all(&folder.join(DB))?;
        Disk::default().replace(&folder.join(CLEAN), b"postern cache 1\n")?;
        Ok(())
    }

    /// One call into sled. After the first error or panic nothing reaches it any more.
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

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("broken", &self.broken).finish_non_exhaustive()
    }
}

/// Deletes a mailbox's cache, with the mailbox or because somebody asks; one that is not there is no error.
///
/// # Errors
/// The disk's.
pub fn discard(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn discard_db(folder: &Path) -> io::Result<()> {
    discard(&folder.join(DB))
}

fn start(folder: &Path) -> Result<sled::Db, String> {
    let config = sled::Config::new()
        .path(folder.join(DB))
        .cache_capacity(limits::CACHE_MEMORY)
        .mode(sled::Mode::LowSpace)
        .flush_every_ms(None);
    for _ in 0..TRIES {
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(sled::Error::Io(error))) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(WAIT),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("panicked".to_owned()),
        }
    }
    Err("locked".to_owned())
}

/// Every file and folder of the sled, bytes and names.
fn sync_all(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(folder)?.sync_all()
}
