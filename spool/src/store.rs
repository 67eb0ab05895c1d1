//! Where things lie in the spool.

use std::path::{Path, PathBuf};

use crate::names::{LetterId, MailboxId};

/// The folders of a spool, made at the first start.
pub const FOLDERS: [&str; 6] = ["mailboxes", "letters", "incoming", "outgoing", "journal", "cache"];
/// The files beside them whose names are ours: without them, or with what is no file, there is no start.
pub const FILES: [&str; 2] = ["lock", "found"];
/// Letters that wait to leave.
pub const OUTGOING: &str = "outgoing";
/// Letters without a record, for 30 days.
pub const SET_ASIDE: &str = "set-aside";

/// A mailbox's own folder: slots, audit.
#[must_use]
pub fn mailbox_path(root: &Path, mailbox: MailboxId) -> PathBuf {
    root.join("mailboxes").join(mailbox.to_string())
}

/// A mailbox's letters.
#[must_use]
pub fn letters_path(root: &Path, mailbox: MailboxId) -> PathBuf {
    root.join("letters").join(mailbox.to_string())
}

/// The letters of one shard.
#[must_use]
pub fn shard_path(root: &Path, mailbox: MailboxId, shard: u8) -> PathBuf {
    letters_path(root, mailbox).join(format!("{shard:02x}"))
}

/// One letter.
#[must_use]
pub fn letter_path(root: &Path, mailbox: MailboxId, letter: LetterId) -> PathBuf {
    shard_path(root, mailbox, letter.shard()).join(letter.to_string())
}

/// A letter that waits to leave.
#[must_use]
pub fn outgoing_path(root: &Path, letter: LetterId) -> PathBuf {
    root.join(OUTGOING).join(letter.to_string())
}

/// A mailbox's cache.
#[must_use]
pub fn cache_path(root: &Path, mailbox: MailboxId) -> PathBuf {
    root.join("cache").join(mailbox.to_string())
}
