//! Reaching files and descriptors: rows 1 to 5, 29, 42, 45, 62.

use super::{Victim, attempt, text};

fn open(directory: i32, path: &str, flags: i32) -> Result<(), i32> {
    attempt!(libc::SYS_openat, directory, text(path).as_ptr(), flags, 0o600).map(drop)
}

pub(super) fn absolute(victim: &Victim) -> Result<(), i32> {
    open(libc::AT_FDCWD, &victim.file, libc::O_RDONLY)
}

pub(super) fn stray_directory(victim: &Victim) -> Result<(), i32> {
    open(victim.stray, "etc", libc::O_RDONLY)
}

pub(super) fn dots(victim: &Victim) -> Result<(), i32> {
    open(libc::AT_FDCWD, &format!("../../../../..{}", victim.file), libc::O_RDONLY)
}

pub(super) fn list_root(_: &Victim) -> Result<(), i32> {
    open(libc::AT_FDCWD, "/", libc::O_RDONLY | libc::O_DIRECTORY)
}

pub(super) fn create(_: &Victim) -> Result<(), i32> {
    open(libc::AT_FDCWD, "/left", libc::O_WRONLY | libc::O_CREAT)
}

pub(super) fn own_maps(_: &Victim) -> Result<(), i32> {
    open(libc::AT_FDCWD, "/proc/self/maps", libc::O_RDONLY)
}

pub(super) fn process_memory(victim: &Victim) -> Result<(), i32> {
    open(libc::AT_FDCWD, &format!("/proc/{}/mem", victim.process), libc::O_RDONLY)
}

fn execute(path: &str) -> Result<(), i32> {
    let path = text(path);
    let words = [path.as_ptr(), std::ptr::null()];
    attempt!(libc::SYS_execve, path.as_ptr(), words.as_ptr(), std::ptr::null::<u8>()).map(drop)
}

pub(super) fn execute_program(_: &Victim) -> Result<(), i32> {
    execute("/bin/true")
}

pub(super) fn execute_setuid(_: &Victim) -> Result<(), i32> {
    execute("/bin/su")
}

pub(super) fn kernel_memory(_: &Victim) -> Result<(), i32> {
    open(libc::AT_FDCWD, "/dev/mem", libc::O_RDONLY)
}

pub(super) fn null_device(_: &Victim) -> Result<(), i32> {
    open(libc::AT_FDCWD, "/dev/null", libc::O_RDWR)
}

pub(super) fn make_device(_: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_mknodat, libc::AT_FDCWD, c"/null".as_ptr(), libc::S_IFCHR | 0o600, 0x103).map(drop)
}

pub(super) fn file_handle(_: &Victim) -> Result<(), i32> {
    let mut handle = [0u32; 34];
    handle[0] = 128;
    let mut mount = 0i32;
    let (handle, mount) = (handle.as_mut_ptr(), &raw mut mount);
    attempt!(libc::SYS_name_to_handle_at, libc::AT_FDCWD, c"/".as_ptr(), handle, mount, 0).map(drop)
}

pub(super) fn other_descriptor(_: &Victim) -> Result<(), i32> {
    let mut refused = Err(libc::EBADF);
    for number in 2..4096 {
        match attempt!(libc::SYS_fcntl, number, libc::F_GETFD) {
            Ok(_) => return Ok(()),
            Err(errno) => refused = Err(errno),
        }
    }
    refused
}
