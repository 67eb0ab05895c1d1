//! Checkpoints: the index written down, so that the journal stays short.
//!
//! Written in the background: the journal goes on in a new segment `n`, then one mailbox after another
//! is written as it is at that moment, with the number of the last entry it knows. Reading it back,
//! each mailbox skips the entries of segment `n` and later that it knows already. The file gets its name
//! only when all those entries are durable.

use std::io::{self, Write};
use std::path::Path;

use crate::disk::{Disk, DiskFile};

use super::files::{self, checkpoint_path, new_path, segment_path};
use super::record::Record;
use super::segment::{self, Chain, Kind};
use super::{Entry, limits};

/// A checkpoint being written.
#[derive(Debug)]
pub struct Checkpoint<'a> {
    disk: &'a Disk,
    dir: &'a Path,
    number: u64,
    file: io::BufWriter<DiskFile>,
    chain: Chain,
    bytes: u64,
}

impl<'a> Checkpoint<'a> {
    /// Begins the one that goes before segment `number`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn begin(disk: &'a Disk, dir: &'a Path, key: &[u8; 32], number: u64) -> io::Result<Self> {
        let header = segment::header(Kind::Checkpoint, number, &files::fresh_salt()?);
        let chain = Chain::begin(key, &header, Kind::Checkpoint, number).map_err(|_| io::Error::other("own header"))?;
        let mut file = io::BufWriter::with_capacity(64 * 1024, disk.create_new(&new_path(dir, number))?);
        file.write_all(&header)?;
        Ok(Self { disk, dir, number, file, chain, bytes: header.len() as u64 })
    }

    /// Adds encoded entries.
    ///
    /// # Errors
    /// The kernel's.
    pub fn write(&mut self, entries: &[Vec<u8>]) -> io::Result<()> {
        for plain in entries {
            let mut sealed = Vec::with_capacity(plain.len() + segment::FRAMING);
            self.chain.seal(plain, false, &mut sealed).ok_or_else(|| io::Error::other("checkpoint full"))?;
            self.file.write_all(&sealed)?;
            self.bytes += sealed.len() as u64;
        }
        Ok(())
    }

    /// Makes it durable, under its name once `ready` (all entries it knows are durable) allows, and
    /// removes what it makes superfluous. Its size.
    ///
    /// # Errors
    /// The kernel's, or `ready`'s; the unfinished file is removed.
    pub fn finish(mut self, ready: impl FnOnce() -> io::Result<()>) -> io::Result<u64> {
        let end: Entry = vec![Record::End];
        self.write(&[files::encode(&end)?])?;
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        ready()?;
        self.disk.rename(&new_path(self.dir, self.number), &checkpoint_path(self.dir, self.number))?;
        self.disk.sync_folder(self.dir)?;
        Ok(self.bytes)
    }
}

/// Removes a checkpoint that was not finished.
pub fn abandon(dir: &Path, number: u64) {
    let _ = std::fs::remove_file(new_path(dir, number));
}

/// Removes checkpoints but the last two, and segments before the older of them.
///
/// # Errors
/// The kernel's.
pub fn prune(disk: &Disk, dir: &Path) -> io::Result<()> {
    let listing = files::list_only(dir)?;
    let keep = listing.checkpoints.len().saturating_sub(limits::CHECKPOINTS);
    let (old, kept) = listing.checkpoints.split_at(keep);
    old.iter().try_for_each(|number| disk.remove(&checkpoint_path(dir, *number)))?;
    let Some(oldest) = kept.first().filter(|_| kept.len() == limits::CHECKPOINTS) else { return Ok(()) };
    let superfluous = listing.segments.iter().filter(|number| *number < oldest);
    superfluous.into_iter().try_for_each(|number| disk.remove(&segment_path(dir, *number)))
}

/// After damage and a fresh checkpoint `number`: everything before it is put aside (kept beside under
/// another name), so that the next start does not meet the damage again.
///
/// # Errors
/// The kernel's.
pub fn set_aside(disk: &Disk, dir: &Path, number: u64) -> io::Result<()> {
    let listing = files::list_only(dir)?;
    let files = listing.segments.iter().filter(|n| **n < number).map(|n| segment_path(dir, *n));
    let checkpoints = listing.checkpoints.iter().filter(|n| **n < number).map(|n| checkpoint_path(dir, *n));
    for path in files.chain(checkpoints) {
        disk.rename(&path, &files::damaged_path(&path))?;
    }
    disk.sync_folder(dir)
}
