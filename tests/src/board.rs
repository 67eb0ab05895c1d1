//! A board of the family's, emulated: programs for 32-bit ARM, 256 MB of memory, a kernel of Debian's, and the house as its only
//! service.
//! Commands are given on its console.

use std::fmt::Write as _;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Authority, Scratch};

/// An emulated processor on a busy machine is slow; nothing here takes that long.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// What the board starts: programs of a shell, a network, and a loop that obeys the console, a line a command.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t devtmpfs dev /dev
ifconfig lo 127.0.0.1 up
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
route add default gw 10.0.2.2
exec < /dev/hvc0 > /dev/hvc0 2>&1
stty -echo -onlcr
echo "board: up"
asked=0
while read -r command; do
  (eval "$command") < /dev/null 2>&1
  code=$?
  asked=$((asked + 1))
  # A line of its own: what was printed may not end with one.
  echo
  echo "board: $asked ended with $code"
done
"#;

/// What Rust calls it.
const TARGET: &str = "armv7-unknown-linux-gnueabihf";
/// Services by their ports on the board.
const SERVICES: [(&str, u16); 2] = [("smtp", 25), ("imaps", 993)];

/// Where `tests/long/board` has put the kernel, and `postern` built for it.
fn folder() -> PathBuf {
    let folder = std::env::var_os("POSTERN_BOARD").map(PathBuf::from);
    folder.expect("POSTERN_BOARD is not set: use tests/long/board, which builds for it")
}

/// Its memory card: a small system and the house's folder, with all that is needed to serve.
#[derive(Debug)]
pub struct Card {
    scratch: Scratch,
    authority: Authority,
}

impl Card {
    /// Makes it.
    #[must_use]
    pub fn make(host: &str) -> Self {
        let scratch = Scratch::new("board");
        let authority = Authority::make(scratch.path(), host);
        let root = scratch.path().join("root");
        for folder in ["bin", "dev", "etc", "proc", "run", "sys", "tmp"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::copy(folder().join("busybox"), root.join("bin/busybox")).unwrap();
        std::fs::copy(folder().join(TARGET).join("postern"), root.join("bin/postern")).unwrap();
        std::fs::copy(authority.certificate(), root.join("etc/cert.pem")).unwrap();
        std::fs::copy(authority.key(), root.join("etc/key.pem")).unwrap();
        std::fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
        // Nobody answers there, and says so at once.
        std::fs::write(root.join("etc/resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
        std::fs::write(root.join("init"), INIT).unwrap();
        std::fs::set_permissions(root.join("init"), Permissions::from_mode(0o755)).unwrap();
        let card = Self { scratch, authority };
        let mut format = Command::new("mke2fs");
        format.args(["-q", "-t", "ext4", "-d"]).arg(root).arg(card.file()).arg("1G");
        assert!(format.status().unwrap().success(), "{format:?}");
        card
    }

    fn file(&self) -> PathBuf {
        self.scratch.path().join("card")
    }

    fn kernels_words(&self) -> PathBuf {
        self.scratch.path().join("kernel")
    }

    /// Who signed the house's certificate.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }
}

/// What a board starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Debian's, with all that it has.
    Whole,
    /// As hard as Raspberry Pi OS, whose kernel has no Landlock.
    WithoutLandlock,
    /// Debian 12's of 64 bits, without Landlock: Raspberry Pi OS of 32 bits runs on such a one from the Pi 4 on.
    SixtyFour,
    /// Debian 13's of 64 bits.
    SixtyFourNewer,
    /// Debian 12's.
    Older,
}

impl Kernel {
    /// Whether it was told to do without Landlock.
    #[must_use]
    pub const fn lacks_landlock(self) -> bool {
        matches!(self, Self::WithoutLandlock | Self::SixtyFour)
    }

    /// Its folder among the board's parts.
    fn folder(self) -> PathBuf {
        match self {
            Self::Whole | Self::WithoutLandlock => folder(),
            Self::SixtyFour => folder().join("arm64"),
            Self::SixtyFourNewer => folder().join("arm64-newer"),
            Self::Older => folder().join("older"),
        }
    }

    /// What it runs on: emulator, machine, processor.
    const fn machine(self) -> [&'static str; 3] {
        match self {
            Self::SixtyFour | Self::SixtyFourNewer => ["qemu-system-aarch64", "virt", "cortex-a72"],
            _ => ["qemu-system-arm", "virt,highmem=off", "cortex-a7"],
        }
    }
}

/// A board that runs.
#[derive(Debug)]
pub struct Board {
    emulator: Child,
    keyboard: ChildStdin,
    lines: Receiver<String>,
    said: String,
    asked: u32,
    ports: [u16; 2],
}

impl Board {
    /// Switches it on and waits for its shell.
    ///
    /// Writes of the card are the host's page cache: what the board was told is durable survives the emulator's end, as on a
    /// card that keeps its word. It shows nothing about cards that do not.
    #[must_use]
    pub fn switch_on(card: &Card, kernel: Kernel) -> Self {
        let ports = SERVICES.map(|_| free_port());
        let mut network = "user,id=net,restrict=off".to_owned();
        for (ours, (_, theirs)) in ports.iter().zip(SERVICES) {
            write!(network, ",hostfwd=tcp:127.0.0.1:{ours}-:{theirs}").unwrap();
        }
        let modules = if kernel.lacks_landlock() { " lsm=capability" } else { "" };
        let [emulator, machine, processor] = kernel.machine();
        let mut emulator = Command::new(emulator)
            .args(["-M", machine, "-cpu", processor, "-smp", "2", "-m", "256"])
            .args(["-display", "none", "-monitor", "none", "-no-reboot"])
            // The kernel's words go to a file, commands another way: they do not mix.
            .args(["-serial", &format!("file:{}", card.kernels_words().display()), "-chardev", "stdio,id=line"])
            .args(["-device", "virtio-serial-device", "-device", "virtconsole,chardev=line"])
            .args(["-netdev", &network, "-device", "virtio-net-device,netdev=net"])
            .arg("-kernel")
            .arg(kernel.folder().join("kernel"))
            .arg("-initrd")
            .arg(kernel.folder().join("initrd"))
            .args(["-append", &format!("console=ttyAMA0 loglevel=3 panic=1{modules}")])
            .arg("-drive")
            .arg(format!("if=none,id=card,format=raw,cache=writeback,file={}", card.file().display()))
            .args(["-device", "virtio-blk-device,drive=card"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("qemu-system-arm is not installed: tests/long/board says what it needs");
        let keyboard = emulator.stdin.take().unwrap();
        let lines = listened(BufReader::new(emulator.stdout.take().unwrap()));
        let mut board = Self { emulator, keyboard, lines, said: String::new(), asked: 0, ports };
        board.until(|line| line.contains("board: up"));
        board
    }

    /// Starts the house, in its folder on the card; what `up` prints.
    #[must_use]
    pub fn start_house(&mut self) -> Value {
        self.ask(
            "setsid postern up --json --data /house --bind 0.0.0.0 --clear-text '*' --tls-cert /etc/cert.pem \
             --tls-key /etc/key.pem > /run/up 2> /run/log &",
        );
        let until = Instant::now() + PATIENCE;
        loop {
            let said = self.ask("cat /run/up; pidof postern > /dev/null || { cat /run/log; false; }");
            if let Ok(started) = serde_json::from_str(&said) {
                return started;
            }
            assert!(Instant::now() < until, "the house does not start: {said}\n{}", self.ask("cat /run/log"));
            thread::sleep(Duration::from_millis(500));
        }
    }

    /// Where a service of the house is reached from outside.
    #[must_use]
    pub fn address(&self, service: &str) -> SocketAddr {
        let at = SERVICES.iter().position(|(name, _)| *name == service).unwrap();
        ([127, 0, 0, 1], self.ports[at]).into()
    }

    /// What a command there prints; it must succeed.
    pub fn ask(&mut self, command: &str) -> String {
        self.asked += 1;
        let end = format!("board: {} ended with ", self.asked);
        writeln!(self.keyboard, "{command}").unwrap();
        let printed = self.until(|line| line.starts_with(&end));
        let (printed, last) = printed.trim_end().rsplit_once('\n').expect("two lines at least");
        assert_eq!(last, format!("{end}0"), "{command}: {printed}");
        printed.trim_end().to_owned()
    }

    /// The same, what it prints being JSON.
    pub fn ask_json(&mut self, command: &str) -> Value {
        let printed = self.ask(command);
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{command}: {error}: {printed}"))
    }

    /// Proportional memory of all processes of the house, in KiB.
    pub fn memory(&mut self) -> u64 {
        let listed = self.ask(
            "for process in /proc/[0-9]*; do case \"$(readlink $process/exe)\" in */postern*) grep ^Pss: \
             $process/smaps_rollup;; esac; done; true",
        );
        listed.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
    }

    /// The power goes.
    pub fn cut(mut self) {
        self.emulator.kill().unwrap();
        self.emulator.wait().unwrap();
    }

    /// What it says up to the line that is waited for, that line included.
    fn until(&mut self, is_last: impl Fn(&str) -> bool) -> String {
        let (mut since, until) = (String::new(), Instant::now() + PATIENCE);
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.said += &line;
                    since += &line;
                    if is_last(&line) {
                        return since;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("the board is silent; last: {since}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the board has ended; last: {since}"),
            }
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("---- the board's console ----\n{}", self.said);
            // Best effort: it may be why the test failed.
            let _ = writeln!(self.keyboard, "cat /run/log; echo board: end");
            let until = Instant::now() + Duration::from_secs(10);
            while let Ok(line) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                eprint!("{line}");
                if line.starts_with("board: end") {
                    break;
                }
            }
        }
        let _ = self.emulator.kill();
        let _ = self.emulator.wait();
    }
}

fn listened(mut from: impl BufRead + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        let mut line = Vec::new();
        while matches!(from.read_until(b'\n', &mut line), Ok(1..)) {
            if sender.send(String::from_utf8_lossy(&line).replace('\r', "")).is_err() {
                return;
            }
            line.clear();
        }
    });
    lines
}

/// Free at this moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
