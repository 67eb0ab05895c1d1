//! What `up` (or an offline admin command) gives a keeper to start with.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::allowance::Limits;
use crate::journal::sure::Left;

/// What a descriptor given to the keeper is. `up` sends one packet with the [`Start`], and the
/// descriptors of [`Start::edges`] ride along in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EdgeKind {
    /// A listening unix packet socket, mode 0600: every connection is an [`crate::edges::admin`] edge.
    AdminListener,
    /// One connected [`crate::edges::admin`] edge (an offline command started this keeper; the keeper
    /// ends when it is the only edge and closes).
    Admin,
    /// [`crate::edges::deposit`], held by `mx`.
    Deposit,
    /// [`crate::edges::login`], held by `submission`: a login there gives a `Queue`.
    SubmissionLogin,
    /// [`crate::edges::login`], held by `imapd login`: a login there gives a `Mailbox`.
    ImapLogin,
    /// [`crate::edges::outbox`], held by `courier`.
    Outbox,
    /// [`crate::edges::notices`], held by `courier`.
    Notices,
    /// No edge: a [`Left`].
    Left,
}

/// What letters that leave are sealed to, so that the courier alone opens them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// Which outgoing identity, from 1.
    pub generation: u32,
    /// Its public half (`age1...`).
    pub public_key: String,
    /// With it the courier rewrites senders of mail that is passed on (SRS); the keeper finds the way back.
    pub srs_key: [u8; 32],
}

/// How a keeper goes about what it finds wrong at its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Manner {
    /// Mends what can be mended, logs it, and keeps it to be told.
    #[default]
    Serve,
    /// The same for an offline `spool check --repair`, which tells it itself.
    Repair,
    /// For an offline `spool check`, and for any offline command on a disk that takes nothing: changes nothing there.
    Look,
    /// A keeper that was to serve says so of itself where the disk takes nothing: whoever reads is served.
    Read,
}

impl Manner {
    /// Whether nothing on the disk is changed.
    #[must_use]
    pub const fn only_reads(self) -> bool {
        matches!(self, Self::Look | Self::Read)
    }
}

/// The keeper's start packet.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Start {
    /// Seals the journal. Derived from the box key by `up`.
    pub index_key: [u8; 32],
    /// The domains that are ours besides those of the mailboxes, lower-case.
    #[zeroize(skip)]
    pub domains: Vec<String>,
    /// Bytes a new mailbox may hold.
    #[zeroize(skip)]
    pub default_quota: u64,
    /// Only `recover` sets it: a journal that `index_key` does not open is put aside (kept beside, as
    /// `journal.old-N`), and an empty one begun. Without it such a journal is an error.
    #[zeroize(skip)]
    pub new_journal: bool,
    /// What `up` has to say to admin commands, as text; the keeper hands it out unread. Empty from others than `up`.
    #[zeroize(skip)]
    pub told: String,
    /// What one mailbox may send elsewhere in a day.
    #[zeroize(skip)]
    pub allowance: Limits,
    /// With it, submission may send elsewhere.
    #[zeroize(skip)]
    pub outgoing: Option<Outgoing>,
    /// How it goes about what it finds.
    #[zeroize(skip)]
    pub manner: Manner,
    /// What the descriptors are, in order.
    #[zeroize(skip)]
    pub edges: Vec<EdgeKind>,
    /// What the keeper before has left, and where this one leaves it; comes among the descriptors.
    #[serde(skip)]
    #[zeroize(skip)]
    pub left: Option<Arc<Left>>,
}

impl std::fmt::Debug for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Start").field("domains", &self.domains).field("edges", &self.edges).finish_non_exhaustive()
    }
}

/// Where the keeper finds the spool once it is confined.
#[must_use]
pub fn confined_root() -> PathBuf {
    PathBuf::from("/spool")
}
