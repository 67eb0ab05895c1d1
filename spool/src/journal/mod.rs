//! The journal: the one list of facts about letters, sealed and chained.
//!
//! | file in `journal/` | what it is |
//! | --- | --- |
//! | `<n>` (16 hex digits) | a segment: the facts of one run of the keeper, appended, never reopened |
//! | `<n>.checkpoint` | the whole index as it was when segment `n` began (and later, see [`checkpoint`]) |
//! | `<n>.damaged`, `<n>.checkpoint.damaged` | what could not be read whole; kept for a human, never read again |
//! | `<n>.new` | a checkpoint being written; removed at the next start |
//! | `closed` | the last segment's number and tag, after an end in order (see [`closed`]) |
//! | `reserve` | empty room, given up when a full disk would keep the keeper from starting |
//!
//! [`record`] is what can be said, [`segment`] how it lies in a file, [`open`] how a start reads it all
//! back, [`checkpoint`] how it is kept short.

pub mod checkpoint;
pub mod closed;
pub mod files;
pub mod open;
pub mod record;
pub mod segment;
pub mod sure;

pub use record::{Entry, Record};

/// Bounds of the journal.
pub mod limits {
    /// Bytes of one encoded entry: renaming 2,000 folders of the longest names fits.
    pub const ENTRY: usize = 4 * 1024 * 1024;
    /// Bytes of zeros written ahead in the last segment, so that a commit finds room and needs no
    /// change of the file's size.
    pub const AHEAD: u64 = 128 * 1024;
    /// The same, on a disk that is full.
    pub const LEAST_AHEAD: u64 = 16 * 1024;
    /// Of these, bytes kept back for records that free room (expunge, flags) when the disk is full.
    pub const KEPT_BACK: u64 = 64 * 1024;
    /// Size of `journal/reserve`.
    pub const RESERVE: u64 = 256 * 1024;
    /// Journal bytes since the last checkpoint that call for the next one (or that checkpoint's size, if larger).
    pub const CHECKPOINT_AFTER: u64 = 4 * 1024 * 1024;
    /// Segments since the last checkpoint that call for the next one.
    pub const SEGMENTS: usize = 64;
    /// Checkpoints kept, with every segment since the older of them.
    pub const CHECKPOINTS: usize = 2;
    /// Letters in one record of a checkpoint.
    pub const CHUNK: usize = 1_000;
}
