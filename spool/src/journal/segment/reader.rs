//! Reads a segment past what a power cut tore and what is damaged, and tells the two apart.

use super::{BadHeader, Chain, FRAMING, HEADER, Kind, TAG, framing};

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

impl Chain {
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
