//! A mailbox's slots file: the ways into it, and what its logins need. It protects itself, without the box key.
//!
//! Two copies lie in `mailboxes/<id>/`, `slots` and `slots.2`, replaced one after the other; the higher revision
//! counts ([`load`], [`store`]). All numbers are little-endian.
//!
//! | bytes | field |
//! | --- | --- |
//! | 8 | `PSTNSLOT` |
//! | 1 | version, 1 |
//! | 8 | mailbox |
//! | 8 | revision, one more with every change |
//! | 4 | the number the next slot gets |
//! | 4 | generation of the newest identity, from 1 |
//! | 32 | the newest identity's public key |
//! | 4 | PBKDF2 rounds |
//! | 16 | salt for IMAP |
//! | 16 | salt for submission |
//! | 60 each | the earlier identities, newest first, generation - 1 of them ([`crate::keys::Link`]) |
//! | 32 | tag over everything so far but the revision |
//! | 1 | number of slots; then each, in ascending order of their numbers: |
//! | - 4 | its number |
//! | - 1 | [`Kind`] |
//! | - 8 | when it was added, seconds since 1970 |
//! | - 32 | the slot's public key |
//! | - 2 + n | the newest identity wrapped to it ([`crate::keys::Wrapped`]) |
//! | - 192 | device: for IMAP, then for submission, StoredKey, ServerKey, SHA-256 of `check` |
//! | - 24 | chosen password: salt (16), KiB (4), passes (4) |
//! | - 32 | tag over the slot's fields |
//! | 2 + n | the [`Facts`], sealed with age to the newest public key |
//! | 32 | SHA-256 of everything before |
//!
//! The tags are HMAC-SHA-256 under a key derived from the newest identity. The hash at the end finds damage without
//! any secret; the tags find what a thief has written. They are looked at when somebody unlocks the file: a slot
//! whose tag is wrong (a *stranger*) was not made by anybody who could open the mailbox, and never gets
//! a newer identity. The keeper may drop a slot or seal new facts, for which it needs no secret; it can add no way in.

mod change;
mod copies;
mod facts;
mod format;
mod login;
mod tags;
mod unlock;

use std::{fmt, io};

use crate::keys::{Cost, Identities, KeyError, Kind, Link, PublicKey, Wrapped};
use crate::names::{MailboxId, SlotId};

pub use change::{Made, NewMailbox};
pub use copies::{COPIES, Loaded, load, store};
pub use facts::Facts;
pub use login::{LoginFields, Purpose, fake_fields, open_admitted};
pub use unlock::Unlocked;

/// Why a slots file cannot be used, opened or changed.
#[derive(Debug)]
pub enum SlotsError {
    /// The secret is well-formed, and no slot of this mailbox knows it.
    OpensNothing,
    /// The secret has a typing mistake; says which.
    Mistyped(&'static str),
    /// Damaged, or changed by somebody who could not open it.
    Damaged(&'static str),
    /// Of a version that only a newer program knows; never written over.
    Newer(u8),
    /// A bound is reached; says which.
    TooMany(&'static str),
    /// No slot of that number.
    NoSuchSlot,
    /// It is the only way left into the mailbox; its mail would be lost.
    LastSlot,
    /// The identities belong to another mailbox, or are not its newest.
    NotOpen,
    /// A key's.
    Key(KeyError),
    /// The disk's.
    Io(io::Error),
}

/// What there are too many of when each device has its password.
const DEVICES: &str = "devices";

impl fmt::Display for SlotsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpensNothing => f.write_str("that secret opens nothing here"),
            Self::Mistyped(how) => write!(f, "that secret opens nothing here: {how}"),
            Self::Damaged(what) => write!(f, "slots file damaged: {what}"),
            Self::Newer(version) => {
                write!(f, "slots file of version {version}, kept by a newer Postern: install that again")
            }
            Self::TooMany(DEVICES) => {
                let most = crate::limits::DEVICES;
                write!(f, "it has {most} devices already, and may have no more: revoke one that is not used any more")
            }
            Self::TooMany(what) => write!(f, "too many or too long: {what}"),
            Self::NoSuchSlot => f.write_str("no such device"),
            Self::LastSlot => f.write_str("this is the last way into the mailbox: its mail would be lost"),
            Self::NotOpen => f.write_str("these keys are not the newest of this mailbox"),
            Self::Key(error) => write!(f, "slots file: {error}"),
            Self::Io(error) => write!(f, "slots file: {error}"),
        }
    }
}

impl std::error::Error for SlotsError {}

impl From<KeyError> for SlotsError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

/// One way into a mailbox.
#[derive(Debug, Clone)]
pub struct Slot {
    id: SlotId,
    added: i64,
    key: PublicKey,
    wrapped: Wrapped,
    way: Way,
    tag: [u8; 32],
}

impl Slot {
    /// Its number, never used again in this mailbox.
    #[must_use]
    pub const fn id(&self) -> SlotId {
        self.id
    }

    /// When it was added, seconds since 1970.
    #[must_use]
    pub const fn added(&self) -> i64 {
        self.added
    }

    /// What opens it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.way.kind()
    }
}

#[derive(Debug, Clone)]
enum Way {
    Device(Box<[Verifier; 2]>),
    Words,
    Chosen(Cost),
    Household,
}

impl Way {
    const fn kind(&self) -> Kind {
        match self {
            Self::Device(_) => Kind::Device,
            Self::Words => Kind::Words,
            Self::Chosen(_) => Kind::Chosen,
            Self::Household => Kind::Household,
        }
    }
}

/// What the keeper compares a device's login with (RFC 5802 §3, and `check`).
#[derive(Debug, Clone, Copy)]
struct Verifier {
    stored_key: [u8; 32],
    server_key: [u8; 32],
    check_hash: [u8; 32],
}

/// A whole slots file.
///
/// Methods that change it make its revision one higher than what was read, however many of them are called.
///
/// ```
/// use spool::names::MailboxId;
/// use spool::slots::{NewMailbox, SlotsFile};
/// let new = NewMailbox { address: "anna@home.test", display_name: "Anna", quota: None, device: "phone" };
/// let made = SlotsFile::new_mailbox(MailboxId(7), &new, 1_700_000_000)?;
///
/// let file = SlotsFile::decode(&made.slots.encode()?)?;
/// let unlocked = file.unlock(&made.words.list().join(" "))?;
/// assert_eq!(file.facts(&unlocked.identities)?.addresses, ["anna@home.test"]);
/// assert!(file.unlock("abandon abandon").is_err());
/// # Ok::<(), spool::slots::SlotsError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SlotsFile {
    mailbox: MailboxId,
    revision: u64,
    /// The revision it was read or stored with; 0 when it never was.
    saved: u64,
    next: u32,
    generation: u32,
    public: PublicKey,
    iterations: u32,
    salts: [[u8; 16]; 2],
    earlier: Vec<Link>,
    tag: [u8; 32],
    slots: Vec<Slot>,
    sealed: Vec<u8>,
}

impl SlotsFile {
    /// Whose it is.
    #[must_use]
    pub const fn mailbox(&self) -> MailboxId {
        self.mailbox
    }

    /// One more with every change.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The newest identity's generation.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// The newest identity's public key: new letters, facts and audit lines are sealed to it.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// All ways in, in the order they were added.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// One of them.
    #[must_use]
    pub fn slot(&self, id: SlotId) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.id == id)
    }

    /// Whether the household's key opens it: owners are shown this.
    #[must_use]
    pub fn has_household_key(&self) -> bool {
        self.slots.iter().any(|slot| slot.kind() == Kind::Household)
    }

    /// Opens the sealed part.
    ///
    /// # Errors
    /// [`SlotsError`].
    pub fn facts(&self, identities: &Identities) -> Result<Facts, SlotsError> {
        self.must_be_open(identities)?;
        Facts::open(&self.sealed, identities.newest())
    }

    /// Seals new facts, with the public key alone: an alias or a quota has changed.
    ///
    /// # Errors
    /// [`SlotsError::TooMany`].
    pub fn set_facts(&mut self, facts: &Facts) -> Result<(), SlotsError> {
        self.sealed = facts.seal(&self.public)?;
        self.changed();
        Ok(())
    }

    fn must_be_open(&self, identities: &Identities) -> Result<(), SlotsError> {
        let same = identities.mailbox() == self.mailbox && identities.newest().public() == &self.public;
        if same { Ok(()) } else { Err(SlotsError::NotOpen) }
    }

    const fn changed(&mut self) {
        self.revision = self.saved + 1;
    }
}
