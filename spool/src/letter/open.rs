//! Opening a letter with its owner's identity, with as little work as it takes.

use std::io::{Read, Seek, SeekFrom, Write};
use std::iter;

use age::stream::StreamReader;
use zeroize::Zeroizing;

use super::source::{Source, fill};
use super::{Frame, LetterError, ReadAt};
use crate::keys::Identities;
use crate::limits;
use crate::names::{LetterId, MailboxId};

const PIECE: u64 = 64 * 1024;
const TAG: u64 = 16;
const NONCE: u64 = 16;
/// The header's last line: `--- `, 43 letters of MAC and a line end.
const MAC_LINE: usize = 4 + 43 + 1;
const HEAD: usize = Frame::BYTES + limits::AGE_HEADER;

/// What a caller knows of the letter it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expect {
    /// Whose folder it lies in.
    pub mailbox: MailboxId,
    /// Its file's name.
    pub letter: LetterId,
    /// Bytes of the message as the journal knows them. Without a journal (`recover`) `None`: then the last piece is
    /// authenticated at once, so that a letter cut short is never taken for a shorter one.
    pub size: Option<u32>,
}

/// An open letter: its summary, and any range of its message.
///
/// Bytes are given out piece by piece, each authenticated, so a letter damaged further on shows that only when
/// it is reached: a reader that has sent the beginning must then break off, never end as if all were well.
pub struct Opened<S: ReadAt> {
    frame: Frame,
    summary: Zeroizing<Vec<u8>>,
    /// Of the message in the plain text.
    start: u64,
    size: u64,
    /// In the message; `None` once a read has failed.
    at: Option<u64>,
    reader: StreamReader<Source<S>>,
}

impl<S: ReadAt> Opened<S> {
    /// Opens a letter and reads its summary: one X25519 and the first piece.
    ///
    /// # Errors
    /// [`LetterError`].
    pub fn open(file: S, expect: &Expect, identities: &Identities) -> Result<Self, LetterError> {
        let length = file.length().map_err(LetterError::Io)?;
        let mut head = vec![0; HEAD.min(usize::try_from(length).unwrap_or(HEAD))];
        let filled = fill(&file, &mut head, 0).map_err(LetterError::Io)?;
        head.truncate(filled);
        let frame = Frame::decode(&head)?;
        if frame.mailbox != expect.mailbox || frame.letter != expect.letter {
            return Err(LetterError::Misplaced);
        }
        let plain = plain_length(&head, length)?;
        let source = Source::new(file, head, length, Frame::BYTES as u64);
        let reader = decrypt(source, &frame, identities)?;
        Self::begin(frame, reader, plain, expect.size)
    }

    fn begin(
        frame: Frame,
        mut reader: StreamReader<Source<S>>,
        plain: u64,
        expected: Option<u32>,
    ) -> Result<Self, LetterError> {
        let mut count = [0; 4];
        reader.read_exact(&mut count).map_err(LetterError::reading)?;
        let count = u32::from_le_bytes(count);
        let start = 4 + u64::from(count);
        let size = plain.checked_sub(start).ok_or(LetterError::Damaged("cut short"))?;
        let count = usize::try_from(count).ok().filter(|count| *count <= limits::SUMMARY);
        let mut summary = Zeroizing::new(vec![0; count.ok_or(LetterError::Damaged("summary too long"))?]);
        reader.read_exact(&mut summary).map_err(LetterError::reading)?;
        let mut opened = Self { frame, summary, start, size, at: Some(0), reader };
        match expected {
            Some(expected) if u64::from(expected) != size => return Err(LetterError::Damaged("of another length")),
            Some(_) => {}
            None => opened.authenticate_end()?,
        }
        Ok(opened)
    }

    /// age authenticates the last piece, and with it the length, on a seek from the end only.
    fn authenticate_end(&mut self) -> Result<(), LetterError> {
        self.at = None;
        self.reader.seek(SeekFrom::End(0)).map_err(LetterError::reading)?;
        self.reader.seek(SeekFrom::Start(self.start)).map_err(LetterError::reading)?;
        self.at = Some(0);
        Ok(())
    }

    /// The clear part.
    #[must_use]
    pub const fn frame(&self) -> &Frame {
        &self.frame
    }

    /// The summary, as it was sealed.
    #[must_use]
    pub fn summary(&self) -> &[u8] {
        &self.summary
    }

    /// Bytes of the message.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Reads `buffer.len()` bytes of the message from `start`.
    ///
    /// # Errors
    /// [`LetterError::OutOfRange`] when the message ends before; else the letter is damaged or the disk fails.
    pub fn read_into(&mut self, start: u64, buffer: &mut [u8]) -> Result<(), LetterError> {
        let end = start.checked_add(buffer.len() as u64).filter(|end| *end <= self.size);
        let end = end.ok_or(LetterError::OutOfRange)?;
        if buffer.is_empty() {
            return Ok(());
        }
        let at = self.at.take();
        if at != Some(start) {
            self.reader.seek(SeekFrom::Start(self.start + start)).map_err(LetterError::reading)?;
        }
        self.reader.read_exact(buffer).map_err(LetterError::reading)?;
        self.at = Some(end);
        Ok(())
    }

    /// Reads a range of the message into memory; [`Self::copy_range`] is for long ones.
    ///
    /// # Errors
    /// As [`Self::read_into`].
    pub fn read_range(&mut self, start: u64, length: u64) -> Result<Vec<u8>, LetterError> {
        // Checked before the memory is taken: lengths come from clients.
        if start.checked_add(length).is_none_or(|end| end > self.size) {
            return Err(LetterError::OutOfRange);
        }
        let mut out = vec![0; usize::try_from(length).map_err(|_| LetterError::OutOfRange)?];
        self.read_into(start, &mut out)?;
        Ok(out)
    }

    /// Writes a range of the message to `out`, a piece at a time.
    ///
    /// # Errors
    /// As [`Self::read_into`]; [`LetterError::Io`] for `out`'s.
    pub fn copy_range(&mut self, start: u64, length: u64, out: &mut impl Write) -> Result<(), LetterError> {
        if start.checked_add(length).is_none_or(|end| end > self.size) {
            return Err(LetterError::OutOfRange);
        }
        // Not wiped: a wipe costs as much as the decryption, and who reads mail has locked its memory.
        let mut piece = vec![0; usize::try_from(length.min(PIECE)).unwrap_or(0)];
        let (mut from, end) = (start, start + length);
        while from < end {
            let count = usize::try_from((end - from).min(PIECE)).unwrap_or(0);
            self.read_into(from, &mut piece[..count])?;
            out.write_all(&piece[..count]).map_err(LetterError::Io)?;
            from += count as u64;
        }
        Ok(())
    }

    /// Reads the whole letter and keeps nothing: afterwards every byte of it has been authenticated, its end too.
    ///
    /// # Errors
    /// As [`Self::read_into`].
    pub fn verify(&mut self) -> Result<(), LetterError> {
        self.copy_range(0, self.size, &mut std::io::sink())?;
        // The mark on the last piece is looked at when the reader meets the end.
        match self.reader.read(&mut [0]).map_err(LetterError::reading)? {
            0 => Ok(()),
            _ => Err(LetterError::Damaged("longer than it should be")),
        }
    }
}

impl<S: ReadAt> std::fmt::Debug for Opened<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("frame", &self.frame).field("size", &self.size).finish_non_exhaustive()
    }
}

fn decrypt<S: ReadAt>(
    source: Source<S>,
    frame: &Frame,
    identities: &Identities,
) -> Result<StreamReader<Source<S>>, LetterError> {
    let identity = identities.of(frame.generation).ok_or(LetterError::NoIdentity(frame.generation))?;
    let decryptor = age::Decryptor::new_buffered(source).map_err(|_| LetterError::Damaged("age header"))?;
    decryptor
        .decrypt(iter::once(identity.age() as &dyn age::Identity))
        .map_err(|_| LetterError::Damaged("age header, or sealed to another key"))
}

/// How many bytes the age file holds, from its length alone: each piece of 64 KiB has a tag, the last may be shorter
/// but not empty.
fn plain_length(head: &[u8], length: u64) -> Result<u64, LetterError> {
    let cut = LetterError::Damaged("cut short");
    let age = head.get(Frame::BYTES..).unwrap_or_default();
    // In a header only the MAC's line begins with dashes: stanzas begin with an arrow, their bodies are base64.
    let Some(dashes) = age.windows(5).position(|window| window == b"\n--- ") else { return Err(cut) };
    let payload = (Frame::BYTES + dashes + 1 + MAC_LINE) as u64 + NONCE;
    let sealed = length.checked_sub(payload).ok_or(LetterError::Damaged("cut short"))?;
    if (1..=TAG).contains(&(sealed % (PIECE + TAG))) {
        return Err(LetterError::Damaged("an empty last piece"));
    }
    sealed.checked_sub(TAG * sealed.div_ceil(PIECE + TAG)).ok_or(cut)
}
