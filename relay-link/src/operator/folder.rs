//! The operator's folder.
//!
//! | entry | what | who reads it, who writes it |
//! | --- | --- | --- |
//! | `link.key` (0600) | the key that homes know this proxy by | this program, once |
//! | `state/` | what belongs to the process that strangers talk to: `homes/`, one file each, and more | that process, and the operator's commands as its user |

use std::fs::{self, DirBuilder, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};

use filter_sandbox::{Launch, Role, Running};
use rustix::process::{Gid, Uid, geteuid};

use super::{Doing, Failure};
use crate::homes::{Grant, Homes};
use crate::keys::LinkKey;
use crate::{durable, limits};

/// That process's part of it.
const STATE: &str = "state";
/// The homes' folder in that part.
pub const HOMES: &str = "homes";

/// An open folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    role: Role,
}

impl Folder {
    /// Opens it, made first where it is not; `role` is the process that strangers talk to.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn open_or_make(path: &Path, role: Role) -> Result<Self, Failure> {
        let what = || format!("the folder {} (name another with --folder DIR)", path.display());
        make(path).doing(what)?;
        let folder = Self { path: path.canonicalize().doing(what)?, role };
        make(&folder.state()).doing(what)?;
        // Root gives it to the process's user; where a service manager has made a user for it, it is that one's.
        let (state, whole) = (fs::symlink_metadata(folder.state()), fs::metadata(&folder.path));
        let (state, whole) = (state.doing(what)?, whole.doing(what)?);
        if geteuid().is_root() && state.uid() == 0 {
            let uid = if whole.uid() == 0 { role.host_uid() } else { whole.uid() };
            lchown(folder.state(), Some(uid), Some(uid)).doing(what)?;
        }
        Ok(folder)
    }

    /// An entry of it.
    #[must_use]
    pub fn entry(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The process's part.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.entry(STATE)
    }

    /// The key of the link, made when there is none.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn link_key(&self) -> Result<LinkKey, Failure> {
        let path = self.entry("link.key");
        let what = || path.display().to_string();
        if let Some(bytes) = durable::read(&path, limits::KEY).doing(what)? {
            return LinkKey::from_pkcs8(&bytes).doing(what);
        }
        let key = LinkKey::generate().doing(what)?;
        self.put("link.key", key.pkcs8())?;
        Ok(key)
    }

    /// Writes an entry (0600), for whoever the folder belongs to: a service that is not root reads what root has made.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.entry(name);
        let what = || path.display().to_string();
        durable::replace(&path, bytes).doing(what)?;
        let whole = fs::metadata(&self.path).doing(what)?;
        if geteuid().is_root() && whole.uid() != 0 {
            lchown(&path, Some(whole.uid()), Some(whole.gid())).doing(what)?;
        }
        Ok(())
    }

    /// Starts the process behind its walls.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn launch(&self) -> Result<Running, Failure> {
        let what = || format!("cannot start the role {}", self.role);
        let exe = File::open("/proc/self/exe").doing(what)?;
        let state = File::open(self.state()).doing(what)?;
        let stderr = std::io::stderr();
        let launch = Launch {
            role: self.role,
            exe: exe.as_fd(),
            args: &[],
            uid: geteuid().is_root().then(|| self.role.host_uid()),
            directory: Some(state.as_fd()),
            stderr: stderr.as_fd(),
        };
        launch.start().doing(what)
    }

    /// The homes. From here on this program is the process's user and stands in the process's folder: what lies there was
    /// written by a process that strangers talk to, and must not lead root anywhere.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn homes<G: Grant>(&self) -> Result<Homes<G>, Failure> {
        let what = || format!("the homes in {}", self.state().display());
        let owner = fs::metadata(self.state()).doing(what)?;
        std::env::set_current_dir(self.state()).doing(what)?;
        if geteuid().is_root() {
            rustix::thread::set_thread_groups(&[]).doing(what)?;
            let (user, group) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
            rustix::thread::set_thread_res_gid(group, group, group).doing(what)?;
            rustix::thread::set_thread_res_uid(user, user, user).doing(what)?;
        }
        Homes::open(Path::new(HOMES)).doing(what)
    }
}

fn make(path: &Path) -> std::io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::tests::Scratch;

    #[test]
    fn what_root_makes_is_the_folders_owners() {
        let scratch = Scratch::new("folder");
        let folder = Folder::open_or_make(&scratch.0.join("proxy"), Role::InboundProxy).unwrap();
        if geteuid().is_root() {
            lchown(scratch.0.join("proxy"), Some(60_123), Some(60_123)).unwrap();
        }
        folder.put("tls.key", b"key").unwrap();
        folder.link_key().unwrap();
        let owner = fs::metadata(scratch.0.join("proxy")).unwrap().uid();
        for name in ["tls.key", "link.key"] {
            let facts = fs::metadata(folder.entry(name)).unwrap();
            assert_eq!((facts.uid(), facts.mode() & 0o777), (owner, 0o600), "{name}");
        }
    }
}
