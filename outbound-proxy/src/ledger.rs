//! An account on the disk: one file of two halves, written in turn, each with a number and the beginning of its digest.
//!
//! `kill -9` between two writes, or within one, leaves the half before; a write that was made is there. A power cut can
//! take back what was not synced, so sessions sync as they begin. A file that cannot be read is an empty bucket, never a
//! full one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use ring::digest;

use crate::account::Account;
use crate::limits::LEDGER_HALF as HALF;

const CHECK: usize = 16;
const HEAD: usize = CHECK + 8 + 2;

/// The file of one home.
#[derive(Debug)]
pub struct Ledger {
    file: Arc<File>,
    number: u64,
}

impl Ledger {
    /// Opens it, or makes it with `new` in it. With it comes what it says; `damaged` says it when it says nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(
        path: &Path,
        new: impl FnOnce() -> Account,
        damaged: impl FnOnce() -> Account,
    ) -> io::Result<(Self, Account)> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let (number, account) = match newest(&file)? {
            Some(found) => found,
            // Made, and nothing was ever written to it.
            None if file.metadata()?.len() == 0 => (0, new()),
            None => (0, damaged()),
        };
        let mut ledger = Self { file: Arc::new(file), number };
        ledger.write(&account)?;
        Ok((ledger, account))
    }

    /// Writes it down. Survives the process, not the power.
    ///
    /// # Errors
    /// The kernel's.
    pub fn write(&mut self, account: &Account) -> io::Result<()> {
        let body = postcard::to_stdvec(account).map_err(io::Error::other)?;
        let length = u16::try_from(body.len()).ok().filter(|_| HEAD + body.len() <= HALF);
        let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "an account is too long"))?;
        let number = self.number + 1;
        let signed = [&number.to_be_bytes()[..], &length.to_be_bytes(), &body].concat();
        let half = [&check(&signed)[..], &signed].concat();
        self.file.write_all_at(&half, offset(number))?;
        self.number = number;
        Ok(())
    }

    /// The number of what was written last.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The file, for who syncs it: that can take long.
    #[must_use]
    pub fn file(&self) -> Arc<File> {
        self.file.clone()
    }
}

/// Reads what a running proxy has written; `None` when there is nothing whole.
///
/// # Errors
/// The kernel's.
pub fn read(path: &Path) -> io::Result<Option<Account>> {
    Ok(newest(&File::open(path)?)?.map(|(_, account)| account))
}

fn newest(file: &File) -> io::Result<Option<(u64, Account)>> {
    let halves = [half(file, 0)?, half(file, 1)?];
    Ok(halves.into_iter().flatten().max_by_key(|(number, _)| *number))
}

fn half(file: &File, which: u64) -> io::Result<Option<(u64, Account)>> {
    let (mut bytes, mut have) = (vec![0; HALF], 0);
    loop {
        match file.read_at(&mut bytes[have..], offset(which) + have as u64)? {
            0 => break,
            read => have += read,
        }
        if have == HALF {
            break;
        }
    }
    Ok(decode(&bytes[..have]))
}

pub(crate) fn decode(bytes: &[u8]) -> Option<(u64, Account)> {
    let (given, signed) = bytes.split_first_chunk::<CHECK>()?;
    let (number, rest) = signed.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let body = rest.get(..length)?;
    let whole = check(signed.get(..8 + 2 + length)?) == *given;
    // One from before bodies were counted ends where their number begins.
    let account = postcard::from_bytes(body).or_else(|_| postcard::from_bytes(&[body, &[0]].concat()));
    let account = account.ok().filter(|_| whole)?;
    Some((u64::from_be_bytes(*number), account))
}

const fn offset(number: u64) -> u64 {
    number % 2 * HALF as u64
}

fn check(signed: &[u8]) -> [u8; CHECK] {
    let mut out = [0; CHECK];
    out.copy_from_slice(&digest::digest(&digest::SHA256, signed).as_ref()[..CHECK]);
    out
}
