//! A mailbox opened with one of its secrets, in this command's short life.

use spool::audit::{self, Entry, What};
use spool::edges::admin::{Reply, Request};
use spool::keys::{Identities, Kind};
use spool::names::SlotId;
use spool::slots::{self, SlotsError, SlotsFile};

use super::House;
use crate::admin::{Session, confused};
use crate::failure::{Doing, Failure};

/// Times a change is made anew when others come first.
const TRIES: u32 = 5;

/// What the audit log says of a change: what, of which slot, and a text.
pub type Note = (What, Option<SlotId>, String);

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
        unlocked.note_use(&mut session).map_err(unnoted)?;
        Ok((session, unlocked))
    }

    fn note_use(&mut self, session: &mut Session) -> Result<(), Failure> {
        let what = match self.opened.kind {
            Kind::Words => What::WordsUsed,
            Kind::Household => What::HouseholdKeyUsed,
            Kind::Device | Kind::Chosen => return Ok(()),
        };
        let slot = self.opened.slot;
        self.change(session, |file, identities| {
            touch(file, identities)?;
            Ok(((), (what, Some(slot), String::new())))
        })
    }

    /// Makes a change and hands it in, with a line for the audit log, and takes the slots up again as the keeper has
    /// them. When another command's change came first, this one is made anew on top of it, a few times.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn change<T>(
        &mut self,
        session: &mut Session,
        make: impl Fn(&mut SlotsFile, &mut Identities) -> Result<(T, Note), Failure>,
    ) -> Result<T, Failure> {
        for _ in 0..TRIES {
            let mut file = self.file.clone();
            let doing = || "these keys".to_owned();
            let mut identities = Identities::from_bytes(&self.opened.identities.to_bytes()).doing(doing)?;
            let (made, note) = make(&mut file, &mut identities)?;
            let done = self.replace(session, &file, &identities, note)?;
            self.file = slots_of(session, &self.address)?;
            if done {
                self.opened.identities = identities;
                return Ok(made);
            }
        }
        Err(Failure::new(format!("{} is being changed by others all the time; try again", self.address)))
    }

    /// Whether it came in time.
    fn replace(
        &self,
        session: &mut Session,
        file: &SlotsFile,
        identities: &Identities,
        (what, slot, text): Note,
    ) -> Result<bool, Failure> {
        let names = file.facts(identities).map_err(damaged)?.devices;
        let lines = audit_of(session, &self.address)?;
        let last = audit::last(lines.iter().map(String::as_str));
        let entry = Entry { at: wire::date::now(), what, slot, text };
        let line = audit::Line::make(last.as_ref(), file.mailbox(), file.generation(), file.public(), &entry);
        let request = Request::SlotsReplace {
            address: self.address.clone(),
            slots: file.encode().map_err(damaged)?,
            device_names: names,
            audit: line.doing(|| "the audit log".to_owned())?.to_string(),
        };
        match session.ask(request)? {
            Reply::Done => Ok(true),
            Reply::Outdated => Ok(false),
            _ => Err(confused()),
        }
    }
}

/// The way in that is open all the same.
fn unnoted(failure: Failure) -> Failure {
    let words =
        "the use of recovery words, or of the household key, has to be noted first. A device password needs no note";
    Failure { words: format!("{}. {words}", failure.words), ..failure }
}

/// Makes a new revision of the same slots, for a line of the audit log to come with.
///
/// # Errors
/// In words for the admin.
pub fn touch(file: &mut SlotsFile, identities: &Identities) -> Result<(), Failure> {
    let same = file.facts(identities).map_err(damaged)?;
    file.set_facts(&same).map_err(damaged)
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
