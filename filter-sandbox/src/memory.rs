//! Memory that must not reach a swap file, and memory files.
//!
//! Whoever fills a memory file with clear mail keeps it mapped and locked until its reader is dead: [`Locked`] does.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SealFlags};

use crate::sys;

/// Locks all memory of this process, now and from now on, as it is touched.
///
/// # Errors
/// The kernel's: RLIMIT_MEMLOCK is too low, which only root can raise.
pub fn lock_future() -> io::Result<()> {
    let (soft, _) = sys::limits_of(libc::RLIMIT_MEMLOCK)?;
    if soft != sys::UNLIMITED {
        // With a finite limit every later mapping beyond it would fail: worse than memory that can be swapped.
        return Err(io::Error::from_raw_os_error(libc::ENOMEM));
    }
    lock_all(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT)?;
    FUTURE.store(true, Ordering::Relaxed);
    Ok(())
}

/// The smallest page there is; asking for the real one opens files, which roles may not.
const PAGE: usize = 4096;

/// Whether every mapping is locked by itself.
static FUTURE: AtomicBool = AtomicBool::new(false);
/// Bytes of memory, looked up before the list of calls forbids to ask.
static MACHINE: AtomicU64 = AtomicU64::new(0);

/// Bytes of memory that this machine has; 0 before [`confine`](crate::confine()) has looked.
#[must_use]
pub fn of_machine() -> u64 {
    MACHINE.load(Ordering::Relaxed)
}

/// Under 1 GB: what is large runs one at a time (DESIGN section 4).
#[must_use]
pub(crate) fn is_small_machine() -> bool {
    (1..1_000_000_000).contains(&of_machine())
}

/// Looks the machine's memory up.
pub(crate) fn look_at_machine() {
    let info = rustix::system::sysinfo();
    #[allow(clippy::useless_conversion, reason = "a machine word: 32 bits on ARM")]
    let units = u64::from(info.totalram);
    MACHINE.store(units.saturating_mul(info.mem_unit.into()), Ordering::Relaxed);
}

/// A block of that size or more is a mapping of its own, which ends with it. Twice a letter that is kept in memory until it
/// is sent, so that everyday mail never pays for a mapping; on 32 bits the C library takes no more than 512 KiB.
#[cfg(target_env = "gnu")]
const MAPPED: libc::c_int = 256 * 1024;
/// Free bytes at the end of a thread's memory that it keeps: a few such letters, once a thread.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 512 * 1024;

/// Parts of memory that threads share, each of which keeps free bytes of its own. glibc would make eight a processor: dozens of
/// threads that wait for disks leave what their work took behind in each.
#[cfg(target_env = "gnu")]
const SHARED: libc::c_int = 2;

/// Has the allocator return large blocks to the kernel. glibc learns from the first one that is freed: it then takes all up to
/// that size, 32 MB at the most, from the memory of whichever thread asks, and keeps that, in each thread. musl never does.
pub(crate) fn return_large_blocks() {
    #[cfg(target_env = "gnu")]
    for (what, bytes) in [(libc::M_MMAP_THRESHOLD, MAPPED), (libc::M_TRIM_THRESHOLD, KEPT), (libc::M_ARENA_MAX, SHARED)]
    {
        // SAFETY: numbers only, and the C library locks what it changes.
        unsafe { libc::mallopt(what, bytes) };
    }
}

/// Locks what is mapped now, as it is touched.
pub(crate) fn lock_present() -> io::Result<()> {
    lock_all(libc::MCL_CURRENT | libc::MCL_ONFAULT)
}

fn lock_all(how: libc::c_int) -> io::Result<()> {
    // SAFETY: numbers only.
    sys::check(unsafe { libc::mlockall(how) }.into()).map(drop)
}

/// A read-only view of a memory file, locked as far as the limit allows, for as long as it lives.
#[derive(Debug)]
pub struct Locked {
    start: NonNull<u8>,
    length: usize,
    locked: bool,
}

// SAFETY: it is a read-only mapping; nothing about it belongs to a thread.
unsafe impl Send for Locked {}
// SAFETY: as above.
unsafe impl Sync for Locked {}

impl Locked {
    /// Maps the first `length` bytes, which the file must have or be given before they are read.
    ///
    /// # Errors
    /// The kernel's.
    ///
    /// # Safety
    /// While a slice of it is borrowed nobody may change or cut those bytes.
    pub(crate) unsafe fn map(file: impl AsFd, length: usize, populate: bool) -> io::Result<Self> {
        if length == 0 {
            return Ok(Self { start: NonNull::dangling(), length, locked: true });
        }
        let populate = if populate { libc::MAP_POPULATE } else { 0 };
        // Private: a shared mapping of a writable descriptor would forbid sealing the file.
        // SAFETY: a new mapping at a place of the kernel's choice.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ,
                libc::MAP_PRIVATE | populate,
                file.as_fd().as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let Some(start) = NonNull::new(start.cast()) else { return Err(io::ErrorKind::OutOfMemory.into()) };
        Ok(Self { start, length, locked: false })
    }

    /// Keeps it out of swap. Failure (a low limit) leaves it merely mapped.
    pub(crate) fn lock(&mut self) {
        // SAFETY: the range is our mapping.
        self.locked |= unsafe { libc::mlock(self.start.as_ptr().cast(), self.length) } == 0;
    }

    /// Brings pages in, all locked, before they are filled: for a file that grows into its mapping.
    pub(crate) fn secure(&self, range: std::ops::Range<usize>) {
        let end = range.end.min(self.length);
        if range.start >= end {
            return;
        }
        if !FUTURE.load(Ordering::Relaxed) {
            // SAFETY: the range is inside our mapping. A limit that is too low leaves it merely mapped.
            unsafe { libc::mlock(self.start.as_ptr().add(range.start).cast(), end - range.start) };
        }
        for at in (range.start..end).step_by(PAGE) {
            // SAFETY: inside our mapping; the value is of no interest, only that the page is there.
            unsafe { self.start.as_ptr().add(at).read_volatile() };
        }
    }

    /// Whether the kernel could lock it.
    #[must_use]
    pub const fn is_locked(&self) -> bool {
        self.locked
    }
}

impl Deref for Locked {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: mapped for that length; the maker promised that nobody changes it while it is borrowed.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: the range is our mapping and nobody borrows it any more.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
        }
    }
}

/// A locked view of a memory file's first `length` bytes, all of them in memory.
pub(crate) fn keep(file: &OwnedFd, length: usize) -> io::Result<Locked> {
    // SAFETY: the file is the caller's own; it writes only beyond what it has lent out, and a reader in another
    // process has a read-only opening.
    let mut view = unsafe { Locked::map(file, length, true) }?;
    if !FUTURE.load(Ordering::Relaxed) {
        view.lock();
    }
    Ok(view)
}

/// Gives an empty memory file its length and maps it. No page of it exists before it is [secured](Locked::secure).
pub(crate) fn room(file: &OwnedFd, length: usize) -> io::Result<Locked> {
    rustix::fs::ftruncate(file, length as u64)?;
    // SAFETY: as in `keep`.
    unsafe { Locked::map(file, length, false) }
}

/// Every seal: the bytes and the length are as they are for ever.
pub(crate) fn all_seals() -> SealFlags {
    SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL
}

/// An empty memory file that can be sealed and never executed.
pub(crate) fn empty_file() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("letter", flags | MemfdFlags::NOEXEC_SEAL)
        // Kernels before 6.3 do not know that flag.
        .or_else(|_| rustix::fs::memfd_create("letter", flags))?;
    Ok(file)
}

/// A sealed memory file with these bytes, to be handed to another process.
///
/// # Errors
/// The kernel's: no descriptor or no memory left.
pub fn file_of(parts: &[&[u8]]) -> io::Result<OwnedFd> {
    let file = empty_file()?;
    append_all(file.as_fd(), 0, parts)?;
    rustix::fs::fcntl_add_seals(&file, all_seals())?;
    Ok(file)
}

/// As [`file_of`], for secrets: keep the view, which holds the file's pages out of swap, until the reader has read.
///
/// # Errors
/// As [`file_of`].
pub fn secret_file_of(secret: &[u8]) -> io::Result<(OwnedFd, Locked)> {
    let file = empty_file()?;
    let view = room(&file, secret.len())?;
    view.secure(0..secret.len());
    append_all(file.as_fd(), 0, &[secret])?;
    rustix::fs::fcntl_add_seals(&file, all_seals())?;
    Ok((file, view))
}

/// Writes parts one after another from `offset` on; answers the end.
pub(crate) fn append_all(file: BorrowedFd<'_>, mut offset: u64, parts: &[&[u8]]) -> io::Result<u64> {
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(file, rest, offset))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = &rest[written..];
            offset += written as u64;
        }
    }
    Ok(offset)
}

/// Reads a descriptor handed over (a memory file or a file) from its start: exactly `size` bytes.
///
/// # Errors
/// `UnexpectedEof` when it has fewer: the sender's fault. Others are the kernel's.
pub fn read_exactly(file: impl AsFd, size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    let mut done = 0;
    while done < size {
        match rustix::io::retry_on_intr(|| rustix::io::pread(&file, &mut bytes[done..], done as u64))? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => done += read,
        }
    }
    Ok(bytes)
}

/// The size of a descriptor handed over.
///
/// # Errors
/// The kernel's.
pub fn size_of_file(file: impl AsFd) -> io::Result<u64> {
    Ok(u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0))
}
