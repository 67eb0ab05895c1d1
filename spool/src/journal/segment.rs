//! A segment: a clear header, then sealed entries, then zeros or the end of the file.
//!
//! ```text
//! header   "PSTNJRNL" | version u16 | kind u16 | reserved u32 | number u64 | salt [32]      (56 bytes)
//! entry    length u32 | count u32 | ciphertext | tag [16]        (length: ciphertext and tag)
//! ```
//!
//! The highest bit of a length marks the first entry of a batch: when it was written, everything before it
//! was durable. What one sync makes durable reaches the disk in any order until it returns, so a power cut
//! may leave a hole with whole entries of the same batch behind it. That is a torn tail like any other;
//! only a mark behind a hole proves that something durable was lost. (Version 1 had no marks: there every
//! entry counts as the first of its batch. And a hole right in front of the last mark hides it.)
//!
//! Little-endian. The key is HKDF-SHA256(index key, salt, "postern journal 1"); the salt is fresh for each
//! segment and nothing is ever appended to a segment that was closed, so the nonce (the entry's count
//! from 0) is never used twice under one key. Each entry is bound to the clear bytes before it and, by
//! the tag right in front of it (the header for the first), to everything before that: the chain.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};

use super::limits;

mod reader;

pub use reader::{Reader, Step};

/// Bytes of the header.
pub const HEADER: usize = 56;
/// Bytes of an entry beyond its plain text.
pub const FRAMING: usize = 8 + TAG;
/// Bytes of a tag.
pub const TAG: usize = 16;

const MAGIC: [u8; 8] = *b"PSTNJRNL";
const VERSION: u16 = 2;
const WITHOUT_MARKS: u16 = 1;
/// Of the length: the first entry of a batch.
const MARK: u32 = 1 << 31;

/// What a segment file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Facts as they came.
    Log = 1,
    /// The index, compacted.
    Checkpoint = 2,
}

/// Why a header cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadHeader {
    /// Another file's, or damaged.
    Damaged,
    /// Whole, and of a version that only a newer program knows.
    Newer(u16),
}

/// A key and position in one segment's chain.
pub struct Chain {
    key: LessSafeKey,
    count: u32,
    /// What the next entry is bound to: the last tag, or at first the digest of the header.
    link: [u8; TAG],
    /// Whether batches are marked.
    marked: bool,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("count", &self.count).finish_non_exhaustive()
    }
}

/// Makes the header of a segment.
#[must_use]
pub fn header(kind: Kind, number: u64, salt: &[u8; 32]) -> [u8; HEADER] {
    header_of(VERSION, kind, number, salt)
}

fn header_of(version: u16, kind: Kind, number: u64, salt: &[u8; 32]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&version.to_le_bytes());
    header[10..12].copy_from_slice(&(kind as u16).to_le_bytes());
    header[16..24].copy_from_slice(&number.to_le_bytes());
    header[24..].copy_from_slice(salt);
    header
}

impl Chain {
    /// The chain of the segment that begins with `header`, which must be of this kind and number.
    ///
    /// # Errors
    /// Another file's header, or none.
    pub fn begin(index_key: &[u8; 32], file: &[u8], kind: Kind, number: u64) -> Result<Self, BadHeader> {
        let head: &[u8; HEADER] = file.first_chunk().ok_or(BadHeader::Damaged)?;
        let salt: &[u8; 32] = head.last_chunk().ok_or(BadHeader::Damaged)?;
        let version = version(head);
        if *head != header_of(version, kind, number, salt) {
            return Err(BadHeader::Damaged);
        }
        match version {
            VERSION | WITHOUT_MARKS => Self::of(index_key, head),
            // A version we know that lost a bit: what follows fits the header as it was.
            _ if [VERSION, WITHOUT_MARKS].iter().any(|was| {
                Self::of(index_key, &header_of(*was, kind, number, salt))
                    .is_ok_and(|mut chain| chain.open(file, HEADER).is_some())
            }) =>
            {
                Err(BadHeader::Damaged)
            }
            newer if newer > VERSION => Err(BadHeader::Newer(newer)),
            _ => Err(BadHeader::Damaged),
        }
    }

    /// The chain behind a header of a version we know.
    fn of(index_key: &[u8; 32], head: &[u8; HEADER]) -> Result<Self, BadHeader> {
        let salt: &[u8; 32] = head.last_chunk().ok_or(BadHeader::Damaged)?;
        let digest = ring::digest::digest(&ring::digest::SHA256, head);
        let mut link = [0; TAG];
        link.copy_from_slice(&digest.as_ref()[..TAG]);
        let key = segment_key(index_key, salt).ok_or(BadHeader::Damaged)?;
        Ok(Self { key, count: 0, link, marked: version(head) != WITHOUT_MARKS })
    }

    /// The last entry's tag.
    #[must_use]
    pub const fn link(&self) -> [u8; TAG] {
        self.link
    }

    /// Seals one entry onto `out`; `marks` when everything before it is durable. `None` when the segment is
    /// full (2^32 entries) or the entry too long.
    #[must_use]
    pub fn seal(&mut self, plain: &[u8], marks: bool, out: &mut Vec<u8>) -> Option<()> {
        let next = self.count.checked_add(1)?;
        if plain.len() > limits::ENTRY {
            return None;
        }
        let length = u32::try_from(plain.len() + TAG).ok()?;
        let clear = clear(length | if marks { MARK } else { 0 }, self.count);
        out.extend_from_slice(&clear);
        let start = out.len();
        out.extend_from_slice(plain);
        let aad = Aad::from(bound(&clear, &self.link));
        let tag = self.key.seal_in_place_separate_tag(nonce(self.count), aad, &mut out[start..]).ok()?;
        out.extend_from_slice(tag.as_ref());
        self.link.copy_from_slice(tag.as_ref());
        self.count = next;
        Some(())
    }

    /// Opens the entry at `at` if it is the next one; its plain text and where the one after it lies.
    fn open(&mut self, file: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
        let Framing { length, count, .. } = framing(file, at)?;
        if count != self.count {
            return None;
        }
        let end = at + 8 + length;
        let mut sealed = file[at + 8..end].to_vec();
        let mut link = [0; TAG];
        link.copy_from_slice(&sealed[length - TAG..]);
        let aad = Aad::from(bound(file[at..].first_chunk()?, &self.link));
        let plain = self.key.open_in_place(nonce(count), aad, &mut sealed).ok()?.len();
        sealed.truncate(plain);
        self.link = link;
        self.count = count.checked_add(1)?;
        Some((sealed, end))
    }
}

const fn version(head: &[u8; HEADER]) -> u16 {
    u16::from_le_bytes([head[8], head[9]])
}

/// Whether a file that starts so is a segment or checkpoint of version 1, in which batches are not marked.
#[must_use]
pub fn is_without_marks(start: &[u8]) -> bool {
    let head = start.first_chunk::<HEADER>().filter(|head| head.starts_with(&MAGIC));
    head.is_some_and(|head| version(head) == WITHOUT_MARKS)
}

/// Where the entry at `at` says it ends; `None` when it does not fit the file.
pub(super) fn entry_end(file: &[u8], at: usize) -> Option<usize> {
    framing(file, at).map(|framing| at + 8 + framing.length)
}

/// The clear bytes in front of an entry.
struct Framing {
    length: usize,
    count: u32,
    mark: bool,
}

fn framing(file: &[u8], at: usize) -> Option<Framing> {
    let clear: &[u8; 8] = file.get(at..)?.first_chunk()?;
    let first = u32::from_le_bytes([clear[0], clear[1], clear[2], clear[3]]);
    let count = u32::from_le_bytes([clear[4], clear[5], clear[6], clear[7]]);
    let length = (first & !MARK) as usize;
    let fits = (TAG..=limits::ENTRY + TAG).contains(&length) && length <= file.len() - at - 8;
    fits.then_some(Framing { length, count, mark: first & MARK != 0 })
}

fn clear(length: u32, count: u32) -> [u8; 8] {
    let mut clear = [0; 8];
    clear[..4].copy_from_slice(&length.to_le_bytes());
    clear[4..].copy_from_slice(&count.to_le_bytes());
    clear
}

fn bound(clear: &[u8; 8], link: &[u8; TAG]) -> [u8; 8 + TAG] {
    let mut bound = [0; 8 + TAG];
    bound[..8].copy_from_slice(clear);
    bound[8..].copy_from_slice(link);
    bound
}

fn nonce(count: u32) -> Nonce {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&count.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

fn segment_key(index_key: &[u8; 32], salt: &[u8; 32]) -> Option<LessSafeKey> {
    let derived = Salt::new(HKDF_SHA256, salt).extract(index_key);
    let key = derived.expand(&[b"postern journal 1"], &CHACHA20_POLY1305).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(key)))
}

#[cfg(test)]
mod tests;
