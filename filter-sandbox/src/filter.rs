//! A client's handle to its zygote: letters in, checked reports out, each from a process made for it alone.
//!
//! A few workers wait ready; used ones are thrown away and replaced behind the letter's back. Whatever goes wrong
//! with a worker costs that one letter a temporary failure. A new zygote's edge is given with [`Filter::replace`];
//! until it comes, letters wait for it within their deadline.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use crate::edge::Edge;
use crate::memory;
use crate::protocol::{Job, limits::READY_LARGEST};
use crate::report::{BadReport, Facts, Query, Report};

mod busy;
mod pool;
mod scans;
mod searcher;
mod sheet;
mod turns;

pub use scans::Scans;
pub use searcher::Searcher;
pub use sheet::{Sealed, Sheet, SheetBudget};

use busy::Busy;
use pool::Pool;
use turns::{Turns, Whose};

/// Bounds of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilterLimits {
    /// Workers kept waiting, each for one letter of up to 1 MiB. 0: every worker is made on demand.
    pub ready: usize,
    /// Workers running at once; on machines under 1 GB those for letters over 1 MiB run one at a time.
    pub concurrent: usize,
    /// Time for a place among the workers, and again from there to having the report.
    pub deadline: Duration,
    /// Largest letter (bytes).
    pub largest: usize,
}

/// Why a letter has no report.
#[derive(Debug)]
pub enum Unfiltered {
    /// The letter is longer than this filter takes: the sender's fault.
    TooLong,
    /// The letter has more parts, fields or levels than anybody reads: the sender's fault.
    NotUnderstood,
    /// No place within the deadline, or no room: too much waits already.
    Busy,
    /// No report within the deadline; its worker has been killed.
    Late,
    /// The worker died: killed for what it tried, crashed, or out of memory.
    Died,
    /// The worker said what cannot be true.
    Lied(BadReport),
    /// The worker said what is not a report.
    Garbage,
    /// No worker could be made, or its letter not handed over.
    NoWorker(io::Error),
}

impl Unfiltered {
    /// Whether the same letter would fail again: a 5xx may be right. All else is a 451.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        matches!(self, Self::TooLong | Self::NotUnderstood)
    }
}

impl fmt::Display for Unfiltered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("the letter is too long"),
            Self::NotUnderstood => f.write_str("the letter has too many parts or levels to be understood"),
            Self::Busy => f.write_str("too many letters wait for the filter"),
            Self::Late => f.write_str("the filter worker was too slow and was killed"),
            Self::Died => f.write_str("the filter worker died"),
            Self::Lied(how) => write!(f, "the filter worker lied: {how}"),
            Self::Garbage => f.write_str("the filter worker's answer is no report"),
            Self::NoWorker(error) => write!(f, "no filter worker: {error}"),
        }
    }
}

impl std::error::Error for Unfiltered {}

/// One client's filter. Belongs to the runtime it was made in.
#[derive(Debug)]
pub struct Filter {
    pool: Arc<Pool>,
    limits: FilterLimits,
    running: Arc<Turns>,
    large: Arc<Turns>,
}

impl Filter {
    /// Takes the edge to a zygote and begins to fill the pool.
    ///
    /// # Errors
    /// The kernel's; needs a tokio runtime.
    pub fn new(zygote: Edge, limits: FilterLimits) -> io::Result<Arc<Self>> {
        let large = if memory::is_small_machine() { 1 } else { limits.concurrent };
        let filter = Self {
            pool: Pool::new(zygote, limits)?,
            limits,
            running: Turns::new(limits.concurrent),
            large: Turns::new(large),
        };
        Ok(Arc::new(filter))
    }

    /// Goes over to a fresh zygote. Letters under way keep their workers.
    ///
    /// # Errors
    /// The kernel's.
    pub fn replace(&self, zygote: Edge) -> io::Result<()> {
        self.pool.replace(zygote)
    }

    /// Has one letter examined: the bytes of `message`, one slice after another. It waits for its turn as long as the
    /// deadline allows: what may wait is for its caller to bound.
    ///
    /// # Errors
    /// [`Unfiltered`]: a temporary failure, unless it is the letter's own fault.
    pub async fn examine(&self, message: &[&[u8]], facts: &Facts) -> Result<Report, Unfiltered> {
        self.examine_for(None, message, facts).await
    }

    /// The same for one of many who send: they take turns, whoever sends how much.
    ///
    /// # Errors
    /// As [`Filter::examine`].
    pub async fn examine_for(
        &self,
        whose: Option<IpAddr>,
        message: &[&[u8]],
        facts: &Facts,
    ) -> Result<Report, Unfiltered> {
        let size = message.iter().map(|part| part.len()).sum();
        let permits = self.permits(size, whose).await?;
        self.within_deadline(async {
            let mut busy = self.worker(size, permits).await?;
            busy.fill(message)?;
            match busy.examine(size, facts).await {
                Err(Unfiltered::Died) if busy.orphaned().await => {}
                outcome => return outcome,
            }
            // Its zygote was restarted under it; that was not the letter's doing. Once more, with a new one, and without
            // keeping the first one's place: all who were at work may be here.
            drop(busy);
            let mut busy = self.worker(size, self.permits(size, whose).await?).await?;
            busy.fill(message)?;
            busy.examine(size, facts).await
        })
        .await
    }

    /// A sheet to write a letter of exactly `size` bytes on as it comes, before it is examined. What it takes of
    /// `budget` it holds until it is dropped and its worker is dead.
    ///
    /// # Errors
    /// [`Unfiltered::TooLong`], [`Unfiltered::Busy`] when the budget is spent, or no memory.
    pub async fn sheet(self: &Arc<Self>, size: usize, budget: &SheetBudget) -> Result<Sheet, Unfiltered> {
        self.bounded(size)?;
        Sheet::new(Arc::clone(self), size, budget.clone()).await
    }

    /// A worker that answers one bit for each of one owner's letters.
    ///
    /// # Errors
    /// [`Unfiltered`].
    pub async fn searcher(&self, query: &Query) -> Result<Searcher, Unfiltered> {
        self.within_deadline(async {
            let permits = self.permits(self.limits.largest, None).await?;
            let busy = self.on_demand(self.limits.largest, None, permits).await?;
            Searcher::new(busy, query, self.limits).await
        })
        .await
    }

    fn bounded(&self, size: usize) -> Result<(), Unfiltered> {
        if size > self.limits.largest { Err(Unfiltered::TooLong) } else { Ok(()) }
    }

    async fn within_deadline<T>(&self, work: impl Future<Output = Result<T, Unfiltered>>) -> Result<T, Unfiltered> {
        // Dropping the work at the deadline lets go of its worker, which ends it.
        tokio::time::timeout(self.limits.deadline, work).await.unwrap_or(Err(Unfiltered::Late))
    }

    /// A worker for a letter of that size: a waiting one, or one made now.
    async fn worker(&self, size: usize, permits: busy::Permits) -> Result<Busy, Unfiltered> {
        if size as u64 > READY_LARGEST {
            return self.on_demand(size, None, permits).await;
        }
        let worker = self.pool.take().await?;
        Ok(Busy::new(worker, permits))
    }

    /// A worker made now; with a memory file of the client's, or an empty one.
    async fn on_demand(
        &self,
        size: usize,
        file: Option<&std::os::fd::OwnedFd>,
        permits: busy::Permits,
    ) -> Result<Busy, Unfiltered> {
        let worker = self.pool.make(size as u64, file).await?;
        Ok(Busy::new(worker, permits))
    }

    /// A place among the workers, for a letter of that size.
    async fn permits(&self, size: usize, whose: Whose) -> Result<busy::Permits, Unfiltered> {
        self.bounded(size)?;
        let places = async {
            let large = match size as u64 > READY_LARGEST {
                true => Some(self.large.take(whose).await?),
                false => None,
            };
            Some(busy::Permits { _one: self.running.take(whose).await?, _large: large })
        };
        tokio::time::timeout(self.limits.deadline, places).await.ok().flatten().ok_or(Unfiltered::Busy)
    }
}

/// The frame that starts an examination.
fn examine_frame(size: usize, facts: &Facts) -> Result<Vec<u8>, Unfiltered> {
    crate::protocol::job_frame(&Job::Examine { size: size as u64, facts: facts.clone() }).map_err(Unfiltered::NoWorker)
}
