//! Removing a mailbox. Its folder gets another name before the journal's entry, and loses it last: whenever a crash
//! comes, there is either a mailbox or a removal that the next start finishes, and never a lost mailbox that
//! `recover` would bring back.

use std::io;
use std::path::{Path, PathBuf};

use crate::commit::With;
use crate::journal::record::Record;
use crate::names::MailboxId;
use crate::store;

use super::house::House;

/// Behind a mailbox's name in `mailboxes/`.
const MARK: &str = ".removed";

/// Where the folder of a mailbox lies that is being removed.
#[must_use]
pub fn marked(root: &Path, id: MailboxId) -> PathBuf {
    root.join("mailboxes").join(format!("{id}{MARK}"))
}

/// Marks a mailbox, durably. Only the entry removes it.
///
/// # Errors
/// The disk's.
pub fn begin(house: &House, id: MailboxId) -> io::Result<()> {
    let folder = store::mailbox_path(&house.root, id);
    // One whose folder is lost can be removed too.
    house.disk.make_folder(&folder)?;
    house.disk.rename(&folder, &marked(&house.root, id))?;
    house.disk.sync_folder(&house.root.join("mailboxes"))
}

/// Takes the mark off: there is no entry.
///
/// # Errors
/// The disk's; then the next start removes the mailbox.
pub fn undo(house: &House, id: MailboxId) -> io::Result<()> {
    house.disk.rename(&marked(&house.root, id), &store::mailbox_path(&house.root, id))?;
    house.disk.sync_folder(&house.root.join("mailboxes"))
}

/// Deletes everything of a mailbox that the journal no longer knows.
///
/// # Errors
/// The disk's; the next start goes on with it.
pub fn finish(house: &House, id: MailboxId) -> io::Result<()> {
    let mark = marked(&house.root, id);
    // The slots first: without them nobody opens what a failure leaves behind.
    for file in std::fs::read_dir(&mark)? {
        house.disk.remove(&file?.path())?;
    }
    house.caches.discard(house, id)?;
    for rest in [store::letters_path(&house.root, id), house.root.join(store::SET_ASIDE).join(id.to_string())] {
        match remove_all(house, &rest) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::remove_dir(mark)
}

/// A folder at a time, so that who waits for it sees that it gets on.
fn remove_all(house: &House, folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        house.gets_on();
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    std::fs::remove_dir_all(folder)
}

/// At the start: what was begun is finished.
///
/// # Errors
/// The disk's, of reading which there are.
pub fn after_start(house: &House) -> io::Result<()> {
    for entry in std::fs::read_dir(house.root.join("mailboxes"))? {
        let name = entry?.file_name();
        let Some(Ok(id)) = name.to_str().and_then(|name| name.strip_suffix(MARK)).map(str::parse) else { continue };
        match go_on(house, id) {
            Ok(()) => tracing::info!(mailbox = %id, "the removal of a mailbox was finished"),
            Err(error) => tracing::error!(mailbox = %id, %error, "a mailbox is not removed whole"),
        }
    }
    Ok(())
}

fn go_on(house: &House, id: MailboxId) -> io::Result<()> {
    let known = house.committer.lock().index.mailbox(id).is_some();
    if known {
        let entry = vec![Record::MailboxRemoved { mailbox: id }];
        let taken = house.committer.take(&mut house.committer.lock(), entry, &With { letters: &[], frees: true });
        if !taken.is_ok_and(|number| house.committer.wait(number)) {
            return Err(io::Error::other("the journal cannot be written"));
        }
    }
    finish(house, id)
}
