//! The scanner's own list: the same attempts from behind its weaker walls, and a few that only its tree makes possible.
//!
//! What differs from a worker's: calls that an interpreter makes by habit are refused instead of fatal; it may read its
//! tree, ask what is there, and lock its memory.

use super::Outcome::{Refused, Works};
use super::table::{attack, host};
use super::{Attack, escape, files, kernel, memory, network, tree};

/// Rows 1 to 54 and 62, tried by a child locked as an external scanner is.
pub const ON_A_SCANNER: &[Attack] = &[
    host(1, "open a file by absolute path", files::absolute, Refused(libc::ENOENT)).whole(Refused(libc::ENOENT)),
    host(2, "open through a stray directory descriptor", files::stray_directory, Refused(libc::EBADF))
        .whole(Refused(libc::EBADF)),
    host(3, "walk out of the root by dots", files::dots, Refused(libc::ENOENT)).whole(Refused(libc::ENOENT)),
    attack(4, "list the root", files::list_root, Refused(libc::EACCES)).whole(Refused(libc::EACCES)),
    host(4, "create in the root", files::create, Refused(libc::EROFS)).whole(Refused(libc::EROFS)),
    host(5, "open its own maps", files::own_maps, Refused(libc::ENOENT)).whole(Refused(libc::ENOENT)),
    host(5, "open another process's memory", files::process_memory, Refused(libc::ENOENT)).whole(Refused(libc::ENOENT)),
    host(6, "trace another process", escape::trace, Refused(libc::ESRCH)),
    host(7, "signal another process", escape::signal, Refused(libc::ESRCH)).whole(Refused(libc::EPERM)),
    host(7, "signal another thread", escape::signal_thread, Refused(libc::ESRCH)).whole(Refused(libc::EPERM)),
    host(8, "signal all processes", escape::signal_all, Refused(libc::ESRCH)).whole(Refused(libc::EPERM)),
    host(9, "send input signals to another process", escape::own_signals, Refused(libc::ESRCH))
        .whole(Refused(libc::EPERM)),
    host(10, "connect by TCP", network::tcp_connect, Refused(libc::EACCES)).whole(Refused(libc::EAFNOSUPPORT)),
    attack(11, "listen by TCP", network::tcp_listen, Refused(libc::EACCES)).whole(Refused(libc::EAFNOSUPPORT)),
    host(12, "send by UDP", network::udp_send, Refused(libc::ENETUNREACH)).whole(Refused(libc::EAFNOSUPPORT)),
    host(13, "connect to an abstract socket", network::abstract_socket, Refused(libc::ECONNREFUSED))
        .whole(Refused(libc::EAFNOSUPPORT)),
    host(14, "connect to a socket file", network::socket_file, Refused(libc::ENOENT))
        .whole(Refused(libc::EAFNOSUPPORT)),
    attack(15, "netlink socket", network::netlink, Works).whole(Refused(libc::EAFNOSUPPORT)),
    attack(16, "vsock socket", network::vsock, Works).whole(Refused(libc::EAFNOSUPPORT)),
    attack(17, "packet socket", network::packet, Refused(libc::EPERM)).whole(Refused(libc::EAFNOSUPPORT)),
    attack(18, "socket pair", network::pair, Works),
    attack(19, "io_uring", kernel::io_uring, Works),
    attack(20, "userfaultfd", kernel::user_faults, Works),
    attack(21, "add a key", kernel::add_key, Works),
    attack(21, "make a keyring", kernel::keyring, Works),
    attack(22, "performance events", kernel::performance, Works),
    attack(23, "BPF map", kernel::bpf_map, Refused(libc::EPERM)),
    attack(24, "mount", escape::mount, Refused(libc::EPERM)),
    attack(24, "open a new file system", escape::new_mount, Refused(libc::EPERM)),
    attack(25, "new user namespace", escape::new_user_namespace, Works),
    host(26, "join a namespace by a stray descriptor", escape::join_namespace, Refused(libc::EBADF)),
    attack(27, "fork", escape::fork, Refused(libc::EAGAIN)).whole(Refused(libc::EPERM)),
    attack(28, "make a thread", escape::thread, Refused(libc::EAGAIN)).whole(Refused(libc::EPERM)),
    host(29, "execute a program", files::execute_program, Refused(libc::ENOENT)).whole(Refused(libc::ENOENT)),
    host(29, "execute a setuid program", files::execute_setuid, Refused(libc::ENOENT)).whole(Refused(libc::ENOENT)),
    attack(30, "execute from a memory file", memory::run_from_memory, Refused(libc::EFBIG)),
    attack(31, "take a gigabyte", memory::memory_bomb, Refused(libc::ENOMEM)).whole(Refused(libc::ENOMEM)),
    attack(32, "make memory executable", memory::new_code, Refused(libc::EACCES)).whole(Refused(libc::EACCES)),
    attack(33, "use up descriptors", memory::many_descriptors, Refused(libc::EMFILE)).whole(Refused(libc::EMFILE)),
    attack(34, "make a SysV segment", memory::segment, Works),
    attack(34, "make a SysV queue", memory::queue, Works),
    host(35, "attach another's SysV segment", memory::foreign_segment, Refused(libc::ENOENT)),
    attack(36, "make a POSIX queue", memory::posix_queue, Refused(libc::EMFILE)),
    attack(37, "inotify", kernel::watch_files, Works),
    attack(37, "fanotify", kernel::watch_all_files, Refused(libc::EPERM)),
    attack(38, "become root", escape::become_root, Refused(libc::EINVAL)),
    attack(38, "take all capabilities", escape::take_capabilities, Refused(libc::EPERM)),
    host(40, "open another process", escape::open_process, Refused(libc::ESRCH)),
    host(40, "read another process's memory", escape::read_process, Refused(libc::ESRCH)),
    attack(41, "change the root", escape::change_root, Refused(libc::EPERM)),
    host(42, "open kernel memory", files::kernel_memory, Refused(libc::ENOENT)).whole(Refused(libc::ENOENT)),
    host(42, "open a device", files::null_device, Refused(libc::EROFS)).whole(Refused(libc::EROFS)),
    host(42, "make a device", files::make_device, Refused(libc::EROFS)),
    attack(43, "set the host name", kernel::host_name, Refused(libc::EPERM)),
    attack(43, "set the clock", kernel::clock, Refused(libc::EPERM)),
    attack(43, "reboot", kernel::reboot, Refused(libc::EPERM)),
    attack(43, "switch swap off", kernel::swap_off, Refused(libc::EPERM)),
    attack(43, "read the kernel's log", kernel::kernel_log, Refused(libc::EPERM)),
    attack(45, "take a file handle", files::file_handle, Works),
    attack(46, "real-time scheduling", escape::real_time, Refused(libc::EPERM)),
    attack(46, "higher priority", escape::nicer, Refused(libc::EACCES)),
    attack(47, "write into the message", memory::write_message, Refused(libc::EBADF)).whole(Refused(libc::EBADF)),
    attack(47, "map the message to write", memory::map_message, Refused(libc::EACCES)).whole(Refused(libc::EACCES)),
    attack(47, "lengthen the message", memory::cut_message, Refused(libc::EINVAL)),
    attack(48, "raise a limit", escape::raise_limit, Refused(libc::EPERM)).whole(Refused(libc::EPERM)),
    attack(49, "become dumpable", escape::dumpable, Works).whole(Refused(libc::EPERM)),
    attack(49, "outlive its parent", escape::outlive, Works).whole(Refused(libc::EPERM)),
    #[cfg(target_arch = "x86_64")]
    attack(50, "the 32-bit gate", kernel::old_gate, Works),
    #[cfg(target_arch = "x86_64")]
    attack(50, "the x32 table", kernel::other_table, Refused(libc::ENOSYS)),
    attack(51, "give pages to a pipe", memory::gift_pages, Works).whole(Refused(libc::EMFILE)),
    attack(52, "lock memory", memory::lock_memory, Works),
    #[cfg(target_arch = "x86_64")]
    attack(53, "descriptor table", kernel::descriptor_table, Works),
    attack(53, "personality", kernel::personality, Works),
    attack(53, "system information", kernel::system_info, Works).whole(Refused(libc::EPERM)),
    attack(53, "page cache statistics", kernel::page_cache, Works),
    attack(54, "make a timer", kernel::timer, Refused(libc::EAGAIN)),
    attack(1, "read its rules", tree::read_rules, Works).whole(Works),
    host(1, "read a file beside its tree", tree::beside_the_tree, Refused(libc::ENOENT)).whole(Refused(libc::ENOENT)),
    host(3, "walk out of its tree by dots", tree::passwords, Refused(libc::ENOENT)).whole(Refused(libc::ENOENT)),
    host(4, "change its rules", tree::write_rules, Refused(libc::EACCES)).whole(Refused(libc::EROFS)),
    host(4, "add to its rules", tree::add_rules, Refused(libc::EROFS)).whole(Refused(libc::EROFS)),
    host(4, "make a folder in its tree", tree::make_folder, Refused(libc::EROFS)).whole(Refused(libc::EROFS)),
    host(4, "make a temporary file", tree::temporary_file, Refused(libc::EROFS)).whole(Refused(libc::EROFS)),
    host(29, "execute what is only read", tree::run_what_is_read, Refused(libc::EACCES)).whole(Refused(libc::EACCES)),
    host(29, "execute a library", tree::run_a_library, Refused(libc::EACCES)).whole(Refused(libc::EACCES)),
    attack(32, "map what is only read as code", tree::map_what_is_read, Refused(libc::EPERM))
        .whole(Refused(libc::EPERM)),
    // The message again, where a program expects to be able to complain.
    attack(62, "find another descriptor", files::other_descriptor, Works).whole(Works),
];
