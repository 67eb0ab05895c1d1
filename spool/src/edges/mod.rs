//! One module an edge of the keeper: the message enums of both directions, and the handle that is the
//! whole privilege of the process holding it.

pub mod admin;
pub mod deposit;
pub mod facts;
pub mod login;
pub mod mailbox;
pub mod notices;
pub mod outbox;
pub mod pipe;
pub mod queue;

use std::time::{Duration, Instant};

pub use filter_sandbox::edge::Down;
use serde::{Deserialize, Serialize};

use crate::names::MailboxId;

/// Bounds of what an edge carries; the keeper drops a peer that exceeds one.
pub mod limits {
    /// Bytes of a mail address (RFC 5321 §4.5.3.1: 64 + 1 + 255).
    pub const ADDRESS: usize = 320;
    /// Letters of one transaction (RCPTMAX times what an alias may name, within one packet's descriptors).
    pub const LETTERS: usize = 120;
    /// Free bytes below which a mailbox is full for a message of unknown size; and so much may be added to a message on
    /// its way in.
    pub const LEAST_ROOM: u64 = 64 * 1024;
    /// Mailboxes one alias may name.
    pub const ALIAS_TARGETS: usize = 16;
    /// Addresses of ours that mail for one alias may come to, one after another: aliases that name aliases end somewhere.
    pub const ALIAS_STEPS: usize = 16;
    /// Devices of one mailbox.
    pub const DEVICES: usize = 32;
    /// Bytes of a folder name (UTF-8, `/` between levels).
    pub const FOLDER_NAME: usize = 1_000;
    /// Folders of one mailbox.
    pub const FOLDERS: usize = 2_000;
    /// Keywords of one mailbox: they are bits of a `u64`.
    pub const KEYWORDS: usize = 64;
    /// Bytes of a keyword.
    pub const KEYWORD: usize = 100;
    /// Ranges of one set of UIDs.
    pub const RANGES: usize = 4_000;
    /// Letters opened by one request.
    pub const OPEN_LETTERS: usize = 32;
    /// Letters of one mailbox, all its folders together: its part of the index stays under 150 MB.
    pub const MAILBOX_LETTERS: usize = 1_000_000;
    /// The same where the machine has less than 1 GB of memory.
    pub const MAILBOX_LETTERS_SMALL: usize = 250_000;
    /// Letters one COPY or MOVE picks: what a session is told of them must not pile up beyond what may wait for it.
    pub const COPIED_LETTERS: usize = 100_000;
    /// Bytes that a letter takes of a quota at least: its file and its place in the index are there however short it is.
    pub const LEAST_CHARGE: u64 = 1024;
    /// Bytes by which the last letter may go beyond a quota: what sealing adds is only known once it is there.
    pub const BEYOND_QUOTA: u64 = 64 * 1024;
    /// Ranges of the letters one COPY or MOVE picks, gaps between UIDs counted: bounded by one journal entry.
    pub const COPIED_RANGES: usize = 200_000;
    /// Summaries asked for by one request.
    pub const SUMMARIES: usize = 512;
    /// Bytes of summaries in one memory file, either way.
    pub const SUMMARIES_BYTES: usize = 8 * 1024 * 1024;
    /// How long who delivers waits for the keeper's word, and then says that it was not taken.
    pub const DELIVERY: std::time::Duration = std::time::Duration::from_secs(120);
    /// So long before that the keeper commits no more: time for the sync of what it has committed, and for its word.
    pub const DELIVERY_MARGIN: std::time::Duration = std::time::Duration::from_secs(30);
}

/// An instant on the clock that all processes of a machine share (`CLOCK_MONOTONIC`), which nobody sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment(Duration);

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        // This clock counts from the machine's start: neither part is negative.
        Self(Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0)))
    }

    /// So long ago.
    #[must_use]
    pub fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(time))
    }

    /// When the keeper may no longer commit a delivery begun at this moment: before its sender gives up. A moment
    /// yet to come is taken for now.
    #[must_use]
    pub fn deadline(self) -> Instant {
        let gone = Self::now().0.saturating_sub(self.0);
        Instant::now() + (limits::DELIVERY - limits::DELIVERY_MARGIN).saturating_sub(gone)
    }
}

/// Waits for a delivery's outcome as long as the keeper may take; then nothing is committed any more.
///
/// # Errors
/// Those of `outcome`.
pub(crate) async fn in_time(outcome: impl Future<Output = Result<Delivered, Down>>) -> Result<Delivered, Down> {
    tokio::time::timeout(limits::DELIVERY, outcome).await.unwrap_or(Ok(Delivered::Failed))
}

/// Where one copy of a letter goes and to which public key it is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Which of its identities; goes back with the letter.
    pub generation: u32,
    /// That identity's public half, as age writes it (`age1...`).
    pub public_key: String,
}

/// How large a message will be that is yet to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Size {
    /// As its sender says (RFC 1870): an estimate.
    Said(u64),
    /// Its sender does not say; no larger than this is taken.
    AtMost(u64),
}

impl From<u64> for Size {
    fn from(said: u64) -> Self {
        Self::Said(said)
    }
}

impl Size {
    /// The room there must be for it.
    #[must_use]
    pub const fn needed(self) -> u64 {
        match self {
            Self::Said(bytes) => bytes,
            Self::AtMost(_) => limits::LEAST_ROOM,
        }
    }

    /// The room that is kept from others until it has come; then it gets the rest. What a stranger says of a size costs
    /// nothing, and must not close a mailbox.
    #[must_use]
    pub const fn reserved(self) -> u64 {
        let needed = self.needed();
        if needed < limits::LEAST_ROOM { needed } else { limits::LEAST_ROOM }
    }

    /// The room that is enough for it, whatever comes.
    #[must_use]
    pub const fn ample(self) -> u64 {
        let (Self::Said(bytes) | Self::AtMost(bytes)) = self;
        bytes.saturating_add(limits::LEAST_ROOM)
    }
}

/// What the keeper says of a recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recipient {
    /// Accepted, with room reserved in each mailbox until the transaction ends.
    Known(Vec<Target>),
    /// The same, and an alias passes it on to others elsewhere: one letter for all of these, sealed to this key.
    Forwarded {
        /// In which mailboxes a copy goes, too; may be none.
        targets: Vec<Target>,
        /// Which outgoing identity.
        generation: u32,
        /// Its public half (`age1...`).
        public_key: String,
    },
    /// The domain is ours and nobody has this address: 550 5.1.1.
    Unknown,
    /// The domain is not ours: 550 5.7.1 (no relaying).
    NotLocal,
    /// The domain is not ours, and who asks may send there: one letter for all such recipients, sealed to this key.
    Remote {
        /// Which outgoing identity.
        generation: u32,
        /// Its public half (`age1...`).
        public_key: String,
    },
    /// The mailbox is full: 452 4.2.2.
    OverQuota,
    /// Its mailbox, or one asked for before, is so nearly full that the message may not fit: to be sent to it on its own,
    /// so that the others need not wait for it: 452 4.5.3.
    Separately,
    /// It is passed on, and too much of that waits: 452 4.3.1.
    Waiting,
    /// The disk takes no writes now: 452 4.3.1.
    OnlyReads,
    /// Not now (for example no mailbox exists yet for postmaster): 451 4.3.0.
    NotNow,
}

/// Which folder a new letter goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Into {
    /// The inbox.
    Inbox,
    /// The folder with the special use \Junk; the inbox when the owner has deleted it.
    Junk,
}

/// One letter of a transaction. Its age file comes through the pipe ([`pipe::LetterPipe`]) at the same
/// place in the packet's descriptors; the keeper writes the clear frame itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewLetter {
    /// The owner.
    pub mailbox: MailboxId,
    /// The generation it is sealed to.
    pub generation: u32,
    /// Bytes of the message before sealing (RFC822.SIZE).
    pub size: u32,
    /// Folder.
    pub into: Into,
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delivered {
    /// On disk, in the journal, visible: the 250 may go out.
    Durable,
    /// This transaction was delivered before; nothing was written again.
    Already,
    /// No room on the disk: 452 4.3.1.
    Full,
    /// No room in a mailbox: 452 4.2.2.
    MailboxFull,
    /// The disk or the stream failed; nothing is kept: 451 4.3.0.
    Failed,
    /// Too much waits that is passed on: 452 4.3.1.
    Waiting,
    /// The mailbox has sent as much as it may in a day: 452 4.7.1.
    Spent {
        /// Its owner has not heard of it yet: to be told, and the keeper to be told so.
        tell: bool,
    },
}
