//! What goes in and out of a session.

use spool::edges::{Down, Recipient, Size, Target};
use spool::names::{SlotId, TransactionId};
use wire::sasl;

use super::context::{Owner, TlsFacts};
use super::envelope::{Envelope, Hello, Outgoing};
use super::path::{Address, Sender};
use crate::data::Fault;
use crate::reply::Reply;

/// What the driver tells the session.
#[derive(Debug)]
pub enum Event<'a> {
    /// A line without its CRLF.
    Line(&'a [u8]),
    /// A line longer than [`super::Awaits::Line`] allowed.
    TooLong,
    /// A line with a bare CR or LF in it.
    BareLineEnd,
    /// To [`Effect::StartTls`].
    TlsStarted(TlsFacts),
    /// To [`Effect::Begin`]: the transaction's new name, if there is room.
    Begun(Result<TransactionId, Spent>),
    /// To [`Effect::CheckRecipient`].
    Recipient(Result<Recipient, Down>),
    /// To [`Effect::ReadText`], [`Effect::ReadChunk`], [`Effect::Discard`].
    Body(BodyOutcome),
    /// To [`Effect::Deposit`].
    Deposited(Outcome),
    /// To [`Effect::FetchFields`].
    Fields(Result<sasl::Fields, LoginRefusal>),
    /// To [`Effect::Prove`]: who it is, `None` when the keeper refused.
    Admitted(Result<Option<Owner>, Down>),
    /// The role is to end; a transaction under way may be finished.
    Drain,
    /// The time for that is over, and the client has not finished.
    DrainOver,
    /// The keeper's socket has closed.
    KeeperGone,
    /// Too long silent, too slow, or too long altogether.
    TimedOut,
}

/// The byte budget for mail in flight is spent: 452 4.3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent;

/// Why a login is not even tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginRefusal {
    /// Too many failures from this address for this account.
    TooMany,
    /// The keeper is gone.
    Unavailable,
}

/// How a body or chunk was read. Whatever it says, all its bytes have been taken from the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyOutcome {
    /// Kept by the driver.
    Whole,
    /// Against the form of text.
    Faulty(Fault),
    /// Larger than [`super::Rules::largest`].
    TooLarge,
    /// The budget was spent meanwhile.
    NoRoom,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Durable, visible.
    Delivered,
    /// No room on the disk.
    Full,
    /// No room in a mailbox.
    MailboxFull,
    /// Too much waits that is passed on.
    Waiting,
    /// Disk, stream or one of our processes failed; nothing is kept.
    Failed,
    /// The stranger that was to look at it failed.
    Unfiltered,
    /// It has more parts or levels than anybody reads.
    NotUnderstood,
    /// The domain in From asks that what fails its checks be refused (DMARC).
    PolicyReject,
    /// It asks that, and whether this message fails could not be found out.
    PolicyUndecided,
    /// More than one From field, or more domains in it than anybody writes for.
    ManyAuthors,
    /// What stands behind an `@` in From looks like a domain and cannot be one.
    NoDomain,
    /// Its header does not end within [`crate::limits::HEADER`].
    LongHeader,
    /// Too many Received fields.
    Looping,
    /// It was here before for all of its recipients, aliases that passed it on: they have it.
    Returning,
    /// A NUL octet, which no mail may have.
    Nul,
    /// Submission: From names an address that is not the login's.
    NotOwned,
    /// Submission: that line of its header is no field.
    NoField {
        /// From 1.
        line: usize,
    },
    /// Submission: it has no From, or one that cannot be read.
    NoFrom,
    /// Submission: the mailbox has sent as much as it may in a day.
    Spent {
        /// Its owner has not heard of it yet.
        tell: bool,
    },
    /// The keeper's socket closed: what became of it is not known.
    KeeperGone,
}

/// The start of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    /// MAIL FROM.
    pub sender: Sender,
    /// The client.
    pub hello: Hello,
    /// SIZE.
    pub size: Option<u64>,
}

/// What the session asks of the driver.
#[derive(Debug)]
pub enum Effect {
    /// Write it; flushed before the next read that must wait.
    Reply(Reply),
    /// Flush, throw away what was sent ahead, shake hands; then [`Event::TlsStarted`].
    StartTls,
    /// Reserve room, name the transaction, begin with what can be verified already; then [`Event::Begun`].
    Begin(Begin),
    /// Ask the keeper; then [`Event::Recipient`].
    CheckRecipient { transaction: TransactionId, address: Address, size: Size },
    /// All recipients are known: sealing to them may begin.
    Address { targets: Vec<Target>, outgoing: Option<Outgoing> },
    /// Read to CRLF.CRLF; then [`Event::Body`].
    ReadText,
    /// Read so many bytes, appending to earlier chunks of the transaction; then [`Event::Body`].
    ReadChunk { octets: u64, last: bool },
    /// Read so many bytes and throw them away; then [`Event::Body`].
    Discard { octets: u64 },
    /// Deliver the body read; then [`Event::Deposited`].
    Deposit(Envelope),
    /// The transaction will not be finished.
    Abandon(TransactionId),
    /// Ask the keeper, unless the login limits forbid it; then [`Event::Fields`].
    FetchFields { name: String },
    /// Hand the proof in; then [`Event::Admitted`].
    Prove { attempt: u64, device: SlotId, check: [u8; 32] },
    /// A login failed; the secret, if the mechanism showed it, so that a stale one counts once.
    CountFailure { name: String, secret: Option<zeroize::Zeroizing<Vec<u8>>> },
    /// Say to the proxy that brought it that this sender wanted another house.
    WrongHome { domain: String },
    /// Flush and close.
    Close,
}
