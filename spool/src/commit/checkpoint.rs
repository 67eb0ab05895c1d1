//! Checkpoints from the live index.

use std::io;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::index::News;
use crate::journal::checkpoint::{self, Checkpoint};
use crate::journal::{files, limits};

use super::{Committer, Rotate};

impl<H: News + Send + 'static> Committer<H> {
    /// Whether the journal has grown enough for a checkpoint.
    #[must_use]
    pub fn wants_checkpoint(&self) -> bool {
        if self.held.load(Ordering::Relaxed) {
            return false;
        }
        let bound = limits::CHECKPOINT_AFTER.max(self.last_checkpoint.load(Ordering::Relaxed));
        self.grown.load(Ordering::Relaxed) > bound || self.segments.load(Ordering::Relaxed) > limits::SEGMENTS as u64
    }

    /// Makes no checkpoint any more: what is damaged could not be mended, and the next start must meet it again.
    pub fn hold_checkpoints(&self) {
        self.held.store(true, Ordering::Relaxed);
    }

    /// Writes a checkpoint, in the calling thread, while commits go on. `after_damage` puts everything
    /// before it aside.
    ///
    /// # Errors
    /// The kernel's; the journal is as good as before.
    pub fn checkpoint(&self, after_damage: bool) -> io::Result<()> {
        let _alone = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.held.load(Ordering::Relaxed) {
            return Err(io::Error::other("damage that could not be mended waits for the next start"));
        }
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

    /// After [`Committer::stop`]: waits for a checkpoint that is being written. None begins any more.
    pub fn settle(&self) {
        drop(self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn write_checkpoint(&self, dir: &Path, number: u64) -> io::Result<u64> {
        let mut checkpoint = Checkpoint::begin(&self.disk, dir, &self.key, number)?;
        let (house, ids, mut known) = {
            let core = self.lock();
            // What waits to leave and the rest know the same entries as the house: so all under one lock.
            let house = [core.index.house(core.sequence), core.index.forwards_record()].into_iter();
            let house = house.chain(core.index.house_records()).chain(core.index.outgoing_records());
            let house = house.map(|record| files::encode(&vec![record])).collect::<io::Result<Vec<_>>>()?;
            (house, core.index.ids(), core.sequence)
        };
        checkpoint.write(&house)?;
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
