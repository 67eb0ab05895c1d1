//! Who is not to be trusted: a home, and whoever reads the proxy's machine.

use std::process::Command;

use tests::Authority;
use tests::hosts::{HERE, Host};
use tests::mallory::Mallory;
use tests::operated::contains;
use tests::proxies::{Home, eventually};

use crate::place::{OWN, PROXY, Place, count};

/// Between streets only proof routes: what a home says or takes never brings it another's mail.
pub fn a_home_that_agrees_to_everything() {
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
    place.send("postfix", &[&alice], &["m@mallory.test"], "for-mallory").log();
    assert!(mallory.heard().iter().any(|line| line == "for-mallory"), "{:?}", mallory.heard());
    let log = place.send("postfix", &[&alice], &["anna@alice.test", "m@mallory.test"], "for-both").log();
    let log = log + &place.send("postfix", &[&alice], &["anna@alice.test"], "for-alice-alone").log();
    let heard = mallory.heard();
    assert!(!heard.iter().any(|line| line.contains("alice.test>")), "a recipient of another's: {heard:?}");
    assert!(!heard.iter().any(|line| line == "for-alice-alone"), "another's letter: {heard:?}");
    let mail = alice.mail_of(&anna, PROXY);
    assert_eq!((count(&mail, "for-both"), count(&mail, "for-alice-alone")), (1, 1), "{log}");
}

/// She lives alone in a street that has an address, and to which a family of another street points its name still.
pub fn the_only_home_of_a_street() {
    let place = Place::with(&format!("streets = {{ \"{PROXY}\" = \"hill\", \"{}\" = \"lane\" }}\n", OWN[0]));
    place.proxy.host().run(&format!("ip address add {}/24 dev wan", OWN[0]));
    place.names.a("mail.mallory.test", PROXY);
    place.names.mx("mallory.test", 10, "mail.mallory.test");
    let certificate = Authority::make(place.scratch.path(), "mail.mallory.test");
    let invite = place.proxy.operator(&["invite", "--name", "mail.mallory.test", "--street", "hill"]);
    let mallory = Mallory::start(invite.trim(), HERE, &certificate);
    eventually("she is there", || place.proxy.metric("homes_connected") == 1);
    let street = ["--street", "lane"];
    let alice = place.home("alice", "44.0.0.71", &street);
    place.names.forget(&alice.name);
    place.names.a(&alice.name, OWN[0]);
    let bob = place.home("bob", "44.0.0.72", &street);
    let (anna, ben) = (alice.house.add_mailbox("anna"), bob.house.add_mailbox("ben"));
    eventually("the operator is told", || place.proxy.log().contains("44.0.0.25 home=\"mail.bob.test\""));
    let doctor = place.proxy.try_operator(&["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout);
    let astray = "BAD   mail.bob.test: mail.bob.test leads to 44.0.0.25, which is the street hill's";
    assert!(said.contains(astray) && said.contains("must point it at 44.0.0.26"), "{said}");
    for home in ["alice", "mallory"] {
        assert!(said.contains(&format!("good  mail.{home}.test: mail.{home}.test leads here")), "{said}");
    }
    let log = place.send("postfix", &[&alice, &bob], &["ben@bob.test", "anna@alice.test"], "of-the-lane").log();
    let heard = mallory.heard();
    assert!(!heard.iter().any(|line| line.contains("bob.test") || line == "of-the-lane"), "{heard:?}: {log}");
    for (home, mailbox, at) in [(&alice, &anna, OWN[0]), (&bob, &ben, PROXY)] {
        assert_eq!(count(&home.mail_of(mailbox, at), "of-the-lane"), 1, "{}: {log}", home.name);
    }
}

/// Whoever reads all of the proxy: its memory, what it wrote, what it logged.
pub fn nothing_to_read() {
    let place = Place::new();
    let street = ["--street", "lane"];
    let (alice, bob) = (place.home("alice", "44.0.0.71", &street), place.home("bob", "44.0.0.72", &street));
    let anna = alice.house.add_mailbox("anna.quagmire");
    let _ben = bob.house.add_mailbox("ben");
    let body = "the-whole-secret-phrase\n".repeat(40_000);
    place.send("postfix", &[&alice, &bob], &["anna.quagmire@alice.test"], &body).log();
    assert!(count(&alice.mail_of(&anna, PROXY), "the-whole-secret-phrase") == 1);
    let (memory, files) = (place.proxy.memory(), place.proxy.files());
    assert!(memory.len() > 1_000_000 && contains(&memory, "mail.alice.test"), "it is the gate's memory");
    assert!(contains(&files, "mail.alice.test"));
    for phrase in ["the-whole-secret", &anna.password, "Received: from"] {
        assert!(!contains(&memory, phrase), "{phrase} is in its memory");
        assert!(!contains(&files, phrase), "{phrase} is on its disk");
    }
    assert!(place.proxy.metric("learning_sessions_total") >= 1, "its sender was asked");
    let log = place.proxy.log();
    assert!(!log.contains("handed on") && !log.contains("learnt"), "nobody asked for who writes to whom: {log}");
    // The envelope goes by in a session that learns (ARCHITECTURE says so), and is nowhere afterwards.
    for phrase in ["aunt@sender", "quagmire"] {
        assert!(!contains(&files, phrase), "{phrase} is on its disk");
        eventually("the session is over", || !contains(&place.proxy.memory(), phrase));
    }
    pipelines(&place);
    for phrase in ["quicksand", "walrus"] {
        eventually("what came unasked, too", || !contains(&place.proxy.memory(), phrase));
    }
}

/// Sends a letter in one flight into the session that would only ask whom it wants.
const PIPELINES: &str = r#"
import socket, ssl, sys
def reply():
    line = b''
    while line[3:4] != b' ': line = lines.readline()
    return line
s = socket.create_connection((sys.argv[1], 25)); s.settimeout(60); lines = s.makefile('rb')
reply()
for said in [b'EHLO tester.test', b'STARTTLS']:
    s.sendall(said + b'\r\n'); reply()
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
s = context.wrap_socket(s); lines = s.makefile('rb')
s.sendall(b'EHLO tester.test\r\nMAIL FROM:<quicksand@tester.test>\r\nRCPT TO:<quicksand@alice.test>\r\n'
          b'DATA\r\nSubject: walrus\r\n\r\n' + b'The walrus.\r\n' * 200 + b'.\r\n')
try: print(lines.read())
except OSError as error: print(error)
"#;

fn pipelines(place: &Place) {
    let output = place.sender.command("python3").args(["-c", PIPELINES, PROXY]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("451 4.7.1"),
        "{said} {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Two boxes with one key: a card was copied, or a backup of a house that goes on was given back.
pub fn a_box_that_pretends_to_be_another() {
    let place = Place::new();
    let mut alice = place.home("alice", "44.0.0.71", &[]);
    let anna = alice.house.add_mailbox("anna");
    alice.house.kill();
    let copy = place.scratch.path().join("copy");
    let copied = Command::new("cp").arg("-a").args([alice.house.data(), &copy]).status().unwrap();
    assert!(copied.success());
    alice.house.start_again();
    eventually("the link is up", || place.proxy.metric("homes_connected") == 1);
    let eve = Home::start_on(Host::behind_nat("eve", "44.0.0.79"), "alice", Some(copy));
    let said = "another box has been connected as mail.alice.test for";
    eventually("the newer is refused, and told why", || eve.house.log().contains(said));
    eventually("the proxy says so, too", || place.proxy.log().contains("a second box dials as this home"));
    place.send("postfix", &[&alice], &["anna@alice.test"], "for-the-first").log();
    assert_eq!(count(&alice.mail_of(&anna, PROXY), "for-the-first"), 1);
    assert!(!eve.house.log().contains("came through a proxy"), "{}", eve.house.log());
    // A name that is given away is given to nobody else, whatever box asks.
    let again = place.proxy.try_operator(&["invite", "--name", "mail.bob.test", "--name", "mail.alice.test"]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("mail.alice.test"), "{again:?}");
    // The first is gone for good: the other is let in, as a box that lost its power would be.
    alice.house.kill();
    eventually("the other takes its seat", || eve.house.log().contains("the link is up"));
}
