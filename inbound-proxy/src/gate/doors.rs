//! How many connections at once: in all, and from one network, so that one stranger cannot shut the others out.

use std::net::IpAddr;
use std::sync::Arc;

use relay_link::shares::{Share, Shares, Stranger, Strangers};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits;

/// The places there are.
#[derive(Debug, Clone)]
pub(super) struct Doors {
    all: Arc<Semaphore>,
    strangers: Strangers,
    of_one: Shares,
    learning: Shares,
}

/// One connection's; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    _one_of_all: OwnedSemaphorePermit,
    _share: Share,
}

impl Default for Doors {
    fn default() -> Self {
        let [of_one, learning] = [limits::CONNECTIONS_OF_ONE, limits::LEARNING_OF_ONE].map(Shares::new);
        let all = Arc::new(Semaphore::new(limits::CONNECTIONS));
        Self { all, strangers: Strangers::default(), of_one, learning }
    }
}

impl Doors {
    /// A place for a client from this address, if there is one.
    pub(super) fn enter(&self, client: IpAddr) -> Option<Place> {
        let one = self.all.clone().try_acquire_owned().ok()?;
        Some(Place { _one_of_all: one, _share: self.of_one.take(client)? })
    }

    /// A place for who dials the link and has not said yet which home it is.
    pub(super) fn stranger(&self, from: IpAddr) -> Option<Stranger> {
        self.strangers.enter(from)
    }

    /// A client from this address may be asked whom it wants.
    pub(super) fn learn(&self, client: IpAddr) -> Option<Share> {
        self.learning.take(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_has_its_share_and_gives_it_back() {
        let doors = Doors::default();
        let here = IpAddr::from([192, 0, 2, 1]);
        let held: Vec<Place> = (0..limits::CONNECTIONS_OF_ONE).map(|_| doors.enter(here).unwrap()).collect();
        assert!(doors.enter(here).is_none());
        assert!(doors.enter(IpAddr::from([192, 0, 2, 2])).is_some(), "others come in");
        drop(held);
        assert!(doors.of_one.is_empty());
        assert!(doors.enter(here).is_some());
    }
}
