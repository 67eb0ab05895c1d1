//! `Admin`: what the family admin's commands hold: make, suspend, alias, limit, delete; never a way in.
//! Requests come over the admin socket (packet socket, mode 0600) or an edge.
//!
//! Identities are made and opened only in the command's own short-lived process; the keeper gets
//! finished slots.

use filter_sandbox::edge::{Edge, EdgeError, Numbered};
use serde::{Deserialize, Serialize};

use crate::edges::mailbox::Event;
use crate::edges::outbox::State;
use crate::names::{LetterId, MailboxId, SlotId};
use filter_sandbox::edge::Answer;

/// What `mailbox list` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxInfo {
    /// Name on disk and in logs.
    pub id: MailboxId,
    /// Its own address first, then aliases that name it.
    pub addresses: Vec<String>,
    /// As given by the admin.
    pub display_name: String,
    /// No login; mail still comes.
    pub suspended: bool,
    /// Bytes used.
    pub used: u64,
    /// Bytes allowed.
    pub quota: u64,
    /// Letters.
    pub letters: u32,
    /// The newest identity's generation.
    pub generation: u32,
    /// Whether a household key can open it.
    pub household_key: bool,
}

/// What `device list` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// The slot.
    pub slot: SlotId,
    /// "Anna's phone".
    pub name: String,
    /// Seconds since 1970.
    pub added: i64,
    /// Seconds since 1970 of the last login, to the day; `None` when never.
    pub last_login: Option<i64>,
}

/// For how long nothing goes to a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rest {
    /// Seconds since 1970.
    pub until: i64,
    /// In words for people, bounded, no control characters; empty where it is none of their business.
    pub why: String,
}

/// What `queue list` and `queue show` show of a letter that waits to leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedInfo {
    /// Its file, and its name in commands.
    pub letter: LetterId,
    /// Whose login sent it; `None` when an alias passes it on, or it is a bounce to a stranger.
    pub mailbox: Option<String>,
    /// MAIL FROM; `None` for `<>`.
    pub sender: Option<String>,
    /// Seconds since 1970.
    pub queued: i64,
    /// Bytes.
    pub size: u32,
    /// Kept back.
    pub held: bool,
    /// An alias passes it on, or it is a bounce to a stranger.
    pub passed_on: bool,
    /// Those of its recipients, by number, to whom it is on its way at this moment.
    pub under_way: Vec<u16>,
    /// Those who wait, by number, because nothing goes to their destination for a while.
    pub resting: Vec<(Vec<u16>, Rest)>,
    /// Each with where it stands; of a long answer the beginning.
    pub recipients: Vec<(String, State)>,
}

/// One finding of `spool check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// File, relative to `spool/`.
    pub place: String,
    /// In words.
    pub what: String,
    /// What was done.
    pub fate: Fate,
}

/// What was done about a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// Nothing.
    Open,
    /// It is as it was written.
    Mended,
    /// It is out of the way, there (relative to `spool/`), for 30 days.
    SetAside(String),
    /// What was lost is no longer listed.
    Gone,
    /// A start has done what could be done; it is told until somebody acknowledges it.
    Known,
    /// Every crash leaves it.
    Usual,
}

/// An alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasInfo {
    /// Its address.
    pub alias: String,
    /// Mailboxes and addresses elsewhere, as they were named.
    pub to: Vec<String>,
    /// Addresses it leads to that are ours, and nobody has.
    pub dead: Vec<String>,
}

impl Finding {
    /// Whether there is nothing left to do about it.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.fate != Fate::Open
    }
}

/// From an admin command to the keeper.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Ours from now on; mail for it is accepted or refused by us.
    Domains,
    /// Whether anything can be changed: done, or why not.
    Writes,
    /// Adds a mailbox: `slots` is the finished slots file (`spool::slots`), whose id must be new.
    MailboxAdd {
        address: String,
        display_name: String,
        slots: Vec<u8>,
        quota: Option<u64>,
        device_names: Vec<(SlotId, String)>,
    },
    /// All.
    MailboxList,
    /// Removes it with its letters and aliases.
    MailboxRemove { address: String },
    /// No login, and nothing sent; mail still comes, and waits. Or lifted.
    MailboxSuspend { address: String, on: bool },
    /// The slots file, for a command that opens it with the owner's secret.
    Slots { address: String },
    /// Replaces the slots file (device add, rekey, new words): must be the same mailbox, its `revision` one higher than the
    /// present one's. The keeper appends `audit` (a finished, sealed line) with it.
    SlotsReplace { address: String, slots: Vec<u8>, device_names: Vec<(SlotId, String)>, audit: String },
    /// Devices.
    DeviceList { address: String },
    /// Drops a slot and closes its sockets.
    DeviceRevoke { address: String, name: String },
    /// An alias for up to [`super::limits::ALIAS_TARGETS`] mailboxes; adds to an existing alias.
    AliasAdd { alias: String, target: String },
    /// All.
    AliasList,
    /// Removes the whole alias, or one target.
    AliasRemove { alias: String, target: Option<String> },
    /// Sets, or asks with `None`.
    Quota { address: String, bytes: Option<u64> },
    /// The audit log's sealed lines of a mailbox.
    Audit { address: String },
    /// Verifies letters, journal, slots, cache.
    Check { repair: bool },
    /// What waits to leave.
    QueueList,
    /// Due now; all, with `None`.
    QueueRetry { letter: Option<LetterId> },
    /// Kept back until it is let go.
    QueueHold { letter: LetterId, on: bool },
    /// Given up; its sender hears nothing.
    QueueDrop { letter: LetterId },
    /// Adds what `recover` opened: the keeper rebuilds this mailbox from `mailboxes/<id>` and `letters/<id>`.
    Recover {
        mailbox: MailboxId,
        addresses: Vec<String>,
        display_name: String,
        quota: Option<u64>,
        device_names: Vec<(SlotId, String)>,
        letters: Vec<RecoveredLetter>,
        last: bool,
    },
    /// Mailboxes lying in `mailboxes/` that the journal does not know: (id, slots file).
    Unknown,
    /// What the running `up` has to say: `keeper::Start::told`.
    Told,
}

/// A letter that `recover` has opened and found whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveredLetter {
    /// Its file.
    pub letter: LetterId,
    /// Bytes of the message.
    pub size: u32,
}

/// From the keeper.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// Durable.
    Done,
    /// To `Domains`.
    Domains(Vec<String>),
    /// To `MailboxList`; one packet holds some, `more` says ask again is not needed: packets follow until false.
    Mailboxes { some: Vec<MailboxInfo>, more: bool },
    /// To `Slots`.
    Slots(Vec<u8>),
    /// To `DeviceList`.
    Devices(Vec<DeviceInfo>),
    /// To `AliasList`; packets follow while `more`.
    Aliases { some: Vec<AliasInfo>, more: bool },
    /// To `Quota`.
    Quota { used: u64, limit: u64 },
    /// To `Audit`; packets follow while `more`.
    Audit { some: Vec<String>, more: bool },
    /// To `Check`: progress in letters looked at, until `Checked`.
    Progress { done: u64, of: u64 },
    /// To `Check`: findings; packets follow while `more`.
    Checked { some: Vec<Finding>, more: bool, letters: u64 },
    /// To `QueueList`; packets follow while `more`.
    Queue { some: Vec<QueuedInfo>, more: bool },
    /// To `Unknown`; packets follow while `more`.
    Unknown { some: Vec<(MailboxId, Vec<u8>)>, more: bool },
    /// To `Told`.
    Told(String),
    /// To `SlotsReplace`: somebody changed the slots or the audit log meanwhile. Read both again, make the change anew.
    Outdated,
    /// To `QueueHold` and `QueueDrop`: durable; but those destinations are being given the letter at this moment, and may
    /// have it.
    UnderWay(Vec<String>),
    /// Not done, in words for the admin.
    Refused(String),
    /// Before the answer, now and then: it is at work on this, or on another command before it. [`Admin::reply`] keeps it
    /// to itself.
    Working,
}

/// The right to administer. Blocking: admin commands are short-lived and do one thing.
#[derive(Debug)]
pub struct Admin {
    edge: Edge,
    next: u32,
}

impl Admin {
    /// Takes the client end.
    #[must_use]
    pub const fn new(edge: Edge) -> Self {
        Self { edge, next: 1 }
    }

    /// Sends one request; take its replies with [`Self::reply`].
    ///
    /// # Errors
    /// The edge's.
    pub fn send(&mut self, request: Request) -> Result<(), EdgeError> {
        self.next = self.next.wrapping_add(1);
        self.edge.send(&Numbered { number: self.next, body: request }, &[])
    }

    /// Waits for the next reply to the last request. A time limit of the socket's begins anew with each sign that the
    /// keeper is at work.
    ///
    /// # Errors
    /// The edge's.
    pub fn reply(&mut self) -> Result<Reply, EdgeError> {
        loop {
            let (answer, _) = self.edge.recv::<Answer<Reply, Event>>()?;
            if let Answer::Reply(number, reply) = answer
                && number == self.next
                && !matches!(reply, Reply::Working)
            {
                return Ok(reply);
            }
        }
    }

    /// Sends a request that has one reply.
    ///
    /// # Errors
    /// The edge's.
    pub fn ask(&mut self, request: Request) -> Result<Reply, EdgeError> {
        self.send(request)?;
        self.reply()
    }
}
