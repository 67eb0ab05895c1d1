//! From a folder to a spool that can be served: its lock, its format, its journal, and what a crash has left.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::commit::Committer;
use crate::disk::Disk;
use crate::edges::admin::Fate;
use crate::format::{self, Format, FormatError};
use crate::journal::open::{OpenError, Opened};
use crate::{journal, migrate, store};

use super::house::House;
use super::hub::Hub;
use super::{Keeper, Manner, Start, admin, making, only_reads, quietly, removal, suspension, sweep};

/// Why there is no keeper.
#[derive(Debug)]
pub enum StartError {
    /// The disk's, or the kernel's.
    Io(io::Error),
    /// The journal's.
    Journal(OpenError),
    /// The spool is not for this program.
    Format(FormatError),
    /// A link, or a file, where a folder of the spool belongs: its name.
    NotAFolder(&'static str),
    /// Something else where a file of the spool belongs: its name.
    NotAFile(&'static str),
}

impl StartError {
    /// Whether no further try of this program's can do better.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::NotAFolder(_)
                | Self::NotAFile(_)
                | Self::Journal(OpenError::Newer(_) | OpenError::Key)
                | Self::Format(FormatError::Newer { .. } | FormatError::Unreadable(_))
        )
    }
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => write!(
                f,
                "the spool's file system is read-only: no mail can be taken until it is writable again. `dmesg` \
                 says why it is; check that disk (`fsck`) and mount it writable"
            ),
            Self::Io(error) => write!(f, "spool: {error}"),
            Self::Journal(error) => error.fmt(f),
            Self::Format(error) => error.fmt(f),
            Self::NotAFolder(name) => write!(
                f,
                "spool/{name} is no folder. The mail server follows no links out of its spool: to keep mail on another \
                 disk, move the whole data folder there and name it with --data"
            ),
            Self::NotAFile(name) => write!(
                f,
                "spool/{name} is no file. Nothing of the mail server's is in it: move it out of the data folder, and \
                 start again"
            ),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<FormatError> for StartError {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl Keeper {
    /// Opens the spool in `root`: waits for the keeper before to end, reads the journal, puts in order
    /// what a crash has left. Where the disk takes no writes, it is opened to be read.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn open(root: &Path, disk: Disk, start: &Start) -> Result<Self, StartError> {
        match start.manner {
            Manner::Serve => match Self::open_to_serve(root, disk.clone(), start) {
                Err(error) if only_reads::may_be_read(&error) => only_reads::open(root, disk, start, error),
                opened => opened,
            },
            // Whoever asked is told all of it as an answer.
            Manner::Repair => quietly(|| Self::open_to_serve(root, disk, start)),
            Manner::Look | Manner::Read => quietly(|| Self::open_to_look(root, disk, start)),
        }
    }

    fn open_to_serve(root: &Path, disk: Disk, start: &Start) -> Result<Self, StartError> {
        let (lock, format) = begin(root, &disk)?;
        let opened = open_journal(root, &disk, start, format)?;
        // What was read is on the disk now, and what follows builds on it.
        only_reads::leave(start.left.as_deref(), None);
        let format = format::look(root)?;
        let keeper = Self::of(root, disk, start, opened, (lock, format))?;
        match put_in_order(&keeper.house) {
            Ok(()) => Ok(keeper),
            Err(error) => {
                keeper.close();
                Err(error.into())
            }
        }
    }

    pub(super) fn open_to_look(root: &Path, disk: Disk, start: &Start) -> Result<Self, StartError> {
        let format = format::look(root)?;
        let lock = std::fs::File::open(root.join("lock"))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockShared).map_err(io::Error::from)?;
        let opened = journal::open::look(&root.join("journal"), &start.index_key, only_reads::sure(start));
        let keeper = Self::of(root, disk, start, opened.map_err(StartError::Journal)?, (lock, format))?;
        keeper.house.committer.only_read();
        show_slots(&keeper.house);
        keeper.house.look_for_missing();
        Ok(keeper)
    }

    fn of(
        root: &Path,
        disk: Disk,
        start: &Start,
        opened: Opened,
        (lock, format): (std::fs::File, Format),
    ) -> Result<Self, StartError> {
        let mut findings = crate::found::read(root)?;
        findings.extend(opened.findings.iter().cloned());
        let damaged = opened.damaged;
        // One that only reads writes to no journal that the next could believe.
        let left = start.left.clone().filter(|_| !start.manner.only_reads());
        let (committer, thread) = Committer::start(disk.clone(), root, start.index_key, opened, Hub::default())?;
        let house = Arc::new(House::new(root.to_owned(), disk, committer, start, (findings, damaged))?);
        Ok(Self { house, thread, lock, format, left })
    }
}

/// Whether something is there, and is no file.
fn is_no_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|there| !there.is_file())
}

/// Makes the folders and takes the lock, unless a newer program has been here. What the spool is in.
fn begin(root: &Path, disk: &Disk) -> Result<(std::fs::File, Format), StartError> {
    format::look(root)?;
    if !store::FOLDERS.iter().any(|folder| root.join(folder).exists()) {
        Format::NEWEST.write(disk, root)?;
    }
    for folder in store::FOLDERS {
        let path = root.join(folder);
        if path.symlink_metadata().is_ok_and(|there| !there.is_dir()) {
            return Err(StartError::NotAFolder(folder));
        }
        disk.make_folder(&path)?;
    }
    if let Some(file) = store::FILES.into_iter().find(|file| is_no_file(&root.join(file))) {
        return Err(StartError::NotAFile(file));
    }
    let lock = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(root.join("lock"))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).map_err(io::Error::from)?;
    // Again: whoever had the lock until now may have raised it.
    let format = format::look(root)?;
    Ok((lock, format))
}

fn open_journal(root: &Path, disk: &Disk, start: &Start, format: Format) -> Result<Opened, StartError> {
    let dir = root.join("journal");
    // Not before the journal was understood, which a newer program may have written to.
    let first = || {
        migrate::begin(disk, root, format)?;
        // It may make the room that the journal needs.
        sweep::incoming(disk, root);
        Ok(())
    };
    let key = (&start.index_key, only_reads::sure(start));
    match journal::open::open_then(disk, &dir, key, first) {
        Err(OpenError::Key) if start.new_journal => {
            let aside = (1..).map(|n| root.join(format!("journal.old-{n}"))).find(|path| !path.exists());
            disk.rename(&dir, &aside.unwrap_or_else(|| root.join("journal.old")))?;
            journal::open::open_then(disk, &dir, key, first).map_err(StartError::Journal)
        }
        other => other.map_err(StartError::Journal),
    }
}

/// What a start mends before anybody is served.
fn put_in_order(house: &House) -> io::Result<()> {
    removal::after_start(house)?;
    making::after_start(house)?;
    load_slots(house);
    suspension::after_start(house);
    crate::recover::after_start(house);
    house.look_for_missing();
    sweep::outgoing(house)?;
    house.keep_found();
    Ok(())
}

/// Reads every known mailbox's slots file. One that cannot be read keeps its mailbox from mail and
/// logins until it is mended; the others go on.
fn load_slots(house: &House) {
    let known: Vec<_> = {
        let core = house.committer.lock();
        core.index.mailboxes().map(|(id, mailbox)| (id, mailbox.profile().revision)).collect()
    };
    for (id, revision) in known {
        match crate::slots::load(&store::mailbox_path(&house.root, id), id) {
            Ok(mut loaded) => {
                for (copy, what) in &loaded.faults {
                    tracing::error!(mailbox = %id, copy, what, "a copy of the slots file is damaged; the other is used");
                    house.tell(
                        format!("mailboxes/{id}/{copy}"),
                        format!("{what}; the other copy was used"),
                        Fate::Known,
                    );
                }
                if !loaded.faults.is_empty() {
                    let mended = loaded.repair(&house.disk, &store::mailbox_path(&house.root, id));
                    mended.unwrap_or_else(|error| tracing::error!(mailbox = %id, %error, "mending the slots file"));
                }
                if loaded.slots.revision() < revision {
                    tracing::error!(mailbox = %id, "the slots file is older than the journal knows: a revoked device may work again");
                }
                let newer = loaded.slots.revision() > revision;
                house.set_slots(id, Some(loaded.slots));
                if newer {
                    admin::reconcile(house, id);
                }
            }
            Err(error) => {
                tracing::error!(mailbox = %id, %error, "no slots file can be read: no mail, no login");
                house.tell(
                    format!("mailboxes/{id}/slots"),
                    "cannot be read: its mail waits, nobody can log in".into(),
                    Fate::Known,
                );
            }
        }
    }
}

/// As [`load_slots`] for a keeper that only looks: what cannot be read is a finding of `spool check`.
fn show_slots(house: &House) {
    let ids = house.committer.lock().index.ids();
    for id in ids {
        if let Ok(loaded) = crate::slots::load(&store::mailbox_path(&house.root, id), id) {
            house.set_slots(id, Some(loaded.slots));
        }
    }
}
