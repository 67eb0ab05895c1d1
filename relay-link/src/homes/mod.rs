//! The homes a proxy knows: one file each, by the name the operator gave.
//!
//! | file `NAME.toml` has | the home is |
//! | --- | --- |
//! | `[invitation]` only | invited: who brings the secret in time becomes this home |
//! | `[paired]` and `[invitation]` | paired; the same box may bring the secret again, should the answer have been lost |
//! | `[paired]` only | paired, with no code about |
//! | neither | revoked, or its box not yet come: what it was granted is nobody else's meanwhile |
//! | `expected` | of these the first or the last, and no box has ever come for it |
//! | no file | unknown |
//!
//! A box that is one home already and brings the secret of another invitation makes one home of both, under the name of the first,
//! where that can be ([`Grant::joined`]). From the moment at which that home's file has the code, it is that box's alone, and the
//! invitation's own file, which goes next, is as none.
//!
//! Each step is one rename or unlink, under a lock that the operator's commands take too; a proxy notices within
//! seconds what they changed. The secret itself is in no file.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::durable;
use crate::keys::{PublicKey, SecretDigest};

mod inviting;
mod known;
#[cfg(test)]
mod tests;

pub use inviting::{InviteError, Invited};
use known::{Known, Read, TICK, read_folder};

/// What the operator grants a home.
pub trait Grant: Serialize + DeserializeOwned + Clone {
    /// In words, what both would have though only one can.
    fn clashes_with(&self, other: &Self) -> Option<String>;

    /// What one box has that was granted both; `None`: those stay two homes.
    #[must_use]
    fn joined(&self, _other: &Self) -> Option<Self> {
        None
    }

    /// What this is when its home is invited anew, having had `before`.
    #[must_use]
    fn renewed(self, _before: &Self) -> Self {
        self
    }
}

/// One home, as its file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Home<G> {
    /// No box has ever come for it: nobody can have written to it, unless its names lead here already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expected: bool,
    /// What it may.
    pub grant: G,
    /// A code that is about.
    pub invitation: Option<Invitation>,
    /// The box that has come.
    pub paired: Option<Paired>,
}

/// A code that was given out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invitation {
    /// Of its secret.
    pub digest: SecretDigest,
    /// Seconds since 1970.
    pub expires: u64,
    /// For which name it was, where the home that came of it is called otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paired {
    /// By which it is known.
    pub key: PublicKey,
    /// Seconds since 1970.
    pub since: u64,
}

type All<G> = Arc<BTreeMap<String, Home<G>>>;

/// The folder.
#[derive(Debug)]
pub struct Homes<G> {
    folder: PathBuf,
    read: Mutex<Option<Read<G>>>,
}

const ENDING: &str = "toml";
const LOCK: &str = "lock";

impl<G: Grant> Homes<G> {
    /// Opens the folder, or makes it (0700).
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(Self { folder: folder.to_path_buf(), read: Mutex::new(None) })
    }

    /// Whose key it is.
    ///
    /// # Errors
    /// The kernel's.
    pub fn find(&self, key: &PublicKey) -> io::Result<Option<(String, G)>> {
        let known = self.known()?;
        let found = known.keys.get(key).and_then(|name| Some((name.clone(), known.homes.get(name)?.grant.clone())));
        Ok(found)
    }

    /// Whether the home of this name has this key.
    ///
    /// # Errors
    /// The kernel's.
    pub fn knows(&self, key: &PublicKey, name: &str) -> io::Result<bool> {
        Ok(self.known()?.keys.get(key).is_some_and(|known| known == name))
    }

    /// Takes a home's box and code away, and leaves what was granted with its name: who asks for that waits, and gets no other
    /// home. Whether there was one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn close(&self, name: &str) -> io::Result<bool> {
        let _lock = self.lock()?;
        let all = self.all()?;
        let Some(home) = all.get(name) else { return Ok(false) };
        self.write(name, &Home { invitation: None, paired: None, ..home.clone() })?;
        Ok(true)
    }

    /// Leaves a home with less than it was granted, and calls it `to` from now on: its box dials as that. A code that is about stays with who
    /// has not come yet. Whether it was done: not where `to` is no name, or another's.
    ///
    /// # Errors
    /// The kernel's.
    pub fn leave(&self, name: &str, to: &str, grant: G) -> io::Result<bool> {
        let _lock = self.lock()?;
        let all = self.all()?;
        let Some(home) = all.get(name) else { return Ok(false) };
        if to != name && (!is_name(to) || self.path(to).exists()) {
            return Ok(false);
        }
        let invitation = home.invitation.clone().filter(|_| home.paired.is_none());
        self.write(name, &Home { grant, invitation, ..home.clone() })?;
        if to != name {
            durable::rename(&self.path(name), &self.path(to))?;
            self.forget();
        }
        Ok(true)
    }

    /// Forgets a home, or an invitation, and what was granted; whether there was one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn revoke(&self, name: &str) -> io::Result<bool> {
        let _lock = self.lock()?;
        let known = self.all()?.contains_key(name);
        if known {
            durable::remove(&self.path(name))?;
            self.forget();
        }
        Ok(known)
    }

    /// Whether every home could be read: when not, there are more of them than [`Homes::all`] says.
    ///
    /// # Errors
    /// The kernel's.
    pub fn are_all_read(&self) -> io::Result<bool> {
        Ok(self.known()?.whole)
    }

    /// All of them. Read again only when the folder has changed.
    ///
    /// # Errors
    /// The kernel's. A file that cannot be read is passed over, with a line in the log: one damaged home must not
    /// shut the others out.
    pub fn all(&self) -> io::Result<All<G>> {
        Ok(self.known()?.homes)
    }

    fn known(&self) -> io::Result<Known<G>> {
        let changed = fs::metadata(&self.folder)?.modified()?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = read.as_ref().filter(|read| read.changed == changed) {
            return Ok(read.known.clone());
        }
        let known = Known::new(read_folder(&self.folder)?);
        // What was read so soon is read again. (A clock that was set back since is no reason to read it for ever.)
        let distance = SystemTime::now().duration_since(changed).unwrap_or_else(|ahead| ahead.duration());
        let settled = distance > TICK;
        *read = settled.then(|| Read { changed, known: known.clone() });
        Ok(known)
    }

    fn write(&self, name: &str, home: &Home<G>) -> io::Result<()> {
        let text = toml::to_string(home).map_err(io::Error::other)?;
        durable::replace(&self.path(name), text.as_bytes())?;
        self.forget();
        Ok(())
    }

    fn forget(&self) {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name).with_added_extension(ENDING)
    }

    /// Held until dropped. Before anything is changed, what an end left of two homes that are one is put in order.
    fn lock(&self) -> io::Result<File> {
        let file = File::options().write(true).create(true).truncate(false).open(self.folder.join(LOCK))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
        for joined in self.known()?.joined {
            durable::remove(&self.path(&joined))?;
            self.forget();
        }
        Ok(file)
    }
}

/// Also the stem of a file's name: no slash, no leading dot, lower case.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let harmless = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    (1..=200).contains(&name.len()) && name.bytes().all(harmless) && !name.starts_with('.') && name != LOCK
}
