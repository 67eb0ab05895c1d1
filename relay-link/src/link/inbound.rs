//! One inbound proxy: its calls are answered, its streams fetched and relayed to the role that serves them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tracing::{debug, info};
use wire::control::PairedProxy;
use wire::handed::Handed;

use super::House;
use crate::control::{self, Speaker};
use crate::home::{Proxy, State};
use crate::inbound::{Call, FromHome, ToHome};
use crate::limits;
use crate::seldom::Seldom;

/// The link with one of them.
#[derive(Debug, Clone)]
pub(super) struct Link {
    house: Arc<House>,
    proxy: Arc<Proxy>,
    /// One permit a stream of this proxy's.
    streams: Arc<Semaphore>,
    lines: Arc<Mutex<Seldom<&'static str>>>,
}

impl Link {
    /// `None` when what is kept of the pairing cannot be read.
    pub(super) fn new(house: Arc<House>, paired: &PairedProxy) -> Option<Self> {
        let proxy = Arc::new(Proxy::paired(paired, house.dns.clone())?);
        Some(Self::with(house, proxy))
    }

    fn with(house: Arc<House>, proxy: Arc<Proxy>) -> Self {
        Self { house, proxy, streams: Arc::new(Semaphore::new(limits::STREAMS_OF_ONE)), lines: Arc::default() }
    }

    /// Room for one more stream: of this proxy, and in the house.
    fn room(&self) -> Option<[OwnedSemaphorePermit; 2]> {
        let of_one = self.streams.clone().try_acquire_owned().ok()?;
        Some([of_one, self.house.streams.clone().try_acquire_owned().ok()?])
    }

    /// A proxy that calls without end fills no log.
    fn seldom(&self, what: &'static str, why: &dyn fmt::Display) {
        let line = self.lines.lock().unwrap_or_else(PoisonError::into_inner).line(what, Instant::now());
        if let Some(before) = line {
            info!(proxy = %self.proxy.place, %why, before, "{what}");
        }
    }

    /// Dials, and dials again, for ever.
    pub(super) async fn keep(self) {
        let (speaker, script) = control::speaker();
        let (heard, mut calls) = mpsc::channel(limits::QUEUE);
        let (tell, _state) = watch::channel(State::Dialling("not yet".to_owned()));
        let keeping = self.proxy.keep(script, heard, tell);
        let answering = async {
            while let Some(ToHome::Call(call)) = calls.recv().await {
                self.answer(call, &speaker);
            }
        };
        tokio::select! {
            () = keeping => {}
            () = answering => {}
        }
    }

    fn answer(&self, call: Call, speaker: &Speaker<FromHome>) {
        let Some(room) = self.room() else {
            self.seldom("a stream is declined", &"too many at once");
            let _ = speaker.say(FromHome::Declined(call.ticket.number));
            return;
        };
        let (link, speaker) = (self.clone(), speaker.clone());
        tokio::spawn(async move {
            link.take(call, &speaker).await;
            drop(room);
        });
    }

    /// First the role, then the stream: once it is fetched its proxy can no longer tell its sender to come again.
    async fn take(&self, call: Call, speaker: &Speaker<FromHome>) {
        let number = call.ticket.number;
        let handed = Handed {
            number,
            proxy: self.proxy.place.host().to_owned(),
            client: call.client,
            ehlo: call.ehlo.map(|name| name.as_str().to_owned()),
            sni: call.sni.map(|name| name.as_str().to_owned()),
        };
        let Some((mut inside, given)) = self.house.hands.give(call.service, &handed, speaker).await else {
            let _ = speaker.say(FromHome::Declined(number));
            return;
        };
        match self.proxy.fetch(&call.ticket).await {
            Ok(mut outside) => {
                let copied = copy_bidirectional_with_sizes(&mut outside, &mut inside, limits::COPY, limits::COPY).await;
                debug!(?copied, "a stream has ended");
            }
            Err(error) => {
                self.seldom("a stream could not be fetched", &error);
                // Its sender is told to come again at once, not when the proxy has waited in vain.
                let _ = speaker.say(FromHome::Declined(number));
            }
        }
        drop(given);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::SocketAddr;
    use std::os::fd::OwnedFd;

    use filter_sandbox::edge::Edge;

    use crate::code::Place;
    use crate::dns::Dns;
    use crate::frame::Frames;
    use crate::inbound::Service;
    use crate::keys::LinkKey;
    use crate::liveness;
    use crate::stream::Ticket;

    fn call() -> Call {
        let somebody = SocketAddr::from(([192, 0, 2, 1], 4_000));
        let ticket = Ticket::generate().unwrap();
        // The house has no role for it: nobody takes what is not declined.
        Call { ticket, service: Service::Mail, client: somebody, dialled: somebody, ehlo: None, sni: None }
    }

    /// Whoever rules one proxy has its share of the house's streams, and not those of the others.
    #[tokio::test]
    async fn one_proxy_has_its_share_of_the_streams() {
        let (ours, _roles): (Vec<_>, Vec<_>) = (0..3).map(|_| Edge::pair().unwrap()).unzip();
        let edges = ours.into_iter().map(OwnedFd::from).collect();
        let house = Arc::new(House::new(Vec::new(), edges).unwrap());
        let paired = || {
            let key = LinkKey::generate().unwrap();
            let place = Place::new("127.0.0.1", 9).unwrap();
            Arc::new(Proxy::new(place, key.public(), key, Arc::new(Dns::new(Vec::new()))))
        };
        let [greedy, other] = [(), ()].map(|()| Link::with(house.clone(), paired()));
        let (speaker, mut script) = control::speaker::<FromHome>();
        let (mut home, mut proxy) = tokio::io::duplex(64 * 1024);
        let (heard, mut declined) = mpsc::channel(limits::QUEUE);
        let (_said, mut nothing) = control::speaker::<ToHome>();
        let (not_heard, _calls) = mpsc::channel::<ToHome>(1);
        tokio::spawn(async move {
            control::run(&mut home, &mut Frames::default(), liveness::HOME, &mut script, &not_heard).await
        });
        tokio::spawn(async move {
            control::run(&mut proxy, &mut Frames::default(), liveness::PROXY, &mut nothing, &heard).await
        });
        let held: Vec<_> = (0..limits::STREAMS_OF_ONE).map(|_| greedy.room().expect("it has so many")).collect();
        let one_more = call();
        let number = one_more.ticket.number;
        greedy.answer(one_more, &speaker);
        assert_eq!(declined.recv().await, Some(FromHome::Declined(number)));
        assert!(other.room().is_some(), "another proxy's come in");
        let others: Vec<_> = std::iter::from_fn(|| other.room()).collect();
        assert_eq!(held.len() + others.len(), limits::STREAMS, "and not more than the house has");
        drop(held);
        assert!(greedy.room().is_some());
    }
}
