//! What the journal can say. Names here are formats: variants and fields are only ever added at the
//! end, under a new segment version.

use serde::{Deserialize, Serialize};

use crate::allowance::Hour;
use crate::edges::mailbox::{Change, SpecialUse, UidSet};
use crate::edges::outbox::{Outgoing, State};
use crate::names::{FolderId, LetterId, MailboxId, SlotId, TransactionId};

/// One letter in one folder, as the index holds it (96 bytes or less: there are 100,000 of them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Bits into the mailbox's keyword table.
    pub keywords: u64,
    /// The mailbox's count of changes when this letter last changed.
    pub modseq: u64,
    /// INTERNALDATE, seconds since 1970.
    pub arrived: i64,
    /// Its file.
    pub letter: LetterId,
    /// SHA-256 of the whole file, clear frame included.
    pub digest: [u8; 32],
    /// RFC 3501 §2.3.1.1.
    pub uid: u32,
    /// RFC822.SIZE.
    pub size: u32,
    /// How it lies in its file.
    pub stored: Stored,
    /// [`crate::edges::mailbox::flag`] bits.
    pub flags: u8,
}

impl Letter {
    /// Bytes it takes of its mailbox's quota: what its file has, in whole KiB beyond the message.
    #[must_use]
    pub fn charge(&self) -> u64 {
        charge(u64::from(self.size) + self.stored.beyond())
    }
}

/// How a letter lies in its file: the generation of the identity it is sealed to (the lowest eight bits) and the KiB that
/// the file has beyond the message (the others; none, where an older entry does not say).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored(u32);

impl Stored {
    const GENERATION: u32 = 8;

    /// Of a file of so many bytes for a message of `size`.
    #[must_use]
    pub fn new(generation: u32, size: u32, file: u64) -> Self {
        const { assert!(crate::limits::GENERATIONS < 1 << Stored::GENERATION) };
        let most = (1 << Self::GENERATION) - 1;
        let beyond = file.saturating_sub(size.into()).div_ceil(1024).min(u64::from(u32::MAX >> Self::GENERATION));
        let beyond = u32::try_from(beyond).unwrap_or_default();
        Self(beyond << Self::GENERATION | generation.min(most))
    }

    /// Bytes of the file beyond the message, in whole KiB.
    #[must_use]
    pub fn beyond(self) -> u64 {
        u64::from(self.0 >> Self::GENERATION) * 1024
    }
}

/// Bytes of a quota that so many bytes on the disk take.
#[must_use]
pub fn charge(bytes: u64) -> u64 {
    bytes.max(crate::edges::limits::LEAST_CHARGE)
}

/// A letter of a transaction and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The owner.
    pub mailbox: MailboxId,
    /// The folder.
    pub folder: FolderId,
    /// With the UID it gets there; its modseq is counted when the record is applied.
    pub letter: Letter,
}

/// A device's name, its secret parts are in the slots file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The slot.
    pub slot: SlotId,
    /// "Anna's phone".
    pub name: String,
    /// Seconds since 1970.
    pub added: i64,
    /// Days since 1970 of the last login; 0 when never.
    pub last_login: u32,
}

/// A mailbox without its folders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Its own address, lower-case.
    pub address: String,
    /// As given by the admin.
    pub display_name: String,
    /// Bytes allowed.
    pub quota: u64,
    /// No mail in, no login.
    pub suspended: bool,
    /// Revision of the slots file that goes with this.
    pub revision: u64,
    /// Devices.
    pub devices: Vec<Device>,
    /// Order of making: the oldest mailbox has the lowest.
    pub made: u64,
    /// SHA-256 of the last line of its audit log, without the line end: its end cannot be cut off unseen.
    pub audit: Option<[u8; 32]>,
}

/// A folder without its letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderHead {
    /// Stays through renames.
    pub id: FolderId,
    /// UTF-8, levels divided by `/`.
    pub name: String,
    /// RFC 3501 §2.3.1.1.
    pub uid_validity: u32,
    /// The UID the next letter gets.
    pub uid_next: u32,
    /// RFC 6154.
    pub special_use: Option<SpecialUse>,
    /// UIDs from here on nobody has been told of as \Recent.
    pub recent_from: u32,
    /// Highest modseq.
    pub modseq: u64,
}

/// One fact. Replaying all of them gives the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// First in every segment (with [`Record::Still`]): the last tag of the segment before, and which number comes next.
    Begin {
        /// `None` in the very first.
        previous: Option<[u8; 16]>,
        /// The number of the next entry; counts all entries of the journal but these.
        sequence: u64,
    },
    /// A mailbox with its six first folders, which get this UIDVALIDITY.
    MailboxAdded { mailbox: MailboxId, profile: Profile, uid_validity: u32 },
    /// With all that was in it, and its aliases.
    MailboxRemoved { mailbox: MailboxId },
    /// No mail in, no login; or lifted.
    Suspended { mailbox: MailboxId, on: bool },
    /// The slots file was replaced.
    Slots { mailbox: MailboxId, revision: u64, devices: Vec<(SlotId, String)>, at: i64, audit: Option<[u8; 32]> },
    /// A device logged in on that day since 1970.
    Login { mailbox: MailboxId, device: SlotId, day: u32 },
    /// Bytes allowed.
    Quota { mailbox: MailboxId, bytes: u64 },
    /// One more target of an alias.
    AliasAdded { alias: String, target: MailboxId },
    /// One target, or all.
    AliasRemoved { alias: String, target: Option<MailboxId> },
    /// A new, empty folder.
    FolderCreated {
        mailbox: MailboxId,
        folder: FolderId,
        name: String,
        uid_validity: u32,
        special_use: Option<SpecialUse>,
    },
    /// Folders and their new names.
    FoldersRenamed { mailbox: MailboxId, names: Vec<(FolderId, String)> },
    /// With its letters.
    FolderDeleted { mailbox: MailboxId, folder: FolderId },
    /// Or unsubscribed.
    Subscribed { mailbox: MailboxId, name: String, on: bool },
    /// A session was told of all letters before this UID as \Recent.
    RecentTaken { mailbox: MailboxId, folder: FolderId, before: u32 },
    /// One transaction: letters for one or more mailboxes.
    Delivered { transaction: Option<TransactionId>, at: i64, letters: Vec<Placed> },
    /// STORE.
    Flags { mailbox: MailboxId, folder: FolderId, uids: UidSet, change: Change, flags: u8, keywords: u64 },
    /// The next entry of the mailbox's keyword table.
    Keyword { mailbox: MailboxId, name: String },
    /// Letters gone from a folder.
    Expunged { mailbox: MailboxId, folder: FolderId, uids: UidSet },
    /// Letters also (or, with `and_remove`, only) in another folder, under UIDs from `first` on.
    Copied { mailbox: MailboxId, folder: FolderId, uids: UidSet, to: FolderId, first: u32, and_remove: bool },
    /// After damage: no client may trust the UIDs it knew.
    Revalidated { mailbox: MailboxId, uid_validity: u32 },
    /// Letters found or missed by `spool check --repair` or a damaged journal: these are no longer there.
    Missing { mailbox: MailboxId, letters: Vec<LetterId> },
    /// Checkpoint: transactions remembered (day since 1970, name), aliases. True after entry `sequence`.
    House { sequence: u64, transactions: Vec<(u32, TransactionId)>, aliases: Vec<(String, Vec<MailboxId>)>, made: u64 },
    /// Checkpoint: a mailbox after entry `sequence`.
    Mailbox {
        sequence: u64,
        mailbox: MailboxId,
        profile: Profile,
        folders: Vec<FolderHead>,
        keywords: Vec<String>,
        subscriptions: Vec<String>,
        modseq: u64,
        next_folder: u32,
        last_validity: u32,
    },
    /// Checkpoint: some letters of a folder, ascending by UID.
    Letters { mailbox: MailboxId, folder: FolderId, letters: Vec<Letter> },
    /// Complete: last in a checkpoint, and in a segment that was closed in order.
    End,
    /// Beside `Begin` and `End` of a segment: mailboxes there are. Says nothing new, unless the entry that
    /// first said so is damaged.
    Still { mailbox: MailboxId, profile: Profile },
    /// A letter that is to leave.
    Queued { letter: LetterId, outgoing: Box<Outgoing> },
    /// What became of some of its recipients, by number. When all are done the letter goes.
    Fates { letter: LetterId, states: Vec<(u16, State)> },
    /// The admin keeps it back; or lets it go on.
    Held { letter: LetterId, on: bool },
    /// The admin wants it tried at once.
    Hurried { letter: LetterId, at: i64 },
    /// The admin has thrown it away.
    Dropped { letter: LetterId },
    /// Checkpoint: a letter that waits, after the entry that [`Record::House`] names.
    Outgoing { letter: LetterId, outgoing: Box<Outgoing> },
    /// One more address elsewhere to which an alias passes its mail on.
    ForwardAdded { alias: String, to: String },
    /// One of them, or all.
    ForwardRemoved { alias: String, to: Option<String> },
    /// Checkpoint: aliases that pass mail on, as true as the house.
    Forwards { all: Vec<(String, Vec<String>)> },
    /// Checkpoint: some of those to whom a mailbox has written (lower-case), oldest first; as [`Record::Outgoing`].
    Met { mailbox: MailboxId, recipients: Vec<String> },
    /// What a domain's MTA-STS policy is, in the courier's words, until then.
    PolicyKept { domain: String, until: i64, policy: Vec<u8> },
    /// Checkpoint: the same, as [`Record::Outgoing`].
    Policy { domain: String, until: i64, policy: Vec<u8> },
    /// Checkpoint: how much a mailbox has sent of late; as [`Record::Outgoing`].
    Sent { mailbox: MailboxId, hours: Vec<Hour> },
}

/// Facts that hold together or not at all: what one sealed entry of a segment holds.
pub type Entry = Vec<Record>;

/// Reads an entry back.
///
/// # Errors
/// Bytes that are not exactly one entry.
pub fn decode(bytes: &[u8]) -> Result<Entry, postcard::Error> {
    let (entry, rest) = postcard::take_from_bytes(bytes)?;
    if rest.is_empty() { Ok(entry) } else { Err(postcard::Error::DeserializeBadEncoding) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A journal on somebody's disk says these numbers.
    #[test]
    fn what_was_written_is_still_read() {
        let (mailbox, folder, letter) = (MailboxId(1), FolderId(1), LetterId([0; 16]));
        for (number, record) in [
            (2, Record::MailboxRemoved { mailbox }),
            (8, Record::AliasRemoved { alias: String::new(), target: None }),
            (11, Record::FolderDeleted { mailbox, folder }),
            (16, Record::Keyword { mailbox, name: String::new() }),
            (20, Record::Missing { mailbox, letters: Vec::new() }),
            (23, Record::Letters { mailbox, folder, letters: Vec::new() }),
            (24, Record::End),
            (30, Record::Dropped { letter }),
            (32, Record::ForwardAdded { alias: String::new(), to: String::new() }),
            (34, Record::Forwards { all: Vec::new() }),
            (35, Record::Met { mailbox, recipients: Vec::new() }),
            (37, Record::Policy { domain: String::new(), until: 0, policy: Vec::new() }),
            (38, Record::Sent { mailbox, hours: Vec::new() }),
        ] {
            let bytes = postcard::to_stdvec(&record).unwrap();
            assert_eq!(bytes[0], number, "{record:?}");
        }
    }
}
