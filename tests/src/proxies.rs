//! The clean-address pair in a test's network: an inbound proxy, and homes that are paired with it.

use std::io::Write;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use crate::hosts::{HERE, Host};
use crate::house::binary;
use crate::operated::Operated;
use crate::{House, Imap, Mailbox, Setup};

/// What an inbound proxy calls itself in a test.
pub const CLEAN: &str = "clean.test";

const SUBMIT: &str = r#"
import smtplib, ssl, sys
port, ca, user, password, letter = sys.argv[1:6]
smtp = smtplib.SMTP('localhost', int(port), timeout=60)
context = ssl.create_default_context(cafile=ca)
context.check_hostname = False
smtp.starttls(context=context)
smtp.login(user, password)
smtp.sendmail(user, sys.argv[6:], letter.replace('\n', '\r\n'))
smtp.quit()
"#;

/// A running inbound proxy.
#[derive(Debug)]
pub struct Inbound(Operated);

impl Inbound {
    /// Starts one on that host; `config` is added to its configuration.
    #[must_use]
    pub fn start(host: Host, config: &str) -> Self {
        Self(Operated::start("inbound-proxy", host, CLEAN, config))
    }
}

impl Deref for Inbound {
    type Target = Operated;

    fn deref(&self) -> &Operated {
        &self.0
    }
}

impl DerefMut for Inbound {
    fn deref_mut(&mut self) -> &mut Operated {
        &mut self.0
    }
}

/// A home `NAME.test` with the host `mail.NAME.test`, behind a router of its own.
#[derive(Debug)]
pub struct Home {
    /// The house.
    pub house: House,
    /// Where it is.
    pub host: Host,
    /// Its mail host.
    pub name: String,
}

impl Home {
    /// Starts it; `address` is its router's.
    #[must_use]
    pub fn start(name: &str, address: &str) -> Self {
        Self::start_on(Host::behind_nat(name, address), name, None)
    }

    /// Starts it on a host, with that data folder when there is one.
    #[must_use]
    pub fn start_on(host: Host, name: &str, data: Option<PathBuf>) -> Self {
        let mail = format!("mail.{name}.test");
        let own = ["--domain", &format!("{name}.test"), "--hostname", &mail, "--dns", HERE].map(str::to_owned);
        let (arguments, named, on) = (own.to_vec(), Some(mail.clone()), Some(host.clone()));
        let setup = Setup { arguments, host: named, on, data, ..Setup::default() };
        Self { house: House::start(setup), host, name: mail }
    }

    /// Uses a code up.
    #[must_use]
    pub fn try_pair(&self, code: &str) -> Output {
        self.postern(&["pair", code])
    }

    /// The same, where nobody else on the machine sees the code.
    #[must_use]
    pub fn try_pair_unseen(&self, code: &str) -> Output {
        let mut command = self.host.command(binary());
        command.args(["pair", "-", "--data"]).arg(self.house.data());
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{code}").unwrap();
        child.wait_with_output().unwrap()
    }

    /// Uses a code up, and waits until the link is up.
    pub fn pair(&self, proxy: &Inbound, invite: &[&str]) {
        let connected = proxy.metric("homes_connected");
        let code = proxy.operator(&[&["invite", "--name", &self.name], invite].concat());
        let output = self.try_pair_unseen(code.trim());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        eventually("the link is up", || proxy.metric("homes_connected") > connected);
    }

    /// Runs one of the family admin's commands where the house is.
    #[must_use]
    pub fn postern(&self, arguments: &[&str]) -> Output {
        self.host.command(binary()).args(arguments).arg("--data").arg(self.house.data()).output().unwrap()
    }

    /// Sends a letter, as somebody who is at home.
    pub fn submit(&self, from: &Mailbox, to: &[&str], letter: &str) {
        let port = self.house.port("submission").to_string();
        let ca = self.house.authority().authority();
        let fixed = ["-c", SUBMIT, &port, ca.to_str().unwrap(), &from.address, &from.password, letter];
        let output = self.host.command("python3").args([&fixed[..], to].concat()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The text of all of somebody's mail, read by a phone far from home: through the proxy at that address.
    #[must_use]
    pub fn mail_of(&self, mailbox: &Mailbox, proxy: &str) -> Vec<String> {
        let address = SocketAddr::new(proxy.parse().unwrap(), 993);
        let mut imap = Imap::connect_as(address, &self.name, self.house.authority()).unwrap();
        assert!(imap.ask(&format!("LOGIN {} {}", mailbox.address, mailbox.password)).unwrap().ok());
        assert!(imap.ask("SELECT INBOX").unwrap().ok());
        let answer = imap.ask("FETCH 1:* (BODY.PEEK[])").unwrap();
        answer.untagged.iter().map(|letter| String::from_utf8_lossy(letter).into_owned()).collect()
    }
}

/// Waits until it holds.
///
/// # Panics
/// When it does not for five minutes.
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(300);
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}
