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

    /// Looks behind a damaged place for the next entry that can be opened; nowhere unless a batch begins
    /// behind it, since what lies there then was never promised.
    fn resume(&mut self, file: &[u8], after: usize) -> Option<usize> {
        let (count, link) = (self.count, self.link);
        self.seek(file, after, true)?;
        (self.count, self.link) = (count, link);
        self.seek(file, after, false)
    }

    /// The next entry (the first of a batch, for `marked`) that can be opened, the tag in front of it taken
    /// as it stands in the file.
    fn seek(&mut self, file: &[u8], after: usize, marked: bool) -> Option<usize> {
        let lost = (self.count, self.link);
        // No more entries can have been lost than fit: what claims otherwise need not be tried.
        let most = u32::try_from(file.len() / FRAMING).unwrap_or(u32::MAX);
        for at in after.max(HEADER + TAG)..file.len() {
            let Some(framing) = framing(file, at) else { continue };
            let begins = framing.mark || !self.marked;
            if framing.count <= lost.0 || framing.count - lost.0 > most || (marked && !begins) {
                continue;
            }
            self.count = framing.count;
            self.link.copy_from_slice(&file[at - TAG..at]);
            let found = (self.count, self.link);
            if self.open(file, at).is_some() {
                (self.count, self.link) = found;
                return Some(at);
            }
        }
        (self.count, self.link) = lost;
        None
    }
}

/// What reading a segment met.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// An entry's count in the segment and its plain text.
    Entry(u32, Vec<u8>),
    /// Bytes in the middle that are not entries, and were durable: a whole batch begins behind them.
    Damage { at: u64, bytes: u64 },
    /// Bytes at the end that are not a whole entry, or lie behind one: a commit that was cut off (or damage
    /// there; the two look alike).
    Torn { at: u64, bytes: u64 },
}

/// Reads a segment held in memory, entry by entry, past damage.
#[derive(Debug)]
pub struct Reader<'a> {
    file: &'a [u8],
    chain: Chain,
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts behind the header.
    ///
    /// # Errors
    /// As [`Chain::begin`].
    pub fn new(index_key: &[u8; 32], file: &'a [u8], kind: Kind, number: u64) -> Result<Self, BadHeader> {
        Ok(Self { file, chain: Chain::begin(index_key, file, kind, number)?, at: HEADER })
    }

    /// How far the file is good.
    #[must_use]
    pub const fn good(&self) -> u64 {
        self.at as u64
    }

    /// Whether no entry was read: a segment that was made, and its keeper ended before the first commit.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.at == HEADER
    }

    /// The last tag read.
    #[must_use]
    pub const fn link(&self) -> [u8; TAG] {
        self.chain.link()
    }
}

impl Iterator for Reader<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let count = self.chain.count;
        if let Some((plain, end)) = self.chain.open(self.file, self.at) {
            self.at = end;
            return Some(Step::Entry(count, plain));
        }
        let rest = &self.file[self.at..];
        if rest.iter().all(|byte| *byte == 0) {
            return None;
        }
        let at = self.at as u64;
        if let Some(next) = self.chain.resume(self.file, self.at + 1) {
            self.at = next;
            return Some(Step::Damage { at, bytes: next as u64 - at });
        }
        let bytes = rest.len() as u64;
        // What is left is reported once; `good` stays where the last whole entry ends.
        self.file = &self.file[..self.at];
        Some(Step::Torn { at, bytes })
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; 32] = [7; 32];

    fn written(entries: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>) {
        let mut file = header(Kind::Log, 3, &[9; 32]).to_vec();
        let mut chain = Chain::begin(&KEY, &file, Kind::Log, 3).unwrap();
        let mut ends = vec![file.len()];
        for entry in entries {
            chain.seal(entry, true, &mut file).unwrap();
            ends.push(file.len());
        }
        (file, ends)
    }

    /// As [`written`], each batch synced before the next.
    fn batches(batches: &[&[Vec<u8>]]) -> (Vec<u8>, Vec<usize>) {
        let mut file = header(Kind::Log, 3, &[9; 32]).to_vec();
        let mut chain = Chain::begin(&KEY, &file, Kind::Log, 3).unwrap();
        let mut ends = vec![file.len()];
        for batch in batches {
            for (place, entry) in batch.iter().enumerate() {
                chain.seal(entry, place == 0, &mut file).unwrap();
                ends.push(file.len());
            }
        }
        (file, ends)
    }

    #[test]
    fn a_segment_of_version_1_is_read() {
        let salt = [9; 32];
        let mut file = header_of(WITHOUT_MARKS, Kind::Log, 3, &salt).to_vec();
        let mut chain = Chain::begin(&KEY, &file, Kind::Log, 3).unwrap();
        let entries = [vec![1; 40], vec![2; 40], vec![3; 40]];
        for entry in &entries {
            chain.seal(entry, false, &mut file).unwrap();
        }
        assert_eq!(read(&file).unwrap(), all(&entries));
        // Without marks a hole with anything whole behind it is damage.
        file[HEADER + 70] ^= 1;
        assert!(matches!(read(&file).unwrap()[..], [Step::Entry(0, _), Step::Damage { .. }, Step::Entry(2, _)]));
    }

    #[test]
    fn a_newer_version_is_no_damage_and_a_flipped_bit_no_newer_version() {
        let (mut file, _) = written(&[vec![1; 40], vec![2; 40]]);
        let tried = |file: &[u8]| Chain::begin(&KEY, file, Kind::Log, 3).map(drop);
        file[8] = 7;
        assert_eq!(tried(&file), Err(BadHeader::Damaged), "what follows is of a version that is known");
        let newer = header_of(7, Kind::Log, 3, &[9; 32]);
        assert_eq!(tried(&newer), Err(BadHeader::Newer(7)));
        let sealed = [&newer[..], &[5; 60]].concat();
        assert_eq!(tried(&sealed), Err(BadHeader::Newer(7)));
        assert_eq!(tried(&header_of(7, Kind::Checkpoint, 3, &[9; 32])), Err(BadHeader::Damaged));
        assert_eq!(tried(&header_of(0, Kind::Log, 3, &[9; 32])), Err(BadHeader::Damaged));
    }

    fn read(file: &[u8]) -> Option<Vec<Step>> {
        Reader::new(&KEY, file, Kind::Log, 3).ok().map(Iterator::collect)
    }

    fn all(entries: &[Vec<u8>]) -> Vec<Step> {
        (0..).zip(entries).map(|(count, entry)| Step::Entry(count, entry.clone())).collect()
    }

    fn entries() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..12)
    }

    proptest! {
        #[test]
        fn comes_back_as_written(entries in entries(), zeros in 0_usize..100) {
            let (mut file, _) = written(&entries);
            file.resize(file.len() + zeros, 0);
            let steps = read(&file).unwrap();
            prop_assert_eq!(steps, all(&entries));
        }

        #[test]
        fn any_cut_loses_only_a_suffix(entries in entries(), cut in any::<prop::sample::Index>()) {
            let (file, ends) = written(&entries);
            let cut = HEADER + cut.index(file.len() - HEADER + 1);
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            let steps = read(&file[..cut]).unwrap();
            let kept = all(&entries[..whole]);
            prop_assert_eq!(&steps[..whole], &kept[..]);
            // A cut inside an entry is told, unless all that is left of it is zeros.
            let left = &file[ends[whole]..cut];
            let torn = left.iter().any(|byte| *byte != 0);
            prop_assert_eq!(steps.len(), whole + usize::from(torn));
        }

        /// One batch of one sync, of which the disk has only some pages.
        #[test]
        fn a_hole_in_the_last_batch_is_a_torn_tail(
            before in entries(),
            batch in entries(),
            hole in any::<prop::sample::Index>(),
            width in 1_usize..60,
        ) {
            let (mut file, ends) = batches(&[&before, &batch]);
            let start = ends[before.len()];
            let hole = start + hole.index(file.len() - start);
            let until = file.len().min(hole + width);
            file[hole..until].fill(0);
            let steps = read(&file).unwrap();
            let whole = ends.iter().filter(|end| **end <= hole).count() - 1;
            let all = all(&[before, batch].concat());
            prop_assert!(steps.len() >= whole && steps[..whole] == all[..whole]);
            prop_assert!(steps.iter().all(|step| !matches!(step, Step::Damage { .. })), "{steps:?}");
        }

        /// The same hole, but a later batch was begun: this one was durable.
        #[test]
        fn a_hole_in_an_earlier_batch_is_damage(
            first in entries(),
            second in entries(),
            hole in any::<prop::sample::Index>(),
        ) {
            let (mut file, ends) = batches(&[&first, &second]);
            // Not in the tag that the second batch is bound to.
            let at = HEADER + hole.index(ends[first.len()] - TAG - HEADER);
            file[at] ^= 1;
            let steps = read(&file).unwrap();
            prop_assert!(steps.iter().any(|step| matches!(step, Step::Damage { .. })), "{steps:?}");
            let all = all(&[first, second].concat());
            prop_assert_eq!(steps.last(), all.last());
        }

        #[test]
        fn any_flipped_bit_is_found(entries in entries(), bit in any::<prop::sample::Index>()) {
            let (mut file, _) = written(&entries);
            let bit = bit.index(file.len() * 8);
            file[bit / 8] ^= 1 << (bit % 8);
            let found = read(&file).is_none_or(|steps| steps.iter().any(|step| !matches!(step, Step::Entry(..))));
            prop_assert!(found);
        }

        #[test]
        fn nothing_false_is_ever_read(entries in entries(), bit in any::<prop::sample::Index>()) {
            let (mut file, _) = written(&entries);
            let bit = bit.index(file.len() * 8);
            file[bit / 8] ^= 1 << (bit % 8);
            for step in read(&file).unwrap_or_default() {
                if let Step::Entry(_, plain) = step {
                    prop_assert!(entries.contains(&plain));
                }
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut file = header(Kind::Log, 3, &[9; 32]).to_vec();
            file.extend(bytes);
            let _ = read(&file);
        }
    }
}
