//! `Mailbox`: one owner's folders and letters. Held by an `imapd owner`, obtained only through a login,
//! bound by the keeper to one mailbox and one device; its end is the news that the device was revoked.
//!
//! The keeper knows folders, UIDs, flags and sizes; it cannot open a letter. The owner process opens.

use std::os::fd::{BorrowedFd, OwnedFd};

use filter_sandbox::edge::{Caller, Down, Edge};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::NewLetter;
use crate::names::{FolderId, LetterId};

/// System flags as bits of [`Fact::flags`].
pub mod flag {
    /// \Seen
    pub const SEEN: u8 = 1;
    /// \Answered
    pub const ANSWERED: u8 = 2;
    /// \Flagged
    pub const FLAGGED: u8 = 4;
    /// \Deleted
    pub const DELETED: u8 = 8;
    /// \Draft
    pub const DRAFT: u8 = 16;
}

/// RFC 6154 special uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SpecialUse {
    /// \Drafts
    Drafts,
    /// \Sent
    Sent,
    /// \Junk
    Junk,
    /// \Trash
    Trash,
    /// \Archive
    Archive,
}

/// What the journal knows of one letter in one folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// RFC 3501 §2.3.1.1.
    pub uid: u32,
    /// Its file.
    pub letter: LetterId,
    /// [`flag`] bits.
    pub flags: u8,
    /// Bits into the mailbox's keyword table.
    pub keywords: u64,
    /// Counts every change of the mailbox; never falls.
    pub modseq: u64,
    /// INTERNALDATE, seconds since 1970.
    pub arrived: i64,
    /// RFC822.SIZE.
    pub size: u32,
}

/// One folder as LIST, STATUS and SELECT need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// Stays through renames.
    pub id: FolderId,
    /// UTF-8, levels divided by `/`; the inbox is `INBOX`.
    pub name: String,
    /// RFC 3501 §2.3.1.1.
    pub uid_validity: u32,
    /// The UID the next letter gets.
    pub uid_next: u32,
    /// RFC 6154.
    pub special_use: Option<SpecialUse>,
    /// Letters.
    pub messages: u32,
    /// Letters without \Seen.
    pub unseen: u32,
    /// Letters nobody has been told of as \Recent.
    pub recent: u32,
    /// Letters with \Deleted.
    pub deleted: u32,
    /// Sum of the sizes.
    pub bytes: u64,
    /// Highest modseq.
    pub modseq: u64,
}

/// A set of UIDs: ascending ranges, both ends inclusive, at most [`super::limits::RANGES`].
pub type UidSet = Vec<(u32, u32)>;

/// How STORE changes flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// +FLAGS
    Add,
    /// -FLAGS
    Remove,
    /// FLAGS
    Replace,
}

/// From the owner to the keeper.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// All folders ([`Reply::Folders`], in several packets' worth through a memory file).
    Folders,
    /// Names subscribed to, existing or not.
    Subscriptions,
    /// CREATE, with its missing parents.
    Create { name: String, special_use: Option<SpecialUse> },
    /// DELETE; INBOX never.
    Delete { name: String },
    /// RENAME with everything below; RENAME of INBOX moves its letters (RFC 3501 §6.3.5).
    Rename { from: String, to: String },
    /// SUBSCRIBE, UNSUBSCRIBE.
    Subscribe { name: String, on: bool },
    /// STATUS.
    Status { name: String },
    /// SELECT (`take_recent`) or EXAMINE; from now on this socket gets the folder's events, and only its. `known`: a
    /// folder whose letters the owner has as they were at this modseq, and which this may be.
    Open { name: String, take_recent: bool, known: Option<(FolderId, u64)> },
    /// CLOSE, UNSELECT: no more events.
    Close,
    /// Read-only descriptors of letters, at most [`super::limits::OPEN_LETTERS`], in order; missing or
    /// damaged ones are left out of the descriptors and named in the reply.
    Letters { letters: Vec<LetterId> },
    /// STORE.
    Store { folder: FolderId, uids: UidSet, change: Change, flags: u8, keywords: Vec<String> },
    /// EXPUNGE (all with \Deleted) or UID EXPUNGE.
    Expunge { folder: FolderId, uids: Option<UidSet> },
    /// COPY or MOVE.
    Copy { folder: FolderId, uids: UidSet, to: String, and_remove: bool },
    /// APPEND: `letter` as for a delivery (its mailbox must be this one's), one pipe rides along.
    Append { name: String, letter: NewLetter, flags: u8, keywords: Vec<String>, arrived: Option<i64> },
    /// Sealed summaries from the cache: a memory file with postcard `Vec<Option<Vec<u8>>>`, in order.
    /// At most 512 letters; a list that is shorter was cut at [`super::limits::SUMMARIES_BYTES`]: ask again for the rest.
    Summaries { letters: Vec<LetterId> },
    /// Puts sealed summaries into the cache: a memory file with postcard `Vec<(LetterId, Vec<u8>)>` rides along.
    /// At most [`super::limits::SUMMARIES_BYTES`]. Best effort; the cache may vanish at any time.
    PutSummaries,
    /// GETQUOTA.
    Quota,
}

/// Why a request was not done; the text of the tagged NO is the owner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// `[NONEXISTENT]` or, for APPEND and COPY, `[TRYCREATE]`.
    NoSuchFolder,
    /// `[ALREADYEXISTS]`
    Exists,
    /// `[CANNOT]`: bad name, or INBOX.
    Cannot,
    /// `[LIMIT]`: too many folders, keywords or ranges.
    Limit,
    /// `[OVERQUOTA]`: mailbox or disk.
    OverQuota,
    /// `[UNAVAILABLE]`: the disk failed; nothing half-written.
    Unavailable,
    /// `[UNAVAILABLE]`: the disk takes no writes now.
    OnlyReads,
    /// `[USEATTR]`: another folder has that special use.
    UseTaken,
}

/// From the keeper, to a request.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// A memory file rides along: postcard `Vec<Folder>`.
    Folders,
    /// A memory file rides along: postcard `Vec<String>`.
    Subscriptions,
    /// Durable.
    Done,
    /// To `Status`.
    Status(Folder),
    /// To `Open`.
    Opened {
        /// As it is now.
        folder: Folder,
        /// UIDs from here on are \Recent for this session.
        recent_from: u32,
        /// The mailbox's keyword table; bit n of [`Fact::keywords`] is entry n.
        keywords: Vec<String>,
        /// Its letters.
        letters: Listed,
    },
    /// To `Letters`: one entry a letter asked for; `true` where the next descriptor is its.
    Letters(Vec<bool>),
    /// To `Copy`: RFC 4315 COPYUID; empty when nothing was in the set, or when the letters lie in more than
    /// [`super::limits::RANGES`] ranges and so would not fit an answer.
    Copied { uid_validity: u32, from: UidSet, to: UidSet },
    /// To `Append`: RFC 4315 APPENDUID.
    Appended { uid_validity: u32, uid: u32 },
    /// To `Summaries`.
    Summaries,
    /// Bytes used and allowed.
    Quota { used: u64, limit: u64 },
    /// Not done.
    Refused(Refusal),
}

/// How the letters of an opened folder come.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listed {
    /// They are those that the owner said it has.
    Known,
    /// As [`facts`](super::facts), ascending by UID.
    Here(Vec<u8>),
    /// So, too, in the memory file that rides along.
    Along,
}

/// One thing that happened in the open folder, in order; own changes come back too, and always before
/// the reply of the request that made them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A folder was opened: what was told before is of the one that was open till then. Comes right before
    /// [`Reply::Opened`].
    Opened,
    /// New letters at the end.
    Added(Vec<Fact>),
    /// Flags now are: (uid, flags, keywords, modseq).
    Flags(Vec<(u32, u8, u64, u64)>),
    /// Gone.
    Expunged(UidSet),
    /// The keyword table grew: (bit, name).
    Keyword(u8, String),
    /// The open folder was deleted or renamed away: its session sees it empty from now on.
    FolderGone,
}

/// The right to one owner's mail as a device of theirs.
#[derive(Debug)]
pub struct Mailbox(Caller<Request, Reply, Event>);

impl Mailbox {
    /// Takes the client end. Drain the receiver: replies wait behind events that are not taken.
    ///
    /// # Errors
    /// The kernel's; needs a tokio runtime.
    pub fn new(edge: Edge) -> std::io::Result<(Self, mpsc::Receiver<Event>)> {
        let (events, receiver) = mpsc::channel(1024);
        Ok((Self(Caller::start(edge, events)?), receiver))
    }

    /// Asks the keeper.
    ///
    /// # Errors
    /// [`Down`] when the keeper is gone or this device was revoked: BYE.
    pub async fn ask(&self, request: Request, with: &[BorrowedFd<'_>]) -> Result<(Reply, Vec<OwnedFd>), Down> {
        self.0.call(request, with).await
    }

    /// Returns once the socket is closed: the session ends with BYE.
    pub async fn closed(&self) {
        self.0.closed().await;
    }

    /// The same, for whoever does not keep this borrowed meanwhile.
    pub fn end(&self) -> impl Future<Output = ()> + use<> {
        self.0.end()
    }
}
