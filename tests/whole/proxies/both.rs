//! Both proxies at one house: a stranger's letter comes in, and its answer goes out, and whoever reads the proxies' machines as
//! root has not a word of either.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use tests::far::Far;
use tests::hosts::Host;
use tests::operated::{Operated, contains};
use tests::outbound::{AWAY, Outbound};
use tests::proxies::eventually;

use crate::place::{PROXY, Place, SENDER};

const OUT: &str = "44.0.0.30";

/// Keeps every packet that its host sees.
const LISTENS: &str = "
import socket, sys
every = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
every.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
with open(sys.argv[1], 'wb', 0) as kept:
    print('up', flush=True)
    while True:
        kept.write(every.recv(1 << 17))
";

/// What went by at a host.
struct Wire {
    child: Child,
    kept: std::path::PathBuf,
}

impl Wire {
    fn tap(host: &Host, kept: std::path::PathBuf) -> Self {
        let mut command = host.command("python3");
        let mut child = command.args(["-c", LISTENS]).arg(&kept).stdout(Stdio::piped()).spawn().unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        Self { child, kept }
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.kept).unwrap()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn a_letter_and_its_answer() {
    let place = Place::new();
    place.names.a(AWAY, OUT);
    let out = Outbound::start(Host::public("out", &[OUT]), OUT);
    let tap = |host: &Host, name: &str| Wire::tap(host, place.scratch.path().join(name));
    let wires = [tap(place.proxy.host(), "in"), tap(out.host(), "out")];
    // A new user: a box behind a router, two codes.
    let alice = place.home("alice", "44.0.0.71", &[]);
    let anna = alice.house.add_mailbox("anna.quagmire");
    assert!(alice.try_pair(&out.invite("alice", &[])).status.success());
    eventually("both links are up", || {
        out.metric("homes_connected") == 1 && place.proxy.metric("homes_connected") == 1
    });
    // Postfix elsewhere, as Debian has it.
    place.names.mx("far.test", 10, "mx.far.test");
    place.names.a("mx.far.test", SENDER);
    let certificate = tests::Authority::make(place.scratch.path(), "mx.far.test");
    let far = Far::start_on(&place.sender, "postfix", SENDER, "far.test", &certificate);
    let letter = "From: ben@far.test\nTo: anna.quagmire@alice.test\nSubject: question-xylophone\n\nquestion-quince\n";
    far.write("ben@far.test", &anna.address, letter);
    let arrived = || alice.mail_of(&anna, PROXY).iter().any(|mail| mail.contains("question-quince"));
    eventually("it has arrived", arrived);
    let answer = format!("From: {}\nTo: ben@far.test\nSubject: answer-zeppelin\n\nanswer-walnut\n", anna.address);
    alice.submit(&anna, &["ben@far.test"], &answer);
    eventually("it is answered", || far.mail("ben").contains("answer-walnut"));
    let mail = far.mail("ben");
    assert!(mail.contains(OUT) && !mail.contains("44.0.0.71"), "from the clean address: {mail}");
    let phrases = ["question-xylophone", "question-quince", "answer-zeppelin", "answer-walnut", "quagmire", "ben@far"];
    let proxies: [&Operated; 2] = [&place.proxy, &out];
    for (proxy, wire) in proxies.into_iter().zip(&wires) {
        let (memory, files, seen) = (proxy.memory(), proxy.files(), wire.bytes());
        assert!(contains(&memory, "mail.alice.test") || contains(&memory, AWAY), "the search finds what is there");
        assert!(contains(&files, "alice") && contains(&seen, "STARTTLS"), "and there, and on the wire");
        for phrase in phrases.into_iter().chain([anna.password.as_str()]) {
            for (place, bytes) in [("memory", &memory), ("files and log", &files), ("wire", &seen)] {
                assert!(!contains(bytes, phrase), "{phrase} in the {place} of {proxy:?}");
            }
        }
    }
}
