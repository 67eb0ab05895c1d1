//! How much each network has of something, so that one stranger cannot shut the others out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::logins::network;

use crate::limits;

/// What one host may have of IPv6, at the most: a /48. Of IPv4 an address.
#[must_use]
pub fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 80 << 80).into(),
    }
}

/// By network: an IPv4 address, an IPv6 /64 or /48.
#[derive(Debug, Clone)]
pub struct Shares {
    most: usize,
    key: fn(IpAddr) -> IpAddr,
    by: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One of a network's; given back when dropped.
#[derive(Debug)]
pub struct Share {
    network: IpAddr,
    by: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Shares {
    /// So many for each.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, key: network, by: Arc::default() }
    }

    /// So many for each [`site`].
    #[must_use]
    pub fn of_sites(most: usize) -> Self {
        Self { most, key: site, by: Arc::default() }
    }

    /// How many this client's network has.
    #[must_use]
    pub fn held(&self, client: IpAddr) -> usize {
        self.by.lock().unwrap_or_else(PoisonError::into_inner).get(&(self.key)(client)).copied().unwrap_or(0)
    }

    /// One for this client, if its network has not all of its own.
    #[must_use]
    pub fn take(&self, client: IpAddr) -> Option<Share> {
        let network = (self.key)(client);
        let mut by = self.by.lock().unwrap_or_else(PoisonError::into_inner);
        let held = by.entry(network).or_insert(0);
        if *held >= self.most {
            return None;
        }
        *held += 1;
        drop(by);
        Some(Share { network, by: self.by.clone() })
    }

    /// Whether nobody has any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
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

/// Places for those who dial a proxy's port for homes and have not said whose they are.
#[derive(Debug, Clone)]
pub struct Strangers {
    all: Arc<Semaphore>,
    of_one: Shares,
}

/// One of them; given back when dropped.
#[derive(Debug)]
pub struct Stranger {
    _one_of_all: OwnedSemaphorePermit,
    _share: Share,
}

impl Default for Strangers {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(limits::STRANGERS)), of_one: Shares::new(limits::STRANGERS_OF_ONE) }
    }
}

impl Strangers {
    /// A place for somebody from this address, if there is one.
    #[must_use]
    pub fn enter(&self, from: IpAddr) -> Option<Stranger> {
        let one = self.all.clone().try_acquire_owned().ok()?;
        Some(Stranger { _one_of_all: one, _share: self.of_one.take(from)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_has_its_share_and_gives_it_back() {
        let shares = Shares::new(3);
        let here = IpAddr::from([192, 0, 2, 1]);
        let held: Vec<Share> = (0..3).map(|_| shares.take(here).unwrap()).collect();
        assert!(shares.take(here).is_none());
        assert!(shares.take(IpAddr::from([192, 0, 2, 2])).is_some(), "others have theirs");
        drop(held);
        assert!(shares.is_empty());
        assert!(shares.take(here).is_some());
    }

    /// Who dials a proxy's port and says nothing keeps no home out.
    #[test]
    fn strangers_of_one_network_leave_room() {
        let strangers = Strangers::default();
        let silent: Vec<_> = std::iter::from_fn(|| strangers.enter([192, 0, 2, 1].into())).take(2_000).collect();
        assert_eq!(silent.len(), limits::STRANGERS_OF_ONE);
        assert!(strangers.enter([192, 0, 2, 2].into()).is_some());
        let all: Vec<_> = (0..u8::MAX)
            .flat_map(|last| std::iter::from_fn(move || Some(last)).take(10))
            .map_while(|last| strangers.enter([198, 51, 100, last].into()))
            .collect();
        assert_eq!(silent.len() + all.len(), limits::STRANGERS);
    }
}
