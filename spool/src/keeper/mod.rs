//! The keeper: owns the spool, cannot open mail.
//!
//! - **Hostile input:** none from the net. What `mx`, submission, login and owner processes ask; each may
//!   have been taken over, so each edge has a table of what may be asked ([`deposit`], [`queue`],
//!   [`outbox`], [`notices`], [`login`], [`mailbox`], [`admin`]), and who asks anything else is dropped.
//! - **Holds:** `spool/` as its only file tree; the index key; public keys and login verifiers of the mailboxes.
//! - **Can never:** open a letter, a slot or a summary; reach any network; write over a letter.
//! - **Speaks:** the edges of [`crate::edges`], nothing else.

pub mod admin;
mod arriving;
pub mod delivering;
pub mod deposit;
mod elsewhere;
mod failing;
pub mod house;
pub mod hub;
pub mod intake;
pub mod leads;
pub mod line;
pub mod login;
pub mod mailbox;
mod making;
mod memory_file;
pub mod notices;
mod only_reads;
pub mod outbox;
pub mod passing;
pub mod posting;
pub mod queue;
pub mod removal;
pub mod reserve;
pub mod rests;
pub mod seat;
pub mod share;
pub mod start;
pub(crate) mod suspension;
pub mod sweep;
mod taking;
mod under_way;
mod work;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use filter_sandbox::edge::{AsyncEdge, Edge};
use tokio::sync::mpsc;
use wire::control::{Control, Controls, EdgeName};

use crate::commit::Committer;
use crate::disk::Disk;
use crate::edges::admin::Fate;
use crate::format::{self, Format, FormatError};
use crate::journal::open::{OpenError, Opened};
use crate::journal::sure::Left;
use crate::slots::Purpose;
use crate::{journal, migrate, store};

use house::House;
use hub::Hub;
pub use start::{EdgeKind, Manner, Start};

/// How often a checkpoint may be due.
const CHECKPOINTS: Duration = Duration::from_secs(10);

/// After the disk failed, how long requests under way may take to hear that they have failed.
const ANSWERS: Duration = Duration::from_secs(2);

/// The exit code of a keeper that may not open this spool, however often it is started (`EX_CONFIG`).
pub const REFUSED: u8 = 78;

/// An open spool: everything but the edges.
#[derive(Debug)]
pub struct Keeper {
    house: Arc<House>,
    thread: std::thread::JoinHandle<()>,
    lock: std::fs::File,
    format: Format,
    left: Option<Arc<Left>>,
}

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

    fn open_to_look(root: &Path, disk: Disk, start: &Start) -> Result<Self, StartError> {
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

    /// What all edges share.
    #[must_use]
    pub const fn house(&self) -> &Arc<House> {
        &self.house
    }

    /// Serves until the first of: `up` is gone or says drain (`controls`), the only edges given were
    /// `Admin` and all have ended, the disk failed, or one that failed takes writes again. Whether it ended well.
    ///
    /// # Errors
    /// The kernel's, on taking a descriptor over.
    pub async fn serve(self, edges: Vec<(EdgeKind, OwnedFd)>, controls: Option<Controls>) -> io::Result<bool> {
        let offline = edges.iter().all(|(kind, _)| *kind == EdgeKind::Admin);
        let (alive, mut ended) = mpsc::channel::<()>(1);
        for (kind, descriptor) in edges {
            self.edge(kind, descriptor, &alive)?;
        }
        let checkpoints = tokio::spawn(checkpoints(self.house.clone()));
        let migrates = !offline && !self.house.manner.only_reads();
        let migration = migrates.then(|| tokio::spawn(migrate::run(self.house.clone(), self.format, migrate::STEPS)));
        let writable = only_reads::writable(self.house.clone(), offline);
        let unwritable = only_reads::unwritable(self.house.clone());
        tokio::pin!(writable, unwritable);
        let mut progress = self.house.committer.progress();
        let mut alive = Some(alive).filter(|_| !offline);
        loop {
            tokio::select! {
                () = progress.failed() => break,
                () = &mut writable => break,
                () = &mut unwritable => break,
                None = ended.recv() => break,
                news = next(controls.as_ref()) => match news {
                    Some((Control::Edge(name), mut with)) => {
                        if let (Some(kind), Some(fd), Some(alive)) = (kind_of(name), with.pop(), &alive) {
                            self.edge(kind, fd, alive)?;
                        }
                    }
                    Some((Control::Certificate(_) | Control::Signing { .. } | Control::Pairings(_) | Control::ThroughProxy(_), _)) => {}
                    Some((Control::Drain, _)) | None => alive = None,
                },
            }
            if alive.is_none() && !offline {
                break;
            }
        }
        checkpoints.abort();
        migration.inspect(tokio::task::JoinHandle::abort);
        if progress.has_failed() {
            only_reads::leave(self.left.as_deref(), Some(self.house.committer.sure()));
            // Each connection watches too, and lets go once what was asked is answered.
            drop(progress);
            let _ = tokio::time::timeout(ANSWERS, self.house.committer.unwatched()).await;
        }
        Ok(self.end().await)
    }

    fn edge(&self, kind: EdgeKind, descriptor: OwnedFd, alive: &mpsc::Sender<()>) -> io::Result<()> {
        let (house, alive) = (self.house.clone(), alive.clone());
        let progress = house.committer.progress();
        if kind == EdgeKind::Left {
            return Ok(());
        }
        if kind == EdgeKind::AdminListener {
            tokio::spawn(admin::listen(house, descriptor, alive)?);
            return Ok(());
        }
        let edge = Arc::new(AsyncEdge::new(Edge::from(descriptor))?);
        tokio::spawn(async move {
            let _alive = alive;
            match kind {
                EdgeKind::Deposit => line::serve(edge, progress, "deposit", deposit::Deposit::new(house)).await,
                EdgeKind::SubmissionLogin => {
                    line::serve(edge, progress, "login", login::Login::new(house, Purpose::Submission)).await;
                }
                EdgeKind::ImapLogin => {
                    line::serve(edge, progress, "login", login::Login::new(house, Purpose::Imap)).await;
                }
                EdgeKind::Notices => line::serve(edge, progress, "notices", notices::Notices::new(house)).await,
                EdgeKind::Outbox => line::serve(edge, progress, "outbox", outbox::Outbox::new(house)).await,
                EdgeKind::Admin | EdgeKind::AdminListener | EdgeKind::Left => {
                    line::serve(edge, progress, "admin", admin::Admin::new(house)).await;
                }
            }
        });
        Ok(())
    }

    async fn end(self) -> bool {
        tokio::task::spawn_blocking(move || self.close()).await.unwrap_or(false)
    }

    /// Writes what is under way, closes what is open, gives the lock back. Whether all of it is on the disk.
    fn close(self) -> bool {
        let Self { house, thread, lock, left, .. } = self;
        house.committer.stop();
        let whole = thread.join().is_ok();
        let failed = house.committer.progress().has_failed();
        if failed {
            only_reads::leave(left.as_deref(), Some(house.committer.sure()));
        }
        house.committer.settle();
        house.caches.close();
        drop(lock);
        whole && !failed
    }
}

/// Without a line in the log.
pub(crate) fn quietly<T>(act: impl FnOnce() -> T) -> T {
    tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::default(), act)
}

async fn next(controls: Option<&Controls>) -> Option<(Control, Vec<OwnedFd>)> {
    match controls {
        Some(controls) => controls.next().await,
        None => std::future::pending().await,
    }
}

const fn kind_of(name: EdgeName) -> Option<EdgeKind> {
    match name {
        EdgeName::Deposit | EdgeName::Keeper => Some(EdgeKind::Deposit),
        EdgeName::Notices => Some(EdgeKind::Notices),
        EdgeName::Outbox => Some(EdgeKind::Outbox),
        EdgeName::SubmissionLogin => Some(EdgeKind::SubmissionLogin),
        EdgeName::ImapLogin => Some(EdgeKind::ImapLogin),
        _ => None,
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

async fn checkpoints(house: Arc<House>) {
    loop {
        tokio::time::sleep(CHECKPOINTS).await;
        if house.committer.wants_checkpoint() {
            let house = house.clone();
            let written = tokio::task::spawn_blocking(move || house.committer.checkpoint(false)).await;
            if let Ok(Err(error)) = written {
                tracing::error!(%error, "no checkpoint could be written; the journal goes on");
            }
        }
    }
}

/// The role: confine, take the start packet, open, serve, end.
#[must_use]
pub fn run() -> ExitCode {
    match story() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!(%error, "the keeper cannot go on");
            let last = error.downcast_ref::<StartError>().is_some_and(StartError::is_final);
            if last { ExitCode::from(REFUSED) } else { ExitCode::FAILURE }
        }
    }
}

fn story() -> Result<bool, Box<dyn std::error::Error>> {
    let confined = filter_sandbox::confine(filter_sandbox::role::Role::Keeper)?;
    let (mut start, descriptors) = wire::control::start::<Start>(&confined.control)?;
    if start.edges.len() != descriptors.len() {
        return Err("the start packet's descriptors do not fit".into());
    }
    let mut edges: Vec<_> = start.edges.iter().copied().zip(descriptors).collect();
    if let Some(place) = edges.iter().position(|(kind, _)| *kind == EdgeKind::Left) {
        start.left = Some(Arc::new(edges.swap_remove(place).1.into()));
    }
    let keeper = Keeper::open(&start::confined_root(), Disk::default(), &start)?;
    drop(start);
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let controls = Controls::new(confined.control)?;
        keeper.serve(edges, Some(controls)).await
    });
    // Threads that wait for a slow sender must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(200));
    Ok(ended?)
}

/// One thread for the edges; others only where the disk may keep them waiting.
///
/// # Errors
/// The kernel's.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(64).build()
}
