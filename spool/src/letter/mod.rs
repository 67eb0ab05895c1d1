//! Letters: one sealed file each, written once, never changed.
//!
//! | bytes | field |
//! | --- | --- |
//! | 64 | the clear [`Frame`], written by the keeper |
//! | the rest | an age file with one X25519 recipient, streamed by whoever accepted the message |
//!
//! Inside the age file (which any age tool opens with the mailbox's identity):
//!
//! | bytes | field |
//! | --- | --- |
//! | 4 | length of the summary, little-endian |
//! | that many | the summary (postcard of `filter_sandbox::report::Summary`) |
//! | the rest | the message, byte for byte |
//!
//! age encrypts in pieces of 64 KiB, each with its number and a mark on the last one: the first piece gives the
//! summary, a range of the message is read without the rest, and no piece can be changed, moved, dropped or added.
//!
//! ```
//! use spool::keys::{Identities, Identity};
//! use spool::letter::{self, Expect, Frame, Opened};
//! use spool::names::{LetterId, MailboxId};
//!
//! let (mailbox, letter) = (MailboxId(7), LetterId([1; 16]));
//! let owner = Identities::first(mailbox, Identity::generate()?);
//! let mut file = Frame { mailbox, letter, generation: 1, arrived: 1_700_000_000, size: 0 }.encode().to_vec();
//! letter::seal(owner.newest().public(), b"summary", [&b"Subject: hi\r\n"[..], b"\r\nhello\r\n"], &mut file)?;
//!
//! let mut opened = Opened::open(file, &Expect { mailbox, letter, size: Some(22) }, &owner)?;
//! assert_eq!(opened.summary(), b"summary");
//! assert_eq!(opened.read_range(15, 5)?, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod digest;
mod frame;
mod open;
mod seal;
mod source;

use std::{fmt, io};

pub use digest::{Digest, Digesting, digest};
pub use frame::Frame;
pub use open::{Expect, Opened};
pub use seal::{Addressed, Sealer, largest_sealed, seal};
pub use source::ReadAt;

/// Why a letter is not shown.
#[derive(Debug)]
pub enum LetterError {
    /// The disk's fault: try again.
    Io(io::Error),
    /// Changed, cut short, or never a letter.
    Damaged(&'static str),
    /// A whole letter, but not the one that should lie here.
    Misplaced,
    /// Of a version that only a newer program knows.
    Newer(u8),
    /// Sealed to a generation whose identity is not at hand.
    NoIdentity(u32),
    /// The caller asked for bytes beyond the end.
    OutOfRange,
}

impl fmt::Display for LetterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "letter: {error}"),
            Self::Damaged(what) => write!(f, "damaged letter: {what}"),
            Self::Misplaced => f.write_str("another letter lies in this one's place"),
            Self::Newer(version) => {
                write!(f, "letter of version {version}, kept by a newer Postern: install that again")
            }
            Self::NoIdentity(generation) => write!(f, "letter of generation {generation}, whose key is missing"),
            Self::OutOfRange => f.write_str("beyond the letter's end"),
        }
    }
}

impl std::error::Error for LetterError {}

impl LetterError {
    /// age tells damage as `InvalidData` and a missing end as `UnexpectedEof`; all else is the disk's.
    fn reading(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Self::Damaged("a piece does not authenticate"),
            io::ErrorKind::UnexpectedEof => Self::Damaged("cut short"),
            _ => Self::Io(error),
        }
    }
}
