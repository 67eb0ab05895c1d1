//! Making a mailbox. A mark stands beside its folder until the journal has its entry: whenever a crash comes, there is either a
//! mailbox or something that the next start takes away, and never one without an owner that looks like a lost one.

use std::io;
use std::path::{Path, PathBuf};

use crate::names::MailboxId;

use super::house::House;
use super::removal;

/// Behind a mailbox's name in `mailboxes/`.
const MARK: &str = ".new";

fn mark(root: &Path, id: MailboxId) -> PathBuf {
    root.join("mailboxes").join(format!("{id}{MARK}"))
}

/// Marks what is to come, durably.
///
/// # Errors
/// The disk's.
pub fn begin(house: &House, id: MailboxId) -> io::Result<()> {
    house.disk.make_folder(&mark(&house.root, id))
}

/// The entry is durable. A mark that stays does no harm: the next start looks at the journal.
pub fn done(house: &House, id: MailboxId) {
    if let Err(error) = std::fs::remove_dir(mark(&house.root, id)) {
        tracing::warn!(mailbox = %id, %error, "the mark of a new mailbox is left");
    }
}

/// Takes everything away again; there is no entry.
///
/// # Errors
/// The disk's; the next start goes on with it.
pub fn undo(house: &House, id: MailboxId) -> io::Result<()> {
    removal::begin(house, id)?;
    removal::finish(house, id)?;
    std::fs::remove_dir(mark(&house.root, id))
}

/// At the start: what was begun is there, or it is not.
///
/// # Errors
/// The disk's, of reading which there are.
pub fn after_start(house: &House) -> io::Result<()> {
    for entry in std::fs::read_dir(house.root.join("mailboxes"))? {
        let name = entry?.file_name();
        let Some(Ok(id)) = name.to_str().and_then(|name| name.strip_suffix(MARK)).map(str::parse) else { continue };
        if house.committer.lock().index.mailbox(id).is_some() {
            done(house, id);
            continue;
        }
        match undo(house, id) {
            Ok(()) => tracing::info!(mailbox = %id, "a mailbox that was never made whole was taken away"),
            Err(error) => tracing::error!(mailbox = %id, %error, "a mailbox that was never made whole is left"),
        }
    }
    Ok(())
}
