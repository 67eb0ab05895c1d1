//! What a worker needs once its message lies mapped before it: very little.

use super::{Call, MMAP, PROTECTION, WHOLE, allow, only};

/// The worker's whole list.
pub(crate) const WORKER: &[Call] = &[
    only(libc::SYS_read, 0, WHOLE, &[1], None, "the job, on its one socket"),
    only(libc::SYS_write, 0, WHOLE, &[1], None, "the report, on its one socket"),
    allow(libc::SYS_exit, "the end"),
    allow(libc::SYS_exit_group, "the end"),
    allow(libc::SYS_rt_sigreturn, "end of a handler, were there one"),
    allow(libc::SYS_getrandom, "hash seeds of its own"),
    allow(libc::SYS_madvise, "a searcher gives the last letter's pages back"),
    only(
        MMAP,
        PROTECTION,
        libc::PROT_EXEC as u32,
        &[0],
        Some(libc::EACCES),
        "refused by RLIMIT_AS, which an allocator understands; never executable",
    ),
];
