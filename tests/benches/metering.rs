//! What metering costs outbound-proxy in bulk: the same bytes through the same loop, with the meter and without, and spliced
//! without being looked at, in many short turns in one run; of each turn's ratio to the bare loop of the same turn the median.
//! The goal is less than 3 % for the meter. (To read the headers alone and splice the bodies costs more than to copy all: a call
//! costs more than the copying of 16 KiB.)
//!
//! Time on the clock has in it whoever else is at work on the machine. The processor time of the thread that moves the bytes
//! has not; both are said.
//!
//! Then letters of ordinary homes, old and new, with the buckets that such homes have, beside a relay that looks at nothing, over this
//! machine's own loopback: what a window costs there is a timer's tick, and on a real path nothing while the path has no more on
//! the way than the window. Some five minutes; half a minute without these.
//!
//! `cargo bench --profile release -p tests --bench metering [-- bulk|homes]`

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench")]

use std::future::Future;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
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
use tokio::net::TcpStream as Asynchronous;
use tokio::runtime::{Builder, Runtime};

/// Octets of one turn.
const BULK: usize = 64 << 20;
/// Turns of each.
const TURNS: usize = 100;

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let other = listener.accept().unwrap().0;
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

/// The clear part, and the beginning of TLS.
fn begin(home: &mut TcpStream, server: &mut TcpStream) {
    let mut heard = [0; 200];
    server.write_all(b"220 far\r\n").unwrap();
    let _ = home.read(&mut heard).unwrap();
    for (said, answered) in [("EHLO home.test\r\n", "250 far\r\n"), ("STARTTLS\r\n", "220 go\r\n")] {
        home.write_all(said.as_bytes()).unwrap();
        let _ = server.read(&mut heard).unwrap();
        server.write_all(answered.as_bytes()).unwrap();
        let _ = home.read(&mut heard).unwrap();
    }
    home.write_all(&[22, 3, 1, 0, 1, 0]).unwrap();
    let _ = server.read(&mut heard).unwrap();
}

/// Seconds on the clock, and of this thread's processor.
struct Took {
    clock: f64,
    processor: f64,
}

/// proc_pid_schedstat(5): nanoseconds on a processor come first.
fn processor() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// A home that sends in bulk and a far server that takes it, each in a thread; between them, in this one, what is measured.
fn turn<F: Future<Output = ()>>(runtime: &Runtime, between: impl FnOnce(Asynchronous, Asynchronous) -> F) -> Took {
    let ((mut home, at_home), (at_server, mut server)) = (pair(), pair());
    let ends = std::thread::spawn(move || {
        begin(&mut home, &mut server);
        let sending = std::thread::spawn(move || {
            let (bytes, mut left) = (records(), BULK);
            while left > 0 {
                home.write_all(&bytes).unwrap();
                left = left.saturating_sub(bytes.len());
            }
            home.shutdown(Shutdown::Write).unwrap();
            home
        });
        let mut buffer = vec![0; 256 * 1024];
        while server.read(&mut buffer).unwrap() > 0 {}
        drop((server, sending.join().unwrap()));
    });
    let (began, before) = (Instant::now(), processor());
    runtime.block_on(async {
        let [at_home, at_server] = [at_home, at_server].map(|stream| {
            stream.set_nonblocking(true).unwrap();
            Asynchronous::from_std(stream).unwrap()
        });
        between(at_home, at_server).await;
    });
    let took = Took { clock: began.elapsed().as_secs_f64(), processor: processor() - before };
    ends.join().unwrap();
    took
}

/// The clear part as it comes: the far server and the home speak in turn.
async fn in_clear(home: &Asynchronous, server: &Asynchronous) {
    for (from, to) in [(server, home), (home, server), (server, home), (home, server), (server, home)] {
        let mut piece = [0; 200];
        let said = loop {
            from.readable().await.unwrap();
            if let Ok(said) = from.try_read(&mut piece) {
                break said;
            }
        };
        to.writable().await.unwrap();
        assert_eq!(to.try_write(&piece[..said]).unwrap(), said);
    }
}

/// The same loop, and nothing looked at. It ends as a session does: when the far server has had all of it.
async fn copied(from: Asynchronous, mut to: Asynchronous) {
    in_clear(&from, &to).await;
    let mut piece = vec![0; limits::LARGE_PIECE];
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
    to.shutdown().await.unwrap();
    assert_eq!(to.read(&mut piece).await.unwrap(), 0);
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// A session's letters: how many, and how long.
#[derive(Clone, Copy)]
struct Letters(usize, usize);

/// Octets of a letter's commands and of the replies to them; of the reply to its end.
const COMMANDS: usize = 300;
const REPLIES: usize = 110;
const REPLY: usize = 59;

fn record(octets: usize) -> Vec<u8> {
    let body = octets - 5;
    [&[23, 3, 3, (body >> 8) as u8, (body & 0xff) as u8][..], &vec![7; body]].concat()
}

/// A home that waits for replies as mail servers do; how long all of it took.
fn session<F: Future<Output = ()>>(
    runtime: &Runtime,
    Letters(count, octets): Letters,
    between: impl FnOnce(Asynchronous, Asynchronous) -> F,
) -> f64 {
    let ((mut home, at_home), (at_server, mut server)) = (pair(), pair());
    let bulk = records();
    let octets = octets.div_ceil(bulk.len() / 16) * (bulk.len() / 16);
    let ends = std::thread::spawn(move || {
        begin(&mut home, &mut server);
        server.write_all(&[22, 3, 3, 0, 1, 0]).unwrap();
        home.read_exact(&mut [0; 6]).unwrap();
        let serving = std::thread::spawn(move || {
            let mut heard = vec![0; 64 * 1024];
            for (wanted, answer) in [(COMMANDS, REPLIES), (octets, REPLY)].repeat(count) {
                let mut left = wanted;
                while left > 0 {
                    let most = left.min(heard.len());
                    left -= server.read(&mut heard[..most]).unwrap();
                }
                server.write_all(&record(answer)).unwrap();
            }
        });
        let began = Instant::now();
        for _ in 0..count {
            home.write_all(&record(COMMANDS)).unwrap();
            home.read_exact(&mut [0; REPLIES]).unwrap();
            let mut left = octets;
            while left > 0 {
                let some = left.min(bulk.len());
                home.write_all(&bulk[..some]).unwrap();
                left -= some;
            }
            home.read_exact(&mut [0; REPLY]).unwrap();
        }
        let took = began.elapsed().as_secs_f64();
        home.shutdown(Shutdown::Both).unwrap();
        serving.join().unwrap();
        took
    });
    runtime.block_on(async {
        let [at_home, at_server] = [at_home, at_server].map(|stream| {
            stream.set_nonblocking(true).unwrap();
            Asynchronous::from_std(stream).unwrap()
        });
        between(at_home, at_server).await;
    });
    ends.join().unwrap()
}

/// An ordinary home, so old, with a full bucket; what it sends goes through its own books.
fn through_the_proxy(runtime: &Runtime, age: Duration, letters: Letters) -> f64 {
    let scratch = Scratch::new("ordinary");
    let homes = Homes::<HomeGrant>::open(&scratch.path().join("homes")).unwrap();
    let since = SystemTime::now() - age;
    let invited = homes.invite("home", HomeGrant::default(), since, Duration::from_secs(600)).unwrap();
    homes.pair(&invited.secret, LinkKey::generate().unwrap().public(), since).unwrap();
    let books = Books::open(&scratch.path().join("spent")).unwrap();
    let (tab, pieces) = (books.tab(&homes, "home").unwrap(), Pieces::default());
    session(runtime, letters, |home, server| async move {
        let _ = Session::new(&home, &server, &tab, &pieces).run().await;
    })
}

fn ordinary_homes(runtime: &Runtime) {
    const TURNS: usize = 9;
    let kinds = [
        ("25 MB", Letters(1, 25_000_000)),
        ("20 of 100 kB", Letters(20, 100_000)),
        ("20 of 20 kB", Letters(20, 20_000)),
    ];
    for (name, letters) in kinds {
        let unmetered = || {
            session(runtime, letters, |mut home, mut server| async move {
                let _ = tokio::io::copy_bidirectional(&mut home, &mut server).await;
            })
        };
        let turns: Vec<[f64; 3]> = (0..TURNS)
            .map(|_| {
                let [old, new] = [limits::NEW, Duration::ZERO].map(|age| through_the_proxy(runtime, age, letters));
                [unmetered(), old, new]
            })
            .collect();
        let [plain, old, new] = [0, 1, 2].map(|at| median(turns.iter().map(|turn| turn[at] * 1e3)));
        println!("{name:12}: unmetered {plain:6.1} ms, an old home's {old:6.1} ms, a new one's {new:6.1} ms");
    }
}

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let only = std::env::args().nth(1).filter(|word| !word.starts_with('-'));
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    if wanted("homes") {
        ordinary_homes(&runtime);
    }
    if wanted("bulk") {
        bulk(&runtime);
    }
}

/// The same bytes in each of three ways, in turns.
fn bulk(runtime: &Runtime) {
    let scratch = Scratch::new("metering");
    let homes = Homes::<HomeGrant>::open(&scratch.path().join("homes")).unwrap();
    let many = u32::MAX;
    let most =
        Allowance { bucket: many, daily: many, hourly: many, megabytes: many, sessions: many, ..Allowance::default() };
    let now = SystemTime::now();
    let invited = homes.invite("home", HomeGrant { allowance: most }, now, Duration::from_secs(600)).unwrap();
    homes.pair(&invited.secret, LinkKey::generate().unwrap().public(), now).unwrap();
    let books = Books::open(&scratch.path().join("spent")).unwrap();
    let (pieces, pipes) = (Pieces::default(), Arc::new(Pipes::default()));
    let metered = || {
        let tab = books.tab(&homes, "home").unwrap();
        let pieces = &pieces;
        turn(runtime, |home, server| async move {
            let _ = Session::new(&home, &server, &tab, pieces).run().await;
        })
    };
    let plain = || turn(runtime, copied);
    let spliced = || {
        let pipes = pipes.clone();
        turn(runtime, |home, server| async move {
            in_clear(&home, &server).await;
            let _ = relay(&home, &server, &pipes, &Moved::default()).await;
        })
    };
    let ways: [(&str, &dyn Fn() -> Took); 3] = [("plain", &plain), ("metered", &metered), ("spliced", &spliced)];
    let turns: Vec<[Took; 3]> = (0..TURNS)
        .map(|number| {
            // Who goes first changes: a processor's clock and the caches do not favour one of them.
            let mut took = [None, None, None];
            (0..ways.len()).map(|at| (at + number) % ways.len()).for_each(|at| took[at] = Some(ways[at].1()));
            took.map(Option::unwrap)
        })
        .collect();
    for (at, (name, _)) in ways.iter().enumerate() {
        let rate = median(turns.iter().map(|turn| BULK as f64 / turn[at].clock / 1e6));
        let work = median(turns.iter().map(|turn| turn[at].processor * 1e3 / (BULK as f64 / (1u64 << 30) as f64)));
        println!("{name:8} {rate:6.0} MB/s, {work:4.0} ms of processor a GiB");
    }
    let ratio = |of: usize, what: fn(&Took) -> f64| median(turns.iter().map(|turn| what(&turn[of]) / what(&turn[0])));
    for (at, (name, _)) in ways.iter().enumerate().skip(1) {
        let [clock, processor] = [ratio(at, |took| took.clock), ratio(at, |took| took.processor)];
        println!(
            "{name} costs {:+.1} % of time, {:+.1} % of processor time",
            (clock - 1.0) * 1e2,
            (processor - 1.0) * 1e2
        );
    }
}
