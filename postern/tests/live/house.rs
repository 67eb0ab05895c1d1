//! A box in a folder of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Who runs the box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    Root,
    Anybody,
}

/// Debian's `nobody`.
const NOBODY: u32 = 65_534;

pub struct House {
    pub user: User,
    pub folder: PathBuf,
    options: Vec<String>,
    pub up: Child,
    pub said: Value,
    log: Arc<Mutex<String>>,
}

/// The binary where `nobody` can reach it: a checkout may lie in a folder that only root enters.
pub fn binary() -> &'static Path {
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    COPY.get_or_init(|| {
        // One for each build, as the whole-system tests have it.
        let built = std::fs::metadata(env!("CARGO_BIN_EXE_postern")).unwrap();
        let name = format!("postern-for-anybody-{}-{}", built.ino(), built.mtime());
        let (copy, fresh) = (std::env::temp_dir().join(&name), format!("{name}.{}", std::process::id()));
        let fresh = std::env::temp_dir().join(fresh);
        if !copy.exists() {
            // Not by this process: a child of another thread's would have the copy open for writing for a moment, and nobody
            // may execute it meanwhile.
            assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_postern")).arg(&fresh).status().unwrap().success());
            std::fs::rename(&fresh, &copy).unwrap();
        }
        copy
    })
}

fn command(user: User) -> Command {
    program(user, binary())
}

fn said(command: &mut Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn program(user: User, program: impl AsRef<std::ffi::OsStr>) -> Command {
    assert!(rustix::process::geteuid().is_root(), "these tests start boxes as root and as nobody: run them as root");
    match user {
        User::Root => Command::new(program),
        User::Anybody => {
            let mut command = Command::new("setpriv");
            let id = NOBODY.to_string();
            command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]).arg(program);
            command
        }
    }
}

/// An offset whose four ports are free, and below those that Linux gives to whoever connects.
pub fn free_offset() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let offset = 20_000 + (std::process::id() as u16 % 200) * 50 + step;
        if [25, 465, 587, 993].iter().all(|port| TcpListener::bind(("127.0.0.1", port + offset)).is_ok()) {
            return offset;
        }
    }
}

impl House {
    pub fn start(user: User, name: &str) -> Self {
        Self::start_with(user, name, |_| Vec::new())
    }

    /// With further options, made from its folder.
    pub fn start_with(user: User, name: &str, options: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let folder = std::env::temp_dir().join(format!("postern-live-{name}-{user:?}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        if user == User::Anybody {
            std::os::unix::fs::chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let options = options(&folder);
        Self::begin(user, folder, options)
    }

    fn begin(user: User, folder: PathBuf, options: Vec<String>) -> Self {
        let offset = free_offset().to_string();
        let mut up = command(user)
            .args(["up", "--json", "--bind", "127.0.0.1", "--port-offset", &offset, "--data"])
            .arg(folder.join("data"))
            .args(&options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::<Mutex<String>>::default();
        let (mut errors, keep) = (up.stderr.take().unwrap(), log.clone());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = errors.read(&mut buffer) {
                keep.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
        });
        let mut line = String::new();
        BufReader::new(up.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Ok(said) = serde_json::from_str(&line) else {
            let status = up.wait().unwrap();
            panic!("`up` ended with {status}: {}", log.lock().unwrap());
        };
        Self { user, folder, options, up, said, log }
    }

    /// After `up` has ended.
    pub fn again(&mut self) {
        let fresh = Self::begin(self.user, self.folder.clone(), self.options.clone());
        let old = std::mem::replace(self, fresh);
        std::mem::forget(old);
    }

    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn address(&self, service: &str) -> SocketAddr {
        self.said[service].as_str().unwrap().parse().unwrap()
    }

    /// Process ids of the roles by name: the children of `up`.
    pub fn roles(&self) -> BTreeMap<String, u32> {
        let all = children(self.up.id()).into_iter().filter_map(|pid| Some((role(pid)?, pid)));
        // At the first start an RSA key is made beside; that one is gone soon.
        all.filter(|(name, _)| *name != filter_sandbox::role::Role::KeyMaker.name()).collect()
    }

    pub fn admin(&self, words: &[&str], input: &str) -> Output {
        self.command(&[words, &["--json"]].concat(), input)
    }

    /// What a person reads, at a terminal.
    pub fn admin_in_words(&self, words: &[&str], input: &str) -> String {
        let data = self.data();
        let typed = [&[binary().to_str().unwrap()], words, &["--data", data.to_str().unwrap()]].concat();
        let output = said(program(self.user, "script").args(["-qec", &typed.join(" "), "/dev/null"]), input);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn command(&self, words: &[&str], input: &str) -> Output {
        said(command(self.user).args(words).arg("--data").arg(self.data()), input)
    }

    /// A real letter in over SMTP, seen over IMAP, removed: the doctor does just that.
    pub fn letter_goes_through(&self, secret: &str) -> bool {
        let output = self.admin(&["doctor", "--mailbox", "you", "--unlock-stdin"], &format!("{secret}\n"));
        let findings: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let letters = findings["findings"].as_array().into_iter().flatten();
        let letters: Vec<_> = letters.filter(|finding| finding["about"] == "letter").collect();
        letters.len() == 2 && letters.iter().all(|finding| finding["state"] == "good")
    }

    pub fn signal(&self, name: &str) {
        signal(self.up.id(), name);
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("---- the box's log ----\n{}", self.log());
        }
        let _ = self.up.kill();
        let _ = self.up.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap().success());
}

/// Waits for something that must come.
pub fn eventually(what: &str, mut come: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(120);
    while !come() {
        assert!(Instant::now() < until, "{what}: not within two minutes");
        thread::sleep(Duration::from_millis(20));
    }
}

pub fn children(of: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| field(*pid, "PPid").is_some_and(|parent| parent == of.to_string())).collect()
}

/// A field of `/proc/PID/status`, its first word.
pub fn field(pid: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.split_ascii_whitespace().next().unwrap_or_default().to_owned())
}

fn role(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    words.find(|word| word == "role")?;
    words.next().map(|name| name.into_owned())
}
