//! What addresses the proxy's own name has: letters leave from one of them, since far servers are greeted with it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use relay_link::dns::{Addresses, Dns};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;
use tracing::info;

use super::Service;
use crate::source::{Source, source};
use crate::{address, limits};

/// Asks again and again; apart from what homes ask, so that neither waits for the other.
pub(super) async fn follow(service: Arc<Service>, dns: Dns) {
    loop {
        let answer = dns.all_addresses(&service.name).await.ok();
        let whole = answer.as_ref().is_some_and(|answer| answer.silent.is_none());
        service.named.send_modify(|known| {
            let now = heard(known.clone().unwrap_or_default(), answer);
            if known.as_ref() != Some(&now) {
                info!(name = service.name, addresses = ?now, "letters leave from what this name has here");
            }
            *known = Some(now);
        });
        sleep(if whole { limits::NAMED_AGAIN } else { limits::NAMED_SOON }).await;
    }
}

/// Of what nobody answers for, the last answer counts.
fn heard(before: Vec<IpAddr>, answer: Option<Addresses>) -> Vec<IpAddr> {
    let Some(Addresses { found, silent }) = answer else { return before };
    let kept = before.into_iter().filter(|address| silent.is_some_and(|kind| kind.is_of(*address)));
    let mut now: Vec<IpAddr> = found.iter().map(IpAddr::to_canonical).chain(kept).collect();
    now.sort_unstable();
    now.dedup();
    now
}

impl Service {
    /// The name's addresses, once they have been asked for.
    pub(super) async fn named(&self) -> Vec<IpAddr> {
        let mut named = self.named.subscribe();
        match named.wait_for(Option::is_some).await {
            Ok(known) => known.clone().unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    /// Whether there is a way to `to` from where letters leave.
    pub(super) fn has_way(&self, named: &[IpAddr], to: IpAddr) -> bool {
        match source(named, to, &self.policy) {
            Source::Named(from) => address::may_leave(from, to),
            Source::Usual => address::has_way(to),
            Source::Never => false,
        }
    }

    /// Connects with port 25.
    pub(super) async fn dial(&self, named: &[IpAddr], to: IpAddr) -> io::Result<TcpStream> {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        match source(named, to, &self.policy) {
            Source::Named(from) => socket.bind((from, 0).into())?,
            Source::Usual => {}
            Source::Never => return Err(io::ErrorKind::AddrNotAvailable.into()),
        }
        socket.connect(SocketAddr::new(to, limits::PORT)).await
    }
}

#[cfg(test)]
mod tests {
    use relay_link::dns::Silent;

    use super::*;

    #[test]
    fn the_last_answer_counts_while_nobody_gives_another() {
        let [four, six, other] = ["44.0.0.20", "2a00::20", "44.0.0.21"].map(|text| text.parse::<IpAddr>().unwrap());
        assert_eq!(heard(vec![four, six], None), [four, six]);
        let half = Addresses { found: vec![other], silent: Some(Silent::Six) };
        assert_eq!(heard(vec![four, six], Some(half)), [other, six]);
        assert_eq!(heard(vec![four, six], Some(Addresses::all(vec![four]))), [four]);
        assert_eq!(heard(vec![four, six], Some(Addresses::all(Vec::new()))), Vec::<IpAddr>::new());
    }
}
