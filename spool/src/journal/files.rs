//! The journal's files: names, lists, and the one segment that is written to.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};

use super::limits;
use super::record::{Entry, Record};
use super::segment::{self, Chain, Kind, TAG};

/// What lies in `journal/`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Segments, ascending.
    pub segments: Vec<u64>,
    /// Checkpoints, ascending.
    pub checkpoints: Vec<u64>,
}

/// Path of a segment.
#[must_use]
pub fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}"))
}

/// Path of a checkpoint.
#[must_use]
pub fn checkpoint_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.checkpoint"))
}

/// Where a file is kept that turned out damaged.
#[must_use]
pub fn damaged_path(path: &Path) -> PathBuf {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    PathBuf::from(aside)
}

/// Path of a checkpoint being written.
#[must_use]
pub fn new_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.new"))
}

fn reserve_path(dir: &Path) -> PathBuf {
    dir.join("reserve")
}

/// Removes what a checkpoint left half-written.
///
/// # Errors
/// The kernel's.
pub fn remove_unfinished(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "new") {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Lists the folder.
///
/// # Errors
/// The kernel's.
pub fn list_only(dir: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let (number, kind) = name.split_once('.').unwrap_or((name, ""));
        let number = (number.len() == 16).then(|| u64::from_str_radix(number, 16).ok()).flatten();
        match (number, kind) {
            (Some(number), "") => listing.segments.push(number),
            (Some(number), "checkpoint") => listing.checkpoints.push(number),
            _ => {}
        }
    }
    listing.segments.sort_unstable();
    listing.checkpoints.sort_unstable();
    Ok(listing)
}

/// Whether a start would read a file in which batches are not marked.
///
/// # Errors
/// The kernel's.
pub fn some_without_marks(dir: &Path) -> io::Result<bool> {
    let listing = list_only(dir)?;
    let base = listing.checkpoints.last().copied();
    let read = listing.segments.iter().filter(|number| **number >= base.unwrap_or(0));
    for path in read.map(|number| segment_path(dir, *number)).chain(base.map(|number| checkpoint_path(dir, number))) {
        let mut start = Vec::new();
        match std::fs::File::open(path) {
            // A checkpoint was made meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            file => drop(file?.take(segment::HEADER as u64).read_to_end(&mut start)?),
        }
        if segment::is_without_marks(&start) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// 32 random bytes.
///
/// # Errors
/// The kernel's.
pub fn fresh_salt() -> io::Result<[u8; 32]> {
    let mut salt = [0; 32];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut salt)
        .map_err(|_| io::Error::other("no random bytes"))?;
    Ok(salt)
}

/// Encodes an entry; a failure is a bug of ours.
///
/// # Errors
/// Longer than [`limits::ENTRY`].
pub fn encode(entry: &Entry) -> io::Result<Vec<u8>> {
    let plain = postcard::to_stdvec(entry).map_err(|_| io::Error::other("entry does not encode"))?;
    if plain.len() > limits::ENTRY { Err(io::Error::other("entry too long")) } else { Ok(plain) }
}

/// The segment that is written to. Created empty; [`Self::begin`] comes first.
#[derive(Debug)]
pub struct Writer {
    file: Arc<DiskFile>,
    chain: Chain,
    number: u64,
    at: u64,
    ahead: u64,
    /// Whether all that was written is durable: the next entry begins a batch.
    durable: bool,
}

impl Writer {
    /// Makes a segment file with room written ahead, durable under its name. With a full disk the
    /// reserve is given up for it, or there is less room ahead: enough for its first entry (of `first`
    /// bytes) and to delete mail.
    ///
    /// # Errors
    /// The kernel's.
    pub fn create(disk: &Disk, dir: &Path, key: &[u8; 32], number: u64, first: usize) -> io::Result<Self> {
        let first = (segment::HEADER + segment::FRAMING + first) as u64;
        let full = |tried: &io::Result<Self>| matches!(tried, Err(error) if error.kind() == io::ErrorKind::StorageFull);
        let mut tried = Self::try_create(disk, dir, key, (number, first + limits::AHEAD));
        if full(&tried) && give_up_reserve(disk, dir)? {
            tried = Self::try_create(disk, dir, key, (number, first + limits::AHEAD));
        }
        if full(&tried) {
            tried = Self::try_create(disk, dir, key, (number, first + limits::LEAST_AHEAD));
        }
        tried
    }

    fn try_create(disk: &Disk, dir: &Path, key: &[u8; 32], (number, ahead): (u64, u64)) -> io::Result<Self> {
        let path = segment_path(dir, number);
        let header = segment::header(Kind::Log, number, &fresh_salt()?);
        let made = disk.create_new(&path).and_then(|file| {
            file.write_at(&vec![0; ahead as usize], 0)?;
            file.write_at(&header, 0)?;
            file.sync_all()?;
            disk.sync_folder(dir)?;
            Ok(file)
        });
        let file = made.inspect_err(|_| drop(std::fs::remove_file(&path)))?;
        let chain = Chain::begin(key, &header, Kind::Log, number).map_err(|_| io::Error::other("own header"))?;
        Ok(Self { file: Arc::new(file), chain, number, at: segment::HEADER as u64, ahead, durable: false })
    }

    /// A segment nobody will read: the journal is only looked at.
    ///
    /// # Errors
    /// The kernel's.
    pub fn in_memory(key: &[u8; 32], number: u64) -> io::Result<Self> {
        let header = segment::header(Kind::Log, number, &fresh_salt()?);
        let chain = Chain::begin(key, &header, Kind::Log, number).map_err(|_| io::Error::other("own header"))?;
        let file = Arc::new(DiskFile::in_memory()?);
        Ok(Self { file, chain, number, at: segment::HEADER as u64, ahead: 0, durable: false })
    }

    /// The first entry: where the chain comes from, and the mailboxes there are. Not synced: it is one batch
    /// with the first commit.
    ///
    /// # Errors
    /// The kernel's.
    pub fn begin(&mut self, previous: Option<[u8; TAG]>, sequence: u64, still: Vec<Record>) -> io::Result<()> {
        self.write(std::iter::once(first(previous, sequence, still)?.as_slice()))
    }

    /// Appends entries.
    ///
    /// # Errors
    /// The kernel's; the segment must not be written to any more.
    pub fn write<'a>(&mut self, entries: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        let mut sealed = Vec::new();
        for plain in entries {
            let marks = std::mem::take(&mut self.durable);
            self.chain.seal(plain, marks, &mut sealed).ok_or_else(|| io::Error::other("segment full"))?;
        }
        self.file.write_at(&sealed, self.at)?;
        self.at += sealed.len() as u64;
        Ok(())
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// The kernel's; then nobody knows what is on disk and the keeper must begin anew.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.durable = true;
        Ok(())
    }

    /// Writes the last entry, and cuts the zeros off unless their room is kept for whoever begins next; nothing is written to
    /// it again. The last tag.
    ///
    /// # Errors
    /// The kernel's.
    pub fn close(mut self, still: Vec<Record>, keeps_room: bool) -> io::Result<[u8; TAG]> {
        let before = self.chain.link();
        let mut entry = vec![Record::End];
        entry.extend(still);
        let ended = encode(&entry).and_then(|plain| self.write(std::iter::once(plain.as_slice())));
        if let Err(error) = ended {
            // On a full disk it ends without: as after a crash, but nothing is missing.
            tracing::warn!(%error, "closing a segment of the journal");
            self.file.truncate(self.at)?;
            self.file.sync_all()?;
            return Ok(before);
        }
        if !keeps_room {
            self.file.truncate(self.at)?;
        }
        self.file.sync_all()?;
        Ok(self.chain.link())
    }

    /// The file, for writing zeros ahead.
    #[must_use]
    pub fn file(&self) -> Arc<DiskFile> {
        self.file.clone()
    }

    /// How far it is written.
    #[must_use]
    pub const fn at(&self) -> u64 {
        self.at
    }

    /// How far it had room when it was made.
    #[must_use]
    pub const fn ahead(&self) -> u64 {
        self.ahead
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }
}

/// The first entry of a segment, encoded.
///
/// # Errors
/// As [`encode`].
pub fn first(previous: Option<[u8; TAG]>, sequence: u64, still: Vec<Record>) -> io::Result<Vec<u8>> {
    let mut entry = vec![Record::Begin { previous, sequence }];
    entry.extend(still);
    encode(&entry)
}

/// On a full disk: makes room for what a start cannot do without. Whether there was any to be had.
///
/// # Errors
/// The kernel's.
pub fn give_up_reserve(disk: &Disk, dir: &Path) -> io::Result<bool> {
    let path = reserve_path(dir);
    let there = has_reserve(dir);
    if there {
        tracing::error!("disk full: giving up the journal's reserve");
        disk.remove(&path)?;
    }
    Ok(there)
}

/// Whether a start could give something up.
#[must_use]
pub fn has_reserve(dir: &Path) -> bool {
    reserve_path(dir).exists()
}

/// Makes the reserve where there is none and the disk has room for it.
pub fn keep_reserve(disk: &Disk, dir: &Path) {
    if has_reserve(dir) {
        return;
    }
    let path = reserve_path(dir);
    let made = disk.create_new(&path).and_then(|file| {
        file.write_at(&vec![0; limits::RESERVE as usize], 0)?;
        file.sync_all()
    });
    if made.is_err() {
        let _ = std::fs::remove_file(&path);
    }
}
