//! The data folder: what lies in it, who owns it, and its lock.
//!
//! | entry | what | who writes it |
//! | --- | --- | --- |
//! | `spool/` | letters, slots, journal, its own `format`; belongs to the keeper's uid when started as root | the keeper |
//! | `box.key` (0600) | 32 random bytes in hex; or `box.salt`, when the key comes from a passphrase | `up`, once |
//! | `postern.toml` | the configuration | the admin |
//! | `tls/` | the self-signed certificate and its key | `up` |
//! | `dkim.keys`, `pairings` (0600) | sealed under the box key: see `sealed` | `up`, the admin's commands |
//! | `first-unseen` | which mailbox was made by a first start that has not printed its secrets yet | `mailbox add`, `up` |
//! | `admin.sock` (0600) | the admin commands' way to the keeper | `up` |
//! | `lock` | held while a keeper of this folder is running | `up`, an admin command without it |

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use spool::format::FormatError;

use crate::failure::{Doing, Failure};

/// The folder used when nothing else says otherwise.
const HERE: &str = "postern-data";
/// The packaged service's.
const SERVICE: &str = "/var/lib/postern";

/// The folder used without `--data`.
#[must_use]
pub fn default_folder() -> PathBuf {
    let is_root = rustix::process::geteuid().is_root();
    choose(is_root, Path::new(HERE), Path::new(SERVICE)).to_owned()
}

/// Whether that is the packaged service's.
#[must_use]
pub fn is_service(folder: &Path) -> bool {
    folder == Path::new(SERVICE)
}

/// The service's where there is one: what root does must not depend on the folder it stands in. Anybody else may try
/// things in a folder of their own beside it.
fn choose<'a>(is_root: bool, here: &'a Path, service: &'a Path) -> &'a Path {
    if service.is_dir() && (is_root || !here.is_dir()) { service } else { here }
}

/// An open data folder.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    dir: OwnedFd,
}

/// Held by whoever runs a keeper; the kernel gives it back when its holder ends, however it ends.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] OwnedFd);

impl DataFolder {
    /// Opens it, made first when it does not exist (mode 0700).
    ///
    /// # Errors
    /// In words for the admin.
    pub fn open_or_make(path: &Path) -> Result<Self, Failure> {
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) => sync_above(path),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(Failure::new(format!("cannot make the data folder {}: {error}", path.display()))),
        }
        Self::open(path)
    }

    /// Opens one that must exist.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| {
            let or = if error == Errno::ACCESS { "use sudo, or name" } else { "name" };
            Failure::new(format!(
                "cannot open the data folder {} ({or} another with --data DIR): {error}",
                path.display()
            ))
        })?;
        let path = path.canonicalize().doing(|| format!("the data folder {}", path.display()))?;
        let data = Self { path, dir };
        data.refuse_newer()?;
        Ok(data)
    }

    /// Before anything in it is touched. Whoever may not read it is not who keeps it; its keeper looks again.
    fn refuse_newer(&self) -> Result<(), Failure> {
        match spool::format::look(&self.entry("spool")) {
            Ok(_) => Ok(()),
            Err(FormatError::Io(error)) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            Err(error) => Err(Failure::configuration(format!("{}: {error}", self.entry("spool").display()))),
        }
    }

    /// Where it lies, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An entry of it.
    #[must_use]
    pub fn entry(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The admin socket by a name that is short however long the folder's is: a socket's address holds 107 bytes.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/admin.sock", self.dir.as_raw_fd()))
    }

    /// Takes the lock, waiting up to `patience` for another holder to end. `None`: still held.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn lock(&self, patience: Duration) -> Result<Option<Lock>, Failure> {
        let (file, writes) = self.lock_file()?;
        let until = Instant::now() + patience;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    match write_pid(file.as_fd()) {
                        Err(error) if writes && error != Errno::ROFS => {
                            return Err(Failure::new(format!(
                                "cannot write {}: {error}",
                                self.entry("lock").display()
                            )));
                        }
                        _ => {}
                    }
                    return Ok(Some(Lock(file)));
                }
                Err(Errno::WOULDBLOCK) if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(Failure::new(format!("cannot lock {}: {error}", self.path.display()))),
            }
        }
    }

    /// What is locked, and whether its holder can be written down. Where nothing can be written the lock is taken all the
    /// same; the folder's own, before the first start, since nobody can make a file there.
    fn lock_file(&self) -> Result<(OwnedFd, bool), Failure> {
        let what = || format!("cannot open {}", self.entry("lock").display());
        let open = |name: &str, flags| {
            let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            rustix::fs::openat(&self.dir, name, flags, Mode::RUSR | Mode::WUSR)
        };
        match open("lock", OFlags::RDWR | OFlags::CREATE) {
            Err(Errno::ROFS) => {
                let file = open("lock", OFlags::RDONLY).or_else(|_| open(".", OFlags::RDONLY | OFlags::DIRECTORY));
                Ok((file.doing(what)?, false))
            }
            file => Ok((file.doing(what)?, true)),
        }
    }

    /// Whether nothing can be written to its file system.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        is_read_only(&self.entry("spool"))
    }

    /// The process that last took the lock, when it is held now.
    #[must_use]
    pub fn holder(&self) -> Option<u32> {
        let file = rustix::fs::openat(&self.dir, "lock", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => fs::read_to_string(self.entry("lock")).ok()?.trim().parse().ok(),
            _ => None,
        }
    }

    /// Opens `spool/`, made when it does not exist and given to `owner` (started as root: the keeper's uid).
    ///
    /// # Errors
    /// In words for the admin.
    pub fn spool(&self, owner: Option<u32>) -> Result<OwnedFd, Failure> {
        let what = || format!("the spool {}", self.entry("spool").display());
        match rustix::fs::mkdirat(&self.dir, "spool", Mode::RWXU) {
            Ok(()) => rustix::fs::fsync(&self.dir).doing(what)?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(Failure::new(format!("cannot make {}: {error}", what()))),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let spool = rustix::fs::openat(&self.dir, "spool", flags, Mode::empty()).doing(what)?;
        match owner {
            Some(uid) => give(spool.as_fd(), uid).doing(|| format!("cannot give {} to uid {uid}", what()))?,
            None => refuse_strangers(spool.as_fd(), &self.entry("spool"))?,
        }
        Ok(spool)
    }

    /// Whether anything lies in `spool/<name>`.
    #[must_use]
    pub fn spool_has(&self, name: &str) -> bool {
        fs::read_dir(self.entry("spool").join(name)).is_ok_and(|mut entries| entries.next().is_some())
    }
}

/// Whether the file system of that folder is mounted read-only, or was made so by the kernel after an error: ext4 says that
/// one no longer among its flags, but makes no file, not even one without a name.
pub fn is_read_only(folder: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::empty()).is_ok_and(|folder| is_read_only_at(folder.as_fd()))
}

/// The same of an open folder.
pub fn is_read_only_at(folder: BorrowedFd<'_>) -> bool {
    use rustix::fs::StatVfsMountFlags;
    let flagged = rustix::fs::fstatvfs(folder).is_ok_and(|disk| disk.f_flag.contains(StatVfsMountFlags::RDONLY));
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let made = rustix::fs::openat(folder, c".", flags, Mode::RUSR | Mode::WUSR);
    flagged || made.is_err_and(|error| error == Errno::ROFS)
}

/// A new folder's name is in the folder above, which this user may not be able to open: then its file system has to know.
fn sync_above(path: &Path) {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let _ = fs::File::open(above).and_then(|above| above.sync_all());
}

fn write_pid(file: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::fs::ftruncate(file, 0)?;
    let pid = format!("{}\n", std::process::id());
    rustix::io::pwrite(file, pid.as_bytes(), 0).map(drop)
}

/// Started unprivileged, all roles share one uid: the spool must be its.
fn refuse_strangers(spool: BorrowedFd<'_>, path: &Path) -> Result<(), Failure> {
    let stat = rustix::fs::fstat(spool).doing(|| path.display().to_string())?;
    let own = rustix::process::geteuid().as_raw();
    if stat.st_uid == own {
        return Ok(());
    }
    let words = "belongs to uid {owner}, and this is uid {own}: run as root (the box was started as root before), or";
    let words = words.replace("{owner}", &stat.st_uid.to_string()).replace("{own}", &own.to_string());
    Err(Failure::new(format!("{} {words} `chown -R {own} {0}` once", path.display())))
}

/// Gives the whole tree to `uid` when its top two levels are not all its already. Never follows a link: what
/// lies in there was written by a process that reads nothing good.
fn give(spool: BorrowedFd<'_>, uid: u32) -> io::Result<()> {
    if wrong_owner(spool, uid, 3)? {
        give_all(spool, uid)?;
    }
    Ok(())
}

fn wrong_owner(dir: BorrowedFd<'_>, uid: u32, levels: u32) -> io::Result<bool> {
    if rustix::fs::fstat(dir)?.st_uid != uid {
        return Ok(true);
    }
    for name in entries(dir)? {
        let stat = rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        let folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if stat.st_uid != uid || folder && levels > 1 && wrong_owner(open_folder(dir, &name)?.as_fd(), uid, levels - 1)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn give_all(dir: BorrowedFd<'_>, uid: u32) -> io::Result<()> {
    let (owner, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)));
    for name in entries(dir)? {
        let stat = rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            give_all(open_folder(dir, &name)?.as_fd(), uid)?;
        } else if stat.st_uid != uid {
            rustix::fs::chownat(dir, &name, owner, group, AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    // Last, so that a walk that was cut short is begun again the next time.
    Ok(rustix::fs::fchown(dir, owner, group)?)
}

fn open_folder(dir: BorrowedFd<'_>, name: &std::ffi::CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
}

fn entries(dir: BorrowedFd<'_>) -> io::Result<Vec<std::ffi::CString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let folder = std::env::temp_dir().join(format!("postern-lock-{}", std::process::id()));
        let data = DataFolder::open_or_make(&folder).unwrap();
        assert_eq!(data.holder(), None);
        let held = data.lock(Duration::ZERO).unwrap().unwrap();
        assert!(data.lock(Duration::from_millis(30)).unwrap().is_none());
        assert_eq!(data.holder(), Some(std::process::id()));
        drop(held);
        assert!(data.lock(Duration::ZERO).unwrap().is_some());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_service_comes_before_the_folder_root_stands_in() {
        let base = std::env::temp_dir().join(format!("postern-choose-{}", std::process::id()));
        let (here, service) = (base.join("here"), base.join("service"));
        fs::create_dir_all(&base).unwrap();
        assert_eq!(choose(true, &here, &service), here);
        fs::create_dir(&service).unwrap();
        assert_eq!((choose(true, &here, &service), choose(false, &here, &service)), (&*service, &*service));
        fs::create_dir(&here).unwrap();
        assert_eq!((choose(true, &here, &service), choose(false, &here, &service)), (&*service, &*here));
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn a_missing_folder_is_told() {
        let error = DataFolder::open(Path::new("/nonexistent/folder")).unwrap_err();
        assert!(error.words.contains("--data"), "{error}");
    }
}
