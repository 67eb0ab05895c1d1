//! How many connections at once: in all, and from one network, so that one stranger cannot shut the others out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::logins::network;

use crate::limits;

/// The places there are.
#[derive(Debug, Clone)]
pub(super) struct Doors {
    all: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    of_one: Shares,
    learning: Shares,
}

/// One connection's; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    _one_of_all: OwnedSemaphorePermit,
    _share: Share,
}

/// How much each network has of something.
#[derive(Debug, Clone)]
struct Shares {
    most: usize,
    by: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One of a network's; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    network: IpAddr,
    by: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Default for Doors {
    fn default() -> Self {
        let [all, strangers] = [limits::CONNECTIONS, limits::STRANGERS].map(|most| Arc::new(Semaphore::new(most)));
        let [of_one, learning] = [limits::CONNECTIONS_OF_ONE, limits::LEARNING_OF_ONE].map(Shares::new);
        Self { all, strangers, of_one, learning }
    }
}

impl Doors {
    /// A place for a client from this address, if there is one.
    pub(super) fn enter(&self, client: IpAddr) -> Option<Place> {
        let one = self.all.clone().try_acquire_owned().ok()?;
        Some(Place { _one_of_all: one, _share: self.of_one.take(client)? })
    }

    /// A place for who dials the link and has not said yet which home it is.
    pub(super) fn stranger(&self) -> Option<OwnedSemaphorePermit> {
        self.strangers.clone().try_acquire_owned().ok()
    }

    /// A client from this address may be asked whom it wants.
    pub(super) fn learn(&self, client: IpAddr) -> Option<Share> {
        self.learning.take(client)
    }
}

impl Shares {
    fn new(most: usize) -> Self {
        Self { most, by: Arc::default() }
    }

    fn take(&self, client: IpAddr) -> Option<Share> {
        let network = network(client);
        let mut by = self.by.lock().unwrap_or_else(PoisonError::into_inner);
        let held = by.entry(network).or_insert(0);
        if *held >= self.most {
            return None;
        }
        *held += 1;
        drop(by);
        Some(Share { network, by: self.by.clone() })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut by = self.by.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = by.get_mut(&self.network) {
            *held -= 1;
            if *held == 0 {
                by.remove(&self.network);
            }
        }
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
        assert!(doors.of_one.by.lock().unwrap().is_empty());
        assert!(doors.enter(here).is_some());
    }
}
