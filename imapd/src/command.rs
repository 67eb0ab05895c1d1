//! The one command type of ours: what a client may ask, in plain values, whoever parsed it.

use spool::edges::mailbox::{Change, SpecialUse};
use zeroize::Zeroizing;

use crate::search::Key;
use crate::sequence::SequenceSet;

/// A command with its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// Goes back with the answer, at most [`crate::limits::TAG`] bytes.
    pub tag: String,
    /// What to do.
    pub command: Command,
}

/// One variant a verb. Folder names are UTF-8 with `/` between levels, decoded from modified UTF-7, the inbox always
/// spelt `INBOX`; at most [`crate::limits::FOLDER_NAME`] bytes.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub enum Command {
    /// RFC 3501 §6.1.1
    Capability,
    /// §6.1.2
    Noop,
    /// §6.1.3
    Logout,
    /// §6.2.1; nobody offers it here, the port is TLS from its first byte.
    StartTls,
    /// RFC 2971: what the client says of itself; empty for NIL.
    Id(Vec<(String, Option<String>)>),
    /// §6.2.2 with RFC 4959's initial response, decoded (`=` is empty).
    Authenticate { mechanism: String, initial: Option<Zeroizing<Vec<u8>>> },
    /// §6.2.3
    Login { name: Vec<u8>, password: Zeroizing<Vec<u8>> },
    /// RFC 5161: upper-case names.
    Enable(Vec<String>),
    /// §6.3.1
    Select(String),
    /// §6.3.2
    Examine(String),
    /// §6.3.3 with RFC 6154 §3; a trailing `/` is gone already. The uses are those we know.
    Create { name: String, uses: Vec<SpecialUse>, unknown_use: bool },
    /// §6.3.4
    Delete(String),
    /// §6.3.5
    Rename { from: String, to: String },
    /// §6.3.6
    Subscribe(String),
    /// §6.3.7
    Unsubscribe(String),
    /// §6.3.8, RFC 5258, RFC 6154, RFC 5819
    List(List),
    /// §6.3.9
    Lsub { reference: String, pattern: String },
    /// §6.3.10
    Status { name: String, items: StatusItems },
    /// RFC 2342
    Namespace,
    /// RFC 2177; the client's DONE is a plain line of the framer.
    Idle,
    /// RFC 9208 §4.1.2
    GetQuota(String),
    /// RFC 9208 §4.1.3
    GetQuotaRoot(String),
    /// RFC 9208 §4.1.1; nobody may here.
    SetQuota,
    /// §6.4.1
    Check,
    /// §6.4.2
    Close,
    /// RFC 3691
    Unselect,
    /// §6.4.3
    Expunge,
    /// RFC 4315 §2.1
    UidExpunge(SequenceSet),
    /// §6.4.4, RFC 4731
    Search { uid: bool, returns: Option<Returns>, key: Key },
    /// §6.4.5
    Fetch { uid: bool, set: SequenceSet, items: Vec<Item> },
    /// §6.4.6
    Store { uid: bool, set: SequenceSet, change: Change, silent: bool, flags: Flags },
    /// §6.4.7
    Copy { uid: bool, set: SequenceSet, to: String },
    /// RFC 6851
    Move { uid: bool, set: SequenceSet, to: String },
}

/// Flags as a client names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `spool::edges::mailbox::flag` bits.
    pub system: u8,
    /// Keywords, as written, each once, at most [`crate::limits::KEYWORD`] bytes.
    pub keywords: Vec<String>,
}

/// An extended LIST; a plain one has one pattern and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// Stands in front of every pattern.
    pub reference: String,
    /// At least one, decoded like a name, with `*` and `%`.
    pub patterns: Vec<String>,
    /// Select: only subscribed names, existing or not.
    pub subscribed: bool,
    /// Select: remote folders too (there are none).
    pub remote: bool,
    /// Select: also parents outside the pattern's reach of what is selected, with CHILDINFO.
    pub recursive_match: bool,
    /// Select: only folders with a special use.
    pub special_use: bool,
    /// Return \Subscribed.
    pub return_subscribed: bool,
    /// Return \HasChildren (always done).
    pub return_children: bool,
    /// Return special uses (always done).
    pub return_special_use: bool,
    /// Return a STATUS line for every selectable folder.
    pub return_status: Option<StatusItems>,
    /// Whether any extension was used: then \NonExistent, and no answer to the empty pattern.
    pub extended: bool,
}

/// What STATUS asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatusItems {
    /// MESSAGES
    pub messages: bool,
    /// RECENT
    pub recent: bool,
    /// UIDNEXT
    pub uid_next: bool,
    /// UIDVALIDITY
    pub uid_validity: bool,
    /// UNSEEN
    pub unseen: bool,
    /// DELETED (RFC 9208)
    pub deleted: bool,
    /// SIZE (RFC 8438)
    pub size: bool,
    /// APPENDLIMIT (RFC 7889)
    pub append_limit: bool,
}

/// SEARCH RETURN (...). Nothing asked means ALL, and is already filled in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Returns {
    /// MIN
    pub min: bool,
    /// MAX
    pub max: bool,
    /// ALL
    pub all: bool,
    /// COUNT
    pub count: bool,
}

/// One thing FETCH asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// UID
    Uid,
    /// FLAGS
    Flags,
    /// INTERNALDATE
    InternalDate,
    /// RFC822.SIZE
    Size,
    /// ENVELOPE
    Envelope,
    /// BODY, without extension data
    Body,
    /// BODYSTRUCTURE
    BodyStructure,
    /// BODY[...], RFC822 and its kin: bytes of the message.
    Section(SectionItem),
}

/// Bytes of the message, and how the answer calls them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionItem {
    /// Which bytes.
    pub section: Section,
    /// First octet and how many (never 0).
    pub partial: Option<(u32, u32)>,
    /// Leaves \Seen alone.
    pub peek: bool,
    /// Its name in the answer.
    pub form: Form,
}

/// Under which name bytes were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// BODY[...]
    Body,
    /// RFC822
    Rfc822,
    /// RFC822.HEADER
    Rfc822Header,
    /// RFC822.TEXT
    Rfc822Text,
}

/// RFC 3501 §6.4.5: a part, and what of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Part numbers from the outside in; empty for the message itself.
    pub part: Vec<u32>,
    /// What of it.
    pub text: SectionText,
}

/// What of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SectionText {
    /// All of it: the message, or the part's body.
    Whole,
    /// HEADER
    Header,
    /// TEXT
    Text,
    /// MIME; only with a part number.
    Mime,
    /// HEADER.FIELDS, or with `not` HEADER.FIELDS.NOT; names as written.
    Fields { names: Vec<String>, not: bool },
}

/// APPEND up to its message, which streams past and is never held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendHead {
    /// Goes back with the answer.
    pub tag: String,
    /// The folder.
    pub mailbox: String,
    /// Its flags.
    pub flags: Flags,
    /// INTERNALDATE to give, seconds since 1970.
    pub date: Option<i64>,
    /// Bytes of the message.
    pub size: u32,
    /// Whether the client waits for `+ ` before it sends them (RFC 7888).
    pub sync: bool,
}

// A log line must never hold a password, nor what somebody searches for.
#[cfg(not(test))]
impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.verb())
    }
}

impl Command {
    /// The verb, for logs and answers.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Capability => "CAPABILITY",
            Self::Noop => "NOOP",
            Self::Logout => "LOGOUT",
            Self::StartTls => "STARTTLS",
            Self::Id(_) => "ID",
            Self::Authenticate { .. } => "AUTHENTICATE",
            Self::Login { .. } => "LOGIN",
            Self::Enable(_) => "ENABLE",
            Self::Select(_) => "SELECT",
            Self::Examine(_) => "EXAMINE",
            Self::Create { .. } => "CREATE",
            Self::Delete(_) => "DELETE",
            Self::Rename { .. } => "RENAME",
            Self::Subscribe(_) => "SUBSCRIBE",
            Self::Unsubscribe(_) => "UNSUBSCRIBE",
            Self::List(_) => "LIST",
            Self::Lsub { .. } => "LSUB",
            Self::Status { .. } => "STATUS",
            Self::Namespace => "NAMESPACE",
            Self::Idle => "IDLE",
            Self::GetQuota(_) => "GETQUOTA",
            Self::GetQuotaRoot(_) => "GETQUOTAROOT",
            Self::SetQuota => "SETQUOTA",
            Self::Check => "CHECK",
            Self::Close => "CLOSE",
            Self::Unselect => "UNSELECT",
            Self::Expunge => "EXPUNGE",
            Self::UidExpunge(_) => "UID EXPUNGE",
            Self::Search { uid: false, .. } => "SEARCH",
            Self::Search { uid: true, .. } => "UID SEARCH",
            Self::Fetch { uid: false, .. } => "FETCH",
            Self::Fetch { uid: true, .. } => "UID FETCH",
            Self::Store { uid: false, .. } => "STORE",
            Self::Store { uid: true, .. } => "UID STORE",
            Self::Copy { uid: false, .. } => "COPY",
            Self::Copy { uid: true, .. } => "UID COPY",
            Self::Move { uid: false, .. } => "MOVE",
            Self::Move { uid: true, .. } => "UID MOVE",
        }
    }
}
