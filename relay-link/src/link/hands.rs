//! The edges to the roles that serve, and which stream each report is about.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::debug;
use wire::control::EdgeName;
use wire::handed::{Hand, Handed, Report};

use crate::control::Speaker;
use crate::inbound::{ClientName, FromHome, Service};
use crate::limits;

/// The services that this box has, by the edge over which their role is reached.
const SERVED: [(EdgeName, Service); 3] = [
    (EdgeName::HandToMx, Service::Mail),
    (EdgeName::HandToSubmission, Service::Submission),
    (EdgeName::HandToLogin, Service::Imap),
];

type Streams = Arc<Mutex<HashMap<u64, Stream>>>;

/// An open stream.
#[derive(Debug)]
struct Stream {
    /// To whom a report about it is said.
    speaker: Speaker<FromHome>,
    /// Who waits for the role's answer.
    is_served: Option<oneshot::Sender<bool>>,
}

/// All edges.
#[derive(Debug)]
pub(super) struct Hands {
    edges: Mutex<HashMap<Service, Arc<Hand>>>,
    streams: Streams,
}

/// A stream that a role has; dropped, reports about it are about nothing.
#[derive(Debug)]
pub(super) struct Given {
    number: u64,
    streams: Streams,
}

impl Drop for Given {
    fn drop(&mut self) {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

impl Hands {
    /// Takes the edges of the start packet.
    pub(super) fn new(edges: Vec<OwnedFd>) -> io::Result<Self> {
        if edges.len() != SERVED.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the start packet lacks edges"));
        }
        let hands = Self { edges: Mutex::default(), streams: Streams::default() };
        SERVED.into_iter().zip(edges).try_for_each(|((name, _), edge)| hands.replace(name, edge))?;
        Ok(hands)
    }

    /// The role at that edge was started again.
    pub(super) fn replace(&self, name: EdgeName, edge: OwnedFd) -> io::Result<()> {
        let served = SERVED.into_iter().find(|(edge, _)| *edge == name);
        let (_, service) = served.ok_or(io::ErrorKind::InvalidInput)?;
        let hand = Arc::new(Hand::new(edge)?);
        tokio::spawn(hear(hand.clone(), self.streams.clone()));
        self.edges.lock().unwrap_or_else(PoisonError::into_inner).insert(service, hand);
        Ok(())
    }

    /// Gives a stream to the role that serves it. `None`: there is none, it is gone, or it has no place for it.
    pub(super) async fn give(
        &self,
        service: Service,
        handed: &Handed,
        speaker: &Speaker<FromHome>,
    ) -> Option<(UnixStream, Given)> {
        let hand = self.edges.lock().unwrap_or_else(PoisonError::into_inner).get(&service).cloned()?;
        let (number, streams) = (handed.number, self.streams.clone());
        let (is_served, answer) = oneshot::channel();
        let stream = Stream { speaker: speaker.clone(), is_served: Some(is_served) };
        streams.lock().unwrap_or_else(PoisonError::into_inner).insert(number, stream);
        let given = Given { number, streams };
        let inside = hand.over(handed).await.ok()?;
        matches!(timeout(limits::PLACE, answer).await, Ok(Ok(true))).then_some((inside, given))
    }
}

/// Takes answers, and passes reports on. A role that was taken over can speak of streams it has, and of no others: it knows
/// their numbers.
async fn hear(hand: Arc<Hand>, streams: Streams) {
    while let Some(report) = hand.report().await {
        match report {
            Report::Served(number) => answer(&streams, number, true),
            Report::Declined(number) => answer(&streams, number, false),
            Report::WrongHome { number, domain } => wrong_home(&streams, number, &domain),
        }
    }
}

fn answer(streams: &Streams, number: u64, is_served: bool) {
    let mut streams = streams.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(waiting) = streams.get_mut(&number).and_then(|stream| stream.is_served.take()) {
        // Who does not wait any more has declined it.
        let _ = waiting.send(is_served);
    }
}

fn wrong_home(streams: &Streams, number: u64, domain: &str) {
    let streams = streams.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(speaker) = streams.get(&number).map(|stream| stream.speaker.clone()) else { return };
    drop(streams);
    if speaker.say(FromHome::WrongHome { number, domain: ClientName::new(domain) }).is_err() {
        debug!("a report was lost: the proxy does not listen");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::SocketAddr;

    use filter_sandbox::edge::Edge;
    use wire::handed::Door;

    use crate::control;

    /// Before a stream is fetched its sender can be told to come again; afterwards nobody can say anything in clear.
    #[tokio::test]
    async fn a_role_without_a_place_says_so_before_the_stream_is_fetched() {
        let (ours, mut roles): (Vec<_>, Vec<_>) = (0..3).map(|_| Edge::pair().unwrap()).unzip();
        let hands = Hands::new(ours.into_iter().map(OwnedFd::from).collect()).unwrap();
        let door = Door::new(roles.remove(0).into()).unwrap();
        let role = tokio::spawn(async move {
            while let Some((handed, stream)) = door.next().await {
                // Of a stream that it does not have it says nothing.
                door.answer(handed.number + 100, true).await;
                door.answer(handed.number, handed.number == 1).await;
                drop(stream);
            }
        });
        let (speaker, _script) = control::speaker::<FromHome>();
        let client = SocketAddr::from(([192, 0, 2, 1], 4_000));
        let handed = |number| Handed { number, proxy: "clean.test".into(), client, ehlo: None, sni: None };
        assert!(hands.give(Service::Mail, &handed(1), &speaker).await.is_some());
        assert!(hands.give(Service::Mail, &handed(2), &speaker).await.is_none());
        assert!(hands.streams.lock().unwrap().is_empty(), "nobody holds one any more");
        role.abort();
        let _ = role.await;
        assert!(hands.give(Service::Mail, &handed(1), &speaker).await.is_none(), "it is gone");
    }
}
