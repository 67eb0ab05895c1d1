//! The committing thread.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use crate::index::News;
use crate::journal::closed::{self, Closed};
use crate::journal::files::{self, Writer};
use crate::journal::record::Record;
use crate::journal::segment;
use crate::store;

use super::{Batch, Committer, Durable, Rotate};

/// However the thread ends, nobody goes on waiting for it: a checkpoint hears that there will be no new segment.
pub(super) struct Ended<'a, H: News + Send + 'static>(pub &'a Committer<H>);

impl<H: News + Send + 'static> Drop for Ended<'_, H> {
    fn drop(&mut self) {
        self.0.lock().rotate = None;
    }
}

/// After a panic of whoever writes, everybody hears that nothing more will be durable.
pub(super) struct Writing<'a, H: News + Send + 'static> {
    committer: &'a Committer<H>,
    /// Of a panic before, the disk knows nothing.
    before: bool,
}

impl<'a, H: News + Send + 'static> Writing<'a, H> {
    pub(super) fn of(committer: &'a Committer<H>) -> Self {
        Self { committer, before: std::thread::panicking() }
    }
}

impl<H: News + Send + 'static> Drop for Writing<'_, H> {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.before {
            self.committer.failed();
        }
    }
}

impl<H: News + Send + 'static> Committer<H> {
    pub(super) fn run(&self) {
        loop {
            let rotate = {
                let mut core = self.lock();
                while core.batch.entries.is_empty() && core.rotate.is_none() && !core.stop && !core.failed {
                    core = self.work.wait(core).unwrap_or_else(PoisonError::into_inner);
                }
                if core.failed {
                    return;
                }
                if core.stop && core.batch.entries.is_empty() {
                    break;
                }
                core.rotate.take()
            };
            let mut held = self.writer();
            let Some(writer) = held.as_mut() else { return };
            if !self.write_batch(writer) {
                return;
            }
            if let Some(Rotate(answer)) = rotate {
                match held.take().map(|writer| self.rotate(writer)) {
                    Some(Ok((next, outcome))) => {
                        *held = Some(next);
                        let _ = answer.send(outcome);
                    }
                    Some(Err(error)) => {
                        self.fail(&error);
                        let _ = answer.send(Err(error));
                    }
                    None => {}
                }
            }
        }
        self.close();
    }

    /// In the calling thread, unless another is writing: that one, or the next, takes what waits along.
    pub(super) fn lead(&self) {
        let Ok(mut held) = self.writer.try_lock() else { return self.work.notify_one() };
        let _writing = Writing::of(self);
        if let Some(writer) = held.as_mut() {
            self.write_batch(writer);
        }
    }

    /// All that has been taken so far, made durable and told; whether the disk still serves.
    fn write_batch(&self, writer: &mut Writer) -> bool {
        let (batch, number) = {
            let mut core = self.lock();
            if core.failed || core.batch.entries.is_empty() {
                return !core.failed;
            }
            (std::mem::take(&mut core.batch), core.sequence)
        };
        let written = self.write(writer, &batch);
        match &written {
            Ok(()) => self.written(number, batch, writer),
            Err(error) => self.fail(error),
        }
        written.is_ok()
    }

    fn close(&self) {
        let Some(writer) = self.writer().take() else { return };
        let still = {
            let core = self.lock();
            // Whoever led last may have met a broken disk: the end of such a journal is not marked.
            if core.failed {
                return;
            }
            core.index.still().collect()
        };
        let number = writer.number();
        // On a full disk others may take what is given back, and the next start has nothing else.
        let keeps_room = !files::has_reserve(&self.journal());
        // Damage that is still to be mended may be known only from the mark there is.
        let closed = writer.close(still, keeps_room).and_then(|link| match self.held.load(Ordering::Relaxed) {
            true => Ok(()),
            false => closed::write(&self.disk, &self.journal(), &self.key, Closed { number, link }),
        });
        if let Err(error) = closed {
            tracing::error!(%error, "closing the journal");
        }
    }

    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, writer: &mut Writer, batch: &Batch) -> io::Result<()> {
        for (mailbox, shard) in &batch.folders {
            self.disk.sync_folder(&store::shard_path(&self.root, *mailbox, *shard))?;
            self.syncs.folders.fetch_add(1, Ordering::Relaxed);
        }
        if batch.queued {
            self.disk.sync_folder(&self.root.join(store::OUTGOING))?;
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
    fn written(&self, number: u64, batch: Batch, writer: &Writer) {
        self.lock().durable = (writer.number(), writer.at());
        self.tell(Durable::UpTo(number));
        if batch.superfluous.is_empty() && batch.left.is_empty() {
            return;
        }
        for letter in batch.left {
            let _ = self.disk.remove(&store::outgoing_path(&self.root, letter));
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
        self.failed();
    }

    /// The disk is known to have failed: nobody waits for it any more.
    pub fn give_up(&self) {
        self.failed();
    }

    fn failed(&self) {
        self.lock().failed = true;
        self.tell(Durable::Failed);
        self.failing.send_replace(true);
        // The committing thread is not woken by who waits for entries.
        self.work.notify_one();
    }

    /// Goes on in a new segment. The inner error (no room for one) leaves the present one in use.
    fn rotate(&self, mut writer: Writer) -> io::Result<(Writer, io::Result<u64>)> {
        let number = writer.number() + 1;
        let made = first_entry(self.lock().index.still().collect())
            .and_then(|first| Writer::create(&self.disk, &self.journal(), &self.key, number, first));
        let mut next = match made {
            Ok(next) => next,
            Err(error) => return Ok((writer, Err(error))),
        };
        // What was taken since goes to the old segment; from the moment the lock is free, to the new one.
        let (batch, number, still) = {
            let mut core = self.lock();
            let still: Vec<_> = core.index.still().collect();
            core.file = next.file();
            core.promised = next.at() + (first_entry(still.clone())? + segment::FRAMING) as u64;
            core.ahead = next.ahead();
            (std::mem::take(&mut core.batch), core.sequence, still)
        };
        self.write(&mut writer, &batch)?;
        self.written(number, batch, &writer);
        let link = writer.close(still.clone(), false)?;
        next.begin(Some(link), number + 1, still)?;
        self.lock().durable = (next.number(), segment::HEADER as u64);
        self.segments.fetch_add(1, Ordering::Relaxed);
        let made = next.number();
        Ok((next, Ok(made)))
    }
}

/// How long a segment's first entry can be, whatever comes before it.
fn first_entry(still: Vec<Record>) -> io::Result<usize> {
    files::first(Some([u8::MAX; segment::TAG]), u64::MAX, still).map(|first| first.len())
}
