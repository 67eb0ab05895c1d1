//! Which way packets to a proxy would leave this machine, and what a change of it says: nobody tells a program that the network is
//! there again, but the kernel's choice of a source address does.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::time::interval;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(2);

/// Where packets go while nobody knows the proxy's address yet: of the networks that are for documents (RFC 5737, RFC 3849), so
/// that no nearer route is meant.
const ANYWHERE: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9),
];

/// The source addresses to each place that matters; `None`: there is no way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Way(Vec<Option<IpAddr>>);

impl Way {
    /// To the proxy, where it is known, or to anywhere.
    pub(crate) fn now(proxy: Option<SocketAddr>) -> Self {
        let to = proxy.as_ref().map_or(&ANYWHERE[..], std::slice::from_ref);
        Self(to.iter().map(|to| source(*to).ok()).collect())
    }

    /// Whether to be here is better than to have been there: there is a way where there was none, or another.
    fn is_new_after(&self, before: &Self) -> bool {
        self.0.iter().zip(&before.0).any(|(now, before)| now.is_some() && now != before)
    }

    /// Returns once there is a way that this one was not.
    pub(crate) async fn another(mut self, proxy: Option<SocketAddr>) {
        let mut ticks = interval(LOOK);
        loop {
            ticks.tick().await;
            let now = Self::now(proxy);
            if now.is_new_after(&self) {
                return;
            }
            self = now;
        }
    }
}

/// Returns once packets to the proxy would leave from another address than the connection's: it is dead then, and
/// nobody would say so for long. The same once there is a way again and was none: what was sent meanwhile is lost, and the kernel
/// waits longer each time before it sends it again. Without a way at all there is nothing to go over to.
pub(crate) async fn moved(ends: io::Result<(IpAddr, SocketAddr)>) {
    match ends {
        Ok((local, proxy)) => Way(vec![Some(local)]).another(Some(proxy)).await,
        Err(_) => std::future::pending().await,
    }
}

/// The kernel's choice; nothing is sent.
fn source(to: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = if to.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(addresses: &[&str]) -> Way {
        Way(addresses.iter().map(|address| address.parse().ok()).collect())
    }

    #[test]
    fn what_is_news() {
        let (none, one, other) = (way(&["-", "-"]), way(&["192.0.2.1", "-"]), way(&["192.0.2.2", "-"]));
        assert!(one.is_new_after(&none) && other.is_new_after(&one));
        assert!(way(&["192.0.2.1", "2001:db8::1"]).is_new_after(&one), "of the other kind");
        for (now, before) in [(&none, &none), (&none, &one), (&one, &one)] {
            assert!(!now.is_new_after(before), "{now:?} after {before:?}");
        }
    }

    #[tokio::test]
    async fn a_way_that_stays_is_no_news() {
        let proxy: SocketAddr = ([127, 0, 0, 1], 7_025).into();
        let same = Way::now(Some(proxy)).another(Some(proxy));
        assert!(tokio::time::timeout(Duration::from_secs(5), same).await.is_err());
        let there = Way(vec![None]).another(Some(proxy));
        tokio::time::timeout(Duration::from_secs(5), there).await.unwrap();
        let elsewhere = moved(Ok(([127, 0, 0, 2].into(), proxy)));
        tokio::time::timeout(Duration::from_secs(5), elsewhere).await.unwrap();
    }
}
