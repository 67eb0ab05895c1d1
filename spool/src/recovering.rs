//! The mark of a mailbox that is being given back: `mailboxes/<id>/recovering`.
//!
//! | it says | at a start, letters without a record | `postern recover` |
//! | --- | --- | --- |
//! | (there is none) | were never acknowledged: set aside | finds the mailbox only when the journal does not know it |
//! | `letters` | are the owner's: put into "Recovered", then it says `ending` | may go on with it |
//! | `ending` | as without: all of the owner's have a record now | may go on with it |
//! | `mending` | are the owner's: put into "Recovered", then it goes | as without |
//!
//! The first is on disk before the journal's first word of a mailbox that `recover` gives back, and the mark
//! goes after the last. The third is left where a damaged journal could not be mended, for want of room.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::names::MailboxId;
use crate::store;

/// How far a mailbox is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovering {
    /// The journal does not know all its letters yet.
    Letters,
    /// It does; what is missing is that `recover` came to its end.
    Ending,
    /// It does not, after damage; `recover` has no part in it.
    Mending,
}

/// The name in the mailbox's folder.
const NAME: &str = "recovering";

fn path(root: &Path, mailbox: MailboxId) -> PathBuf {
    store::mailbox_path(root, mailbox).join(NAME)
}

impl Recovering {
    const fn text(self) -> &'static [u8] {
        match self {
            Self::Letters => b"letters\n",
            Self::Ending => b"ending\n",
            Self::Mending => b"mending\n",
        }
    }

    /// How far that mailbox is; `None` when it is not being given back.
    ///
    /// # Errors
    /// The disk's.
    pub fn read(root: &Path, mailbox: MailboxId) -> io::Result<Option<Self>> {
        match std::fs::read(path(root, mailbox)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => {
                let text = other?;
                let said = [Self::Ending, Self::Mending].into_iter().find(|known| text == known.text());
                // Damaged, it must not cost a letter.
                Ok(Some(said.unwrap_or(Self::Letters)))
            }
        }
    }

    /// Says so, durably.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(self, disk: &Disk, root: &Path, mailbox: MailboxId) -> io::Result<()> {
        disk.replace(&path(root, mailbox), self.text())
    }
}

/// The mailbox is given back.
///
/// # Errors
/// The disk's.
pub fn end(disk: &Disk, root: &Path, mailbox: MailboxId) -> io::Result<()> {
    disk.remove(&path(root, mailbox))?;
    disk.sync_folder(&store::mailbox_path(root, mailbox))
}
