//! Numbers for Prometheus: of the whole gate, never of one home or one sender.

use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use relay_link::relay::Moved;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Gate;
use crate::limits;
use crate::route::How;

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// Clients that had a place.
    pub connections: Counter,
    /// Clients that had none.
    pub turned_away: Counter,
    /// Handed on, by [`How`].
    pub handed: [Counter; How::ALL.len()],
    /// Sessions that learnt.
    pub learning: Counter,
    /// Homes that were away when somebody came.
    pub home_away: Counter,
    /// Reports that a sender came to the wrong home.
    pub wrong_home: Counter,
    /// What came instead of a ClientHello.
    pub no_tls: Counter,
    /// Apps that asked for a name that nobody has.
    pub nowhere: Counter,
    octets: Counter,
}

impl Metrics {
    /// What one connection moved.
    pub(super) fn add(&self, moved: &Moved) {
        let octets = moved.forth.load(Ordering::Relaxed) + moved.back.load(Ordering::Relaxed);
        self.octets.0.fetch_add(octets, Ordering::Relaxed);
    }

    fn text(&self, homes: usize, (groups, tickets): (usize, usize)) -> String {
        let mut text = String::new();
        let mut line = |name: &str, kind: &str, value: u64| {
            // Writing into memory does not fail.
            let _ = writeln!(text, "# TYPE inbound_proxy_{name} {kind}\ninbound_proxy_{name} {value}");
        };
        for (name, counter) in [
            ("connections_total", &self.connections),
            ("turned_away_total", &self.turned_away),
            ("learning_sessions_total", &self.learning),
            ("home_away_total", &self.home_away),
            ("wrong_home_total", &self.wrong_home),
            ("no_tls_total", &self.no_tls),
            ("nowhere_total", &self.nowhere),
            ("relayed_octets_total", &self.octets),
        ] {
            line(name, "counter", counter.get());
        }
        for (name, value) in [("homes_connected", homes), ("groups_known", groups), ("tickets_known", tickets)] {
            line(name, "gauge", value as u64);
        }
        text.push_str("# TYPE inbound_proxy_handed_on_total counter\n");
        for (how, counter) in How::ALL.iter().zip(&self.handed) {
            let _ = writeln!(text, "inbound_proxy_handed_on_total{{how=\"{}\"}} {}", how.name(), counter.get());
        }
        text
    }
}

/// Answers whatever is asked with all of it.
///
/// # Errors
/// The peer's.
pub(super) async fn serve(gate: &Arc<Gate>, mut stream: TcpStream) -> io::Result<()> {
    let Ok(_room) = gate.scrapes.try_acquire() else { return Ok(()) };
    let body = gate.metrics.text(gate.hall.count(), gate.memory().len());
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let talk = async {
        let mut request = vec![0; limits::METRICS_REQUEST];
        let _ = stream.read(&mut request).await?;
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    timeout(limits::HANDSHAKE, talk).await.map_err(|_| io::ErrorKind::TimedOut)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_has_its_line_and_every_line_its_form() {
        let metrics = Metrics::default();
        metrics.handed[How::Ticket as usize].count();
        let text = metrics.text(3, (4, 5));
        assert!(text.contains("inbound_proxy_handed_on_total{how=\"ticket\"} 1\n"));
        assert!(text.contains("inbound_proxy_homes_connected 3\n"));
        for line in text.lines().filter(|line| !line.starts_with("# TYPE ")) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("inbound_proxy_") && value.parse::<u64>().is_ok(), "{line}");
        }
    }
}
