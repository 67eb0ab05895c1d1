//! Mail out, beside Postfix. One run, in turn, on one disk, in a network of its own: 1,000 letters of 20 KB handed in over
//! 10 connections (TLS), from the first connection to the last letter in the sink, to one domain and to 100. The sink is
//! Postfix's, and speaks no TLS: neither side does to it. Ours examines, seals and signs each letter besides.
//!
//! Then a queue of 20,000 letters whose destinations do not answer: memory of all processes, and the time of a start.
//! `POSTERN_LETTERS=2000` for a smaller one; none of the first part with `POSTERN_ROUNDS=0`; `POSTERN_CONNECTIONS=1` for
//! what one letter takes; `POSTERN_ROLES=1` for what each role works for it, and what memory it has.
//!
//! `POSTERN_PEERS=target/peers cargo bench --profile release -p tests --bench outgoing`

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot go on must stop")]

use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::alone::{self, DNS, FAR};
use tests::measure::{busy, cpu, cpu_by_role, pss, pss_by_role, row};
use tests::names::Names;
use tests::talk::Talk;
use tests::{Authority, House, Setup, smtp};

const LETTERS: usize = 1_000;
const DOMAINS: usize = 100;
const PORT: u16 = 31_465;

/// Postfix and the sink.
struct Rival {
    child: Child,
    taken: Arc<AtomicUsize>,
}

impl Rival {
    fn start(authority: &Authority) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = tests::peers::folder().join("sender");
        let mut child = Command::new(here.join("benches/sender"))
            .arg(&root)
            .arg(PORT.to_string())
            .args([authority.certificate(), authority.key()])
            .args([DNS, FAR])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let taken = Arc::new(AtomicUsize::new(0));
        let (mut counters, counting) = (child.stdout.take().unwrap(), taken.clone());
        std::thread::spawn(move || {
            let (mut line, mut byte) = (String::new(), [0]);
            // "sess=1 quit=0 mesg=17", and a carriage return.
            while counters.read_exact(&mut byte).is_ok() {
                if byte[0] != b'\r' {
                    line.push(char::from(byte[0]));
                    continue;
                }
                let count = line.rsplit("mesg=").next().and_then(|number| number.trim().parse().ok());
                counting.store(count.unwrap_or(0), Ordering::Relaxed);
                line.clear();
            }
        });
        for address in [(FAR, 25), ("127.0.0.1", PORT)] {
            let up = (0..100).any(|_| {
                std::thread::sleep(Duration::from_millis(100));
                std::net::TcpStream::connect(address).is_ok()
            });
            assert!(up, "nothing on {address:?}");
        }
        Self { child, taken }
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where letters are handed in.
#[derive(Clone, Copy)]
struct Server<'a> {
    address: SocketAddr,
    authority: &'a Authority,
    from: &'a str,
    /// Of a login; Postfix lets its own network in.
    password: Option<&'a str>,
    pid: u32,
}

impl Server<'_> {
    fn connect(&self) -> Talk {
        let mut talk = Talk::to(self.address, self.authority).unwrap();
        talk.handshake().unwrap();
        assert_eq!(reply(&mut talk), "220");
        ask(&mut talk, "EHLO client.example.org", "250");
        if let Some(password) = self.password {
            let words = wire::base64::encode(format!("\0{}\0{password}", self.from).as_bytes());
            ask(&mut talk, &format!("AUTH PLAIN {words}"), "235");
        }
        talk
    }

    /// One letter a recipient, over all connections.
    fn submit(&self, recipients: &[String], bytes: usize) {
        let text = smtp::letter("bench", bytes).replace("aunt@example.org", self.from).replace('\n', "\r\n");
        std::thread::scope(|scope| {
            for some in recipients.chunks(recipients.len().div_ceil(number("POSTERN_CONNECTIONS", 10))) {
                let text = &text;
                scope.spawn(move || {
                    // A connection takes so many letters and no more.
                    for some in some.chunks(90) {
                        let mut talk = self.connect();
                        for to in some {
                            ask(&mut talk, &format!("MAIL FROM:<{}>", self.from), "250");
                            ask(&mut talk, &format!("RCPT TO:<{to}>"), "250");
                            ask(&mut talk, "DATA", "354");
                            ask(&mut talk, &format!("{text}\r\n."), "250");
                        }
                        ask(&mut talk, "QUIT", "221");
                    }
                });
            }
        });
    }
}

fn ask(talk: &mut Talk, line: &str, code: &str) {
    talk.send(format!("{line}\r\n").as_bytes()).unwrap();
    assert_eq!(reply(talk), code, "{}", &line[..line.len().min(60)]);
}

fn reply(talk: &mut Talk) -> String {
    loop {
        let line = talk.line().unwrap();
        if line.as_bytes().get(3) != Some(&b'-') {
            return line.get(..3).unwrap_or_default().to_owned();
        }
    }
}

/// Seconds until all are in the sink, seconds until all were handed in, and processor milliseconds a letter.
fn send(server: Server<'_>, sink: &AtomicUsize, domains: usize) -> (f64, f64, f64) {
    let to: Vec<String> = (0..LETTERS).map(|n| format!("p{n}@d{}.test", n % domains)).collect();
    let (roles, worked) = (cpu_by_role(server.pid), busy());
    let (before, used, began) = (sink.load(Ordering::Relaxed), cpu(server.pid), Instant::now());
    server.submit(&to, 20_000);
    let submitted = began.elapsed().as_secs_f64();
    while sink.load(Ordering::Relaxed) < before + LETTERS {
        assert!(began.elapsed() < Duration::from_secs(300), "{} letters came", sink.load(Ordering::Relaxed) - before);
        std::thread::sleep(Duration::from_millis(2));
    }
    let took = began.elapsed().as_secs_f64();
    let worked = busy() - worked;
    std::thread::sleep(Duration::from_secs(1));
    if std::env::var_os("POSTERN_ROLES").is_some() {
        eprintln!("{took:.2} s; the processors worked for {worked:.2} s");
        for (role, after) in cpu_by_role(server.pid) {
            let used = (after - roles.get(&role).unwrap_or(&0.0)) * 1_000.0 / LETTERS as f64;
            if used >= 0.01 {
                eprintln!("    {role:<24} {used:6.2} ms a letter");
            }
        }
    }
    (took, submitted, (cpu(server.pid) - used) * 1_000.0 / LETTERS as f64)
}

fn middle(values: &[(f64, f64, f64)], of: fn(&(f64, f64, f64)) -> f64) -> f64 {
    let mut values: Vec<f64> = values.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn speed(house: &House, rounds: usize) {
    let rival = Rival::start(house.authority());
    let you = house.you();
    let ours = Server {
        address: house.address("submissions"),
        authority: house.authority(),
        from: &you.address,
        password: Some(&you.password),
        pid: house.pid(),
    };
    let address = ([127, 0, 0, 1], PORT).into();
    let theirs = Server { address, from: "u1@home.test", password: None, pid: rival.child.id(), ..ours };
    println!("{:<52} {:>10} {:>10}", "", "Postern", "Postfix");
    for (domains, shape) in [(1, "1,000 letters of 20 KB to one domain"), (DOMAINS, "the same to 100 domains")] {
        let mut both = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (server, came) in [ours, theirs].into_iter().zip(&mut both) {
                came.push(send(server, &rival.taken, domains));
            }
        }
        let [a, b] = both;
        row(shape, middle(&a, |one| one.0), middle(&b, |one| one.0), "s", "<= 1.0x");
        row("  handed in after", middle(&a, |one| one.1), middle(&b, |one| one.1), "s", "-");
        row("  processor time a letter", middle(&a, |one| one.2), middle(&b, |one| one.2), "ms", "-");
    }
}

fn queue(house: &mut House, names: &Names, letters: usize) {
    // Nobody listens there.
    (0..DOMAINS).for_each(|n| names.mx(&format!("w{n}.test"), 10, "mx.down.test"));
    names.a("mx.down.test", alone::OTHER);
    let to: Vec<String> = (0..letters).map(|n| format!("p{n}@w{}.test", n % DOMAINS)).collect();
    let you = house.you().clone();
    let server = Server {
        address: house.address("submissions"),
        authority: house.authority(),
        from: &you.address,
        password: Some(&you.password),
        pid: house.pid(),
    };
    server.submit(&to, 1_000);
    let settled = |house: &House| {
        let most = (0..10).fold(0.0, |most: f64, _| {
            std::thread::sleep(Duration::from_secs(1));
            most.max(pss(house.pid()) as f64 / 1024.0)
        });
        if std::env::var_os("POSTERN_ROLES").is_some() {
            for (role, kib) in pss_by_role(house.pid()) {
                eprintln!("    {role:<24} {:6.1} MB", kib as f64 / 1024.0);
            }
        }
        most
    };
    println!("{letters} letters wait, running on:   {:6.1} MB   goal < 60", settled(house));
    house.stop();
    house.start_again();
    let took = house.took.as_secs_f64();
    println!("the same, start to its first line:  {took:6.2} s    goal < 2");
    println!("the same, most in 10 s after:       {:6.1} MB   goal < 60", settled(house));
}

fn main() {
    // Once, while there is a network; it leaves what it has unpacked before as it is.
    let unpack = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/unpack");
    let root = tests::peers::folder().join("sender");
    assert!(Command::new(unpack).arg(root).args(["bookworm", "postfix"]).status().unwrap().success());
    if !alone::inside("outgoing") {
        return;
    }
    let names = Names::serve(false);
    (0..DOMAINS).for_each(|n| names.mx(&format!("d{n}.test"), 10, &format!("mx{n}.far.test")));
    (0..DOMAINS).for_each(|n| names.a(&format!("mx{n}.far.test"), FAR));
    let scratch = tests::Scratch::new("outgoing");
    let config = scratch.path().join("postern.toml");
    let text = format!(
        "dns = [\"{DNS}\"]\nhostname = \"mail.home.test\"\nclear-text = [\"*\"]\n[allowance]\nmessages = 1000000\n\
         recipients = 1000000\nnew-recipients = 1000000\n"
    );
    std::fs::write(&config, text).unwrap();
    let arguments = vec!["--config".to_owned(), config.display().to_string()];
    let mut house = House::start(Setup { arguments, ..Setup::default() });
    let rounds = number("POSTERN_ROUNDS", 3);
    if rounds > 0 {
        speed(&house, rounds);
    }
    queue(&mut house, &names, number("POSTERN_LETTERS", 20_000));
}
