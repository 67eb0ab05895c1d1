//! The kernel's own surface: rows 19 to 23, 37, 43, 50, 53, 54.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Victim, attempt};
use crate::calls::numbers::CLOCK_SETTIME64;

pub(super) fn io_uring(_: &Victim) -> Result<(), i32> {
    let mut parameters = [0u32; 30];
    attempt!(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()).map(drop)
}

pub(super) fn user_faults(_: &Victim) -> Result<(), i32> {
    const USER_MODE_ONLY: i32 = 1;
    attempt!(libc::SYS_userfaultfd, USER_MODE_ONLY).map(drop)
}

pub(super) fn add_key(_: &Victim) -> Result<(), i32> {
    const PROCESS_KEYRING: i32 = -2;
    let (kind, name) = (c"user".as_ptr(), c"left".as_ptr());
    attempt!(libc::SYS_add_key, kind, name, b"x".as_ptr(), 1, PROCESS_KEYRING).map(drop)
}

pub(super) fn keyring(_: &Victim) -> Result<(), i32> {
    const GET_ID: i32 = 0;
    const PROCESS_KEYRING: i32 = -2;
    attempt!(libc::SYS_keyctl, GET_ID, PROCESS_KEYRING, 1, 0, 0).map(drop)
}

pub(super) fn performance(_: &Victim) -> Result<(), i32> {
    // `struct perf_event_attr`, first published size; a software clock of this process, user side only.
    let mut wanted = [0u64; 14];
    const SOFTWARE: u64 = 1;
    const USER_SIDE_ONLY: u64 = 1 << 5 | 1 << 6;
    wanted[0] = if cfg!(target_endian = "little") { SOFTWARE | 112 << 32 } else { SOFTWARE << 32 | 112 };
    wanted[5] = USER_SIDE_ONLY;
    attempt!(libc::SYS_perf_event_open, wanted.as_ptr(), 0, -1, -1, 0).map(drop)
}

pub(super) fn bpf_map(_: &Victim) -> Result<(), i32> {
    const MAP_CREATE: i32 = 0;
    const ARRAY: u32 = 2;
    let mut wanted = [0u32; 32];
    wanted[..4].copy_from_slice(&[ARRAY, 4, 4, 1]);
    attempt!(libc::SYS_bpf, MAP_CREATE, wanted.as_ptr(), size_of_val(&wanted)).map(drop)
}

pub(super) fn watch_files(_: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_inotify_init1, 0).map(drop)
}

pub(super) fn watch_all_files(_: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_fanotify_init, 0, 0).map(drop)
}

pub(super) fn host_name(_: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_sethostname, b"x".as_ptr(), 1).map(drop)
}

/// To the time that it is: where the walls do not hold, the admin's clock is left as it was.
pub(super) fn clock(_: &Victim) -> Result<(), i32> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = [now.as_secs(), now.subsec_nanos().into()];
    attempt!(CLOCK_SETTIME64, libc::CLOCK_REALTIME, now.as_ptr()).map(drop)
}

pub(super) fn reboot(_: &Victim) -> Result<(), i32> {
    // Switches Ctrl-Alt-Del off, no more.
    let (first, second) = (libc::LINUX_REBOOT_MAGIC1, libc::LINUX_REBOOT_MAGIC2);
    attempt!(libc::SYS_reboot, first, second, libc::LINUX_REBOOT_CMD_CAD_OFF, 0).map(drop)
}

pub(super) fn swap_off(_: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_swapoff, c"/none".as_ptr()).map(drop)
}

pub(super) fn kernel_log(_: &Victim) -> Result<(), i32> {
    const READ: i32 = 2;
    let mut nothing = [0u8; 1];
    attempt!(libc::SYS_syslog, READ, nothing.as_mut_ptr(), 0).map(drop)
}

#[cfg(target_arch = "x86_64")]
pub(super) fn old_gate(_: &Victim) -> Result<(), i32> {
    const GETPID: i32 = 20;
    let answer: i32;
    // SAFETY: the 32-bit gate; this call has no arguments and touches no memory.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("eax") GETPID => answer,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _, options(nostack));
    }
    if answer >= 0 { Ok(()) } else { Err(-answer) }
}

#[cfg(target_arch = "x86_64")]
pub(super) fn other_table(_: &Victim) -> Result<(), i32> {
    const X32: libc::c_long = 0x4000_0000;
    attempt!(X32 + libc::SYS_getpid).map(drop)
}

#[cfg(target_arch = "x86_64")]
pub(super) fn descriptor_table(_: &Victim) -> Result<(), i32> {
    let mut table = [0u8; 64];
    attempt!(libc::SYS_modify_ldt, 0, table.as_mut_ptr(), table.len()).map(drop)
}

pub(super) fn personality(_: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_personality, 0xffff_ffffu32).map(drop)
}

pub(super) fn system_info(_: &Victim) -> Result<(), i32> {
    let mut info = [0u64; 32];
    attempt!(libc::SYS_sysinfo, info.as_mut_ptr()).map(drop)
}

pub(super) fn page_cache(_: &Victim) -> Result<(), i32> {
    const CACHESTAT: libc::c_long = 451;
    let (range, mut found) = ([0u64; 2], [0u64; 5]);
    attempt!(CACHESTAT, 0, range.as_ptr(), found.as_mut_ptr(), 0).map(drop)
}

pub(super) fn timer(_: &Victim) -> Result<(), i32> {
    let mut id = 0i32;
    attempt!(libc::SYS_timer_create, libc::CLOCK_REALTIME, std::ptr::null::<u8>(), &raw mut id).map(drop)
}
