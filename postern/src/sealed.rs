//! Small sealed files of the data folder: what `up` and the admin's commands share, under a key that derives from the
//! box key. One writer at a time, and a cut leaves the old or the new.

use std::fs::{self, File};
use std::io::Write;
use std::marker::PhantomData;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::SystemTime;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::FlockOperation;
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::admin::WRITABLE_AGAIN;
use crate::box_key::Secret;
use crate::data::{DataFolder, is_read_only};
use crate::failure::{Doing, Failure};

/// Bytes of a file: some thousand keys.
const LARGEST: u64 = 4 * 1024 * 1024;

/// One writing of such a file: no other has the same nonce.
pub type Writing = [u8; NONCE_LEN];

/// Which file, and what stands in it.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// The file's name in the data folder.
    pub file: &'static str,
    /// Its lock's.
    pub lock: &'static str,
    /// Sealed with the text, so that one file cannot be put in another's place.
    pub context: &'static str,
    /// What it holds, in words, as in "... could not be sealed".
    pub what: &'static str,
    /// What to do when it is damaged.
    pub advice: &'static str,
}

/// A file that holds a `T`; one that is not there holds the empty one.
#[derive(Debug)]
pub struct Sealed<T> {
    form: Form,
    path: PathBuf,
    lock: PathBuf,
    secret: Secret,
    holds: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned + Default> Sealed<T> {
    /// In that data folder.
    #[must_use]
    pub fn of(data: &DataFolder, form: Form, secret: Secret) -> Self {
        Self { form, path: data.entry(form.file), lock: data.entry(form.lock), secret, holds: PhantomData }
    }

    /// When it was last written.
    #[must_use]
    pub fn written(&self) -> Option<SystemTime> {
        fs::metadata(&self.path).and_then(|facts| facts.modified()).ok()
    }

    /// What it holds.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn read(&self) -> Result<T, Failure> {
        self.read_once().map(|(holds, _)| holds)
    }

    /// What it holds, and which writing of it that is.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn read_once(&self) -> Result<(T, Option<Writing>), Failure> {
        let what = || format!("cannot read {}", self.path.display());
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((T::default(), None)),
            Err(error) => return Err(error).doing(what),
            Ok(facts) if facts.len() > LARGEST => return Err(Failure::new(format!("{} is too long", what()))),
            Ok(_) => {}
        }
        let sealed = fs::read(&self.path).doing(what)?;
        let writing = sealed.first_chunk().copied();
        self.open(sealed).map(|holds| (holds, writing)).ok_or_else(|| {
            let (path, advice) = (self.path.display(), self.form.advice);
            Failure::new(format!("{path} is damaged, or sealed with another box key: {advice}"))
        })
    }

    fn open(&self, mut sealed: Vec<u8>) -> Option<T> {
        let nonce = Nonce::try_assume_unique_for_key(sealed.get(..NONCE_LEN)?).ok()?;
        let mut text = Zeroizing::new(sealed.split_off(NONCE_LEN));
        let plain = self.cipher()?.open_in_place(nonce, Aad::from(self.form.context), &mut text).ok()?;
        postcard::from_bytes(plain).ok()
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&CHACHA20_POLY1305, self.secret.as_ref()).ok().map(LessSafeKey::new)
    }

    /// Before what takes long, or cannot be done twice: whether what comes of it could be kept.
    ///
    /// # Errors
    /// In words for the admin: the disk is read-only.
    pub fn can_change(&self) -> Result<(), Failure> {
        if !self.path.parent().is_some_and(is_read_only) {
            return Ok(());
        }
        let (file, again) = (self.path.display(), WRITABLE_AGAIN);
        Err(Failure::new(format!(
            "nothing was changed: the file system of {file} is read-only. `dmesg` says why. {again}"
        )))
    }

    /// Changes what it holds; nobody else does meanwhile.
    ///
    /// # Errors
    /// In words for the admin; nothing is changed then.
    pub fn change<R>(&self, change: impl FnOnce(&mut T) -> Result<R, Failure>) -> Result<R, Failure> {
        self.can_change()?;
        let what = || format!("cannot write {}", self.path.display());
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&self.lock);
        let lock = lock.doing(what)?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).doing(what)?;
        let mut holds = self.read()?;
        let outcome = change(&mut holds)?;
        self.write(&holds)?;
        Ok(outcome)
    }

    fn write(&self, holds: &T) -> Result<(), Failure> {
        let failed = || Failure::new(format!("{} could not be sealed", self.form.what));
        let mut text = Zeroizing::new(postcard::to_stdvec(holds).map_err(|_| failed())?);
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| failed())?;
        let cipher = self.cipher().ok_or_else(failed)?;
        let sealing = Nonce::assume_unique_for_key(nonce);
        cipher.seal_in_place_append_tag(sealing, Aad::from(self.form.context), &mut *text).map_err(|_| failed())?;
        let beside = self.path.with_extension("new");
        let write = || {
            let _ = fs::remove_file(&beside);
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
            file.write_all(&nonce)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&beside, &self.path)?;
            self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        write().doing(|| format!("cannot write {}", self.path.display()))
    }
}
