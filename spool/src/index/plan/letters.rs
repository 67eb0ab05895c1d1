//! New letters, STORE, EXPUNGE, COPY and MOVE.

use crate::edges::mailbox::{Change, Refusal, SpecialUse, UidSet, flag};
use crate::edges::{self, limits};
use crate::index::{Index, Mailbox, uids};
use crate::journal::record::{Letter, Placed, Record, Stored};
use crate::names::{FolderId, LetterId, MailboxId};

use super::Plan;
use super::folders::existing;

const ALL_FLAGS: u8 = flag::SEEN | flag::ANSWERED | flag::FLAGGED | flag::DELETED | flag::DRAFT;

/// A letter that lies on disk and waits for its entry.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The owner.
    pub mailbox: MailboxId,
    /// Its file.
    pub letter: LetterId,
    /// SHA-256 of the file.
    pub digest: [u8; 32],
    /// Bytes of the message.
    pub size: u32,
    /// How it lies in its file.
    pub stored: Stored,
    /// INTERNALDATE.
    pub arrived: i64,
}

impl Arrival {
    /// Whether its mailbox has room for it now that its real length is known. Who reserved for the message alone may go
    /// beyond the quota by what sealing adds to it, once.
    #[must_use]
    pub fn fits(&self, mailbox: &Mailbox) -> bool {
        let after = mailbox.used().saturating_add(self.letter(0, 0, 0).charge());
        after <= mailbox.profile().quota.saturating_add(limits::BEYOND_QUOTA)
    }

    const fn letter(&self, uid: u32, flags: u8, keywords: u64) -> Letter {
        Letter {
            keywords,
            modseq: 0,
            arrived: self.arrived,
            letter: self.letter,
            digest: self.digest,
            uid,
            size: self.size,
            stored: self.stored,
            flags,
        }
    }
}

/// Puts arrivals into inboxes and junk folders. One whose mailbox is gone or takes no more is left out.
#[must_use]
pub fn arrivals(index: &Index, letters: &[(Arrival, edges::Into)]) -> Vec<Placed> {
    let mut next: Vec<((MailboxId, FolderId), u32)> = Vec::new();
    let mut placed = Vec::with_capacity(letters.len());
    for (arrival, into) in letters {
        let Some(mailbox) = index.mailbox(arrival.mailbox).filter(|mailbox| mailbox.takes(1)) else { continue };
        let junk = matches!(into, edges::Into::Junk).then(|| mailbox.used_for(SpecialUse::Junk)).flatten();
        let Some(folder) = junk.or_else(|| mailbox.named("INBOX")) else { continue };
        let place = (arrival.mailbox, folder.head.id);
        let at = next.iter().position(|(known, _)| *known == place).unwrap_or_else(|| {
            next.push((place, folder.head.uid_next));
            next.len() - 1
        });
        placed.push(Placed { mailbox: place.0, folder: place.1, letter: arrival.letter(next[at].1, 0, 0) });
        next[at].1 = next[at].1.saturating_add(1);
    }
    placed
}

/// APPEND: the entry for a letter that lies on disk; the new keywords' records come with it.
///
/// # Errors
/// No such folder, too many keywords, too many letters.
pub fn append_place(mailbox: &Mailbox, arrival: &Arrival, folder: &str, flags: u8, words: &[String]) -> Plan {
    let folder = existing(mailbox, folder)?;
    if !mailbox.takes(1) || !arrival.fits(mailbox) {
        return Err(Refusal::OverQuota);
    }
    let (bits, mut entry) = keywords(arrival.mailbox, mailbox, words)?;
    let letter = arrival.letter(folder.head.uid_next, flags & ALL_FLAGS, bits);
    let placed = Placed { mailbox: arrival.mailbox, folder: folder.head.id, letter };
    entry.push(Record::Delivered { transaction: None, at: arrival.arrived, letters: vec![placed] });
    Ok(entry)
}

/// The bits of some keywords, with records that add those not yet in the table.
///
/// # Errors
/// The table is full, or what is given is no keyword.
pub fn keywords(id: MailboxId, mailbox: &Mailbox, words: &[String]) -> Result<(u64, Vec<Record>), Refusal> {
    let mut added: Vec<&String> = Vec::new();
    let mut bits = 0;
    for word in words {
        if word.is_empty() || word.len() > limits::KEYWORD {
            return Err(Refusal::Limit);
        }
        // RFC 9051 §2.3.2: keywords are compared without regard to case.
        let same = |known: &&String| known.eq_ignore_ascii_case(word);
        let known = mailbox.keywords().iter().chain(added.iter().copied()).position(|known| same(&known));
        let bit = known.unwrap_or_else(|| {
            added.push(word);
            mailbox.keywords().len() + added.len() - 1
        });
        if bit >= limits::KEYWORDS {
            return Err(Refusal::Limit);
        }
        bits |= 1 << bit;
    }
    let records = added.into_iter().map(|name| Record::Keyword { mailbox: id, name: name.clone() }).collect();
    Ok((bits, records))
}

/// STORE.
///
/// # Errors
/// No such folder, too many keywords.
pub fn store(
    id: MailboxId,
    mailbox: &Mailbox,
    folder: FolderId,
    set: UidSet,
    (change, flags, words): (Change, u8, &[String]),
) -> Plan {
    if !uids::sound(&set) {
        return Err(Refusal::Limit);
    }
    mailbox.folder(folder).ok_or(Refusal::NoSuchFolder)?;
    let (keywords, mut entry) = if matches!(change, Change::Remove) {
        // A keyword that is not in the table need not be added to be removed.
        let known: Vec<String> =
            words.iter().filter(|w| mailbox.keywords().iter().any(|k| k.eq_ignore_ascii_case(w))).cloned().collect();
        keywords(id, mailbox, &known)?
    } else {
        keywords(id, mailbox, words)?
    };
    entry.push(Record::Flags { mailbox: id, folder, uids: set, change, flags: flags & ALL_FLAGS, keywords });
    Ok(entry)
}

/// EXPUNGE, UID EXPUNGE (RFC 4315 §2.1): an empty entry when there is nothing to do.
///
/// # Errors
/// No such folder.
pub fn expunge(id: MailboxId, mailbox: &Mailbox, folder: FolderId, set: Option<&UidSet>) -> Plan {
    if set.is_some_and(|set| !uids::sound(set)) {
        return Err(Refusal::Limit);
    }
    let found = mailbox.folder(folder).ok_or(Refusal::NoSuchFolder)?;
    let gone = found.uids(set, |letter| letter.flags & flag::DELETED != 0);
    let some = gone.chunks(limits::RANGES);
    Ok(some.map(|uids| Record::Expunged { mailbox: id, folder, uids: uids.to_vec() }).collect())
}

/// What COPY or MOVE will do.
#[derive(Debug)]
pub struct Copy {
    /// To commit; empty when no letter is in the set.
    pub entry: crate::journal::record::Entry,
    /// RFC 4315 COPYUID.
    pub uid_validity: u32,
    /// Letters there are; empty also when they lie in too many ranges to tell.
    pub from: UidSet,
    /// And their new UIDs.
    pub to: UidSet,
    /// Bytes of the quota the mailbox grows by.
    pub bytes: u64,
}

/// COPY or MOVE (RFC 6851).
///
/// # Errors
/// No such folder, too many at once, too many letters.
pub fn copy(
    id: MailboxId,
    mailbox: &Mailbox,
    folder: FolderId,
    set: &UidSet,
    (to, and_remove): (&str, bool),
) -> Result<Copy, Refusal> {
    if !uids::sound(set) {
        return Err(Refusal::Limit);
    }
    let source = mailbox.folder(folder).ok_or(Refusal::NoSuchFolder)?;
    let target = existing(mailbox, to)?;
    let from = source.uids(Some(set), |_| true);
    let (count, bytes) =
        source.select(&from).fold((0_u32, 0), |(count, bytes), letter| (count + 1, bytes + letter.charge()));
    let uid_validity = target.head.uid_validity;
    let first = target.head.uid_next;
    if count == 0 {
        return Ok(Copy { entry: Vec::new(), uid_validity, from, to: UidSet::new(), bytes: 0 });
    }
    let last = first.checked_add(count - 1).ok_or(Refusal::Limit)?;
    if from.len() > limits::COPIED_RANGES || count as usize > limits::COPIED_LETTERS {
        return Err(Refusal::Limit);
    }
    if !and_remove && !mailbox.takes(count) {
        return Err(Refusal::OverQuota);
    }
    // One record, however many gaps: all or nothing. Only the answer must fit a packet.
    let told = from.len() <= limits::RANGES;
    let entry = vec![Record::Copied { mailbox: id, folder, uids: from.clone(), to: target.head.id, first, and_remove }];
    let bytes = if and_remove { 0 } else { bytes };
    let (from, to) = if told { (from, vec![(first, last)]) } else { (UidSet::new(), UidSet::new()) };
    Ok(Copy { entry, uid_validity, from, to, bytes })
}
