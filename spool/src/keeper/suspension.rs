//! A mailbox that is suspended has a mark in its folder, too: whoever gives it back from there without a journal keeps its
//! owner out, as before. Where the journal is there, it alone decides.

use std::io;
use std::path::{Path, PathBuf};

use crate::names::MailboxId;
use crate::store;

use super::house::House;

/// The file in a mailbox's folder.
const MARK: &str = "suspended";

fn path(root: &Path, id: MailboxId) -> PathBuf {
    store::mailbox_path(root, id).join(MARK)
}

/// Whether it has the mark.
#[must_use]
pub fn is_marked(root: &Path, id: MailboxId) -> bool {
    path(root, id).exists()
}

/// The journal says so: the mark follows, now or at the next start.
pub fn settle(house: &House, id: MailboxId, suspended: bool) {
    if is_marked(&house.root, id) == suspended {
        return;
    }
    if let Err(error) = change(house, id, suspended) {
        tracing::error!(mailbox = %id, %error, "the mark of a suspended mailbox");
    }
}

fn change(house: &House, id: MailboxId, suspended: bool) -> io::Result<()> {
    let path = path(&house.root, id);
    if suspended {
        return house.disk.replace(&path, b"");
    }
    house.disk.remove(&path)?;
    house.disk.sync_folder(&store::mailbox_path(&house.root, id))
}

/// At the start: also of mailboxes that were suspended before there were marks.
pub fn after_start(house: &House) {
    let all: Vec<_> = {
        let core = house.committer.lock();
        core.index.mailboxes().map(|(id, mailbox)| (id, mailbox.profile().suspended)).collect()
    };
    all.into_iter().for_each(|(id, suspended)| settle(house, id, suspended));
}
