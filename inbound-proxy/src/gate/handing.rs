//! Hands a connection on: the home is told, dials, and gets what the client has sent, from the first byte on.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use relay_link::inbound::{Call, ClientName, Service, ToHome};
use relay_link::limits::FETCH;
use relay_link::relay::{Moved, relay};
use relay_link::seats::Connection;
use relay_link::stream::{PROOF, Ticket};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{timeout, timeout_at};
use tracing::{debug, info};

use super::Gate;
use super::arriving::Client;
use super::doors::Place;
use super::ending::UnderWay;
use super::reports::Passing;
use crate::limits;
use crate::route::How;

/// What is known of a connection that is to be handed on.
#[derive(Debug)]
pub(super) struct Parcel {
    /// Who it is.
    pub client: Client,
    /// What it has sent of its TLS.
    pub sent: Vec<u8>,
    /// For what it came.
    pub service: Service,
    /// What it called itself.
    pub ehlo: Option<ClientName>,
    /// Whom it asked for.
    pub sni: Option<ClientName>,
    /// What led to the home, should it turn out to be the wrong one.
    pub passing: Passing,
}

/// Hands it on; from there on it goes by itself. `Err(parcel)`: the home is away, or the gate ends, and nothing of it has been sent there.
pub(super) async fn hand_on(
    gate: &Arc<Gate>,
    home: &str,
    how: How,
    mut parcel: Parcel,
) -> Result<io::Result<()>, Parcel> {
    let fetched = gate.ending.unless_begun(fetch(gate, home, &mut parcel)).await.flatten();
    let Some(Fetched { mut stream, number, answer }) = fetched else {
        gate.metrics.home_away.count();
        return Err(parcel);
    };
    gate.metrics.handed[how as usize].count();
    if gate.log_connections {
        let (sender, sni) = (&parcel.passing.group, parcel.sni.is_some());
        info!(%sender, home, ?how, service = ?parcel.service, sni, "handed on");
    }
    let Parcel { client: Client { stream: client, mut place, .. }, sent, service, passing, .. } = parcel;
    place.stands_up();
    gate.passes(number, passing);
    let passed = Passed { gate: gate.clone(), number, _place: place, _letters: gate.letters.begin(service) };
    // In one piece: a home that waits for the answer finds the client's first words behind it.
    let opening = [&answer[..], &sent].concat();
    drop(sent);
    let begun = timeout(limits::HANDSHAKE, stream.write_all(&opening)).await;
    if let Err(error) = begun.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        return Ok(Err(error));
    }
    // A task of its own: an idle one then holds this much, and nothing of what led here.
    let shared = gate.clone();
    let relaying = tokio::spawn(async move {
        let moved = Moved::default();
        if let Err(error) = relay(&client, &stream, &passed.gate.pipes, &moved).await {
            debug!(%error, "a relayed connection ended");
        }
        passed.gate.metrics.add(&moved);
    });
    if let Some(passing) = shared.passing().get_mut(&number) {
        passing.relaying = Some(relaying.abort_handle());
    }
    Ok(Ok(()))
}

/// Forgets what a home could report, however the relaying ends.
struct Passed {
    gate: Arc<Gate>,
    number: u64,
    _place: Place,
    _letters: Option<UnderWay>,
}

impl Drop for Passed {
    fn drop(&mut self) {
        self.gate.passing().remove(&self.number);
    }
}

/// A home's connection.
struct Fetched {
    stream: TcpStream,
    /// The stream's number.
    number: u64,
    /// What it is to hear first.
    answer: [u8; PROOF],
}

/// What came of telling a home.
enum Told {
    /// Its connection.
    Dialled(Fetched),
    /// It has not this service, or not now.
    Declined,
    /// Nothing: its link is dead, most likely, and nobody has noticed yet.
    Silent,
}

/// The home's connection for it. A home that is not there, or does not come, is waited for: it may be waking.
async fn fetch(gate: &Gate, home: &str, parcel: &mut Parcel) -> Option<Fetched> {
    let until = Instant::now() + parcel.client.patience();
    let mut connection = parcel.client.wait_for(gate, home).await.ok()?;
    loop {
        let home = &gate.called(home);
        match tell(gate, home, connection, parcel, until).await? {
            Told::Dialled(fetched) => return Some(fetched),
            Told::Declined => return None,
            Told::Silent => {}
        }
        let left = until.saturating_duration_since(Instant::now());
        connection = gate.hall.wait_for_sign(home, connection, left).await.ok()?;
    }
}

/// Tells it once. `None`: there is no telling now.
async fn tell(gate: &Gate, home: &str, connection: Connection, parcel: &Parcel, until: Instant) -> Option<Told> {
    let ticket = Ticket::generate().ok()?;
    let call = Call {
        ticket: ticket.clone(),
        service: parcel.service,
        client: parcel.client.from,
        dialled: parcel.client.dialled,
        ehlo: parcel.ehlo.clone(),
        sni: parcel.sni.clone(),
    };
    let (number, (send, fetched)) = (ticket.number, oneshot::channel());
    gate.waiting().expect(ticket, connection.0, send, Instant::now()).ok()?;
    let patience = until.min(Instant::now() + FETCH);
    let answer = match gate.hall.say(home, ToHome::Call(call)) {
        Ok(_) => timeout_at(patience.into(), fetched).await.ok().and_then(Result::ok),
        Err(_) => None,
    };
    if answer.is_none() {
        drop(gate.waiting().take_back(number, connection.0));
    }
    Some(match answer {
        Some(Some((stream, answer))) => Told::Dialled(Fetched { stream, number, answer }),
        Some(None) => Told::Declined,
        None => Told::Silent,
    })
}
