//! A role's root: an empty, read-only tmpfs; for the keeper with one entry, for scanners with their listed tree.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::{fs, io};

use crate::scanner::{Listed, TREE, Used};
use crate::sys;
use crate::walls::Root;

const NOSUID_NODEV_NOEXEC: u64 = 0x2 | 0x4 | 0x8;
const NOSUID_NODEV: u64 = 0x2 | 0x4;
const READ_ONLY: u64 = 0x1;

/// Where that is.
pub(super) const NULL: &str = "/dev/null";

/// Room for a root's own entries.
const EMPTY: &CStr = c"size=16k,nr_inodes=4,mode=755";
/// Room for the folders and places of a scanner's tree.
const PLACES: &CStr = c"size=64k,nr_inodes=256,mode=755";

/// Replaces the tree that was inherited. For [`Root::Proc`], answers a `/proc` that no path leads to.
pub(super) fn private_root(root: Root) -> io::Result<Option<OwnedFd>> {
    sys::mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE, None)?;
    // While an inherited /proc is still in sight: without one the kernel refuses to make another.
    let proc = if matches!(root, Root::Proc | Root::ListedAndProc) { Some(sys::detached_proc()?) } else { None };
    // Any directory that surely exists: it is only where the new root stands until it becomes the root.
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    let listed = matches!(root, Root::Listed | Root::ListedAndProc);
    let room = if listed { PLACES } else { EMPTY };
    sys::mount(Some(c"tmpfs"), c"/proc", Some(c"tmpfs"), flags, Some(room))?;
    if root == Root::Spool {
        bind_spool()?;
    }
    if listed {
        TREE.iter().filter(|listed| listed.needed || listed.outside().exists()).try_for_each(bind)?;
        null()?;
    }
    sys::change_directory(c"/proc")?;
    sys::pivot_here()?;
    let flags = flags | libc::MS_REMOUNT | libc::MS_RDONLY;
    // First the file system itself, so that no other mount of it can ever be written; then this mount.
    sys::mount(None, c"/", None, flags, Some(room))?;
    sys::mount(None, c"/", None, flags | libc::MS_BIND, None)?;
    if root != Root::Spool && !listed {
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

/// Binds one path of a scanner's tree at its own place. What is only read cannot be executed, nor mapped as code.
fn bind(listed: &Listed) -> io::Result<()> {
    let (outside, place) = (listed.outside(), format!("/proc{}", listed.outside().display()));
    let is_folder = fs::metadata(outside)?.is_dir();
    if let Some(folder) = if is_folder { Some(place.as_ref()) } else { std::path::Path::new(&place).parent() } {
        fs::create_dir_all(folder)?;
    }
    if !is_folder {
        fs::File::create(&place)?;
    }
    let place = CString::new(place)?;
    sys::mount(Some(listed.path), &place, None, libc::MS_BIND | libc::MS_REC, None)?;
    let attributes = if listed.used == Used::Read { NOSUID_NODEV_NOEXEC } else { NOSUID_NODEV };
    sys::restrict_mount(&place, READ_ONLY | attributes)
}

/// An empty file where a program looks for the null device: an interpreter reads it when its program is no file.
fn null() -> io::Result<()> {
    fs::create_dir_all("/proc/dev")?;
    fs::File::create(format!("/proc{NULL}")).map(drop)
}
