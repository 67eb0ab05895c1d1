//! The `imapd-owner` role: a zygote that clones one owner process for each mailbox that somebody is logged in to.
//!
//! # What it reads from hostile hands
//! Nothing. `login` sends packets of one fixed size; what rides along is passed on unread.
//! # What it holds
//! For each owner one socket; for a moment the descriptors of a login. No key: the memory file with the identities is
//! never mapped here, so that no owner inherits another's.
//! # What it can never do
//! Read mail, talk to the keeper, reach a network or a file. An owner sees one mailbox.
//! # RFCs
//! None; those of IMAP are its owners' (`session`).

mod house;
pub mod process;

use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use filter_sandbox::edge::Edge;
use filter_sandbox::filter::{Filter, SheetBudget};
use filter_sandbox::offspring::Zygote;
use filter_sandbox::{Role, confine};
use serde::{Deserialize, Serialize};
use spool::keys::Identities;
use spool::names::MailboxId;
use tokio::sync::watch;
use tracing::error;

use crate::answer::Answer;
use crate::facts::OpenFolders;
use crate::summaries::Cache;

/// The start packet. Two descriptors ride along: the edge from `login`, the edge to `imapd-zygote`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// For every owner.
    pub bounds: Bounds,
}

/// What the configuration says of messages that are appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Bytes of the largest one (RFC 7889), the same as SMTP's SIZE.
    pub largest: u32,
    /// Bytes of all that one mailbox's sessions append at once, at least the largest one.
    pub budget: u64,
}

/// The role.
#[must_use]
pub fn run() -> ExitCode {
    let mut confined = match confine(Role::OwnerZygote) {
        Ok(confined) => confined,
        Err(error) => return failed(&error),
    };
    let Some(zygote) = Zygote::of(&mut confined) else { return failed(&"this role is no zygote") };
    let (Start { bounds }, descriptors) = match wire::control::start(&confined.control) {
        Ok(start) => start,
        Err(error) => return failed(&error),
    };
    let Ok([logins, filter]) = <[_; 2]>::try_from(descriptors) else { return failed(&"the start packet lacks edges") };
    match house::House::new(zygote, bounds, confined.control, Edge::from(logins), Edge::from(filter)).serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(why: &dyn std::fmt::Display) -> ExitCode {
    error!(role = %Role::OwnerZygote, %why, "cannot go on");
    ExitCode::FAILURE
}

/// What all sessions of one mailbox share, in its owner process.
#[derive(Debug)]
pub struct Owner {
    /// Whose process this is.
    pub mailbox: MailboxId,
    /// What APPEND takes.
    pub bounds: Bounds,
    /// What the messages being appended may hold together.
    pub appending: SheetBudget,
    /// The folders that sessions have open.
    pub folders: RefCell<OpenFolders>,
    identities: RefCell<Arc<Identities>>,
    filter: RefCell<Option<Arc<Filter>>>,
    draining: watch::Receiver<bool>,
}

impl Owner {
    /// With the identities of the first login. Without a filter there is no APPEND and no SEARCH in texts.
    #[must_use]
    pub fn new(
        identities: Identities,
        bounds: Bounds,
        filter: Option<Arc<Filter>>,
        draining: watch::Receiver<bool>,
    ) -> Rc<Self> {
        let budget = usize::try_from(bounds.budget.max(bounds.largest.into())).unwrap_or(usize::MAX);
        Rc::new(Self {
            mailbox: identities.mailbox(),
            bounds,
            appending: SheetBudget::new(budget),
            folders: RefCell::default(),
            identities: RefCell::new(Arc::new(identities)),
            filter: RefCell::new(filter),
            draining,
        })
    }

    /// All that open this mailbox's letters.
    #[must_use]
    pub fn identities(&self) -> Arc<Identities> {
        self.identities.borrow().clone()
    }

    /// For one command.
    ///
    /// # Errors
    /// NO, and none in practice.
    pub fn cache(&self) -> Result<RefCell<Cache>, Answer> {
        let cache = Cache::new(&self.identities()).map(RefCell::new);
        cache.map_err(|_| Answer::no("UNAVAILABLE", "Letters cannot be opened now"))
    }

    /// A later login may bring a newer generation. `false` when what it brings are not this mailbox's: they do not hold
    /// the newest identity that is held here, or one held here is not theirs. Only who opened a slot of the mailbox has
    /// that; `login` may be taken over and have made up the rest.
    #[must_use]
    pub fn renew(&self, identities: Identities) -> bool {
        let mut held = self.identities.borrow_mut();
        let (older, newer) = match identities.generation() > held.generation() {
            true => (&**held, &identities),
            false => (&identities, &**held),
        };
        let same = newer.of(older.generation()).is_some_and(|known| known.public() == older.newest().public());
        if identities.mailbox() != self.mailbox || !same {
            return false;
        }
        if identities.generation() > held.generation() {
            *held = Arc::new(identities);
        }
        true
    }

    /// To examine and search letters.
    #[must_use]
    pub fn filter(&self) -> Option<Arc<Filter>> {
        self.filter.borrow().clone()
    }

    /// This owner began without one, and it is there now.
    pub fn set_filter(&self, filter: Option<Arc<Filter>>) {
        *self.filter.borrow_mut() = filter;
    }

    /// Whether the server is stopping.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Returns once the server is stopping.
    pub async fn draining(&self) {
        let mut draining = self.draining.clone();
        if draining.wait_for(|draining| *draining).await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use spool::keys::Identity;

    /// Identities of a mailbox from their secrets, newest first.
    fn of(mailbox: u64, secrets: &[&Identity]) -> Identities {
        let mut bytes = vec![1];
        bytes.extend(mailbox.to_le_bytes());
        bytes.extend((secrets.len() as u32).to_le_bytes());
        secrets.iter().for_each(|secret| bytes.extend(secret.to_bytes()));
        Identities::from_bytes(&bytes).unwrap()
    }

    #[test]
    fn identities_are_only_taken_from_who_has_those_before() {
        let [first, second, made_up] = [(); 3].map(|()| Identity::generate().unwrap());
        let bounds = Bounds { largest: 1, budget: 1 };
        let (_drain, draining) = watch::channel(false);
        let owner = Owner::new(of(7, &[&first]), bounds, None, draining);
        assert!(!owner.renew(of(7, &[&made_up])));
        assert!(!owner.renew(of(7, &[&first, &made_up])), "a generation on, and not from the one before");
        assert!(!owner.renew(of(8, &[&second, &first])));
        assert_eq!(owner.identities().generation(), 1);
        assert!(owner.renew(of(7, &[&second, &first])));
        assert_eq!(owner.identities().newest().public(), second.public());
        assert!(owner.renew(of(7, &[&first])), "a login that began before a rekey");
        assert_eq!(owner.identities().generation(), 2);
    }
}
