//! A house: `postern up` in a folder of its own, as a family would start it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::hosts::Host;
use crate::{Authority, Scratch};

/// The host name that certificates of a house carry.
pub const HOST: &str = "mail.home.test";

/// How to start.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// More arguments of `postern up`.
    pub arguments: Vec<String>,
    /// Run as uid 65534, as a family member without root would.
    pub unprivileged: bool,
    /// Data folder; a fresh one when `None`.
    pub data: Option<PathBuf>,
    /// Its own `postern.toml`, which then says the addresses and ports, too; only the certificate's files are added.
    pub config: Option<String>,
    /// The host name of its certificate, when it is another than [`HOST`].
    pub host: Option<String>,
    /// The host of the test's network that it runs on: see [`crate::hosts`].
    pub on: Option<Host>,
    /// Another server than the one that was built: see [`crate::clock`].
    pub binary: Option<PathBuf>,
}

/// What `mailbox add --json` and the first start print.
#[derive(Debug, Clone)]
pub struct Mailbox {
    /// Mail address and login name.
    pub address: String,
    /// The first device's password.
    pub password: String,
    /// The 12 words.
    pub words: Vec<String>,
}

impl Mailbox {
    /// Reads that object.
    #[must_use]
    pub fn read(object: &Value) -> Self {
        let text = |key: &str| object[key].as_str().unwrap_or_else(|| panic!("no {key} in {object}")).to_owned();
        let words = object["recovery_words"].as_array().expect("recovery_words is a list");
        let words = words.iter().map(|word| word.as_str().unwrap().to_owned()).collect();
        Self { address: text("address"), password: text("device_password"), words }
    }
}

/// A running house.
#[derive(Debug)]
pub struct House {
    child: Child,
    setup: Setup,
    scratch: Option<Scratch>,
    authority: Authority,
    log: Arc<Mutex<String>>,
    started: Value,
    /// Time from the start of the process to its line.
    pub took: Duration,
    /// The mailbox of the first start.
    pub first: Option<Mailbox>,
}

/// The binary under test, built beside this test.
#[must_use]
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let release = test.ancestors().find(|folder| folder.join("postern").is_file());
    release.expect("no postern binary: build it first, or use tests/run").join("postern")
}

/// The same where uid 65534 can reach it: a checkout may lie in a folder that only root enters.
fn binary_for_anybody() -> PathBuf {
    static COPY: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let copy = COPY.get_or_init(|| {
        // One for each build: it is large, and there are many tests.
        let built = std::fs::metadata(binary()).unwrap();
        let name = format!("postern-for-anybody-{}-{}", built.ino(), built.mtime());
        let (copy, fresh) = (std::env::temp_dir().join(&name), format!("{name}.{}", std::process::id()));
        let fresh = std::env::temp_dir().join(fresh);
        if !copy.exists() {
            // Not by this process: a child of another thread's would have the copy open for writing for a moment, and nobody
            // may execute it meanwhile.
            assert!(Command::new("cp").arg(binary()).arg(&fresh).status().unwrap().success());
            std::fs::rename(&fresh, &copy).unwrap();
        }
        copy
    });
    copy.clone()
}

/// The command of a binary as root or as uid 65534.
fn as_user(unprivileged: bool) -> Command {
    if !unprivileged {
        return Command::new(binary());
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(binary_for_anybody());
    command
}

impl House {
    /// Starts with a fresh data folder, or the one in `setup`, and waits until it serves.
    #[must_use]
    pub fn start(setup: Setup) -> Self {
        let scratch = Scratch::new("house");
        let authority = Authority::make(scratch.path(), setup.host.as_deref().unwrap_or(HOST));
        if setup.unprivileged {
            // Everything under the folder belongs to the user who runs it.
            let status = Command::new("chown").args(["-R", "65534:65534"]).arg(scratch.path()).status().unwrap();
            assert!(status.success());
        }
        let mut setup = setup;
        let data = setup.data.get_or_insert_with(|| scratch.path().join("data"));
        if let Some(config) = &setup.config {
            let (chain, key) = (authority.certificate(), authority.key());
            std::fs::create_dir_all(&data).unwrap();
            std::fs::write(data.join("postern.toml"), format!("{config}tls-cert = {chain:?}\ntls-key = {key:?}\n"))
                .unwrap();
        }
        Self::begin(setup, Some(scratch), authority)
    }

    fn begin(setup: Setup, scratch: Option<Scratch>, authority: Authority) -> Self {
        let log = Arc::new(Mutex::new(String::new()));
        for attempt in 0.. {
            let began = Instant::now();
            let mut child = Self::command(&setup, &authority).spawn().unwrap();
            let errors = child.stderr.take().unwrap();
            let keep = log.clone();
            thread::spawn(move || keep_log(errors, &keep));
            let mut output = BufReader::new(child.stdout.take().unwrap());
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
            let Ok(started) = serde_json::from_str::<Value>(&line) else {
                let _ = child.kill();
                let status = child.wait().unwrap();
                thread::sleep(Duration::from_millis(200));
                let log = log.lock().unwrap();
                assert!(attempt < 1, "postern up ended with {status} and said {line:?}\n{log}");
                continue;
            };
            let first = started.get("first").filter(|first| first.is_object()).map(Mailbox::read);
            return Self { child, setup, scratch, authority, log, started, took: began.elapsed(), first };
        }
        unreachable!()
    }

    fn command(setup: &Setup, authority: &Authority) -> Command {
        let mut command = match (&setup.on, &setup.binary) {
            (Some(host), _) => host.command(binary()),
            (None, Some(binary)) => Command::new(binary),
            (None, None) => as_user(setup.unprivileged),
        };
        command.args(["up", "--json", "--data"]).arg(setup.data.as_ref().unwrap());
        if setup.config.is_none() {
            let offset = free_offset().to_string();
            command.args(["--bind", "127.0.0.1", "--port-offset", &offset]);
            command.arg("--tls-cert").arg(authority.certificate()).arg("--tls-key").arg(authority.key());
        }
        command.args(&setup.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Where a service listens: `smtp`, `submission`, `submissions`, `imaps`.
    #[must_use]
    pub fn address(&self, service: &str) -> SocketAddr {
        let value = &self.started[service];
        let text = value.as_str().or_else(|| value[0].as_str());
        text.unwrap_or_else(|| panic!("no {service} in {}", self.started)).parse().unwrap()
    }

    /// Where a service listens, its port alone.
    #[must_use]
    pub fn port(&self, service: &str) -> u16 {
        self.address(service).port()
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.setup.data.as_ref().unwrap()
    }

    /// The mailbox of the first start.
    #[must_use]
    pub fn you(&self) -> &Mailbox {
        self.first.as_ref().expect("not the first start")
    }

    /// A folder for the test's own files.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.scratch.as_ref().unwrap().path()
    }

    /// Certificate and authority.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Process id of `postern up`.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until `words` are in the log: what a role says goes through two pipes, and comes later than what it does.
    ///
    /// # Panics
    /// When they do not come within a minute.
    pub fn logs(&self, words: &str) {
        let _ = self.log_with(words, 1);
    }

    /// The log, once it has `words` that many times.
    ///
    /// # Panics
    /// As [`Self::logs`].
    #[must_use]
    pub fn log_with(&self, words: &str, times: usize) -> String {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let log = self.log();
            if log.matches(words).count() >= times {
                return log;
            }
            assert!(Instant::now() < until, "{words:?} is not {times} times in the log:\n{log}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs an admin command with `--data` and `--json`; `input` goes to its standard input.
    #[must_use]
    pub fn admin(&self, arguments: &[&str], input: &str) -> Output {
        admin(self.data(), self.setup.unprivileged, arguments, input)
    }

    /// The same, expected to succeed, its one JSON value read.
    #[must_use]
    pub fn admin_json(&self, arguments: &[&str], input: &str) -> Value {
        let output = self.admin(arguments, input);
        assert!(output.status.success(), "{arguments:?}: {output:?}\n{}", self.log());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {output:?}"))
    }

    /// Adds a mailbox.
    #[must_use]
    pub fn add_mailbox(&self, name: &str) -> Mailbox {
        Mailbox::read(&self.admin_json(&["mailbox", "add", name], ""))
    }

    /// Process ids of the roles by name, from the outside: children of `up` with `role NAME` in their
    /// command line.
    #[must_use]
    pub fn roles(&self) -> Vec<(String, u32)> {
        crate::programs::descendants(self.pid())
            .into_iter()
            .filter_map(|pid| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
                let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
                let at = words.iter().position(|word| word == "role")?;
                Some((words.get(at + 1)?.to_string(), pid))
            })
            .collect()
    }

    /// SIGTERM, then waits for a clean end.
    pub fn stop(&mut self) {
        signal(self.pid(), "TERM");
        self.wait();
    }

    /// Waits for a clean end.
    pub fn wait(&mut self) {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// SIGKILL to `up`; its roles must follow by themselves.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts again on the same data, after [`Self::stop`] or [`Self::kill`].
    pub fn start_again(&mut self) {
        let scratch = self.scratch.take();
        let authority = std::mem::replace(&mut self.authority, Authority::at(scratch.as_ref().unwrap().path()));
        let (setup, first) = (self.setup.clone(), self.first.clone());
        let mut fresh = Self::begin(setup, scratch, authority);
        fresh.first = fresh.first.take().or(first);
        *self = fresh;
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("---- the house's log ----\n{}", self.log());
        }
        self.kill();
    }
}

/// Runs an admin command on a data folder, whether or not a server runs there.
#[must_use]
pub fn admin(data: &Path, unprivileged: bool, arguments: &[&str], input: &str) -> Output {
    let mut command = as_user(unprivileged);
    let mut child = command
        .args(arguments)
        .args(["--json", "--data"])
        .arg(data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Sends a signal by name.
pub fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill").args([format!("-{name}"), pid.to_string()]).stderr(Stdio::null()).status();
}

fn keep_log(mut from: impl Read, into: &Mutex<String>) {
    let mut buffer = [0; 4096];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        into.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..bytes]));
    }
}

/// An offset at which all four services' ports are free at this moment.
#[must_use]
pub fn free_offset() -> u16 {
    let seed = u32::from(std::process::id() as u16) ^ (Instant::now().elapsed().subsec_nanos());
    let random = std::collections::hash_map::RandomState::new();
    let mut number = std::hash::BuildHasher::hash_one(&random, seed);
    loop {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let offset = 2_000 + u16::try_from((number >> 33) % 28_000).unwrap();
        if [25, 465, 587, 993].iter().all(|port| std::net::TcpListener::bind(("127.0.0.1", port + offset)).is_ok()) {
            return offset;
        }
    }
}
