//! Signals that would end a process while it must not end as it stands: they wait, and whoever waits for something else hears of
//! them.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

/// What ends a process whose terminal, or whose admin, is done with it, or that nobody expected; the real-time ones do so, too.
const ENDING: [libc::c_int; 12] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGALRM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGXCPU,
    libc::SIGIO,
    libc::SIGPWR,
];

/// What was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// Something to read.
    Input,
    /// A signal that ends the process.
    End,
    /// The one that a shell stops a process with: see [`Held::stop`].
    Stop,
}

/// While this lives they wait. Then those that came do what they do. For a process of one thread: another one's would not wait.
#[derive(Debug)]
pub struct Held {
    before: libc::sigset_t,
    came: OwnedFd,
}

impl Held {
    /// Lets them wait from now on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> io::Result<Self> {
        let held = set(ENDING.into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX()).chain([libc::SIGTSTP]));
        // SAFETY: the set lives, and a new descriptor is asked for.
        let came = unsafe { libc::signalfd(-1, &raw const held, libc::SFD_CLOEXEC) };
        if came < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel gave it just now, and to nobody else.
        let came = unsafe { OwnedFd::from_raw_fd(came) };
        Ok(Self { before: mask(libc::SIG_BLOCK, &held)?, came })
    }

    /// Waits until there is something to read, or one of them came.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wait(&self, what: impl AsFd) -> io::Result<Came> {
        // Without a time that can pass, something has come.
        self.poll(what, None).map(|came| came.unwrap_or(Came::Input))
    }

    /// The same for a while; `None`: nothing came.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wait_within(&self, what: impl AsFd, patience: Duration) -> io::Result<Option<Came>> {
        self.poll(what, Timespec::try_from(patience).ok())
    }

    fn poll(&self, what: impl AsFd, patience: Option<Timespec>) -> io::Result<Option<Came>> {
        let mut both = [PollFd::new(&self.came, PollFlags::IN), PollFd::new(&what, PollFlags::IN)];
        let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut both, patience.as_ref()))?;
        if both[0].revents().is_empty() {
            return Ok((ready > 0).then_some(Came::Input));
        }
        Ok(Some(if only_stop_waits()? { Came::Stop } else { Came::End }))
    }

    /// What came has been heard of: it does nothing any more, and does not come again.
    ///
    /// # Errors
    /// The kernel's.
    pub fn take(&self) -> io::Result<()> {
        rustix::io::read(&self.came, &mut [0; size_of::<libc::signalfd_siginfo>()])?;
        Ok(())
    }

    /// Stands still, as the signal that came asks, until somebody continues this process.
    ///
    /// # Errors
    /// The kernel's.
    pub fn stop(&self) -> io::Result<()> {
        let stop = set([libc::SIGTSTP]);
        mask(libc::SIG_UNBLOCK, &stop)?;
        mask(libc::SIG_BLOCK, &stop).map(drop)
    }
}

fn set(signals: impl IntoIterator<Item = libc::c_int>) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the set is made by the first call, before anything is put in or read; the numbers are signals.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

/// What was masked before.
fn mask(how: libc::c_int, set: &libc::sigset_t) -> io::Result<libc::sigset_t> {
    let mut before = MaybeUninit::uninit();
    // SAFETY: the set lives, and there is room for the one before.
    let failed = unsafe { libc::pthread_sigmask(how, set, before.as_mut_ptr()) };
    if failed != 0 {
        return Err(io::Error::from_raw_os_error(failed));
    }
    // SAFETY: the call has filled it.
    Ok(unsafe { before.assume_init() })
}

fn only_stop_waits() -> io::Result<bool> {
    let mut waiting = set([]);
    // SAFETY: there is room for the answer.
    if unsafe { libc::sigpending(&raw mut waiting) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the set lives; the numbers are signals.
    let waits = |signal| unsafe { libc::sigismember(&raw const waiting, signal) == 1 };
    let mut ending = ENDING.into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX());
    Ok(waits(libc::SIGTSTP) && !ending.any(waits))
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = mask(libc::SIG_SETMASK, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use rustix::pipe::pipe;

    use super::*;

    /// In a thread of its own: what it masks, and what is sent to it, is that thread's.
    #[test]
    fn the_second_is_told_from_the_first() {
        let came = std::thread::spawn(|| {
            let held = Held::new().unwrap();
            let (read, write) = pipe().unwrap();
            let look = || held.wait_within(&read, Duration::ZERO).unwrap();
            let raise = || {
                // SAFETY: a number only; the signal waits for this thread, which has masked it.
                assert_eq!(unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGTERM) }, 0);
            };
            let nothing = look();
            raise();
            let first = look();
            held.take().unwrap();
            let taken = look();
            rustix::io::write(&write, b"x").unwrap();
            let input = look();
            raise();
            let second = look();
            held.take().unwrap();
            [nothing, first, taken, input, second]
        });
        assert_eq!(came.join().unwrap(), [None, Some(Came::End), None, Some(Came::Input), Some(Came::End)]);
    }
}
