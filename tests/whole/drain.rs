//! The end of a box that is in use: everybody is told, what is under way is finished, nobody waits.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tests::house::signal;
use tests::smtp::Smtp;
use tests::{House, Imap, Setup};

/// As it is in every house: phones sit in IDLE.
#[test]
fn idle_sessions_are_told_and_end_at_once() {
    for unprivileged in [false, true] {
        let mut house = House::start(Setup { unprivileged, ..Setup::default() });
        let anna = house.add_mailbox("anna");
        let you = house.you().clone();
        let login = |name: &str, password: &str| Imap::login(&house, name, password).unwrap();
        let mut clients = vec![login(&you.address, &you.password), login(&anna.address, &anna.password)];
        let (mut selected, mut idle) = (login(&you.address, &you.password), login(&you.address, &you.password));
        assert!(selected.ask("SELECT INBOX").unwrap().ok());
        assert!(idle.ask("SELECT INBOX").unwrap().ok());
        idle.say("IDLE").unwrap();
        assert!(idle.line().unwrap().starts_with(b"+"));
        clients.extend([selected, idle]);
        // Who has connected and begins no TLS must not hold it up either.
        let silent = ["imaps", "submissions"].map(|service| TcpStream::connect(house.address(service)).unwrap());
        thread::sleep(Duration::from_millis(200));
        let told = Instant::now();
        house.stop();
        // Whoever is not let go at once has five seconds or ten.
        assert!(told.elapsed() < Duration::from_millis(4_500), "{:?}\n{}", told.elapsed(), house.log());
        for client in &mut clients {
            let line = String::from_utf8(client.line().unwrap()).unwrap();
            assert!(line.starts_with("* BYE"), "{line}");
        }
        drop(silent);
        house.start_again();
        assert!(Imap::login(&house, &you.address, &you.password).is_ok());
    }
}

#[test]
fn a_letter_under_way_is_finished_and_nobody_new_waits() {
    let mut house = House::start(Setup::default());
    let you = house.you().clone();
    let mut appending = Imap::login(&house, &you.address, &you.password).unwrap();
    let mut idle = Imap::login(&house, &you.address, &you.password).unwrap();
    let letter = tests::smtp::letter("half", 2_000).replace("\r\n", "\n").replace('\n', "\r\n");
    let (first, rest) = letter.split_at(700);
    let tag = appending.say(&format!("APPEND INBOX {{{}}}", letter.len())).unwrap();
    assert!(appending.line().unwrap().starts_with(b"+"));
    appending.raw(first.as_bytes()).unwrap();
    let services = ["smtp", "submission", "submissions", "imaps"].map(|service| house.address(service));
    signal(house.pid(), "TERM");
    assert!(idle.line().unwrap().starts_with(b"* BYE"));
    for address in services {
        // Each role closes its own: the one that said BYE may be the first. Who is in the queue of one that closes is reset.
        let soon = Instant::now() + Duration::from_secs(5);
        while !is_refused(&address) {
            assert!(Instant::now() < soon, "{address} still takes connections");
            thread::sleep(Duration::from_millis(10));
        }
    }
    // A box that is started meanwhile says what it waits for, and takes over.
    let offset = (services[0].port() - 25).to_string();
    let mut next = Command::new(tests::house::binary())
        .args(["up", "--json", "--bind", "127.0.0.1", "--port-offset", &offset, "--data"])
        .arg(house.data())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(next.stderr.take().unwrap()).lines();
    let first = said.next().unwrap().unwrap();
    assert!(first.contains(&format!("waiting for another postern (process {}) to end", house.pid())), "{first}");
    appending.raw(format!("{rest}\r\n").as_bytes()).unwrap();
    let answer = appending.answer(&tag).unwrap();
    assert!(answer.ok(), "{answer:?}");
    assert!(appending.line().unwrap().starts_with(b"* BYE"));
    house.wait();
    let mut serving = String::new();
    BufReader::new(next.stdout.take().unwrap()).read_line(&mut serving).unwrap();
    assert!(serving.starts_with('{'), "{serving} {:?}", said.next());
    next.kill().unwrap();
    next.wait().unwrap();
    house.start_again();
    let mut again = Imap::login(&house, &you.address, &you.password).unwrap();
    let inbox = again.ask("STATUS INBOX (MESSAGES)").unwrap().text();
    assert!(inbox.contains("MESSAGES 1"), "{inbox}");
}

fn is_refused(address: &SocketAddr) -> bool {
    let connected = TcpStream::connect_timeout(address, Duration::from_secs(5));
    connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// Clients that went to sleep in the middle of a letter. Nothing of it is kept, and they are told before the end comes.
#[test]
fn who_never_finishes_is_told_as_well() {
    let mut house = House::start(Setup { arguments: vec!["--clear-text".into(), "*".into()], ..Setup::default() });
    let you = house.you().clone();
    let mut appending = Imap::login(&house, &you.address, &you.password).unwrap();
    let _ = appending.say("APPEND INBOX {2000}").unwrap();
    assert!(appending.line().unwrap().starts_with(b"+"));
    appending.raw(b"Subject: half").unwrap();
    let mut half = ["DATA", "RCPT TO:<you@home.test>"].map(|last| {
        let mut client = Smtp::connect(house.address("smtp")).unwrap();
        for command in ["EHLO far.example", "MAIL FROM:<aunt@example.org>", "RCPT TO:<you@home.test>", last] {
            let reply = client.ask(command).unwrap();
            assert!(matches!(reply.0, 250 | 354), "{command}: {reply:?}");
        }
        client
    });
    half[0].raw(b"Subject: half\r\n").unwrap();
    house.stop();
    let bye = String::from_utf8(appending.line().unwrap()).unwrap();
    assert!(bye.starts_with("* BYE"), "{bye}");
    for client in &mut half {
        let reply = client.reply().unwrap();
        assert_eq!(reply.0, 421, "{reply:?}");
    }
    assert!(!house.log().contains("does not end"), "{}", house.log());
    house.start_again();
    let mut again = Imap::login(&house, &you.address, &you.password).unwrap();
    assert!(again.ask("STATUS INBOX (MESSAGES)").unwrap().text().contains("MESSAGES 0"));
}
