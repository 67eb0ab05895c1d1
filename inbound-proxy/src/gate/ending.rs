//! The end that its operator asks for: the gate takes nobody new in, and lets letters that are under way arrive. A sender that does not
//! hear of the end of its letter sends it again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use relay_link::inbound::Service;
use tokio::time::{Instant, sleep};

use super::Gate;
use crate::limits;

/// How many connections that letters come by are relayed.
#[derive(Debug, Default)]
pub(super) struct Letters(Arc<AtomicUsize>);

/// One of them, while it lives.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<AtomicUsize>);

impl Letters {
    /// A connection for a service is relayed from now on.
    pub(super) fn begin(&self, service: Service) -> Option<UnderWay> {
        matches!(service, Service::Mail | Service::Submission).then(|| {
            self.0.fetch_add(1, Ordering::Relaxed);
            UnderWay(self.0.clone())
        })
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
    let began = Instant::now();
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
        drop(both);
        assert!(letters.none());
    }
}
