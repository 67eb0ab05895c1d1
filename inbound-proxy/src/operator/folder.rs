//! The operator's folder.
//!
//! | entry | what | who reads it, who writes it |
//! | --- | --- | --- |
//! | `inbound-proxy.toml` | the configuration | the operator |
//! | `link.key` (0600) | the key that homes know this proxy by | this program, once |
//! | `tls.crt`, `tls.key` (0600) | the self-signed certificate, where there is no other | this program |
//! | `state/` | the gate's: `homes/`, one file each, and `learnt` | the gate, and the operator's commands as its user |

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};

use filter_sandbox::Role;
use relay_link::durable;
use relay_link::homes::Homes;
use relay_link::keys::LinkKey;
use rustix::process::{Gid, Uid, geteuid};
use wire::tls::{CertificatePem, Tls};

use super::config::Config;
use super::{Doing, Failure};
use crate::grant::HomeGrant;
use crate::limits;

/// The gate's part of it.
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
        let mine = fs::symlink_metadata(folder.state()).doing(what)?;
        let (root, uid) = (geteuid().is_root(), Role::InboundProxy.host_uid());
        if root && mine.uid() != uid {
            lchown(folder.state(), Some(uid), Some(uid)).doing(what)?;
        }
        Ok(folder)
    }

    /// An entry of it.
    #[must_use]
    pub fn entry(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The gate's part.
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
        Ok(key)
    }

    /// The certificate for sessions that learn.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn certificate(&self, config: &Config) -> Result<CertificatePem, Failure> {
        let (chain, key) = match (&config.tls_cert, &config.tls_key) {
            (Some(chain), Some(key)) => (chain.clone(), key.clone()),
            _ => self.self_signed(&config.name())?,
        };
        let read = |path: &Path| {
            let text = durable::read(path, limits::CONFIG).doing(|| path.display().to_string())?;
            let text = text.ok_or_else(|| Failure::new(format!("{} is not there", path.display())))?;
            String::from_utf8(text).doing(|| path.display().to_string())
        };
        let pem = CertificatePem { chain: read(&chain)?, key: read(&key)? };
        Tls::new(&pem).doing(|| format!("{} and {}", chain.display(), key.display()))?;
        Ok(pem)
    }

    fn self_signed(&self, name: &str) -> Result<(PathBuf, PathBuf), Failure> {
        let (chain, key) = (self.entry("tls.crt"), self.entry("tls.key"));
        let what = || "a self-signed certificate".to_owned();
        if !chain.exists() || !key.exists() {
            let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).doing(what)?;
            durable::replace(&key, made.signing_key.serialize_pem().as_bytes()).doing(what)?;
            durable::replace(&chain, made.cert.pem().as_bytes()).doing(what)?;
        }
        Ok((chain, key))
    }

    /// The homes. From here on this process is the gate's user and stands in the gate's folder: what lies there was
    /// written by a process that strangers talk to, and must not lead root anywhere.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn homes(&self) -> Result<Homes<HomeGrant>, Failure> {
        let what = || format!("the homes in {}", self.state().display());
        std::env::set_current_dir(self.state()).doing(what)?;
        if geteuid().is_root() {
            let uid = Role::InboundProxy.host_uid();
            rustix::thread::set_thread_groups(&[]).doing(what)?;
            let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
            rustix::thread::set_thread_res_gid(group, group, group).doing(what)?;
            rustix::thread::set_thread_res_uid(user, user, user).doing(what)?;
        }
        Homes::open(Path::new(crate::gate::HOMES)).doing(what)
    }
}

fn make(path: &Path) -> std::io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
