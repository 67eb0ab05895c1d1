//! What all sessions of one role share.

use std::sync::Arc;

use filter_sandbox::filter::{Filter, Scans};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use wire::control::NEW_EDGE;
use wire::logins::Apart;
use wire::tls::Tls;

use crate::authentication::Verifier;
use crate::budget::Budget;
use crate::limits;
use crate::peers::Keeper;
use crate::returning::Marks;
use crate::session::Rules;

/// An external scanner, and how much depends on it.
#[derive(Debug)]
pub struct SecondOpinion {
    /// Gives points.
    pub scans: Scans,
    /// Whether a letter that it fails on is told to come again (451), rather than filed without it.
    pub needed: bool,
}

/// One role's rules and handles.
#[derive(Debug)]
pub struct Desk {
    /// What sessions must keep to.
    pub rules: Arc<Rules>,
    /// The certificate in use.
    pub tls: Tls,
    /// Bytes of mail in flight.
    pub budget: Budget,
    /// The strangers that look at mail.
    pub filter: Arc<Filter>,
    /// `mx` only, when the admin switched it on: an external scanner.
    pub second_opinion: Option<SecondOpinion>,
    /// Of what aliases pass on.
    pub marks: Marks,
    /// `mx` only: whose mail it is.
    pub verifier: Option<Arc<Verifier>>,
    /// `submission` only: failed logins.
    pub logins: Apart,
    /// The keeper of the moment; replaced when it was restarted.
    pub keeper: watch::Sender<Option<Keeper>>,
    /// Set once, when the role is to end: since when.
    pub drain: watch::Sender<Option<Instant>>,
    /// Set once, when the role cannot serve any more and must be started again: why.
    pub broken: watch::Sender<Option<&'static str>>,
}

impl Desk {
    /// The keeper for a new session; waits a little while one is being restarted.
    pub async fn keeper(&self) -> Option<Keeper> {
        let mut current = self.keeper.subscribe();
        let living = async {
            loop {
                let keeper = current.borrow_and_update().clone();
                match keeper {
                    Some(keeper) if !is_closed(&keeper).await => return Some(keeper),
                    _ => current.changed().await.ok()?,
                }
            }
        };
        timeout(limits::KEEPER_WAIT, living).await.ok().flatten()
    }

    /// Whether the role is to end.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.drain.borrow().is_some()
    }

    /// Returns once the role is to end.
    pub async fn drained(&self) {
        let _ = self.drain.subscribe().wait_for(Option::is_some).await;
    }

    /// Returns once the time for what was under way is over, too.
    pub async fn ended(&self) {
        let since = self.drain.subscribe().wait_for(Option::is_some).await.ok().and_then(|since| *since);
        match since {
            Some(since) => tokio::time::sleep_until(since + limits::DRAIN).await,
            None => std::future::pending().await,
        }
    }
}

impl Desk {
    /// Returns, with the reason, once this role can only be started again: a listener listens no more, or the keeper has
    /// dropped it and nobody sends a new edge.
    pub async fn cannot_go_on(&self) -> &'static str {
        let mut broken = self.broken.subscribe();
        tokio::select! {
            why = broken.wait_for(Option::is_some) => match why.ok().and_then(|why| *why) {
                Some(why) => why,
                None => std::future::pending().await,
            },
            () = self.keeper_lost() => "the keeper has closed its edge, and there is no new one",
        }
    }

    async fn keeper_lost(&self) {
        let mut current = self.keeper.subscribe();
        loop {
            let keeper = current.borrow_and_update().clone();
            if let Some(keeper) = keeper {
                tokio::select! {
                    () = keeper.closed() => {}
                    Ok(()) = current.changed() => continue,
                }
            }
            if timeout(NEW_EDGE, current.changed()).await.is_err() {
                return;
            }
        }
    }
}

async fn is_closed(keeper: &Keeper) -> bool {
    tokio::select! {
        biased;
        () = keeper.closed() => true,
        () = std::future::ready(()) => false,
    }
}
