//! The data folder: what lies in it, who owns it, and its lock.
//!
//! | entry | what | who writes it |
//! | --- | --- | --- |
//! | `spool/` | letters, slots, journal, its own `format`; belongs to the keeper's uid when started as root | the keeper |
//! | `box.key` (0600) | 32 random bytes in hex; or `box.salt`, when the key comes from a passphrase | `up`, once |
//! | `postern.toml` | the configuration | the admin |
//! | `tls/` | the self-signed certificate and its key | `up` |
//! | `dkim.keys`, `pairings` (0600) | sealed under the box key: see `sealed` | `up`, the admin's commands |
//! | `pairings.taken` | which writing of `pairings` the running house goes by | `up` |
//! | `first-unseen` | which mailbox was made by a first start that has not printed its secrets yet | `mailbox add`, `up` |
//! | `admin.sock` (0600) | the admin commands' way to the keeper (where none can be made, in /run: `admin::socket`) | `up` |
//! | `lock` | held while a keeper of this folder is running | `up`, an admin command without it |

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, StatxFlags};
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
            Err(error) => return Err(not_made(path, error)),
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

    /// Its device and inode, by which it is known whatever its name.
    #[must_use]
    pub fn identity(&self) -> Option<(u64, u64)> {
        fs::metadata(&self.path).ok().map(|known| (known.dev(), known.ino()))
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
                        Err(error) if writes && !is_unwritten(error) => {
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

    /// The process that holds the lock now, as far as that can be known.
    #[must_use]
    pub fn holder(&self) -> Option<u32> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let open = |name: &str| rustix::fs::openat(&self.dir, name, flags, Mode::empty());
        let file = open("lock").or_else(|_| open(".")).ok()?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => locker(&fs::File::from(file)).or_else(|| self.noted()),
            _ => None,
        }
    }

    /// Who was written down; where nothing can be written, that is one of long ago.
    fn noted(&self) -> Option<u32> {
        let noted = fs::read_to_string(self.entry("lock")).ok()?.trim().parse().ok();
        noted.filter(|_| !is_read_only(&self.path))
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

/// Whether a write failed for want of room: of blocks, of inodes, or of what this user may have of them.
pub const fn is_full(error: Errno) -> bool {
    matches!(error, Errno::NOSPC | Errno::DQUOT)
}

/// Whether the disk takes no write. The pid in a lock is a word for the admin: nothing depends on it.
fn is_unwritten(error: Errno) -> bool {
    error == Errno::ROFS || is_full(error)
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

/// Who has that file locked, as the kernel lists it.
fn locker(file: &fs::File) -> Option<u32> {
    let known = file.metadata().ok()?;
    let (major, minor) = (rustix::fs::major(known.dev()), rustix::fs::minor(known.dev()));
    let place = format!("{major:02x}:{minor:02x}:{}", known.ino());
    let all = fs::read_to_string("/proc/locks").ok()?;
    // `1: FLOCK  ADVISORY  WRITE 708 00:16:1234 0 EOF`; who waits has an arrow before the kind.
    all.lines().find_map(|line| match line.split_ascii_whitespace().collect::<Vec<_>>()[..] {
        [_, "FLOCK", _, _, pid, at, ..] if at == place => pid.parse().ok(),
        _ => None,
    })
}

/// Whether the file system itself is writable while this process sees it read-only: so it stays for whoever has a mount of its own
/// from before it was made writable again.
pub fn is_writable_elsewhere(folder: BorrowedFd<'_>) -> bool {
    let known = rustix::fs::statx(folder, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
    let Ok(known) = known else { return false };
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    is_writable_but_here(&mounts, known.stx_mnt_id)
}

/// `ID PARENT MAJOR:MINOR ROOT PLACE OPTIONS ... - TYPE SOURCE OPTIONS`: those of the mount, and those of the file system.
fn is_writable_but_here(mounts: &str, id: u64) -> bool {
    let has = |options: Option<&str>, wanted: &str| options.is_some_and(|all| all.split(',').any(|one| one == wanted));
    let id = id.to_string();
    let of = mounts.lines().find(|line| line.split(' ').next() == Some(&id)).and_then(|line| line.split_once(" - "));
    of.is_some_and(|(mount, all)| has(mount.split(' ').nth(5), "ro") && has(all.split(' ').nth(2), "rw"))
}

/// A new folder's name is in the folder above, which this user may not be able to open: then its file system has to know.
fn sync_above(path: &Path) {
    let _ = fs::File::open(above(path)).and_then(|above| above.sync_all());
}

/// The folder that it is in.
pub fn above(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn not_made(path: &Path, error: Errno) -> Failure {
    let (folder, above) = (path.display(), above(path).display());
    Failure::new(match error {
        // A mistyped name, or a disk that is not mounted: folders on the way to it are not made.
        Errno::NOENT => {
            format!(
                "cannot make the data folder {folder}: there is no {above}. Is the name right? If so: mkdir -p {above}"
            )
        }
        Errno::NOTDIR => format!("cannot make the data folder {folder}: {above} is no folder"),
        _ => format!("cannot make the data folder {folder}: {error}"),
    })
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
    fn only_a_disk_that_takes_nothing_is_passed_over() {
        assert_eq!([Errno::ROFS, Errno::NOSPC, Errno::DQUOT, Errno::IO].map(is_unwritten), [true, true, true, false]);
        assert_eq!([Errno::ROFS, Errno::NOSPC, Errno::DQUOT, Errno::IO].map(is_full), [false, true, true, false]);
    }

    #[test]
    fn whose_lock_it_is_does_not_depend_on_what_was_written_down() {
        let folder = std::env::temp_dir().join(format!("postern-holder-{}", std::process::id()));
        let data = DataFolder::open_or_make(&folder).unwrap();
        let held = data.lock(Duration::ZERO).unwrap().unwrap();
        fs::write(data.entry("lock"), "1\n").unwrap();
        assert_eq!(data.holder(), Some(std::process::id()));
        drop(held);
        assert_eq!(data.holder(), None);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_writable_but_here_is_known() {
        let mounts = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw,errors=remount-ro\n\
             70 22 8:2 / /var/lib/postern ro,nosuid master:4 - ext4 /dev/sda2 rw\n\
             71 22 8:3 / /srv ro,nosuid - ext4 /dev/sda3 ro,errors=remount-ro\n";
        assert_eq!([22, 70, 71, 7].map(|id| is_writable_but_here(mounts, id)), [false, true, false, false]);
        let here = fs::File::open("/proc/self").unwrap();
        assert!(!is_writable_elsewhere(here.as_fd()));
    }

    #[test]
    fn what_is_missing_above_the_folder_is_told() {
        let error = DataFolder::open_or_make(Path::new("/nonexistent/nested/data")).unwrap_err();
        assert!(error.words.contains("mkdir -p /nonexistent/nested"), "{error}");
        let error = DataFolder::open_or_make(Path::new("/proc/version/data")).unwrap_err();
        assert!(error.words.contains("/proc/version is no folder"), "{error}");
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
