//! A home asks for a host: what it resolves to is looked at, the account asked, the host connected with, and the home told
//! to fetch the stream.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use relay_link::outbound::{Host, Refusal, ToHome};
use relay_link::seats::Connection;
use relay_link::stream::Ticket;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tracing::{debug, info};

use super::books::Tab;
use super::session::{self, Session};
use super::{Service, lock, write_all};
use crate::{address, limits};

/// A far server that is connected and waits for its home.
#[derive(Debug)]
pub struct Call {
    home: String,
    server: TcpStream,
    tab: Tab,
    _room: OwnedSemaphorePermit,
}

/// A home has asked for `host`.
pub fn asked(service: &Arc<Service>, home: String, connection: Connection, request: u32, host: Host) {
    let tab =
        service.books.tab(&service.homes, &home).and_then(|tab| tab.room().and_then(|()| tab.asks()).map(|()| tab));
    let room = service.sessions.clone().try_acquire_owned().map_err(|_| Refusal::Busy);
    match tab.and_then(|tab| room.map(|room| (tab, room))) {
        Ok((tab, room)) => {
            let service = service.clone();
            tokio::spawn(async move {
                let made = tokio::select! {
                    made = service.connect(&tab, &host) => made,
                    () = service.ending() => Err(Refusal::Busy),
                };
                match made {
                    Ok((server, address)) => {
                        let call = Call { home: home.clone(), server, tab, _room: room };
                        service.offer(&home, connection, call, (request, address));
                    }
                    Err(why) => service.refuse(&home, request, why),
                }
            });
        }
        Err(why) => service.refuse(&home, request, why),
    }
}

impl Service {
    fn refuse(&self, home: &str, request: u32, why: Refusal) {
        // Which host it was is the home's business.
        if let Some(before) = lock(&self.refusals).line(home.to_owned(), Instant::now()) {
            info!(home, %why, before, "refused");
        }
        self.counters.refused(why);
        let _ = self.hall.say(home, ToHome::Refused { request, why });
    }

    async fn connect(&self, tab: &Tab, host: &Host) -> Result<(TcpStream, IpAddr), Refusal> {
        let connecting = self.connect_with_any(tab, host);
        timeout(limits::CONNECT_ALL, connecting).await.unwrap_or(Err(Refusal::Unreachable))
    }

    async fn connect_with_any(&self, tab: &Tab, host: &Host) -> Result<(TcpStream, IpAddr), Refusal> {
        let until = Instant::now() + limits::CONNECT_ALL;
        let resolved = self.dns.addresses(host.as_str()).await.map_err(|_| Refusal::Unresolved)?;
        let mut chosen = self.policy.choose(&resolved)?;
        chosen.retain(|address| !address::is_own(*address));
        let named = self.named().await;
        let chosen = with_a_way(chosen, |to| self.has_way(&named, to))?;
        let networks: Vec<_> = chosen.iter().map(|address| address::network(*address)).collect();
        let mut new = tab.open_one(&networks).await?;
        self.counters.begun();
        let all = chosen.len();
        for (tried, address) in chosen.into_iter().enumerate() {
            match tab.visit(address::network(address), new < limits::NEW_NETWORKS) {
                Ok(is_new) => new += usize::from(is_new),
                Err(_) => continue,
            }
            let patience = share(until.saturating_duration_since(Instant::now()), all - tried);
            match timeout(patience, self.dial(&named, address)).await {
                // It may have become this machine's while it was dialled.
                Ok(Ok(_)) if address::is_own(address) => return Err(Refusal::NotPublic),
                Ok(Ok(server)) if server.set_nodelay(true).is_ok() => return Ok((server, address)),
                failed => debug!(?failed, "no connection"),
            }
        }
        Err(Refusal::Unreachable)
    }

    /// Tells the home to fetch it.
    fn offer(&self, home: &str, connection: Connection, call: Call, (request, address): (u32, IpAddr)) {
        let ticket = Ticket::generate();
        let put_by = ticket.map_err(|_| Refusal::Busy).and_then(|ticket| {
            let expected = lock(&self.waiting).expect(ticket.clone(), connection.0, call, Instant::now());
            expected.map(|()| ticket).map_err(|_| Refusal::Concurrent)
        });
        match put_by {
            // A home that is gone meanwhile fetches nothing; the far server is let go.
            Ok(ticket) => drop(self.hall.say(home, ToHome::Connected { request, ticket, address })),
            Err(why) => self.refuse(home, request, why),
        }
    }
}

/// Where this machine knows no way to, nothing is sent, and nobody is visited.
fn with_a_way(mut chosen: Vec<IpAddr>, has_way: impl Fn(IpAddr) -> bool) -> Result<Vec<IpAddr>, Refusal> {
    if chosen.is_empty() {
        return Err(Refusal::NotPublic);
    }
    chosen.retain(|address| has_way(*address));
    if chosen.is_empty() { Err(Refusal::Unreachable) } else { Ok(chosen) }
}

/// How long one address is waited for, when so many are left with it.
fn share(time: Duration, left: usize) -> Duration {
    match left {
        0 | 1 => time.min(limits::CONNECT),
        many => (time / u32::try_from(many).unwrap_or(u32::MAX)).min(limits::CONNECT_NEXT),
    }
}

impl Call {
    /// The home has fetched it.
    pub async fn carry(self, service: &Service, home: TcpStream, answer: &[u8]) {
        if write_all(&home, answer).await.is_err() {
            return;
        }
        let _running = service.counters.running();
        let session = Session::new(&home, &self.server, &self.tab, &service.pieces);
        let ended = tokio::select! {
            ended = session.run() => ended,
            () = service.cuts(&session) => Err(session::Cut::Ending),
        };
        let facts = session.facts();
        self.tab.carried(facts.out);
        service.counters.ended(&facts, matches!(ended, Err(session::Cut::Broken(_) | session::Cut::NotTls)));
        let how = ended.map_or_else(|cut| cut.to_string(), |()| "closed".to_owned());
        info!(home = self.home, units = facts.units, out = facts.out, back = facts.back, how, "a session has ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight networks to which there is no way are not eight of an hour's.
    #[test]
    fn what_cannot_be_dialled_is_no_visit() {
        let [a, b, c] = ["2001:db8:1::1", "2001:db8:2::1", "192.0.2.1"].map(|text| text.parse::<IpAddr>().unwrap());
        assert_eq!(with_a_way(vec![a, b, c], |address| address.is_ipv4()), Ok(vec![c]));
        assert_eq!(with_a_way(vec![a, b, c], |_| true), Ok(vec![a, b, c]));
        assert_eq!(with_a_way(vec![a, b, c], |_| false), Err(Refusal::Unreachable), "before anything is spent");
        assert_eq!(with_a_way(Vec::new(), |_| false), Err(Refusal::NotPublic));
    }

    /// All of them silent: the last is tried like the first.
    #[test]
    fn each_address_has_its_time() {
        for all in 1..=limits::ADDRESSES {
            let mut time = limits::CONNECT_ALL;
            for tried in 0..all {
                let patience = share(time, all - tried);
                // The kernel's second try is after a second, its third after three.
                assert!(patience > Duration::from_millis(3_500), "{tried} of {all}: {patience:?}");
                time = time.saturating_sub(patience);
            }
        }
        assert_eq!(share(limits::CONNECT_ALL, 1), limits::CONNECT);
    }
}
