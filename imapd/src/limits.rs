//! Every bound of the IMAP grammar, next to the reason it has its value.

pub use spool::edges::limits::{FOLDER_NAME, KEYWORD, RANGES};

/// Bytes of one command line without its literals. RFC 7162 §4 asks servers for at least 8,192; long UID sets need more.
pub const LINE: usize = 64 * 1024;
/// Bytes of all literals of one command together, APPEND's message apart.
pub const LITERALS: usize = 64 * 1024;
/// Bytes of a non-synchronizing literal we are willing to skip in order to answer BAD; beyond, the connection ends
/// (RFC 7888 §4 permits both).
pub const SKIPPED: u64 = 1024 * 1024;
/// Bytes of a tag (RFC 3501 §2.2.1 gives none; apps use under ten).
pub const TAG: usize = 64;
/// Items of one FETCH.
pub const FETCH_ITEMS: usize = 100;
/// Levels of a part number in BODY[...]; deeper ones cannot exist.
pub const PART_DEPTH: usize = filter_sandbox::report::limits::DEPTH;
/// Field names in one HEADER.FIELDS.
pub const FIELD_NAMES: usize = 200;
/// Bytes of a header field's name (RFC 5322 §2.1.1: a line).
pub const FIELD_NAME: usize = 998;
/// Flags and keywords in one list.
pub const FLAGS: usize = 100;
/// Keys of one SEARCH, all levels together.
pub const SEARCH_KEYS: usize = 500;
/// Nesting of one SEARCH.
pub const SEARCH_DEPTH: usize = 32;
/// Bytes of all search texts of one SEARCH together.
pub const SEARCH_TEXT: usize = 16 * 1024;
/// What a worker can be told of a letter beside its text: bits of a `u64` (`filter_sandbox::report::Query::Known`).
pub const KNOWN: usize = 64;
/// Patterns of one LIST (RFC 5258 §3).
pub const PATTERNS: usize = 50;
/// Pairs of one ID (RFC 2971 §3.3).
pub const ID_PAIRS: usize = 30;
/// Bytes of one ID value (RFC 2971 §3.3).
pub const ID_VALUE: usize = 1024;
/// Capabilities of one ENABLE.
pub const ENABLE: usize = 50;
/// Bytes a quoted string of a response may have; longer ones go as literals.
pub const QUOTED: usize = 1_000;
