//! A worker with its letter, from hand-over to death.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use super::pool::{Unmade, Worker};
use super::sheet::Kept;
use super::turns::Turn;
use super::{Unfiltered, examine_frame};
use crate::memory::{self, Locked};
use crate::report::{Facts, Report, limits::REPORT_BYTES};
use crate::scanner::{self, limits::ANSWER};

/// A place among the running workers; held until the worker is dead.
#[derive(Debug)]
pub(super) struct Permits {
    pub(super) _one: Turn,
    pub(super) _large: Option<Turn>,
}

/// Time after which a killed worker is no longer waited for.
const BURIAL: Duration = Duration::from_secs(10);

/// A worker in use. Dropping it ends the worker; what it holds stays until the worker is dead.
#[derive(Debug)]
pub(super) struct Busy(Option<Held>);

#[derive(Debug)]
struct Held {
    worker: Worker,
    /// The letter, kept in memory that cannot be swapped while its reader may look.
    view: Option<Arc<Kept>>,
    _permits: Permits,
}

impl Busy {
    pub(super) fn new(worker: Worker, permits: Permits) -> Self {
        Self(Some(Held { worker, view: None, _permits: permits }))
    }

    fn held(&mut self) -> Result<&mut Held, Unfiltered> {
        self.0.as_mut().ok_or(Unfiltered::Died)
    }

    /// The worker's socket.
    pub(super) fn socket(&mut self) -> Result<&mut UnixStream, Unfiltered> {
        Ok(&mut self.held()?.worker.socket)
    }

    /// Writes the letter into the worker's memory file and seals it.
    pub(super) fn fill(&mut self, message: &[&[u8]]) -> Result<(), Unfiltered> {
        let held = self.held()?;
        let file = held.worker.file.as_ref().ok_or_else(|| Unfiltered::NoWorker(io::ErrorKind::InvalidInput.into()))?;
        held.view = Some(Arc::new(filled(file, message).map_err(Unfiltered::NoWorker)?.into()));
        Ok(())
    }

    /// Keeps a letter that the client wrote itself.
    pub(super) fn keep(&mut self, view: Arc<Kept>) -> Result<(), Unfiltered> {
        self.held()?.view = Some(view);
        Ok(())
    }

    /// Whether its zygote is gone.
    pub(super) async fn orphaned(&self) -> bool {
        match &self.0 {
            Some(held) => held.worker.birth.orphaned().await,
            None => false,
        }
    }

    /// Says go and takes the report. The worker is of no more use afterwards.
    pub(super) async fn examine(&mut self, size: usize, facts: &Facts) -> Result<Report, Unfiltered> {
        let bytes = match self.answer(&examine_frame(size, facts)?).await {
            Err(Unfiltered::Died) => {
                return Err(self.never_born().await.map_or(Unfiltered::Died, Unfiltered::NoWorker));
            }
            answer => answer?,
        };
        // It has nothing more to say: let go of before its worth is judged.
        self.end();
        let report = match postcard::take_from_bytes::<Report>(&bytes) {
            Ok((report, [])) => report,
            _ => return Err(Unfiltered::Garbage),
        };
        report.check(size, facts).map_err(Unfiltered::Lied)?;
        Ok(report)
    }

    async fn answer(&mut self, go: &[u8]) -> Result<Vec<u8>, Unfiltered> {
        let socket = self.socket()?;
        socket.write_all(go).await.map_err(|_| Unfiltered::Died)?;
        report_bytes(socket).await
    }

    /// Why there never was a worker, where the kernel had none to give.
    async fn never_born(&mut self) -> Option<io::Error> {
        match self.0.as_mut()?.worker.birth.wait().await {
            Err(Unmade::Refused(error)) => Some(error),
            Err(Unmade::Gone) | Ok(()) => None,
        }
    }

    /// Takes an external scanner's points: one line, read no further than its end or its bound.
    pub(super) async fn points(&mut self) -> Result<f32, Unfiltered> {
        let socket = self.socket()?;
        let mut line = Vec::with_capacity(ANSWER);
        while line.last() != Some(&b'\n') {
            if line.len() == ANSWER {
                return Err(Unfiltered::Garbage);
            }
            line.push(socket.read_u8().await.map_err(|_| Unfiltered::Died)?);
        }
        scanner::answer(&line).ok_or(Unfiltered::Garbage)
    }
}

/// Exactly one frame, of bounded length. What a worker says after it is never read.
async fn report_bytes(socket: &mut UnixStream) -> Result<Vec<u8>, Unfiltered> {
    let length = socket.read_u32_le().await.map_err(|_| Unfiltered::Died)? as usize;
    match length {
        0 => return Err(Unfiltered::NotUnderstood),
        1..=REPORT_BYTES => {}
        _ => return Err(Unfiltered::Garbage),
    }
    let mut bytes = vec![0; length];
    socket.read_exact(&mut bytes).await.map_err(|_| Unfiltered::Died)?;
    Ok(bytes)
}

/// Writes and seals; answers the view that keeps it locked.
fn filled(file: &OwnedFd, message: &[&[u8]]) -> io::Result<Locked> {
    let size = memory::append_all(file.as_fd(), 0, message)?;
    let size = usize::try_from(size).map_err(|_| io::ErrorKind::OutOfMemory)?;
    rustix::fs::fcntl_add_seals(file, memory::all_seals())?;
    memory::keep(file, size)
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.end();
    }
}

impl Busy {
    /// Lets go of the worker; what it holds stays until it is dead.
    fn end(&mut self) {
        let Some(Held { worker, view, _permits }) = self.0.take() else { return };
        let Worker { socket, birth, .. } = worker;
        // The zygote sees it hang up and kills the worker, if it has not ended by itself.
        drop(socket);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let buried = async { if let Some(pidfd) = birth.pidfd().await { dead(pidfd).await } else { Ok(()) } };
                let _ = tokio::time::timeout(BURIAL, buried).await;
                drop((view, _permits));
            });
        }
    }
}

async fn dead(pidfd: OwnedFd) -> io::Result<()> {
    // SAFETY: an OwnedFd gives the same descriptor for as long as it lives, and AsyncFd owns it.
    let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?;
    pidfd.readable().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row 68: once it is handed over nobody changes a letter, its writer included.
    #[test]
    fn a_filled_letter_is_sealed() {
        let file = memory::empty_file().unwrap();
        let view = filled(&file, &[b"one ", b"two"]).unwrap();
        assert_eq!(&*view, b"one two");
        assert_eq!(rustix::io::pwrite(&file, b"x", 0), Err(rustix::io::Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&file, 3), Err(rustix::io::Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&file, 30), Err(rustix::io::Errno::PERM));
        assert_eq!(&*view, b"one two");
    }
}
