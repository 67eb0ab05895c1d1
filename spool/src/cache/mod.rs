//! One mailbox's cache of sealed summaries: a small sled and a file of values, which may vanish at any time.
//!
//! sled 0.34's `flush` does not reach the disk, a power cut leaves it unopenable, and it may panic on what it then
//! finds. So nothing depends on it, every call is caught, and what was not closed cleanly is thrown away:
//!
//! | in `cache/<mailbox>/` | |
//! | --- | --- |
//! | `db/` | the sled: a letter's name to the place of its value (8 + 4 bytes) |
//! | `values` | what the owner sealed ([`crate::summary_seal`]), one after another |
//! | `clean` | `postern cache 2 LENGTH DEAD`; there exactly while nobody has it open and all else is on the disk |
//!
//! The values are not in the sled because it reads and keeps sixteen neighbours to get at one, and its bound on
//! memory does not hold then: 10,000 values of 2.5 KB cost 32 MB and 60,000 cost 155 MB, with a bound of 4 MiB (measured).
//!
//! A flipped bit in a value, or a place that is wrong, is the owner's to find: the seal does not open.

mod places;
mod values;

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use self::places::Places;
use self::values::{Place, Values};
use crate::disk::Disk;
use crate::limits;
use crate::names::LetterId;

const CLEAN: &str = "clean";
const DB: &str = "db";
const VALUES: &str = "values";
/// Forgotten bytes that are worth a compaction, when they are also more than half of the file.
const DEAD: u64 = 4 * 1024 * 1024;

/// Why there is no cache now. Summaries then come from the letters; nothing is lost but time.
#[derive(Debug)]
pub enum CacheError {
    /// The disk's.
    Io(io::Error),
    /// sled could not open even an empty folder, or has stopped working.
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
    places: Places,
    values: Values,
    folder: PathBuf,
    dead: AtomicU64,
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
        if let Ok(mark) = fs::read_to_string(&clean) {
            // Gone from the disk before sled writes: a cut from here on must not find a mark and half a sled.
            disk.remove(&clean)?;
            disk.sync_folder(folder)?;
            if let Some(cache) = Self::reopen(folder, &mark) {
                return Ok(cache);
            }
            tracing::warn!(folder = %folder.display(), "a cache of summaries is damaged: it is thrown away, and fills again");
        }
        discard(&folder.join(DB))?;
        let values = Values::create(&folder.join(VALUES))?;
        let places = Places::open(&folder.join(DB)).map_err(CacheError::Sled)?;
        Ok(Self { places, values, folder: folder.to_owned(), dead: AtomicU64::new(0) })
    }

    fn reopen(folder: &Path, mark: &str) -> Option<Self> {
        let mut numbers = mark.strip_prefix("postern cache 2 ")?.trim_end().split(' ').map(str::parse::<u64>);
        let (length, dead) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        let values = Values::open(&folder.join(VALUES), length).ok()?;
        let places = Places::open(&folder.join(DB)).ok()?;
        Some(Self { places, values, folder: folder.to_owned(), dead: AtomicU64::new(dead) })
    }

    /// The values of some letters, in order; `None` for what is not there. Letters that were put together are read
    /// together, so ask for many at once. What comes after `most` bytes is left out: the list is shorter then, but
    /// never empty.
    #[must_use]
    pub fn get(&self, letters: &[LetterId], most: usize) -> Vec<Option<Vec<u8>>> {
        let mut places = Vec::with_capacity(letters.len());
        let mut bytes = 0_u64;
        for letter in letters {
            let place = self.places.get(*letter);
            bytes += place.map_or(0, Place::length);
            if bytes > most as u64 && !places.is_empty() {
                break;
            }
            places.push(place);
        }
        self.values.read(&places)
    }

    /// Puts values, each already sealed by the owner; one over [`limits::CACHE_VALUE`] is left out, and so is
    /// everything when the disk or the cache is full.
    pub fn put<'a>(&self, values: impl IntoIterator<Item = (LetterId, &'a [u8])>) {
        let (letters, values): (Vec<_>, Vec<_>) =
            values.into_iter().filter(|(_, value)| value.len() <= limits::CACHE_VALUE).unzip();
        let Ok(places) = self.values.append(&values) else { return };
        for (letter, place) in letters.into_iter().zip(places) {
            self.forgotten(self.places.put(letter, place));
        }
    }

    /// Forgets letters that were expunged.
    pub fn remove(&self, letters: impl IntoIterator<Item = LetterId>) {
        letters.into_iter().for_each(|letter| self.forgotten(self.places.remove(letter)));
    }

    fn forgotten(&self, place: Option<Place>) {
        self.dead.fetch_add(place.map_or(0, Place::length), Ordering::Relaxed);
    }

    /// Values in it; for tests and `doctor`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes it so that the next open finds everything: compacted if most of it is forgotten, flushed, on the
    /// disk, and marked.
    ///
    /// # Errors
    /// [`CacheError`]; then it will be thrown away at the next open.
    pub fn close(self) -> Result<(), CacheError> {
        let Self { places, mut values, folder, dead } = self;
        let mut dead = dead.into_inner();
        if dead > DEAD && dead > values.sync()? / 2 {
            values = compact(&places, values, &folder.join(VALUES))?;
            dead = 0;
        }
        places.close()?;
        sync_all(&folder.join(DB))?;
        let mark = format!("postern cache 2 {} {dead}\n", values.sync()?);
        Disk::default().replace(&folder.join(CLEAN), mark.as_bytes())?;
        Ok(())
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("places", &self.places).finish_non_exhaustive()
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

/// Nothing here needs to survive a cut half-way: the mark is gone while the cache is open.
fn compact(places: &Places, values: Values, path: &Path) -> Result<Values, CacheError> {
    let stopped = || CacheError::Sled("stopped working".to_owned());
    let mut kept = places.all().ok_or_else(stopped)?;
    // As they lie, so that letters put together stay together.
    kept.sort_unstable_by_key(|(_, place)| place.encode().first_chunk().map(|at| u64::from_le_bytes(*at)));
    let old: Vec<_> = kept.iter().map(|(_, place)| *place).collect();
    let (values, new) = values.compact(path, &old)?;
    for ((letter, _), place) in kept.into_iter().zip(new) {
        places.put(letter, place);
    }
    Ok(values)
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
