//! The inbound proxy beside HAProxy in TCP mode (Debian's) and a bare splice loop, in namespaces, in one run: upload of four
//! streams, short sessions, memory. The goals are ratios; the proxy's home dials back for each connection, theirs is
//! dialled. Rounds go there and back through the three, so that what else the machine does meets all of them.
//!
//! `cargo bench --profile release -p tests --bench relay [-- upload|sessions|memory|homes]` as root, with POSTERN_PEERS set.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot go on must stop")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::pipe::{SpliceFlags, pipe, splice};
use tests::hosts::{HERE, Host};
use tests::mallory::{Sink, swallow};
use tests::measure::{cpu, pss};
use tests::names::Names;
use tests::peers;
use tests::proxies::{CLEAN, Inbound, eventually};

const PROXY: &str = "44.0.0.25";
/// What the rivals' connections lead to: a port each, so that none finds the other's closed connections in its way.
const BEHIND: [&str; 2] = ["44.0.0.53:9001", "44.0.0.53:9002"];
const NAME: &str = "mail.alice.test";
const STREAMS: usize = 4;
const UPLOAD: Duration = Duration::from_secs(3);
const SESSIONS: Duration = Duration::from_secs(2);
const ROUNDS: usize = 6;
/// Homes that are paired and connected.
const HOMES: usize = 1_000;
/// One network has its share of places.
const IDLE: usize = 500;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("splice-loop") {
        return splice_loop();
    }
    if std::env::var_os("POSTERN_BENCH_INSIDE").is_none() {
        return inside();
    }
    let names = Names::serve_at(HERE);
    names.a(CLEAN, PROXY);
    let host = Host::public("proxy", &[PROXY]);
    forget_closed(&mut Command::new("sh"));
    forget_closed(&mut host.command("sh"));
    let mut proxy = Inbound::start(host, "");
    let code = proxy.operator(&["invite", "--name", NAME]);
    let sink = Sink::start(code.trim(), HERE);
    serve_rivals();
    let mut rivals = [splicing(proxy.host()), haproxy(proxy.host())];
    eventually("all are there", || {
        proxy.metric("homes_connected") == 1
            && [9001, 9002].iter().all(|port| TcpStream::connect((PROXY, *port)).is_ok())
    });
    let pids = [*proxy.processes().last().unwrap(), rivals[0].id(), rivals[1].id()];
    let ways = [("inbound-proxy", 993), ("splice loop", 9001), ("haproxy", 9002)];
    let ways: Vec<Way> = ways.into_iter().zip(pids).map(|((name, port), pid)| Way { name, port, pid }).collect();
    let only = std::env::args().nth(1).filter(|word| !word.starts_with('-'));
    let wanted = |what: &str| only.as_deref().is_none_or(|only| only == what);
    if wanted("upload") {
        compare(&ways, "upload (MiB/s, ms/GiB)", upload);
    }
    if wanted("sessions") {
        compare(&ways, "short sessions (/s, ms/1024)", sessions);
    }
    if wanted("memory") {
        memory(&proxy);
    }
    drop(sink);
    if wanted("homes") {
        homes(&proxy);
    }
    rivals.iter_mut().for_each(|child| drop(child.kill()));
    proxy.kill();
}

/// Runs this again in a network of its own, once what comes from outside it is there.
fn inside() {
    let unpack = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/unpack");
    let root = peers::folder().join("haproxy");
    assert!(Command::new(unpack).arg(root).args(["bookworm", "haproxy"]).status().unwrap().success());
    let script = format!(
        "mount --make-rprivate / && mkdir -p /run/netns && mount -t tmpfs netns /run/netns && ip link set lo up && \
         ip link add street address 02:00:00:00:00:53 type bridge && ip link set street up && ip address add {HERE}/24 dev street && exec \"$0\" \"$@\""
    );
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(std::env::args().skip(1))
        .env("POSTERN_BENCH_INSIDE", "1")
        .status()
        .unwrap();
    assert!(status.success());
}

/// Thousands of connections a second leave no port that was not just used; to look for one costs more than what is measured.
fn forget_closed(shell: &mut Command) {
    assert!(shell.args(["-c", "echo 0 > /proc/sys/net/ipv4/tcp_max_tw_buckets"]).status().unwrap().success());
}

/// A ClientHello that asks for the home; what follows it is nobody's to read.
fn hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let mut client = rustls::ClientConnection::new(Arc::new(config), NAME.try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// Who is measured.
struct Way {
    name: &'static str,
    port: u16,
    pid: u32,
}

/// In each round the rate, and the work for 1,024 of what was counted: of the proxy, and of all that takes part; of their ratios
/// to the others' in the same round the median. Who shares the machine takes from the rates, and gives a program with many
/// threads more of it; what all of it works says what each would reach with the processors to itself.
fn compare(ways: &[Way], what: &str, measured: impl Fn(u16) -> f64) {
    let works = |way: &Way| [cpu(way.pid), cpu(std::process::id())];
    let mut rounds = vec![vec![[0.0; 3]; ways.len()]; ROUNDS];
    for (round, found) in rounds.iter_mut().enumerate() {
        let mut order: Vec<usize> = (0..ways.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            let (before, began) = (works(&ways[at]), Instant::now());
            let rate = measured(ways[at].port);
            let (after, done) = (works(&ways[at]), rate * began.elapsed().as_secs_f64());
            let [proxy, all] = [0, 1].map(|of| (after[of] - before[of]) * 1e3 * 1024.0 / done);
            println!("{what}, round {round}: {:14} {rate:6.0}; work {proxy:6.0} of {all:6.0}", ways[at].name);
            found[at] = [rate, proxy, all];
        }
    }
    for (name, other) in [("a splice loop", 1), ("haproxy", 2)] {
        let ratio = |of: usize| median(rounds.iter().map(|round| round[0][of] / round[other][of]).collect());
        println!(
            "{what}: {:.2} times {name}; by all work {:.2} times; the proxy's own work {:.2} times",
            ratio(0),
            1.0 / ratio(2),
            ratio(1)
        );
    }
}

fn median(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// MiB a second, of all streams together.
fn upload(port: u16) -> f64 {
    let (hello, sent) = (hello(), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..STREAMS {
            scope.spawn(|| {
                let mut stream = TcpStream::connect((PROXY, port)).unwrap();
                stream.write_all(&hello).unwrap();
                let block = vec![0; 256 * 1024];
                while began.elapsed() < UPLOAD {
                    stream.write_all(&block).unwrap();
                    sent.fetch_add(block.len() as u64, Ordering::Relaxed);
                }
            });
        }
    });
    sent.into_inner() as f64 / began.elapsed().as_secs_f64() / 1_048_576.0
}

/// Connect, say hello, get one byte, go: how many a second, eight at a time.
fn sessions(port: u16) -> f64 {
    let (hello, done) = (hello(), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while began.elapsed() < SESSIONS {
                    let mut stream = TcpStream::connect((PROXY, port)).unwrap();
                    stream.write_all(&hello).unwrap();
                    stream.read_exact(&mut [0]).unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner() as f64 / began.elapsed().as_secs_f64()
}

fn of_gate(proxy: &Inbound) -> f64 {
    std::thread::sleep(Duration::from_secs(2));
    pss(*proxy.processes().first().unwrap()) as f64
}

fn memory(proxy: &Inbound) {
    let (hello, before) = (hello(), of_gate(proxy));
    let held: Vec<TcpStream> = (0..IDLE)
        .map(|_| {
            let mut stream = TcpStream::connect((PROXY, 993)).unwrap();
            stream.write_all(&hello).unwrap();
            stream.read_exact(&mut [0]).unwrap();
            stream
        })
        .collect();
    println!("idle relayed connections: {:.2} KiB each (goal 3.3)", (of_gate(proxy) - before) / held.len() as f64);
}

/// What the proxy holds, all its processes together, with that many homes connected and nobody calling.
fn homes(proxy: &Inbound) {
    let before = of_gate(proxy);
    let invite = |number| proxy.operator(&["invite", "--name", &format!("mail.home{number}.test")]);
    let homes: Vec<Sink> = (0..HOMES).map(|number| Sink::start(invite(number).trim(), HERE)).collect();
    eventually("all are connected", || proxy.metric("homes_connected") >= HOMES as u64);
    let after = of_gate(proxy);
    println!(
        "{HOMES} idle homes: {:.1} MB in all (goal 30), {:.1} KiB each more than before",
        after / 1_000.0,
        (after - before) / HOMES as f64
    );
    drop(homes);
}

/// What is behind the rivals.
fn serve_rivals() {
    for listener in BEHIND.map(|behind| TcpListener::bind(behind).unwrap()) {
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                std::thread::spawn(move || swallow(stream));
            }
        });
    }
}

fn splicing(host: &Host) -> Child {
    host.command(std::env::current_exe().unwrap()).arg("splice-loop").spawn().unwrap()
}

/// The floor: a thread a direction, a pipe each, nothing else.
fn splice_loop() {
    let listener = TcpListener::bind((PROXY, 9001)).unwrap();
    for client in listener.incoming() {
        let (client, server) = (Arc::new(client.unwrap()), Arc::new(TcpStream::connect(BEHIND[0]).unwrap()));
        for (from, to) in [(client.clone(), server.clone()), (server, client)] {
            std::thread::spawn(move || {
                let (read, write) = pipe().unwrap();
                while let Ok(taken @ 1..) = splice(&*from, None, &write, None, 65_536, SpliceFlags::MOVE) {
                    let mut left = taken;
                    while left > 0 {
                        match splice(&read, None, &*to, None, left, SpliceFlags::MOVE) {
                            Ok(moved @ 1..) => left -= moved,
                            _ => return,
                        }
                    }
                }
                let _ = to.shutdown(std::net::Shutdown::Write);
            });
        }
    }
}

/// Debian's, unpacked into a folder of its own.
fn haproxy(host: &Host) -> Child {
    let root = peers::folder().join("haproxy");
    let config = format!(
        "global\n maxconn 8000\n nbthread 2\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         listen one\n bind {PROXY}:9002\n server behind {}\n",
        BEHIND[1]
    );
    std::fs::write(root.join("haproxy.cfg"), config).unwrap();
    let mut command = host.command("chroot");
    command.arg(&root).args(["/usr/sbin/haproxy", "-db", "-f", "/haproxy.cfg"]);
    command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}
