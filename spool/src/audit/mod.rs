//! The audit log of a mailbox: one line for every change of its slots and every use of words or household key.
//!
//! `mailboxes/<id>/audit` is text, only ever appended to. A line is five fields with one blank between them:
//!
//! | field | |
//! | --- | --- |
//! | `1` | version |
//! | number | of the line, from 1 |
//! | generation | of the identity it is sealed to |
//! | chain | 64 hex digits: SHA-256 of `postern audit v1`, mailbox, the previous line's chain (zeros for the first), number, generation and the sealed bytes |
//! | sealed | base64 of an age file holding the [`Entry`] |
//!
//! So that a cut, a swap or a changed byte is found by anybody ([`check`]), and a chain that somebody has made anew
//! by the owner ([`read`]): an entry holds, under the seal, its number and the previous line's chain as they were.
//! What no log on one disk can show is that its *end* was cut off together with everything that knows of it. For
//! that every change's journal entry holds the SHA-256 of the last line then, and `spool check` looks for that line:
//! a cut shows unless the journal was put back with it.

mod entry;
mod line;
mod log;

use std::{fmt, io};

pub use entry::{Entry, What};
pub use line::{Line, follows};
pub use log::{Read, append, check, last, load, read};

use crate::keys::KeyError;

/// The name of the log in the mailbox's folder.
pub const FILE: &str = "audit";

/// Why a line cannot be made, read or appended.
#[derive(Debug)]
pub enum AuditError {
    /// The line of this number (from 1) is not what was written there.
    Broken(u64, &'static str),
    /// The new line was made for another end of the log: read it again and make it anew.
    Outdated,
    /// A bound is reached; says which.
    TooMany(&'static str),
    /// A key's.
    Key(KeyError),
    /// The disk's.
    Io(io::Error),
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(number, how) => write!(f, "audit log, line {number}: {how}"),
            Self::Outdated => f.write_str("the audit log has grown meanwhile; try again"),
            Self::TooMany(what) => write!(f, "audit log: too many or too long: {what}"),
            Self::Key(error) => write!(f, "audit log: {error}"),
            Self::Io(error) => write!(f, "audit log: {error}"),
        }
    }
}

impl std::error::Error for AuditError {}

impl From<KeyError> for AuditError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<io::Error> for AuditError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
