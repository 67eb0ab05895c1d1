//! The keeper's side of getting mailboxes back: after a damaged journal, and for `postern recover`.

use std::collections::HashSet;
use std::io;

use crate::commit::With;
use crate::edges::admin::{Fate, RecoveredLetter};
use crate::index::Mailbox;
use crate::index::mailbox::RECOVERED;
use crate::index::plan::{self, next_validity};
use crate::journal::record::{Device, Letter, Placed, Profile, Record, Stored};
use crate::keeper::house::{House, now};
use crate::keeper::{suspension, sweep};
use crate::letter::Frame;
use crate::names::{FolderId, LetterId, MailboxId, SlotId};
use crate::recovering::{self, Recovering};
use crate::{letter, store};

/// Letters of one entry.
const AT_ONCE: usize = 2_000;

/// Puts the spool in order after a start: letters without a record are set aside, or, when entries were
/// lost or a recovery was interrupted, given to their owners. What cannot be done is told, and waits for
/// the next start: it must not keep everybody's mail from being served.
pub fn after_start(house: &House) {
    let damaged = house.damaged;
    let ids = house.committer.lock().index.ids();
    let mut mended = true;
    for id in ids {
        if let Err(error) = settle(house, id, damaged) {
            told(house, format!("letters/{id}"), format!("could not be put in order: {error}"));
            mended &= !damaged || keep_for_next_start(house, id);
        }
    }
    if damaged && !mended {
        house.committer.hold_checkpoints();
    } else if damaged {
        match house.committer.checkpoint(true) {
            Ok(()) => {
                house.journal_settled();
                let what = "it was damaged. What changed in its damaged part (flags, moves, deletions) may be undone; \
                            mail apps fetch their folders anew. The damaged files are kept beside it, as *.damaged";
                note(house, "journal".to_owned(), what.to_owned());
            }
            Err(error) => told(house, "journal".to_owned(), format!("no checkpoint after the damage: {error}")),
        }
    }
    if let Err(error) = sweep::forget_old(&house.root) {
        tracing::error!(%error, "what was set aside long ago is not all removed");
    }
}

fn told(house: &House, place: String, what: String) {
    tracing::error!(place, what, "at the start");
    house.tell(place, what, Fate::Open);
}

/// Done, and to be told until somebody acknowledges it.
fn note(house: &House, place: String, what: String) {
    tracing::error!(place, "{what}");
    house.tell(place, what, Fate::Known);
}

fn settle(house: &House, id: MailboxId, damaged: bool) -> io::Result<()> {
    let mark = Recovering::read(&house.root, id)?;
    let owners = matches!(mark, Some(Recovering::Letters | Recovering::Mending));
    let settled = match (damaged, owners) {
        (true, _) => mend(house, id),
        (false, true) => file_found(house, id).map(drop),
        (false, false) => set_strangers_aside(house, id),
    };
    if settled.is_err() && mark == Some(Recovering::Letters) {
        // As while `recover` is at it: no new mail, so that what it finds without a record is the owner's.
        house.set_slots(id, None);
    }
    settled?;
    match mark {
        Some(Recovering::Letters) => Recovering::Ending.write(&house.disk, &house.root, id),
        Some(Recovering::Mending) => recovering::end(&house.disk, &house.root, id),
        Some(Recovering::Ending) | None => Ok(()),
    }
}

/// Marks a mailbox that could not be mended; whether a checkpoint may go past the damage.
fn keep_for_next_start(house: &House, id: MailboxId) -> bool {
    match Recovering::read(&house.root, id) {
        Ok(Some(Recovering::Letters | Recovering::Mending)) => true,
        Ok(mark) => {
            // `recover` may go on with it as before.
            let mark = mark.map_or(Recovering::Mending, |_| Recovering::Letters);
            mark.write(&house.disk, &house.root, id).is_ok()
        }
        Err(_) => false,
    }
}

fn set_strangers_aside(house: &House, id: MailboxId) -> io::Result<()> {
    let strangers = sweep::unrecorded(&house.root, &house.committer.lock().index, id)?;
    strangers.into_iter().for_each(|letter| set_aside(house, id, letter));
    Ok(())
}

/// One letter that cannot be moved stays where it is, not shown.
fn set_aside(house: &House, id: MailboxId, letter: LetterId) {
    if let Err(error) = sweep::set_aside(&house.root, id, letter) {
        let place = format!("letters/{id}/{:02x}/{letter}", letter.shard());
        told(house, place, format!("a letter without a record cannot be set aside: {error}"));
    }
}

/// After damage: letters that are gone leave the folders, letters without a record come into
/// "Recovered", and no client trusts the UIDs it knew.
fn mend(house: &House, id: MailboxId) -> io::Result<()> {
    let missing = sweep::missing(&house.root, &house.committer.lock().index, id)?;
    let gone = missing.len();
    let mut entry = Vec::new();
    {
        let core = house.committer.lock();
        let Some(mailbox) = core.index.mailbox(id) else { return Ok(()) };
        entry.push(Record::Revalidated { mailbox: id, uid_validity: next_validity(mailbox, now()) });
    }
    entry.push(Record::Missing { mailbox: id, letters: missing });
    take(house, entry)?;
    if gone > 0 {
        let what =
            format!("the journal was damaged; {gone} letters it listed for this mailbox are not on the disk any more");
        note(house, format!("letters/{id}"), what);
    }
    let found = file_found(house, id)?;
    if found > 0 {
        let what = format!(
            "the journal was damaged; {found} letters of this mailbox could not be placed and are in its folder Recovered"
        );
        note(house, format!("letters/{id}"), what);
    }
    Ok(())
}

/// Files all letters without a record; how many.
fn file_found(house: &House, id: MailboxId) -> io::Result<usize> {
    let found = sweep::unrecorded(&house.root, &house.committer.lock().index, id)?;
    file(house, id, &found.iter().map(|letter| RecoveredLetter { letter: *letter, size: 0 }).collect::<Vec<_>>())?;
    Ok(found.len())
}

/// Files letters that lie on disk into "Recovered"; a size of 0 is taken from the letter's frame. What
/// is no letter of this mailbox, or cannot be read, is set aside.
fn file(house: &House, id: MailboxId, letters: &[RecoveredLetter]) -> io::Result<()> {
    for some in letters.chunks(AT_ONCE) {
        let folder = recovered_folder(house, id)?;
        let mut placed = Vec::with_capacity(some.len());
        for known in some {
            house.gets_on();
            match facts(house, id, known) {
                Ok(Some(letter)) => placed.push(Placed { mailbox: id, folder, letter }),
                Ok(None) => set_aside(house, id, known.letter),
                Err(error) => {
                    told(house, format!("letters/{id}/{}", known.letter), format!("cannot be read: {error}"));
                    set_aside(house, id, known.letter);
                }
            }
        }
        number(house, id, folder, &mut placed);
        take(house, vec![Record::Delivered { transaction: None, at: now(), letters: placed }])?;
    }
    Ok(())
}

fn number(house: &House, id: MailboxId, folder: FolderId, placed: &mut [Placed]) {
    let core = house.committer.lock();
    let next = core.index.mailbox(id).and_then(|mailbox| mailbox.folder(folder)).map_or(1, |f| f.shown().uid_next);
    for (uid, placed) in (next..).zip(placed) {
        placed.letter.uid = uid;
    }
}

fn recovered_folder(house: &House, id: MailboxId) -> io::Result<FolderId> {
    let entry = {
        let core = house.committer.lock();
        let mailbox = core.index.mailbox(id).ok_or_else(|| io::Error::other("mailbox is gone"))?;
        match mailbox.named(RECOVERED) {
            Some(folder) => return Ok(folder.shown().id),
            None => plan::create(id, mailbox, RECOVERED, None, now()),
        }
    };
    let mut entry = entry.map_err(|_| io::Error::other("no folder for what was recovered"))?;
    entry.push(Record::Subscribed { mailbox: id, name: RECOVERED.to_owned(), on: true });
    take(house, entry)?;
    let core = house.committer.lock();
    let made = core.index.mailbox(id).and_then(|mailbox| mailbox.named(RECOVERED)).map(|folder| folder.shown().id);
    made.ok_or_else(|| io::Error::other("no folder for what was recovered"))
}

/// What the journal should say of a letter; `None` when the file is not that letter.
fn facts(house: &House, id: MailboxId, known: &RecoveredLetter) -> io::Result<Option<Letter>> {
    let path = store::letter_path(&house.root, id, known.letter);
    let Some(frame) = frame_of(&path, id, known.letter)? else { return Ok(None) };
    let file = std::fs::File::open(&path)?;
    let (digest, length) = (letter::digest(&file)?, file.metadata()?.len());
    // A letter has its name before its bytes are on the disk: a power cut may have left a part of one.
    if length < u64::from(frame.size) + Frame::BYTES as u64 {
        return Ok(None);
    }
    let size = if known.size == 0 { frame.size } else { known.size };
    Ok(Some(Letter {
        keywords: 0,
        modseq: 0,
        arrived: frame.arrived,
        letter: known.letter,
        digest,
        uid: 0,
        size,
        stored: Stored::new(frame.generation, size, length),
        flags: 0,
    }))
}

/// A letter file's frame, if it is that letter's.
///
/// # Errors
/// The disk's.
pub fn frame_of(path: &std::path::Path, id: MailboxId, letter: LetterId) -> io::Result<Option<Frame>> {
    use std::io::Read;
    let mut start = Vec::new();
    let most = (Frame::BYTES + crate::names::HEAD) as u64;
    std::fs::File::open(path)?.take(most).read_to_end(&mut start)?;
    Ok(is_it(&start, id, letter).then(|| Frame::decode(&start).ok()).flatten())
}

/// The frame of a letter file of any name, if it is whole.
///
/// # Errors
/// The disk's.
pub fn frame(path: &std::path::Path) -> io::Result<Option<Frame>> {
    use std::io::Read;
    let mut start = Vec::new();
    std::fs::File::open(path)?.take(Frame::BYTES as u64).read_to_end(&mut start)?;
    Ok(Frame::decode(&start).ok())
}

/// Whether a file that starts so is that letter.
#[must_use]
pub fn is_it(start: &[u8], mailbox: MailboxId, letter: LetterId) -> bool {
    let framed = Frame::decode(start).is_ok_and(|frame| frame.mailbox == mailbox && frame.letter == letter);
    framed && start.get(Frame::BYTES..).is_some_and(|head| letter.names(head))
}

fn take(house: &House, entry: Vec<Record>) -> io::Result<()> {
    let mut core = house.committer.lock();
    let taken = house.committer.take(&mut core, entry, &With { letters: &[], frees: true });
    drop(core);
    match taken {
        Ok(number) if house.committer.wait(number) => Ok(()),
        Ok(_) | Err(crate::commit::NotTaken::Failed | crate::commit::NotTaken::OnlyReads) => {
            Err(io::Error::other("the journal cannot be written"))
        }
        Err(crate::commit::NotTaken::Full) => Err(io::ErrorKind::StorageFull.into()),
    }
}

/// A mailbox as `postern recover` has opened it.
#[derive(Debug)]
pub struct Recovered {
    /// Its id.
    pub mailbox: MailboxId,
    /// Its own address, then aliases.
    pub addresses: Vec<String>,
    /// Its name.
    pub display_name: String,
    /// Bytes allowed.
    pub quota: u64,
    /// Names of its devices.
    pub device_names: Vec<(SlotId, String)>,
    /// The letters that could be opened.
    pub letters: Vec<RecoveredLetter>,
}

/// Puts a mailbox back, or goes on where that was interrupted. Until it is done the mailbox takes no mail.
///
/// # Errors
/// In words, for the admin; then it can be asked again.
pub fn put_back(house: &House, recovered: Recovered) -> Result<(), String> {
    let id = recovered.mailbox;
    let words = |error: io::Error| error.to_string();
    let loaded = crate::slots::load(&store::mailbox_path(&house.root, id), id).map_err(|error| error.to_string())?;
    let mark = Recovering::read(&house.root, id).map_err(words)?;
    let there = house.committer.lock().index.mailbox(id).is_some();
    match mark {
        // A start has given every letter back.
        Some(Recovering::Ending) if there => {}
        Some(Recovering::Letters) if there => go_on(house, recovered).map_err(words)?,
        _ if there => return Err("this mailbox is there already".to_owned()),
        _ => {
            let entry = entry(house, &recovered, loaded.slots.revision())?;
            Recovering::Letters.write(&house.disk, &house.root, id).map_err(words)?;
            take(house, entry).map_err(words)?;
            go_on(house, recovered).map_err(words)?;
        }
    }
    recovering::end(&house.disk, &house.root, id).map_err(words)?;
    house.set_slots(id, Some(loaded.slots));
    house.look_for_missing();
    Ok(())
}

/// Files what has no record yet.
fn go_on(house: &House, mut recovered: Recovered) -> io::Result<()> {
    let held = sweep::held_set(&house.committer.lock().index, recovered.mailbox);
    recovered.letters.retain(|known| !held.contains(&known.letter));
    file(house, recovered.mailbox, &recovered.letters)
}

fn entry(house: &House, recovered: &Recovered, revision: u64) -> Result<Vec<Record>, String> {
    let core = house.committer.lock();
    let id = recovered.mailbox;
    let mut addresses = recovered.addresses.iter().filter_map(|address| crate::index::normal_address(address));
    let address = addresses.next().ok_or("the mailbox has no address")?;
    if core.index.taken(&address) {
        return Err(format!(
            "{address} belongs to another mailbox now, made since: `postern mailbox remove {address}`, when nothing in it is \
             wanted, and then once more"
        ));
    }
    let devices = recovered.device_names.iter().map(|(slot, name)| Device {
        slot: *slot,
        name: name.clone(),
        added: now(),
        last_login: 0,
    });
    let audit = crate::keeper::admin::last_audit(house, id);
    let profile = Profile {
        address,
        display_name: recovered.display_name.clone(),
        quota: recovered.quota,
        suspended: suspension::is_marked(&house.root, id),
        revision,
        devices: devices.collect(),
        made: core.index.next_made(),
        audit,
    };
    // Greater than any that the lost journal has given out, as long as the clock does not go back.
    let uid_validity = next_validity(&Mailbox::new(profile.clone()), now());
    let mut entry = vec![Record::MailboxAdded { mailbox: id, profile, uid_validity }];
    let mut seen = HashSet::new();
    for alias in addresses.filter(|alias| seen.insert(alias.clone())) {
        if core.index.owner(&alias).is_none() {
            entry.push(Record::AliasAdded { alias, target: id });
        }
    }
    Ok(entry)
}

/// Mailboxes in `mailboxes/` that the journal does not know, or that were not given back to the end, with
/// their slots files.
#[must_use]
pub fn unknown(house: &House) -> Vec<(MailboxId, Vec<u8>)> {
    let known: HashSet<MailboxId> = house.committer.lock().index.ids().into_iter().collect();
    let Ok(folders) = std::fs::read_dir(house.root.join("mailboxes")) else { return Vec::new() };
    let ids = folders.flatten().filter_map(|folder| folder.file_name().to_str()?.parse::<MailboxId>().ok());
    let begun =
        |id: MailboxId| matches!(Recovering::read(&house.root, id), Ok(Some(Recovering::Letters | Recovering::Ending)));
    ids.filter(|id| !known.contains(id) || begun(*id))
        .filter_map(|id| {
            let loaded = crate::slots::load(&store::mailbox_path(&house.root, id), id);
            let slots = loaded.inspect_err(|error| tracing::warn!(mailbox = %id, %error, "slots file")).ok()?.slots;
            slots.encode().ok().map(|bytes| (id, bytes))
        })
        .collect()
}
