//! What an external scanner (an interpreter reading its own rules) needs: more than a worker, which is why the
//! profile is labelled weaker and is off by default. On top of [`super::BASE`].

use super::roles::NAMING;
use super::{Call, MMAP, PROTECTION, Rule, WHOLE, allow, fail, numbers, only};

/// Flags of an opening that only reads: no writing, no making, no cutting.
const WRITES: u32 = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u32;

/// Reading its tree, telling the time, and being refused what an interpreter tries by habit.
pub(crate) const SCANNER: &[Call] = &[
    only(libc::SYS_openat, 2, WRITES, &[0], Some(libc::EROFS), "its tree, to read"),
    #[cfg(not(target_arch = "aarch64"))]
    only(libc::SYS_open, 1, WRITES, &[0], Some(libc::EROFS), "its tree, to read"),
    allow(libc::SYS_getdents64, "rules are found by listing their folder"),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_stat, "what is there"),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_lstat, "what is there"),
    #[cfg(target_arch = "arm")]
    allow(libc::SYS_stat64, "what is there"),
    #[cfg(target_arch = "arm")]
    allow(libc::SYS_lstat64, "what is there"),
    #[cfg(not(target_arch = "aarch64"))]
    allow(libc::SYS_access, "what is there"),
    allow(libc::SYS_faccessat, "what is there"),
    allow(libc::SYS_faccessat2, "what is there"),
    #[cfg(not(target_arch = "aarch64"))]
    allow(libc::SYS_readlink, "what is there"),
    allow(libc::SYS_readlinkat, "what is there"),
    allow(libc::SYS_getcwd, "where it is"),
    allow(libc::SYS_pread64, "the linker reads libraries"),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_arch_prctl, "a program's start: its thread pointer"),
    #[cfg(target_arch = "arm")]
    allow(0x000f_0005, "a program's start: its thread pointer (ARM set_tls)"),
    allow(libc::SYS_set_tid_address, "a program's start"),
    allow(libc::SYS_set_robust_list, "a program's start"),
    allow(libc::SYS_rseq, "a program's start"),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_alarm, "an end to rules that take too long"),
    allow(libc::SYS_setitimer, "an end to rules that take too long"),
    allow(libc::SYS_getitimer, "an end to rules that take too long"),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_time, "the clock"),
    allow(libc::SYS_times, "how long its rules took"),
    allow(libc::SYS_getrusage, "how long its rules took"),
    allow(libc::SYS_getppid, "harmless; interpreters ask"),
    allow(libc::SYS_getgroups, "harmless; interpreters ask"),
    allow(libc::SYS_umask, "harmless: it makes no file"),
    allow(libc::SYS_dup, "handles of the interpreter"),
    allow(libc::SYS_dup3, "handles of the interpreter"),
    #[cfg(not(target_arch = "aarch64"))]
    allow(libc::SYS_dup2, "handles of the interpreter"),
    allow(libc::SYS_pselect6, "sleeping"),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_select, "sleeping"),
    #[cfg(target_arch = "arm")]
    allow(libc::SYS__newselect, "sleeping"),
    Call {
        number: libc::SYS_prctl,
        rule: Rule::OnlyOrClear { values: NAMING, cleared: libc::PR_SET_DUMPABLE as u32, otherwise: libc::EPERM },
        why: "exec makes it dumpable; it ends that, and cannot undo it",
    },
    only(libc::SYS_mlockall, 0, WHOLE, &[ALL_ON_FAULT], Some(libc::EPERM), "mail stays out of swap"),
    fail(libc::SYS_socket, libc::EAFNOSUPPORT, "looking for a name service"),
    fail(libc::SYS_clone, libc::EPERM, "helpers: there are none (at EAGAIN Perl would try for ever)"),
    fail(libc::SYS_clone3, libc::EPERM, "helpers: there are none (at EAGAIN Perl would try for ever)"),
    #[cfg(not(target_arch = "aarch64"))]
    fail(libc::SYS_fork, libc::EPERM, "helpers: there are none (at EAGAIN Perl would try for ever)"),
    #[cfg(not(target_arch = "aarch64"))]
    fail(libc::SYS_vfork, libc::EPERM, "helpers: there are none (at EAGAIN Perl would try for ever)"),
    fail(libc::SYS_pipe2, libc::EMFILE, "helpers: there are none"),
    #[cfg(not(target_arch = "aarch64"))]
    fail(libc::SYS_pipe, libc::EMFILE, "helpers: there are none"),
    fail(libc::SYS_wait4, libc::ECHILD, "helpers: there are none"),
    fail(libc::SYS_kill, libc::EPERM, "helpers: there are none"),
    fail(libc::SYS_unlinkat, libc::EROFS, "temporary files: there are none"),
    fail(libc::SYS_linkat, libc::EROFS, "locks of files: there are none"),
    fail(libc::SYS_symlinkat, libc::EROFS, "locks of files: there are none"),
    fail(numbers::RENAMEAT, libc::EROFS, "temporary files: there are none"),
    fail(libc::SYS_renameat2, libc::EROFS, "temporary files: there are none"),
    #[cfg(not(target_arch = "aarch64"))]
    fail(libc::SYS_link, libc::EROFS, "locks of files: there are none"),
    #[cfg(not(target_arch = "aarch64"))]
    fail(libc::SYS_symlink, libc::EROFS, "locks of files: there are none"),
    #[cfg(not(target_arch = "aarch64"))]
    fail(libc::SYS_rename, libc::EROFS, "temporary files: there are none"),
    #[cfg(not(target_arch = "aarch64"))]
    fail(libc::SYS_rmdir, libc::EROFS, "temporary files: there are none"),
    fail(libc::SYS_mkdirat, libc::EROFS, "a folder for preferences"),
    fail(libc::SYS_fchmodat, libc::EROFS, "a folder for preferences"),
    #[cfg(not(target_arch = "aarch64"))]
    fail(libc::SYS_unlink, libc::EROFS, "temporary files: there are none"),
    #[cfg(not(target_arch = "aarch64"))]
    fail(libc::SYS_mkdir, libc::EROFS, "a folder for preferences"),
    #[cfg(not(target_arch = "aarch64"))]
    fail(libc::SYS_chmod, libc::EROFS, "a folder for preferences"),
];

/// `mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)`.
const ALL_ON_FAULT: u32 = (libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) as u32;

const WRITTEN: u32 = libc::PROT_WRITE as u32;
const RUN: u32 = libc::PROT_EXEC as u32;

/// Foreign code. Its zygote's list has it too, since a child's list can only be narrower.
pub(crate) const FOREIGN_CODE: &[Call] = &[
    allow(libc::SYS_execve, "the scanner; its tree has nothing else to execute"),
    only(
        MMAP,
        PROTECTION,
        WRITTEN | RUN,
        &[0, WRITTEN, RUN],
        Some(libc::EACCES),
        "libraries; never writable and executable at once",
    ),
];
