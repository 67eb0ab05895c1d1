//! Listens: how many connections at once, in all and from one address. What came through a proxy is counted by itself: its
//! address is that proxy's word.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;
use wire::handed::{Arrived, Door};
use wire::logins::{neighbourhood, network};

use crate::connection::Connection;
use crate::desk::Desk;
use crate::driver::{self, Arrival};
use crate::limits;
use crate::reply::closing;

/// The connections of one role.
#[derive(Debug, Clone)]
pub struct Doors {
    all: Arc<Semaphore>,
    handed: Arc<Semaphore>,
    by: Arc<Mutex<Counts>>,
}

/// Whose, and whether a proxy says it.
type Whose = (IpAddr, bool);

#[derive(Debug, Default)]
struct Counts {
    addresses: HashMap<Whose, usize>,
    neighbourhoods: HashMap<Whose, usize>,
}

impl Counts {
    /// One more of both, if there is room; `kept`: only for who has none.
    fn take(&mut self, [address, neighbourhood]: [Whose; 2], kept: bool) -> bool {
        let of = |counts: &HashMap<Whose, usize>, whose| counts.get(whose).copied().unwrap_or(0);
        let neighbours = of(&self.neighbourhoods, &neighbourhood);
        let most = if kept { 1 } else { limits::CONNECTIONS_OF_NEIGHBOURS };
        if neighbours >= most || of(&self.addresses, &address) >= limits::CONNECTIONS_PER_ADDRESS {
            return false;
        }
        *self.addresses.entry(address).or_insert(0) += 1;
        *self.neighbourhoods.entry(neighbourhood).or_insert(0) += 1;
        true
    }

    fn give_back(&mut self, [address, neighbourhood]: [Whose; 2]) {
        for (counts, whose) in [(&mut self.addresses, address), (&mut self.neighbourhoods, neighbourhood)] {
            if let Some(held) = counts.get_mut(&whose) {
                *held -= 1;
                if *held == 0 {
                    counts.remove(&whose);
                }
            }
        }
    }
}

impl Default for Doors {
    fn default() -> Self {
        let [all, handed] =
            [limits::CONNECTIONS, limits::CONNECTIONS_HANDED].map(|most| Arc::new(Semaphore::new(most)));
        Self { all, handed, by: Arc::default() }
    }
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub struct Place {
    _one_of_all: OwnedSemaphorePermit,
    _one_of_handed: Option<OwnedSemaphorePermit>,
    whose: [Whose; 2],
    by: Arc<Mutex<Counts>>,
}

impl Doors {
    /// A place for a connection from this address, if there is one; `handed`: a proxy says that it is from there.
    #[must_use]
    pub fn enter(&self, client: IpAddr, handed: bool) -> Option<Place> {
        let one = self.all.clone().try_acquire_owned().ok()?;
        let one_of_handed = match handed {
            true => Some(self.handed.clone().try_acquire_owned().ok()?),
            false => None,
        };
        let rest = if handed { &self.handed } else { &self.all }.available_permits();
        let whose = [(network(client), handed), (neighbourhood(client), handed)];
        let mut by = self.by.lock().unwrap_or_else(PoisonError::into_inner);
        by.take(whose, rest < limits::CONNECTIONS_KEPT).then(|| Place {
            _one_of_all: one,
            _one_of_handed: one_of_handed,
            whose,
            by: self.by.clone(),
        })
    }

    /// Returns once every connection has ended.
    pub async fn empty(&self) {
        let _ = self.all.acquire_many(u32::try_from(limits::CONNECTIONS).unwrap_or(u32::MAX)).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.by.lock().unwrap_or_else(PoisonError::into_inner).give_back(self.whose);
    }
}

/// Takes an inherited listening socket over.
///
/// # Errors
/// The kernel's; needs a tokio runtime.
pub fn listener(fd: OwnedFd) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::from(fd);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Accepts and serves until the role drains, or the listener does not listen any more.
pub async fn listen(desk: Arc<Desk>, listener: TcpListener, doors: Doors, implicit_tls: bool) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = desk.drained() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let client = peer.ip().to_canonical();
                admit(&desk, Arrived::Here(stream), Arrival { client, implicit_tls, handed: None }, &doors);
            }
            // It listens no more, which only this role can have done to it: the next one gets it listening again.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                desk.broken.send_replace(Some("a listener was shut down"));
                return;
            }
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                // Out of descriptors: those in use must end first.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Takes what `link` hands on, until it ends or the role drains.
pub async fn take(desk: Arc<Desk>, door: Door, doors: Doors) {
    loop {
        let next = tokio::select! {
            biased;
            () = desk.drained() => return,
            next = door.next() => next,
        };
        let Some((handed, stream)) = next else { return };
        let client = handed.client.ip().to_canonical();
        let arrival = Arrival { client, implicit_tls: true, handed: Some((handed, door.clone())) };
        admit(&desk, Arrived::Handed(stream), arrival, &doors);
    }
}

fn admit(desk: &Arc<Desk>, stream: Arrived, arrival: Arrival, doors: &Doors) {
    let desk = desk.clone();
    match doors.enter(arrival.client, arrival.handed.is_some()) {
        Some(place) => {
            tokio::spawn(async move {
                driver::serve(desk, stream, arrival).await;
                drop(place);
            });
        }
        None if arrival.handed.is_some() => {
            // Its proxy has not let its sender go: it says that there is no place.
            tokio::spawn(async move {
                if let Some((handed, door)) = &arrival.handed {
                    door.answer(handed.number, false).await;
                }
            });
        }
        None if arrival.implicit_tls => {}
        None => {
            // Said to a socket whose buffer is empty: it does not wait.
            tokio::spawn(async move {
                if let Ok(mut connection) = Connection::new(stream) {
                    connection
                        .reply(&closing("4.7.0", format!("{} has too many connections, try again", desk.rules.host)));
                    let _ = tokio::time::timeout(Duration::from_secs(1), connection.close()).await;
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_its_share() {
        let doors = Doors::default();
        let here = IpAddr::from([192, 0, 2, 1]);
        let mut held: Vec<Place> =
            (0..limits::CONNECTIONS_PER_ADDRESS).map(|_| doors.enter(here, false).unwrap()).collect();
        assert!(doors.enter(here, false).is_none());
        assert!(doors.enter(IpAddr::from([192, 0, 2, 2]), false).is_some());
        held.pop();
        assert!(doors.enter(here, false).is_some());
    }

    /// It says that its connections come from the family's own telephone, or from everywhere.
    #[test]
    fn a_proxy_that_lies_keeps_nobody_out() {
        let doors = Doors::default();
        let phone = IpAddr::from([192, 168, 1, 7]);
        let lies: Vec<_> = (0..limits::CONNECTIONS_PER_ADDRESS).map(|_| doors.enter(phone, true).unwrap()).collect();
        assert!(doors.enter(phone, true).is_none());
        assert!(doors.enter(phone, false).is_some(), "the telephone itself comes in");
        drop(lies);
        let lies: Vec<_> = (0..limits::CONNECTIONS).filter_map(|n| doors.enter(everywhere(n), true)).collect();
        assert_eq!(lies.len(), limits::CONNECTIONS_HANDED);
        assert!(doors.enter(everywhere(0), false).is_some());
        drop(lies);
        assert!(nobody_has_any(&doors));
    }

    /// A network of one's own for each: a /24.
    fn everywhere(n: usize) -> IpAddr {
        IpAddr::from([10, (n / 250) as u8, (n % 250) as u8, 1])
    }

    fn nobody_has_any(doors: &Doors) -> bool {
        let by = doors.by.lock().unwrap();
        by.addresses.is_empty() && by.neighbourhoods.is_empty()
    }

    /// A rented /48 has as many /64s as somebody likes to use.
    #[test]
    fn one_tenant_keeps_nobody_out() {
        for handed in [false, true] {
            let doors = Doors::default();
            let tenant = |site: u16, n: u16| IpAddr::from([0x2001, 0xdb8, site, n, 0, 0, 0, 1]);
            let of_one: Vec<_> = (0..1_000).filter_map(|n| doors.enter(tenant(1, n), handed)).collect();
            assert_eq!(of_one.len(), limits::CONNECTIONS_OF_NEIGHBOURS);
            let others: Vec<_> = (2..20).flat_map(|site| (0..200).map(move |n| tenant(site, n))).collect();
            let held: Vec<_> = others.iter().filter_map(|it| doors.enter(*it, handed)).collect();
            let most = if handed { limits::CONNECTIONS_HANDED } else { limits::CONNECTIONS };
            assert!(
                of_one.len() + held.len() <= most - limits::CONNECTIONS_KEPT + 18,
                "one each of the last: {}",
                held.len()
            );
            assert!(doors.enter(tenant(1, 1), handed).is_none());
            assert!(doors.enter(IpAddr::from([192, 0, 2, 1]), handed).is_some(), "who has none comes in");
            drop((of_one, held));
            assert!(nobody_has_any(&doors));
        }
    }

    #[test]
    fn all_have_theirs() {
        let doors = Doors::default();
        let held: Vec<Place> = (0..limits::CONNECTIONS).map(|n| doors.enter(everywhere(n), false).unwrap()).collect();
        assert!(doors.enter(IpAddr::from([192, 0, 2, 1]), false).is_none());
        drop(held);
        assert!(nobody_has_any(&doors));
    }
}
