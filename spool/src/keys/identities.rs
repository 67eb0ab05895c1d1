//! All identities of one mailbox, as an unlocked slot gives them.

use std::fmt;

use zeroize::Zeroizing;

use super::{Identity, KeyError, Link};
use crate::bytes::{Cut, Take};
use crate::limits;
use crate::names::MailboxId;

const VERSION: u8 = 1;

/// The identities of one mailbox, from the newest generation down; the means to read every letter of it.
pub struct Identities {
    mailbox: MailboxId,
    newest: u32,
    // Newest first, without gaps; never empty.
    all: Vec<Identity>,
}

impl Identities {
    /// The first generation of a new mailbox.
    #[must_use]
    pub fn first(mailbox: MailboxId, identity: Identity) -> Self {
        Self { mailbox, newest: 1, all: vec![identity] }
    }

    /// The newest identity and, one after another, what it and its predecessors wrap: `earlier` is newest first.
    ///
    /// # Errors
    /// [`KeyError`] when a link does not open or a generation is missing.
    pub fn from_chain<'a>(
        mailbox: MailboxId,
        generation: u32,
        newest: Identity,
        earlier: impl IntoIterator<Item = (u32, &'a [u8])>,
    ) -> Result<Self, KeyError> {
        let mut identities = Self { mailbox, newest: generation, all: vec![newest] };
        let mut last = generation;
        for (generation, link) in earlier {
            if generation == 0 || generation.checked_add(1) != Some(last) {
                return Err(KeyError::Malformed("a generation is missing"));
            }
            let identity = Link::from_bytes(link)?.open(identities.oldest(), mailbox, generation)?;
            identities.all.push(identity);
            last = generation;
        }
        if last != 1 {
            return Err(KeyError::Malformed("a generation is missing"));
        }
        Ok(identities)
    }

    /// The mailbox they belong to.
    #[must_use]
    pub const fn mailbox(&self) -> MailboxId {
        self.mailbox
    }

    /// The newest generation's number, from 1.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.newest
    }

    /// The newest identity: new letters are sealed to it.
    #[must_use]
    pub fn newest(&self) -> &Identity {
        &self.all[0]
    }

    /// That of one generation.
    #[must_use]
    pub fn of(&self, generation: u32) -> Option<&Identity> {
        self.all.get(usize::try_from(self.newest.checked_sub(generation)?).ok()?)
    }

    /// Generation and identity, newest first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Identity)> {
        (1..=self.newest).rev().zip(&self.all)
    }

    pub(crate) fn succeed(&mut self, newest: Identity) {
        self.all.insert(0, newest);
        self.newest += 1;
    }

    fn oldest(&self) -> &Identity {
        &self.all[self.all.len() - 1]
    }

    /// For the memory file that takes them from `login` to the owner's process; never for a disk.
    ///
    /// | bytes | field |
    /// | --- | --- |
    /// | 1 | version, 1 |
    /// | 8 | mailbox |
    /// | 4 | newest generation, which is also how many follow |
    /// | 32 each | secret, newest first |
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(13 + 32 * self.all.len()));
        out.push(VERSION);
        out.extend_from_slice(&self.mailbox.0.to_le_bytes());
        out.extend_from_slice(&self.newest.to_le_bytes());
        self.all.iter().for_each(|identity| out.extend_from_slice(identity.to_bytes()));
        out
    }

    /// Back from [`Self::to_bytes`].
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        Self::parse(bytes).unwrap_or(Err(KeyError::Malformed("identities cut short")))
    }

    fn parse(bytes: &[u8]) -> Result<Result<Self, KeyError>, Cut> {
        let mut take = Take::new(bytes);
        if take.u8()? != VERSION {
            return Ok(Err(KeyError::Malformed("identities of another version")));
        }
        let (mailbox, newest) = (MailboxId(take.u64()?), take.u32()?);
        if newest == 0 || newest > limits::GENERATIONS {
            return Ok(Err(KeyError::Malformed("number of identities")));
        }
        let mut all = Vec::new();
        for _ in 0..newest {
            match Identity::from_bytes(&Zeroizing::new(take.array()?)) {
                Ok(identity) => all.push(identity),
                Err(error) => return Ok(Err(error)),
            }
        }
        if !take.is_empty() {
            return Ok(Err(KeyError::Malformed("bytes after the identities")));
        }
        Ok(Ok(Self { mailbox, newest, all }))
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identities({}, {} generations)", self.mailbox, self.newest)
    }
}
