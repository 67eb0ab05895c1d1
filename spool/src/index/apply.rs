//! Applying an entry: the one way the index changes.
//!
//! What does not fit (a folder that is not there, because an entry before was damaged) is left out or
//! put where it cannot be lost: a letter for a missing folder goes to the inbox.

use crate::allowance::Sent;
use crate::edges::mailbox::{Change, Event, UidSet};
use crate::journal::record::{Device, Placed, Profile, Record};
use crate::names::{FolderId, LetterId, MailboxId, SlotId};

use super::folder::fact;
use super::mailbox::{FIRST_FOLDERS, Mailbox};
use super::{Index, News, uids};

/// Most letters one event tells of, so that it fits a packet.
const PER_EVENT: usize = 400;
const DAY: i64 = 86_400;

/// Days since 1970.
#[must_use]
pub fn day(at: i64) -> u32 {
    u32::try_from(at / DAY).unwrap_or(0)
}

/// Whether an address may have come to be somebody else's by it.
const fn leads_elsewhere(record: &Record) -> bool {
    matches!(
        record,
        Record::MailboxAdded { .. }
            | Record::Still { .. }
            | Record::MailboxRemoved { .. }
            | Record::AliasAdded { .. }
            | Record::AliasRemoved { .. }
            | Record::ForwardAdded { .. }
            | Record::ForwardRemoved { .. }
    )
}

impl Index {
    /// Applies one record of the entry with that number.
    pub fn apply(&mut self, sequence: u64, record: Record, news: &mut dyn News) {
        if leads_elsewhere(&record) {
            self.routes = sequence;
        }
        match record {
            Record::Begin { .. } | Record::End => {}
            Record::MailboxAdded { mailbox, profile, uid_validity } => {
                self.add_mailbox(sequence, mailbox, profile, uid_validity);
            }
            // Only after damage is it not there; all its folders get new UIDVALIDITYs then.
            Record::Still { mailbox, profile } => self.add_mailbox(sequence, mailbox, profile, 1),
            Record::MailboxRemoved { mailbox } => self.remove_mailbox(sequence, mailbox, news),
            Record::AliasAdded { alias, target } if sequence > self.as_of => {
                let targets = self.aliases.entry(alias).or_default();
                if !targets.contains(&target) {
                    targets.push(target);
                }
            }
            Record::AliasRemoved { alias, target } if sequence > self.as_of => self.remove_alias(&alias, target),
            Record::ForwardAdded { alias, to } if sequence > self.as_of => {
                let all = self.forwards.entry(alias).or_default();
                if !all.contains(&to) {
                    all.push(to);
                }
            }
            Record::ForwardRemoved { alias, to } if sequence > self.as_of => self.remove_forward(&alias, to.as_deref()),
            Record::AliasAdded { .. }
            | Record::AliasRemoved { .. }
            | Record::ForwardAdded { .. }
            | Record::ForwardRemoved { .. } => {}
            Record::Forwards { all } => self.forwards = all.into_iter().collect(),
            Record::Delivered { transaction, at, letters } => {
                if let Some(transaction) = transaction
                    && sequence > self.as_of
                {
                    self.transactions.remember(day(at), transaction);
                }
                self.deliver(sequence, letters, news);
            }
            Record::House { sequence, transactions, aliases, made } => {
                self.as_of = sequence;
                transactions.into_iter().for_each(|(day, name)| self.transactions.remember(day, name));
                self.aliases = aliases.into_iter().collect();
                self.made = made;
            }
            Record::Mailbox { .. } | Record::Letters { .. } => self.restore(record),
            Record::Outgoing { .. } => drop(self.waiting.apply(record)),
            Record::Met { mailbox, recipients } => {
                let met = self.met.entry(mailbox).or_default();
                recipients.into_iter().for_each(|recipient| met.meet(recipient));
            }
            Record::Sent { mailbox, hours } => drop(self.sent.insert(mailbox, Sent::of(hours))),
            Record::Policy { domain, until, policy } => self.policies.keep(domain, until, policy),
            Record::PolicyKept { domain, until, policy } if sequence > self.as_of => {
                self.policies.keep(domain, until, policy);
            }
            Record::PolicyKept { .. } => {}
            Record::Queued { .. }
            | Record::Fates { .. }
            | Record::Held { .. }
            | Record::Hurried { .. }
            | Record::Dropped { .. } => {
                if sequence > self.as_of {
                    self.count(&record);
                    let is_fate = matches!(record, Record::Fates { .. });
                    let gone = self.waiting.apply(record);
                    // A letter's last fate makes nothing due.
                    if !is_fate || gone.is_none() {
                        news.outgoing();
                    }
                    gone.into_iter().for_each(|gone| news.left(gone));
                }
            }
            Record::Suspended { mailbox, .. }
            | Record::Slots { mailbox, .. }
            | Record::Login { mailbox, .. }
            | Record::Quota { mailbox, .. }
            | Record::FolderCreated { mailbox, .. }
            | Record::FoldersRenamed { mailbox, .. }
            | Record::FolderDeleted { mailbox, .. }
            | Record::Subscribed { mailbox, .. }
            | Record::RecentTaken { mailbox, .. }
            | Record::Flags { mailbox, .. }
            | Record::Keyword { mailbox, .. }
            | Record::Expunged { mailbox, .. }
            | Record::Copied { mailbox, .. }
            | Record::Revalidated { mailbox, .. }
            | Record::Missing { mailbox, .. } => {
                if let Some(found) = self.changeable(sequence, mailbox) {
                    found.apply(mailbox, record, news);
                }
            }
        }
    }

    fn changeable(&mut self, sequence: u64, id: MailboxId) -> Option<&mut Mailbox> {
        self.mailboxes.get_mut(&id).filter(|mailbox| sequence > mailbox.as_of)
    }

    fn add_mailbox(&mut self, sequence: u64, id: MailboxId, profile: Profile, uid_validity: u32) {
        if sequence > self.as_of {
            self.made = self.made.max(profile.made.saturating_add(1));
        }
        if self.mailboxes.contains_key(&id) {
            return;
        }
        let mut mailbox = Mailbox::new(profile);
        for (number, (name, special_use)) in (1..).zip(FIRST_FOLDERS) {
            mailbox.create(FolderId(number), name.to_owned(), uid_validity, special_use);
            mailbox.subscriptions.insert(name.to_owned());
        }
        self.addresses.insert(mailbox.profile.address.clone(), id);
        self.mailboxes.insert(id, mailbox);
    }

    fn remove_mailbox(&mut self, sequence: u64, id: MailboxId, news: &mut dyn News) {
        if self.changeable(sequence, id).is_some()
            && let Some(gone) = self.mailboxes.remove(&id)
        {
            self.addresses.remove(&gone.profile.address);
            // Suspension kept back what it wrote: who had its password may have written it.
            if gone.profile.suspended {
                self.waiting.remove_of(id).into_iter().for_each(|letter| news.left(letter));
                news.outgoing();
            }
            for folder in &gone.folders {
                news.folder(id, folder.head.id, Event::FolderGone);
            }
        }
        if sequence > self.as_of {
            self.aliases.values_mut().for_each(|targets| targets.retain(|target| *target != id));
            self.aliases.retain(|_, targets| !targets.is_empty());
            self.met.remove(&id);
            self.sent.remove(&id);
        }
    }

    /// What is passed on was not written here: it takes from nobody's allowance, and nobody has met its recipients.
    fn count(&mut self, record: &Record) {
        // One that waits already has only more to go to: it was counted when it came.
        if let Record::Queued { letter, outgoing } = record
            && !outgoing.passed_on
            && self.waiting.get(*letter).is_none()
        {
            let recipients = outgoing.each_recipient();
            let message = self.amount(outgoing.mailbox, &recipients);
            self.sent.entry(outgoing.mailbox).or_default().count(message, outgoing.queued);
            let met = self.met.entry(outgoing.mailbox).or_default();
            recipients.into_iter().for_each(|recipient| met.meet(recipient));
        }
    }

    fn remove_forward(&mut self, alias: &str, to: Option<&str>) {
        if let Some(all) = self.forwards.get_mut(alias) {
            all.retain(|known| to.is_some_and(|to| to != known));
            if all.is_empty() {
                self.forwards.remove(alias);
            }
        }
    }

    fn remove_alias(&mut self, alias: &str, target: Option<MailboxId>) {
        if let Some(targets) = self.aliases.get_mut(alias) {
            targets.retain(|known| target.is_some_and(|target| target != *known));
            if targets.is_empty() {
                self.aliases.remove(alias);
            }
        }
    }

    fn deliver(&mut self, sequence: u64, letters: Vec<Placed>, news: &mut dyn News) {
        for placed in letters {
            let Some(mailbox) = self.changeable(sequence, placed.mailbox) else { continue };
            let modseq = mailbox.step();
            mailbox.charge(&placed.letter);
            let folder = match mailbox.folders.iter_mut().position(|folder| folder.head.id == placed.folder) {
                Some(at) => mailbox.folders.get_mut(at),
                None => mailbox.folders.first_mut(),
            };
            let Some(folder) = folder else { continue };
            let added = folder.add(placed.letter, modseq);
            if news.listens(placed.mailbox, folder.head.id) {
                news.folder(placed.mailbox, folder.head.id, Event::Added(vec![fact(&added)]));
            }
        }
    }

    fn restore(&mut self, record: Record) {
        match record {
            Record::Mailbox {
                sequence,
                mailbox: id,
                profile,
                folders,
                keywords,
                subscriptions,
                modseq,
                next_folder,
                last_validity,
            } => {
                let mut mailbox = Mailbox::new(profile);
                mailbox.as_of = sequence;
                mailbox.folders = folders.into_iter().map(super::Folder::new).collect();
                mailbox.keywords = keywords;
                mailbox.subscriptions = subscriptions.into_iter().collect();
                (mailbox.modseq, mailbox.next_folder, mailbox.last_validity) = (modseq, next_folder, last_validity);
                self.addresses.insert(mailbox.profile.address.clone(), id);
                self.mailboxes.insert(id, mailbox);
            }
            Record::Letters { mailbox, folder, letters } => {
                let folder = self.mailboxes.get_mut(&mailbox).and_then(|mailbox| mailbox.folder_mut(folder));
                if let Some(folder) = folder {
                    letters.into_iter().for_each(|letter| folder.restore(letter));
                }
            }
            _ => {}
        }
    }
}

impl Mailbox {
    fn apply(&mut self, id: MailboxId, record: Record, news: &mut dyn News) {
        match record {
            Record::Suspended { on, .. } => {
                self.profile.suspended = on;
                // What waited with it may go.
                news.outgoing();
            }
            Record::Quota { bytes, .. } => self.profile.quota = bytes,
            Record::Slots { revision, devices, at, audit, .. } => {
                self.profile.audit = audit;
                self.set_devices(revision, devices, at);
            }
            Record::Login { device, day, .. } => {
                if let Some(device) = self.profile.devices.iter_mut().find(|known| known.slot == device) {
                    device.last_login = day;
                }
            }
            Record::FolderCreated { folder, name, uid_validity, special_use, .. }
                if self.folder(folder).is_none() && self.named(&name).is_none() =>
            {
                self.create(folder, name, uid_validity, special_use);
            }
            Record::FoldersRenamed { names, .. } => {
                for (folder, name) in names {
                    if let Some(folder) = self.folder_mut(folder) {
                        folder.head.name = name;
                    }
                }
                self.step();
            }
            Record::FolderDeleted { folder, .. } => self.delete_folder(id, folder, news),
            Record::Subscribed { name, on: true, .. } => {
                self.subscriptions.insert(name);
            }
            Record::Subscribed { name, on: false, .. } => {
                self.subscriptions.remove(&name);
            }
            Record::RecentTaken { folder, before, .. } => {
                if let Some(folder) = self.folder_mut(folder) {
                    folder.head.recent_from = folder.head.recent_from.max(before);
                }
            }
            Record::Flags { folder, uids, change, flags, keywords, .. } => {
                self.flag(id, folder, &uids, (change, flags, keywords), news);
            }
            Record::Keyword { name, .. } => {
                if let Ok(bit) = u8::try_from(self.keywords.len()) {
                    self.keywords.push(name.clone());
                    news.everywhere(id, Event::Keyword(bit, name));
                }
            }
            Record::Expunged { folder, uids, .. } => self.expunge(id, folder, &uids, news),
            Record::Copied { folder, uids, to, first, and_remove, .. } => {
                self.copy(id, (folder, &uids), (to, first), and_remove, news);
            }
            Record::Revalidated { uid_validity, .. } => self.revalidate(uid_validity),
            Record::Missing { letters, .. } => self.forget(id, letters, news),
            _ => {}
        }
    }

    fn set_devices(&mut self, revision: u64, devices: Vec<(SlotId, String)>, at: i64) {
        let known = std::mem::take(&mut self.profile.devices);
        self.profile.revision = revision;
        self.profile.devices = devices
            .into_iter()
            .map(|(slot, name)| match known.iter().find(|device| device.slot == slot) {
                Some(device) => Device { name, ..device.clone() },
                None => Device { slot, name, added: at, last_login: 0 },
            })
            .collect();
    }

    fn delete_folder(&mut self, id: MailboxId, folder: FolderId, news: &mut dyn News) {
        let Some(at) = self.folders.iter().position(|known| known.head.id == folder) else { return };
        let gone = self.folders.remove(at);
        self.step();
        for letter in gone.letters() {
            self.drop_letter(id, letter, news);
        }
        news.folder(id, folder, Event::FolderGone);
    }

    fn drop_letter(&mut self, id: MailboxId, letter: &crate::journal::record::Letter, news: &mut dyn News) {
        self.refund(letter);
        if self.unshare(letter) {
            news.unreferenced(id, letter.letter);
        }
    }

    fn flag(&mut self, id: MailboxId, folder: FolderId, set: &UidSet, change: (Change, u8, u64), news: &mut dyn News) {
        let listens = news.listens(id, folder);
        let modseq = self.step();
        let Some(found) = self.folder_mut(folder) else { return };
        let mut told = Vec::new();
        found.flag(set, change, modseq, |letter| {
            if listens {
                told.push((letter.uid, letter.flags, letter.keywords, letter.modseq));
            }
        });
        for some in told.chunks(PER_EVENT) {
            news.folder(id, folder, Event::Flags(some.to_vec()));
        }
    }

    fn expunge(&mut self, id: MailboxId, folder: FolderId, set: &UidSet, news: &mut dyn News) {
        let modseq = self.step();
        let Some(found) = self.folder_mut(folder) else { return };
        let taken = found.take(|letter| uids::contains(set, letter.uid), modseq);
        tell_expunged(id, folder, &taken, news);
        for letter in &taken {
            self.drop_letter(id, letter, news);
        }
    }

    fn copy(
        &mut self,
        id: MailboxId,
        (folder, set): (FolderId, &UidSet),
        (to, first): (FolderId, u32),
        and_remove: bool,
        news: &mut dyn News,
    ) {
        let modseq = self.step();
        let Some(source) = self.folder_mut(folder) else { return };
        let letters: Vec<_> = if and_remove {
            source.take(|letter| uids::contains(set, letter.uid), modseq)
        } else {
            source.select(set).copied().collect()
        };
        if and_remove {
            tell_expunged(id, folder, &letters, news);
        } else {
            for letter in &letters {
                self.share(letter);
                self.charge(letter);
            }
        }
        // A target lost by damage: the inbox keeps them.
        let Some(inbox) = self.folders.first().map(|inbox| inbox.head.id) else { return };
        let to = if self.folder(to).is_some() { to } else { inbox };
        let Some(target) = self.folder_mut(to) else { return };
        let added: Vec<_> = (first..)
            .zip(letters)
            .map(|(uid, letter)| fact(&target.add(crate::journal::record::Letter { uid, ..letter }, modseq)))
            .collect();
        if news.listens(id, to) {
            added.chunks(PER_EVENT).for_each(|some| news.folder(id, to, Event::Added(some.to_vec())));
        }
    }

    fn revalidate(&mut self, uid_validity: u32) {
        // What was lost may have counted further than we know.
        self.modseq = self.modseq.saturating_add(1 << 20);
        let modseq = self.modseq;
        self.last_validity = uid_validity;
        for folder in &mut self.folders {
            folder.head.uid_validity = uid_validity;
            folder.head.modseq = modseq;
        }
    }

    fn forget(&mut self, id: MailboxId, mut letters: Vec<LetterId>, news: &mut dyn News) {
        letters.sort_unstable();
        let modseq = self.step();
        for at in 0..self.folders.len() {
            let taken = self.folders[at].take(|letter| letters.binary_search(&letter.letter).is_ok(), modseq);
            let folder = self.folders[at].head.id;
            tell_expunged(id, folder, &taken, news);
            for letter in &taken {
                self.drop_letter(id, letter, news);
            }
        }
    }
}

fn tell_expunged(id: MailboxId, folder: FolderId, taken: &[crate::journal::record::Letter], news: &mut dyn News) {
    if taken.is_empty() || !news.listens(id, folder) {
        return;
    }
    let mut set = UidSet::new();
    taken.iter().for_each(|letter| uids::push(&mut set, letter.uid));
    set.chunks(crate::edges::limits::RANGES).for_each(|some| news.folder(id, folder, Event::Expunged(some.to_vec())));
}
