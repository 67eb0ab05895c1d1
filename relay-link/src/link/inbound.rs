//! One inbound proxy: its calls are answered, its streams fetched and relayed to the role that serves them.

use std::sync::Arc;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::sync::{Semaphore, mpsc, watch};
use tracing::{debug, info};
use wire::control::PairedProxy;
use wire::handed::Handed;

use super::House;
use crate::control::{self, Speaker};
use crate::home::{Proxy, State};
use crate::inbound::{Call, FromHome, ToHome};
use crate::limits;

/// The link with one of them.
#[derive(Debug)]
pub(super) struct Link {
    house: Arc<House>,
    proxy: Arc<Proxy>,
    /// One permit a stream of this proxy's.
    streams: Arc<Semaphore>,
}

impl Link {
    /// `None` when what is kept of the pairing cannot be read.
    pub(super) fn new(house: Arc<House>, paired: &PairedProxy) -> Option<Self> {
        let proxy = Arc::new(Proxy::paired(paired, house.dns.clone())?);
        Some(Self { house, proxy, streams: Arc::new(Semaphore::new(limits::STREAMS_OF_ONE)) })
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
        let (house, proxy, speaker) = (self.house.clone(), self.proxy.clone(), speaker.clone());
        let permits = (self.streams.clone().try_acquire_owned(), house.streams.clone().try_acquire_owned());
        let (Ok(of_one), Ok(of_all)) = permits else {
            info!("too many streams at once: one is declined");
            let _ = speaker.say(FromHome::Declined(call.ticket.number));
            return;
        };
        tokio::spawn(async move {
            take(&house, &proxy, call, &speaker).await;
            drop((of_one, of_all));
        });
    }
}

/// First the role, then the stream: once it is fetched its proxy can no longer tell its sender to come again.
async fn take(house: &House, proxy: &Proxy, call: Call, speaker: &Speaker<FromHome>) {
    let number = call.ticket.number;
    let handed = Handed {
        number,
        proxy: proxy.place.host().to_owned(),
        client: call.client,
        ehlo: call.ehlo.map(|name| name.as_str().to_owned()),
        sni: call.sni.map(|name| name.as_str().to_owned()),
    };
    let Some((mut inside, given)) = house.hands.give(call.service, &handed, speaker).await else {
        let _ = speaker.say(FromHome::Declined(number));
        return;
    };
    match proxy.fetch(&call.ticket).await {
        Ok(mut outside) => {
            let copied = copy_bidirectional_with_sizes(&mut outside, &mut inside, limits::COPY, limits::COPY).await;
            debug!(?copied, "a stream has ended");
        }
        Err(error) => {
            info!(%error, proxy = handed.proxy, "a stream could not be fetched");
            // Its sender is told to come again at once, not when the proxy has waited in vain.
            let _ = speaker.say(FromHome::Declined(number));
        }
    }
    drop(given);
}
