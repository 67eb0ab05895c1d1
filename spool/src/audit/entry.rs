//! What a line says, to its owner alone.

use crate::bytes::{Cut, Take, put_counted};
use crate::limits;
use crate::names::SlotId;

use super::AuditError;

const VERSION: u8 = 1;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum What {
    /// The mailbox was made.
    Made = 1,
    /// A device was added.
    DeviceAdded = 2,
    /// A device was dropped by its owner or the admin.
    DeviceDropped = 3,
    /// New recovery words took the place of the old.
    WordsReplaced = 4,
    /// The password for the web page was set.
    ChosenPasswordSet = 5,
    /// The household's key was enabled.
    HouseholdKeyEnabled = 6,
    /// A slot that is no device was dropped.
    SlotDropped = 7,
    /// A new identity was made.
    Rekeyed = 8,
    /// The recovery words were used.
    WordsUsed = 9,
    /// The household's key was used.
    HouseholdKeyUsed = 10,
    /// The mailbox was rebuilt by `recover`.
    Recovered = 11,
    /// A slot was found that nobody made who could open the mailbox.
    StrangerFound = 12,
}

impl What {
    const ALL: [(Self, &'static str); 12] = [
        (Self::Made, "mailbox made"),
        (Self::DeviceAdded, "device added"),
        (Self::DeviceDropped, "device dropped"),
        (Self::WordsReplaced, "recovery words replaced"),
        (Self::ChosenPasswordSet, "web password set"),
        (Self::HouseholdKeyEnabled, "household key enabled"),
        (Self::SlotDropped, "slot dropped"),
        (Self::Rekeyed, "new key made"),
        (Self::WordsUsed, "recovery words used"),
        (Self::HouseholdKeyUsed, "household key used"),
        (Self::Recovered, "mailbox recovered"),
        (Self::StrangerFound, "forged slot found"),
    ];

    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(what, _)| *what == self).map_or("", |(_, words)| words)
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.iter().map(|(what, _)| *what).find(|what| *what as u8 == byte)
    }
}

/// One event. Sealed as:
///
/// | bytes | field |
/// | --- | --- |
/// | 1 | version, 1 |
/// | 8 | number of its line |
/// | 32 | chain of the line before |
/// | 8 | when, seconds since 1970 |
/// | 1 | [`What`] |
/// | 4 | slot, 0 for none |
/// | 2 + n | text: the device's name |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Seconds since 1970.
    pub at: i64,
    /// What happened.
    pub what: What,
    /// To which slot.
    pub slot: Option<SlotId>,
    /// A device's name, at most [`limits::AUDIT_TEXT`] bytes.
    pub text: String,
}

impl Entry {
    pub(super) fn encode(&self, number: u64, previous: &[u8; 32]) -> Result<Vec<u8>, AuditError> {
        if self.text.len() > limits::AUDIT_TEXT {
            return Err(AuditError::TooMany("letters of the text"));
        }
        let mut out = vec![VERSION];
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(previous);
        out.extend_from_slice(&self.at.to_le_bytes());
        out.push(self.what as u8);
        out.extend_from_slice(&self.slot.map_or(0, |slot| slot.0).to_le_bytes());
        put_counted(&mut out, self.text.as_bytes());
        Ok(out)
    }

    /// The entry with the number and the chain it was made for; [`Cut`] for whatever is not ours.
    pub(super) fn decode(plain: &[u8]) -> Result<(Self, u64, [u8; 32]), Cut> {
        let mut take = Take::new(plain);
        if take.u8()? != VERSION {
            return Err(Cut);
        }
        let (number, previous, at) = (take.u64()?, take.array()?, take.i64()?);
        let what = What::from_byte(take.u8()?).ok_or(Cut)?;
        let slot = take.u32()?;
        let text = String::from_utf8(take.counted()?.to_vec()).map_err(|_| Cut)?;
        if !take.is_empty() || text.len() > limits::AUDIT_TEXT {
            return Err(Cut);
        }
        Ok((Self { at, what, slot: (slot != 0).then_some(SlotId(slot)), text }, number, previous))
    }
}
