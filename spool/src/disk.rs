//! The one seam through which durable things are written: write beside, sync, rename, sync the folder.
//!
//! Nothing of what the box has acknowledged is written in any other way, and so a test that makes every
//! step of this module fail in turn has seen every way a disk can fail us.
//!
//! ```
//! # let dir = std::env::temp_dir().join(format!("postern-disk-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir)?;
//! use spool::disk::Disk;
//! let disk = Disk::default();
//! disk.replace(&dir.join("slots"), b"all or nothing")?;
//! assert_eq!(std::fs::read(dir.join("slots"))?, b"all or nothing");
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

/// The disk. Cheap to clone; the default one is the real one.
#[derive(Debug, Clone, Default)]
pub struct Disk(Option<Arc<Faults>>);

impl Disk {
    /// A disk that fails as planned, for tests.
    #[must_use]
    pub const fn faulty(faults: Arc<Faults>) -> Self {
        Self(Some(faults))
    }

    /// Makes a new file for writing (0600); one of that name is an error.
    ///
    /// # Errors
    /// The kernel's.
    pub fn create_new(&self, path: &Path) -> io::Result<DiskFile> {
        self.open(path, OpenOptions::new().write(true).create_new(true))
    }

    /// Opens for appending, making the file (0600) when there is none. Sync the folder after making one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn append(&self, path: &Path) -> io::Result<DiskFile> {
        self.open(path, OpenOptions::new().append(true).create(true))
    }

    /// Opens a file that is there, to cut or sync it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn reopen(&self, path: &Path) -> io::Result<DiskFile> {
        self.open(path, OpenOptions::new().write(true))
    }

    fn open(&self, path: &Path, options: &mut OpenOptions) -> io::Result<DiskFile> {
        self.step(|| options.mode(0o600).open(path)).map(|file| DiskFile { file, disk: self.clone() })
    }

    /// Replaces a whole file, or makes it: afterwards, whatever happens, the name leads to the old bytes or to the new, and
    /// once this has returned to the new ones.
    ///
    /// # Errors
    /// The kernel's; then the old file is still there, unless only the last step (the folder's sync) failed.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let beside = beside(path);
        let written = self.write_beside(&beside, bytes).and_then(|()| self.rename(&beside, path));
        if written.is_err() {
            // What a power cut leaves is overwritten by the next try.
            let _ = fs::remove_file(&beside);
        }
        written?;
        self.sync_folder(folder(path))
    }

    fn write_beside(&self, beside: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.open(beside, OpenOptions::new().write(true).create(true).truncate(true))?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Renames. Durable once both folders are synced.
    ///
    /// # Errors
    /// The kernel's.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|| fs::rename(from, to))
    }

    /// Renames to a name that must be free: nothing is ever written over. Durable as [`Self::rename`].
    ///
    /// # Errors
    /// `AlreadyExists`; the kernel's.
    pub fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        use rustix::fs::{CWD, RenameFlags};
        self.step(|| match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // A file system that cannot: link and unlink say the same.
            Err(Errno::INVAL | Errno::NOSYS) => fs::hard_link(from, to).and_then(|()| fs::remove_file(from)),
            other => Ok(other?),
        })
    }

    /// Removes a file; one that is not there is no error.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(|| match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        })
    }

    /// Makes a folder (0700) and syncs its parent; one that exists is no error, but who made it may not
    /// have synced the parent yet.
    ///
    /// # Errors
    /// The kernel's.
    pub fn make_folder(&self, path: &Path) -> io::Result<()> {
        match self.step(|| fs::DirBuilder::new().mode(0o700).create(path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        self.sync_folder(folder(path))
    }

    /// Makes names made, renamed and removed in a folder durable.
    ///
    /// # Errors
    /// The kernel's.
    pub fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.step(|| File::open(path)?.sync_all())
    }

    /// Bytes that are free on the disk of that folder.
    ///
    /// # Errors
    /// The kernel's.
    pub fn free(&self, folder: &Path) -> io::Result<u64> {
        let about = self.step(|| Ok(rustix::fs::statvfs(folder)?))?;
        Ok(about.f_bavail.saturating_mul(about.f_frsize))
    }

    fn step<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if let Some(faults) = &self.0 {
            faults.step()?;
        }
        act()
    }
}

/// A file being written through the seam.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    disk: Disk,
}

impl DiskFile {
    /// A file that is on no disk.
    ///
    /// # Errors
    /// The kernel's.
    pub fn in_memory() -> io::Result<Self> {
        let file = rustix::fs::memfd_create("nowhere", rustix::fs::MemfdFlags::CLOEXEC)?;
        Ok(Self { file: file.into(), disk: Disk::default() })
    }

    /// The file itself, to read its length, place or bytes.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// fsync: bytes, length and times.
    ///
    /// # Errors
    /// The kernel's. After one, what was written may be lost however often it is tried again: make a new file.
    pub fn sync_all(&self) -> io::Result<()> {
        self.disk.step(|| self.file.sync_all())
    }

    /// fdatasync: bytes and length.
    ///
    /// # Errors
    /// As [`Self::sync_all`].
    pub fn sync_data(&self) -> io::Result<()> {
        self.disk.step(|| self.file.sync_data())
    }

    /// Writes all bytes at a place, without moving the place of [`Write`].
    ///
    /// # Errors
    /// The kernel's; a part may have been written.
    pub fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        match self.disk.step(|| Ok(())) {
            Ok(()) => self.file.write_all_at(bytes, at),
            Err(error) => {
                let _ = self.file.write_all_at(bytes.get(..bytes.len() / 2).unwrap_or_default(), at);
                Err(error)
            }
        }
    }

    /// Cuts the file, after a write that failed half-way.
    ///
    /// # Errors
    /// The kernel's.
    pub fn truncate(&self, length: u64) -> io::Result<()> {
        self.disk.step(|| self.file.set_len(length))
    }
}

impl Write for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.disk.step(|| Ok(())) {
            Ok(()) => self.file.write(bytes),
            Err(error) => {
                // A write that fails has often written a part.
                if let Some(part) = bytes.get(..bytes.len() / 2) {
                    let _ = self.file.write(part);
                }
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How a disk for tests fails. Every call of the seam that reaches the kernel is a step, numbered from 1.
#[derive(Debug, Default)]
pub struct Faults {
    steps: AtomicU64,
    refuses: Mutex<Option<Errno>>,
    plan: Mutex<Plan>,
}

#[derive(Debug, Default, Clone, Copy)]
enum Plan {
    #[default]
    Nothing,
    Once(u64, Errno),
    Crash(u64),
}

impl Faults {
    /// Fails nothing, counts steps.
    #[must_use]
    pub fn none() -> Arc<Self> {
        Arc::default()
    }

    /// Step `step` alone fails with `errno`; the process goes on.
    #[must_use]
    pub fn once(step: u64, errno: Errno) -> Arc<Self> {
        Arc::new(Self { plan: Mutex::new(Plan::Once(step, errno)), ..Self::default() })
    }

    /// From step `step` on nothing happens any more: what a kill or a power cut leaves (without reordering).
    #[must_use]
    pub fn crash(step: u64) -> Arc<Self> {
        Arc::new(Self { plan: Mutex::new(Plan::Crash(step)), ..Self::default() })
    }

    /// Every step fails with "no space left" while on.
    pub fn set_full(&self, on: bool) {
        self.refuse(on.then_some(Errno::NOSPC));
    }

    /// Every step fails so, until told otherwise.
    pub fn refuse(&self, with: Option<Errno>) {
        *self.refuses.lock().unwrap_or_else(PoisonError::into_inner) = with;
    }

    /// Steps so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::SeqCst)
    }

    fn step(&self) -> io::Result<()> {
        let now = self.steps.fetch_add(1, Ordering::SeqCst) + 1;
        let plan = *self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(errno) = *self.refuses.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(errno.into());
        }
        match plan {
            Plan::Once(step, errno) if now == step => Err(errno.into()),
            Plan::Crash(step) if now >= step => Err(Errno::IO.into()),
            _ => Ok(()),
        }
    }
}

/// Where a file is written before it is renamed.
#[must_use]
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
