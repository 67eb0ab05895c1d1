//! Never plaintext on any disk: mail with known phrases in subject, body, addresses, folder names and
//! password goes through every path, and none of them is in any file afterwards: not in the data folder,
//! not in any other file written meanwhile, not in a swap file under memory pressure.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use filter_sandbox::Role;
use tests::operated::memory;
use tests::programs::python_ok;
use tests::talk::Talk;
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

/// Whether somebody traces all its threads.
fn is_traced(pid: u32) -> bool {
    let traced = |status: String| !status.contains("TracerPid:\t0\n");
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok()).all(traced)
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
        let this = Self(tracer, output);
        let all: Vec<u32> = house.roles().into_iter().map(|(_, pid)| pid).chain([house.pid()]).collect();
        let until = Instant::now() + Duration::from_secs(60);
        while !all.iter().all(|pid| is_traced(*pid)) {
            assert!(Instant::now() < until, "strace sees not all of them");
            std::thread::sleep(Duration::from_millis(20));
        }
        this
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
            // `up` puts an RSA key down, sealed, whenever that is made.
            || path.ends_with("/dkim.new")
            || path.ends_with("/dkim.lock")
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

/// Says lines, each when what was said to the one before has ended in a line that begins so.
fn says(talk: &mut Talk, exchange: &[(&str, &str)]) {
    for (line, ends) in exchange {
        talk.send(format!("{line}\r\n").as_bytes()).unwrap();
        while !talk.line().unwrap().starts_with(ends) {}
    }
}

/// One of each kind that has done its work and stays open, as a phone's does: a stranger's, and two of the owner's.
fn waiting(house: &House) -> [Talk; 3] {
    let you = house.you();
    let secret = wire::base64::encode(format!("\0{}\0{}", you.address, you.password).as_bytes());
    let text = letter(3_000).replace(&format!("{SENDER}@example.org"), &you.address).replace('\n', "\r\n");
    let (to, ended, length) = (format!("RCPT TO:<{}>", you.address), format!("{text}\r\n."), text.len());
    let from = format!("MAIL FROM:<{}>", you.address);
    let mut stranger = Talk::open(house, "smtp").unwrap();
    stranger.line().unwrap();
    says(&mut stranger, &[("EHLO x.example", "250 "), ("STARTTLS", "220 ")]);
    stranger.handshake().unwrap();
    let stranger_says = ended.replace(&you.address, "s@example.org");
    let letter = [("DATA", "354 "), (&stranger_says, "250 ")];
    says(
        &mut stranger,
        &[("EHLO x.example", "250 "), ("MAIL FROM:<s@example.org>", "250 "), (&to, "250 "), letter[0], letter[1]],
    );
    let mut sends = Talk::open(house, "submissions").unwrap();
    sends.line().unwrap();
    says(&mut sends, &[("EHLO x.example", "250 "), ("AUTH PLAIN", "334"), (&secret, "235 ")]);
    says(&mut sends, &[(&from, "250 "), (&to, "250 "), ("DATA", "354 "), (&ended, "250 ")]);
    let mut reads = Talk::open(house, "imaps").unwrap();
    says(&mut reads, &[("a AUTHENTICATE PLAIN", "+ "), (&secret, "a OK")]);
    says(&mut reads, &[(&format!("b APPEND INBOX {{{length}}}"), "+ "), (&text, "b OK"), ("c SELECT INBOX", "c OK")]);
    says(&mut reads, &[("d IDLE", "+ ")]);
    [stranger, sends, reads]
}

/// What is delivered, sent or read, and what it was logged in with, stays in no role's memory, given back or not, when it
/// is done, whether or not the session goes on (the owner's own process is gone with its last session); nor does `up` remember
/// what it printed once.
#[test]
fn no_role_remembers_what_it_has_let_go() {
    let house = House::start(Setup { arguments: vec!["--clear-text".into(), "*".into()], ..Setup::default() });
    live(&house, 20_000);
    let you = house.you();
    let words = |separator: &str| you.words[..3].join(separator);
    let end = &you.password[you.password.len() - 12..];
    let coded = wire::base64::encode(format!("\0{}\0{}", you.address, you.password).as_bytes());
    let phrases = [SUBJECT, BODY, end, &coded[coded.len() - 20..], &words(" "), &words("\",\"")].map(str::to_owned);
    let processes = || house.roles().into_iter().chain([("up".to_owned(), house.pid())]);
    let remembered = |but: &str| {
        let all = processes().filter(|(role, _)| role != but).map(|(role, pid)| (role, memory(pid)));
        let found = all.flat_map(|(role, memory)| {
            let found: Vec<_> = phrases.iter().filter(|phrase| contains(&memory, phrase)).collect();
            found.into_iter().map(|phrase| format!("{role}: {phrase}")).collect::<Vec<_>>()
        });
        found.collect::<BTreeSet<_>>()
    };
    let forgets = |but: &str| {
        // Sessions that nobody says goodbye to end a moment later.
        let deadline = Instant::now() + Duration::from_secs(20);
        while !remembered(but).is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(500));
        }
        assert_eq!(remembered(but), BTreeSet::new());
    };
    let sessions = waiting(&house);
    forgets(Role::OwnerZygote.name());
    drop(sessions);
    forgets("");
    assert!(processes().any(|(role, pid)| role == "mx" && contains(&memory(pid), "home.test")), "memory is read");
}

/// A swap device of our own, and the file that holds what is swapped to it. It goes through a loop device: what the kernel
/// writes to a swap *file* passes by the file's cached pages, and would not be read here.
struct Swap {
    file: PathBuf,
    device: String,
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Swap {
    /// `None` where even root may not: in some containers.
    fn on(folder: &Path) -> Option<Self> {
        let file = folder.join("swap");
        let name = file.to_str().unwrap();
        run("dd", &["if=/dev/zero", &format!("of={name}"), "bs=1M", "count=256", "status=none"]);
        run("chmod", &["600", name]);
        let device = Command::new("losetup").args(["--find", "--show", name]).output().unwrap();
        let device = device.status.success().then(|| String::from_utf8_lossy(&device.stdout).trim().to_owned())?;
        // From here on it is undone whatever happens.
        let swap = Self { file, device };
        run("mkswap", &[&swap.device]);
        let on = Command::new("swapon").args(["--priority", "32767", &swap.device]).status().unwrap();
        on.success().then_some(swap)
    }

    fn bytes(&self) -> Vec<u8> {
        run("sync", &[]);
        fs::read(&self.file).unwrap()
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let _ = Command::new("swapoff").arg(&self.device).status();
        let _ = Command::new("losetup").args(["--detach", &self.device]).status();
    }
}

const CANARY: &str = "canary-in-unlocked-memory";

/// Memory pressure, aimed: again and again the kernel is told to page out all that it may of the process named first and
/// everything below it, and of a process that holds a known phrase in memory nobody has locked.
struct Pressure(Child);

impl Pressure {
    fn on(house: &House) -> Self {
        const PROGRAM: &str = r#"
import ctypes, os, select, sys
libc = ctypes.CDLL(None, use_errno=True)
PIDFD_OPEN, PROCESS_MADVISE, PAGEOUT = 434, 440, 21
class Range(ctypes.Structure):
    _fields_ = [('start', ctypes.c_void_p), ('length', ctypes.c_size_t)]
def parent(pid):
    with open(f'/proc/{pid}/stat') as stat:
        return int(stat.read().rsplit(') ', 1)[1].split()[1])
def family(root):
    parents = {}
    for name in filter(str.isdigit, os.listdir('/proc')):
        try:
            parents[int(name)] = parent(name)
        except OSError:
            pass
    found = [root]
    for pid in found:
        found += [child for child, of in parents.items() if of == pid]
    return found
def page_out(pid):
    with open(f'/proc/{pid}/maps') as maps:
        ranges = [line.split()[0].split('-') for line in maps if 'vsyscall' not in line]
    fd = libc.syscall(PIDFD_OPEN, pid, 0)
    if fd < 0:
        return
    for start, end in ranges:
        start, end = int(start, 16), int(end, 16)
        # What is locked is refused; that is what is tested.
        libc.syscall(PROCESS_MADVISE, fd, ctypes.byref(Range(start, end - start)), ctypes.c_size_t(1), PAGEOUT, 0)
    os.close(fd)
canary = os.fork()
if canary == 0:
    held = bytearray(sys.argv[2].encode() * 40000)
    select.select([sys.stdin], [], [])
    os._exit(held[0] & 0)
while not select.select([sys.stdin], [], [], 0.2)[0]:
    for pid in family(int(sys.argv[1])) + [canary]:
        try:
            page_out(pid)
        except OSError:
            pass
os.waitpid(canary, 0)
"#;
        let up = house.pid().to_string();
        let child = Command::new("python3").args(["-c", PROGRAM, &up, CANARY]).stdin(Stdio::piped()).spawn().unwrap();
        Self(child)
    }
}

impl Drop for Pressure {
    fn drop(&mut self) {
        // Its end of input.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// What is in swap once all that may be is: the canary's turn comes last.
fn paged_out(swap: &Swap) -> Vec<u8> {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        std::thread::sleep(Duration::from_secs(2));
        let bytes = swap.bytes();
        if contains(&bytes, CANARY) {
            return bytes;
        }
        assert!(Instant::now() < until, "the canary was not swapped out: the test proves nothing here");
    }
}

/// Whether root may lock all the memory it likes here: in some containers and virtual machines it lacks CAP_SYS_RESOURCE.
fn may_lock() -> bool {
    Command::new("prlimit").args(["--memlock=unlimited:unlimited", "true"]).status().unwrap().success()
}

/// What doctor says of memory.
fn doctors_words(house: &House) -> String {
    let output = house.admin(&["doctor"], "");
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = said["findings"].as_array().unwrap();
    let memory = findings.iter().find(|finding| finding["about"] == "memory").unwrap();
    format!("{}: {}", memory["state"].as_str().unwrap(), memory["found"].as_str().unwrap())
}

/// The roles that keep mail or keys for long.
const KEEPERS: [&str; 4] = ["keeper", "mx", "submission", "imapd-login"];

/// Mappings of that process that the kernel may swap out.
fn swappable(pid: u32) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let (mut mapping, mut found) = (String::new(), Vec::new());
    for line in text.lines() {
        match line.strip_prefix("VmFlags:") {
            Some(flags) if !flags.split(' ').any(|flag| flag == "lo") && mapping.contains(" rw-p ") => {
                found.push(std::mem::take(&mut mapping));
            }
            None if line.split(' ').next().is_some_and(|first| first.contains('-')) => line.clone_into(&mut mapping),
            _ => {}
        }
    }
    found
}

#[test]
fn no_phrase_is_in_swap_under_memory_pressure() {
    let scratch = Scratch::new("swap");
    let swap = Swap::on(scratch.path());
    let house = House::start(Setup { arguments: vec!["--clear-text".into(), "*".into()], ..Setup::default() });
    let pressure = Pressure::on(&house);
    let phrases = live(&house, 300_000);
    let bytes = swap.as_ref().map(paged_out);
    drop(pressure);
    let (log, doctor) = (house.log(), doctors_words(&house));
    if may_lock() {
        assert!(!log.contains("memory cannot be locked"), "{log}");
        assert!(doctor.starts_with("good"), "{doctor}");
        for (role, pid) in house.roles().iter().filter(|(role, _)| KEEPERS.contains(&role.as_str())) {
            assert_eq!(swappable(*pid), [""; 0], "{role}");
        }
    } else if swap.is_some() {
        // Then the promise is another one: that it is said.
        assert!(log.contains("memory cannot be locked") && log.contains("swapoff"), "{log}");
        assert!(doctor.starts_with("bad") && doctor.contains("could not lock its memory"), "{doctor}");
    } else {
        // There may be a swap of the machine's own, or none.
        assert_eq!(doctor.starts_with("bad"), log.contains("memory cannot be locked"), "{doctor}\n{log}");
    }
    let Some(bytes) = bytes else { return };
    for phrase in phrases.iter().filter(|_| may_lock()) {
        assert!(!contains(&bytes, phrase), "{phrase:?} is in swap");
    }
}
