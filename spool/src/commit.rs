//! Group commit: how an entry becomes true, then durable, then known.
//!
//! Under one lock, held for microseconds, a request is planned against the index, applied to it and put
//! into the batch. One thread takes batches as they come: it syncs each folder that got a letter once,
//! appends all entries, and syncs the segment once. There is no waiting for more: while one batch is
//! being synced the next one gathers, so throughput grows with load and a lone request waits for nobody.
//!
//! The index is thus a little ahead of the disk, but nobody sees that: every reply and event carries the
//! number of the last entry that it knows ([`Core::sequence`]), and is sent only when that entry is
//! durable ([`Committer::durable`]). When a sync fails nobody knows what is on disk; nothing is sent any
//! more, and the keeper ends and begins anew from what the disk really holds.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::disk::{Disk, DiskFile};
use crate::index::{Index, News};
use crate::journal::checkpoint::{self, Checkpoint};
use crate::journal::files::{self, Writer};
use crate::journal::open::Opened;
use crate::journal::record::Entry;
use crate::journal::{limits, segment};
use crate::names::{LetterId, MailboxId};
use crate::store;

/// What every commit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// All entries up to this one are on disk.
    UpTo(u64),
    /// The disk failed; nothing more will be.
    Failed,
}

/// Why an entry was not taken; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// No room in the journal.
    Full,
    /// The disk failed, or the entry is beyond every bound.
    Failed,
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
}

#[derive(Debug, Default)]
struct Batch {
    entries: Vec<Vec<u8>>,
    folders: BTreeSet<(MailboxId, u8)>,
    superfluous: Vec<(MailboxId, LetterId)>,
}

#[derive(Debug)]
struct Rotate(std::sync::mpsc::SyncSender<io::Result<u64>>);

/// The journal's writing side, shared by all of the keeper.
#[derive(Debug)]
pub struct Committer<H> {
    core: Mutex<Core<H>>,
    work: Condvar,
    done: Condvar,
    durable: watch::Sender<Durable>,
    disk: Disk,
    root: PathBuf,
    key: zeroize::Zeroizing<[u8; 32]>,
    grown: AtomicU64,
    last_checkpoint: AtomicU64,
    segments: AtomicU64,
    /// Counts of syncs.
    pub syncs: Syncs,
}

/// Takes unreferenced letters down while the hub takes the events.
struct Taking<'a, H> {
    hub: &'a mut H,
    superfluous: &'a mut Vec<(MailboxId, LetterId)>,
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
        self.superfluous.push((mailbox, letter));
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
        if self.failed || self.stop {
            return Err(NotTaken::Failed);
        }
        let plain = files::encode(&entry).map_err(|_| NotTaken::Failed)?;
        self.reserve((plain.len() + segment::FRAMING) as u64, with.frees)?;
        self.sequence += 1;
        self.hub.at(self.sequence);
        let mut news = Taking { hub: &mut self.hub, superfluous: &mut self.batch.superfluous };
        for record in entry {
            self.index.apply(self.sequence, record, &mut news);
        }
        self.batch.entries.push(plain);
        self.batch.folders.extend(with.letters.iter().map(|(mailbox, letter)| (*mailbox, letter.shard())));
        Ok(self.sequence)
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
        };
        let committer = Arc::new(Self {
            core: Mutex::new(core),
            work: Condvar::new(),
            done: Condvar::new(),
            durable: watch::Sender::new(Durable::UpTo(sequence)),
            disk,
            root: root.to_owned(),
            key: key.into(),
            grown: AtomicU64::new(since_checkpoint),
            last_checkpoint: AtomicU64::new(0),
            segments: AtomicU64::new(segments as u64),
            syncs: Syncs::default(),
        });
        let thread = std::thread::Builder::new().name("commit".into()).spawn({
            let committer = committer.clone();
            move || committer.run(writer)
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

    /// What is durable, to wait on.
    #[must_use]
    pub fn durable(&self) -> watch::Receiver<Durable> {
        self.durable.subscribe()
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

    fn run(&self, mut writer: Writer) {
        loop {
            let (batch, number, rotate) = {
                let mut core = self.lock();
                while core.batch.entries.is_empty() && core.rotate.is_none() && !core.stop {
                    core = self.work.wait(core).unwrap_or_else(PoisonError::into_inner);
                }
                if core.stop && core.batch.entries.is_empty() {
                    break;
                }
                let rotate = core.rotate.take();
                (std::mem::take(&mut core.batch), core.sequence, rotate)
            };
            if let Err(error) = self.write(&mut writer, &batch) {
                self.fail(&error);
                return;
            }
            self.written(number, batch);
            if let Some(Rotate(answer)) = rotate {
                match self.rotate(writer) {
                    Ok((next, outcome)) => {
                        writer = next;
                        let _ = answer.send(outcome);
                    }
                    Err(error) => {
                        self.fail(&error);
                        let _ = answer.send(Err(error));
                        return;
                    }
                }
            }
        }
        // Who waits for a new segment hears that there will be none.
        let still = {
            let mut core = self.lock();
            core.rotate = None;
            core.index.still().collect()
        };
        if let Err(error) = writer.close(still) {
            tracing::error!(%error, "closing the journal");
        }
    }

    fn write(&self, writer: &mut Writer, batch: &Batch) -> io::Result<()> {
        for (mailbox, shard) in &batch.folders {
            self.disk.sync_folder(&store::shard_path(&self.root, *mailbox, *shard))?;
            self.syncs.folders.fetch_add(1, Ordering::Relaxed);
        }
        if batch.entries.is_empty() {
            return Ok(());
        }
        let before = writer.at();
        writer.write(batch.entries.iter().map(Vec::as_slice))?;
        writer.sync()?;
        self.syncs.journal.fetch_add(1, Ordering::Relaxed);
        self.grown.fetch_add(writer.at() - before, Ordering::Relaxed);
        Ok(())
    }

    /// Lets go what waited for it; then there is time to unlink.
    fn written(&self, number: u64, batch: Batch) {
        self.tell(Durable::UpTo(number));
        if batch.superfluous.is_empty() {
            return;
        }
        for (mailbox, letter) in batch.superfluous {
            let _ = self.disk.remove(&store::letter_path(&self.root, mailbox, letter));
        }
        // A disk that was full has room again.
        files::keep_reserve(&self.disk, &self.journal());
    }

    fn tell(&self, now: Durable) {
        let core = self.lock();
        let _ = self.durable.send_replace(now);
        drop(core);
        self.done.notify_all();
    }

    fn fail(&self, error: &io::Error) {
        tracing::error!(%error, "the journal cannot be written; the keeper ends and begins anew");
        {
            let mut core = self.lock();
            core.failed = true;
            core.rotate = None;
        }
        self.tell(Durable::Failed);
    }

    /// Goes on in a new segment. The inner error (no room for one) leaves the present one in use.
    fn rotate(&self, mut writer: Writer) -> io::Result<(Writer, io::Result<u64>)> {
        let number = writer.number() + 1;
        let mut next = match Writer::create(&self.disk, &self.journal(), &self.key, number) {
            Ok(next) => next,
            Err(error) => return Ok((writer, Err(error))),
        };
        // What was taken since goes to the old segment; from the moment the lock is free, to the new one.
        let (batch, number, still) = {
            let mut core = self.lock();
            let still: Vec<_> = core.index.still().collect();
            let first = files::encode(&still).map_or(0, |encoded| encoded.len());
            core.file = next.file();
            // Besides: an index into the enum, the option, a tag and a number, framed.
            core.promised = next.at() + (first + 64 + segment::FRAMING) as u64;
            core.ahead = next.ahead();
            (std::mem::take(&mut core.batch), core.sequence, still)
        };
        self.write(&mut writer, &batch)?;
        let link = writer.close(still.clone())?;
        next.begin(Some(link), number + 1, still)?;
        self.written(number, batch);
        self.segments.fetch_add(1, Ordering::Relaxed);
        let made = next.number();
        Ok((next, Ok(made)))
    }

    /// The index key.
    #[must_use]
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// Whether the journal has grown enough for a checkpoint.
    #[must_use]
    pub fn wants_checkpoint(&self) -> bool {
        let bound = limits::CHECKPOINT_AFTER.max(self.last_checkpoint.load(Ordering::Relaxed));
        self.grown.load(Ordering::Relaxed) > bound || self.segments.load(Ordering::Relaxed) > limits::SEGMENTS as u64
    }

    /// Writes a checkpoint, in the calling thread, while commits go on. `after_damage` puts everything
    /// before it aside.
    ///
    /// # Errors
    /// The kernel's; the journal is as good as before.
    pub fn checkpoint(&self, after_damage: bool) -> io::Result<()> {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        {
            let mut core = self.lock();
            if core.stop || core.failed {
                return Err(io::Error::other("the keeper is ending"));
            }
            core.rotate = Some(Rotate(answer));
        }
        self.work.notify_one();
        let number = answered.recv().map_err(|_| io::Error::other("the keeper is ending"))??;
        let grown = self.grown.swap(0, Ordering::Relaxed);
        self.segments.store(1, Ordering::Relaxed);
        let dir = self.journal();
        let written = self.write_checkpoint(&dir, number);
        let size = written.inspect_err(|_| {
            checkpoint::abandon(&dir, number);
            self.grown.fetch_add(grown, Ordering::Relaxed);
        })?;
        self.last_checkpoint.store(size, Ordering::Relaxed);
        files::keep_reserve(&self.disk, &dir);
        if after_damage { checkpoint::set_aside(&self.disk, &dir, number) } else { checkpoint::prune(&self.disk, &dir) }
    }

    fn write_checkpoint(&self, dir: &Path, number: u64) -> io::Result<u64> {
        let mut checkpoint = Checkpoint::begin(&self.disk, dir, &self.key, number)?;
        let (house, ids, mut known) = {
            let core = self.lock();
            (files::encode(&vec![core.index.house(core.sequence)])?, core.index.ids(), core.sequence)
        };
        checkpoint.write(&[house])?;
        for id in ids {
            let entries = {
                let core = self.lock();
                known = core.sequence;
                let records = core.index.mailbox_records(known, id);
                records.map(|record| files::encode(&vec![record])).collect::<io::Result<Vec<_>>>()?
            };
            checkpoint.write(&entries)?;
        }
        checkpoint.finish(|| if self.wait(known) { Ok(()) } else { Err(io::Error::other("the journal failed")) })
    }
}
