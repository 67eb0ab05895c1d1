//! How much each network has of something, so that one stranger cannot shut the others out.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use wire::logins::{neighbourhood, network};

use crate::limits;

/// What one host may have of IPv6, at the most: a /48. Of IPv4 an address.
#[must_use]
pub fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 80 << 80).into(),
    }
}

/// By network: an IPv4 address, an IPv6 /64; or by [`neighbourhood`].
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

    /// So many for each [`neighbourhood`].
    #[must_use]
    pub fn of_neighbourhoods(most: usize) -> Self {
        Self { most, key: neighbourhood, by: Arc::default() }
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

/// Places for those who dial a proxy's port for homes and have not said whose they are. Nobody is turned away: a home needs
/// its place for some round trips, so when there is none, who has waited longest gives up his, of the [`site`] that has most.
#[derive(Debug, Clone, Default)]
pub struct Strangers(Arc<Mutex<Crowd>>);

#[derive(Debug, Default)]
struct Crowd {
    /// By site, the oldest first.
    by: HashMap<IpAddr, VecDeque<(u64, oneshot::Sender<()>)>>,
    count: usize,
    next: u64,
}

/// One of them; given back when dropped.
#[derive(Debug)]
pub struct Stranger {
    site: IpAddr,
    number: u64,
    asked_to_leave: oneshot::Receiver<()>,
    crowd: Arc<Mutex<Crowd>>,
}

impl Strangers {
    /// A place for somebody from this address.
    #[must_use]
    pub fn enter(&self, from: IpAddr) -> Stranger {
        let site = site(from);
        let (leave, asked_to_leave) = oneshot::channel();
        let mut crowd = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if crowd.of(site) >= limits::STRANGERS_OF_ONE {
            crowd.make_room(site);
        } else if crowd.count >= limits::STRANGERS {
            let most = crowd.by.iter().max_by_key(|(_, of_one)| of_one.len()).map(|(site, _)| *site);
            most.into_iter().for_each(|site| crowd.make_room(site));
        }
        let number = crowd.next;
        crowd.next += 1;
        crowd.count += 1;
        crowd.by.entry(site).or_default().push_back((number, leave));
        drop(crowd);
        Stranger { site, number, asked_to_leave, crowd: self.0.clone() }
    }
}

impl Crowd {
    fn of(&self, site: IpAddr) -> usize {
        self.by.get(&site).map_or(0, VecDeque::len)
    }

    /// Dropped, what is taken out tells its stranger.
    fn make_room(&mut self, site: IpAddr) {
        if self.by.get_mut(&site).and_then(VecDeque::pop_front).is_some() {
            self.count -= 1;
        }
    }
}

impl Stranger {
    /// Does it while there is a place; `None`: another needed it.
    pub async fn unless_needed<T>(&mut self, doing: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            _ = &mut self.asked_to_leave => None,
            done = doing => Some(done),
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut crowd = self.crowd.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(of_one) = crowd.by.get_mut(&self.site) else { return };
        let before = of_one.len();
        of_one.retain(|(number, _)| *number != self.number);
        let left = of_one.len();
        crowd.count -= before - left;
        if left == 0 {
            crowd.by.remove(&self.site);
        }
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

    #[test]
    fn what_one_tenant_may_have_is_one() {
        let shares = Shares::of_neighbourhoods(2);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for [one, other, third, beyond] in [
            ["192.0.2.1", "192.0.2.255", "::ffff:192.0.2.7", "192.0.3.1"],
            ["2001:db8:1::1", "2001:db8:1:ffff::", "2001:db8:1:8000::5", "2001:db8:2::1"],
        ] {
            let held = [one, other].map(|it| shares.take(address(it)).unwrap());
            assert!(shares.take(address(third)).is_none());
            assert_eq!((shares.held(address(third)), shares.held(address(beyond))), (2, 0));
            assert!(shares.take(address(beyond)).is_some());
            drop(held);
        }
        assert!(shares.is_empty());
    }

    /// Who dials a proxy's port and says nothing keeps no home out, from however many addresses of however many networks.
    #[tokio::test]
    async fn who_says_nothing_gives_up_his_place() {
        let strangers = Strangers::default();
        let many = |of: fn(u16) -> IpAddr, count: u16| (0..count).map(|it| strangers.enter(of(it))).collect::<Vec<_>>();
        let one_host = |it: u16| IpAddr::from([0x2001, 0xdb8, 1, it, 0, 0, 0, 1]);
        let mut silent = many(one_host, 2_000);
        assert_eq!(strangers.0.lock().unwrap().count, limits::STRANGERS_OF_ONE, "a /48 is one");
        let four = |it: u16| IpAddr::from([192, 0, 2, (it % 4) as u8]);
        silent.extend(many(four, 4_000));
        assert_eq!(strangers.0.lock().unwrap().count, limits::STRANGERS);
        // A home dials, and the silent dial on.
        let mut home = strangers.enter([198, 51, 100, 1].into());
        silent.extend(many(four, 4_000));
        assert_eq!(home.unless_needed(std::future::ready("greeted")).await, Some("greeted"));
        assert_eq!(silent[0].unless_needed(std::future::pending::<()>()).await, None, "and hears of it");
        let mut newest = silent.pop().unwrap();
        assert_eq!(newest.unless_needed(std::future::ready(())).await, Some(()));
        drop((silent, home, newest));
        let crowd = strangers.0.lock().unwrap();
        assert_eq!((crowd.count, crowd.by.len()), (0, 0));
    }
}
