//! The list: each attempt with what must come of it behind all walls, with seccomp off, and without Landlock too.
//!
//! `Works` in the second column is no hole: it says that seccomp is the only wall there, which is why seccomp is never
//! optional. Row 17's other half (AF_ALG), 39 (TIOCSTI) and 44 (kernel modules) are not here: this machine's own
//! refusals (not built, no terminal) would pass for a wall's.

use super::Outcome::{self, Refused, Works};
use super::{Attack, Victim, escape, files, kernel, memory, network};

/// Killed by seccomp.
const SECCOMP: Outcome = Outcome::Killed(libc::SIGSYS);

pub(super) const fn attack(row: u8, name: &'static str, run: fn(&Victim) -> Result<(), i32>, alone: Outcome) -> Attack {
    Attack { row, name, run, whole: SECCOMP, alone, bare: alone, boundary: false }
}

/// Aimed at the host.
pub(super) const fn host(row: u8, name: &'static str, run: fn(&Victim) -> Result<(), i32>, alone: Outcome) -> Attack {
    Attack { boundary: true, ..attack(row, name, run, alone) }
}

impl Attack {
    const fn bare(self, bare: Outcome) -> Self {
        Self { bare, ..self }
    }

    pub(super) const fn whole(self, whole: Outcome) -> Self {
        Self { whole, ..self }
    }
}

/// Rows 1 to 54, and 62.
pub const ATTACKS: &[Attack] = &[
    host(1, "open a file by absolute path", files::absolute, Refused(libc::ENOENT)),
    host(2, "open through a stray directory descriptor", files::stray_directory, Refused(libc::EBADF)),
    host(3, "walk out of the root by dots", files::dots, Refused(libc::ENOENT)),
    attack(4, "list the root", files::list_root, Refused(libc::EACCES)).bare(Works),
    host(4, "create in the root", files::create, Refused(libc::EROFS)),
    host(5, "open its own maps", files::own_maps, Refused(libc::ENOENT)),
    host(5, "open another process's memory", files::process_memory, Refused(libc::ENOENT)),
    host(6, "trace another process", escape::trace, Refused(libc::ESRCH)),
    host(7, "signal another process", escape::signal, Refused(libc::ESRCH)),
    host(7, "signal another thread", escape::signal_thread, Refused(libc::ESRCH)),
    host(8, "signal all processes", escape::signal_all, Refused(libc::ESRCH)),
    host(9, "send input signals to another process", escape::own_signals, Refused(libc::ESRCH)),
    host(10, "connect by TCP", network::tcp_connect, Refused(libc::EACCES)).bare(Refused(libc::ENETUNREACH)),
    attack(10, "connect by multipath TCP", network::multipath_connect, Refused(libc::ENETUNREACH)),
    attack(11, "listen by TCP", network::tcp_listen, Refused(libc::EACCES)).bare(Works),
    host(12, "send by UDP", network::udp_send, Refused(libc::ENETUNREACH)),
    host(13, "connect to an abstract socket", network::abstract_socket, Refused(libc::ECONNREFUSED)),
    host(14, "connect to a socket file", network::socket_file, Refused(libc::ENOENT)),
    attack(15, "netlink socket", network::netlink, Works),
    attack(16, "vsock socket", network::vsock, Works),
    attack(17, "packet socket", network::packet, Refused(libc::EPERM)),
    attack(18, "socket pair", network::pair, Works),
    attack(19, "io_uring", kernel::io_uring, Refused(libc::ENOMEM)),
    attack(20, "userfaultfd", kernel::user_faults, Works),
    attack(21, "add a key", kernel::add_key, Works),
    attack(21, "make a keyring", kernel::keyring, Works),
    attack(22, "performance events", kernel::performance, Works),
    attack(23, "BPF map", kernel::bpf_map, Refused(libc::EPERM)),
    attack(24, "mount", escape::mount, Refused(libc::EPERM)),
    attack(24, "open a new file system", escape::new_mount, Refused(libc::EPERM)),
    attack(25, "new user namespace", escape::new_user_namespace, Refused(libc::EPERM)),
    host(26, "join a namespace by a stray descriptor", escape::join_namespace, Refused(libc::EBADF)),
    attack(27, "fork", escape::fork, Refused(libc::EAGAIN)),
    attack(28, "make a thread", escape::thread, Refused(libc::EAGAIN)),
    host(29, "execute a program", files::execute_program, Refused(libc::ENOENT)),
    host(29, "execute a setuid program", files::execute_setuid, Refused(libc::ENOENT)),
    attack(30, "execute from a memory file", memory::run_from_memory, Refused(libc::EFBIG)),
    attack(31, "take a gigabyte", memory::memory_bomb, Refused(libc::ENOMEM)).whole(Refused(libc::ENOMEM)),
    attack(32, "make memory executable", memory::new_code, Refused(libc::EACCES)).whole(Refused(libc::EACCES)),
    attack(33, "use up descriptors", memory::many_descriptors, Refused(libc::EMFILE)),
    attack(34, "make a SysV segment", memory::segment, Works),
    attack(34, "make a SysV queue", memory::queue, Works),
    host(35, "attach another's SysV segment", memory::foreign_segment, Refused(libc::ENOENT)),
    attack(36, "make a POSIX queue", memory::posix_queue, Refused(libc::EOVERFLOW)),
    attack(37, "inotify", kernel::watch_files, Works),
    attack(37, "fanotify", kernel::watch_all_files, Refused(libc::EPERM)),
    attack(38, "become root", escape::become_root, Refused(libc::EINVAL)),
    attack(38, "take all capabilities", escape::take_capabilities, Refused(libc::EPERM)),
    host(40, "open another process", escape::open_process, Refused(libc::ESRCH)),
    host(40, "read another process's memory", escape::read_process, Refused(libc::ESRCH)),
    attack(41, "change the root", escape::change_root, Refused(libc::EPERM)),
    host(42, "open kernel memory", files::kernel_memory, Refused(libc::ENOENT)),
    host(42, "open a device", files::null_device, Refused(libc::ENOENT)),
    host(42, "make a device", files::make_device, Refused(libc::EROFS)),
    attack(43, "set the host name", kernel::host_name, Refused(libc::EPERM)),
    attack(43, "set the clock", kernel::clock, Refused(libc::EPERM)),
    attack(43, "reboot", kernel::reboot, Refused(libc::EPERM)),
    attack(43, "switch swap off", kernel::swap_off, Refused(libc::EPERM)),
    attack(43, "read the kernel's log", kernel::kernel_log, Refused(libc::EPERM)),
    attack(45, "take a file handle", files::file_handle, Works),
    attack(46, "real-time scheduling", escape::real_time, Refused(libc::EPERM)),
    attack(46, "higher priority", escape::nicer, Refused(libc::EACCES)),
    attack(47, "write into the message", memory::write_message, Refused(libc::EBADF)),
    attack(47, "map the message to write", memory::map_message, Refused(libc::EACCES)).whole(Refused(libc::EACCES)),
    attack(47, "lengthen the message", memory::cut_message, Refused(libc::EINVAL)),
    attack(48, "raise a limit", escape::raise_limit, Refused(libc::EPERM)),
    attack(49, "become dumpable", escape::dumpable, Works),
    attack(49, "outlive its parent", escape::outlive, Works),
    #[cfg(target_arch = "x86_64")]
    attack(50, "the 32-bit gate", kernel::old_gate, Works),
    #[cfg(target_arch = "x86_64")]
    attack(50, "the x32 table", kernel::other_table, Refused(libc::ENOSYS)),
    attack(51, "give pages to a pipe", memory::gift_pages, Works),
    attack(52, "lock memory", memory::lock_memory, Refused(libc::EPERM)),
    #[cfg(target_arch = "x86_64")]
    attack(53, "descriptor table", kernel::descriptor_table, Works),
    attack(53, "personality", kernel::personality, Works),
    attack(53, "system information", kernel::system_info, Works),
    attack(53, "page cache statistics", kernel::page_cache, Works),
    attack(54, "make a timer", kernel::timer, Refused(libc::EAGAIN)),
    attack(62, "find another descriptor", files::other_descriptor, Refused(libc::EBADF)),
];

/// Ways to end badly: rows 55 (the backstop behind the client's deadline), 66 and 67. The same with seccomp and without.
pub const ENDS: &[Attack] = &[
    ends(55, "spin for ever", memory::spin, Outcome::Killed(libc::SIGKILL)),
    ends(66, "recurse for ever", memory::recurse, Outcome::Killed(libc::SIGSEGV)),
    ends(67, "write to a client that is gone", memory::write_to_nobody, Refused(libc::EPIPE)),
];

const fn ends(row: u8, name: &'static str, run: fn(&Victim) -> Result<(), i32>, how: Outcome) -> Attack {
    attack(row, name, run, how).whole(how)
}

/// Row 47 again, had the worker been given the message's file opened for writing: what the seals and RLIMIT_FSIZE do.
pub const ON_A_WRITABLE_MESSAGE: &[Attack] = &[
    attack(47, "write into a writable message", memory::write_message, Refused(libc::EFBIG)),
    attack(47, "map a writable message", memory::map_message, Refused(libc::EPERM)).whole(Refused(libc::EPERM)),
    attack(47, "lengthen a writable message", memory::cut_message, Refused(libc::EFBIG)),
];
