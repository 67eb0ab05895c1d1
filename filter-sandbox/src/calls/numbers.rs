//! Numbers of system calls that the libc crate does not name on every machine (the kernel's `unistd.h` and `syscall.tbl`).

use std::ffi::c_long;

/// Those whose times have 64 bits: a 32-bit machine's C library and std call them first.
#[cfg(target_arch = "arm")]
mod only_here {
    use super::c_long;

    pub(crate) const CLOCK_GETTIME64: c_long = 403;
    pub(crate) const CLOCK_GETRES_TIME64: c_long = 406;
    pub(crate) const CLOCK_NANOSLEEP_TIME64: c_long = 407;
    pub(crate) const TIMERFD_SETTIME64: c_long = 411;
    pub(crate) const UTIMENSAT_TIME64: c_long = 412;
    pub(crate) const PPOLL_TIME64: c_long = 414;
    pub(crate) const FUTEX_TIME64: c_long = 422;
}
#[cfg(target_arch = "arm")]
pub(crate) use only_here::*;

/// With two numbers of 64 bits for a time.
#[cfg(target_arch = "arm")]
pub(crate) const CLOCK_SETTIME64: c_long = 404;
#[cfg(not(target_arch = "arm"))]
pub(crate) const CLOCK_SETTIME64: c_long = libc::SYS_clock_settime;

/// 32-bit ARM has its own, with arguments in another order.
#[cfg(target_arch = "arm")]
pub(crate) const SYNC_FILE_RANGE: c_long = libc::SYS_arm_sync_file_range;
#[cfg(target_arch = "aarch64")]
pub(crate) const SYNC_FILE_RANGE: c_long = 84;
#[cfg(target_arch = "x86_64")]
pub(crate) const SYNC_FILE_RANGE: c_long = libc::SYS_sync_file_range;

/// The same.
#[cfg(target_arch = "arm")]
pub(crate) const FADVISE: c_long = libc::SYS_arm_fadvise64_64;
#[cfg(not(target_arch = "arm"))]
pub(crate) const FADVISE: c_long = libc::SYS_fadvise64;

/// libc does not know that 64-bit ARM has it.
#[cfg(target_arch = "aarch64")]
pub(crate) const RENAMEAT: c_long = 38;
#[cfg(not(target_arch = "aarch64"))]
pub(crate) const RENAMEAT: c_long = libc::SYS_renameat;
