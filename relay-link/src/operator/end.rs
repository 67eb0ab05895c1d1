//! The end of a proxy: by its operator's word, with what is under way finished first, or because its other process has ended.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use filter_sandbox::Running;
use filter_sandbox::signals::{Came, Held};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wire::control::Control;

use super::{Doing, Failure};

/// Between two looks at what the parent tends.
const LOOK: Duration = Duration::from_secs(60);
/// For a process whose control edge is closed to be gone.
const GONE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// Waits for the end of the process that strangers talk to, and tends what the parent has to. The first signal that would end this
/// program tells that process to finish what is under way, for so long at most; the second ends both.
///
/// # Errors
/// In words for the operator: it has ended by itself.
pub fn wait(
    running: Running,
    bound: Duration,
    mut tend: impl FnMut(&Running) -> Result<(), Failure>,
) -> Result<ExitCode, Failure> {
    let what = || "cannot wait for the other process".to_owned();
    let held = Held::new().doing(what)?;
    let mut until = None;
    loop {
        let patience = until.map_or(LOOK, |until: Instant| until.saturating_duration_since(Instant::now()));
        match (held.wait_within(&running.pidfd, patience).doing(what)?, until) {
            (Some(Came::Stop), _) => held.stop().doing(what)?,
            (Some(Came::Input), Some(_)) => return Ok(ExitCode::SUCCESS),
            (Some(Came::Input), None) => {
                return Err(Failure::new("its other process has ended; its last words are above"));
            }
            (Some(Came::End), None) => {
                held.take().doing(what)?;
                tracing::info!(seconds = bound.as_secs(), "finishing what is under way, for so long at most");
                running.control.send(&Control::Drain, &[]).doing(what)?;
                until = Some(Instant::now() + bound);
            }
            (None, None) => tend(&running)?,
            (Some(Came::End) | None, Some(_)) => {
                end(running);
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

/// It ends when its control edge closes. Its ports are free when this program has gone.
fn end(running: Running) {
    let Running { pidfd, control, .. } = running;
    drop(control);
    let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&GONE));
}
