//! A spam run that waits for no reply, against real connections and a far server that counts what it takes; and letters that are
//! none. TLS is its records alone: nobody on the way sees more of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use outbound_proxy::grant::{Allowance, HomeGrant};
use outbound_proxy::limits;
use outbound_proxy::service::books::Books;
use outbound_proxy::service::pieces::Pieces;
use outbound_proxy::service::session::Session;
use relay_link::homes::Homes;
use relay_link::keys::LinkKey;
use tokio::runtime::Builder;

/// Octets of a record beside its plaintext: its header, and what TLS 1.3 adds.
const AROUND: usize = 5 + 17;
/// Octets of one RCPT command, and of the reply to it (measured).
const RCPT: usize = 27;
const REPLY: usize = 14;
/// Half of an ordinary one: a new home's.
const BUCKET: u32 = 750;

fn record(kind: u8, plain: usize) -> Vec<u8> {
    let length = plain + 17;
    [&[kind, 3, 3, (length >> 8) as u8, (length & 0xff) as u8][..], &vec![b'r'; length]].concat()
}

fn server_hello() -> Vec<u8> {
    let body = [&[3, 3][..], &[7; 32], &[32], &[9; 32], &[0x13, 1], &[0, 0, 0]].concat();
    let message = [&[2, 0, 0, body.len() as u8][..], &body].concat();
    [&[22, 3, 3, 0, message.len() as u8][..], &message, &record(23, 1_800)].concat()
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

/// The plaintext's length of the next record; `None` at the end.
fn next(from: &mut impl Read) -> Option<usize> {
    let mut header = [0; 5];
    from.read_exact(&mut header).ok()?;
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some(length.saturating_sub(17))
}

fn line(from: &mut impl Read) {
    let mut octet = [0];
    while octet != *b"\n" {
        from.read_exact(&mut octet).unwrap();
    }
}

/// The far server up to the reply to EHLO under TLS; what comes then is given to `rest`.
fn far(stream: TcpStream, rest: impl FnOnce(BufReader<TcpStream>, TcpStream)) {
    clear(stream, |mut reading, mut stream| {
        after_the_hello(&mut reading, &mut stream);
        stream.write_all(&record(23, 155)).unwrap();
        rest(reading, stream);
    });
}

/// The same up to the ClientHello.
fn clear(mut stream: TcpStream, rest: impl FnOnce(BufReader<TcpStream>, TcpStream)) {
    let mut reading = BufReader::with_capacity(4_096, stream.try_clone().unwrap());
    stream.write_all(b"220 far\r\n").unwrap();
    for answer in ["250 far\r\n", "220 go\r\n"] {
        line(&mut reading);
        stream.write_all(answer.as_bytes()).unwrap();
    }
    next(&mut reading).unwrap();
    rest(reading, stream);
}

/// The home up to the same point.
fn begin(stream: &mut TcpStream) {
    shakes(stream);
    stream.write_all(&[record(23, 36), record(23, 25)].concat()).unwrap();
    next(stream).unwrap();
}

/// The same up to what the far server says to its ClientHello.
fn shakes(stream: &mut TcpStream) {
    line(stream);
    for command in ["EHLO home.test\r\n", "STARTTLS\r\n"] {
        stream.write_all(command.as_bytes()).unwrap();
        line(stream);
    }
    stream.write_all(&record(22, 300)).unwrap();
    next(stream).unwrap();
    next(stream).unwrap();
}

/// A proxy with one home that has a bucket, and gets nothing back.
struct Proxy {
    folder: PathBuf,
    homes: Homes<HomeGrant>,
    books: Books,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Proxy {
    fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }

    fn new(name: &str, bucket: u32) -> Arc<Self> {
        let folder = std::env::temp_dir().join(format!("pipelining-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let homes = Homes::<HomeGrant>::open(&folder.join("homes")).unwrap();
        let allowance = Allowance { bucket: 2 * bucket, hourly: 2, ..Allowance::default() };
        let now = SystemTime::now();
        let invited = homes.invite("home", HomeGrant { allowance }, now, Duration::from_secs(600)).unwrap();
        homes.pair(&invited.secret, LinkKey::generate().unwrap().public(), now).unwrap();
        let books = Books::open(&folder.join("spent")).unwrap();
        Arc::new(Self { folder, homes, books })
    }

    /// A session: its two ends.
    fn session(self: &Arc<Self>) -> (TcpStream, TcpStream, JoinHandle<()>) {
        let ((home, at_home), (at_server, server)) = (pair(), pair());
        let proxy = self.clone();
        let running = thread::spawn(move || {
            Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let [at_home, at_server] = [at_home, at_server].map(|stream| {
                    stream.set_nonblocking(true).unwrap();
                    tokio::net::TcpStream::from_std(stream).unwrap()
                });
                let (tab, pieces) = (proxy.books.tab(&proxy.homes, "home").unwrap(), Pieces::default());
                let _ = Session::new(&at_home, &at_server, &tab, &pieces).run().await;
            });
        });
        (home, server, running)
    }
}

/// A home that means harm: so many sessions, in each perhaps a body first, and then recipients without end, a hundred in a record,
/// and it waits for nothing.
#[derive(Default)]
struct Run {
    sessions: usize,
    /// Records of a body.
    body: usize,
    /// How long the far server needs for the end of the body, and for one recipient.
    end: Duration,
    each: Duration,
}

/// Octets of a record of a body; nothing else has so many.
const BODY: usize = 16_384 - AROUND;

impl Run {
    /// Recipients that its far server took. It answers when it has nothing more to read, as servers do.
    fn take(self, name: &str) -> usize {
        let (proxy, taken) = (Proxy::new(name, BUCKET), Arc::new(AtomicUsize::new(0)));
        let Self { sessions, body, end, each } = self;
        for _ in 0..sessions {
            let (mut home, server, _running) = proxy.session();
            let counted = taken.clone();
            thread::spawn(move || {
                far(server, |mut reading, mut stream| {
                    for _ in 0..body {
                        next(&mut reading).unwrap();
                    }
                    thread::sleep(end);
                    while let Some(plain) = next(&mut reading) {
                        let recipients = plain / RCPT;
                        thread::sleep(each * u32::try_from(recipients).unwrap());
                        counted.fetch_add(recipients, Ordering::SeqCst);
                        if stream.write_all(&record(23, REPLY * recipients)).is_err() {
                            return;
                        }
                    }
                });
            });
            thread::spawn(move || {
                begin(&mut home);
                let mut replies = home.try_clone().unwrap();
                thread::spawn(move || while next(&mut replies).is_some() {});
                (0..body).for_each(|_| home.write_all(&record(23, BODY)).unwrap());
                let flight = record(23, RCPT * 100);
                while home.write_all(&flight).is_ok() {}
            });
        }
        // Until nothing more is taken for long.
        let (mut last, mut since) = (0, Instant::now());
        while last == 0 || since.elapsed() < Duration::from_secs(3) {
            thread::sleep(Duration::from_millis(50));
            let now = taken.load(Ordering::SeqCst);
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        // What waits in these sessions waits for hours: they end with this process.
        proxy.remove();
        last
    }
}

/// Two buckets and a half of the shortest commands, and for each session what may always be unread and what this machine's TCP, which
/// grants very much to itself, does not say at once.
fn bound(sessions: usize) -> usize {
    const HIDDEN: usize = 96 * 1024;
    let reach = 5 * BUCKET as usize / 2 * usize::try_from(limits::COMMAND).unwrap();
    (reach + sessions * (HIDDEN + usize::try_from(limits::UNRESERVED).unwrap())) / RCPT
}

fn stops(name: &str, run: Run) {
    let most = bound(run.sessions);
    let took = run.take(name);
    println!("{name}: {took} recipients, {:.1} times the bucket", took as f64 / f64::from(BUCKET));
    assert!((BUCKET as usize / 2..=most).contains(&took), "{name}: {took}, not {most} at most");
}

#[test]
fn a_spam_run_that_waits_for_nothing_stops_near_its_bucket() {
    stops("one", Run { sessions: 1, ..Run::default() });
    stops("five", Run { sessions: 5, ..Run::default() });
}

#[test]
fn a_slow_far_server_gets_no_more() {
    let each = Duration::from_millis(1);
    stops("slow", Run { sessions: 1, each, ..Run::default() });
    stops("slow-five", Run { sessions: 5, each, ..Run::default() });
}

/// Every far server is silent while it reads a body; many for long behind it.
#[test]
fn nor_is_a_body_of_use() {
    let end = Duration::from_secs(2);
    stops("body", Run { sessions: 1, body: 256, ..Run::default() });
    stops("body-end", Run { sessions: 1, body: 256, end, ..Run::default() });
    stops("body-five", Run { sessions: 5, body: 128, end, ..Run::default() });
}

/// How long so many letters take in one session, and what is left then. The far server answers as soon as it can.
fn letters(name: &str, letters: usize, recipients: usize, body: usize) -> (Duration, u64) {
    let proxy = Proxy::new(name, BUCKET);
    let (mut home, server, running) = proxy.session();
    let records = body.div_ceil(BODY);
    let serving = thread::spawn(move || {
        far(server, |mut reading, mut stream| {
            for _ in 0..letters {
                next(&mut reading).unwrap();
                stream.write_all(&record(23, REPLY * (recipients + 1))).unwrap();
                next(&mut reading).unwrap();
                stream.write_all(&record(23, 37)).unwrap();
                for _ in 0..records {
                    assert_eq!(next(&mut reading), Some(BODY));
                }
                stream.write_all(&record(23, 37)).unwrap();
            }
        });
    });
    begin(&mut home);
    let began = Instant::now();
    let piece = record(23, BODY);
    for _ in 0..letters {
        home.write_all(&record(23, 60 + 40 * recipients)).unwrap();
        next(&mut home).unwrap();
        home.write_all(&record(23, 6)).unwrap();
        next(&mut home).unwrap();
        (0..records).for_each(|_| home.write_all(&piece).unwrap());
        next(&mut home).unwrap();
    }
    let took = began.elapsed();
    drop(home);
    serving.join().unwrap();
    running.join().unwrap();
    let left = proxy.books.tab(&proxy.homes, "home").unwrap().budget().left;
    println!("{name}: {took:?}, {left} units are left");
    (took, left)
}

/// A new home's bucket is no bound for what its letters weigh, and no letter waits for anything.
#[test]
fn an_honest_letter_goes_through() {
    // As long as this server's own users may write them.
    let (took, left) = letters("large", 1, 1, 50 << 20);
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert!(left > 700, "{left}");
    let (took, _) = letters("list", 1, 100, 4_000);
    assert!(took < Duration::from_secs(3), "{took:?}");
    let (took, _) = letters("photos", 20, 3, 100_000);
    assert!(took < Duration::from_secs(12), "{took:?}");
}

/// Its session is slowed for hours, and holds one of the home's places.
#[test]
fn a_home_that_goes_is_not_waited_for() {
    let proxy = Proxy::new("gone", 30);
    let (mut home, server, running) = proxy.session();
    let serving = thread::spawn(move || {
        far(server, |mut reading, mut stream| {
            while let Some(plain) = next(&mut reading) {
                let _ = stream.write_all(&record(23, REPLY * plain));
            }
        });
    });
    begin(&mut home);
    home.write_all(&record(23, 100)).unwrap();
    next(&mut home).unwrap();
    home.write_all(&record(23, 100)).unwrap();
    thread::sleep(Duration::from_millis(500));
    // With what it has not read: the other side hears of it at once.
    drop(home);
    running.join().unwrap();
    serving.join().unwrap();
}

/// How a far server can take longer than a minute for one reply after it has said more than it was asked: the others' replies in one
/// flight are long; it thinks about EHLO, and its tickets are there; it thinks about its certificate.
const SLOW: [fn(BufReader<TcpStream>, TcpStream); 3] = [
    |mut reading, mut stream| {
        after_the_hello(&mut reading, &mut stream);
        stream.write_all(&record(23, 155)).unwrap();
        next(&mut reading).unwrap();
        stream.write_all(&record(23, 9 * 51)).unwrap();
        thinks(&mut stream);
    },
    |mut reading, mut stream| {
        after_the_hello(&mut reading, &mut stream);
        stream.write_all(&[record(23, 250), record(23, 250)].concat()).unwrap();
        thinks(&mut stream);
    },
    |mut reading, mut stream| {
        stream.write_all(&server_hello()).unwrap();
        thinks(&mut stream);
        let _ = reading.read_to_end(&mut Vec::new());
    },
];

fn after_the_hello(reading: &mut BufReader<TcpStream>, stream: &mut TcpStream) {
    stream.write_all(&server_hello()).unwrap();
    for _ in 0..2 {
        next(reading).unwrap();
    }
}

fn thinks(stream: &mut TcpStream) {
    thread::sleep(limits::SILENT + Duration::from_secs(10));
    stream.write_all(&record(23, REPLY)).unwrap();
}

/// A home that waits for a reply is not silent, however much it has heard; one that says nothing behind its handshake is.
#[test]
fn who_waits_for_the_rest_is_not_cut_off() {
    let proxy = Proxy::new("rest", BUCKET);
    thread::scope(|scope| {
        for (how, serves) in SLOW.iter().enumerate() {
            let (proxy, began) = (proxy.clone(), Instant::now());
            scope.spawn(move || {
                let (mut home, server, running) = proxy.session();
                let serving = thread::spawn(move || clear(server, *serves));
                match how {
                    0 => {
                        begin(&mut home);
                        home.write_all(&record(23, 300)).unwrap();
                        assert_eq!(next(&mut home), Some(9 * 51));
                    }
                    _ => shakes(&mut home),
                }
                if how == 1 {
                    home.write_all(&[record(23, 36), record(23, 25)].concat()).unwrap();
                    assert_eq!((next(&mut home), next(&mut home)), (Some(250), Some(250)));
                }
                assert_eq!(next(&mut home), Some(REPLY), "{how}: however late");
                assert!(began.elapsed() > limits::SILENT);
                drop(home);
                serving.join().unwrap();
                running.join().unwrap();
            });
        }
        scope.spawn(|| {
            let (mut home, server, running) = proxy.session();
            let serving = thread::spawn(move || {
                clear(server, |mut reading, mut stream| {
                    stream.write_all(&server_hello()).unwrap();
                    next(&mut reading).unwrap();
                    stream.write_all(&record(23, 250)).unwrap();
                    let _ = reading.read_to_end(&mut Vec::new());
                });
            });
            shakes(&mut home);
            home.write_all(&record(23, 36)).unwrap();
            let began = Instant::now();
            assert_eq!((next(&mut home), next(&mut home)), (Some(250), None), "closed");
            assert!(began.elapsed() >= limits::SILENT && began.elapsed() < limits::SILENT + Duration::from_secs(15));
            running.join().unwrap();
            serving.join().unwrap();
        });
    });
}

/// Far servers that hang, and a home that has given them up: its other letters go on meanwhile.
#[test]
fn who_has_gone_holds_no_place() {
    let proxy = Proxy::new("left", BUCKET);
    let tab = || proxy.books.tab(&proxy.homes, "home").unwrap();
    let concurrent = Allowance::default().at_age(Duration::ZERO).concurrent;
    let mut left = Vec::new();
    for _ in 0..concurrent {
        let gone = tab();
        gone.leaves();
        gone.leaves();
        left.push(gone);
    }
    let places: Vec<_> = (0..concurrent).map(|_| tab()).collect();
    assert!(places.iter().all(|tab| tab.room().is_ok()), "all of its places are free");
    assert!(tab().room().is_err(), "and no more than those");
    drop(places);
    // One more such keeps its place.
    let gone = tab();
    gone.leaves();
    let places: Vec<_> = (1..concurrent).map(|_| tab()).collect();
    assert!(places.iter().all(|tab| tab.room().is_ok()) && tab().room().is_err());
    drop((left, gone, places));
    let places: Vec<_> = (0..concurrent).map(|_| tab()).collect();
    assert!(places.iter().all(|tab| tab.room().is_ok()) && tab().room().is_err(), "nothing of it is left");
}

/// The same through a session whose far server never answers.
#[test]
fn a_far_server_that_hangs_takes_no_place() {
    let proxy = Proxy::new("hangs", BUCKET);
    let (mut home, server, running) = proxy.session();
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let serving = thread::spawn(move || {
        far(server, move |_reading, _stream| {
            let _ = held.recv();
        })
    });
    begin(&mut home);
    home.write_all(&record(23, 300)).unwrap();
    let tab = || proxy.books.tab(&proxy.homes, "home").unwrap();
    let free = || {
        let mut tabs = Vec::new();
        loop {
            tabs.push(tab());
            if tabs.last().is_none_or(|tab| tab.room().is_err()) {
                return tabs.len() - 1;
            }
        }
    };
    let before = free();
    drop(home);
    let until = Instant::now() + Duration::from_secs(20);
    while free() != before + 1 {
        assert!(Instant::now() < until, "its place is never given back");
        thread::sleep(Duration::from_millis(20));
    }
    drop(hold);
    serving.join().unwrap();
    running.join().unwrap();
}

/// What a home can do while replies are on their way that it does not want to hear.
const ENDS: [fn(TcpStream); 4] = [
    |home| {
        rustix::net::sockopt::set_socket_linger(&home, Some(Duration::ZERO)).unwrap();
    },
    drop,
    |home| home.shutdown(std::net::Shutdown::Write).unwrap(),
    // With what is no TLS, and with its line open.
    |mut home| {
        home.write_all(b"RSET\r\n").unwrap();
        let _ = home.read_to_end(&mut Vec::new());
    },
];

/// A far server answers when it has taken all of it: who is gone by then has paid nothing yet.
#[test]
fn whoever_breaks_off_pays_for_what_is_taken() {
    let proxy = Proxy::new("breaks-off", BUCKET);
    let tab = || proxy.books.tab(&proxy.homes, "home").unwrap();
    let budget = || tab().budget();
    let (mut taken, mut before) = (0, budget().today.0);
    for end in ENDS.iter().cycle().take(40) {
        if !tab().pace().is_zero() {
            break;
        }
        let (mut home, server, running) = proxy.session();
        let serving = thread::spawn(move || {
            let mut recipients = 0;
            far(server, |mut reading, mut stream| {
                while let Some(plain) = next(&mut reading) {
                    recipients += plain / RCPT;
                    thread::sleep(Duration::from_millis(200));
                }
                let _ = stream.write_all(&record(23, REPLY * recipients));
            });
            recipients as u64
        });
        begin(&mut home);
        home.write_all(&[record(23, RCPT * 100), record(23, RCPT * 100)].concat()).unwrap();
        thread::sleep(Duration::from_millis(50));
        end(home);
        let took = serving.join().unwrap();
        running.join().unwrap();
        let after = budget().today.0;
        assert_eq!((took, after - before), (200, 200));
        (taken, before) = (taken + took, after);
    }
    assert!((u64::from(BUCKET)..=u64::from(BUCKET) + 200).contains(&taken), "{taken} within one bucket");
    assert_eq!(tab().reserve(1 << 30), 3 * u64::from(BUCKET) / 2 * limits::COMMAND, "nothing of it is out any more");
}
