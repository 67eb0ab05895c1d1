//! The operator's folder.
//!
//! | entry | what | who reads it, who writes it |
//! | --- | --- | --- |
//! | `outbound-proxy.toml` | the configuration | the operator |
//! | `link.key` (0600) | the key that homes know this proxy by | this program, once |
//! | `state/` | the service's: `homes/` and `spent/`, one file a home each | the service, and the operator's commands as its user |

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};

use filter_sandbox::Role;
use relay_link::durable;
use relay_link::homes::Homes;
use relay_link::keys::LinkKey;
use rustix::process::{Gid, Uid, geteuid};

use super::{Doing, Failure};
use crate::grant::HomeGrant;
use crate::{limits, service};

/// The service's part of it.
const STATE: &str = "state";

/// An open folder.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Opens it, made first where it is not.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn open_or_make(path: &Path) -> Result<Self, Failure> {
        let what = || format!("the folder {} (name another with --folder DIR)", path.display());
        make(path).doing(what)?;
        let folder = Self(path.canonicalize().doing(what)?);
        make(&folder.state()).doing(what)?;
        // Root gives it to the service's user; where a service manager has made a user for it, it is that one's.
        let (state, whole) = (fs::symlink_metadata(folder.state()), fs::metadata(&folder.0));
        let (state, whole) = (state.doing(what)?, whole.doing(what)?);
        if geteuid().is_root() && state.uid() == 0 {
            let uid = if whole.uid() == 0 { Role::OutboundProxy.host_uid() } else { whole.uid() };
            lchown(folder.state(), Some(uid), Some(uid)).doing(what)?;
        }
        Ok(folder)
    }

    /// An entry of it.
    #[must_use]
    pub fn entry(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The service's part.
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
        durable::replace(&path, key.pkcs8()).doing(what)?;
        // A service that is not root reads it, too.
        let whole = fs::metadata(&self.0).doing(what)?;
        if geteuid().is_root() && whole.uid() != 0 {
            lchown(&path, Some(whole.uid()), Some(whole.gid())).doing(what)?;
        }
        Ok(key)
    }

    /// The homes. From here on this process is the service's user and stands in the service's folder: what lies there was
    /// written by a process that strangers talk to, and must not lead root anywhere.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn homes(&self) -> Result<Homes<HomeGrant>, Failure> {
        let what = || format!("the homes in {}", self.state().display());
        let owner = fs::metadata(self.state()).doing(what)?;
        std::env::set_current_dir(self.state()).doing(what)?;
        if geteuid().is_root() {
            rustix::thread::set_thread_groups(&[]).doing(what)?;
            let (user, group) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
            rustix::thread::set_thread_res_gid(group, group, group).doing(what)?;
            rustix::thread::set_thread_res_uid(user, user, user).doing(what)?;
        }
        Homes::open(Path::new(service::HOMES)).doing(what)
    }
}

fn make(path: &Path) -> std::io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
