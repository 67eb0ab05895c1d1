//! The link's port: homes, and the streams they fetch.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use relay_link::hello::Want;
use relay_link::proxy::{self, Caller};
use tokio::net::TcpStream;
use tracing::debug;

use super::Gate;

pub(super) async fn serve(gate: &Arc<Gate>, stream: TcpStream, from: SocketAddr) -> io::Result<()> {
    let mut stranger = gate.doors.stranger(from.ip().to_canonical());
    let Some(caller) = stranger.unless_needed(proxy::receive(stream, &gate.acceptor)).await else {
        gate.metrics.turned_away.count();
        return Ok(());
    };
    match caller? {
        Caller::Control(stream, key) => {
            let tell = |home: &str, want: &Want| gate.hall.tell(home, want);
            let greeting = Box::pin(proxy::greet_or_tell(stream, key, (&gate.homes, &gate.name), tell));
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
