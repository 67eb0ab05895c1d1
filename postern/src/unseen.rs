//! The first mailbox while nobody has seen its secrets: a start that is killed before it has printed them leaves word of it in
//! the data folder, and the next one makes that mailbox anew.

use std::fs;
use std::io::{self, Write};

use spool::names::MailboxId;

use crate::data::DataFolder;

/// In the data folder.
const NAME: &str = "first-unseen";

/// From before the mailbox is made, durably.
///
/// # Errors
/// The disk's.
pub fn leave(data: &DataFolder, mailbox: MailboxId) -> io::Result<()> {
    let mut file = fs::File::create(data.entry(NAME))?;
    file.write_all(mailbox.to_string().as_bytes())?;
    file.sync_all()?;
    sync(data)
}

/// Which mailbox nobody can have seen the secrets of.
#[must_use]
pub fn left(data: &DataFolder) -> Option<MailboxId> {
    fs::read_to_string(data.entry(NAME)).ok()?.trim().parse().ok()
}

/// They are printed, durably: a power cut must not make it anew.
///
/// # Errors
/// The disk's.
pub fn seen(data: &DataFolder) -> io::Result<()> {
    match fs::remove_file(data.entry(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.and_then(|()| sync(data)),
    }
}

fn sync(data: &DataFolder) -> io::Result<()> {
    fs::File::open(data.path())?.sync_all()
}
