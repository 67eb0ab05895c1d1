//! One worker for one SEARCH command: that owner's letters in turn, one bit each as answer.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::busy::Busy;
use super::{FilterLimits, Unfiltered};
use crate::protocol::{Job, job_frame};
use crate::report::Query;

/// A worker that waits for letters. After an error it answers nothing more.
#[derive(Debug)]
pub struct Searcher {
    busy: Option<Busy>,
    deadline: Duration,
    largest: usize,
}

impl Searcher {
    pub(super) async fn new(mut busy: Busy, query: &Query, limits: FilterLimits) -> Result<Self, Unfiltered> {
        let job = job_frame(&Job::Search(query.clone())).map_err(Unfiltered::NoWorker)?;
        busy.socket()?.write_all(&job).await.map_err(|_| Unfiltered::Died)?;
        Ok(Self { busy: Some(busy), deadline: limits.deadline, largest: limits.largest })
    }

    /// Whether one letter matches; bit n of `known` answers the query's `Known(n)`.
    ///
    /// # Errors
    /// [`Unfiltered`]; the searcher is then of no more use.
    pub async fn matches(&mut self, known: u64, letter: &[&[u8]]) -> Result<bool, Unfiltered> {
        let size: usize = letter.iter().map(|part| part.len()).sum();
        if size > self.largest {
            return Err(Unfiltered::TooLong);
        }
        let mut busy = self.busy.take().ok_or(Unfiltered::Died)?;
        let answer = tokio::time::timeout(self.deadline, ask(&mut busy, known, size, letter)).await;
        let answer = answer.unwrap_or(Err(Unfiltered::Late))?;
        self.busy = Some(busy);
        Ok(answer)
    }
}

async fn ask(busy: &mut Busy, known: u64, size: usize, letter: &[&[u8]]) -> Result<bool, Unfiltered> {
    let socket = busy.socket()?;
    let mut head = [0; 12];
    head[..8].copy_from_slice(&known.to_le_bytes());
    head[8..].copy_from_slice(&u32::try_from(size).map_err(|_| Unfiltered::TooLong)?.to_le_bytes());
    let died = |_| Unfiltered::Died;
    socket.write_all(&head).await.map_err(died)?;
    for part in letter {
        socket.write_all(part).await.map_err(died)?;
    }
    match socket.read_u8().await.map_err(died)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Unfiltered::Garbage),
    }
}
