//! The two copies of a slots file on disk.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::{SlotsError, SlotsFile};
use crate::disk::Disk;
use crate::limits;
use crate::names::MailboxId;

/// Their names in the mailbox's folder, in the order they are written.
pub const COPIES: [&str; 2] = ["slots", "slots.2"];

/// A slots file as found on disk.
#[derive(Debug)]
pub struct Loaded {
    /// The whole copy with the higher revision.
    pub slots: SlotsFile,
    /// What is wrong with a copy, in words; [`store`] (or [`Loaded::repair`]) mends it.
    pub faults: Vec<(&'static str, String)>,
}

impl Loaded {
    /// Writes the counting copy over both.
    ///
    /// # Errors
    /// The disk's.
    pub fn repair(&mut self, disk: &Disk, folder: &Path) -> Result<(), SlotsError> {
        store(disk, folder, &mut self.slots)?;
        self.faults.clear();
        Ok(())
    }
}

/// Reads both copies of `mailbox` and takes the whole one with the higher revision.
///
/// # Errors
/// The first copy's fault when neither is whole; [`SlotsError::Newer`] when either is.
pub fn load(folder: &Path, mailbox: MailboxId) -> Result<Loaded, SlotsError> {
    let read = COPIES.map(|name| (name, read(&folder.join(name), mailbox)));
    let mut faults = Vec::new();
    let mut best: Option<SlotsFile> = None;
    let mut first_error = None;
    for (name, copy) in read {
        match copy {
            // Nothing may come of the other copy, which may be older: it would be written over this one.
            Err(newer @ SlotsError::Newer(_)) => return Err(newer),
            Err(error) => {
                faults.push((name, error.to_string()));
                first_error.get_or_insert(error);
            }
            Ok(copy) => match &best {
                Some(other) if other.revision > copy.revision => faults.push((name, older())),
                Some(other) if other.revision < copy.revision => {
                    faults.push((COPIES[0], older()));
                    best = Some(copy);
                }
                Some(other) if other.encode()? != copy.encode()? => {
                    faults.push((name, "differs from the other copy of the same revision".to_owned()));
                }
                Some(_) => {}
                None => best = Some(copy),
            },
        }
    }
    match (best, first_error) {
        (Some(slots), _) => Ok(Loaded { slots, faults }),
        (None, error) => Err(error.unwrap_or(SlotsError::Damaged("no copy"))),
    }
}

fn older() -> String {
    "older than the other copy".to_owned()
}

fn read(path: &Path, mailbox: MailboxId) -> Result<SlotsFile, SlotsError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limits::SLOTS_FILE as u64 + 1).read_to_end(&mut bytes))
        .map_err(SlotsError::Io)?;
    let slots = SlotsFile::decode(&bytes)?;
    if slots.mailbox != mailbox {
        return Err(SlotsError::Damaged("of another mailbox"));
    }
    Ok(slots)
}

/// Writes both copies, one after the other, each beside its name, synced and renamed. At every instant one whole
/// copy is there. After an error [`load`] again: the change has happened or it has not, and it says which.
///
/// # Errors
/// The disk's.
pub fn store(disk: &Disk, folder: &Path, slots: &mut SlotsFile) -> Result<(), SlotsError> {
    let bytes = slots.encode()?;
    COPIES.iter().try_for_each(|name| disk.replace(&folder.join(name), &bytes)).map_err(SlotsError::Io)?;
    slots.saved = slots.revision;
    Ok(())
}

impl From<io::Error> for SlotsError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
