//! Accepts, and gives each connection to the file of its entrance.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use relay_link::inbound::Service;
use relay_link::limits::FETCH;
use relay_link::proxy::Absent;
use relay_link::seats::Connection;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use super::doors::Place;
use super::{Entrance, Gate, direct, link, mail, metrics};
use crate::limits;
use crate::reply::Reply;

/// After an accept that failed: out of descriptors, most likely, and those in use must end first.
const PAUSE: Duration = Duration::from_millis(100);
/// For the one line to somebody for whom there is no place.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Somebody who has a place.
#[derive(Debug)]
pub(super) struct Client {
    /// The connection.
    pub stream: TcpStream,
    /// Whence.
    pub from: SocketAddr,
    /// The address it dialled.
    pub dialled: SocketAddr,
    /// How long it has been held for its home already.
    pub waited: Duration,
    /// Its place.
    pub place: Place,
}

impl Client {
    /// Waits until its home is connected, or has been waited for long enough in all, or the gate ends.
    ///
    /// # Errors
    /// [`Absent`].
    pub(super) async fn wait_for(&mut self, gate: &Gate, home: &str) -> Result<Connection, Absent> {
        let began = Instant::now();
        let came = gate.ending.unless_begun(gate.hall.wait_for(home, self.patience())).await.unwrap_or(Err(Absent));
        self.waited += began.elapsed();
        came
    }

    /// How much longer it may be held. A home that woke at the last moment has its time to fetch the stream.
    pub(super) fn patience(&self) -> Duration {
        limits::WAKE.saturating_sub(self.waited).max(FETCH)
    }
}

/// Accepts for as long as the gate lives.
pub(super) async fn accept(gate: Arc<Gate>, entrance: Entrance, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => drop(tokio::spawn(arrive(gate.clone(), entrance, stream, from))),
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn arrive(gate: Arc<Gate>, entrance: Entrance, stream: TcpStream, from: SocketAddr) {
    if let Err(error) = admit(&gate, entrance, stream, from).await {
        debug!(%error, ?entrance, "a connection ended");
    }
}

async fn admit(gate: &Arc<Gate>, entrance: Entrance, mut stream: TcpStream, from: SocketAddr) -> io::Result<()> {
    match entrance {
        Entrance::Link => return link::serve(gate, stream, from).await,
        Entrance::Metrics => return Box::pin(metrics::serve(gate, stream)).await,
        Entrance::Mail | Entrance::Submission | Entrance::Imap | Entrance::Web => {}
    }
    let Some(place) = gate.doors.enter(from.ip().to_canonical()) else {
        gate.metrics.turned_away.count();
        if entrance == Entrance::Mail {
            let mut word = Vec::new();
            Reply::Unavailable.write(&gate.name, &mut word);
            let _ = timeout(LAST_WORD, stream.write_all(&word)).await;
        }
        return Ok(());
    };
    gate.metrics.connections.count();
    let client = Client { dialled: stream.local_addr()?, stream, from, waited: Duration::ZERO, place };
    match entrance {
        // Large, for the sake of sessions that learn: the others' tasks have no room for it.
        Entrance::Mail => Box::pin(mail::serve(gate, client)).await,
        Entrance::Submission => direct::serve(gate, client, Service::Submission).await,
        Entrance::Imap => direct::serve(gate, client, Service::Imap).await,
        _ => direct::serve(gate, client, Service::Web).await,
    }
}
