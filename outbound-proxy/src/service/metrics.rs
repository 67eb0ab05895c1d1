//! Numbers for Prometheus: how much, never who with whom.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use relay_link::outbound::Refusal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::Service;
use super::session::Facts;
use crate::limits;

/// What a refusal counts as.
const REASONS: [&str; 7] = ["spent", "sessions", "networks", "concurrent", "address", "lookups", "other"];

/// The numbers.
#[derive(Debug, Default)]
pub struct Counters {
    begun: AtomicU64,
    running: AtomicI64,
    cut: AtomicU64,
    empty: AtomicU64,
    units: AtomicU64,
    out: AtomicU64,
    back: AtomicU64,
    refused: [AtomicU64; REASONS.len()],
}

/// A session that runs.
#[derive(Debug)]
pub struct Running<'a>(&'a Counters);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counters {
    /// A session was charged.
    pub fn begun(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// One was fetched.
    pub fn running(&self) -> Running<'_> {
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(self)
    }

    /// One has ended; `cut`: it was not what it must be.
    pub fn ended(&self, facts: &Facts, cut: bool) {
        self.units.fetch_add(facts.units, Ordering::Relaxed);
        self.out.fetch_add(facts.out, Ordering::Relaxed);
        self.back.fetch_add(facts.back, Ordering::Relaxed);
        self.cut.fetch_add(cut.into(), Ordering::Relaxed);
        self.empty.fetch_add((facts.out < limits::LETTER).into(), Ordering::Relaxed);
    }

    /// One was refused.
    pub fn refused(&self, why: Refusal) {
        let reason = match why {
            Refusal::Spent(_) => 0,
            Refusal::Sessions(_) => 1,
            Refusal::Networks(_) => 2,
            Refusal::Concurrent => 3,
            Refusal::NotPublic => 4,
            Refusal::LookUps(_) => 5,
            _ => 6,
        };
        self.refused[reason].fetch_add(1, Ordering::Relaxed);
    }

    fn text(&self, homes: usize) -> String {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let mut text = String::new();
        let mut say = |name: &str, kind: &str, value: &dyn std::fmt::Display| {
            let _ = write!(text, "# TYPE outbound_proxy_{name} {kind}\noutbound_proxy_{name} {value}\n");
        };
        say("homes_connected", "gauge", &homes);
        say("sessions_running", "gauge", &self.running.load(Ordering::Relaxed));
        say("sessions_total", "counter", &read(&self.begun));
        say("sessions_cut_total", "counter", &read(&self.cut));
        say("sessions_empty_total", "counter", &read(&self.empty));
        say("units_total", "counter", &read(&self.units));
        say("bytes_out_total", "counter", &read(&self.out));
        say("bytes_back_total", "counter", &read(&self.back));
        let _ = writeln!(text, "# TYPE outbound_proxy_refused_total counter");
        for (reason, count) in REASONS.iter().zip(&self.refused) {
            let _ = writeln!(text, "outbound_proxy_refused_total{{reason=\"{reason}\"}} {}", read(count));
        }
        text
    }
}

/// Answers whoever asks, whatever it asks for.
pub async fn serve(service: Arc<Service>, listener: TcpListener) {
    answer_all(listener, Arc::new(move || service.counters.text(service.hall.count()))).await;
}

async fn answer_all(listener: TcpListener, text: Arc<impl Fn() -> String + Send + Sync + 'static>) {
    let room = Arc::new(Semaphore::new(limits::SCRAPES));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(limits::METRICS_TIME).await;
            continue;
        };
        let (text, Ok(permit)) = (text.clone(), room.clone().try_acquire_owned()) else { continue };
        tokio::spawn(async move {
            let _ = timeout(limits::METRICS_TIME, answer(&*text, stream)).await;
            drop(permit);
        });
    }
}

async fn answer(text: &impl Fn() -> String, mut stream: TcpStream) -> std::io::Result<()> {
    let (mut request, mut have) = ([0; limits::METRICS_REQUEST], 0);
    while have < request.len() && !request[..have].windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut request[have..]).await? {
            0 => break,
            read => have += read,
        }
    }
    let text = text();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{text}", text.len()).as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn scrape(at: std::net::SocketAddr) -> String {
        let (mut stream, mut answer) = (TcpStream::connect(at).await.unwrap(), String::new());
        // Who has no place is closed at once, perhaps before it has asked.
        if stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.is_ok() {
            let _ = stream.read_to_string(&mut answer).await;
        }
        answer
    }

    #[tokio::test]
    async fn who_asks_and_says_nothing_has_its_time_and_leaves_room() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let numbers = Arc::new(|| Counters::default().text(3));
        tokio::spawn(answer_all(listener, numbers));
        // They are accepted in their order: the last of them has the last place.
        let mut silent = Vec::new();
        for _ in 0..limits::SCRAPES {
            silent.push(TcpStream::connect(at).await.unwrap());
        }
        assert_eq!(scrape(at).await, "", "no more than so many");
        // Their time is over, and it closes.
        assert_eq!(silent[0].read(&mut [0]).await.unwrap_or(0), 0);
        while !scrape(at).await.contains("outbound_proxy_homes_connected 3\n") {
            sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}
