//! What all these tests have: names, the proxy, a host for whoever sends.

use std::io::Write;
use std::process::{Child, Stdio};

use tests::Scratch;
use tests::hosts::{HERE, Host};
use tests::names::Names;
use tests::peers;
use tests::proxies::{CLEAN, Home, Inbound, eventually};

pub const PROXY: &str = "44.0.0.25";
/// Other addresses of the proxy, one home's alone each.
pub const OWN: [&str; 2] = ["44.0.0.26", "44.0.0.27"];
pub const SENDER: &str = "44.0.0.40";
/// Seconds that a letter may take: OpenSMTPD leaves a host alone for minutes after a few failures.
const PATIENCE: &str = "600";

/// The Internet as it is before anybody is paired.
pub struct Place {
    pub names: Names,
    pub proxy: Inbound,
    pub sender: Host,
    pub scratch: Scratch,
}

impl Place {
    pub fn new() -> Self {
        Self::with("")
    }

    /// With so much more in the proxy's configuration.
    pub fn with(config: &str) -> Self {
        let names = Names::serve_at(HERE);
        names.a(CLEAN, PROXY);
        names.a("sender.example.org", SENDER);
        let proxy = Inbound::start(Host::public("proxy", &[PROXY]), config);
        let (sender, scratch) = (Host::public("sender", &[SENDER]), Scratch::new("proxies"));
        Self { names, proxy, sender, scratch }
    }

    /// A home whose names lead to the proxy.
    pub fn home(&self, name: &str, router: &str, invite: &[&str]) -> Home {
        let home = Home::start(name, router);
        self.names.mx(&format!("{name}.test"), 10, &home.name);
        self.names.a(&home.name, PROXY);
        home.pair(&self.proxy, invite);
        home
    }

    /// The proxy begins anew, as if nobody had ever sent through it.
    pub fn forget_what_was_learnt(&mut self) {
        let homes = self.proxy.metric("homes_connected");
        self.proxy.kill();
        std::fs::remove_file(self.proxy.folder().join("state/learnt")).unwrap();
        self.proxy.start_again();
        eventually("all links are up", || self.proxy.metric("homes_connected") == homes);
    }

    /// Has a real mail server send a letter (`--` between two recipients: a letter each, one soon after the other), and keep
    /// it until it is delivered or its time is over. It knows the authorities of these homes' certificates.
    pub fn send(&self, peer: &str, homes: &[&Home], to: &[&str], text: &str) -> Sending {
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
            .env("PEER_PATIENCE", PATIENCE)
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
pub struct Sending(Child);

impl Sending {
    /// Its server's log, once its queue is empty.
    pub fn log(self) -> String {
        let (delivered, text) = self.end();
        assert!(delivered, "{text}");
        text
    }

    /// Whether its queue was empty in time, and its log.
    pub fn end(self) -> (bool, String) {
        let output = self.0.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }
}

/// How many of these letters have the phrase.
pub fn count(letters: &[String], phrase: &str) -> usize {
    letters.iter().filter(|letter| letter.contains(phrase)).count()
}
