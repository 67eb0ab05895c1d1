//! A letter that waits, in its file: opened when it is needed, with the outgoing identity.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use spool::edges::outbox::Leased;
use spool::keys::Identities;
use spool::letter::{Expect, LetterError, Opened};
use spool::names::LetterId;
use tracing::error;

use super::fate::{Fate, Status, Why};
use super::limits;

/// One, opened or not yet.
pub struct Sealed {
    expect: Expect,
    identities: Arc<Identities>,
    file: Option<OwnedFd>,
    opened: Option<Opened<File>>,
}

impl Sealed {
    /// Of a lease.
    #[must_use]
    pub fn new(leased: &Leased, file: OwnedFd, identities: Arc<Identities>) -> Self {
        let outgoing = &leased.outgoing;
        let expect = Expect { mailbox: outgoing.mailbox, letter: leased.letter, size: Some(outgoing.size) };
        Self { expect, identities, file: Some(file), opened: None }
    }

    /// Opens it, the first time.
    ///
    /// # Errors
    /// [`LetterError`].
    pub fn opened(&mut self) -> Result<&mut Opened<File>, LetterError> {
        if let Some(file) = self.file.take() {
            self.opened = Some(Opened::open(File::from(file), &self.expect, &self.identities)?);
        }
        self.opened.as_mut().ok_or_else(|| LetterError::Io(std::io::Error::other("it could not be opened before")))
    }

    /// All of it.
    ///
    /// # Errors
    /// [`LetterError`].
    pub fn whole(&mut self) -> Result<Vec<u8>, LetterError> {
        let opened = self.opened()?;
        opened.read_range(0, opened.size())
    }

    /// As much as notices are made of, and a byte more when there is more; nothing of one that cannot be read.
    pub fn beginning(&mut self) -> Vec<u8> {
        let name = self.expect.letter;
        let read = tokio::task::block_in_place(|| {
            let opened = self.opened()?;
            opened.read_range(0, opened.size().min(limits::RETURNED_WHOLE as u64 + 1))
        });
        read.unwrap_or_else(|error| {
            error!(letter = %name, %error, "a letter that its sender is told of cannot be opened");
            Vec::new()
        })
    }
}

/// What becomes of one that cannot be opened. Only what is damaged stays so: a disk, memory or a key that is missing may
/// come back.
#[must_use]
pub fn fate(name: LetterId, error: &LetterError) -> Fate {
    error!(letter = %name, %error, "a letter that is to leave cannot be opened; run `postern spool check`");
    match error {
        LetterError::Damaged(_) | LetterError::Misplaced | LetterError::OutOfRange => {
            Fate::Failed(Why::ours(Status::new(5, 3, 0), "the mail server's own copy of the letter is damaged"))
        }
        LetterError::Io(_) | LetterError::NoIdentity(_) | LetterError::Newer(_) => Fate::Deferred(Why::ours(
            Status::new(4, 3, 0),
            "the mail server cannot open its own copy of the letter now",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_damaged_is_given_up() {
        let name = LetterId([0; 16]);
        for error in [LetterError::Damaged("cut short"), LetterError::Misplaced, LetterError::OutOfRange] {
            assert!(matches!(fate(name, &error), Fate::Failed(why) if why.status == Status::new(5, 3, 0)), "{error}");
        }
        for error in [LetterError::Io(std::io::ErrorKind::OutOfMemory.into()), LetterError::NoIdentity(1)] {
            assert!(matches!(fate(name, &error), Fate::Deferred(why) if why.status == Status::new(4, 3, 0)), "{error}");
        }
    }
}
