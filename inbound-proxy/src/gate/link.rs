//! The link's port: homes, and the streams they fetch.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use relay_link::hello::Want;
use relay_link::keys::PublicKey;
use relay_link::proxy::{self, Arrival, Caller, Guest};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::Gate;
use crate::grant::HomeGrant;

pub(super) async fn serve(gate: &Arc<Gate>, stream: TcpStream, from: SocketAddr) -> io::Result<()> {
    let mut stranger = gate.doors.stranger(from.ip().to_canonical());
    let Some(caller) = stranger.unless_needed(proxy::receive(stream, &gate.acceptor)).await else {
        gate.metrics.turned_away.count();
        return Ok(());
    };
    match caller? {
        Caller::Control(stream, key) => {
            let greeting = Box::pin(greet(gate, stream, key));
            let Some(arrival) = stranger.unless_needed(greeting).await else { return Ok(()) };
            let arrival = arrival?;
            drop(stranger);
            if let Some(arrival) = arrival {
                // A task of its own: one that is idle for days then holds this much, and nothing of what led here.
                let gate = gate.clone();
                tokio::spawn(async move {
                    if let Err(error) = gate.hall.serve(arrival, &gate.homes).await {
                        debug!(%error, "a home's connection ended");
                    }
                });
            }
            Ok(())
        }
        Caller::Data(home, opening) => {
            let claimed = gate.waiting().claim(&opening, Instant::now());
            let Ok((client, answer)) = claimed else {
                debug!("somebody wanted a stream that nobody waits with");
                return Ok(());
            };
            // Who waited may have gone meanwhile: then both connections end.
            let _ = client.send(Some((home, answer)));
            Ok(())
        }
    }
}

/// Who asks for something beside its link is told; who wants to be served waits to be seated.
async fn greet(
    gate: &Gate,
    stream: Box<TlsStream<TcpStream>>,
    key: PublicKey,
) -> io::Result<Option<Arrival<HomeGrant>>> {
    match proxy::greet(stream, key, &gate.homes, &gate.name).await? {
        Some(Guest::Home(arrival)) => {
            // Before it has a seat: its name may have been another's a moment ago, and what was learnt for that one is not its own.
            gate.follow_boxes()?;
            return Ok(Some(arrival));
        }
        Some(Guest::Asking(asking)) => {
            let answer = match &asking.want {
                Want::Place(host) => Some(gate.place(&asking.home, host).await?),
                want => gate.hall.tell(&asking.home, want),
            };
            asking.answer(answer).await?;
        }
        None => {}
    }
    Ok(None)
}
