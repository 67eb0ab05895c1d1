//! From a code to a letter, and to the end of a pairing.

use tests::Authority;
use tests::hosts::HERE;
use tests::mallory::Mallory;
use tests::proxies::{CLEAN, Home, eventually};

use crate::place::{PROXY, Place, SENDER};

pub fn from_a_code_to_a_letter() {
    let place = Place::new();
    let alice = place.home("alice", "44.0.0.71", &[]);
    let anna = alice.house.add_mailbox("anna");
    let knock = "import socket; socket.create_connection(('44.0.0.71', 25), 2)";
    let inside = place.sender.command("python3").args(["-c", knock]).output().unwrap();
    assert!(!inside.status.success(), "nobody gets in at the router");
    // What the proxy knows the house knows a moment later, and the other way round.
    let listed = |home: &Home, more: &[&str]| {
        String::from_utf8(home.postern(&[&["pair", "list"], more].concat()).stdout).unwrap()
    };
    eventually("the house has its link", || listed(&alice, &["--json"]).contains("\"connected\":true"));
    let log = place.send("postfix", &[&alice], &["anna@alice.test"], "xylophone-phrase").log();
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
    eventually("bob's link is up", || place.proxy.metric("homes_connected") == 2);
    let again = Home::start("eve", "44.0.0.73").try_pair(code.trim());
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("used already"), "{again:?}");
    let homes = place.proxy.operator(&["list"]);
    assert!(homes.contains("mail.alice.test: paired") && homes.contains("mail.bob.test: paired"), "{homes}");
    eventually("bob has his link", || listed(&bob, &[]).contains("connected for"));
    let of_bob = listed(&bob, &[]);
    assert!(of_bob.contains(CLEAN) && of_bob.contains("mail.bob.test"), "{of_bob}");
    place.proxy.operator(&["revoke", "mail.bob.test"]);
    eventually("bob is cut off", || place.proxy.metric("homes_connected") == 1);
    eventually("and sees why", || listed(&bob, &[]).contains("not connected: the proxy does not know this box"));
    let doctor = |home: &Home| String::from_utf8(home.postern(&["doctor"]).stdout).unwrap();
    let found = doctor(&alice);
    assert!(found.contains("through clean.test: connected for"), "{found}");
    assert!(found.contains(&format!("{} at {PROXY}, port 25 and 993: this house answers", alice.name)), "{found}");
    // Somebody else has bob's name now, and whoever calls it gets to him.
    place.names.a(&bob.name, PROXY);
    let certificate = Authority::make(place.scratch.path(), &bob.name);
    let code = place.proxy.operator(&["invite", "--name", &bob.name]);
    let _mallory = Mallory::start(code.trim(), HERE, &certificate);
    eventually("she has it", || place.proxy.metric("homes_connected") == 2);
    let found = doctor(&bob);
    assert!(found.contains("through clean.test: not connected"), "{found}");
    assert!(found.contains(&format!("{} at {PROXY}, port 25 and 993: another certificate", bob.name)), "{found}");
    assert!(alice.postern(&["pair", "revoke", "clean.test:7025"]).status.success());
    eventually("alice has gone", || place.proxy.metric("homes_connected") == 1);
}
