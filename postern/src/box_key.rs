//! The box key: what seals the things that must work while nobody is logged in. `up` alone holds it and hands each
//! role what derives from it.
//!
//! It comes from, in this order: a passphrase given at start, a systemd credential named `box.key`, the file
//! `box.key` in the data folder. The file is made at the first start when there is no other.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{env, fs};

use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use spool::keys::{ChosenPassword, Cost};
use zeroize::Zeroizing;

use crate::data::DataFolder;
use crate::failure::{Doing, Failure};

/// 32 secret bytes, wiped when dropped.
pub type Secret = Zeroizing<[u8; 32]>;

/// The box key itself.
pub struct BoxKey(Secret);

impl std::fmt::Debug for BoxKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BoxKey(..)")
    }
}

impl BoxKey {
    /// Finds it, or makes it where nothing is sealed with one yet.
    ///
    /// # Errors
    /// In words for the admin: it is lost, unreadable, or the passphrase is wrong (exit code 2).
    pub fn find(data: &DataFolder, passphrase: Option<&str>) -> Result<Self, Failure> {
        match Self::existing(data, passphrase)? {
            Some(key) => Ok(key),
            None if is_needed(data) => Err(Failure::new(format!("{}: {}", lost(data), way_back(data)))),
            None => Self::make(data, passphrase),
        }
    }

    /// That it is lost while something is sealed with it, and what to do; `None` where it is there, or none is needed.
    #[must_use]
    pub fn is_lost(data: &DataFolder) -> Option<(String, String)> {
        let is_there = data.entry("box.key").exists() || data.entry("box.salt").exists() || credential().is_some();
        (!is_there && is_needed(data)).then(|| (lost(data), way_back(data)))
    }

    /// As [`Self::find`], but makes a new one where the old is lost: only for `recover`.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn find_or_replace(data: &DataFolder, passphrase: Option<&str>) -> Result<Self, Failure> {
        Self::existing(data, passphrase)?.map_or_else(|| Self::make(data, passphrase), Ok)
    }

    fn existing(data: &DataFolder, passphrase: Option<&str>) -> Result<Option<Self>, Failure> {
        let (file, salt) = (data.entry("box.key"), data.entry("box.salt"));
        if let Some(passphrase) = passphrase {
            if file.exists() {
                return Err(Failure::new(format!("this box's key is in {}, not in a passphrase", file.display())));
            }
            return if salt.exists() { Self::from_passphrase(&salt, passphrase).map(Some) } else { Ok(None) };
        }
        if let Some(credential) = credential() {
            return Self::from_file(&credential).map(Some);
        }
        match (file.exists(), salt.exists()) {
            (true, _) => {
                close(&file);
                Self::from_file(&file).map(Some)
            }
            (false, true) => Err(Failure::new("this box's key comes from a passphrase: add --box-passphrase-stdin")),
            (false, false) => Ok(None),
        }
    }

    fn make(data: &DataFolder, passphrase: Option<&str>) -> Result<Self, Failure> {
        let Some(passphrase) = passphrase else {
            let mut key = Zeroizing::new([0; 32]);
            SystemRandom::new().fill(key.as_mut()).map_err(|_| Failure::new("the kernel gave no random bytes"))?;
            write_new(&data.entry("box.key"), &hex(key.as_ref()))?;
            return Ok(Self(key));
        };
        let cost = Cost::new().doing(|| "the box's passphrase".to_owned())?;
        let key = stretch(passphrase, &cost)?;
        let line = format!("{} {} {} {}", *hex(&cost.salt), cost.kib, cost.passes, *key.check()?);
        write_new(&data.entry("box.salt"), &line)?;
        Ok(key)
    }

    fn from_file(path: &Path) -> Result<Self, Failure> {
        let text =
            fs::read(path).map(Zeroizing::new).doing(|| format!("cannot read the box key {}", path.display()))?;
        unhex(text.trim_ascii())
            .map(Self)
            .ok_or_else(|| Failure::new(format!("{} does not hold 64 hex digits: damaged?", path.display())))
    }

    fn from_passphrase(salt: &Path, passphrase: &str) -> Result<Self, Failure> {
        let damaged = || Failure::new(format!("{} is damaged: put it back from your backup", salt.display()));
        let text = fs::read_to_string(salt).doing(|| format!("cannot read {}", salt.display()))?;
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [salt, kib, passes, check] = fields[..] else { return Err(damaged()) };
        let (Some(salt), Ok(kib), Ok(passes)) = (unhex::<16>(salt.as_bytes()), kib.parse(), passes.parse()) else {
            return Err(damaged());
        };
        let key = stretch(passphrase, &Cost { salt: *salt, kib, passes })?;
        if *key.check()? == check { Ok(key) } else { Err(Failure::secret("that is not the box's passphrase")) }
    }

    /// 32 bytes for one purpose.
    fn derive(&self, purpose: &[u8]) -> Result<Secret, Failure> {
        let mut out = Zeroizing::new([0; 32]);
        let extracted = Salt::new(HKDF_SHA256, &[]).extract(self.0.as_ref());
        extracted
            .expand(&[purpose], HKDF_SHA256)
            .and_then(|block| block.fill(out.as_mut()))
            .map_err(|_| Failure::new("a key could not be derived from the box key"))?;
        Ok(out)
    }

    /// What seals the keeper's journal.
    ///
    /// # Errors
    /// The cryptographic library's; none is known.
    pub fn index_key(&self) -> Result<Secret, Failure> {
        self.derive(b"postern index v1")
    }

    /// The secret of the identity that letters are sealed to until they have left.
    ///
    /// # Errors
    /// The cryptographic library's; none is known.
    pub fn outgoing_key(&self) -> Result<Secret, Failure> {
        self.derive(b"postern outgoing v1")
    }

    /// What the senders of mail that is passed on are rewritten with (SRS).
    ///
    /// # Errors
    /// The cryptographic library's; none is known.
    pub fn srs_key(&self) -> Result<Secret, Failure> {
        self.derive(b"postern srs v1")
    }

    /// What a letter that aliases pass on is marked with, so that it is known when it comes back.
    ///
    /// # Errors
    /// The cryptographic library's; none is known.
    pub fn marks_key(&self) -> Result<Secret, Failure> {
        self.derive(b"postern marks v1")
    }

    /// What seals the DKIM keys.
    ///
    /// # Errors
    /// The cryptographic library's; none is known.
    pub fn dkim_key(&self) -> Result<Secret, Failure> {
        self.derive(b"postern dkim v1")
    }

    /// What seals the keys of the pairings with proxies.
    ///
    /// # Errors
    /// The cryptographic library's; none is known.
    pub fn pairings_key(&self) -> Result<Secret, Failure> {
        self.derive(b"postern pairings v1")
    }

    /// Tells a mistyped passphrase before the journal has to; a guess costs the same Argon2id either way.
    fn check(&self) -> Result<Zeroizing<String>, Failure> {
        Ok(hex(self.derive(b"postern passphrase check v1")?.as_ref()))
    }
}

fn stretch(passphrase: &str, cost: &Cost) -> Result<BoxKey, Failure> {
    let password =
        ChosenPassword::new(passphrase).map_err(|error| Failure::secret(format!("the passphrase: {error}")))?;
    password.slot_key(cost).map(BoxKey).doing(|| "the box's passphrase".to_owned())
}

/// Something is sealed with it.
fn is_needed(data: &DataFolder) -> bool {
    data.spool_has("journal") || data.spool_has("mailboxes")
}

fn lost(data: &DataFolder) -> String {
    format!("the box key is missing and {} holds mailboxes", data.entry("spool").display())
}

fn way_back(data: &DataFolder) -> String {
    format!(
        "put {} back from your backup, or run `postern recover` with the recovery words of the mailboxes",
        data.entry("box.key").display()
    )
}

fn credential() -> Option<PathBuf> {
    let path = PathBuf::from(env::var_os("CREDENTIALS_DIRECTORY")?).join("box.key");
    path.exists().then_some(path)
}

/// What was copied back from a backup is often readable for everybody: it is the house's again. Who does not own it
/// (a key that root keeps) cannot, and what is told is what counts.
fn close(file: &Path) {
    let others = |file: &Path| fs::metadata(file).is_ok_and(|known| known.permissions().mode() & 0o077 != 0);
    if !others(file) {
        return;
    }
    let closed = fs::set_permissions(file, fs::Permissions::from_mode(0o600));
    let name = file.display();
    crate::up::say(&match closed {
        Ok(()) => format!("{name} could be read by other users of this machine: it is closed to them now"),
        Err(error) => {
            format!("{name} can be read by other users of this machine, and cannot be closed to them: {error}")
        }
    });
}

/// Written, synced and 0600 before anything is sealed with it.
fn write_new(path: &Path, line: &str) -> Result<(), Failure> {
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(line.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
    };
    write().doing(|| format!("cannot write {}", path.display()))
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    Zeroizing::new(text)
}

fn unhex<const N: usize>(text: &[u8]) -> Option<Zeroizing<[u8; N]>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut out = Zeroizing::new([0; N]);
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> DataFolder {
        let path = env::temp_dir().join(format!("postern-key-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        DataFolder::open_or_make(&path).unwrap()
    }

    #[test]
    fn a_new_box_gets_a_key_that_stays() {
        let data = folder("file");
        let key = BoxKey::find(&data, None).unwrap().index_key().unwrap();
        assert_eq!(BoxKey::find(&data, None).unwrap().index_key().unwrap(), key);
        assert_eq!(rustix::fs::stat(data.entry("box.key")).unwrap().st_mode & 0o777, 0o600);
        fs::write(data.entry("box.key"), "abc").unwrap();
        assert!(BoxKey::find(&data, None).unwrap_err().words.contains("damaged"));
        fs::remove_dir_all(data.path()).unwrap();
    }

    #[test]
    fn a_lost_key_is_never_replaced_silently() {
        let data = folder("lost");
        fs::create_dir_all(data.entry("spool/mailboxes/0000000000000001")).unwrap();
        assert!(BoxKey::find(&data, None).unwrap_err().words.contains("postern recover"));
        assert!(BoxKey::find_or_replace(&data, None).is_ok());
        fs::remove_dir_all(data.path()).unwrap();
    }

    #[test]
    fn a_passphrase_is_told_from_a_wrong_one() {
        let data = folder("passphrase");
        let key = BoxKey::find(&data, Some("correct horse battery")).unwrap().index_key().unwrap();
        assert_eq!(BoxKey::find(&data, Some("correct horse battery")).unwrap().index_key().unwrap(), key);
        assert_eq!(BoxKey::find(&data, Some("incorrect horse")).unwrap_err().code, crate::failure::code::SECRET);
        assert!(BoxKey::find(&data, None).unwrap_err().words.contains("--box-passphrase-stdin"));
        fs::remove_dir_all(data.path()).unwrap();
    }
}
