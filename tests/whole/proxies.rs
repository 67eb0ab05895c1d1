//! Mail for homes without an address of their own, through an inbound proxy: every host a network namespace, the homes
//! behind routers that let nobody in, the senders real mail servers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::io::Write;
use std::process::{Child, Stdio};

use tests::hosts::{self, HERE, Host};
use tests::names::Names;
use tests::peers;
use tests::proxies::{CLEAN, Home, Inbound};

const PROXY: &str = "44.0.0.25";
const SENDER: &str = "44.0.0.40";

/// The Internet as it is before anybody is paired.
struct Place {
    names: Names,
    proxy: Inbound,
    sender: Host,
}

impl Place {
    fn new() -> Self {
        let names = Names::serve_at(HERE);
        names.a(CLEAN, PROXY);
        names.a("sender.example.org", SENDER);
        let proxy = Inbound::start(Host::public("proxy", &[PROXY]), "");
        Self { names, proxy, sender: Host::public("sender", &[SENDER]) }
    }

    /// A home whose names lead to the proxy.
    fn home(&self, name: &str, router: &str, invite: &[&str]) -> Home {
        let home = Home::start(name, router);
        self.names.mx(&format!("{name}.test"), 10, &home.name);
        self.names.a(&home.name, PROXY);
        home.pair(&self.proxy, invite);
        home
    }

    /// Has a real mail server send a letter, and keep it until it is delivered or `patience` seconds are over.
    fn send(&self, peer: &str, home: &Home, to: &[&str], text: &str, patience: u32) -> Sending {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/deliver");
        let mut child = self
            .sender
            .command(script)
            .arg(peer)
            .arg(peers::folder().join(peer))
            .args([home.name.as_str(), "25"])
            .arg(home.house.authority().authority())
            .arg("aunt@sender.example.org")
            .args(to)
            .env("PEER_DNS", HERE)
            .env("PEER_PATIENCE", patience.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let letter = format!("From: aunt@sender.example.org\nTo: {}\nSubject: {text}\n\n{text}\n", to.join(", "));
        child.stdin.take().unwrap().write_all(letter.as_bytes()).unwrap();
        Sending(child)
    }
}

/// A letter on its way.
struct Sending(Child);

impl Sending {
    /// Its server's log, once its queue is empty.
    fn log(self) -> String {
        let output = self.0.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }
}

#[test]
fn from_a_code_to_a_letter() {
    if !hosts::inside("from_a_code_to_a_letter") {
        return;
    }
    let place = Place::new();
    let alice = place.home("alice", "44.0.0.71", &[]);
    let anna = alice.house.add_mailbox("anna");
    let unreachable = place
        .sender
        .command("python3")
        .args(["-c", "import socket; socket.create_connection(('44.0.0.71', 25), 2)"])
        .output()
        .unwrap();
    assert!(!unreachable.status.success(), "nobody gets in at the router");
    let log = place.send("postfix", &alice, &["anna@alice.test"], "xylophone-phrase", 60).log();
    assert!(
        log.contains(&format!("Trusted TLS connection established to {}", alice.name)),
        "the home's own certificate: {log}"
    );
    assert!(!log.contains("status=deferred"), "one home: nobody needs to be asked: {log}");
    let mail = alice.mail_of(&anna, PROXY);
    assert_eq!(mail.len(), 1);
    for part in ["xylophone-phrase", SENDER, "TLS1.3", "Received: from sender.example.org"] {
        assert!(mail[0].contains(part), "{part}: {}", mail[0]);
    }
}
