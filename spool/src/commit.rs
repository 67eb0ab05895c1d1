//! Group commit: how an entry becomes true, then durable, then known.
//!
//! Under one lock, held for microseconds, a request is planned against the index, applied to it and put
//! into the batch. Batches are taken as they come, one at a time: each folder that got a letter is synced once,
//! all entries are appended, and the segment is synced once. There is no waiting for more: while one batch is
//! being synced the next one gathers, so throughput grows with load and a lone request waits for nobody. Who may
//! block writes the batch itself ([`Leading`]), which spares a lone letter two changes of threads; for all others, and
//! for what gathers meanwhile, one thread does.
//!
//! The index is thus a little ahead of the disk, but nobody sees that: every reply and event carries the
//! number of the last entry that it knows ([`Core::sequence`]), and is sent only when that entry is
//! durable ([`Committer::progress`]). When a sync fails nobody knows what is on disk; nothing is sent any
//! more, and the keeper ends and begins anew from what the disk really holds.

mod checkpoint;
mod thread;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::disk::{Disk, DiskFile};
use crate::index::{Index, News};
use crate::journal::files::{self, Writer};
use crate::journal::open::Opened;
use crate::journal::record::{Entry, Record};
use crate::journal::sure::Sure;
use crate::journal::{limits, segment};
use crate::names::{LetterId, MailboxId};

/// What every commit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// All entries up to this one are on disk.
    UpTo(u64),
    /// The disk failed; nothing more will be.
    Failed,
}

/// How far the journal is, for who waits for entries of it.
#[derive(Debug, Clone)]
pub struct Progress {
    durable: watch::Receiver<Durable>,
    /// Apart from the rest, so that who waits for nothing but a failure is not woken with every entry.
    failing: watch::Receiver<bool>,
}

impl Progress {
    /// Returns once that entry is durable, or will never be; whether it is. `None`: the keeper is gone.
    pub async fn reached(&mut self, number: u64) -> Option<bool> {
        let reached = self.durable.wait_for(|now| match now {
            Durable::UpTo(durable) => *durable >= number,
            Durable::Failed => true,
        });
        reached.await.ok().map(|now| *now != Durable::Failed)
    }

    /// Returns once the disk has failed.
    pub async fn failed(&mut self) {
        if self.failing.wait_for(|failing| *failing).await.is_err() {
            // The keeper is gone, and with it whoever would want to know.
            std::future::pending().await
        }
    }

    /// Whether the disk has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        *self.durable.borrow() == Durable::Failed
    }
}

/// Why an entry was not taken; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// No room in the journal.
    Full,
    /// The disk failed, or the entry is beyond every bound.
    Failed,
    /// The disk takes nothing: see [`Committer::only_read`].
    OnlyReads,
}

/// What an entry needs besides itself.
#[derive(Debug, Default)]
pub struct With<'a> {
    /// Letters whose folders must be synced before it.
    pub letters: &'a [(MailboxId, LetterId)],
    /// It frees room: it may use what is kept back for a full disk.
    pub frees: bool,
}

/// Counts of syncs, for tests and benches.
#[derive(Debug, Default)]
pub struct Syncs {
    /// Of letter files.
    pub letters: AtomicU64,
    /// Of folders.
    pub folders: AtomicU64,
    /// Of the journal.
    pub journal: AtomicU64,
}

/// What the lock protects.
#[derive(Debug)]
pub struct Core<H> {
    /// The index.
    pub index: Index,
    /// Who is told; see [`News`].
    pub hub: H,
    /// The number of the last entry applied.
    pub sequence: u64,
    batch: Batch,
    file: Arc<DiskFile>,
    /// Bytes of the segment written or promised.
    promised: u64,
    /// Bytes of it that have blocks.
    ahead: u64,
    rotate: Option<Rotate>,
    stop: bool,
    failed: bool,
    only_reads: bool,
    /// The segment that is written to, and how far it is durable.
    durable: (u64, u64),
}

#[derive(Debug, Default)]
struct Batch {
    entries: Vec<Vec<u8>>,
    folders: BTreeSet<(MailboxId, u8)>,
    superfluous: Vec<(MailboxId, LetterId)>,
    /// Whether `outgoing/` got a letter.
    queued: bool,
    left: Vec<LetterId>,
}

#[derive(Debug)]
struct Rotate(std::sync::mpsc::SyncSender<io::Result<u64>>);

/// The journal's writing side, shared by all of the keeper.
#[derive(Debug)]
pub struct Committer<H> {
    core: Mutex<Core<H>>,
    /// Locked while a batch is written and told; locked before `core`. `None` once the journal is closed.
    writer: Mutex<Option<Writer>>,
    work: Condvar,
    done: Condvar,
    durable: watch::Sender<Durable>,
    failing: watch::Sender<bool>,
    disk: Disk,
    root: PathBuf,
    key: zeroize::Zeroizing<[u8; 32]>,
    grown: AtomicU64,
    last_checkpoint: AtomicU64,
    segments: AtomicU64,
    /// See [`Committer::hold_checkpoints`].
    held: AtomicBool,
    /// One checkpoint at a time; held while it touches files.
    checkpointing: Mutex<()>,
    /// Counts of syncs.
    pub syncs: Syncs,
}

/// A thread's right to take entries that nobody but itself need be woken for: when this is dropped they are durable, or
/// about to be by who is writing just then.
#[derive(Debug)]
pub struct Leading<'a, H: News + Send + 'static>(&'a Committer<H>);

impl<H: News + Send + 'static> Leading<'_, H> {
    /// As [`Committer::take`].
    ///
    /// # Errors
    /// As [`NotTaken`] says.
    pub fn take(&self, core: &mut Core<H>, entry: Entry, with: &With<'_>) -> Result<u64, NotTaken> {
        core.take(entry, with)
    }
}

impl<H: News + Send + 'static> Drop for Leading<'_, H> {
    fn drop(&mut self) {
        self.0.lead();
    }
}

/// Takes unreferenced letters down while the hub takes the events.
struct Taking<'a, H> {
    hub: &'a mut H,
    superfluous: &'a mut Vec<(MailboxId, LetterId)>,
    left: &'a mut Vec<LetterId>,
}

impl<H: News> News for Taking<'_, H> {
    fn listens(&self, mailbox: MailboxId, folder: crate::names::FolderId) -> bool {
        self.hub.listens(mailbox, folder)
    }
    fn folder(&mut self, mailbox: MailboxId, folder: crate::names::FolderId, event: crate::edges::mailbox::Event) {
        self.hub.folder(mailbox, folder, event);
    }
    fn everywhere(&mut self, mailbox: MailboxId, event: crate::edges::mailbox::Event) {
        self.hub.everywhere(mailbox, event);
    }
    fn unreferenced(&mut self, mailbox: MailboxId, letter: LetterId) {
        self.hub.unreferenced(mailbox, letter);
        self.superfluous.push((mailbox, letter));
    }
    fn outgoing(&mut self) {
        self.hub.outgoing();
    }
    fn left(&mut self, letter: LetterId) {
        self.left.push(letter);
    }
}

impl<H: News> Core<H> {
    /// Applies an entry and puts it into the batch; its number. Nothing waits here. An empty entry
    /// changes nothing: the answer is the last number.
    ///
    /// # Errors
    /// [`NotTaken`]; then nothing was changed.
    fn take(&mut self, entry: Entry, with: &With<'_>) -> Result<u64, NotTaken> {
        if entry.is_empty() {
            return Ok(self.sequence);
        }
        if self.only_reads {
            return Err(NotTaken::OnlyReads);
        }
        if self.failed || self.stop {
            return Err(NotTaken::Failed);
        }
        let plain = files::encode(&entry).map_err(|_| NotTaken::Failed)?;
        self.reserve((plain.len() + segment::FRAMING) as u64, with.frees)?;
        self.sequence += 1;
        self.hub.at(self.sequence);
        self.batch.queued |= entry.iter().any(|record| matches!(record, Record::Queued { .. }));
        let Batch { superfluous, left, .. } = &mut self.batch;
        let mut news = Taking { hub: &mut self.hub, superfluous, left };
        for record in entry {
            self.index.apply(self.sequence, record, &mut news);
        }
        self.batch.entries.push(plain);
        self.batch.folders.extend(with.letters.iter().map(|(mailbox, letter)| (*mailbox, letter.shard())));
        Ok(self.sequence)
    }

    /// Whether entries of so many bytes that free room would be taken now, what is kept back for them included.
    pub fn has_room(&mut self, bytes: usize) -> bool {
        if self.only_reads {
            return false;
        }
        let promised = self.promised;
        let fits = self.reserve(bytes as u64, true).is_ok();
        self.promised = promised;
        fits
    }

    /// Room for one more sealed entry, so that writing it cannot meet a full disk later.
    fn reserve(&mut self, bytes: u64, frees: bool) -> Result<(), NotTaken> {
        let wanted = self.promised + bytes;
        let kept_back = if frees { 0 } else { limits::KEPT_BACK };
        if wanted + limits::KEPT_BACK > self.ahead {
            let zeros = vec![0; bytes.max(limits::AHEAD) as usize];
            match self.file.write_at(&zeros, self.ahead) {
                Ok(()) => self.ahead += zeros.len() as u64,
                Err(error) => tracing::error!(%error, "no room for the journal"),
            }
        }
        if wanted + kept_back > self.ahead {
            return Err(NotTaken::Full);
        }
        self.promised = wanted;
        Ok(())
    }
}

impl<H: News + Send + 'static> Committer<H> {
    /// Takes an opened journal over and starts the committing thread; `root` is the spool.
    ///
    /// # Errors
    /// No thread.
    pub fn start(
        disk: Disk,
        root: &Path,
        key: [u8; 32],
        opened: Opened,
        hub: H,
    ) -> io::Result<(Arc<Self>, std::thread::JoinHandle<()>)> {
        let Opened { index, sequence, writer, since_checkpoint, segments, .. } = opened;
        let core = Core {
            index,
            hub,
            sequence,
            batch: Batch::default(),
            file: writer.file(),
            promised: writer.at(),
            ahead: writer.ahead(),
            rotate: None,
            stop: false,
            failed: false,
            only_reads: false,
            durable: (writer.number(), segment::HEADER as u64),
        };
        let committer = Arc::new(Self {
            core: Mutex::new(core),
            writer: Mutex::new(Some(writer)),
            work: Condvar::new(),
            done: Condvar::new(),
            durable: watch::Sender::new(Durable::UpTo(sequence)),
            failing: watch::Sender::new(false),
            disk,
            root: root.to_owned(),
            key: key.into(),
            grown: AtomicU64::new(since_checkpoint),
            last_checkpoint: AtomicU64::new(0),
            segments: AtomicU64::new(segments as u64),
            held: AtomicBool::new(false),
            checkpointing: Mutex::default(),
            syncs: Syncs::default(),
        });
        let thread = std::thread::Builder::new().name("commit".into()).spawn({
            let committer = committer.clone();
            move || {
                let _ended = (thread::Writing::of(&committer), thread::Ended(&committer));
                committer.run();
            }
        })?;
        Ok((committer, thread))
    }

    /// The index, the hub and the batch. Never held across a wait.
    pub fn lock(&self) -> MutexGuard<'_, Core<H>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies an entry under the lock the caller holds (so that what it was planned against still is).
    ///
    /// # Errors
    /// As [`NotTaken`] says.
    pub fn take(&self, core: &mut Core<H>, entry: Entry, with: &With<'_>) -> Result<u64, NotTaken> {
        let number = core.take(entry, with)?;
        self.work.notify_one();
        Ok(number)
    }

    /// Takes nothing, and writes nothing, from now on.
    pub fn only_read(&self) {
        self.lock().only_reads = true;
        self.hold_checkpoints();
    }

    /// For a thread that may block: it writes itself what it takes, at the end of what is returned.
    #[must_use]
    pub const fn leading(&self) -> Leading<'_, H> {
        Leading(self)
    }

    /// What is durable, to wait on.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress { durable: self.durable.subscribe(), failing: self.failing.subscribe() }
    }

    /// The segment that is written to, and how many of its bytes are durable: what lies behind may be half-written.
    #[must_use]
    pub fn durable_bytes(&self) -> (u64, u64) {
        self.lock().durable
    }

    /// The same, for the next keeper.
    #[must_use]
    pub fn sure(&self) -> Sure {
        let (segment, bytes) = self.durable_bytes();
        Sure { segment, bytes }
    }

    /// Returns once nobody has a [`Progress`] any more.
    pub async fn unwatched(&self) {
        self.durable.closed().await;
    }

    /// Waits, in a thread, until that entry is durable; whether it is.
    #[must_use]
    pub fn wait(&self, number: u64) -> bool {
        let mut core = self.lock();
        loop {
            match *self.durable.borrow() {
                Durable::Failed => return false,
                Durable::UpTo(durable) if durable >= number => return true,
                Durable::UpTo(_) => {}
            }
            core = self.done.wait(core).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the committing thread once the batch is written; nothing is taken any more.
    pub fn stop(&self) {
        self.lock().stop = true;
        self.work.notify_one();
    }

    /// The index key.
    #[must_use]
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }
}
