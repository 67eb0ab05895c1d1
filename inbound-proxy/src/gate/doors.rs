//! How many connections at once: in all, and from one network, so that one stranger cannot shut the others out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use relay_link::shares::{Share, Shares, Stranger, Strangers};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use crate::limits;

/// The places there are.
#[derive(Debug, Clone)]
pub(super) struct Doors {
    all: Arc<Semaphore>,
    strangers: Strangers,
    of_one: Shares,
    of_neighbours: Shares,
    seats: Arc<Semaphore>,
    seats_of_one: Shares,
    seats_of_neighbours: Shares,
    given_back: Arc<Notify>,
}

/// One connection's; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    _one_of_all: OwnedSemaphorePermit,
    _shares: [Share; 2],
    seat: Option<Seat>,
}

/// A place under TLS; given back when dropped.
#[derive(Debug)]
struct Seat {
    _one_of_all: OwnedSemaphorePermit,
    _shares: [Share; 2],
    given_back: Arc<Notify>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.given_back.notify_one();
    }
}

/// Who waits for a seat looks again: the one given back before may have been of no use to whoever was told.
const AGAIN: Duration = Duration::from_millis(100);

impl Place {
    /// It may begin with TLS: whether there is a seat for it, for which it waits a while.
    pub(super) async fn sits_down(&mut self, doors: &Doors, client: IpAddr, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        loop {
            self.seat = doors.seat(client);
            if self.seat.is_some() {
                return true;
            }
            if timeout_at(until, timeout(AGAIN, doors.given_back.notified())).await.is_err() {
                return false;
            }
        }
    }

    /// Its home has taken it.
    pub(super) fn stands_up(&mut self) {
        self.seat = None;
    }
}

impl Default for Doors {
    fn default() -> Self {
        let [of_one, seats_of_one] = [limits::CONNECTIONS_OF_ONE, limits::SEATS_OF_ONE].map(Shares::new);
        let [of_neighbours, seats_of_neighbours] =
            [limits::CONNECTIONS_OF_NEIGHBOURS, limits::SEATS_OF_NEIGHBOURS].map(Shares::of_neighbourhoods);
        let [all, seats] = [limits::CONNECTIONS, limits::SEATS].map(|most| Arc::new(Semaphore::new(most)));
        Self {
            all,
            strangers: Strangers::default(),
            of_one,
            of_neighbours,
            seats,
            seats_of_one,
            seats_of_neighbours,
            given_back: Arc::default(),
        }
    }
}

impl Doors {
    /// A place for a client from this address, if there is one.
    pub(super) fn enter(&self, client: IpAddr) -> Option<Place> {
        if self.all.available_permits() <= limits::CONNECTIONS_KEPT && self.of_neighbours.held(client) > 0 {
            return None;
        }
        let one = self.all.clone().try_acquire_owned().ok()?;
        let shares = [self.of_one.take(client)?, self.of_neighbours.take(client)?];
        Some(Place { _one_of_all: one, _shares: shares, seat: None })
    }

    /// The place of who dials the link and has not said yet which home it is.
    pub(super) fn stranger(&self, from: IpAddr) -> Stranger {
        self.strangers.enter(from)
    }

    /// Whether nobody has a place.
    pub(super) fn is_empty(&self) -> bool {
        self.all.available_permits() == limits::CONNECTIONS
    }

    fn seat(&self, client: IpAddr) -> Option<Seat> {
        if self.seats.available_permits() <= limits::SEATS_KEPT && self.seats_of_neighbours.held(client) > 0 {
            return None;
        }
        let one = self.seats.clone().try_acquire_owned().ok()?;
        let shares = [self.seats_of_one.take(client)?, self.seats_of_neighbours.take(client)?];
        Some(Seat { _one_of_all: one, _shares: shares, given_back: self.given_back.clone() })
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

    /// A machine with a whole /48, or a /24, that says nothing shuts nobody out; nor do many such.
    #[test]
    fn connections_are_kept_for_who_has_none() {
        let doors = Doors::default();
        let v6 = |subnet: u16| IpAddr::from([0x2001, 0xdb8, 1, subnet, 0, 0, 0, 1]);
        let v4 = |it: u16| IpAddr::from([192, 0, (it >> 8) as u8, it as u8]);
        let from = |of: fn(u16) -> IpAddr, networks: u16| -> Vec<Place> {
            (0..networks)
                .flat_map(|it| std::iter::from_fn(move || Some(of(it))).take(70))
                .filter_map(|it| doors.enter(it))
                .collect()
        };
        let site = from(v6, 1_000);
        let of_one = from(v4, 256);
        assert_eq!((site.len(), of_one.len()), (limits::CONNECTIONS_OF_NEIGHBOURS, limits::CONNECTIONS_OF_NEIGHBOURS));
        drop(of_one);
        let (networks, most) = (50, limits::CONNECTIONS - limits::CONNECTIONS_KEPT);
        let many = from(v4, networks * 256);
        let before = (most - site.len()).div_ceil(limits::CONNECTIONS_OF_NEIGHBOURS);
        assert_eq!(site.len() + many.len(), most + usize::from(networks) - before, "of what is kept, one each");
        assert!(doors.enter(v4(1)).is_none() && doors.enter(v6(1)).is_none(), "who has some waits for his own");
        assert!(doors.enter([198, 51, 100, 1].into()).is_some());
        drop((site, many));
        assert!(doors.of_one.is_empty() && doors.of_neighbours.is_empty());
    }

    /// Whoever takes all seats that can be had, from every /64 of a /48 and from many networks, leaves some for others.
    #[tokio::test]
    async fn seats_are_kept_for_who_has_none() {
        let doors = Doors::default();
        let site = |subnet: u16| IpAddr::from([0x2001, 0xdb8, 1, subnet, 0, 0, 0, 1]);
        let of_a_site: Vec<Seat> = (0..u16::MAX)
            .flat_map(|subnet| std::iter::repeat_n(subnet, 40))
            .map_while(|it| doors.seat(site(it)))
            .collect();
        assert_eq!(of_a_site.len(), limits::SEATS_OF_NEIGHBOURS);
        let here = |network| IpAddr::from([192, 0, network, 1]);
        let many: Vec<Seat> = (0..100)
            .flat_map(|network| std::iter::from_fn(move || Some(network)).take(200))
            .filter_map(|it| doors.seat(here(it)))
            .collect();
        let left = limits::SEATS - of_a_site.len() - many.len();
        assert!(left >= limits::SEATS_KEPT - 100, "{left}");
        let mut late = doors.enter(here(1)).unwrap();
        let short = Duration::from_millis(200);
        assert!(!late.sits_down(&doors, here(1), short).await, "who has some waits for his own");
        let mut innocent = doors.enter([198, 51, 100, 1].into()).unwrap();
        assert!(innocent.sits_down(&doors, [198, 51, 100, 1].into(), short).await);
        drop((of_a_site, many));
        assert!(late.sits_down(&doors, here(1), limits::SEATED).await);
        late.stands_up();
        innocent.stands_up();
        assert_eq!((doors.seats.available_permits(), doors.seats_of_one.is_empty()), (limits::SEATS, true));
    }
}
