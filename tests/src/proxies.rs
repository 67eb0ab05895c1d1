//! The clean-address pair in a test's network: an inbound proxy, and homes that are paired with it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::hosts::{HERE, Host};
use crate::house::{binary, signal};
use crate::programs::descendants;
use crate::{House, Imap, Mailbox, Scratch, Setup};

/// What an inbound proxy calls itself in a test.
pub const CLEAN: &str = "clean.test";

/// A running inbound proxy.
#[derive(Debug)]
pub struct Inbound {
    host: Host,
    child: Option<Child>,
    scratch: Scratch,
}

impl Inbound {
    /// Starts one on that host; `config` is added to its configuration.
    #[must_use]
    pub fn start(host: Host, config: &str) -> Self {
        let scratch = Scratch::new("inbound-proxy");
        let text = format!("name = \"{CLEAN}\"\ndns = [\"{HERE}:53\"]\nmetrics = \"127.0.0.1:9125\"\n{config}");
        std::fs::write(scratch.path().join("inbound-proxy.toml"), text).unwrap();
        let mut this = Self { host, child: None, scratch };
        this.start_again();
        this
    }

    /// After [`Self::kill`].
    pub fn start_again(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.log_file()).unwrap();
        let child = self.command(&["run"]).stdin(Stdio::null()).stderr(log).spawn().unwrap();
        self.child = Some(child);
        let until = Instant::now() + Duration::from_secs(20);
        while !self.metrics().contains("inbound_proxy_") {
            assert!(Instant::now() < until, "it does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// SIGKILL to all of it.
    pub fn kill(&mut self) {
        for pid in self.processes() {
            signal(pid, "KILL");
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    /// Its processes, the gate last.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        let Some(child) = &self.child else { return Vec::new() };
        std::iter::once(child.id()).chain(descendants(child.id())).collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.host.command(binary().with_file_name("inbound-proxy"));
        command.arg("--folder").arg(self.scratch.path()).args(arguments);
        command
    }

    /// Runs one of its commands, which must succeed; what it prints.
    pub fn operator(&self, arguments: &[&str]) -> String {
        let output = self.try_operator(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// Runs one of its commands.
    #[must_use]
    pub fn try_operator(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What Prometheus would get.
    #[must_use]
    pub fn metrics(&self) -> String {
        let script =
            "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9125/metrics', timeout=5).read().decode())";
        let output = self.host.command("python3").args(["-c", script]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// One number of it.
    #[must_use]
    pub fn metric(&self, name: &str) -> u64 {
        let metrics = self.metrics();
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("inbound_proxy_{name} ")));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {metrics}"))
    }

    /// Where it runs.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// Everything it has on its disk.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    fn log_file(&self) -> std::path::PathBuf {
        self.scratch.path().join("log")
    }

    /// Everything it has said.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- the proxy's log ----\n{}", self.log());
        }
        self.kill();
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
        let host = Host::behind_nat(name, address);
        let mail = format!("mail.{name}.test");
        let own = ["--domain", &format!("{name}.test"), "--hostname", &mail, "--dns", HERE].map(str::to_owned);
        let setup =
            Setup { arguments: own.to_vec(), host: Some(mail.clone()), on: Some(host.clone()), ..Setup::default() };
        Self { house: House::start(setup), host, name: mail }
    }

    /// Uses a code up.
    #[must_use]
    pub fn try_pair(&self, code: &str) -> Output {
        self.postern(&["pair", code])
    }

    /// Uses a code up, and waits until the link is up.
    pub fn pair(&self, proxy: &Inbound, invite: &[&str]) {
        let connected = proxy.metric("homes_connected");
        let code = proxy.operator(&[&["invite", "--name", &self.name], invite].concat());
        let output = self.try_pair(code.trim());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        eventually("the link is up", || proxy.metric("homes_connected") > connected);
    }

    /// Runs one of the family admin's commands where the house is.
    #[must_use]
    pub fn postern(&self, arguments: &[&str]) -> Output {
        self.host.command(binary()).args(arguments).arg("--data").arg(self.house.data()).output().unwrap()
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

/// All of a process's memory that can be read.
#[must_use]
pub fn memory(pid: u32) -> Vec<u8> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let file = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" r") && !line.contains("[v")) {
        let (from, to) = line.split(' ').next().and_then(|range| range.split_once('-')).unwrap();
        let [from, to] = [from, to].map(|number| u64::from_str_radix(number, 16).unwrap());
        let mut part = vec![0; usize::try_from(to - from).unwrap()];
        if let Ok(read) = std::os::unix::fs::FileExt::read_at(&file, &mut part, from) {
            all.extend_from_slice(&part[..read]);
        }
    }
    all
}

/// The contents of all files below a folder.
#[must_use]
pub fn files(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() {
            all.extend(files(&entry.path()));
        } else {
            all.extend(std::fs::read(entry.path()).unwrap());
        }
    }
    all
}

/// Waits until it holds.
///
/// # Panics
/// When it does not for two minutes.
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}
