//! The end that its operator asks for: the gate takes nobody new in, and lets letters that are under way arrive. A sender that does not
//! hear of the end of its letter sends it again. Who waits for a home is told at once that it is away, under TLS where it has begun with
//! that: after a close there real senders go on in clear (measured).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use relay_link::inbound::Service;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::Gate;
use crate::limits;
use crate::session::Phase;

/// Whether, and since when, the gate ends.
#[derive(Debug, Default)]
pub(super) struct Ending(watch::Sender<Option<Instant>>);

impl Ending {
    /// It ends from now on.
    pub(super) fn begin(&self) -> Instant {
        let now = Instant::now();
        self.0.send_replace(Some(now));
        now
    }

    /// What comes of it, unless the gate ends before.
    pub(super) async fn unless_begun<T>(&self, doing: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            _ = self.begun() => None,
            done = doing => Some(done),
        }
    }

    /// Returns when a session that is silent is to end: at once in clear, while one under TLS gets time for what it has to hear.
    pub(super) async fn no_longer_hears(&self, phase: Phase) {
        let began = self.begun().await;
        if phase != Phase::Clear {
            sleep_until(began + limits::DRAIN_TOLD).await;
        }
    }

    async fn begun(&self) -> Instant {
        let mut told = self.0.subscribe();
        let began = told.wait_for(Option::is_some).await.ok().and_then(|began| *began);
        match began {
            Some(began) => began,
            None => std::future::pending().await,
        }
    }
}

/// How many connections there are that letters come by: such as are relayed, and such as are about to be, or to hear that they cannot.
#[derive(Debug, Default)]
pub(super) struct Letters(Arc<AtomicUsize>);

/// One of them, while it lives.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<AtomicUsize>);

impl Letters {
    /// A connection for a service is relayed from now on.
    pub(super) fn begin(&self, service: Service) -> Option<UnderWay> {
        matches!(service, Service::Mail | Service::Submission).then(|| self.on_the_way())
    }

    /// A sender begins with TLS.
    pub(super) fn on_the_way(&self) -> UnderWay {
        self.0.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.0.clone())
    }

    fn none(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns once the gate can close: no letter is under way, and the others have had a moment.
pub(super) async fn drained(gate: &Gate) {
    let began = gate.ending.begin();
    while began.elapsed() < limits::DRAIN {
        let others = began.elapsed() < limits::DRAIN_OTHERS && !gate.doors.is_empty();
        if gate.letters.none() && !others {
            return;
        }
        sleep(limits::DRAIN_LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_come_by_two_ports() {
        let letters = Letters::default();
        assert!(letters.begin(Service::Imap).is_none() && letters.begin(Service::Web).is_none() && letters.none());
        let both = [Service::Mail, Service::Submission].map(|service| letters.begin(service).unwrap());
        assert!(!letters.none());
        let coming = letters.on_the_way();
        drop(both);
        assert!(!letters.none());
        drop(coming);
        assert!(letters.none());
    }
}
