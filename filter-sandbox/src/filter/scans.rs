//! A client's handle to the external scanner: letters in, points out, each from a process made for it alone.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::busy::Permits;
use super::{Filter, FilterLimits, Unfiltered};
use crate::edge::Edge;
use crate::memory;
use crate::scanner::limits::LARGEST;

/// One client's external scanner. Belongs to the runtime it was made in.
#[derive(Debug)]
pub struct Scans(Arc<Filter>);

impl Scans {
    /// Takes the edge to a scanner's zygote. `concurrent` scanners run at once; each gets `deadline` for its letter.
    ///
    /// # Errors
    /// The kernel's; needs a tokio runtime.
    pub fn new(zygote: Edge, concurrent: usize, deadline: Duration) -> io::Result<Self> {
        // None waits ready: it begins to read as soon as it is there.
        let limits = FilterLimits { ready: 0, concurrent, deadline, largest: LARGEST };
        Filter::new(zygote, limits).map(Self)
    }

    /// Goes over to a fresh zygote. Letters under way keep their scanners.
    ///
    /// # Errors
    /// The kernel's.
    pub fn replace(&self, zygote: Edge) -> io::Result<()> {
        self.0.replace(zygote)
    }

    /// The points of one letter: the bytes of `letter`, one slice after another. [`crate::score::THRESHOLD`] and more
    /// is spam.
    ///
    /// # Errors
    /// [`Unfiltered`]. `TooLong` is no fault of the letter's: it is merely not scanned.
    pub async fn points(&self, letter: &[&[u8]]) -> Result<f32, Unfiltered> {
        self.points_for(None, letter).await
    }

    /// The same for one of many who send, as [`Filter::examine_for`].
    ///
    /// # Errors
    /// As [`Scans::points`].
    pub async fn points_for(&self, whose: Option<IpAddr>, letter: &[&[u8]]) -> Result<f32, Unfiltered> {
        let size = letter.iter().map(|part| part.len()).sum();
        let permits = self.0.permits(size, whose).await?;
        self.0
            .within_deadline(async {
                match self.once(letter, size, permits).await {
                    Err((Unfiltered::Died, true)) => {
                        let permits = self.0.permits(size, whose).await?;
                        self.once(letter, size, permits).await
                    }
                    outcome => outcome,
                }
                .map_err(|(error, _)| error)
            })
            .await
    }

    /// Answers also whether it failed because its zygote was killed.
    async fn once(&self, letter: &[&[u8]], size: usize, permits: Permits) -> Result<f32, (Unfiltered, bool)> {
        let file = memory::file_of(letter).map_err(|error| (Unfiltered::NoWorker(error), false))?;
        let view = memory::keep(&file, size).map_err(|error| (Unfiltered::NoWorker(error), false))?;
        let mut busy = self.0.on_demand(size, Some(&file), permits).await.map_err(|error| (error, false))?;
        busy.keep(Arc::new(view.into())).map_err(|error| (error, false))?;
        match busy.points().await {
            Ok(points) => Ok(points),
            Err(error) => Err((error, busy.orphaned().await)),
        }
    }
}
