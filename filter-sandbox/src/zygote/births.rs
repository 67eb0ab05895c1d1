//! Making one worker, and seeing it to its end.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::FileType;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus};

use crate::offspring::Zygote;
use crate::protocol::{Spawn, limits};
use crate::sys::{self, Cloned};
use crate::worker::{Birth, Prepared, ended};

/// All that is needed to make workers.
pub(crate) struct Births {
    pub(crate) zygote: Zygote,
    pub(crate) prepared: Prepared,
}

/// What a client gives a worker on its way.
pub(crate) struct Dowry {
    /// The message's memory file.
    pub(crate) file: OwnedFd,
    /// The worker's end of its socket.
    pub(crate) socket: OwnedFd,
}

impl Dowry {
    /// Takes what rode along with a request.
    pub(crate) fn of(with: Vec<OwnedFd>) -> io::Result<Self> {
        let mut with = with.into_iter();
        match (with.next(), with.next()) {
            (Some(file), Some(socket)) => Ok(Self { file, socket }),
            _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        }
    }
}

/// A new worker, as its zygote sees it.
pub(crate) struct Living {
    pidfd: OwnedFd,
    /// The worker's own end of its socket: it hangs up when the client lets go. `None` once that has been seen.
    socket: Option<OwnedFd>,
    buried: bool,
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// It is alive.
    NotYet,
    /// It was done, or was ended from outside.
    Normal,
    /// It broke a rule, crashed, or could not be locked.
    Abnormal,
}

impl Births {
    pub(crate) fn spawn(&self, spawn: Spawn, Dowry { file, socket }: Dowry) -> io::Result<Living> {
        if spawn.largest == 0 || spawn.largest > limits::LARGEST {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        memory_file(&file)?;
        a_socket(&socket)?;
        let message = self.read_only(&file)?;
        let birth = Birth { zygote: &self.zygote, prepared: &self.prepared, spawn, message: &message, socket: &socket };
        match self.zygote.clone_child()? {
            Cloned::Child => birth.live(),
            Cloned::Parent { pidfd: Some(pidfd), .. } => Ok(Living { pidfd, socket: Some(socket), buried: false }),
            Cloned::Parent { .. } => Err(io::Error::other("the kernel gave no pidfd")),
        }
    }

    /// A second opening of a memory file that can only be read.
    pub(crate) fn read_only(&self, file: &OwnedFd) -> io::Result<OwnedFd> {
        let path = std::ffi::CString::new(format!("self/fd/{}", file.as_raw_fd()))?;
        sys::open_at(Some(self.zygote.proc()), &path, libc::O_RDONLY)
    }
}

/// Only memory files have seals; opening anything else again could wait for ever or mean something.
fn memory_file(file: &OwnedFd) -> io::Result<()> {
    rustix::fs::fcntl_get_seals(file).map(drop).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// What is no socket never hangs up.
fn a_socket(socket: &OwnedFd) -> io::Result<()> {
    match FileType::from_raw_mode(rustix::fs::fstat(socket)?.st_mode) {
        FileType::Socket => Ok(()),
        _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

impl Living {
    /// Hangs up when its client has let go of it.
    pub(crate) fn hung_up(&self) -> &OwnedFd {
        self.socket.as_ref().unwrap_or(&self.pidfd)
    }

    /// Readable when it is dead.
    pub(crate) fn died(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Forgets its socket, so that its death alone is the end of it.
    pub(crate) fn let_go(&mut self) {
        self.socket = None;
    }

    /// Ends it; its death is told in its own time.
    pub(crate) fn end(&mut self) {
        if !self.buried {
            let _ = sys::kill(&self.pidfd);
            self.socket = None;
        }
    }

    pub(crate) const fn buried(&self) -> bool {
        self.buried
    }

    /// Reaps it if it is dead.
    pub(crate) fn bury(&mut self) -> Death {
        self.reap(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    /// Waits until it is dead.
    pub(crate) fn wait(&mut self) -> Death {
        self.reap(WaitIdOptions::EXITED)
    }

    fn reap(&mut self, how: WaitIdOptions) -> Death {
        if self.buried {
            return Death::NotYet;
        }
        match rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), how) {
            Ok(None) => Death::NotYet,
            Ok(Some(status)) => {
                self.buried = true;
                judge(&status)
            }
            Err(_) => {
                self.buried = true;
                Death::Normal
            }
        }
    }
}

fn judge(status: &WaitIdStatus) -> Death {
    let well = status.exit_status().is_some_and(|code| code == ended::WELL || code == ended::ALONE)
        || status.terminating_signal() == Some(libc::SIGKILL);
    if well { Death::Normal } else { Death::Abnormal }
}
