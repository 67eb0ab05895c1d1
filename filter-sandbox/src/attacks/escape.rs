//! Reaching other processes, becoming more, multiplying: rows 6 to 9, 24 to 28, 38, 40, 41, 46, 48, 49.

use super::{Victim, answer, attempt};
use crate::sys;

const PTRACE_SEIZE: i32 = 0x4206;

pub(super) fn trace(victim: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_ptrace, PTRACE_SEIZE, victim.process, 0, 0).map(drop)
}

pub(super) fn signal(victim: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_kill, victim.process, 0).map(drop)
}

pub(super) fn signal_thread(victim: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_tgkill, victim.process, victim.process, 0).map(drop)
}

pub(super) fn signal_all(_: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_kill, -1, 0).map(drop)
}

pub(super) fn own_signals(victim: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_fcntl, 1, libc::F_SETOWN, victim.process)?;
    attempt!(libc::SYS_fcntl, 1, libc::F_SETFL, libc::O_ASYNC).map(drop)
}

pub(super) fn mount(_: &Victim) -> Result<(), i32> {
    let (kind, at, none) = (c"tmpfs".as_ptr(), c"/".as_ptr(), std::ptr::null::<u8>());
    attempt!(libc::SYS_mount, kind, at, kind, 0, none).map(drop)
}

pub(super) fn new_mount(_: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_fsopen, c"tmpfs".as_ptr(), 0).map(drop)
}

pub(super) fn new_user_namespace(_: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_unshare, libc::CLONE_NEWUSER).map(drop)
}

pub(super) fn join_namespace(victim: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_setns, victim.stray, 0).map(drop)
}

pub(super) fn fork(_: &Victim) -> Result<(), i32> {
    let none = std::ptr::null::<u8>();
    match attempt!(libc::SYS_clone, libc::SIGCHLD, none, none, none, none)? {
        0 => sys::exit(0),
        _ => Ok(()),
    }
}

pub(super) fn thread(_: &Victim) -> Result<(), i32> {
    extern "C" fn idle(_: *mut libc::c_void) -> i32 {
        0
    }
    let mut stack = vec![0u128; 1024];
    let top = stack.as_mut_ptr_range().end.cast();
    let flags = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
    // SAFETY: the stack is large enough for a function that does nothing, and outlives the process.
    let made = answer(unsafe { libc::clone(idle, top, flags, std::ptr::null_mut()) }.into());
    std::mem::forget(stack);
    made.map(drop)
}

pub(super) fn become_root(_: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_setuid, 0).map(drop)
}

pub(super) fn take_capabilities(_: &Victim) -> Result<(), i32> {
    let head = [0x2008_0522u32, 0];
    let all = [u32::MAX, u32::MAX, 0, 0x1ff, 0x1ff, 0];
    attempt!(libc::SYS_capset, head.as_ptr(), all.as_ptr()).map(drop)
}

pub(super) fn open_process(victim: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_pidfd_open, victim.process, 0).map(drop)
}

pub(super) fn read_process(victim: &Victim) -> Result<(), i32> {
    let mut byte = 0u8;
    let place = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let place = &raw const place;
    attempt!(libc::SYS_process_vm_readv, victim.process, place, 1, place, 1, 0).map(drop)
}

pub(super) fn change_root(_: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_chroot, c"/".as_ptr()).map(drop)
}

pub(super) fn real_time(_: &Victim) -> Result<(), i32> {
    let priority = 1i32;
    attempt!(libc::SYS_sched_setscheduler, 0, libc::SCHED_FIFO, &raw const priority).map(drop)
}

pub(super) fn nicer(_: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_setpriority, libc::PRIO_PROCESS as i32, 0, -5).map(drop)
}

pub(super) fn raise_limit(_: &Victim) -> Result<(), i32> {
    let wanted = [sys::UNLIMITED; 2];
    let none = std::ptr::null::<u64>();
    attempt!(libc::SYS_prlimit64, 0, libc::RLIMIT_NPROC as i32, wanted.as_ptr(), none).map(drop)
}

pub(super) fn dumpable(_: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0).map(drop)
}

pub(super) fn outlive(_: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, 0, 0, 0, 0).map(drop)
}
