//! `journal/closed`: how the journal ended when it was closed in order, so that an end cut off since is told of. A crash
//! leaves none, and a start takes it away before anything new is durable.
//!
//! | bytes | field |
//! | --- | --- |
//! | 8 | number of the last segment |
//! | 16 | the tag of its last entry |
//! | 32 | HMAC-SHA256 of what is before, with the index key |

use std::io;
use std::path::{Path, PathBuf};

use ring::hmac;

use super::segment::TAG;
use crate::disk::Disk;

const FACTS: usize = 8 + TAG;
const LABEL: &[u8] = b"postern journal closed";

/// The end of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Its last segment.
    pub number: u64,
    /// The tag of the last entry there.
    pub link: [u8; TAG],
}

/// What there is of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// None: the journal was not closed in order, or is in use.
    None,
    /// As it was written.
    Of(Closed),
    /// Not as it was written, or not with this key.
    Damaged,
}

/// Its path.
#[must_use]
pub fn path(dir: &Path) -> PathBuf {
    dir.join("closed")
}

fn sealed(facts: &[u8]) -> Vec<u8> {
    [LABEL, facts].concat()
}

fn key(index_key: &[u8; 32]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, index_key)
}

/// Writes it, durable.
///
/// # Errors
/// The disk's: then the journal looks as after a crash.
pub fn write(disk: &Disk, dir: &Path, index_key: &[u8; 32], closed: Closed) -> io::Result<()> {
    let mut bytes = closed.number.to_le_bytes().to_vec();
    bytes.extend(closed.link);
    let tag = hmac::sign(&key(index_key), &sealed(&bytes));
    bytes.extend(tag.as_ref());
    disk.replace(&path(dir), &bytes)
}

/// Reads it.
///
/// # Errors
/// The disk's.
pub fn read(dir: &Path, index_key: &[u8; 32]) -> io::Result<Mark> {
    let bytes = match std::fs::read(path(dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Mark::None),
        other => other?,
    };
    Ok(parse(&bytes, index_key).map_or(Mark::Damaged, Mark::Of))
}

fn parse(bytes: &[u8], index_key: &[u8; 32]) -> Option<Closed> {
    let (facts, tag) = bytes.split_at_checked(FACTS)?;
    hmac::verify(&key(index_key), &sealed(facts), tag).ok()?;
    let (number, link) = facts.split_first_chunk()?;
    Some(Closed { number: u64::from_le_bytes(*number), link: link.try_into().ok()? })
}

/// Takes it away; not durable before the folder is synced.
///
/// # Errors
/// The disk's.
pub fn remove(disk: &Disk, dir: &Path) -> io::Result<()> {
    let path = path(dir);
    if path.exists() { disk.remove(&path) } else { Ok(()) }
}
