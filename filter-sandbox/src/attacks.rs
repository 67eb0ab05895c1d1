//! What a worker that has been taken over would try: one small function an attempt, run in a child of its own.
//!
//! Used by the self-test at start and by the tests; never by a role on request. Row numbers, and what each wall does
//! alone, are those of the attack list in `ARCHITECTURE.md`. Every attempt is harmless where it succeeds.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus};

use crate::confine::Status;
use crate::protocol::Spawn;
use crate::sys::{self, Cloned};
use crate::worker::{Birth, ended};
use crate::zygote::births::Births;

mod escape;
mod files;
mod inherited;
mod kernel;
mod memory;
mod network;
mod pairs;
mod scanner;
mod survey;
mod table;
mod tree;

pub use inherited::ON_INHERITED;
pub use pairs::{PAIRS, Pair};
pub use scanner::ON_A_SCANNER;
pub use survey::{Ask, as_offspring, as_role, pretend, pretend_before_auxv, survey};
pub use table::{ATTACKS, ENDS, ON_A_WRITABLE_MESSAGE};

/// What the attempts are aimed at.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Victim {
    /// A file outside that everybody may read; absolute.
    pub file: String,
    /// A living process outside.
    pub process: i32,
    /// A TCP port of the host's loopback that listens.
    pub tcp: u16,
    /// A UDP port of the host's loopback that listens.
    pub udp: u16,
    /// An abstract socket of the host's that listens.
    pub abstract_socket: String,
    /// A socket file outside that listens.
    pub socket_file: String,
    /// Key of a SysV segment of the host's.
    pub segment: i32,
    /// A directory that the zygote has open under this number.
    pub stray: i32,
    /// A TCP listener of the host's network that a role inherited, closed to connecting out as `up` closes its own.
    pub listener: i32,
    /// A connection that it accepted.
    pub accepted: i32,
    /// A listener of the host's network as it comes from the kernel.
    pub open_listener: i32,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Outcome {
    /// The call succeeded.
    Works,
    /// It was refused with that errno.
    Refused(i32),
    /// It was the process's end, by that signal.
    Killed(i32),
    /// The child did not get as far as trying.
    NotTried,
}

/// One attempt.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    /// Row of the list.
    pub row: u8,
    /// In words.
    pub name: &'static str,
    /// Does it; the errno when refused.
    run: fn(&Victim) -> Result<(), i32>,
    /// What must come of it behind every wall.
    pub whole: Outcome,
    /// What must come of it with seccomp off.
    pub alone: Outcome,
    /// What must come of it with seccomp off on a kernel without Landlock.
    pub bare: Outcome,
    /// Whether it is aimed at the host: files, network, processes.
    pub boundary: bool,
}

/// The answer of a raw call.
fn answer(answer: libc::c_long) -> Result<libc::c_long, i32> {
    if answer >= 0 {
        return Ok(answer);
    }
    Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

/// One raw system call of an attempt. Every argument goes as a whole machine word.
macro_rules! attempt {
    ($number:expr $(, $argument:expr)* $(,)?) => {
        // SAFETY: every pointer that an attempt passes is null or valid for what the call would do with it, and the
        // process is thrown away after it.
        $crate::attacks::answer(unsafe { libc::syscall($number $(, $argument as libc::c_long)*) })
    };
}
pub(crate) use attempt;

impl Attack {
    /// Tries it in a child that is locked as a worker is; with all walls, or without the last.
    pub(crate) fn attempt(&self, births: &Births, victim: &Victim, message: Message) -> io::Result<Outcome> {
        births.hostile(message, || match (self.run)(victim) {
            Ok(()) => 0,
            Err(errno) => errno,
        })
    }
}

/// What the attacking child finds at descriptor 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Message {
    /// As every worker: a sealed memory file, opened for reading.
    ReadOnly,
    /// The same file, opened for writing: as if that wall were missing.
    Writable,
    /// An empty one: for a child that only tells what it is.
    Empty,
}

impl Births {
    /// A child locked as a worker is, that does `what` instead of a worker's job; its exit code is the answer.
    fn hostile(&self, message: Message, what: impl FnOnce() -> i32) -> io::Result<Outcome> {
        let (socket, pidfd) = self.locked_child(message, |_| what())?;
        // Nobody listens to it.
        drop(socket);
        end_of(&pidfd)
    }

    /// A child locked as its kind is, that then does `what`.
    pub(crate) fn locked_child(
        &self,
        message: Message,
        what: impl FnOnce(Status) -> i32,
    ) -> io::Result<(UnixStream, OwnedFd)> {
        let file = match message {
            Message::Empty => crate::memory::empty_file()?,
            _ => crate::memory::file_of(&[b"Subject: prey\r\n\r\n"])?,
        };
        let message = if message == Message::Writable { file } else { self.read_only(&file)? };
        let (ours, theirs) = UnixStream::pair()?;
        let socket = theirs.into();
        let spawn = Spawn { largest: 1024 * 1024, seconds: 1, warm: false };
        let birth = Birth { zygote: &self.zygote, prepared: &self.prepared, spawn, message: &message, socket: &socket };
        match self.zygote.clone_child()? {
            Cloned::Child => match birth.lock_only() {
                Ok(status) => sys::exit(what(status)),
                Err(error) => {
                    eprintln!("worker: {error}");
                    sys::exit(ended::UNCONFINED)
                }
            },
            Cloned::Parent { pidfd: Some(pidfd), .. } => Ok((ours, pidfd)),
            Cloned::Parent { .. } => Err(io::Error::other("the kernel gave no pidfd")),
        }
    }
}

fn end_of(pidfd: &OwnedFd) -> io::Result<Outcome> {
    let status = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)?;
    Ok(status.map_or(Outcome::NotTried, |status| outcome(&status)))
}

fn outcome(status: &WaitIdStatus) -> Outcome {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => Outcome::Works,
        (Some(ended::UNCONFINED | ended::PANICKED), _) => Outcome::NotTried,
        (Some(errno), _) => Outcome::Refused(errno),
        (None, Some(signal)) => Outcome::Killed(signal),
        (None, None) => Outcome::NotTried,
    }
}

/// NUL-terminated.
fn text(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}
