//! `postern spool check [--repair]`: everything on disk against everything the journal says.

mod journal;

use std::collections::HashMap;
use std::io;
use std::time::{Duration, SystemTime};

use crate::commit::With;
use crate::edges::admin::{Fate, Finding};
use crate::journal::record::Record;
use crate::keeper::admin::audit_digest;
use crate::keeper::house::House;
use crate::keeper::{Manner, quietly, sweep};
use crate::letter::{self, Frame};
use crate::names::{LetterId, MailboxId};
use crate::{audit, slots, store};

/// A letter without a record may be one that is just being delivered; older ones are not.
const UNDER_WAY: Duration = Duration::from_secs(600);
/// Findings of one run; more add nothing.
const MOST: usize = 10_000;

/// A run.
struct Check<'a> {
    house: &'a House,
    repair: bool,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn tell(&mut self, place: String, what: impl Into<String>, fate: Fate) {
        let what = what.into();
        // A start may have found the same.
        if self.findings.iter().any(|known| known.place == place && known.what == what) {
            return;
        }
        tracing::warn!(place, what, ?fate, "spool check");
        if self.findings.len() < MOST {
            self.findings.push(Finding { place, what, fate });
        }
    }

    /// Whether nothing on the disk may be changed, and the start has changed nothing either.
    fn only_looks(&self) -> bool {
        self.house.manner.only_reads()
    }

    fn letter_place(id: MailboxId, letter: LetterId) -> String {
        format!("letters/{id}/{:02x}/{letter}", letter.shard())
    }

    fn slots(&mut self, id: MailboxId) {
        let folder = store::mailbox_path(&self.house.root, id);
        match slots::load(&folder, id) {
            Ok(mut loaded) => {
                let faults = loaded.faults.clone();
                let mended = self.repair && !faults.is_empty() && loaded.repair(&self.house.disk, &folder).is_ok();
                for (copy, what) in faults {
                    self.tell(format!("mailboxes/{id}/{copy}"), what, mended_or_open(mended));
                }
                let core = self.house.committer.lock();
                let newest = core.index.mailbox(id).map(|mailbox| mailbox.profile().revision);
                drop(core);
                if newest.is_some_and(|newest| loaded.slots.revision() < newest) {
                    let what = "older than the journal knows, as from a backup: devices may be missing, and letters of keys made since cannot \
                        be opened; put the newest copy back, and make no new key before";
                    self.tell(format!("mailboxes/{id}/slots"), what, Fate::Open);
                }
                self.house.set_slots(id, Some(loaded.slots));
            }
            Err(error) => self.tell(format!("mailboxes/{id}/slots"), error.to_string(), Fate::Open),
        }
        let known = self.house.committer.lock().index.mailbox(id).and_then(|mailbox| mailbox.profile().audit);
        match audit::load(&folder) {
            Ok(lines) => {
                if let Err(error) = audit::check(id, lines.iter().map(String::as_str)) {
                    self.tell(format!("mailboxes/{id}/audit"), error.to_string(), Fate::Open);
                } else if known.is_some_and(|known| !lines.iter().any(|line| audit_digest(line) == known)) {
                    // Lines behind that one are of changes that did not come to their end.
                    self.tell(
                        format!("mailboxes/{id}/audit"),
                        "the last line the journal knows is missing",
                        Fate::Open,
                    );
                }
            }
            Err(error) => self.tell(format!("mailboxes/{id}/audit"), error.to_string(), Fate::Open),
        }
    }

    fn letters(&mut self, id: MailboxId, tick: &mut impl FnMut()) -> io::Result<()> {
        let known: HashMap<LetterId, [u8; 32]> = {
            let core = self.house.committer.lock();
            let folders = core.index.mailbox(id).into_iter().flat_map(crate::index::Mailbox::folders);
            folders.flat_map(|folder| folder.letters()).map(|letter| (letter.letter, letter.digest)).collect()
        };
        let mut astray: Vec<(LetterId, LetterId)> = Vec::new();
        let mut bad: Vec<(LetterId, &'static str)> = Vec::new();
        for (letter, digest) in &known {
            tick();
            let path = store::letter_path(&self.house.root, id, *letter);
            // To open a pipe would be to wait for somebody at its other end.
            if path.symlink_metadata().is_ok_and(|there| !there.is_file()) {
                let what = "something else lies where its file belongs; move that out of the spool, and check again";
                self.tell(Self::letter_place(id, *letter), what, Fate::Open);
                continue;
            }
            let file = match std::fs::File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    bad.push((*letter, "the file is missing"));
                    continue;
                }
                Err(error) => {
                    self.tell(Self::letter_place(id, *letter), error.to_string(), Fate::Open);
                    continue;
                }
            };
            let real = letter::digest(&file)?;
            if real == *digest {
                continue;
            }
            if sweep::is_newer(&path)? {
                self.tell(Self::letter_place(id, *letter), sweep::KEPT_BY_NEWER, Fate::Open);
                continue;
            }
            match named(&file)?.filter(|named| named != letter && known.get(named) == Some(&real)) {
                Some(other) => astray.push((*letter, other)),
                None => bad.push((*letter, "the file is damaged")),
            }
        }
        self.put_back(id, &astray)?;
        self.lost(id, bad)?;
        self.strangers(id)
    }

    /// Letters that lie under one another's names go back to their own.
    fn put_back(&mut self, id: MailboxId, astray: &[(LetterId, LetterId)]) -> io::Result<()> {
        let root = &self.house.root;
        let beside = |letter: &LetterId| sweep::astray_path(root, *letter);
        if self.repair {
            for (lies, is) in astray {
                self.house.disk.rename(&store::letter_path(root, id, *lies), &beside(is))?;
            }
        }
        for (lies, is) in astray {
            let mut mended = false;
            if self.repair {
                mended = self.house.disk.rename_new(&beside(is), &store::letter_path(root, id, *is)).is_ok();
                self.house.disk.sync_folder(&store::shard_path(root, id, is.shard()))?;
            }
            self.tell(
                Self::letter_place(id, *lies),
                format!("another letter, {is}, lies in its place"),
                mended_or_open(mended),
            );
        }
        Ok(())
    }

    /// Repaired, a letter that is lost is in no folder any more; its remains are set aside.
    fn lost(&mut self, id: MailboxId, bad: Vec<(LetterId, &'static str)>) -> io::Result<()> {
        // Expunged while we looked?
        let still: Vec<_> = {
            let core = self.house.committer.lock();
            let folders = core.index.mailbox(id).into_iter().flat_map(crate::index::Mailbox::folders);
            let held: std::collections::HashSet<LetterId> =
                folders.flat_map(|folder| folder.letters()).map(|letter| letter.letter).collect();
            bad.into_iter().filter(|(letter, _)| held.contains(letter)).collect()
        };
        // One that was swapped with a letter that is put back now is not missing.
        let still: Vec<_> = still
            .into_iter()
            .filter(|(letter, what)| {
                *what != "the file is missing" || !store::letter_path(&self.house.root, id, *letter).exists()
            })
            .collect();
        let mut fates = vec![Fate::Open; still.len()];
        if self.repair && !still.is_empty() {
            for ((letter, _), fate) in still.iter().zip(&mut fates) {
                *fate = Fate::Gone;
                if store::letter_path(&self.house.root, id, *letter).exists() {
                    sweep::set_aside(&self.house.root, id, *letter)?;
                    *fate = Fate::SetAside(sweep::aside(id, *letter));
                }
            }
            let letters = still.iter().map(|(letter, _)| *letter).collect();
            let mut core = self.house.committer.lock();
            let entry = vec![Record::Missing { mailbox: id, letters }];
            let taken = self.house.committer.take(&mut core, entry, &With { letters: &[], frees: true });
            drop(core);
            if !taken.is_ok_and(|number| self.house.committer.wait(number)) {
                return Err(io::Error::other("the journal cannot be written"));
            }
        }
        for ((letter, what), fate) in still.into_iter().zip(fates) {
            self.tell(Self::letter_place(id, letter), what, fate);
        }
        Ok(())
    }

    fn strangers(&mut self, id: MailboxId) -> io::Result<()> {
        // The listing first: a letter that gets its record meanwhile is then no stranger.
        let listed = sweep::letters_on_disk(&self.house.root, id)?;
        let known = sweep::held_set(&self.house.committer.lock().index, id);
        for letter in listed.into_iter().filter(|letter| !known.contains(letter)) {
            if self.only_looks() {
                // What a crash leaves is set aside by the next start, as always.
                if self.house.damaged {
                    let what = "its record was lost with the damaged part of the journal; the next start of the box \
                                puts it into the folder Recovered";
                    self.tell(Self::letter_place(id, letter), what, Fate::Open);
                }
                continue;
            }
            let Ok(facts) = std::fs::metadata(store::letter_path(&self.house.root, id, letter)) else { continue };
            let age = SystemTime::now().duration_since(facts.modified()?).unwrap_or_default();
            if age < UNDER_WAY {
                continue;
            }
            let aside = self.repair && sweep::set_aside(&self.house.root, id, letter).is_ok();
            let fate = if aside { Fate::SetAside(sweep::aside(id, letter)) } else { Fate::Open };
            self.tell(Self::letter_place(id, letter), "a letter without a record; never acknowledged", fate);
        }
        Ok(())
    }

    /// What waits to leave. A letter that is lost stays in the queue until the admin drops it: its sender must hear.
    fn outgoing(&mut self) -> io::Result<()> {
        let known: Vec<(LetterId, [u8; 32])> = {
            let core = self.house.committer.lock();
            core.index.waiting().all().map(|(letter, outgoing)| (letter, outgoing.digest)).collect()
        };
        for (letter, digest) in known {
            let what = match std::fs::File::open(store::outgoing_path(&self.house.root, letter)) {
                Ok(file) if letter::digest(&file)? == digest => continue,
                Ok(_) => "a letter that is to leave is damaged".to_owned(),
                Err(error) => format!("a letter that is to leave cannot be opened: {error}"),
            };
            // Gone while we looked?
            if self.house.committer.lock().index.waiting().get(letter).is_some() {
                self.tell(
                    format!("outgoing/{letter}"),
                    format!("{what}; tell its sender, then `postern queue drop {letter}`"),
                    Fate::Open,
                );
            }
        }
        Ok(())
    }

    fn unknown(&mut self) -> io::Result<()> {
        let known: std::collections::HashSet<MailboxId> = self.house.committer.lock().index.ids().into_iter().collect();
        let root = &self.house.root;
        let (with_slots, with_letters) = (ids_in(&root.join("mailboxes"))?, ids_in(&root.join("letters"))?);
        for id in with_slots.iter().filter(|id| !known.contains(id)) {
            let what = "of a mailbox the journal does not know; see `postern recover`";
            self.tell(format!("mailboxes/{id}"), what, Fate::Open);
        }
        for id in with_letters.into_iter().filter(|id| !known.contains(id) && !with_slots.contains(id)) {
            // An empty folder is what a mailbox leaves that was never made whole.
            if !sweep::letters_on_disk(&self.house.root, id)?.is_empty() {
                let what = "letters of a mailbox that is gone, with all keys that open them; they can be deleted";
                self.tell(format!("letters/{id}"), what, Fate::Open);
            }
        }
        Ok(())
    }
}

const fn mended_or_open(mended: bool) -> Fate {
    if mended { Fate::Mended } else { Fate::Open }
}

/// The mailboxes that have a folder there.
fn ids_in(folder: &std::path::Path) -> io::Result<Vec<MailboxId>> {
    let names = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name()));
    let names = names.collect::<io::Result<Vec<_>>>()?;
    Ok(names.into_iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
}

/// The letter a file says it is.
fn named(file: &std::fs::File) -> io::Result<Option<LetterId>> {
    use std::os::unix::fs::FileExt;
    let mut frame = [0; Frame::BYTES];
    match file.read_exact_at(&mut frame, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        other => other.map(|()| Frame::decode(&frame).ok().map(|frame| frame.letter)),
    }
}

/// Checks everything, in the calling thread, while the keeper serves; `progress` hears of letters looked at,
/// and of how many there are. The findings and the number of letters.
///
/// # Errors
/// The disk's: then what could not be read is not known to be whole.
pub fn run(house: &House, repair: bool, progress: impl FnMut(u64, u64)) -> io::Result<(Vec<Finding>, u64)> {
    match house.manner {
        Manner::Serve => all(house, repair, progress),
        Manner::Repair | Manner::Look | Manner::Read => quietly(|| all(house, repair, progress)),
    }
}

fn all(house: &House, repair: bool, mut progress: impl FnMut(u64, u64)) -> io::Result<(Vec<Finding>, u64)> {
    let mut check = Check { house, repair, findings: Vec::new() };
    check.journal()?;
    let (ids, of) = {
        let core = house.committer.lock();
        (core.index.ids(), core.index.letters())
    };
    let mut done = 0;
    for id in ids {
        check.slots(id);
        check.letters(id, &mut || {
            done += 1;
            house.gets_on();
            if done % 200 == 0 {
                progress(done, of);
            }
        })?;
    }
    check.outgoing()?;
    check.unknown()?;
    if repair {
        house.acknowledged()?;
    }
    Ok((check.findings, done))
}
