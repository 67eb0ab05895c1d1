//! A proxy's program in a test's network, as its operator has it.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use crate::Scratch;
use crate::hosts::{HERE, Host};
use crate::house::{binary, signal};
use crate::programs::descendants;

/// Waited for at most so long.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where both are asked for numbers; each is alone on its machine.
const METRICS: &str = "127.0.0.1:9125";

/// One that runs.
#[derive(Debug)]
pub struct Operated {
    program: &'static str,
    host: Host,
    child: Option<Child>,
    scratch: Scratch,
}

impl Operated {
    /// Starts that program on that host, where it is called so; `config` is added to its configuration.
    #[must_use]
    pub fn start(program: &'static str, host: Host, name: &str, config: &str) -> Self {
        let scratch = Scratch::new(program);
        // As the program makes one.
        std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let text = format!("name = \"{name}\"\ndns = [\"{HERE}:53\"]\nmetrics = \"{METRICS}\"\n{config}");
        std::fs::write(scratch.path().join(program).with_extension("toml"), text).unwrap();
        let mut this = Self { program, host, child: None, scratch };
        this.start_again();
        this
    }

    /// After [`Self::kill`].
    pub fn start_again(&mut self) {
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        self.child = Some(self.command(&["run"]).stdin(Stdio::null()).stderr(log).spawn().unwrap());
        let until = Instant::now() + PATIENCE;
        while !self.metrics().contains(&self.prefix()) {
            assert!(Instant::now() < until, "it does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// SIGKILL to all of it.
    pub fn kill(&mut self) {
        let all = self.processes();
        all.iter().for_each(|pid| signal(*pid, "KILL"));
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
        // Whom strangers talk to is nobody's child now, and has its ports until it is gone.
        let until = Instant::now() + PATIENCE;
        while all.iter().any(|pid| is_alive(*pid)) {
            assert!(Instant::now() < until, "it does not die");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGTERM, as a service manager sends it.
    pub fn ask_to_end(&self) {
        self.child.iter().for_each(|child| signal(child.id(), "TERM"));
    }

    /// How it ended, when it does within so long.
    pub fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + patience;
        loop {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            if ended.is_some() || Instant::now() > until {
                return ended;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Its processes, the one that strangers talk to last.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        let Some(child) = &self.child else { return Vec::new() };
        std::iter::once(child.id()).chain(descendants(child.id())).collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.host.command(binary().with_file_name(self.program));
        command.arg("--folder").arg(self.scratch.path()).args(arguments);
        command
    }

    /// Runs one of its commands.
    #[must_use]
    pub fn try_operator(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs one of its commands, which must succeed; what it prints.
    pub fn operator(&self, arguments: &[&str]) -> String {
        let output = self.try_operator(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// What Prometheus would get; nothing before it has started.
    #[must_use]
    pub fn metrics(&self) -> String {
        let script = format!(
            "import urllib.request as u; print(u.urlopen('http://{METRICS}/metrics', timeout=60).read().decode())"
        );
        let output = self.host.command("python3").args(["-c", &script]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// One number of it.
    #[must_use]
    pub fn metric(&self, name: &str) -> u64 {
        let (metrics, wanted) = (self.metrics(), format!("{}{name} ", self.prefix()));
        let line = metrics.lines().find_map(|line| line.strip_prefix(&wanted));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {metrics}"))
    }

    fn prefix(&self) -> String {
        self.program.replace('-', "_") + "_"
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

    fn log_file(&self) -> PathBuf {
        self.scratch.path().join("log")
    }

    /// Everything it has said.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The memory of its processes, as root reads it.
    #[must_use]
    pub fn memory(&self) -> Vec<u8> {
        self.processes().into_iter().flat_map(memory).collect()
    }

    /// The contents of all its files.
    #[must_use]
    pub fn files(&self) -> Vec<u8> {
        files(self.folder())
    }
}

impl Drop for Operated {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- the log of {} ----\n{}", self.program, self.log());
        }
        self.kill();
    }
}

/// Whether it is there, and not only waits to be counted. Its first thread may wait so while others still hold its ports.
fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().count();
    threads > 1 || status.lines().any(|line| line.starts_with("State:") && !line.contains("zombie"))
}

/// All of a process's memory that can be read; of one that has ended, nothing.
#[must_use]
pub fn memory(pid: u32) -> Vec<u8> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let file = match File::open(format!("/proc/{pid}/mem")) {
        Ok(file) => file,
        Err(_) if maps.is_empty() => return Vec::new(),
        Err(error) => panic!("the memory of {pid} cannot be read: {error}"),
    };
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

fn files(folder: &Path) -> Vec<u8> {
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

/// Whether a phrase is anywhere in there.
#[must_use]
pub fn contains(bytes: &[u8], phrase: &str) -> bool {
    // Whatever else is no text, ASCII stays itself.
    String::from_utf8_lossy(bytes).contains(phrase)
}
