//! A letter that is written as it comes, before it has a worker.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Filter, Unfiltered};
use crate::memory::{self, Locked};
use crate::report::{Facts, Report};

/// How long a sheet waits for others to give theirs back before it is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that the sheets of one process may hold together, in steps of a mebibyte. Clones share them.
#[derive(Debug, Clone)]
pub struct SheetBudget {
    steps: Arc<Semaphore>,
    patience: Duration,
}

impl SheetBudget {
    /// A sheet grows by so much: who announces fifty megabytes and sends two holds two.
    pub const STEP: usize = 1024 * 1024;

    /// So many bytes, one step at least.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let steps = bytes.div_ceil(Self::STEP).clamp(1, Semaphore::MAX_PERMITS);
        Self { steps: Arc::new(Semaphore::new(steps)), patience: PATIENCE }
    }

    async fn step(&self) -> Result<OwnedSemaphorePermit, Unfiltered> {
        let step = tokio::time::timeout(self.patience, Arc::clone(&self.steps).acquire_owned()).await;
        step.map_err(|_| Unfiltered::Busy)?.map_err(|_| Unfiltered::Busy)
    }
}

/// A view of a letter, and what it holds of a budget: both for as long as anybody may read it.
#[derive(Debug)]
pub(super) struct Kept {
    view: Locked,
    held: Option<OwnedSemaphorePermit>,
}

impl From<Locked> for Kept {
    fn from(view: Locked) -> Self {
        Self { view, held: None }
    }
}

/// A memory file that fills up.
#[derive(Debug)]
struct Filling {
    file: OwnedFd,
    kept: Kept,
    budget: SheetBudget,
    /// Bytes that have pages, and are paid for.
    room: usize,
    written: usize,
}

impl Filling {
    async fn new(size: usize, budget: SheetBudget) -> Result<Self, Unfiltered> {
        let file = memory::empty_file().map_err(Unfiltered::NoWorker)?;
        let view = memory::room(&file, size).map_err(Unfiltered::NoWorker)?;
        let mut filling = Self { file, kept: view.into(), budget, room: 0, written: 0 };
        filling.grow().await?;
        Ok(filling)
    }

    async fn grow(&mut self) -> Result<(), Unfiltered> {
        let step = self.budget.step().await?;
        match &mut self.kept.held {
            Some(held) => held.merge(step),
            none => *none = Some(step),
        }
        let room = self.kept.view.len().min(self.room + SheetBudget::STEP);
        self.kept.view.secure(self.room..room);
        self.room = room;
        Ok(())
    }

    async fn push(&mut self, bytes: &[u8]) -> Result<(), Unfiltered> {
        if bytes.len() > self.kept.view.len() - self.written {
            return Err(Unfiltered::TooLong);
        }
        while self.room < self.written + bytes.len() {
            self.grow().await?;
        }
        memory::append_all(self.file.as_fd(), self.written as u64, &[bytes]).map_err(Unfiltered::NoWorker)?;
        self.written += bytes.len();
        Ok(())
    }

    fn seal(self) -> io::Result<Sealed> {
        rustix::fs::fcntl_add_seals(&self.file, memory::all_seals())?;
        Ok(Sealed { file: self.file, kept: Arc::new(self.kept), written: self.written })
    }
}

/// A locked memory file of a known size that fills up. APPEND streams its literal into one.
#[derive(Debug)]
pub struct Sheet {
    filter: Arc<Filter>,
    filling: Filling,
}

impl Sheet {
    pub(super) async fn new(filter: Arc<Filter>, size: usize, budget: SheetBudget) -> Result<Self, Unfiltered> {
        Ok(Self { filter, filling: Filling::new(size, budget).await? })
    }

    /// Adds bytes, waiting a while for room in the budget.
    ///
    /// # Errors
    /// [`Unfiltered::TooLong`] beyond the size that was named: the caller's fault. [`Unfiltered::Busy`] when the budget
    /// is spent.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<(), Unfiltered> {
        self.filling.push(bytes).await
    }

    /// Has it examined by a worker of its own; nothing can be added any more.
    ///
    /// # Errors
    /// [`Unfiltered`].
    pub async fn examine(self, facts: &Facts) -> Result<(Report, Sealed), Unfiltered> {
        let Self { filter, filling } = self;
        let sealed = filling.seal().map_err(Unfiltered::NoWorker)?;
        let size = sealed.written;
        let permits = filter.permits(size, None).await?;
        let report = filter
            .within_deadline(async {
                let mut busy = filter.on_demand(size, Some(&sealed.file), permits).await?;
                busy.keep(Arc::clone(&sealed.kept))?;
                busy.examine(size, facts).await
            })
            .await?;
        Ok((report, sealed))
    }
}

/// A sheet that has been examined.
#[derive(Debug)]
pub struct Sealed {
    file: OwnedFd,
    kept: Arc<Kept>,
    written: usize,
}

impl Sealed {
    /// What has been written.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.kept.view.get(..self.written).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: usize = SheetBudget::STEP;

    fn pages_of(filling: &Filling) -> usize {
        usize::try_from(rustix::fs::fstat(&filling.file).unwrap().st_blocks).unwrap() * 512
    }

    #[tokio::test]
    async fn a_sheet_takes_what_has_come_and_not_what_was_announced() {
        let budget = SheetBudget::new(100 * STEP);
        let mut filling = Filling::new(50 * STEP, budget.clone()).await.unwrap();
        assert!(pages_of(&filling) <= STEP);
        let letter: Vec<u8> = (0..STEP + 10).map(|at| at as u8).collect();
        filling.push(&letter).await.unwrap();
        assert!(pages_of(&filling) <= 2 * STEP);
        assert_eq!(budget.steps.available_permits(), 98);
        let sealed = filling.seal().unwrap();
        assert_eq!(sealed.bytes(), letter);
        drop(sealed);
        assert_eq!(budget.steps.available_permits(), 100);
    }

    #[tokio::test]
    async fn a_spent_budget_turns_the_next_one_away_and_room_given_back_lets_it_in() {
        let hasty = SheetBudget { patience: Duration::from_millis(5), ..SheetBudget::new(2 * STEP) };
        let budget = SheetBudget { patience: PATIENCE, ..hasty.clone() };
        let mut first = Filling::new(2 * STEP, budget.clone()).await.unwrap();
        first.push(&vec![1; STEP + 1]).await.unwrap();
        assert!(matches!(Filling::new(10, hasty).await, Err(Unfiltered::Busy)));
        let waiting = tokio::spawn(async move { Filling::new(10, budget).await.map(drop) });
        tokio::task::yield_now().await;
        drop(first);
        waiting.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn more_than_was_named_is_refused() {
        let mut filling = Filling::new(3, SheetBudget::new(0)).await.unwrap();
        filling.push(b"abc").await.unwrap();
        assert!(matches!(filling.push(b"d").await, Err(Unfiltered::TooLong)));
    }
}
