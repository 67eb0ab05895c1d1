//! What each role may do, as data: one table, read by `launch`, `confine`, the tests and `doctor`.

use std::io;

use crate::calls::{self, Call};
use crate::role::Role;
use crate::sys;

/// The network a role lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// A namespace of its own with nothing in it, the loopback down. Inherited listeners still work.
    Empty,
    /// A namespace of its own whose loopback is up and has one service, the box's resolver on 127.0.0.1, [`ITS_DNS`].
    Loopback,
    /// The host's.
    Host,
}

/// Where the box's resolver answers in `mx`'s own network. It is the one TCP port that Landlock leaves `mx`, and what
/// `mx` inherits is of the host's network: so a port (tcpmux, RFC 1078) on which nobody in the house or outside listens.
pub const ITS_DNS: u16 = 1;

/// What a role sees as `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// An empty, read-only tmpfs.
    Empty,
    /// The same with one entry: `/spool`, the directory it was started in, bound nosuid, nodev, noexec. A proxy's state, too.
    Spool,
    /// The same as `Empty`, and a descriptor of a `/proc` that is mounted nowhere: writes its children's uid maps.
    Proc,
    /// Exactly the paths of [`scanner::TREE`](crate::scanner::TREE), read-only, nosuid, nodev.
    Listed,
    /// Both: a scanner's zygote.
    ListedAndProc,
}

/// Whether memory is locked against swapping (DESIGN section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// It sees neither mail nor keys in clear.
    No,
    /// `mlockall(CURRENT|FUTURE|ONFAULT)`; MEMLOCK raised by `up` and left.
    Future,
    /// Its one arena is mapped, then `mlockall(CURRENT|ONFAULT)`, then MEMLOCK 0.
    Arena,
    /// The program that it becomes locks itself before it reads mail: exec forgets locks.
    Itself,
}

/// A role's walls. Common to all and so not listed: user, mount, pid, ipc, uts and cgroup namespaces of its own, no
/// capabilities in any set, securebits locked, no new privileges, not dumpable, no core file, dies with its starter,
/// memory never both writable and executable (where the kernel has MDWE).
#[derive(Debug)]
pub struct Walls {
    /// See [`Network`].
    pub network: Network,
    /// See [`Root`].
    pub root: Root,
    /// See [`Lock`].
    pub lock: Lock,
    /// The system calls that are not fatal, one reason each.
    pub calls: &'static [&'static [Call]],
    /// Whether Landlock is put on top where the kernel has it. Not for zygotes: it would be inherited and forbid
    /// what their children must do first (measured).
    pub landlock: bool,
    /// TCP ports it may connect to under Landlock; the lists above decide about everything else.
    pub connects: &'static [u16],
    /// The same for bind: 0 is a port of the kernel's choice.
    pub binds: &'static [u16],
    /// RLIMIT_NOFILE.
    pub descriptors: u64,
    /// RLIMIT_NPROC: processes and threads of its user in its namespace.
    pub tasks: u64,
}

impl Walls {
    /// Whether it is a zygote: it has the `/proc` that its children's maps are written through.
    #[must_use]
    pub const fn makes_children(&self) -> bool {
        matches!(self.root, Root::Proc | Root::ListedAndProc)
    }

    /// The limits of a process that gets one message: bytes of address space and of stack, seconds of processor time,
    /// and nothing it could write, queue or raise.
    pub(crate) fn limit_one_message(&self, space: u64, seconds: u32, stack: u64) -> io::Result<()> {
        for (resource, value) in [
            (libc::RLIMIT_AS, space),
            (libc::RLIMIT_CPU, u64::from(seconds)),
            (libc::RLIMIT_STACK, stack),
            (libc::RLIMIT_FSIZE, 0),
            (libc::RLIMIT_CORE, 0),
            (libc::RLIMIT_NPROC, self.tasks),
            (libc::RLIMIT_NOFILE, self.descriptors),
            (libc::RLIMIT_MSGQUEUE, 0),
            (libc::RLIMIT_SIGPENDING, 0),
            (libc::RLIMIT_NICE, 0),
            (libc::RLIMIT_RTPRIO, 0),
        ] {
            sys::limit(resource, value)?;
        }
        Ok(())
    }
}

const ZYGOTE: Walls = Walls {
    network: Network::Empty,
    root: Root::Proc,
    lock: Lock::No,
    calls: &[calls::BASE, calls::SETUP, calls::ZYGOTE],
    landlock: false,
    connects: &[],
    binds: &[],
    descriptors: 1024,
    tasks: 512,
};

static KEEPER: Walls = Walls {
    network: Network::Empty,
    root: Root::Spool,
    lock: Lock::Future,
    calls: &[calls::BASE, calls::THREADS, calls::RUNTIME, calls::STREAMS, calls::FILES],
    landlock: true,
    connects: &[],
    binds: &[],
    descriptors: 16_384,
    tasks: 600,
};

static MX: Walls = Walls {
    network: Network::Loopback,
    root: Root::Empty,
    lock: Lock::Future,
    calls: &[calls::BASE, calls::THREADS, calls::RUNTIME, calls::STREAMS, calls::MEMORY_FILES, calls::ASKS_DNS],
    landlock: true,
    connects: &[ITS_DNS],
    binds: &[],
    descriptors: 16_384,
    tasks: 600,
};

static SUBMISSION: Walls = Walls {
    network: Network::Empty,
    root: Root::Empty,
    lock: Lock::Future,
    calls: &[calls::BASE, calls::THREADS, calls::RUNTIME, calls::STREAMS, calls::MEMORY_FILES],
    landlock: true,
    connects: &[],
    binds: &[],
    descriptors: 16_384,
    tasks: 600,
};

static LOGIN: Walls = Walls {
    network: Network::Empty,
    root: Root::Empty,
    lock: Lock::Future,
    calls: &[calls::BASE, calls::THREADS, calls::RUNTIME, calls::STREAMS, calls::MEMORY_FILES],
    landlock: true,
    connects: &[],
    binds: &[],
    descriptors: 16_384,
    tasks: 600,
};

static OWNER: Walls = Walls {
    network: Network::Empty,
    root: Root::Empty,
    lock: Lock::Future,
    calls: &[calls::BASE, calls::THREADS, calls::RUNTIME, calls::STREAMS, calls::MEMORY_FILES, calls::READS_FILES],
    landlock: true,
    connects: &[],
    binds: &[],
    descriptors: 4096,
    tasks: 128,
};

static OWNER_ZYGOTE: Walls = Walls {
    // What it lets through is what its owners may do (a child's list can only be narrower) and, last because it
    // replaces what is refused above, making them.
    calls: &[
        calls::BASE,
        calls::THREADS,
        calls::RUNTIME,
        calls::STREAMS,
        calls::MEMORY_FILES,
        calls::READS_FILES,
        calls::SETUP,
        calls::ZYGOTE,
    ],
    descriptors: 4096,
    lock: Lock::Future,
    ..ZYGOTE
};

static FILTER_ZYGOTE: Walls = ZYGOTE;

static RESOLVER: Walls = Walls {
    network: Network::Host,
    root: Root::Empty,
    lock: Lock::No,
    calls: &[calls::BASE, calls::THREADS, calls::RUNTIME, calls::STREAMS, calls::ASKS_DNS],
    landlock: true,
    connects: &[53],
    binds: &[],
    descriptors: 4096,
    tasks: 600,
};

static COURIER: Walls = Walls {
    network: Network::Host,
    root: Root::Empty,
    lock: Lock::Future,
    calls: &[
        calls::BASE,
        calls::THREADS,
        calls::RUNTIME,
        calls::STREAMS,
        calls::MEMORY_FILES,
        calls::READS_FILES,
        calls::ASKS_DNS,
    ],
    landlock: true,
    // Questions, letters, MTA-STS policies.
    connects: &[53, 25, 443],
    binds: &[],
    descriptors: 4096,
    tasks: 600,
};

static KEY_MAKER: Walls = Walls {
    network: Network::Empty,
    root: Root::Empty,
    lock: Lock::Future,
    calls: &[calls::BASE, calls::STREAMS],
    landlock: true,
    connects: &[],
    binds: &[],
    descriptors: 1024,
    tasks: 4,
};

static LINK: Walls = Walls {
    network: Network::Host,
    root: Root::Empty,
    lock: Lock::Future,
    calls: &[calls::BASE, calls::THREADS, calls::RUNTIME, calls::STREAMS, calls::ASKS_DNS],
    landlock: true,
    // Questions, inbound proxies, outbound proxies.
    connects: &[53, 7025, 7026],
    binds: &[],
    // A stream through a proxy is two.
    descriptors: 4096,
    tasks: 64,
};

/// What the proxies have in common: they relay inside the kernel, and write what they must know after a restart.
const PROXY: Walls = Walls {
    network: Network::Host,
    root: Root::Spool,
    lock: Lock::Future,
    calls: &[calls::BASE, calls::THREADS, calls::RUNTIME, calls::STREAMS, calls::FILES, calls::ASKS_DNS, calls::RELAYS],
    landlock: true,
    // Questions. A home is never dialled: it dials.
    connects: &[53],
    binds: &[],
    // A relayed connection is two, and has a pipe while bytes are on their way.
    descriptors: 65_536,
    tasks: 64,
};

static INBOUND_PROXY: Walls = PROXY;

static OUTBOUND_PROXY: Walls = Walls {
    // Questions, letters.
    connects: &[53, 25],
    // Letters leave from an address of the name that they greet with.
    binds: &[0],
    ..PROXY
};

static WORKER: Walls = Walls {
    network: Network::Empty,
    root: Root::Empty,
    lock: Lock::Arena,
    calls: &[calls::WORKER],
    landlock: true,
    connects: &[],
    binds: &[],
    descriptors: 16,
    tasks: 1,
};

static SCANNER_ZYGOTE: Walls = Walls {
    root: Root::ListedAndProc,
    // As for the owners' zygote: what its scanners may do, then making them.
    calls: &[calls::BASE, calls::SCANNER, calls::SETUP, calls::ZYGOTE, calls::FOREIGN_CODE],
    ..ZYGOTE
};

static SCANNER: Walls = Walls {
    network: Network::Empty,
    root: Root::Listed,
    lock: Lock::Itself,
    calls: &[calls::BASE, calls::SCANNER, calls::FOREIGN_CODE],
    landlock: true,
    connects: &[],
    binds: &[],
    descriptors: 64,
    tasks: 1,
};

/// The table.
pub(crate) const fn of(role: Role) -> &'static Walls {
    match role {
        Role::Keeper => &KEEPER,
        Role::Mx => &MX,
        Role::Submission => &SUBMISSION,
        Role::Login => &LOGIN,
        Role::OwnerZygote => &OWNER_ZYGOTE,
        Role::Owner => &OWNER,
        Role::MxZygote | Role::SubmissionZygote | Role::ImapZygote | Role::CourierZygote => &FILTER_ZYGOTE,
        Role::Courier => &COURIER,
        Role::KeyMaker => &KEY_MAKER,
        Role::Link => &LINK,
        Role::InboundProxy => &INBOUND_PROXY,
        Role::OutboundProxy => &OUTBOUND_PROXY,
        Role::Resolver => &RESOLVER,
        Role::Worker => &WORKER,
        Role::ScannerZygote => &SCANNER_ZYGOTE,
        Role::Scanner => &SCANNER,
    }
}
