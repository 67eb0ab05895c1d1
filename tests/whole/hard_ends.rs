//! Ends that nobody asked for: `up` killed under load and started again at once, a log that nobody reads, and a first
//! start whose words reach nobody.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tests::house::{binary, free_offset, signal};
use tests::programs::descendants;
use tests::{House, Imap, Scratch, Setup, Smtp, smtp};

/// Kills of `up`.
const ROUNDS: usize = 8;
/// How long a busy machine may take over anything.
const PATIENCE: Duration = Duration::from_secs(60);

static TOKEN: AtomicUsize = AtomicUsize::new(0);

/// Waits for a condition.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Sends letters until told to stop, and keeps the names of those that got a 250.
fn send(to: SocketAddr, stop: &AtomicBool, accepted: &Mutex<Vec<String>>) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut client) = Smtp::connect(to) else {
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        loop {
            let token = format!("token{:06}", TOKEN.fetch_add(1, Ordering::Relaxed));
            match client.send("aunt@example.org", &["you@home.test"], &smtp::letter(&token, 3_000)) {
                Ok((250, _)) => accepted.lock().unwrap().push(token),
                Ok(_) | Err(_) => break,
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
    }
}

/// The roles of the killed one hold its ports, and the spool, for some milliseconds more.
#[test]
fn killed_under_load_and_started_at_once() {
    let offset = free_offset();
    let config = format!("bind = [\"127.0.0.1\"]\nport-offset = {offset}\nclear-text = [\"*\"]\n");
    let mut house = House::start(Setup { config: Some(config), ..Setup::default() });
    let (you, to) = (house.you().clone(), house.address("smtp"));
    let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let senders: Vec<_> = (0..6)
        .map(|_| {
            let (stop, accepted) = (stop.clone(), accepted.clone());
            thread::spawn(move || send(to, &stop, &accepted))
        })
        .collect();
    for round in 0..ROUNDS {
        let before = accepted.lock().unwrap().len();
        until("letters are taken", || accepted.lock().unwrap().len() > before + 5 + 3 * round);
        house.kill();
        house.start_again();
        assert_eq!(house.address("smtp"), to, "the same ports");
        // The harness would start it a second time.
        assert!(!house.log().contains("taken by another program"), "{}", house.log());
    }
    stop.store(true, Ordering::Relaxed);
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let mut imap = Imap::login(&house, &you.address, &you.password).unwrap();
    assert!(imap.ask("SELECT INBOX").unwrap().ok());
    let subjects = imap.ask("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])").unwrap().untagged;
    let there: HashSet<String> = subjects
        .iter()
        .filter_map(|line| {
            let line = String::from_utf8_lossy(line);
            line.find("token").map(|at| line[at..at + 11].to_owned())
        })
        .collect();
    let accepted = accepted.lock().unwrap();
    let lost: Vec<_> = accepted.iter().filter(|token| !there.contains(*token)).collect();
    assert!(lost.is_empty(), "{} of {} that got a 250 are lost: {lost:?}", lost.len(), accepted.len());
    assert_eq!(house.admin_json(&["spool", "check"], "")["findings"], serde_json::json!([]));
}

/// A box whose standard error is a pipe that takes nothing more.
struct Unheard {
    up: Child,
    smtp: SocketAddr,
    scratch: Scratch,
    _log: std::io::PipeReader,
}

impl Unheard {
    fn start() -> Self {
        let scratch = Scratch::new("unheard");
        let (log, end) = std::io::pipe().unwrap();
        let offset = free_offset().to_string();
        let mut up = Command::new(binary())
            .args(["up", "--json", "--bind", "127.0.0.1", "--clear-text", "*", "--port-offset", &offset, "--data"])
            .arg(scratch.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(end.try_clone().unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(up.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).unwrap();
        let smtp = said["smtp"].as_str().or_else(|| said["smtp"][0].as_str()).unwrap().parse().unwrap();
        // Opened anew, so that `up`'s own end stays one that waits.
        let path = format!("/proc/self/fd/{}", end.as_raw_fd());
        let wait_never = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let mut filler = OpenOptions::new().write(true).custom_flags(wait_never).open(path).unwrap();
        for size in [4_096, 1] {
            while filler.write(&vec![b'\n'; size]).is_ok() {}
        }
        Self { up, smtp, scratch, _log: log }
    }

    fn role(&self, name: &str) -> Option<u32> {
        descendants(self.up.id()).into_iter().find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.windows(2).any(|pair| pair == [&b"role"[..], name.as_bytes()])
        })
    }

    fn takes_a_letter(&self, token: &str) -> bool {
        let sent = Smtp::connect(self.smtp)
            .and_then(|mut client| client.send("aunt@example.org", &["you@home.test"], &smtp::letter(token, 500)));
        matches!(sent, Ok((250, _)))
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        let _ = self.up.kill();
        let _ = self.up.wait();
    }
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let mut house = Unheard::start();
    // Each makes lines; a role's own pipe holds some hundreds of them.
    for number in 0..1_500 {
        if number % 100 == 0 {
            assert!(house.takes_a_letter(&format!("letter{number}")), "the letter after {number} connections");
        }
        let mut client = Smtp::connect(house.smtp).expect("port 25 answers");
        let _ = client.ask("EHLO client.example");
    }
    let mx = house.role("mx").unwrap();
    signal(mx, "KILL");
    until("mx is started again", || house.role("mx").is_some_and(|fresh| fresh != mx) && house.takes_a_letter("after"));
    signal(house.up.id(), "TERM");
    let mut status = None;
    until("SIGTERM ends it", || {
        status = house.up.try_wait().unwrap();
        status.is_some()
    });
    assert!(status.unwrap().success(), "{status:?}");
    let kept = tests::house::admin(&house.scratch.path().join("data"), false, &["mailbox", "list"], "");
    let kept: serde_json::Value = serde_json::from_slice(&kept.stdout).unwrap();
    assert_eq!(kept[0]["letters"], 16, "{kept}");
}

/// What a first start prints, it prints once: when that fails, the next is the first.
#[test]
fn a_first_start_that_nobody_sees_is_none() {
    let scratch = Scratch::new("unseen");
    let offset = free_offset().to_string();
    let up = |out: Stdio| {
        let mut up = Command::new(binary());
        up.args(["up", "--json", "--bind", "127.0.0.1", "--port-offset", &offset, "--data"])
            .arg(scratch.path().join("data"))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::piped());
        up.spawn().unwrap()
    };
    for _ in 0..5 {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let unseen = up(full.into()).wait_with_output().unwrap();
        let why = String::from_utf8_lossy(&unseen.stderr);
        assert!(!unseen.status.success() && why.contains("taken back"), "{why}");
        // Its roles have gone with it.
        let offset: u16 = offset.parse().unwrap();
        for port in [25, 465, 587, 993] {
            assert!(TcpListener::bind(("127.0.0.1", port + offset)).is_ok(), "{port} is held");
        }
    }
    let mut nobody = up(Stdio::null());
    let mut said = BufReader::new(nobody.stderr.take().unwrap()).lines();
    let mut heard = String::new();
    let is_there = said.any(|line| {
        heard += &(line.unwrap() + "\n");
        heard.contains("There is no mailbox yet")
    });
    assert!(is_there, "it says so where somebody may look: {heard}");
    signal(nobody.id(), "TERM");
    assert!(nobody.wait().unwrap().success());
    let mut seen = up(Stdio::piped());
    let mut line = String::new();
    BufReader::new(seen.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("\"first\":{\"address\":\"you@home.test\""), "{line}");
    signal(seen.id(), "TERM");
    assert!(seen.wait().unwrap().success());
}
