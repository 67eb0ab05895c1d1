//! What a zygote needs to make children, and what a child needs to lock itself before its own list is in force.
//! (A child's list only ever narrows its zygote's.)

use super::{Call, MMAP, PROTECTION, SENDMSG_FLAGS, allow, only, sends};

/// A child locking itself.
pub(crate) const SETUP: &[Call] = &[
    allow(libc::SYS_openat, "its id maps, through the zygote's /proc descriptor"),
    allow(libc::SYS_dup3, "putting its descriptors at 0 and 1"),
    allow(libc::SYS_close_range, "closing all others"),
    allow(libc::SYS_prctl, "not dumpable, parent-death signal, capability bounds, securebits"),
    allow(libc::SYS_prlimit64, "its limits"),
    allow(libc::SYS_capget, "giving up capabilities"),
    allow(libc::SYS_capset, "giving up capabilities"),
    allow(libc::SYS_landlock_create_ruleset, "Landlock"),
    allow(libc::SYS_landlock_add_rule, "Landlock"),
    allow(libc::SYS_landlock_restrict_self, "Landlock"),
    allow(libc::SYS_mlockall, "mail stays out of swap"),
    allow(libc::SYS_seccomp, "its own list"),
    allow(libc::SYS_fcntl, "moving descriptors"),
    only(MMAP, PROTECTION, libc::PROT_EXEC as u32, &[0], Some(libc::EACCES), "its arena"),
];

/// Making, watching and ending children.
pub(crate) const ZYGOTE: &[Call] = &[
    allow(libc::SYS_clone3, "children, each in namespaces of its own"),
    allow(libc::SYS_waitid, "how a child ended"),
    allow(libc::SYS_wait4, "how a child ended"),
    allow(libc::SYS_pidfd_send_signal, "ending a child"),
    #[cfg(not(target_arch = "aarch64"))]
    allow(libc::SYS_poll, "waiting for requests and deaths"),
    allow(libc::SYS_ppoll, "waiting for requests and deaths"),
    #[cfg(target_arch = "arm")]
    allow(super::numbers::PPOLL_TIME64, "waiting for requests and deaths"),
    allow(libc::SYS_signalfd4, "waiting for deaths"),
    allow(libc::SYS_socketpair, "a child's one socket"),
    sends(libc::SYS_sendmsg, SENDMSG_FLAGS, "answers"),
    allow(libc::SYS_recvmsg, "requests"),
    allow(libc::SYS_memfd_create, "the message's memory file"),
    allow(libc::SYS_clock_nanosleep, "pacing"),
];
