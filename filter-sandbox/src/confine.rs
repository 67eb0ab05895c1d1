//! A role locks itself: the first thing it does, before it has threads and before it has read a byte from anybody.
//!
//! `launch` has already given it namespaces of its own and full rights inside them; here they are used up and given
//! away. In order (each step forbids or needs what comes before): mounts, descriptors, dumpable, limits, locked
//! memory, capabilities, no new privileges, Landlock, seccomp.

use std::os::fd::OwnedFd;
use std::{fmt, io};

use crate::edge::Edge;
use crate::role::Role;
use crate::walls::{Lock, Root, Walls};
use crate::{launch, seccomp, sys};

pub(crate) mod capabilities;
pub(crate) mod landlock;
mod mounts;

/// A role that has locked itself.
#[derive(Debug)]
pub struct Confined {
    /// The socket from `up`.
    pub control: Edge,
    /// What this kernel gave beyond what is required.
    pub status: Status,
    /// Zygotes only: `/proc` of their own pid namespace, to write children's id maps.
    pub(crate) proc: Option<OwnedFd>,
    /// The process number of `up`, as the host counts.
    pub(crate) starter: i32,
}

/// The layers that are used where the kernel has them. Namespaces, seccomp, limits and capabilities are not here:
/// without them there is no [`Confined`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Status {
    /// Landlock is on top. `None`: this role is a zygote, whose children apply it themselves.
    pub landlock: Option<bool>,
    /// Memory is locked against swapping. `None`: this role sees nothing that must be.
    pub locked: Option<bool>,
    /// Memory can never become executable (Linux 6.3).
    pub no_new_code: bool,
}

/// Why a role could not lock itself: it must end at once.
#[derive(Debug)]
pub struct ConfineError {
    /// Which wall.
    pub wall: &'static str,
    /// The kernel's answer.
    pub source: io::Error,
}

impl fmt::Display for ConfineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot confine this role: {}: {}", self.wall, self.source)?;
        if self.wall == MOUNTS {
            write!(f, ". {}", crate::remedy::rights())?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

const MOUNTS: &str = "its empty root";

/// Names the wall that a step belongs to.
pub(crate) trait At<T> {
    fn at(self, wall: &'static str) -> Result<T, ConfineError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, wall: &'static str) -> Result<T, ConfineError> {
        self.map_err(|source| ConfineError { wall, source })
    }
}

/// Locks this process as the walls of `role` say. Call it first thing in a process that `launch` started.
///
/// # Errors
/// [`ConfineError`]: the process has rights left and must end.
pub fn confine(role: Role) -> Result<Confined, ConfineError> {
    let confined = all_but_seccomp(role)?;
    seccomp::install(&seccomp::program(role.walls())).at("seccomp")?;
    Ok(confined)
}

/// Everything but the last wall: a zygote tests its children's walls between the two, the tests attack the others alone.
#[doc(hidden)]
pub fn all_but_seccomp(role: Role) -> Result<Confined, ConfineError> {
    let walls = role.walls();
    alone()?;
    crate::memory::look_at_machine();
    crate::memory::return_large_blocks();
    let starter = starter().at("/proc of its own")?;
    scanner_is_there(walls).at("the scanner's tree")?;
    let proc = mounts::private_root(walls.root).at(MOUNTS)?;
    let proc = descriptors(proc).at("its descriptors")?;
    // SAFETY: `launch` put the control edge there, and nothing has taken it yet: this is called once, first.
    let control = Edge::from(unsafe { sys::inherited(launch::CONTROL) }.at("its control edge")?);
    rustix::io::fcntl_setfd(&control, rustix::io::FdFlags::CLOEXEC).map_err(io::Error::from).at("its control edge")?;
    sys::forget_keyrings().at("a session keyring of its own")?;
    let no_new_code = harden().at("process attributes")?;
    limits(walls).at("resource limits")?;
    let locked = lock(walls.lock);
    capabilities::give_up().at("capabilities")?;
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).at("no new privileges")?;
    let landlock = if walls.landlock { Some(landlock::restrict(walls).at("Landlock")?) } else { None };
    Ok(Confined { control, status: Status { landlock, locked, no_new_code }, proc, starter })
}

/// Namespaces, capabilities and seccomp are properties of threads: another thread would keep its rights.
fn alone() -> Result<(), ConfineError> {
    let threads = std::fs::read_dir("/proc/self/task").at("/proc of its own")?.count();
    if threads == 1 {
        return Ok(());
    }
    Err(io::Error::other(format!("there are {threads} threads already"))).at("being single-threaded")
}

fn scanner_is_there(walls: &Walls) -> io::Result<()> {
    match crate::scanner::missing() {
        Some(path) if matches!(walls.root, Root::Listed | Root::ListedAndProc) => {
            Err(io::Error::other(format!("{} is not there: {}", path.display(), crate::scanner::REMEDY)))
        }
        _ => Ok(()),
    }
}

/// Its parent's number by the inherited `/proc`, which counts as the host does.
fn starter() -> io::Result<i32> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    Ok(parent.and_then(|number| number.trim().parse().ok()).unwrap_or(0))
}

/// Keeps 0 to 3 and, for a zygote, its `/proc` as 4.
fn descriptors(proc: Option<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    use std::os::fd::IntoRawFd;
    const PROC: i32 = launch::CONTROL + 1;
    let Some(proc) = proc else {
        sys::close_from(PROC as libc::c_uint)?;
        return Ok(None);
    };
    // Given up by number: it is closed with all the others.
    let number = proc.into_raw_fd();
    sys::place(number, PROC, true)?;
    sys::close_from((PROC + 1) as libc::c_uint)?;
    // SAFETY: it has just been put there, and nothing else knows of it.
    Ok(Some(unsafe { sys::inherited(PROC) }?))
}

/// What the process is, rather than what it may call. Answers whether the kernel has MDWE.
pub(crate) fn harden() -> io::Result<bool> {
    sys::prctl(libc::PR_SET_DUMPABLE, 0)?;
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong)?;
    Ok(sys::prctl(libc::PR_SET_MDWE, libc::PR_MDWE_REFUSE_EXEC_GAIN.into()).is_ok())
}

fn limits(walls: &Walls) -> io::Result<()> {
    sys::limit(libc::RLIMIT_CORE, 0)?;
    sys::limit(libc::RLIMIT_MSGQUEUE, 0)?;
    sys::limit(libc::RLIMIT_NICE, 0)?;
    sys::limit(libc::RLIMIT_RTPRIO, 0)?;
    let most = |resource, wanted: u64| sys::limits_of(resource).map(|(_, hard)| wanted.min(hard));
    sys::limit(libc::RLIMIT_NOFILE, most(libc::RLIMIT_NOFILE, walls.descriptors)?)?;
    sys::limit(libc::RLIMIT_NPROC, most(libc::RLIMIT_NPROC, walls.tasks)?)
}

/// Whether memory could be locked.
fn lock(lock: Lock) -> Option<bool> {
    match lock {
        Lock::No | Lock::Arena | Lock::Itself => None,
        Lock::Future => Some(crate::memory::lock_future().is_ok()),
    }
}

/// Puts a role's walls round a process that a zygote has cloned; all but the last.
pub(crate) fn narrow(role: Role) -> Result<Status, ConfineError> {
    let walls = role.walls();
    let no_new_code = harden().at("process attributes")?;
    limits(walls).at("resource limits")?;
    let locked = lock(walls.lock);
    capabilities::give_up().at("capabilities")?;
    let landlock = if walls.landlock { Some(landlock::restrict(walls).at("Landlock")?) } else { None };
    Ok(Status { landlock, locked, no_new_code })
}
