//! How many connections there are, in all and from each neighbour, so that one stranger cannot keep a family out. What came
//! through a proxy is counted by itself: its address is that proxy's word.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wire::logins::{neighbourhood, network};

use crate::limits;

#[derive(Debug, Default, Clone, Copy)]
struct Held {
    all: usize,
    strangers: usize,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    handed: usize,
    held: HashMap<Neighbour, Held>,
    /// Strangers, by what one tenant may have at the most.
    tenants: HashMap<Neighbour, usize>,
}

/// A household, and whether a proxy says that it is this one.
type Neighbour = (IpAddr, bool);

/// Counts connections.
#[derive(Debug, Clone, Default)]
pub struct Doors(Arc<Mutex<Counts>>);

/// One counted connection; dropping it gives its place back.
#[derive(Debug)]
pub struct Place {
    doors: Doors,
    neighbour: Neighbour,
    tenant: Neighbour,
    stranger: bool,
}

impl Doors {
    /// A place for a new connection, or `None` when there is no room for it; `handed`: a proxy says that it is from there.
    #[must_use]
    pub fn enter(&self, address: IpAddr, handed: bool) -> Option<Place> {
        let (neighbour, tenant) = ((network(address), handed), (neighbourhood(address), handed));
        let mut counts = self.counts();
        let held = counts.held.get(&neighbour).copied().unwrap_or_default();
        let tenants = counts.tenants.get(&tenant).copied().unwrap_or(0);
        if counts.all >= limits::CONNECTIONS
            || (handed && counts.handed >= limits::CONNECTIONS_HANDED)
            || held.all >= limits::CONNECTIONS_PER_ADDRESS
            || held.strangers >= limits::STRANGERS_PER_ADDRESS
            || tenants >= limits::STRANGERS_OF_NEIGHBOURS
        {
            return None;
        }
        counts.all += 1;
        counts.handed += usize::from(handed);
        counts.held.insert(neighbour, Held { all: held.all + 1, strangers: held.strangers + 1 });
        counts.tenants.insert(tenant, tenants + 1);
        Some(Place { doors: self.clone(), neighbour, tenant, stranger: true })
    }

    /// Connections that have a place.
    #[must_use]
    pub fn open(&self) -> usize {
        self.counts().all
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// It has logged in.
    pub fn known(&mut self) {
        if !std::mem::take(&mut self.stranger) {
            return;
        }
        let mut counts = self.doors.counts();
        if let Some(held) = counts.held.get_mut(&self.neighbour) {
            held.strangers = held.strangers.saturating_sub(1);
        }
        if let Some(left) = counts.tenants.get(&self.tenant).map(|held| held.saturating_sub(1)) {
            match left {
                0 => counts.tenants.remove(&self.tenant),
                left => counts.tenants.insert(self.tenant, left),
            };
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.known();
        let mut counts = self.doors.counts();
        counts.all = counts.all.saturating_sub(1);
        counts.handed = counts.handed.saturating_sub(usize::from(self.neighbour.1));
        if let Some(held) = counts.held.get_mut(&self.neighbour) {
            held.all = held.all.saturating_sub(1);
            if held.all == 0 {
                counts.held.remove(&self.neighbour);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_of_one_address_are_few_and_owners_more() {
        let doors = Doors::default();
        let home: IpAddr = "192.0.2.1".parse().unwrap();
        let mut places: Vec<Place> =
            (0..limits::STRANGERS_PER_ADDRESS).map(|_| doors.enter(home, false).unwrap()).collect();
        assert!(doors.enter(home, false).is_none());
        assert!(doors.enter("192.0.2.2".parse().unwrap(), false).is_some(), "another address is not concerned");
        places.iter_mut().for_each(Place::known);
        assert!(doors.enter(home, false).is_some());
        drop(places);
        assert_eq!(doors.open(), 0);
    }

    /// It says that its connections come from the family's own telephone, or from everywhere.
    #[test]
    fn a_proxy_that_lies_keeps_nobody_out() {
        let doors = Doors::default();
        let phone: IpAddr = "192.168.1.7".parse().unwrap();
        let lies: Vec<_> = std::iter::from_fn(|| doors.enter(phone, true)).take(limits::CONNECTIONS).collect();
        assert_eq!(lies.len(), limits::STRANGERS_PER_ADDRESS);
        assert!(doors.enter(phone, false).is_some(), "the telephone itself comes in");
        drop(lies);
        let address = |n: usize| IpAddr::from([10, (n / 250) as u8, (n % 250) as u8, 1]);
        let lies: Vec<_> = (0..limits::CONNECTIONS).map_while(|n| doors.enter(address(n), true)).collect();
        assert_eq!(lies.len(), limits::CONNECTIONS_HANDED);
        assert!(doors.enter(address(0), false).is_some());
        drop(lies);
        assert_eq!((doors.open(), doors.counts().handed), (0, 0));
    }

    /// A rented /48 has as many /64s as somebody likes to use.
    #[test]
    fn one_tenant_keeps_no_phone_away() {
        let doors = Doors::default();
        let tenant = |n: u16| IpAddr::from([0x2001, 0xdb8, 1, n, 0, 0, 0, 1]);
        let mut held: Vec<Place> = (0..2_000).filter_map(|n| doors.enter(tenant(n), true)).collect();
        assert_eq!(held.len(), limits::STRANGERS_OF_NEIGHBOURS);
        assert!(doors.enter("192.0.2.1".parse().unwrap(), true).is_some(), "a phone elsewhere");
        held[0].known();
        assert!(doors.enter(tenant(3_000), true).is_some(), "who has logged in is no stranger");
        drop(held);
        let counts = doors.counts();
        assert!(counts.tenants.is_empty() && counts.held.is_empty());
    }

    #[test]
    fn a_subscriber_has_one_count() {
        let doors = Doors::default();
        let places: Vec<_> = (0..limits::STRANGERS_PER_ADDRESS)
            .map(|n| doors.enter(format!("2001:db8::{n:x}").parse().unwrap(), false))
            .collect();
        assert!(places.iter().all(Option::is_some));
        assert!(doors.enter("2001:db8::ffff".parse().unwrap(), false).is_none());
        assert!(doors.enter("2001:db8:0:1::1".parse().unwrap(), false).is_some());
    }
}
