//! A zygote's children: cloned without exec, each in seven namespaces of its own, locked before they do anything.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::ExitCode;

use crate::confine::{self, ConfineError, Confined};
use crate::role::Role;
use crate::sys::{self, Cloned};

/// A living child.
#[derive(Debug)]
pub struct Offspring {
    /// Readable once it is dead.
    pub pidfd: OwnedFd,
}

impl Offspring {
    /// Kills it. One that is dead already is no error.
    ///
    /// # Errors
    /// The kernel's.
    pub fn kill(&self) -> io::Result<()> {
        sys::kill(&self.pidfd)
    }
}

/// The right to make children: what a confined zygote has.
#[derive(Debug)]
pub struct Zygote {
    proc: OwnedFd,
}

impl Zygote {
    /// Takes it out of what [`confine`](crate::confine()) gave; `None` when the role is no zygote.
    pub fn of(confined: &mut Confined) -> Option<Self> {
        confined.proc.take().map(|proc| Self { proc })
    }

    pub(crate) fn proc(&self) -> BorrowedFd<'_> {
        self.proc.as_fd()
    }

    /// Clones a child that locks itself as `role`, then runs `main` with exactly `descriptors` (and the log, 2) open,
    /// in the same order. The child is reaped by the kernel.
    ///
    /// # Errors
    /// The kernel's: ENOSPC, EAGAIN and ENOMEM are temporary.
    pub fn make(
        &self,
        role: Role,
        descriptors: Vec<OwnedFd>,
        main: impl FnOnce(Vec<OwnedFd>) -> ExitCode,
    ) -> io::Result<Offspring> {
        self.made(role, descriptors, true, main)
    }

    /// A child without its list of calls, whose other walls a test attacks.
    pub(crate) fn make_without_list(
        &self,
        role: Role,
        descriptors: Vec<OwnedFd>,
        main: impl FnOnce(Vec<OwnedFd>) -> ExitCode,
    ) -> io::Result<Offspring> {
        self.made(role, descriptors, false, main)
    }

    fn made(
        &self,
        role: Role,
        descriptors: Vec<OwnedFd>,
        listed: bool,
        main: impl FnOnce(Vec<OwnedFd>) -> ExitCode,
    ) -> io::Result<Offspring> {
        match self.clone_child()? {
            Cloned::Parent { pidfd: Some(pidfd), .. } => Ok(Offspring { pidfd }),
            Cloned::Parent { .. } => Err(io::Error::other("the kernel gave no pidfd")),
            Cloned::Child => {
                let code = match self.become_child(role, descriptors, listed) {
                    Ok(descriptors) => main(descriptors),
                    Err(error) => {
                        eprintln!("{role}: {error}");
                        ExitCode::FAILURE
                    }
                };
                // ExitCode does not tell its number; only success and failure are used.
                sys::exit(i32::from(code != ExitCode::SUCCESS))
            }
        }
    }

    fn become_child(&self, role: Role, descriptors: Vec<OwnedFd>, listed: bool) -> Result<Vec<OwnedFd>, ConfineError> {
        use confine::At;
        write_maps(self.proc()).at("its id maps")?;
        let kept = keep_only(descriptors).at("its descriptors")?;
        confine::narrow(role)?;
        if listed {
            crate::seccomp::install(&crate::seccomp::program(role.walls())).at("seccomp")?;
        }
        Ok(kept)
    }

    /// The bare clone.
    pub(crate) fn clone_child(&self) -> io::Result<Cloned> {
        // SAFETY: a zygote has one thread (checked when it confined itself, and its list allows no other).
        unsafe { sys::clone3(sys::ALL_NAMESPACES, true, libc::SIGCHLD as u64) }
    }
}

/// The child's one uid and gid: the zygote's, 1 on both sides, so that becoming 0 is not even a name. Groups were denied for good when the
/// zygote's own namespace was made.
pub(crate) fn write_maps(proc: BorrowedFd<'_>) -> io::Result<()> {
    // The maps of an undumpable process belong to root. It is an image without secrets, and undumpable again at once.
    sys::prctl(libc::PR_SET_DUMPABLE, 1)?;
    sys::write_at(Some(proc), c"self/uid_map", b"1 1 1")?;
    sys::write_at(Some(proc), c"self/gid_map", b"1 1 1")
}

/// First number given to a child's descriptors.
const FIRST: RawFd = 3;

/// Moves the descriptors to 3, 4, ... and closes everything else but 0, 1 and 2.
fn keep_only(descriptors: Vec<OwnedFd>) -> io::Result<Vec<OwnedFd>> {
    let above = FIRST + descriptors.len() as RawFd;
    let lifted = descriptors.iter().map(|fd| sys::lift(fd.as_raw_fd(), above)).collect::<io::Result<Vec<_>>>()?;
    // Their old numbers are closed or taken over below.
    descriptors.into_iter().for_each(std::mem::forget);
    for (number, from) in (FIRST..).zip(&lifted) {
        sys::place(*from, number, true)?;
    }
    sys::close_from(above as libc::c_uint)?;
    // SAFETY: each was just placed there, and whatever knew these numbers before belongs to the zygote's image, which
    // this process never returns to.
    (FIRST..above).map(|number| unsafe { sys::inherited(number) }).collect()
}
