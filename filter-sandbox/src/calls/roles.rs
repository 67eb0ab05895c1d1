//! What the long-lived roles need: tokio, rustls, sockets, and for the keeper files.

use super::{Call, MMAP, PROTECTION, Rule, SENDMSG_FLAGS, SENDTO_FLAGS, WHOLE, allow, fail, numbers, only, sends};

const EXEC: u32 = libc::PROT_EXEC as u32;

/// Memory, time, signals, streams that are already open. Every role has these.
pub(crate) const BASE: &[Call] = &[
    allow(libc::SYS_read, "sockets, pipes, descriptors handed over"),
    allow(libc::SYS_write, "sockets, pipes, the log on descriptor 2"),
    allow(libc::SYS_readv, "vectored reading in std and tokio"),
    allow(libc::SYS_writev, "vectored writing in std and tokio"),
    allow(libc::SYS_close, "dropping descriptors"),
    allow(libc::SYS_fstat, "size of a descriptor handed over; std looks at it before reading to the end"),
    #[cfg(target_arch = "arm")]
    allow(libc::SYS_fstat64, "as fstat"),
    #[cfg(target_arch = "arm")]
    allow(libc::SYS_fstatat64, "as fstat"),
    #[cfg(target_arch = "arm")]
    allow(libc::SYS__llseek, "as lseek"),
    #[cfg(target_arch = "arm")]
    allow(numbers::CLOCK_GETTIME64, "the clock"),
    #[cfg(target_arch = "arm")]
    allow(numbers::CLOCK_NANOSLEEP_TIME64, "sleeping"),
    #[cfg(target_arch = "arm")]
    allow(numbers::CLOCK_GETRES_TIME64, "as clock_gettime"),
    #[cfg(target_arch = "arm")]
    allow(numbers::FUTEX_TIME64, "locks"),
    #[cfg(target_arch = "arm")]
    allow(libc::SYS_sigreturn, "end of a handler of the old kind"),
    #[cfg(target_arch = "arm")]
    sends(libc::SYS_send, SENDTO_FLAGS, "as sendto"),
    #[cfg(target_arch = "arm")]
    allow(libc::SYS_recv, "as recvfrom"),
    #[cfg(not(target_arch = "arm"))]
    allow(libc::SYS_newfstatat, "fstat of newer C libraries; the root is empty"),
    allow(libc::SYS_statx, "fstat of std; the root is empty"),
    allow(libc::SYS_lseek, "std asks a file's position before reading to the end"),
    only(MMAP, PROTECTION, EXEC, &[0], Some(libc::EACCES), "allocator and thread stacks; never executable"),
    only(libc::SYS_mprotect, PROTECTION, EXEC, &[0], Some(libc::EACCES), "thread guards; never executable"),
    allow(libc::SYS_munmap, "allocator"),
    allow(libc::SYS_mremap, "allocator"),
    allow(libc::SYS_madvise, "allocator gives pages back"),
    allow(libc::SYS_brk, "allocator"),
    allow(libc::SYS_futex, "locks"),
    allow(libc::SYS_rt_sigaction, "tokio's and std's handlers"),
    allow(libc::SYS_rt_sigprocmask, "making threads"),
    allow(libc::SYS_rt_sigreturn, "end of a handler"),
    allow(libc::SYS_sigaltstack, "std's stack overflow handler, a thread's end"),
    allow(libc::SYS_exit, "a thread's end"),
    allow(libc::SYS_exit_group, "the end"),
    allow(libc::SYS_restart_syscall, "the kernel's own continuation of a sleep"),
    allow(libc::SYS_clock_gettime, "the clock where the vDSO cannot answer"),
    allow(libc::SYS_clock_getres, "as clock_gettime"),
    allow(libc::SYS_gettimeofday, "as clock_gettime"),
    allow(libc::SYS_clock_nanosleep, "sleeping"),
    allow(libc::SYS_nanosleep, "sleeping"),
    allow(libc::SYS_getrandom, "keys, nonces, hash seeds"),
    allow(libc::SYS_sched_yield, "spinning locks"),
    allow(libc::SYS_sched_getaffinity, "allocator and runtime count processors"),
    allow(libc::SYS_gettid, "C library's locks and abort"),
    allow(libc::SYS_getpid, "abort, log lines"),
    allow(libc::SYS_getuid, "harmless; libraries ask"),
    allow(libc::SYS_geteuid, "harmless; libraries ask"),
    allow(libc::SYS_getgid, "harmless; libraries ask"),
    allow(libc::SYS_getegid, "harmless; libraries ask"),
    #[cfg(target_arch = "arm")]
    allow(libc::SYS_getuid32, "harmless; libraries ask"),
    #[cfg(target_arch = "arm")]
    allow(libc::SYS_geteuid32, "harmless; libraries ask"),
    #[cfg(target_arch = "arm")]
    allow(libc::SYS_getgid32, "harmless; libraries ask"),
    #[cfg(target_arch = "arm")]
    allow(libc::SYS_getegid32, "harmless; libraries ask"),
    allow(libc::SYS_uname, "harmless; libraries ask"),
    only(libc::SYS_tgkill, 0, WHOLE, &[1], Some(libc::EPERM), "abort: to itself, 1 in its own pid namespace"),
    only(libc::SYS_prlimit64, 2, WHOLE, &[0], Some(libc::EPERM), "reading its own limits, never setting"),
    #[cfg(target_arch = "arm")]
    allow(libc::SYS_ugetrlimit, "reading its own limits"),
    only(libc::SYS_prctl, 0, WHOLE, NAMING, Some(libc::EPERM), "names of threads and mappings"),
    only(
        libc::SYS_ioctl,
        1,
        WHOLE,
        &[libc::FIONBIO as u32, libc::FIOCLEX as u32, libc::FIONREAD as u32, libc::TIOCOUTQ as u32],
        Some(libc::ENOTTY),
        "non-blocking sockets, what a peer has not read; nothing here is a terminal",
    ),
    flags(libc::SYS_fcntl),
    #[cfg(target_arch = "arm")]
    flags(libc::SYS_fcntl64),
    fail(libc::SYS_openat, libc::EACCES, "allocator, std and time libraries look for files; there are none"),
    #[cfg(not(target_arch = "aarch64"))]
    fail(libc::SYS_open, libc::EACCES, "as openat"),
    fail(libc::SYS_readlinkat, libc::EACCES, "as openat"),
    #[cfg(not(target_arch = "aarch64"))]
    fail(libc::SYS_readlink, libc::EACCES, "as openat"),
    fail(libc::SYS_faccessat, libc::EACCES, "as openat"),
    #[cfg(not(target_arch = "aarch64"))]
    fail(libc::SYS_access, libc::EACCES, "as openat"),
    fail(libc::SYS_getcwd, libc::EACCES, "backtraces ask for it"),
    fail(libc::SYS_sysinfo, libc::EPERM, "libraries ask for memory size"),
];

/// `fcntl` under either of its names.
const fn flags(number: libc::c_long) -> Call {
    only(number, 1, WHOLE, FLAGS, Some(libc::EPERM), "flags, copies, seals, pipe sizes, locks; never F_SETOWN")
}

const FLAGS: &[u32] = &[
    libc::F_DUPFD as u32,
    libc::F_DUPFD_CLOEXEC as u32,
    libc::F_GETFD as u32,
    libc::F_SETFD as u32,
    libc::F_GETFL as u32,
    libc::F_SETFL as u32,
    libc::F_ADD_SEALS as u32,
    libc::F_GET_SEALS as u32,
    libc::F_SETPIPE_SZ as u32,
    libc::F_GETPIPE_SZ as u32,
    libc::F_SETLK as u32,
    libc::F_OFD_SETLK as u32,
    #[cfg(target_arch = "arm")]
    SETLK64,
];

/// `asm-generic/fcntl.h`: as `F_SETLK`, for 32-bit machines, with 64-bit places.
#[cfg(target_arch = "arm")]
const SETLK64: u32 = 13;

/// `prctl` options that name threads and mappings.
pub(super) const NAMING: &[u32] = &[libc::PR_SET_NAME as u32, libc::PR_GET_NAME as u32, PR_SET_VMA];

/// `linux/prctl.h`: names an anonymous mapping; newer C libraries do so for thread stacks.
const PR_SET_VMA: u32 = 0x5356_4d41;

const THREAD: u32 = (libc::CLONE_THREAD | libc::CLONE_VM) as u32;
const NAMESPACES: u32 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u32;

/// Threads of its own, and nothing else that clone can do.
pub(crate) const THREADS: &[Call] = &[
    only(libc::SYS_clone, 0, THREAD | NAMESPACES, &[THREAD], None, "threads only"),
    fail(libc::SYS_clone3, libc::ENOSYS, "its flags cannot be looked at; the C library falls back to clone"),
    allow(libc::SYS_rseq, "a thread's start"),
    allow(libc::SYS_set_robust_list, "a thread's start"),
    allow(libc::SYS_set_tid_address, "a thread's start"),
    allow(libc::SYS_membarrier, "some locks"),
    allow(libc::SYS_sched_getparam, "pthread attributes"),
    allow(libc::SYS_sched_getscheduler, "pthread attributes"),
];

/// What an event loop needs.
pub(crate) const RUNTIME: &[Call] = &[
    allow(libc::SYS_epoll_create1, "tokio's driver"),
    allow(libc::SYS_epoll_ctl, "tokio's driver"),
    #[cfg(not(target_arch = "aarch64"))]
    allow(libc::SYS_epoll_wait, "tokio's driver"),
    allow(libc::SYS_epoll_pwait, "tokio's driver"),
    allow(libc::SYS_epoll_pwait2, "tokio's driver"),
    allow(libc::SYS_eventfd2, "tokio's waker"),
    allow(libc::SYS_timerfd_create, "timers"),
    allow(libc::SYS_timerfd_settime, "timers"),
    #[cfg(target_arch = "arm")]
    allow(numbers::TIMERFD_SETTIME64, "timers"),
    #[cfg(not(target_arch = "aarch64"))]
    allow(libc::SYS_poll, "waiting on one descriptor"),
    allow(libc::SYS_ppoll, "waiting on one descriptor"),
    #[cfg(target_arch = "arm")]
    allow(numbers::PPOLL_TIME64, "waiting on one descriptor"),
    allow(libc::SYS_pipe2, "letters travel through pipes"),
    allow(libc::SYS_dup, "copies of descriptors"),
    allow(libc::SYS_dup3, "copies of descriptors"),
    allow(libc::SYS_socketpair, "edges, tokio's signal pipe"),
];

/// Sockets that exist already: inherited listeners, what they accept, edges.
pub(crate) const STREAMS: &[Call] = &[
    allow(libc::SYS_accept4, "connections on inherited listeners"),
    allow(libc::SYS_recvmsg, "edges"),
    sends(libc::SYS_sendmsg, SENDMSG_FLAGS, "edges"),
    allow(libc::SYS_recvfrom, "streams"),
    sends(libc::SYS_sendto, SENDTO_FLAGS, "streams"),
    allow(libc::SYS_shutdown, "end of a stream"),
    allow(libc::SYS_getsockopt, "errors of a stream"),
    only(
        libc::SYS_setsockopt,
        2,
        WHOLE,
        &[libc::TCP_NODELAY as u32],
        Some(libc::EPERM),
        "no delay; what is set on a listener would outlive the role, and one option connects",
    ),
    allow(libc::SYS_getsockname, "addresses for the log"),
    allow(libc::SYS_getpeername, "addresses for the log and the trace field"),
];

/// Memory files: letters for workers, keys for owners.
pub(crate) const MEMORY_FILES: &[Call] = &[
    allow(libc::SYS_memfd_create, "bodies travel as memory files"),
    allow(libc::SYS_ftruncate, "size of a memory file"),
    #[cfg(target_arch = "arm")]
    allow(libc::SYS_ftruncate64, "size of a memory file"),
    allow(libc::SYS_pwrite64, "filling a memory file"),
    allow(libc::SYS_pwritev, "filling a memory file"),
    allow(libc::SYS_pread64, "reading a memory file"),
    allow(libc::SYS_preadv, "reading a memory file"),
    allow(libc::SYS_mlock, "keeping it out of swap"),
    allow(libc::SYS_mlock2, "keeping it out of swap"),
    allow(libc::SYS_munlock, "its end"),
];

/// Letters opened by the keeper and handed over, read only.
pub(crate) const READS_FILES: &[Call] = &[
    allow(libc::SYS_pread64, "ranges of a letter"),
    allow(libc::SYS_preadv, "ranges of a letter"),
    allow(numbers::FADVISE, "reading ahead"),
    allow(libc::SYS_readahead, "reading ahead"),
];

/// The keeper's: everything on one disk folder.
pub(crate) const FILES: &[Call] = &[
    allow(libc::SYS_openat, "files of the spool, its only root entry"),
    #[cfg(not(target_arch = "aarch64"))]
    allow(libc::SYS_open, "as openat"),
    allow(libc::SYS_mkdirat, "folders of the spool"),
    #[cfg(not(target_arch = "aarch64"))]
    allow(libc::SYS_mkdir, "folders of the spool"),
    allow(libc::SYS_renameat2, "commit by rename"),
    #[cfg(not(target_arch = "aarch64"))]
    allow(libc::SYS_rename, "commit by rename"),
    allow(numbers::RENAMEAT, "commit by rename"),
    allow(libc::SYS_linkat, "setting a letter aside"),
    allow(libc::SYS_unlinkat, "expunged letters"),
    #[cfg(not(target_arch = "aarch64"))]
    allow(libc::SYS_unlink, "expunged letters"),
    #[cfg(not(target_arch = "aarch64"))]
    allow(libc::SYS_rmdir, "folders of a removed mailbox"),
    allow(libc::SYS_fsync, "durable letters"),
    allow(libc::SYS_fdatasync, "durable records"),
    allow(numbers::SYNC_FILE_RANGE, "the cache library's flush"),
    allow(numbers::FADVISE, "large checks read ahead"),
    allow(libc::SYS_readahead, "large checks read ahead"),
    allow(libc::SYS_getdents64, "listing folders"),
    allow(libc::SYS_flock, "one keeper per spool"),
    allow(libc::SYS_pread64, "records, letters"),
    allow(libc::SYS_preadv, "records, letters"),
    allow(libc::SYS_pwrite64, "records"),
    allow(libc::SYS_pwritev, "records"),
    allow(libc::SYS_ftruncate, "cutting back a torn tail"),
    #[cfg(target_arch = "arm")]
    allow(libc::SYS_ftruncate64, "cutting back a torn tail"),
    allow(libc::SYS_fallocate, "journal segments are made in advance"),
    allow(libc::SYS_statfs, "room on the disk"),
    allow(libc::SYS_fstatfs, "room on the disk"),
    #[cfg(target_arch = "arm")]
    allow(libc::SYS_statfs64, "room on the disk"),
    #[cfg(target_arch = "arm")]
    allow(libc::SYS_fstatfs64, "room on the disk"),
    #[cfg(target_arch = "arm")]
    allow(libc::SYS_stat64, "what is there"),
    #[cfg(target_arch = "arm")]
    allow(libc::SYS_lstat64, "what is there"),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_stat, "what is there"),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_lstat, "what is there"),
    allow(libc::SYS_faccessat, "what is there"),
    allow(libc::SYS_faccessat2, "what is there"),
    #[cfg(not(target_arch = "aarch64"))]
    allow(libc::SYS_access, "what is there"),
    allow(libc::SYS_readlinkat, "resolving its own paths"),
    #[cfg(not(target_arch = "aarch64"))]
    allow(libc::SYS_readlink, "resolving its own paths"),
    allow(libc::SYS_fchmod, "modes of new files"),
    allow(libc::SYS_fchmodat, "modes of new files"),
    allow(libc::SYS_umask, "modes of new files"),
    allow(libc::SYS_utimensat, "a file's time"),
    #[cfg(target_arch = "arm")]
    allow(numbers::UTIMENSAT_TIME64, "a file's time"),
    allow(libc::SYS_copy_file_range, "checkpoint copies"),
    allow(libc::SYS_memfd_create, "wrapped identities travel as memory files"),
    allow(libc::SYS_getcwd, "resolving its own paths"),
    allow(libc::SYS_sysinfo, "the cache library sizes itself"),
];

/// `socket`'s second argument without its flags (`linux/net.h`, `SOCK_TYPE_MASK`).
const SOCKET_KIND: u32 = 0xf;

/// Sockets of the internet families, to ask the resolver.
pub(crate) const ASKS_DNS: &[Call] = &[
    Call {
        number: libc::SYS_socket,
        rule: Rule::All {
            conditions: &[
                (0, WHOLE, &[libc::AF_INET as u32, libc::AF_INET6 as u32]),
                (1, SOCKET_KIND, &[libc::SOCK_STREAM as u32, libc::SOCK_DGRAM as u32]),
                (2, WHOLE, &[0, libc::IPPROTO_TCP as u32, libc::IPPROTO_UDP as u32]),
            ],
            otherwise: libc::EAFNOSUPPORT,
        },
        why: "asking the DNS: UDP, and TCP for long answers; nothing that Landlock takes for neither (MPTCP, SCTP)",
    },
    allow(
        libc::SYS_connect,
        "as socket; `mx`'s own network has nothing else to reach, and its listener is of the host's but deaf: see `listener`",
    ),
    allow(
        libc::SYS_bind,
        "a source port of its own choice for each question; for the outbound proxy, the address that letters leave from",
    ),
];

/// Moving bytes between two connections without looking at them.
pub(crate) const RELAYS: &[Call] = &[allow(libc::SYS_splice, "from a connection into a pipe and out again")];
