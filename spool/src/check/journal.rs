//! The journal, entry by entry, and that each segment goes on where the one before it ended.

use std::io;
use std::path::Path;

use crate::edges::admin::{Fate, Finding};
use crate::journal::files::{self, checkpoint_path, segment_path};
use crate::journal::record::{self, Entry, Record};
use crate::journal::segment::{Kind, Reader, Step, TAG};
use crate::keeper::house::House;

use super::Check;

impl Check<'_> {
    /// Every segment and checkpoint; the segment being written as far as it is durable.
    pub(super) fn journal(&mut self) -> io::Result<()> {
        let dir = self.house.root.join("journal");
        self.findings.extend(self.house.found());
        let listing = files::list_only(&dir)?;
        let mut link = None;
        for number in listing.segments {
            self.segment(&segment_path(&dir, number), number, &mut link)?;
        }
        for number in listing.checkpoints {
            self.checkpoint(&checkpoint_path(&dir, number), number)?;
        }
        let wrong =
            |found: &Finding| found.place.starts_with("journal") && matches!(found.fate, Fate::Open | Fate::Mended);
        if self.repair && self.findings.iter().any(wrong) {
            // What is in memory was read before or written since: a checkpoint supersedes the damage.
            match self.house.committer.checkpoint(true) {
                Ok(()) => {
                    self.findings.iter_mut().filter(|found| wrong(found)).for_each(|found| found.fate = Fate::Mended)
                }
                Err(error) => self.tell("journal".to_owned(), format!("cannot be mended now: {error}"), Fate::Open),
            }
        }
        Ok(())
    }

    /// `link`: the last tag of the segment before, where it is known.
    fn segment(&mut self, path: &Path, number: u64, link: &mut Option<[u8; TAG]>) -> io::Result<()> {
        // Asked before the file is read: what is durable then stays.
        let (current, durable) = self.house.committer.durable_bytes();
        if number > current {
            return Ok(());
        }
        let Some(mut file) = read(path)? else {
            *link = None;
            return Ok(());
        };
        if number == current {
            file.truncate(usize::try_from(durable).unwrap_or(usize::MAX));
        }
        // One that was made and whose keeper ended before anything in it was durable: the chain goes past it.
        if file.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let Ok(mut reader) = Reader::new(self.house.committer.key(), &file, Kind::Log, number) else {
            *link = None;
            self.wrong(path, "its header is damaged".to_owned());
            return Ok(());
        };
        while let Some(step) = reader.next() {
            match step {
                Step::Entry(1.., _) => {}
                Step::Entry(0, plain) => {
                    let goes_on = begins_with(&plain).is_none_or(|previous| link.is_none() || previous == *link);
                    if !goes_on {
                        self.wrong(path, "the end of the segment before it is missing".to_owned());
                    }
                }
                Step::Torn { .. } if reader.is_empty() => return Ok(()),
                // Of a crash, unless what follows says otherwise; a start cuts it off.
                Step::Torn { .. } if self.only_looks() => {}
                Step::Damage { at, bytes } | Step::Torn { at, bytes } => {
                    self.wrong(path, format!("{bytes} damaged bytes at {at}"));
                }
            }
        }
        if !reader.is_empty() {
            *link = Some(reader.link());
        }
        Ok(())
    }

    fn checkpoint(&mut self, path: &Path, number: u64) -> io::Result<()> {
        let Some(file) = read(path)? else { return Ok(()) };
        if !whole(self.house, &file, number) {
            self.wrong(path, "damaged".to_owned());
        }
        Ok(())
    }

    fn wrong(&mut self, path: &Path, what: String) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.tell(format!("journal/{name}"), what, Fate::Open);
    }
}

/// `None`: superseded meanwhile by a checkpoint.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// What the first entry of a segment says of the one before it.
fn begins_with(plain: &[u8]) -> Option<Option<[u8; TAG]>> {
    match record::decode(plain).ok()?.first()? {
        Record::Begin { previous, .. } => Some(*previous),
        _ => None,
    }
}

fn whole(house: &House, file: &[u8], number: u64) -> bool {
    let Ok(reader) = Reader::new(house.committer.key(), file, Kind::Checkpoint, number) else { return false };
    let mut last = Entry::new();
    for step in reader {
        let Step::Entry(_, plain) = step else { return false };
        let Ok(entry) = record::decode(&plain) else { return false };
        last = entry;
    }
    last.contains(&Record::End)
}
