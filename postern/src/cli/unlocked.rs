//! A mailbox opened with one of its secrets, in this command's short life.

use spool::audit::{self, Entry, What};
use spool::edges::admin::{Reply, Request};
use spool::keys::Kind;
use spool::names::SlotId;
use spool::slots::{self, SlotsError, SlotsFile};

use super::House;
use crate::admin::{Session, confused};
use crate::failure::{Doing, Failure};

/// An open mailbox.
#[derive(Debug)]
pub struct Unlocked {
    /// Its address.
    pub address: String,
    /// Its slots, as the keeper has them.
    pub file: SlotsFile,
    /// What the secret opened.
    pub opened: slots::Unlocked,
}

/// A secret that opens nothing is the person's slip (exit code 2), the rest is not.
pub fn unlock(file: &SlotsFile, secret: &str) -> Result<slots::Unlocked, Failure> {
    file.unlock(secret).map_err(|error| match error {
        SlotsError::OpensNothing | SlotsError::Mistyped(_) => Failure::secret(error.to_string()),
        other => Failure::new(other.to_string()),
    })
}

impl Unlocked {
    /// Asks for a secret of `address` and opens it. A use of the words or the household's key is written into the
    /// audit log first.
    ///
    /// # Errors
    /// In words for the admin; exit code 2 when the secret opens nothing.
    pub fn open(house: &mut House, typed: &str, from_stdin: bool) -> Result<(Session, Self), Failure> {
        let address = house.address(typed)?;
        let mut session = house.session()?;
        let file = slots_of(&mut session, &address)?;
        let secret = house.secrets.unlock(&address, from_stdin)?;
        let named = |failure: Failure| Failure { words: format!("{address}: {}", failure.words), ..failure };
        let opened = unlock(&file, &secret).map_err(named)?;
        let mut unlocked = Self { address, file, opened };
        unlocked.note_use(&mut session)?;
        Ok((session, unlocked))
    }

    fn note_use(&mut self, session: &mut Session) -> Result<(), Failure> {
        let what = match self.opened.kind {
            Kind::Words => What::WordsUsed,
            Kind::Household => What::HouseholdKeyUsed,
            Kind::Device | Kind::Chosen => return Ok(()),
        };
        self.touch()?;
        self.replace(session, what, Some(self.opened.slot), String::new())
    }

    /// Makes a new revision of the same slots, for a line of the audit log to come with.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn touch(&mut self) -> Result<(), Failure> {
        let same = self.file.facts(&self.opened.identities).map_err(damaged)?;
        self.file.set_facts(&same).map_err(damaged)
    }

    /// Hands the changed slots in, with a line for the audit log, and takes them up again as the keeper has them.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn replace(
        &mut self,
        session: &mut Session,
        what: What,
        slot: Option<SlotId>,
        text: String,
    ) -> Result<(), Failure> {
        let names = self.file.facts(&self.opened.identities).map_err(damaged)?.devices;
        let lines = audit_of(session, &self.address)?;
        let last = audit::last(lines.iter().map(String::as_str));
        let entry = Entry { at: wire::date::now(), what, slot, text };
        let file = &self.file;
        let line = audit::Line::make(last.as_ref(), file.mailbox(), file.generation(), file.public(), &entry);
        let request = Request::SlotsReplace {
            address: self.address.clone(),
            slots: file.encode().map_err(damaged)?,
            device_names: names,
            audit: line.doing(|| "the audit log".to_owned())?.to_string(),
        };
        session.done(request)?;
        self.file = slots_of(session, &self.address)?;
        Ok(())
    }
}

/// A failure of the slots file's own.
#[must_use]
pub fn damaged(error: SlotsError) -> Failure {
    Failure::new(error.to_string())
}

/// The slots file of an address.
///
/// # Errors
/// In words for the admin.
pub fn slots_of(session: &mut Session, address: &str) -> Result<SlotsFile, Failure> {
    match session.ask(Request::Slots { address: address.to_owned() })? {
        Reply::Slots(bytes) => SlotsFile::decode(&bytes).map_err(damaged),
        _ => Err(confused()),
    }
}

/// The audit log's sealed lines.
///
/// # Errors
/// In words for the admin.
pub fn audit_of(session: &mut Session, address: &str) -> Result<Vec<String>, Failure> {
    session.list(Request::Audit { address: address.to_owned() }, |reply| match reply {
        Reply::Audit { some, more } => Some((some, more)),
        _ => None,
    })
}
