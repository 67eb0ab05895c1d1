//! Accepts, and gives each connection to the file of its entrance.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use relay_link::inbound::Service;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::{Entrance, Gate, direct, link, mail, metrics};
use crate::reply::Reply;

/// After an accept that failed: out of descriptors, most likely, and those in use must end first.
const PAUSE: Duration = Duration::from_millis(100);
/// For the one line to somebody for whom there is no place.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Accepts for as long as the gate lives.
pub(super) async fn accept(gate: Arc<Gate>, entrance: Entrance, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(arrive(gate.clone(), entrance, stream))),
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn arrive(gate: Arc<Gate>, entrance: Entrance, stream: TcpStream) {
    if let Err(error) = admit(&gate, entrance, stream).await {
        debug!(%error, ?entrance, "a connection ended");
    }
}

async fn admit(gate: &Arc<Gate>, entrance: Entrance, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match entrance {
        Entrance::Link => return link::serve(gate, stream).await,
        Entrance::Metrics => return metrics::serve(gate, stream).await,
        Entrance::Mail | Entrance::Submission | Entrance::Imap | Entrance::Web => {}
    }
    let client = stream.peer_addr()?;
    let Some(place) = gate.doors.enter(client.ip().to_canonical()) else {
        gate.metrics.turned_away.count();
        if entrance == Entrance::Mail {
            let mut word = Vec::new();
            Reply::Unavailable.write(&gate.name, &mut word);
            let _ = timeout(LAST_WORD, stream.write_all(&word)).await;
        }
        return Ok(());
    };
    gate.metrics.connections.count();
    match entrance {
        Entrance::Mail => mail::serve(gate, stream, place).await,
        Entrance::Submission => direct::serve(gate, stream, place, Service::Submission).await,
        Entrance::Imap => direct::serve(gate, stream, place, Service::Imap).await,
        _ => direct::serve(gate, stream, place, Service::Web).await,
    }
}
