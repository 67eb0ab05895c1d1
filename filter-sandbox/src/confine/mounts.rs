//! A role's root: an empty, read-only tmpfs; for the keeper with one entry.

use std::io;
use std::os::fd::OwnedFd;

use crate::sys;
use crate::walls::Root;

const NOSUID_NODEV_NOEXEC: u64 = 0x2 | 0x4 | 0x8;
const READ_ONLY: u64 = 0x1;

/// Replaces the tree that was inherited. For [`Root::Proc`], answers a `/proc` that no path leads to.
pub(super) fn private_root(root: Root) -> io::Result<Option<OwnedFd>> {
    sys::mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE, None)?;
    // While an inherited /proc is still in sight: without one the kernel refuses to make another.
    let proc = if root == Root::Proc { Some(sys::detached_proc()?) } else { None };
    // Any directory that surely exists: it is only where the new root stands until it becomes the root.
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    sys::mount(Some(c"tmpfs"), c"/proc", Some(c"tmpfs"), flags, Some(c"size=16k,nr_inodes=4,mode=755"))?;
    if root == Root::Spool {
        bind_spool()?;
    }
    sys::change_directory(c"/proc")?;
    sys::pivot_here()?;
    let flags = flags | libc::MS_REMOUNT | libc::MS_RDONLY;
    // First the file system itself, so that no other mount of it can ever be written; then this mount.
    sys::mount(None, c"/", None, flags, Some(c"size=16k,nr_inodes=4,mode=755"))?;
    sys::mount(None, c"/", None, flags | libc::MS_BIND, None)?;
    if root != Root::Spool {
        sys::restrict_mount(c"/", READ_ONLY | NOSUID_NODEV_NOEXEC)?;
    }
    Ok(proc)
}

/// Binds the current directory, which may lie where this user could not walk to.
fn bind_spool() -> io::Result<()> {
    rustix::fs::mkdir("/proc/spool", rustix::fs::Mode::from_raw_mode(0o755))?;
    sys::mount(Some(c"."), c"/proc/spool", None, libc::MS_BIND | libc::MS_REC, None)?;
    sys::restrict_mount(c"/proc/spool", NOSUID_NODEV_NOEXEC)
}
