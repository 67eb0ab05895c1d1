//! What metering costs outbound-proxy in bulk: the same bytes through the same loop, with the meter and without, and spliced
//! without being looked at, in turns in one run. The goal is less than 3 % for the meter.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use outbound_proxy::grant::{Allowance, HomeGrant};
use outbound_proxy::limits;
use outbound_proxy::service::books::Books;
use outbound_proxy::service::pieces::Pieces;
use outbound_proxy::service::session::Session;
use relay_link::homes::Homes;
use relay_link::keys::LinkKey;
use relay_link::relay::{Moved, Pipes, relay};
use tests::Scratch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Octets of one turn.
const BULK: usize = 1 << 30;
/// Turns of each.
const TURNS: usize = 5;

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let other = listener.accept().await.unwrap().0;
    one.set_nodelay(true).unwrap();
    other.set_nodelay(true).unwrap();
    (one, other)
}

/// TLS records as large as they are in bulk.
fn records() -> Vec<u8> {
    let body = 16_384 + 17;
    let record = [&[23, 3, 3, (body >> 8) as u8, (body & 0xff) as u8][..], &vec![7; body]].concat();
    record.repeat(16)
}

/// A home that sends in bulk, and a far server that takes it: both ends of what is measured.
async fn ends(mut home: TcpStream, mut server: TcpStream, clear: bool) -> Duration {
    if clear {
        let mut heard = [0; 200];
        server.write_all(b"220 far\r\n").await.unwrap();
        let _ = home.read(&mut heard).await.unwrap();
        for (said, answered) in [("EHLO home.test\r\n", "250 far\r\n"), ("STARTTLS\r\n", "220 go\r\n")] {
            home.write_all(said.as_bytes()).await.unwrap();
            let _ = server.read(&mut heard).await.unwrap();
            server.write_all(answered.as_bytes()).await.unwrap();
            let _ = home.read(&mut heard).await.unwrap();
        }
        home.write_all(&[22, 3, 1, 0, 1, 0]).await.unwrap();
    }
    let began = Instant::now();
    let sending = tokio::spawn(async move {
        let (bytes, mut left) = (records(), BULK);
        while left > 0 {
            home.write_all(&bytes).await.unwrap();
            left = left.saturating_sub(bytes.len());
        }
        home.shutdown().await.unwrap();
        home
    });
    let mut buffer = vec![0; 256 * 1024];
    while server.read(&mut buffer).await.unwrap() > 0 {}
    let took = began.elapsed();
    drop(server);
    drop(sending.await.unwrap());
    took
}

/// The same loop, and nothing looked at.
async fn copied(from: &TcpStream, to: &TcpStream) {
    let mut piece = vec![0; limits::PIECE];
    loop {
        from.readable().await.unwrap();
        let count = match from.try_read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(_) => continue,
        };
        let mut left = &piece[..count];
        while !left.is_empty() {
            to.writable().await.unwrap();
            if let Ok(written) = to.try_write(left) {
                left = &left[written..];
            }
        }
    }
    rustix::net::shutdown(to, rustix::net::Shutdown::Write).unwrap();
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    BULK as f64 / times[times.len() / 2].as_secs_f64() / 1e6
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let scratch = Scratch::new("metering");
    let homes = Homes::<HomeGrant>::open(&scratch.path().join("homes")).unwrap();
    let most = Allowance { bucket: u32::MAX, daily: u32::MAX, hourly: u32::MAX, ..Allowance::default() };
    let now = SystemTime::now();
    let invited = homes.invite("home", HomeGrant { allowance: most }, now, Duration::from_secs(600)).unwrap();
    homes.pair(&invited.secret, LinkKey::generate().unwrap().public(), now).unwrap();
    let books = Books::open(&scratch.path().join("spent")).unwrap();
    let (mut metered, mut plain, mut spliced) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let tab = books.tab(&homes, "home").unwrap();
        metered.push(runtime.block_on(async {
            let ((home, at_home), (at_server, server)) = (pair().await, pair().await);
            let task = tokio::spawn(async move {
                let pieces = Pieces::default();
                Session::new(&at_home, &at_server, &tab, &pieces).run().await.unwrap();
            });
            let took = ends(home, server, true).await;
            task.await.unwrap();
            took
        }));
        plain.push(runtime.block_on(async {
            let ((home, at_home), (at_server, server)) = (pair().await, pair().await);
            let task = tokio::spawn(async move { copied(&at_home, &at_server).await });
            let took = ends(home, server, false).await;
            task.await.unwrap();
            took
        }));
        spliced.push(runtime.block_on(async {
            let ((home, at_home), (at_server, server)) = (pair().await, pair().await);
            let pipes = Arc::new(Pipes::default());
            let task = tokio::spawn(async move {
                let _ = relay(&at_home, &at_server, &pipes, &Moved::default()).await;
            });
            let took = ends(home, server, false).await;
            task.await.unwrap();
            took
        }));
    }
    let (metered, plain, spliced) = (median(metered), median(plain), median(spliced));
    println!(
        "metered {metered:7.0} MB/s\nplain   {plain:7.0} MB/s   metering costs {:.1} %",
        (1.0 - metered / plain) * 100.0
    );
    println!("spliced {spliced:7.0} MB/s   {:.2} of it", metered / spliced);
}
