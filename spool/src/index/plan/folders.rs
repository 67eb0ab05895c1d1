//! CREATE, DELETE, RENAME, SUBSCRIBE.

use crate::edges::limits;
use crate::edges::mailbox::{Refusal, SpecialUse};
use crate::index::mailbox::FIRST_FOLDERS;
use crate::index::{Folder, Mailbox, name};
use crate::journal::record::Record;
use crate::names::{FolderId, MailboxId};

use super::Plan;

/// New folders of one entry, numbered one after another.
struct Making<'a> {
    id: MailboxId,
    mailbox: &'a Mailbox,
    uid_validity: u32,
    records: Vec<Record>,
}

impl Making<'_> {
    fn make(&mut self, folder: &str, special_use: Option<SpecialUse>) -> Result<FolderId, Refusal> {
        let made = u32::try_from(self.records.len()).map_err(|_| Refusal::Limit)?;
        if self.mailbox.folders().len() + self.records.len() >= limits::FOLDERS {
            return Err(Refusal::Limit);
        }
        let id = FolderId(self.mailbox.next_folder.checked_add(made).ok_or(Refusal::Limit)?);
        self.records.push(Record::FolderCreated {
            mailbox: self.id,
            folder: id,
            name: folder.to_owned(),
            uid_validity: self.uid_validity,
            special_use,
        });
        Ok(id)
    }

    fn make_parents(&mut self, of: &str) -> Result<(), Refusal> {
        for parent in name::parents(of) {
            if self.mailbox.named(parent).is_none() {
                self.make(parent, None)?;
            }
        }
        Ok(())
    }
}

fn making(id: MailboxId, mailbox: &Mailbox, now: i64) -> Making<'_> {
    // Seconds since 1970, but never one that was used: a folder of an old name must look new (RFC 3501 §2.3.1.1).
    let now = u32::try_from(now).unwrap_or(0);
    let uid_validity = now.max(mailbox.last_validity.saturating_add(1));
    Making { id, mailbox, uid_validity, records: Vec::new() }
}

/// A new UIDVALIDITY for that mailbox.
pub(crate) fn next_validity(mailbox: &Mailbox, now: i64) -> u32 {
    making(MailboxId(0), mailbox, now).uid_validity
}

/// CREATE, with missing parents (RFC 3501 §6.3.3); a trailing `/` only says that children will come.
///
/// # Errors
/// Exists, no name for a folder, special use taken, too many.
pub fn create(id: MailboxId, mailbox: &Mailbox, folder: &str, special: Option<SpecialUse>, now: i64) -> Plan {
    let folder = name::normal(folder.strip_suffix('/').unwrap_or(folder)).ok_or(Refusal::Cannot)?;
    if mailbox.named(&folder).is_some() {
        return Err(Refusal::Exists);
    }
    // RFC 6154 §3: one folder a use is all we can file into.
    if special.is_some_and(|special| mailbox.used_for(special).is_some()) {
        return Err(Refusal::UseTaken);
    }
    // One that was deleted comes back as what it was: apps go by the use, people by the name.
    let usual = || FIRST_FOLDERS.iter().find(|(name, _)| *name == folder).and_then(|(_, usual)| *usual);
    let special = special.or_else(|| usual().filter(|usual| mailbox.used_for(*usual).is_none()));
    let mut making = making(id, mailbox, now);
    making.make_parents(&folder)?;
    making.make(&folder, special)?;
    Ok(making.records)
}

/// DELETE; what lies below stays (RFC 3501 §6.3.4).
///
/// # Errors
/// INBOX, no such folder.
pub fn delete(id: MailboxId, mailbox: &Mailbox, folder: &str) -> Plan {
    let folder = existing(mailbox, folder)?;
    if folder.head.name == "INBOX" {
        return Err(Refusal::Cannot);
    }
    Ok(vec![Record::FolderDeleted { mailbox: id, folder: folder.head.id }])
}

/// RENAME, with everything below (RFC 3501 §6.3.5), also of a name that has only folders below; INBOX stays, empty, and what
/// lies below it stays.
///
/// # Errors
/// No such folder, target exists or is no name, too many.
pub fn rename(id: MailboxId, mailbox: &Mailbox, from: &str, to: &str, now: i64) -> Plan {
    let from = name::normal(from).ok_or(Refusal::NoSuchFolder)?;
    let to = name::normal(to).ok_or(Refusal::Cannot)?;
    if mailbox.named(&to).is_some() {
        return Err(Refusal::Exists);
    }
    let mut making = making(id, mailbox, now);
    if let Some(source) = mailbox.named(&from).filter(|source| source.head.name == "INBOX") {
        making.make_parents(&to)?;
        let target = making.make(&to, None)?;
        let uids = source.uids(None, |_| true);
        making.records.push(Record::Copied {
            mailbox: id,
            folder: source.head.id,
            uids,
            to: target,
            first: 1,
            and_remove: true,
        });
        return Ok(making.records);
    }
    let names = renamed(mailbox, &from, &to)?;
    if name::below(&to, &from) {
        return Err(Refusal::Cannot);
    }
    making.make_parents(&to)?;
    making.records.push(Record::FoldersRenamed { mailbox: id, names });
    Ok(making.records)
}

fn renamed(mailbox: &Mailbox, from: &str, to: &str) -> Result<Vec<(FolderId, String)>, Refusal> {
    let mut names = Vec::new();
    for folder in mailbox.folders() {
        let old = &folder.head.name;
        if old == from || name::below(old, from) {
            let new = format!("{to}{}", old.strip_prefix(from).unwrap_or_default());
            if mailbox.named(&new).is_some() {
                return Err(Refusal::Exists);
            }
            names.push((folder.head.id, name::normal(&new).ok_or(Refusal::Cannot)?));
        }
    }
    if names.is_empty() { Err(Refusal::NoSuchFolder) } else { Ok(names) }
}

/// SUBSCRIBE, UNSUBSCRIBE; the folder need not exist (RFC 3501 §6.3.6).
///
/// # Errors
/// No name for a folder; too many.
pub fn subscribe(id: MailboxId, mailbox: &Mailbox, folder: &str, on: bool) -> Plan {
    let folder = name::normal(folder).ok_or(Refusal::Cannot)?;
    if on && mailbox.subscriptions().len() >= limits::FOLDERS {
        return Err(Refusal::Limit);
    }
    Ok(vec![Record::Subscribed { mailbox: id, name: folder, on }])
}

/// The folder of a name as a client writes it.
pub(crate) fn existing<'a>(mailbox: &'a Mailbox, folder: &str) -> Result<&'a Folder, Refusal> {
    name::normal(folder).and_then(|folder| mailbox.named(&folder)).ok_or(Refusal::NoSuchFolder)
}
