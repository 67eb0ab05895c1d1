//! SEARCH as a program over what is known of a letter, the cheap keys first.
//!
//! Three stages: the journal's facts (flags, dates, sizes, UIDs), the sealed summary (subject, addresses, sent date)
//! with the header's field names, and for the rest one worker that reads the letters. A [`Plan`] says after each stage
//! yes, no, or not yet known.

mod facts;
mod plan;
mod query;
mod summary;

pub use crate::letters::Digest;
pub use facts::View;
pub use plan::{Plan, TooComplicated};

use crate::sequence::SequenceSet;

/// A search key as a client wrote it (RFC 3501 §6.4.4). Days are midnight UTC in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// ALL
    All,
    /// Sequence numbers.
    Sequence(SequenceSet),
    /// UID
    Uid(SequenceSet),
    /// A `spool::edges::mailbox::flag` bit, set or not.
    Flag(u8, bool),
    /// KEYWORD, UNKEYWORD
    Keyword(String, bool),
    /// RECENT, OLD
    Recent(bool),
    /// BEFORE
    Before(i64),
    /// ON
    On(i64),
    /// SINCE
    Since(i64),
    /// SENTBEFORE
    SentBefore(i64),
    /// SENTON
    SentOn(i64),
    /// SENTSINCE
    SentSince(i64),
    /// LARGER
    Larger(u32),
    /// SMALLER
    Smaller(u32),
    /// A text somewhere in the letter, compared without regard to case.
    Contains(Place, String),
    /// All of them.
    And(Vec<Key>),
    /// Any of them.
    Or(Vec<Key>),
    /// NOT
    Not(Box<Key>),
}

/// Where a text is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// SUBJECT
    Subject,
    /// FROM
    From,
    /// TO
    To,
    /// CC
    Cc,
    /// BCC
    Bcc,
    /// HEADER with this field
    Header(String),
    /// BODY
    Body,
    /// TEXT
    Text,
}

/// What is known of a key for one letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It matches.
    Yes,
    /// It does not.
    No,
    /// The next stage will tell.
    Unknown,
}

impl From<bool> for Verdict {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}
