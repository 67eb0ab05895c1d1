//! The stranger that meets one message.
//!
//! Hostile bytes: the whole message. Holds: that message, read-only, as descriptor 0, and one socket as descriptor 1.
//! Can never: open, connect, fork, exec, map executable memory, change the message, outlive its zygote, or see another
//! message (but a searcher sees one owner's letters in turn, and answers one bit each).

use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::arena;
use crate::bpf::Program;
use crate::confine::{self, At, ConfineError, Status};
use crate::memory::{self, Locked};
use crate::offspring;
use crate::protocol::{self, Job, Spawn, limits};
use crate::report::{Facts, Query, limits::REPORT_BYTES};
use crate::role::Role;
use crate::{letter, scanner, sys};

pub(crate) mod sample;

/// Exit codes of a worker, for its zygote's count.
pub(crate) mod ended {
    /// It answered.
    pub(crate) const WELL: i32 = 0;
    /// It could not lock itself.
    pub(crate) const UNCONFINED: i32 = 70;
    /// Its client went away or broke the protocol.
    pub(crate) const ALONE: i32 = 71;
    /// It panicked.
    pub(crate) const PANICKED: i32 = 72;
}

/// Stack a worker may use (bytes); all of it belongs to it before its limits close.
const STACK: usize = 2 * 1024 * 1024;
/// Address space beside arena, message and stack (bytes).
const SLACK: u64 = 1024 * 1024;

/// What a locked worker does: [`serve`], or whatever a test wants to see a hostile one do. Gets the mapped message, as
/// large as it may be, and the layers that hold.
#[doc(hidden)]
pub type Duty = fn(&Locked, Status) -> io::Result<()>;

/// What a zygote's children are for.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// They are workers.
    Work(Duty),
    /// They become the external scanner.
    Scan(scanner::Command),
}

/// What a zygote prepares once for all its children.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// What each child does.
    pub(crate) purpose: Purpose,
    /// The role that they lock themselves as.
    pub(crate) child: Role,
    /// The child's list; `None` only where the other walls are tested alone.
    pub(crate) program: Option<Program>,
    /// Address space of the zygote's image (bytes).
    pub(crate) image: u64,
}

/// What one child starts with.
pub(crate) struct Birth<'a> {
    pub(crate) zygote: &'a offspring::Zygote,
    pub(crate) prepared: &'a Prepared,
    pub(crate) spawn: Spawn,
    pub(crate) message: &'a OwnedFd,
    pub(crate) socket: &'a OwnedFd,
}

impl Birth<'_> {
    /// In the cloned child: locks it, then does its one job. Never returns into the zygote's image.
    pub(crate) fn live(self) -> ! {
        match &self.prepared.purpose {
            Purpose::Work(duty) => self.work(*duty),
            Purpose::Scan(command) => scanner::live(&self, command),
        }
    }

    fn work(&self, duty: Duty) -> ! {
        let (message, status) = match self.lock() {
            Ok(locked) => locked,
            Err(error) => {
                eprintln!("worker: {error}");
                sys::exit(ended::UNCONFINED)
            }
        };
        if self.spawn.warm {
            sample::read();
        }
        sys::exit(match duty(&message, status) {
            Ok(()) => ended::WELL,
            Err(_) => ended::ALONE,
        })
    }

    /// Every wall of its kind.
    pub(crate) fn lock_only(&self) -> Result<Status, ConfineError> {
        match &self.prepared.purpose {
            Purpose::Scan(_) => scanner::lock(self),
            // The mapping stays: this process does not return.
            Purpose::Work(_) => self.lock().map(|(message, status)| {
                std::mem::forget(message);
                status
            }),
        }
    }

    /// Every wall, the last one last. Answers the message, mapped.
    fn lock(&self) -> Result<(Locked, Status), ConfineError> {
        // It writes no id maps. Without them its namespace has no user that it could become, and it can make no other; only
        // a file would need one, and it makes none.
        self.descriptors().at("its descriptors")?;
        // All others are as its zygote has left them: at their defaults.
        sys::default_pipe_signal();
        let no_new_code = confine::harden().at("process attributes")?;
        let message = self.memory().at("its memory")?;
        self.limits().at("resource limits")?;
        confine::capabilities::give_up().at("capabilities")?;
        let walls = Role::Worker.walls();
        let landlock = confine::landlock::restrict(walls).at("Landlock")?;
        let locked = memory::lock_present().is_ok();
        sys::limit(libc::RLIMIT_MEMLOCK, 0).at("resource limits")?;
        // SAFETY: the log was kept until here to say why a worker could not be locked; nothing else uses it.
        unsafe { libc::close(2) };
        if let Some(program) = &self.prepared.program {
            crate::seccomp::install(program).at("seccomp")?;
        }
        Ok((message, Status { landlock: Some(landlock), locked: Some(locked), no_new_code }))
    }

    /// The message at 0, the socket at 1, the log at 2 until the walls stand; nothing else.
    fn descriptors(&self) -> io::Result<()> {
        let message = sys::lift(self.message.as_raw_fd(), 3)?;
        sys::place(self.socket.as_raw_fd(), 1, true)?;
        sys::place(message, 0, true)?;
        sys::close_from(3)
    }

    /// Arena, message and stack: all it will ever have.
    fn memory(&self) -> io::Result<Locked> {
        let largest = usize::try_from(self.spawn.largest).map_err(|_| io::ErrorKind::OutOfMemory)?;
        // SAFETY: a cloned child has one thread, and its list allows no other.
        unsafe { arena::enter(self.arena_bytes()? as usize) }?;
        // SAFETY: descriptor 0 is the message; its client seals it before it names its size, and no byte is looked
        // at before that.
        let message = unsafe { Locked::map(std::os::fd::BorrowedFd::borrow_raw(0), largest, false) }?;
        grow_stack();
        Ok(message)
    }

    fn arena_bytes(&self) -> io::Result<u64> {
        let bytes = self.spawn.largest.checked_mul(2).and_then(|twice| twice.checked_add(limits::ROOM));
        bytes.filter(|bytes| usize::try_from(*bytes).is_ok()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    fn limits(&self) -> io::Result<()> {
        let walls = Role::Worker.walls();
        let space = self.prepared.image + self.arena_bytes()? + self.spawn.largest + STACK as u64 + SLACK;
        walls.limit_one_message(space, self.spawn.seconds.clamp(1, limits::SECONDS), STACK as u64)
    }
}

/// Takes the stack's address space now: later growth would count as new locked memory, which MEMLOCK 0 refuses.
fn grow_stack() {
    let here = 0u8;
    let lowest = (&raw const here as usize).saturating_sub(STACK - 64 * 1024) as *mut u8;
    // SAFETY: this page of the main thread's stack is below everything in use; touching it makes the kernel grow the
    // stack's mapping down to it (within RLIMIT_STACK, else the process dies here, locked or not).
    unsafe { lowest.write_volatile(0) };
}

/// Its one job.
pub(crate) fn serve(message: &Locked, status: Status) -> io::Result<()> {
    // SAFETY: descriptor 1 is the worker's socket and nothing else in this process owns it. It is never closed: the
    // list has no such call, and the end of the process does it.
    let mut socket = ManuallyDrop::new(unsafe { File::from_raw_fd(1) });
    let job = protocol::read_frame(&mut *socket, limits::JOB)?;
    let job = postcard::from_bytes(&job).map_err(|_| io::ErrorKind::InvalidData)?;
    match job {
        Job::Examine { size, facts } => {
            let size = usize::try_from(size).map_err(|_| io::ErrorKind::InvalidData)?;
            let message = message.get(..size).ok_or(io::ErrorKind::InvalidData)?;
            examine(&mut socket, message, &facts)
        }
        Job::Search(query) => search(&mut socket, &query, message.len()),
        Job::Describe => {
            let status = postcard::to_stdvec(&status).map_err(io::Error::other)?;
            socket.write_all(&protocol::frame(&status)?)
        }
    }
}

fn examine(socket: &mut File, message: &[u8], facts: &Facts) -> io::Result<()> {
    let report = letter::examine(message, facts).and_then(|report| postcard::to_stdvec(&report).ok());
    // Beyond its bound a report is not cut but withheld: "not understood".
    let report = report.filter(|bytes| bytes.len() <= REPORT_BYTES).unwrap_or_default();
    socket.write_all(&protocol::frame(&report)?)
}

/// Answers one bit a letter, until the owner hangs up.
fn search(socket: &mut File, query: &Query, largest: usize) -> io::Result<()> {
    let mut letter = Vec::new();
    loop {
        let mut head = [0; 12];
        match socket.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        let [a, b, c, d, e, f, g, h, i, j, k, l] = head;
        let known = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let length = u32::from_le_bytes([i, j, k, l]) as usize;
        if length > largest {
            return Err(io::ErrorKind::InvalidData.into());
        }
        letter.clear();
        letter.resize(length, 0);
        socket.read_exact(&mut letter)?;
        socket.write_all(&[u8::from(letter::matches(&letter, known, query))])?;
    }
}
