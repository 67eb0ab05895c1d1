//! A letter that is written as it comes, before it has a worker.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::{Filter, Unfiltered};
use crate::memory::{self, Locked};
use crate::report::{Facts, Report};

/// A locked memory file of a known size that fills up. APPEND streams its literal into one.
#[derive(Debug)]
pub struct Sheet {
    filter: Arc<Filter>,
    file: OwnedFd,
    view: Arc<Locked>,
    written: usize,
    sealed: bool,
}

impl Sheet {
    pub(super) fn new(filter: Arc<Filter>, size: usize) -> io::Result<Self> {
        let file = memory::empty_file()?;
        rustix::fs::ftruncate(&file, size as u64)?;
        let view = Arc::new(memory::keep(&file, size)?);
        Ok(Self { filter, file, view, written: 0, sealed: false })
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// More than the size that was named, or already examined: the caller's fault.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Unfiltered> {
        if self.sealed || bytes.len() > self.view.len() - self.written {
            return Err(Unfiltered::TooLong);
        }
        memory::append_all(self.file.as_fd(), self.written as u64, &[bytes]).map_err(Unfiltered::NoWorker)?;
        self.written += bytes.len();
        Ok(())
    }

    /// What has been written.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.view.get(..self.written).unwrap_or_default()
    }

    /// Has it examined by a worker of its own; nothing can be added afterwards.
    ///
    /// # Errors
    /// [`Unfiltered`].
    pub async fn examine(&mut self, facts: &Facts) -> Result<Report, Unfiltered> {
        self.seal().map_err(Unfiltered::NoWorker)?;
        let (filter, size) = (Arc::clone(&self.filter), self.written);
        filter
            .within_deadline(async {
                let mut busy = filter.on_demand(size, Some(&self.file)).await?;
                busy.keep(Arc::clone(&self.view))?;
                busy.examine(size, facts).await
            })
            .await
    }

    fn seal(&mut self) -> io::Result<()> {
        if !self.sealed {
            rustix::fs::fcntl_add_seals(&self.file, memory::all_seals())?;
            self.sealed = true;
        }
        Ok(())
    }
}
