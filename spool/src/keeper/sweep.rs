//! What a start finds on disk besides what the journal knows.
//!
//! | where | what | then |
//! | --- | --- | --- |
//! | `incoming/` | half-written letters | removed: nobody was told they are kept |
//! | `incoming/astray-<letter>` | a letter that `spool check --repair` was putting back | put back |
//! | `letters/<known mailbox>/` | a letter without a record | moved to `set-aside/<mailbox>/` for 30 days, never shown; after damage to the journal, or while [`crate::recovering`] says so: put into "Recovered" |
//! | `letters/<unknown mailbox>/` | letters of a mailbox the journal does not know | left alone for `recover` |
//! | `outgoing/` | a letter without a record | moved to `set-aside/outgoing/` for 30 days |
//! | the index | a letter whose file is gone | only looked for after damage: taken out |

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::disk::Disk;
use crate::edges::admin::Fate;
use crate::index::Index;
use crate::letter::{Frame, LetterError};
use crate::names::{LetterId, MailboxId};
use crate::store;

/// See [`astray_path`].
const ASTRAY: &str = "astray-";
/// Days a letter without a record is kept.
const KEPT: Duration = Duration::from_secs(30 * 86_400);

/// What `spool check --repair` calls a letter in `incoming/` while two letters change places.
#[must_use]
pub fn astray_path(root: &Path, letter: LetterId) -> PathBuf {
    root.join("incoming").join(format!("{ASTRAY}{letter}"))
}

/// Empties `incoming/`. What cannot be removed takes room and does no harm.
pub fn incoming(disk: &Disk, root: &Path) {
    let folder = root.join("incoming");
    let files = std::fs::read_dir(&folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let files = files.unwrap_or_else(|error| {
        tracing::error!(folder = %folder.display(), %error, "not emptied");
        Vec::new()
    });
    for file in files {
        let astray = file.file_name().to_str().and_then(|name| name.strip_prefix(ASTRAY)?.parse().ok());
        let done = match astray {
            Some(letter) => back(disk, root, &file.path(), letter),
            None => std::fs::remove_file(file.path()),
        };
        if let Err(error) = done {
            tracing::error!(file = %file.path().display(), %error, "left in incoming/");
        }
    }
}

/// A repair was interrupted: the letter goes where its frame says.
fn back(disk: &Disk, root: &Path, file: &Path, letter: LetterId) -> io::Result<()> {
    let frame = crate::recover::frame(file)?.filter(|frame| frame.letter == letter);
    let frame = frame.ok_or_else(|| io::Error::other("not the letter it is called"))?;
    disk.rename_new(file, &store::letter_path(root, frame.mailbox, letter))?;
    disk.sync_folder(&store::shard_path(root, frame.mailbox, letter.shard()))
}

/// The letter files of a mailbox.
///
/// # Errors
/// The disk's; a mailbox without a folder has none.
pub fn letters_on_disk(root: &Path, mailbox: MailboxId) -> io::Result<Vec<LetterId>> {
    let mut found = Vec::new();
    let shards = match std::fs::read_dir(store::letters_path(root, mailbox)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        other => other?,
    };
    for shard in shards {
        let shard = shard?.path();
        if !shard.is_dir() {
            continue;
        }
        for letter in std::fs::read_dir(shard)? {
            let path = letter?.path();
            let letter = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            // In another's folder it is found by nobody.
            found.extend(letter.filter(|letter| store::letter_path(root, mailbox, *letter) == path));
        }
    }
    Ok(found)
}

/// Letters on disk that no folder of the mailbox holds.
///
/// # Errors
/// The disk's.
pub fn unrecorded(root: &Path, index: &Index, mailbox: MailboxId) -> io::Result<Vec<LetterId>> {
    let known = held_set(index, mailbox);
    Ok(letters_on_disk(root, mailbox)?.into_iter().filter(|letter| !known.contains(letter)).collect())
}

/// Letters a mailbox's folders hold whose files are gone.
///
/// # Errors
/// The disk's.
pub fn missing(root: &Path, index: &Index, mailbox: MailboxId) -> io::Result<Vec<LetterId>> {
    let there: HashSet<LetterId> = letters_on_disk(root, mailbox)?.into_iter().collect();
    let mut gone: Vec<_> = held(index, mailbox).filter(|letter| !there.contains(letter)).collect();
    gone.sort_unstable();
    gone.dedup();
    Ok(gone)
}

/// The letters a mailbox's folders hold.
#[must_use]
pub fn held_set(index: &Index, mailbox: MailboxId) -> HashSet<LetterId> {
    held(index, mailbox).collect()
}

fn held(index: &Index, mailbox: MailboxId) -> impl Iterator<Item = LetterId> {
    let folders = index.mailbox(mailbox).into_iter().flat_map(crate::index::Mailbox::folders);
    folders.flat_map(|folder| folder.letters()).map(|letter| letter.letter)
}

/// Compares `outgoing/` with what the journal says waits to leave.
///
/// # Errors
/// The disk's.
pub fn outgoing(house: &super::house::House) -> io::Result<()> {
    let mut known: HashSet<LetterId> = house.committer.lock().index.waiting().all().map(|(letter, _)| letter).collect();
    for entry in std::fs::read_dir(house.root.join(store::OUTGOING))? {
        let entry = entry?;
        let name = entry.file_name().to_str().and_then(|name| name.parse::<LetterId>().ok());
        let Some(letter) = name.filter(|letter| !known.remove(letter)) else { continue };
        let to = house.root.join(store::SET_ASIDE).join(store::OUTGOING);
        std::fs::create_dir_all(&to)?;
        std::fs::File::open(entry.path())?.set_modified(SystemTime::now())?;
        std::fs::rename(entry.path(), to.join(letter.to_string()))?;
        if house.damaged {
            tracing::error!(%letter, "nothing is known of a letter that was to leave: it was set aside for 30 days");
            let what = "the journal lost what was known of it: it will not leave; tell whoever wrote lately";
            house.tell(
                format!("outgoing/{letter}"),
                what.to_owned(),
                Fate::SetAside(format!("{}/{}/{letter}", store::SET_ASIDE, store::OUTGOING)),
            );
        } else {
            tracing::warn!(%letter, "a letter that was never acknowledged was set aside for 30 days");
        }
    }
    for letter in known {
        house.tell(format!("outgoing/{letter}"), "is gone: this letter will not leave".to_owned(), Fate::Open);
    }
    Ok(())
}

/// Where a letter is set aside, relative to the spool.
#[must_use]
pub fn aside(mailbox: MailboxId, letter: LetterId) -> String {
    format!("{}/{mailbox}/{letter}", store::SET_ASIDE)
}

/// Of a letter that is left where it lies.
pub const KEPT_BY_NEWER: &str = "kept by a newer Postern; it stays where it is, for that one";

/// Whether a letter's file was written by a newer program: then it is not for this one to say what is wrong with it.
///
/// # Errors
/// The disk's.
pub fn is_newer(file: &Path) -> io::Result<bool> {
    use std::io::Read;
    let mut start = Vec::new();
    std::fs::File::open(file)?.take(Frame::BYTES as u64).read_to_end(&mut start)?;
    Ok(matches!(Frame::decode(&start), Err(LetterError::Newer(_))))
}

/// Moves a letter that is in no folder out of the way; never one of a newer program's.
///
/// # Errors
/// The disk's; [`KEPT_BY_NEWER`].
pub fn set_aside(root: &Path, mailbox: MailboxId, letter: LetterId) -> io::Result<()> {
    let to = root.join(store::SET_ASIDE).join(mailbox.to_string());
    std::fs::create_dir_all(&to)?;
    let from = store::letter_path(root, mailbox, letter);
    if is_newer(&from)? {
        return Err(io::Error::other(KEPT_BY_NEWER));
    }
    // Its time is the time from which the 30 days count.
    std::fs::File::open(&from)?.set_modified(SystemTime::now())?;
    std::fs::rename(from, to.join(letter.to_string()))?;
    tracing::warn!(%mailbox, %letter, "a letter that is in no folder was set aside for 30 days");
    Ok(())
}

/// Removes what has been set aside for long enough.
///
/// # Errors
/// The disk's, the last one; the others were gone on with.
pub fn forget_old(root: &Path) -> io::Result<()> {
    let aside = match std::fs::read_dir(root.join(store::SET_ASIDE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let mut outcome = Ok(());
    for mailbox in aside {
        for letter in std::fs::read_dir(mailbox?.path())? {
            outcome = forget(&letter?.path()).and(outcome);
        }
    }
    outcome
}

fn forget(letter: &Path) -> io::Result<()> {
    let age = SystemTime::now().duration_since(std::fs::symlink_metadata(letter)?.modified()?).unwrap_or_default();
    if age > KEPT { std::fs::remove_file(letter) } else { Ok(()) }
}
