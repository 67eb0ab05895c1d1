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
mod opening;
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
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use filter_sandbox::edge::{AsyncEdge, Edge};
use tokio::sync::mpsc;
use wire::control::{Control, Controls, EdgeName};

use crate::disk::Disk;
use crate::format::Format;
use crate::journal::sure::Left;
use crate::migrate;
use crate::slots::Purpose;

use house::House;
pub use opening::StartError;
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

impl Keeper {
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
