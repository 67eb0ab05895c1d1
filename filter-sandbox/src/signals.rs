//! Signals that would end a process while it must not end as it stands: they wait, and whoever waits for something else hears of
//! them.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::event::{PollFd, PollFlags};

/// What ends a process whose terminal, or whose admin, is done with it.
const ENDING: [libc::c_int; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

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
        let mut ending = MaybeUninit::uninit();
        // SAFETY: the set is made by the first call, before anything is put in or read; the numbers are signals.
        let ending = unsafe {
            libc::sigemptyset(ending.as_mut_ptr());
            for signal in ENDING {
                libc::sigaddset(ending.as_mut_ptr(), signal);
            }
            ending.assume_init()
        };
        // SAFETY: the set lives, and a new descriptor is asked for.
        let came = unsafe { libc::signalfd(-1, &raw const ending, libc::SFD_CLOEXEC) };
        if came < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel gave it just now, and to nobody else.
        let came = unsafe { OwnedFd::from_raw_fd(came) };
        let mut before = MaybeUninit::uninit();
        // SAFETY: the set lives, and there is room for the one before.
        let failed = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const ending, before.as_mut_ptr()) };
        if failed != 0 {
            return Err(io::Error::from_raw_os_error(failed));
        }
        // SAFETY: the call has filled it.
        Ok(Self { before: unsafe { before.assume_init() }, came })
    }

    /// Waits until there is something to read, or one of them came: then `false`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn until_readable(&self, what: impl AsFd) -> io::Result<bool> {
        let mut both = [PollFd::new(&self.came, PollFlags::IN), PollFd::new(&what, PollFlags::IN)];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut both, None))?;
        Ok(both[0].revents().is_empty())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: the set is the one that the kernel gave.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut()) };
    }
}
