//! What only a scanner can try, because it has a tree: reading it is its right, changing it or running anything else in
//! it is not.

use super::{Victim, attempt, text};

fn open(path: &str, flags: i32) -> Result<i32, i32> {
    Ok(attempt!(libc::SYS_openat, libc::AT_FDCWD, text(path).as_ptr(), flags, 0o600)? as i32)
}

pub(super) fn read_rules(_: &Victim) -> Result<(), i32> {
    open("/usr/share/spamassassin/10_default_prefs.cf", libc::O_RDONLY).map(drop)
}

pub(super) fn write_rules(_: &Victim) -> Result<(), i32> {
    open("/etc/spamassassin/local.cf", libc::O_WRONLY).map(drop)
}

pub(super) fn add_rules(_: &Victim) -> Result<(), i32> {
    open("/etc/spamassassin/left.cf", libc::O_WRONLY | libc::O_CREAT).map(drop)
}

pub(super) fn make_folder(_: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_mkdirat, libc::AT_FDCWD, c"/usr/left".as_ptr(), 0o700).map(drop)
}

pub(super) fn temporary_file(_: &Victim) -> Result<(), i32> {
    open("/", libc::O_RDWR | libc::O_TMPFILE).map(drop)
}

pub(super) fn beside_the_tree(_: &Victim) -> Result<(), i32> {
    open("/usr/bin/env", libc::O_RDONLY).map(drop)
}

pub(super) fn passwords(_: &Victim) -> Result<(), i32> {
    open("/etc/spamassassin/../passwd", libc::O_RDONLY).map(drop)
}

pub(super) fn run_what_is_read(_: &Victim) -> Result<(), i32> {
    execute("/usr/share/spamassassin/10_default_prefs.cf")
}

pub(super) fn run_a_library(_: &Victim) -> Result<(), i32> {
    let libraries = crate::scanner::TREE.iter().filter(|listed| listed.used == crate::scanner::Used::Mapped);
    let first = libraries.map(|listed| listed.path.to_string_lossy()).next().unwrap_or_default();
    execute(&first)
}

/// Code through the back door: mapping what is only to be read.
pub(super) fn map_what_is_read(_: &Victim) -> Result<(), i32> {
    let file = open("/usr/share/spamassassin/10_default_prefs.cf", libc::O_RDONLY)?;
    let none = std::ptr::null::<u8>();
    attempt!(crate::calls::MMAP, none, 4096, libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE, file, 0).map(drop)
}

fn execute(path: &str) -> Result<(), i32> {
    let path = text(path);
    let words = [path.as_ptr(), std::ptr::null()];
    attempt!(libc::SYS_execve, path.as_ptr(), words.as_ptr(), std::ptr::null::<u8>()).map(drop)
}
