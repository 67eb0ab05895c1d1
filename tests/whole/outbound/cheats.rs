//! Ways to cheat the meter, against the running proxy and a real Postfix.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use relay_link::outbound::Refusal;
use tests::far::Far;
use tests::hosts::Host;
use tests::outbound::{Session, Stranger};
use tests::proxies::eventually;

use crate::place::Place;

/// Reads until a line that ends a reply.
fn heard(stream: &mut TcpStream) -> String {
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.lines().last().is_some_and(|line| line.len() > 3 && line.as_bytes()[3] == b' ' && text.ends_with('\n'))
    {
        match stream.read(&mut byte) {
            Ok(1) => text.push(char::from(byte[0])),
            _ => return text,
        }
    }
    text
}

/// Says something, and whether it is cut off for it: nothing more is heard.
fn cut_off(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    let _ = stream.write_all(bytes);
    let mut rest = Vec::new();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    match stream.read_to_end(&mut rest) {
        Ok(_) => rest.is_empty(),
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

struct Run {
    place: Place,
    far: Far,
    home: Stranger,
}

impl Run {
    fn new(allowance: &[&str]) -> Self {
        let place = Place::new();
        let far = place.far("postfix", 0, "far.test");
        let home = Stranger::pair(&place.proxy.invite("alice", allowance));
        Self { place, far, home }
    }

    /// A connection with Postfix, greeted.
    fn greeted(&mut self) -> TcpStream {
        let mut stream = self.home.connect("mx.far.test").unwrap();
        assert!(heard(&mut stream).starts_with("220 mx.far.test"));
        stream
    }

    /// The same, at the point where TLS should begin.
    fn at_tls(&mut self) -> TcpStream {
        let mut stream = self.greeted();
        for command in ["EHLO away.test\r\n", "STARTTLS\r\n"] {
            stream.write_all(command.as_bytes()).unwrap();
            assert!(heard(&mut stream).starts_with('2'));
        }
        stream
    }
}

pub fn nothing_but_tls_goes_through() {
    let mut run = Run::new(&["--concurrent", "50", "--bucket", "5000", "--burst", "100"]);
    for command in ["MAIL FROM:<you@home.test>\r\n", "HELO away.test\r\n", "EHLO a\r\nMAIL FROM:<>\r\n", "VRFY ben\r\n"]
    {
        let mut stream = run.greeted();
        assert!(cut_off(&mut stream, command.as_bytes()), "{command}");
    }
    let mut stream = run.greeted();
    stream.write_all(b"EHLO away.test\r\n").unwrap();
    assert!(heard(&mut stream).contains("STARTTLS"));
    assert!(cut_off(&mut stream, b"MAIL FROM:<you@home.test>\r\n"), "after EHLO");
    let clear = b"MAIL FROM:<you@home.test>\r\nRCPT TO:<ben@far.test>\r\nDATA\r\n";
    for bytes in [&clear[..], &[22, 3, 1, 0, 0], &[23, 3, 3, 0, 5, 1, 2, 3, 4, 5], &[22, 3, 1, 0xff, 0xff]] {
        let mut stream = run.at_tls();
        assert!(cut_off(&mut stream, bytes), "{bytes:02x?}");
    }
    let log = run.far.log();
    assert!(!log.contains("from=<you@home.test>") && !log.contains("non-SMTP"), "Postfix never heard of it: {log}");
    assert_eq!(run.place.proxy.metric("sessions_cut_total"), 9, "{}", run.place.proxy.metrics());
}

pub fn every_session_is_paid_for() {
    let mut run = Run::new(&["--bucket", "400", "--hourly", "1", "--concurrent", "6", "--burst", "100"]);
    // Half of it in a home's first two weeks: ten sessions of 20 units, and three at once.
    let held: Vec<_> = (0..3).map(|_| run.greeted()).collect();
    assert_eq!(run.home.connect("mx.far.test").unwrap_err(), Refusal::Concurrent);
    drop(held);
    // Many short sessions, dropped after RCPT: addresses are probed.
    let mut opened = 3;
    loop {
        match run.home.connect("mx.far.test") {
            Ok(stream) => {
                opened += 1;
                let Ok(mut session) = Session::open(stream, "mx.far.test", &run.place.certificate) else { continue };
                // The bucket may run dry in the middle: then the rest of the session only waits.
                let _ = session.say("MAIL FROM:<you@home.test>\r\nRCPT TO:<nobody@far.test>\r\n");
                let _ = session.reply("2");
            }
            Err(Refusal::Concurrent) => std::thread::sleep(Duration::from_millis(100)),
            Err(why) => {
                let seconds = why.seconds().expect("it says when");
                assert!(matches!(why, Refusal::Spent(_)) && seconds > 600, "{why}");
                break;
            }
        }
        assert!(opened < 20, "no end");
    }
    assert!((4..=10).contains(&opened), "{opened}");
    let before = run.place.proxy.metric("sessions_total");
    for _ in 0..20 {
        assert!(matches!(run.home.connect("mx.far.test"), Err(Refusal::Spent(_))));
    }
    assert_eq!(run.place.proxy.metric("sessions_total"), before, "refused before anybody is connected with");
}

/// A connection for each mail, as fast as it goes, and connections that are dropped after RCPT: addresses are probed.
pub fn sessions_of_a_minute_and_sessions_for_nothing() {
    let mut run = Run::new(&["--bucket", "5000", "--burst", "8", "--concurrent", "50"]);
    let mut held: Vec<_> = (0..4).map(|_| run.home.connect("mx.far.test").unwrap()).collect();
    let why = run.home.connect("mx.far.test").unwrap_err();
    assert!(matches!(why, Refusal::Sessions(1..=60)), "{why}");
    held.iter_mut().for_each(|stream| assert!(heard(stream).starts_with("220 mx.far.test")));
    drop(held);
    let mut other = Stranger::pair(&run.place.proxy.invite("bob", &["--bucket", "5000", "--empty", "6"]));
    let mut probed = 0;
    let why = loop {
        let stream = match other.connect("mx.far.test") {
            Ok(stream) => stream,
            Err(why) => break why,
        };
        let mut session = Session::open(stream, "mx.far.test", &run.place.certificate).unwrap();
        session.say("MAIL FROM:<you@home.test>\r\nRCPT TO:<nobody@far.test>\r\n").unwrap();
        session.reply("2").unwrap();
        drop(session);
        probed += 1;
        eventually("it is over", || run.place.proxy.status("bob", "empty") == probed);
    };
    assert!(matches!(why, Refusal::Sessions(_)), "{why}");
    assert_eq!(probed, 3, "of six, in a home's first two weeks");
    // Whoever sends letters is not among them.
    let mut stream = run.home.connect("mx.far.test");
    let until = Instant::now() + Duration::from_secs(90);
    while stream.is_err() && Instant::now() < until {
        std::thread::sleep(Duration::from_secs(1));
        stream = run.home.connect("mx.far.test");
    }
    let mut session = Session::open(stream.unwrap(), "mx.far.test", &run.place.certificate).unwrap();
    session.send(&["ben@far.test".to_owned()], true, &"walnut ".repeat(130)).unwrap();
    session.ask("QUIT", "2").unwrap();
    drop(session);
    eventually("all are over", || run.place.proxy.metric("sessions_running") == 0);
    assert_eq!(run.place.proxy.status("alice", "empty"), 4, "those that were dropped");
}

pub fn who_is_revoked_sends_nothing_more() {
    let mut run = Run::new(&["--bucket", "5000"]);
    let stream = run.home.connect("mx.far.test").unwrap();
    let socket = stream.try_clone().unwrap();
    let mut session = Session::open(stream, "mx.far.test", &run.place.certificate).unwrap();
    session.ask("NOOP", "2").unwrap();
    run.place.proxy.operator(&["revoke", "alice"]);
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while session.ask("NOOP", "2").is_ok() {
        assert!(Instant::now() < until, "a session that had begun goes on");
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(run.place.proxy.metric("sessions_cut_total"), 0, "it is slowed, and not cut");
}

pub fn sessions_and_networks_have_bounds_of_their_own() {
    let place = Place::new();
    let allowance = ["--networks", "8", "--sessions", "12"];
    let mut home = Stranger::pair(&place.proxy.invite("alice", &allowance));
    for number in 0..4 {
        place.names.a(&format!("mx{number}.test"), &format!("44.0.{}.9", 100 + number));
    }
    // They are there, and nobody listens.
    let closed = ["44.0.0.48", "44.0.100.9", "44.0.101.9", "44.0.102.9", "44.0.103.9"];
    let _closed = Host::public("closed", &closed);
    for network in ["44.0.100.0/22", "44.0.200.0/24"] {
        place.proxy.host().run(&format!("ip route add {network} dev wan"));
    }
    for number in 0..4 {
        assert_eq!(home.connect(&format!("mx{number}.test")).unwrap_err(), Refusal::Unreachable);
    }
    place.names.a("fifth.test", "44.0.200.9");
    assert!(matches!(home.connect("fifth.test"), Err(Refusal::Networks(seconds)) if seconds > 3_000));
    for _ in 0..2 {
        assert_eq!(home.connect("mx0.test").unwrap_err(), Refusal::Unreachable);
    }
    assert!(matches!(home.connect("mx0.test"), Err(Refusal::Sessions(_))));
    assert_eq!(place.proxy.status("alice", "networks"), 4);
    assert_eq!(place.proxy.status("alice", "sessions"), 6);
}
