//! Never plaintext on any disk: mail with known phrases in subject, body, addresses, folder names and
//! password goes through every path, and none of them is in any file afterwards: not in the data folder,
//! not in any other file written meanwhile, not in a swap file under memory pressure.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tests::programs::python_ok;
use tests::{House, Imap, Scratch, Setup, Smtp};

const SUBJECT: &str = "xylophone-subject-phrase";
const BODY: &str = "quixotic-body-phrase";
const SENDER: &str = "zeppelin.sender.phrase";
const FOLDER: &str = "marzipan-folder-phrase";
const KEYWORD: &str = "kumquat-keyword-phrase";
const NAME: &str = "wombat.name.phrase";

fn letter(padding: usize) -> String {
    let lines = format!("{BODY} again and again\n").repeat(padding / (BODY.len() + 17) + 1);
    format!(
        "From: {SENDER}@example.org\nTo: {NAME}@home.test\nSubject: {SUBJECT}\nDate: Sat, 21 Nov 2026 09:30:00 +0000\nMessage-ID: <{SUBJECT}@example.org>\n\n{lines}"
    )
}

/// Mail in, submission, APPEND, folders, keywords, search, a second mailbox: every path that touches mail.
fn live(house: &House, padding: usize) -> Vec<String> {
    let owner = house.add_mailbox(NAME);
    let mut client = Smtp::connect(house.address("smtp")).unwrap();
    for _ in 0..4 {
        let reply = client.send(&format!("{SENDER}@example.org"), &[&owner.address], &letter(padding)).unwrap();
        assert_eq!(reply.0, 250, "{reply:?}");
    }
    let mut imap = Imap::login(house, &owner.address, &owner.password).unwrap();
    for command in [
        format!("CREATE {FOLDER}"),
        "SELECT INBOX".into(),
        "FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE BODY.PEEK[])".into(),
        format!("STORE 1 +FLAGS ({KEYWORD} \\Seen)"),
        format!("COPY 1:2 {FOLDER}"),
        format!("SEARCH TEXT \"{BODY}\""),
        "STORE 4 +FLAGS (\\Deleted)".into(),
        "EXPUNGE".into(),
    ] {
        let answer = imap.ask(&command).unwrap();
        assert!(answer.ok(), "{command}: {}", answer.tagged);
    }
    assert!(imap.append(FOLDER, &letter(padding)).unwrap().ok());
    python_ok(
        "import smtplib, ssl, sys\nport, ca, user, password, text = sys.argv[1:6]\nsmtp = smtplib.SMTP_SSL('localhost', int(port), context=ssl.create_default_context(cafile=ca))\nsmtp.login(user, password)\nsmtp.sendmail(user, ['you@home.test'], text)\nsmtp.quit()",
        &[
            &house.port("submissions").to_string(),
            house.authority().authority().to_str().unwrap(),
            &owner.address,
            &owner.password,
            &letter(100).replace(&format!("{SENDER}@example.org"), &owner.address),
        ],
    );
    let mut phrases: Vec<String> = [SUBJECT, BODY, SENDER, FOLDER, KEYWORD, NAME].map(str::to_owned).to_vec();
    phrases.push(owner.password.clone());
    phrases.push(owner.words.join(" "));
    phrases
}

fn contains(bytes: &[u8], phrase: &str) -> bool {
    let needle = phrase.as_bytes();
    let first = needle[0];
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(|byte| *byte == first) {
        at += found;
        if bytes[at..].starts_with(needle) {
            return true;
        }
        at += 1;
    }
    false
}

fn search(file: &Path, phrases: &[String]) {
    let Ok(bytes) = fs::read(file) else { return };
    for phrase in phrases {
        assert!(!contains(&bytes, phrase), "{phrase:?} is in {}", file.display());
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// strace on `up` and everything below it, noting every file opened for writing.
struct Trace(Child, PathBuf);

impl Trace {
    fn start(house: &House) -> Self {
        let output = house.scratch().join("trace");
        let tracer = Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=openat,open,creat,openat2,execve", "-e", "signal=none", "-o"])
            .arg(&output)
            .args(["-p", &house.pid().to_string()])
            .args(house.roles().iter().flat_map(|(_, pid)| ["-p".to_owned(), pid.to_string()]))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        Self(tracer, output)
    }

    /// Paths opened for writing, and how many opens were seen in all.
    fn written(mut self) -> (BTreeSet<String>, usize) {
        tests::house::signal(self.0.id(), "INT");
        let _ = self.0.wait();
        let text = fs::read_to_string(&self.1).unwrap();
        let opens = text.lines().filter(|line| line.contains("open") && !line.contains("ENOENT"));
        let written = opens.filter(|line| ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|mode| line.contains(mode)));
        (written.filter_map(|line| Some(line.split('"').nth(1)?.to_owned())).collect(), text.lines().count())
    }
}

#[test]
fn no_phrase_is_in_any_file() {
    let mut house = House::start(Setup { arguments: vec!["--clear-text".into(), "*".into()], ..Setup::default() });
    let trace = Trace::start(&house);
    let phrases = live(&house, 20_000);
    let (written, seen) = trace.written();
    assert!(seen > 10, "the trace saw nothing");
    // The keeper's root holds the spool alone; what it writes there is searched below. Nobody else may
    // open anything for writing but the null device.
    for path in &written {
        let spool =
            ["/spool/", "incoming/", "letters/", "journal/", "mailboxes/", "cache/", "outgoing/", "set-aside/", "lock"];
        let fine = path == "/dev/null"
            || path.starts_with("/proc/")
            || path.starts_with("self/")
            || spool.iter().any(|part| path.contains(part));
        assert!(fine, "opened for writing: {path}");
    }
    let all = files(house.data());
    assert!(all.len() > 10, "{all:?}");
    all.iter().for_each(|file| search(file, &phrases));
    assert!(!phrases.iter().any(|phrase| house.log().contains(phrase)), "in the log");
    house.stop();
    files(house.data()).iter().for_each(|file| search(file, &phrases));
}

struct Swap(PathBuf);

impl Swap {
    fn on(folder: &Path) -> Self {
        let file = folder.join("swap");
        let run = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().unwrap();
            assert!(output.status.success(), "{program}: {output:?}");
        };
        let name = file.to_str().unwrap();
        run("dd", &["if=/dev/zero", &format!("of={name}"), "bs=1M", "count=256", "status=none"]);
        run("chmod", &["600", name]);
        run("mkswap", &[name]);
        run("swapon", &[name]);
        Self(file)
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let _ = Command::new("swapoff").arg(&self.0).status();
    }
}

/// A memory cgroup too small for what it holds, version 1 or 2.
fn squeeze(pids: &[u32]) -> PathBuf {
    let (folder, limit) = if Path::new("/sys/fs/cgroup/memory").is_dir() {
        (PathBuf::from("/sys/fs/cgroup/memory/postern-test"), "memory.limit_in_bytes")
    } else {
        (PathBuf::from("/sys/fs/cgroup/postern-test"), "memory.high")
    };
    fs::create_dir_all(&folder).unwrap();
    let _ = fs::write(folder.join("memory.move_charge_at_immigrate"), "3");
    for pid in pids {
        let _ = fs::write(folder.join("cgroup.procs"), pid.to_string());
    }
    fs::write(folder.join(limit), (64 * 1024 * 1024).to_string()).unwrap();
    folder
}

#[test]
#[ignore = "not green yet: the squeezed cgroup does not make the kernel swap on the machines tried"]
fn no_phrase_is_in_swap_under_memory_pressure() {
    let scratch = Scratch::new("swap");
    let swap = Swap::on(scratch.path());
    let house = House::start(Setup { arguments: vec!["--clear-text".into(), "*".into()], ..Setup::default() });
    let mut hog = Command::new("python3")
        .args(["-c", "import sys, time\nsys.stdin.readline()\nblock = bytearray(b'hog-fills-memory' * (12 << 20))\nwhile True:\n  block[::4096] = block[::4096]\n  time.sleep(0.05)"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let pids: Vec<u32> = house.roles().into_iter().map(|(_, pid)| pid).chain([house.pid(), hog.id()]).collect();
    let group = squeeze(&pids);
    // It takes its memory inside the group only.
    std::io::Write::write_all(&mut hog.stdin.take().unwrap(), b"go\n").unwrap();
    let phrases = live(&house, 300_000);
    std::thread::sleep(Duration::from_secs(2));
    let bytes = fs::read(&swap.0).unwrap();
    let _ = hog.kill();
    let _ = hog.wait();
    drop(house);
    let _ = fs::remove_dir(&group);
    assert!(contains(&bytes, "hog-fills-memory"), "nothing was swapped out: the test proves nothing here");
    for phrase in phrases {
        assert!(!contains(&bytes, &phrase), "{phrase:?} is in the swap file");
    }
}
