//! The clear part at the front of a letter.

use wire::scram::sha256;

use super::LetterError;
use crate::bytes::{Cut, Take};
use crate::names::{LetterId, MailboxId};

const MAGIC: [u8; 8] = *b"PSTNLETR";
const VERSION: u8 = 1;
const CHECKED: usize = 52;
const SUM: usize = 12;

/// What a letter says of itself in clear: enough to rebuild a mailbox from its letters alone.
///
/// | bytes | field |
/// | --- | --- |
/// | 8 | `PSTNLETR` |
/// | 1 | version, 1 |
/// | 3 | zero |
/// | 8 | mailbox, little-endian as all numbers here |
/// | 16 | the letter's own name, so that two swapped files are noticed |
/// | 4 | generation of the identity it is sealed to |
/// | 8 | arrival, seconds since 1970, signed |
/// | 4 | bytes of the message, so that a keeper that has lost its journal can still say how large it is |
/// | 12 | first bytes of the SHA-256 of the 52 bytes before: finds damage, not malice (the journal's digest does that) |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The owner.
    pub mailbox: MailboxId,
    /// Its file's name.
    pub letter: LetterId,
    /// Which of the owner's identities opens it.
    pub generation: u32,
    /// When it was accepted, seconds since 1970.
    pub arrived: i64,
    /// Bytes of the message, as its sender announced them.
    pub size: u32,
}

impl Frame {
    /// Bytes in the file.
    pub const BYTES: usize = CHECKED + SUM;

    /// The bytes at the front of the file.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[8] = VERSION;
        out[12..20].copy_from_slice(&self.mailbox.0.to_le_bytes());
        out[20..36].copy_from_slice(&self.letter.0);
        out[36..40].copy_from_slice(&self.generation.to_le_bytes());
        out[40..48].copy_from_slice(&self.arrived.to_le_bytes());
        out[48..CHECKED].copy_from_slice(&self.size.to_le_bytes());
        let sum = sha256(&out[..CHECKED]);
        out[CHECKED..].copy_from_slice(&sum[..SUM]);
        out
    }

    /// Reads the front of a file; bytes after the frame are left alone.
    ///
    /// # Errors
    /// [`LetterError::Damaged`]; [`LetterError::Newer`].
    pub fn decode(file: &[u8]) -> Result<Self, LetterError> {
        Self::parse(file).unwrap_or(Err(LetterError::Damaged("no frame")))
    }

    fn parse(file: &[u8]) -> Result<Result<Self, LetterError>, Cut> {
        let mut take = Take::new(file);
        let checked = take.bytes(CHECKED)?;
        let sum = take.bytes(SUM)?;
        if sum != &sha256(checked)[..SUM] {
            return Ok(Err(wrong(checked, sum)));
        }
        let mut take = Take::new(file);
        if take.bytes(8)? != MAGIC {
            return Ok(Err(LetterError::Damaged("not a letter")));
        }
        match take.array()? {
            [VERSION, 0, 0, 0] => {}
            [newer, ..] if newer > VERSION => return Ok(Err(LetterError::Newer(newer))),
            _ => return Ok(Err(LetterError::Damaged("version"))),
        }
        Ok(Ok(Self {
            mailbox: MailboxId(take.u64()?),
            letter: LetterId(take.array()?),
            generation: take.u32()?,
            arrived: take.i64()?,
            size: take.u32()?,
        }))
    }
}

/// What a frame is whose sum is wrong: a later version may have another, elsewhere; but a version of ours that lost a bit
/// has the sum that it had.
fn wrong(checked: &[u8], sum: &[u8]) -> LetterError {
    let newer = checked.strip_prefix(&MAGIC).and_then(|rest| rest.first()).filter(|version| **version > VERSION);
    let mut ours = checked.to_vec();
    ours[MAGIC.len()] = VERSION;
    match newer {
        Some(version) if sum != &sha256(&ours)[..SUM] => LetterError::Newer(*version),
        _ => LetterError::Damaged("frame"),
    }
}
