//! Mail for homes without an address of their own, through an inbound proxy: every host a network namespace, the homes
//! behind routers that let nobody in, the senders real mail servers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs::File;
use std::io::Write;
use std::process::{Child, Stdio};

use tests::hosts::{self, HERE, Host};
use tests::mallory::Mallory;
use tests::names::Names;
use tests::peers;
use tests::proxies::{self, CLEAN, Home, Inbound, eventually};
use tests::{Authority, Scratch};

const PROXY: &str = "44.0.0.25";
/// Another address of the proxy, one home's alone.
const OWN: &str = "44.0.0.26";
const SENDER: &str = "44.0.0.40";

/// The Internet as it is before anybody is paired. One at a time: the real servers' folders serve one test each, and two
/// cores one Internet.
struct Place {
    names: Names,
    proxy: Inbound,
    sender: Host,
    scratch: Scratch,
    _alone: File,
}

impl Place {
    fn new() -> Self {
        let alone = File::create(peers::folder().join("proxies.lock")).unwrap();
        rustix::fs::flock(&alone, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let names = Names::serve_at(HERE);
        names.a(CLEAN, PROXY);
        names.a("sender.example.org", SENDER);
        let proxy = Inbound::start(Host::public("proxy", &[PROXY]), "");
        let (sender, scratch) = (Host::public("sender", &[SENDER]), Scratch::new("proxies"));
        Self { names, proxy, sender, scratch, _alone: alone }
    }

    /// A home whose names lead to the proxy.
    fn home(&self, name: &str, router: &str, invite: &[&str]) -> Home {
        let home = Home::start(name, router);
        self.names.mx(&format!("{name}.test"), 10, &home.name);
        self.names.a(&home.name, PROXY);
        home.pair(&self.proxy, invite);
        home
    }

    /// Has a real mail server send a letter, and keep it until it is delivered or `patience` seconds are over. It knows the
    /// authorities of these homes' certificates.
    fn send(&self, peer: &str, homes: &[&Home], to: &[&str], text: &str, patience: u32) -> Sending {
        let bundle = self.scratch.path().join("authorities.pem");
        let each = homes.iter().map(|home| std::fs::read(home.house.authority().authority()).unwrap());
        std::fs::write(&bundle, each.collect::<Vec<_>>().concat()).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/deliver");
        let mut child = self
            .sender
            .command(script)
            .arg(peer)
            .arg(peers::folder().join(peer))
            .args(["found.by.dns", "25"])
            .arg(bundle)
            .arg("aunt@sender.example.org")
            .args(to)
            .env("PEER_DNS", HERE)
            .env("PEER_PATIENCE", patience.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let subject: String = text.chars().take(40).collect();
        let letter = format!("From: aunt@sender.example.org\nTo: {}\nSubject: {subject}\n\n{text}\n", to.join(", "));
        child.stdin.take().unwrap().write_all(letter.as_bytes()).unwrap();
        Sending(child)
    }
}

/// A letter on its way.
struct Sending(Child);

impl Sending {
    /// Its server's log, once its queue is empty.
    fn log(self) -> String {
        let (delivered, text) = self.end();
        assert!(delivered, "{text}");
        text
    }

    /// Whether its queue was empty in time, and its log.
    fn end(self) -> (bool, String) {
        let output = self.0.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }
}

/// How many of these letters have the phrase.
fn count(letters: &[String], phrase: &str) -> usize {
    letters.iter().filter(|letter| letter.contains(phrase)).count()
}

#[test]
fn from_a_code_to_a_letter() {
    if !hosts::inside("from_a_code_to_a_letter") {
        return;
    }
    let place = Place::new();
    let alice = place.home("alice", "44.0.0.71", &[]);
    let anna = alice.house.add_mailbox("anna");
    let knock = "import socket; socket.create_connection(('44.0.0.71', 25), 2)";
    let inside = place.sender.command("python3").args(["-c", knock]).output().unwrap();
    assert!(!inside.status.success(), "nobody gets in at the router");
    let log = place.send("postfix", &[&alice], &["anna@alice.test"], "xylophone-phrase", 60).log();
    let own = format!("Trusted TLS connection established to {}", alice.name);
    assert!(log.contains(&own), "the home's own certificate: {log}");
    assert!(!log.contains("status=deferred"), "one home: nobody needs to be asked: {log}");
    let mail = alice.mail_of(&anna, PROXY);
    assert_eq!(mail.len(), 1);
    for part in ["xylophone-phrase", SENDER, "TLS1.3", "Received: from sender.example.org"] {
        assert!(mail[0].contains(part), "{part}: {}", mail[0]);
    }
    // The code is used up, whoever has read it; and what is paired can be listed and taken away, on both sides.
    let bob = Home::start("bob", "44.0.0.72");
    let code = place.proxy.operator(&["invite", "--name", &bob.name]);
    assert!(bob.try_pair(code.trim()).status.success());
    let again = Home::start("eve", "44.0.0.73").try_pair(code.trim());
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("used already"), "{again:?}");
    let listed = place.proxy.operator(&["list"]);
    assert!(listed.contains("mail.alice.test: paired") && listed.contains("mail.bob.test: paired"), "{listed}");
    let listed = String::from_utf8(bob.postern(&["pair", "list"]).stdout).unwrap();
    assert!(listed.contains(CLEAN) && listed.contains("mail.bob.test"), "{listed}");
    place.proxy.operator(&["revoke", "mail.bob.test"]);
    eventually("bob is cut off", || place.proxy.metric("homes_connected") == 1);
    assert!(alice.postern(&["pair", "revoke", CLEAN]).status.success());
    eventually("alice has gone", || place.proxy.metric("homes_connected") == 0);
}

/// PROXIES.md 3.2: one letter for two homes at the same moment, from a server that sends no SNI (Postfix, Exim), or does.
fn two_homes(test: &str, peer: &str) {
    if !hosts::inside(test) {
        return;
    }
    let place = Place::new();
    let street = ["--street", "lane"];
    let (alice, bob) = (place.home("alice", "44.0.0.71", &street), place.home("bob", "44.0.0.72", &street));
    let (anna, ben) = (alice.house.add_mailbox("anna"), bob.house.add_mailbox("ben"));
    for round in ["first-quince", "second-quince"] {
        let to = ["anna@alice.test", "ben@bob.test"];
        let log = place.send(peer, &[&alice, &bob], &to, round, 150).log();
        assert!(!log.contains("status=bounced") && !log.contains(" ** "), "{log}");
        for (home, mailbox) in [(&alice, &anna), (&bob, &ben)] {
            assert_eq!(count(&home.mail_of(mailbox, PROXY), round), 1, "{peer}, {}: {log}", home.name);
        }
    }
    let learnt = place.proxy.metric("learning_sessions_total");
    match peer {
        "opensmtpd" => assert_eq!(learnt, 0, "it says whom it wants"),
        _ => assert!(learnt >= 1, "it was asked"),
    }
}

#[test]
fn two_homes_by_postfix() {
    two_homes("two_homes_by_postfix", "postfix");
}

#[test]
fn two_homes_by_exim() {
    two_homes("two_homes_by_exim", "exim");
}

#[test]
fn two_homes_by_opensmtpd() {
    two_homes("two_homes_by_opensmtpd", "opensmtpd");
}

/// Between streets only proof routes: what a home says or takes never brings it another's mail.
#[test]
fn a_home_that_agrees_to_everything() {
    if !hosts::inside("a_home_that_agrees_to_everything") {
        return;
    }
    let place = Place::new();
    let alice = place.home("alice", "44.0.0.71", &["--street", "lane"]);
    let anna = alice.house.add_mailbox("anna");
    place.names.a("mail.mallory.test", PROXY);
    place.names.mx("mallory.test", 10, "mail.mallory.test");
    let invite = ["invite", "--name", "mail.mallory.test", "--street", "hers", "--sender", "sender.example.org"];
    let certificate = Authority::make(place.scratch.path(), "mail.mallory.test");
    let mallory = Mallory::start(place.proxy.operator(&invite).trim(), HERE, &certificate);
    eventually("both are there", || place.proxy.metric("homes_connected") == 2);
    // She has had mail of that sender's, and its next is for both.
    place.send("postfix", &[&alice], &["m@mallory.test"], "for-mallory", 90).log();
    assert!(mallory.heard().iter().any(|line| line == "for-mallory"), "{:?}", mallory.heard());
    let log = place.send("postfix", &[&alice], &["anna@alice.test", "m@mallory.test"], "for-both", 90).log();
    let log = log + &place.send("postfix", &[&alice], &["anna@alice.test"], "for-alice-alone", 90).log();
    let heard = mallory.heard();
    assert!(!heard.iter().any(|line| line.contains("alice.test>")), "a recipient of another's: {heard:?}");
    assert!(!heard.iter().any(|line| line == "for-alice-alone"), "another's letter: {heard:?}");
    let mail = alice.mail_of(&anna, PROXY);
    assert_eq!((count(&mail, "for-both"), count(&mail, "for-alice-alone")), (1, 1), "{log}");
}

#[test]
fn a_home_that_sleeps_wakes_and_moves() {
    if !hosts::inside("a_home_that_sleeps_wakes_and_moves") {
        return;
    }
    let place = Place::new();
    let mut alice = place.home("alice", "44.0.0.71", &[]);
    let anna = alice.house.add_mailbox("anna");
    // It wakes while its mail waits at the proxy.
    alice.house.kill();
    let sending = place.send("postfix", &[&alice], &["anna@alice.test"], "while-waking", 90);
    eventually("the sender waits", || place.proxy.metric("connections_total") == 1);
    alice.house.start_again();
    let log = sending.log();
    assert!(!log.contains("status=deferred"), "held, not deferred: {log}");
    // It sleeps on: its mail waits at the sender, and never leaves in clear.
    alice.house.kill();
    let sending = place.send("postfix", &[&alice], &["anna@alice.test"], "while-asleep", 200);
    eventually("the sender was told", || place.proxy.metric("home_away_total") >= 1);
    alice.house.start_again();
    let log = sending.log();
    assert!(log.contains("451 4.4.1 the home is not connected"), "{log}");
    // It has another address: the old link is dead without a word.
    alice.host.moves("44.0.0.71", "44.0.0.81");
    place.send("postfix", &[&alice], &["anna@alice.test"], "after-moving", 120).log();
    eventually("the link is up", || place.proxy.metric("homes_connected") == 1);
    let mail = alice.mail_of(&anna, PROXY);
    for phrase in ["while-waking", "while-asleep", "after-moving"] {
        assert_eq!(count(&mail, phrase), 1, "{phrase}");
    }
}

/// kill -9 between the lesson and the retry, and in the middle of a letter.
#[test]
fn a_proxy_that_is_killed() {
    if !hosts::inside("a_proxy_that_is_killed") {
        return;
    }
    let mut place = Place::new();
    let street = ["--street", "lane"];
    let (alice, bob) = (place.home("alice", "44.0.0.71", &street), place.home("bob", "44.0.0.72", &street));
    let (anna, ben) = (alice.house.add_mailbox("anna"), bob.house.add_mailbox("ben"));
    let sending = place.send("postfix", &[&alice, &bob], &["anna@alice.test"], "lesson-phrase", 120);
    eventually("it has learnt", || place.proxy.metric("tickets_known") >= 1);
    place.proxy.kill();
    place.proxy.start_again();
    sending.log();
    assert_eq!(place.proxy.metric("learning_sessions_total"), 0, "what was learnt is known after a restart");
    // Slow enough to be met in the middle.
    place.sender.run("tc qdisc add dev wan root tbf rate 8mbit burst 64kb latency 500ms");
    let large = "a line of a large letter\n".repeat(320_000);
    let sending = place.send("postfix", &[&alice, &bob], &["ben@bob.test"], &large, 180);
    eventually("it flows", || bob.house.log().matches("came through a proxy").count() >= 1);
    place.proxy.kill();
    place.proxy.start_again();
    let log = sending.log();
    assert!(log.contains("lost connection with mail.bob.test"), "in the middle of it: {log}");
    assert_eq!(count(&alice.mail_of(&anna, PROXY), "lesson-phrase"), 1);
    assert_eq!(bob.mail_of(&ben, PROXY).len(), 1, "whole, and once");
}

/// Whoever reads all of the proxy: its memory, what it wrote, what it logged.
#[test]
fn nothing_to_read() {
    if !hosts::inside("nothing_to_read") {
        return;
    }
    let place = Place::new();
    let street = ["--street", "lane"];
    let (alice, bob) = (place.home("alice", "44.0.0.71", &street), place.home("bob", "44.0.0.72", &street));
    let anna = alice.house.add_mailbox("anna.quagmire");
    let _ben = bob.house.add_mailbox("ben");
    let body = "the-whole-secret-phrase\n".repeat(40_000);
    place.send("postfix", &[&alice, &bob], &["anna.quagmire@alice.test"], &body, 120).log();
    assert!(count(&alice.mail_of(&anna, PROXY), "the-whole-secret-phrase") == 1);
    let gate = *place.proxy.processes().last().unwrap();
    let memory = proxies::memory(gate);
    assert!(memory.len() > 1_000_000 && contains(&memory, b"mail.alice.test"), "it is the gate's memory");
    let files = proxies::files(place.proxy.folder());
    assert!(contains(&files, b"mail.alice.test"));
    for phrase in ["the-whole-secret", &anna.password, "Received: from"] {
        assert!(!contains(&memory, phrase.as_bytes()), "{phrase} is in its memory");
        assert!(!contains(&files, phrase.as_bytes()), "{phrase} is on its disk");
    }
    // The envelope goes by in a session that learns (PROXIES.md 3.5), and is nowhere afterwards but in freed memory.
    for phrase in ["aunt@sender", "quagmire"] {
        assert!(!contains(&files, phrase.as_bytes()), "{phrase} is on its disk");
    }
}

fn contains(bytes: &[u8], phrase: &[u8]) -> bool {
    bytes.windows(phrase.len()).any(|window| window == phrase)
}

/// What a sender may try at the gate, over real sockets: argv is the proxy, and whether homes are there.
const TRY: &str = r#"
import socket, ssl, sys
proxy, asleep = sys.argv[1], sys.argv[2] == 'asleep'

def connect(port=25):
    s = socket.create_connection((proxy, port), 100)
    s.settimeout(100)
    return s

def reply(s):
    said = b''
    while not said.endswith(b'\n') or said.splitlines()[-1][3:4] == b'-':
        part = s.recv(4096)
        if not part: break
        said += part
    assert not said.startswith(b'354'), said
    return said.decode()

def say(s, line):
    s.sendall(line.encode() + b'\r\n')
    return reply(s)

def closed(s):
    try:
        return s.recv(1) == b''
    except ConnectionResetError:
        return True

def under_tls(name=None):
    s = connect()
    assert reply(s).startswith('220 clean.test ')
    hello = say(s, 'EHLO tester.test')
    assert 'STARTTLS' in hello and 'PIPELINING' not in hello and 'CHUNKING' not in hello, hello
    assert say(s, 'STARTTLS').startswith('220 ')
    context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(s, server_hostname=name)

# In clear: nothing, and nothing that was sent ahead counts.
s = connect(); reply(s)
assert say(s, 'EHLO tester.test').startswith('250')
assert say(s, 'MAIL FROM:<a@tester.test>').startswith('451 4.7.0')
assert say(s, 'RCPT TO:<anna@alice.test>').startswith('451 4.7.0')
assert say(s, 'DATA').startswith('451') and closed(s)
s = connect(); reply(s); say(s, 'EHLO tester.test')
s.sendall(b'STARTTLS\r\nMAIL FROM:<x@tester.test>\r\nDATA\r\n')
assert reply(s) == '220 2.0.0 go ahead\r\n'
s.shutdown(socket.SHUT_WR)
assert closed(s), 'what came ahead of TLS was answered'
# Under TLS with the proxy: up to RCPT, and 451 there.
for ending in ['DATA'] if asleep else ['DATA', 'BDAT 5 LAST', 'data']:
    s = under_tls('mail.alice.test' if asleep else None)
    assert say(s, 'EHLO tester.test').startswith('250')
    mail = say(s, 'MAIL FROM:<a@tester.test>')
    assert mail.startswith('451 4.4.1' if asleep else '250'), mail
    rcpt = say(s, 'RCPT TO:<anna@alice.test>')
    assert rcpt.startswith('451 4.4.1' if asleep else '451 4.7.1'), rcpt
    assert say(s, ending).startswith('451') and closed(s)
if not asleep:
    # A ClientHello in pieces finds its way; a service that the home has not is closed at once.
    context = ssl.create_default_context(cafile=sys.argv[3])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname='mail.alice.test')
    try: tls.do_handshake()
    except ssl.SSLWantReadError: pass
    hello = outgoing.read()
    s = connect(993)
    for at in range(0, len(hello), 60):
        s.sendall(hello[at:at + 60])
    while True:
        incoming.write(s.recv(65536))
        try:
            tls.do_handshake(); break
        except ssl.SSLWantReadError: pass
    s = connect(443); s.sendall(hello)
    s.settimeout(30)
    assert closed(s), 'the web of a home that has none'
    for name in [None, 'mail.nobody.test']:
        try:
            context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
            context.wrap_socket(connect(993), server_hostname=name)
            assert False, 'handed on without a name'
        except (ssl.SSLError, ConnectionResetError, OSError): pass
print('all refused')
"#;

#[test]
fn what_the_gate_says() {
    if !hosts::inside("what_the_gate_says") {
        return;
    }
    let place = Place::new();
    let mut alice = place.home("alice", "44.0.0.71", &["--street", "lane"]);
    let _bob = place.home("bob", "44.0.0.72", &["--street", "road"]);
    let ca = alice.house.authority().authority().display().to_string();
    let attempt = |how: &str| {
        let output = place.sender.command("python3").args(["-c", TRY, PROXY, how, &ca]).output().unwrap();
        assert!(output.status.success(), "{how}: {}", String::from_utf8_lossy(&output.stderr));
    };
    attempt("awake");
    alice.house.kill();
    attempt("asleep");
}

/// Homes of different streets: a sender that says whom it wants, one that shows its ticket, and an address of one's own.
#[test]
fn homes_of_different_streets() {
    if !hosts::inside("homes_of_different_streets") {
        return;
    }
    let place = Place::new();
    place.proxy.host().run(&format!("ip address add {OWN}/24 dev wan"));
    let alice = place.home("alice", "44.0.0.71", &["--street", "lane"]);
    let bob = place.home("bob", "44.0.0.72", &["--street", "road"]);
    let carol = place.home("carol", "44.0.0.73", &["--address", OWN]);
    place.names.forget(&carol.name);
    place.names.a(&carol.name, OWN);
    let boxes = [(&alice, "anna"), (&bob, "ben"), (&carol, "cleo")].map(|(home, name)| home.house.add_mailbox(name));
    let homes = [&alice, &bob, &carol];
    let to = ["anna@alice.test", "ben@bob.test", "cleo@carol.test"];
    for peer in ["opensmtpd", "postfix"] {
        let log = place.send(peer, &homes, &to, &format!("by-{peer}"), 150).log();
        for (home, mailbox) in homes.iter().zip(&boxes) {
            let proxy = if home.name == carol.name { OWN } else { PROXY };
            assert_eq!(count(&home.mail_of(mailbox, proxy), &format!("by-{peer}")), 1, "{}: {log}", home.name);
        }
        let own = log.lines().filter(|line| line.contains("mail.carol.test") && line.contains("status=deferred"));
        assert_eq!(own.count(), 0, "who has an address is never asked for: {log}");
    }
    let metrics = place.proxy.metrics();
    for how in ["sni", "ticket", "own_address"] {
        assert!(!metrics.contains(&format!("{{how=\"{how}\"}} 0\n")), "{how}: {metrics}");
    }
    for how in ["only", "table", "learnt"] {
        assert!(metrics.contains(&format!("{{how=\"{how}\"}} 0\n")), "{how}: {metrics}");
    }
}
