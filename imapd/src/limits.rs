//! Every bound of `imapd`, next to the reason it has its value: the grammar's, then those of sessions and processes.

use std::time::Duration;

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
/// Folders whose letters are remembered when no session has them open.
pub const LAST_FOLDERS: usize = 4;
/// Letters of those together: some 60 bytes each.
pub const LAST_LETTERS: usize = 32 * 1024;
/// Patterns of one LIST (RFC 5258 §3).
pub const PATTERNS: usize = 50;
/// Bytes of all patterns of one LIST together: each is compared with every folder.
pub const PATTERN_TEXT: usize = 4_000;
/// Pairs of one ID (RFC 2971 §3.3).
pub const ID_PAIRS: usize = 30;
/// Bytes of one ID value (RFC 2971 §3.3).
pub const ID_VALUE: usize = 1024;
/// Capabilities of one ENABLE.
pub const ENABLE: usize = 50;
/// Bytes a quoted string of a response may have; longer ones go as literals.
pub const QUOTED: usize = 1_000;

// Sessions, processes and memory.

/// A connection must have logged in within this time (RFC 9051 §5.4 asks for at least 30 minutes only after login).
pub const BEFORE_LOGIN: Duration = Duration::from_secs(60);
/// How long a connection that is being ended may take over its last words.
pub const PARTING: Duration = Duration::from_secs(5);
/// The inactivity timer (RFC 3501 §5.4: at least 30 minutes).
pub const IDLE: Duration = Duration::from_secs(30 * 60);
/// Time for a session to end by itself once the keeper has closed its socket; what it is in the middle of is cut off then.
pub const LAST_WORDS: Duration = Duration::from_millis(200);
/// While a command's literal or a reply's reader makes no progress at all.
pub const STALLED: Duration = Duration::from_secs(5 * 60);
/// Connections in all, logged in or not.
pub const CONNECTIONS: usize = 1_024;
/// Connections of one address, logged in or not: a family behind one router has several phones with several each.
pub const CONNECTIONS_PER_ADDRESS: usize = 200;
/// Connections that came through proxies. A proxy says who called, and may lie: it must not keep the house itself out.
pub const CONNECTIONS_HANDED: usize = CONNECTIONS / 2;
/// Connections of one address that have not logged in.
pub const STRANGERS_PER_ADDRESS: usize = 20;
/// The same of one IPv6 /48 or IPv4 /24, which one tenant may have: else a handful of them keep all phones away.
pub const STRANGERS_OF_NEIGHBOURS: usize = 100;
/// Sessions of one mailbox in its owner's process: a few more than the keeper admits, for those that are just ending.
pub const SESSIONS_PER_OWNER: usize = spool::keeper::hub::IMAP_SESSIONS + 4;
/// Time for what is under way when the server stops; what still waits for its client is cut off then. `up` waits a little
/// longer before it ends the role.
pub const DRAIN: Duration = Duration::from_secs(8);
/// Owners, one process each.
pub const OWNERS: usize = 256;
/// Failed logins and unknown commands before a connection is ended.
pub const BAD_BEFORE_LOGIN: u32 = 10;
/// BAD answers in a row before a session is ended: a client that cannot speak IMAP will not learn it.
pub const BAD_IN_A_ROW: u32 = 50;
/// Bytes of a read from the client's TLS connection.
pub const RELAY: usize = 16 * 1024;
/// Bytes of a read from the owner, while letters stream.
pub const POUR: usize = 64 * 1024;
/// Bytes a reply buffer may hold before it is written out.
pub const REPLY: usize = 64 * 1024;
/// Bytes of a buffer that an idle session keeps.
pub const IDLE_BUFFER: usize = 1024;
/// Messages of one APPEND's worker examined at once, by one owner.
pub const EXAMINED_AT_ONCE: usize = 2;
/// How long a worker may take over one letter.
pub const EXAMINE: Duration = Duration::from_secs(30);
/// Commands, reads and writes of one session before the owner's others have their turn: some milliseconds.
pub const TURNS: u32 = 16;
/// Bytes of a list that comes in a memory file: 100,000 letters' facts are about 5 MB.
pub const LIST: usize = 64 * 1024 * 1024;
/// Threads that open letters for one command.
pub const OPENERS: usize = 2;
/// Threads of one owner: the openers of all its sessions, and the sealing of appended letters.
pub const THREADS: usize = OPENERS * SESSIONS_PER_OWNER + 4;
/// How long such a thread waits for more work before it ends.
pub const THREAD_KEPT: Duration = Duration::from_secs(2);
/// Bytes of a message's header that is kept in the cache beside its summary; longer ones are read from the letter.
pub const CACHED_HEADER: u32 = 16 * 1024;
/// Bytes of summaries put into the cache at once.
pub const FRESH: usize = 1024 * 1024;
/// Bytes from which on no more are kept for the cache: with one more they still fit one request.
pub const FRESH_MOST: usize = 4 * FRESH;
/// Letters whose summaries one request asks for (the edge's bound is 512).
pub const SUMMARIES: usize = 256;
/// Chunks that may wait between the threads that open letters and the session that writes them.
pub const CHUNKS_AHEAD: usize = 16;
/// Bytes of one such chunk: age's own.
pub const CHUNK: usize = 64 * 1024;
/// Descriptors of letters held open ahead of the writing.
pub const LETTERS_AHEAD: usize = 64;
