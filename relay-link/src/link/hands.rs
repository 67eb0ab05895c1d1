//! The edges to the roles that serve, and which stream each report is about.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UnixStream;
use tracing::debug;
use wire::control::EdgeName;
use wire::handed::{Hand, Handed, Report};

use crate::control::Speaker;
use crate::inbound::{ClientName, FromHome, Service};

/// The services that this box has, by the edge over which their role is reached.
const SERVED: [(EdgeName, Service); 3] = [
    (EdgeName::HandToMx, Service::Mail),
    (EdgeName::HandToSubmission, Service::Submission),
    (EdgeName::HandToLogin, Service::Imap),
];

/// Of each open stream: to whom a report about it is said.
type Streams = Arc<Mutex<HashMap<u64, Speaker<FromHome>>>>;

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

    /// Gives a stream to the role that serves it. `None`: there is none, or it is gone.
    pub(super) async fn give(
        &self,
        service: Service,
        handed: &Handed,
        speaker: &Speaker<FromHome>,
    ) -> Option<(UnixStream, Given)> {
        let hand = self.edges.lock().unwrap_or_else(PoisonError::into_inner).get(&service).cloned()?;
        let (number, streams) = (handed.number, self.streams.clone());
        streams.lock().unwrap_or_else(PoisonError::into_inner).insert(number, speaker.clone());
        let given = Given { number, streams };
        hand.over(handed).await.ok().map(|stream| (stream, given))
    }
}

/// Passes reports on. A role that was taken over can report streams it has, and no others.
async fn hear(hand: Arc<Hand>, streams: Streams) {
    while let Some(Report::WrongHome { number, domain }) = hand.report().await {
        let speaker = streams.lock().unwrap_or_else(PoisonError::into_inner).get(&number).cloned();
        let Some(speaker) = speaker else { continue };
        if speaker.say(FromHome::WrongHome { number, domain: ClientName::new(&domain) }).is_err() {
            debug!("a report was lost: the proxy does not listen");
        }
    }
}
