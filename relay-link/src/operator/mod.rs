//! What the operators of both proxies have alike: failures in words, a folder, a name and DNS servers, ports to listen on,
//! findings of `doctor`.

use std::fmt;
use std::time::Duration;

use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::limits;

pub mod config;
pub mod end;
pub mod findings;
pub mod folder;
pub mod listen;

/// The exit code of who is configured so that trying again changes nothing (`sysexits.h`, EX_CONFIG): the packaged services keep
/// to it.
pub const CONFIGURATION: u8 = 78;

/// Why a command fails: whose fault, and what to do.
#[derive(Debug)]
pub struct Failure {
    words: String,
    code: u8,
}

impl Failure {
    /// In words.
    pub fn new(words: impl Into<String>) -> Self {
        Self { words: words.into(), code: 1 }
    }

    /// One of the configuration's.
    pub fn configuration(words: impl Into<String>) -> Self {
        Self { words: words.into(), code: CONFIGURATION }
    }

    /// What the program ends with.
    #[must_use]
    pub const fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Failure {}

/// Says what was being done when something failed.
pub trait Doing<T> {
    /// Adds it.
    ///
    /// # Errors
    /// The same, in words.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{}: {error}", what())))
    }
}

/// What a proxy's first process still needs of root's rights once the other is behind its walls: to read a certificate that is
/// renewed. It goes without the rest, for good; whoever was no root has nothing to give up.
///
/// # Errors
/// In words for the operator.
pub fn only_read_files() -> Result<(), Failure> {
    keep(CapabilitySet::DAC_READ_SEARCH)
}

/// The same for who has nothing left to read.
///
/// # Errors
/// In words for the operator.
pub fn no_rights() -> Result<(), Failure> {
    keep(CapabilitySet::empty())
}

fn keep(rights: CapabilitySet) -> Result<(), Failure> {
    let what = || "root's capabilities cannot be given up".to_owned();
    let now = rustix::thread::capabilities(None).doing(what)?;
    let kept = now.permitted & rights;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_no_new_privs(true).doing(what)?;
    rustix::thread::set_capabilities(None, sets).doing(what)
}

/// How long a code works that the operator asks for in hours.
///
/// # Errors
/// In words for the operator.
pub fn valid(hours: Option<u32>) -> Result<Duration, Failure> {
    match hours {
        None => Ok(limits::CODE),
        Some(hours) if (1..=limits::CODE_HOURS).contains(&hours) => Ok(Duration::from_secs(u64::from(hours) * 3_600)),
        Some(hours) => {
            let most = limits::CODE_HOURS;
            Err(Failure::new(format!(
                "a code works for 1 hour at least and {most} hours (four weeks) at most, not {hours}"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_work_for_a_while() {
        assert_eq!(valid(None).unwrap(), limits::CODE);
        assert_eq!(valid(Some(limits::CODE_HOURS)).unwrap(), Duration::from_secs(28 * 86_400));
        for wrong in [0, limits::CODE_HOURS + 1, u32::MAX] {
            assert!(valid(Some(wrong)).unwrap_err().to_string().contains("four weeks"), "{wrong}");
        }
    }

    /// In a thread of its own: the right is that thread's.
    #[test]
    fn nothing_is_left_but_to_read() {
        let left = std::thread::spawn(|| {
            only_read_files().unwrap();
            let left = rustix::thread::capabilities(None).unwrap();
            no_rights().unwrap();
            (left, rustix::thread::capabilities(None).unwrap())
        });
        let (left, none) = left.join().unwrap();
        for set in [left.permitted, left.effective, left.inheritable] {
            assert!((set - CapabilitySet::DAC_READ_SEARCH).is_empty(), "{set:?}");
        }
        assert!([none.permitted, none.effective, none.inheritable].iter().all(CapabilitySet::is_empty), "{none:?}");
    }
}
