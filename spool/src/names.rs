//! The names of things in the spool: small, random, and without meaning to a thief.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A mailbox. Sixteen lower-case hex digits on disk and in logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MailboxId(pub u64);

/// A letter: a file name. Its first byte is the keeper's current shard (the `<xx>` folder), so that
/// letters of one moment share a folder and its fsync; the others are a digest of the start of the
/// age file, which holds a fresh key share and so is as good as random. A letter that lies under
/// another's name is thus noticed without asking anybody ([`LetterId::names`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LetterId(pub [u8; 16]);

/// A folder of one mailbox; never reused within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FolderId(pub u32);

/// A slot of one mailbox; never reused within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlotId(pub u32);

/// A Deposit's or submission's own name, random, chosen by its sender; recognised again after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TransactionId(pub [u8; 16]);

/// A name that is not of its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadName;

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a name of the spool")
    }
}

impl std::error::Error for BadName {}

impl fmt::Display for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for MailboxId {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        if text.len() != 16 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(BadName);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| BadName)
    }
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for LetterId {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        if text.len() != 32 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(BadName);
        }
        u128::from_str_radix(text, 16).map(|n| Self(n.to_be_bytes())).map_err(|_| BadName)
    }
}

/// How much of an age file's start names it; the whole file if it is shorter. Age's header with the
/// wrapped file key lies in it, and nothing else can be read under that key.
pub const HEAD: usize = 1024;

impl LetterId {
    /// Names an age file by its first [`HEAD`] bytes.
    #[must_use]
    pub fn of(shard: u8, head: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, &head[..head.len().min(HEAD)]);
        let mut name = [0; 16];
        name.copy_from_slice(&digest.as_ref()[..16]);
        name[0] = shard;
        Self(name)
    }

    /// Whether this is the name of the age file that starts so.
    #[must_use]
    pub fn names(&self, head: &[u8]) -> bool {
        *self == Self::of(self.shard(), head)
    }

    /// The `<xx>` folder it lies in.
    #[must_use]
    pub const fn shard(&self) -> u8 {
        self.0[0]
    }
}
