//! Starting a role: new user, new namespaces, then exec with four descriptors and nothing else.
//!
//! ```text
//! up ── fork ── A: takes the role's uid, then clone3(CLONE_PARENT | NEW*) ── B: maps, loopback, exec the role
//! ```
//! A ends at once; B is a child of `up`, in namespaces that belong to the role's uid. The uid is taken *before* the
//! user namespace is made: a process whose host uid is 0 is exempt from RLIMIT_NPROC (measured). What A and B run
//! between fork and exec allocates nothing and takes no lock, so `up` may have threads; but the thread that calls
//! [`Launch::start`] must live as long as the role, because the role dies with it (parent-death signal).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::edge::Edge;
use crate::role::Role;
use crate::sys::{self, Cloned};
use crate::walls::{Lock, Network};

mod loopback;
mod told;

use told::Teller;
pub use told::{LaunchError, Stage};

/// The role's control edge has this number in the new process.
pub(crate) const CONTROL: RawFd = 3;
const EXE: RawFd = 4;
const TELL: RawFd = 5;

/// Every role's uid and gid inside its namespace. Not 0: a parent's 0 can be mapped further only by who holds
/// CAP_SETFCAP (Linux 5.12), and a zygote holds nothing.
pub(crate) const INSIDE: u32 = 1;

/// What to start.
#[derive(Debug)]
pub struct Launch<'a> {
    /// Which role.
    pub role: Role,
    /// The program: an open descriptor of this binary, so that a replaced file on disk is never half of an old box.
    pub exe: BorrowedFd<'a>,
    /// What follows `postern role NAME` on its command line; never a secret.
    pub args: &'a [&'a str],
    /// The host uid and gid it takes, when `up` is root: [`Role::host_uid`]. `None`: it keeps `up`'s.
    pub uid: Option<u32>,
    /// Becomes its current directory (the keeper's spool).
    pub directory: Option<BorrowedFd<'a>>,
    /// Becomes its descriptor 2.
    pub stderr: BorrowedFd<'a>,
}

/// A role that has been started. It ends when `control` is closed.
#[derive(Debug)]
pub struct Running {
    /// Its number, as `up` sees it. It is `up`'s child: wait for it.
    pub pid: i32,
    /// The same, without the race.
    pub pidfd: OwnedFd,
    /// The other end is its descriptor 3.
    pub control: Edge,
    /// For [`Role::Mx`]: the sockets of the resolver's port in its network namespace, for the resolver to serve.
    pub dns: Option<Dns>,
}

/// The only service of a role's own network.
#[derive(Debug)]
pub struct Dns {
    /// Bound.
    pub udp: OwnedFd,
    /// Bound and listening.
    pub tcp: OwnedFd,
}

impl Launch<'_> {
    /// Starts the role; returns once it has been exec'd.
    ///
    /// # Errors
    /// [`LaunchError`] inside the `io::Error`: what is missing, the errno, and the exact fix.
    pub fn start(self) -> io::Result<Running> {
        let words = Words::new(&self)?;
        let (control, theirs) = Edge::pair()?;
        let (tell, teller) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let child = Child {
            null: sys::open_at(None, c"/dev/null", libc::O_RDWR)?,
            control: theirs.into(),
            teller: Teller::new(teller),
            launch: &self,
            words: &words,
        };
        // SAFETY: what the child runs neither allocates nor takes locks, and ends in exec or exit.
        match sys::check(unsafe { libc::fork() }.into())? {
            0 => child.outer(),
            pid => reap(pid as i32),
        }
        drop(child);
        let dns = self.role.walls().network == Network::Loopback;
        told::listen(&tell, control, dns)
    }
}

/// Waits for the short-lived process between.
fn reap(pid: i32) {
    // SAFETY: a null status is allowed.
    while unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) } < 0
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
}

/// Everything text, made before the fork.
struct Words {
    /// Owns what `pointers` point into.
    _arguments: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
    uid_map: String,
    gid_map: String,
}

impl Words {
    fn new(launch: &Launch<'_>) -> io::Result<Self> {
        let words = ["postern", "role", launch.role.name()].into_iter().chain(launch.args.iter().copied());
        let arguments = words.map(CString::new).collect::<Result<Vec<_>, _>>()?;
        let pointers = arguments.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
        let uid = launch.uid.unwrap_or_else(|| rustix::process::geteuid().as_raw());
        let gid = launch.uid.unwrap_or_else(|| rustix::process::getegid().as_raw());
        if uid == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a role never runs under host uid 0, which limits do not bind: give it a uid of its own",
            ));
        }
        Ok(Self {
            _arguments: arguments,
            pointers,
            uid_map: format!("{INSIDE} {uid} 1"),
            gid_map: format!("{INSIDE} {gid} 1"),
        })
    }
}

/// What the two processes between fork and exec work with.
struct Child<'a> {
    null: OwnedFd,
    control: OwnedFd,
    teller: Teller,
    launch: &'a Launch<'a>,
    words: &'a Words,
}

impl Child<'_> {
    /// Process A.
    fn outer(&self) -> ! {
        let cloned = self.prepare().and_then(|()| {
            let flags = match self.launch.role.walls().network {
                Network::Host => sys::HOST_NETWORK,
                Network::Empty | Network::Loopback => sys::ALL_NAMESPACES,
            };
            // The exit signal is inherited with the parent.
            // SAFETY: as for the fork.
            let cloned = unsafe { sys::clone3(flags | libc::CLONE_PARENT as u64, false, 0) };
            cloned.map_err(|error| (Stage::Namespaces, error))
        });
        match cloned {
            Ok(Cloned::Child) => self.inner(),
            Ok(Cloned::Parent { pid, .. }) => self.teller.pid(pid),
            Err((stage, error)) => self.teller.failed(stage, &error),
        }
        sys::exit(0)
    }

    fn prepare(&self) -> Result<(), (Stage, io::Error)> {
        let walls = self.launch.role.walls();
        if walls.lock != Lock::No || walls.makes_children() {
            // Only root may; without it the role finds out and says so. A zygote's workers inherit it.
            let _ = sys::limit(libc::RLIMIT_MEMLOCK, sys::UNLIMITED);
        }
        let _ = sys::limit(libc::RLIMIT_NOFILE, walls.descriptors);
        if let Some(uid) = self.launch.uid {
            sys::become_user(uid).map_err(|error| (Stage::User, error))?;
        }
        // A change of uid makes a process undumpable, and /proc/self then belongs to root: the maps could not be
        // written.
        sys::prctl(libc::PR_SET_DUMPABLE, 1).map_err(|error| (Stage::User, error))?;
        if let Some(directory) = self.launch.directory {
            rustix::process::fchdir(directory).map_err(|error| (Stage::Directory, error.into()))?;
        }
        Ok(())
    }

    /// Process B.
    fn inner(&self) -> ! {
        let (stage, error) = match self.become_role() {
            Ok(never) => match never {},
            Err(failed) => failed,
        };
        self.teller.failed(stage, &error);
        sys::exit(1)
    }

    fn become_role(&self) -> Result<std::convert::Infallible, (Stage, io::Error)> {
        sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong).map_err(|error| (Stage::User, error))?;
        let map = |path, text: &str| sys::write_at(None, path, text.as_bytes()).map_err(|e| (Stage::Maps, e));
        map(c"/proc/self/setgroups", "deny")?;
        map(c"/proc/self/uid_map", &self.words.uid_map)?;
        map(c"/proc/self/gid_map", &self.words.gid_map)?;
        if self.launch.role.walls().network == Network::Loopback {
            let dns = loopback::serve().map_err(|error| (Stage::Loopback, error))?;
            self.teller.dns(&dns);
        }
        sys::keep_capabilities().map_err(|error| (Stage::Exec, error))?;
        sys::reset_signals(&[]);
        self.place_descriptors().map_err(|error| (Stage::Descriptors, error))?;
        Err((Stage::Exec, self.exec()))
    }

    /// 0 and 1 lead nowhere, 2 is the log, 3 the control edge; two more close on exec.
    fn place_descriptors(&self) -> io::Result<()> {
        let least = TELL + 1;
        let null = sys::lift(self.null.as_raw_fd(), least)?;
        let stderr = sys::lift(self.launch.stderr.as_raw_fd(), least)?;
        let control = sys::lift(self.control.as_raw_fd(), least)?;
        let exe = sys::lift(self.launch.exe.as_raw_fd(), least)?;
        let tell = sys::lift(self.teller.number(), least)?;
        sys::place(null, 0, false)?;
        sys::place(null, 1, false)?;
        sys::place(stderr, 2, false)?;
        sys::place(control, CONTROL, false)?;
        sys::place(exe, EXE, true)?;
        sys::place(tell, TELL, true)?;
        self.teller.now_placed();
        sys::close_from((TELL + 1) as libc::c_uint)
    }

    /// Returns only when it fails.
    fn exec(&self) -> io::Error {
        let environment = [std::ptr::null::<libc::c_char>()];
        // SAFETY: argv and envp are null-terminated lists of NUL-terminated words that live on; the descriptor is open.
        unsafe {
            libc::syscall(
                libc::SYS_execveat,
                EXE,
                c"".as_ptr(),
                self.words.pointers.as_ptr(),
                environment.as_ptr(),
                libc::AT_EMPTY_PATH,
            );
        }
        io::Error::last_os_error()
    }
}
