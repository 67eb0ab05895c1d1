//! Rows 1 to 54 of the attack list, against real things outside: whole, and with seccomp off, where each attempt must
//! come to exactly what the list says.

use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Child, Command};

use filter_sandbox::attacks::{ATTACKS, Ask, Attack, ENDS, ON_A_WRITABLE_MESSAGE, Outcome, PAIRS, Victim};
use filter_sandbox::zygote::Ready;
use filter_sandbox::{Role, Running};

use crate::box_::{self, Directory};
use crate::runner::Case;

pub fn cases() -> Vec<Case> {
    vec![
        Case { name: "worker attacks, all walls", run: whole },
        Case { name: "worker attacks, seccomp off", run: alone },
        Case { name: "bad ends of a worker (rows 55, 66, 67)", run: ends },
        Case { name: "two workers cannot talk or leave anything (rows 58, 59)", run: pairs },
        Case { name: "a zygote's image holds no secret (row 61)", run: image },
        Case { name: "self-test passes in time", run: self_test },
    ]
}

/// Things outside that a worker must not reach; all of them really there.
pub struct Outside {
    pub victim: Victim,
    _directory: Directory,
    process: Child,
    pub udp: UdpSocket,
    _sockets: (TcpListener, UnixListener, UnixListener),
    segment: i32,
}

impl Outside {
    pub fn new() -> Self {
        let directory = Directory::new("outside");
        let file = directory.path().join("world-readable");
        writeln!(std::fs::File::create(&file).unwrap(), "for everybody").unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let name = format!("postern-walls-{}", std::process::id());
        let hidden = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let socket_file = directory.path().join("socket");
        let path = UnixListener::bind(&socket_file).unwrap();
        let segment = std::process::id().cast_signed();
        // SAFETY: numbers only.
        let made = unsafe { libc::shmget(segment, 4096, libc::IPC_CREAT | 0o666) };
        assert!(made >= 0);
        let process = Command::new("sleep").arg("600").spawn().unwrap();
        let victim = Victim {
            file: file.display().to_string(),
            process: process.id().cast_signed(),
            tcp: tcp.local_addr().unwrap().port(),
            udp: udp.local_addr().unwrap().port(),
            abstract_socket: name,
            socket_file: socket_file.display().to_string(),
            segment,
            stray: -1,
            listener: -1,
            accepted: -1,
            open_listener: -1,
        };
        Self { victim, _directory: directory, process, udp, _sockets: (tcp, hidden, path), segment: made }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // Row 8's proof: whatever was signalled, this process must have survived it.
        assert!(self.process.try_wait().unwrap().is_none(), "the process outside is dead");
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        // SAFETY: our own segment.
        unsafe { libc::shmctl(self.segment, libc::IPC_RMID, std::ptr::null_mut()) };
    }
}

/// A zygote that answers, and what its children must not reach.
pub struct Survey {
    running: Running,
    _outside: Outside,
}

impl Survey {
    fn new(how: &str) -> Self {
        Self::of(Role::MxZygote, how)
    }

    pub fn of(zygote: Role, how: &str) -> Self {
        let outside = Outside::new();
        let running = box_::start(zygote, &["survey", how]).unwrap();
        running.control.send(&outside.victim, &[]).unwrap();
        Self { running, _outside: outside }
    }

    pub fn ask(&self, ask: Ask) {
        self.running.control.send(&ask, &[]).unwrap();
    }

    pub fn outcome(&self) -> Outcome {
        self.running.control.recv::<Outcome>().unwrap().0
    }

    fn attacks(&self) -> Vec<(&'static Attack, Outcome)> {
        self.ask(Ask::Attacks);
        ATTACKS.iter().chain(ON_A_WRITABLE_MESSAGE).map(|attack| (attack, self.outcome())).collect()
    }

    pub fn end(self) {
        box_::end(self.running);
    }
}

pub fn judge(outcomes: &[(&Attack, Outcome)], expected: impl Fn(&Attack) -> Outcome) {
    let wrong: Vec<_> = outcomes
        .iter()
        .filter(|(attack, outcome)| expected(attack) != *outcome)
        .map(|(attack, outcome)| {
            format!("row {}, {}: expected {:?}, came to {outcome:?}", attack.row, attack.name, expected(attack))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("    {} attempts came to what the list says", outcomes.len());
}

fn whole() {
    let survey = Survey::new("whole");
    judge(&survey.attacks(), |attack| attack.whole);
    survey.end();
}

fn alone() {
    let survey = Survey::new("alone");
    judge(&survey.attacks(), |attack| attack.alone);
    survey.end();
}

/// On a kernel without Landlock: see `lesser_kernels`.
pub fn bare() {
    let survey = Survey::new("alone");
    let mut outcomes = survey.attacks();
    // What makes Landlock seem missing is a seccomp program, which refuses other system call tables by itself.
    outcomes.retain(|(attack, _)| attack.row != 50);
    judge(&outcomes, |attack| attack.bare);
    survey.end();
}

fn ends() {
    for how in ["whole", "alone"] {
        let survey = Survey::new(how);
        survey.ask(Ask::Ends);
        let outcomes: Vec<_> = ENDS.iter().map(|attack| (attack, survey.outcome())).collect();
        judge(&outcomes, |attack| attack.whole);
        survey.end();
    }
}

fn pairs() {
    strangers(Role::MxZygote);
}

/// Two children of that zygote know nothing of each other.
pub fn strangers(zygote: Role) {
    let survey = Survey::of(zygote, "alone");
    survey.ask(Ask::Pairs);
    for pair in PAIRS {
        assert_eq!(survey.outcome(), pair.expected, "{}, both alive", pair.name);
        assert_eq!(survey.outcome(), pair.expected, "{}, one after the other", pair.name);
    }
    survey.end();
}

/// Row 61: what the starter knows is not in the zygote's image. The starter's heap, stack and environment hold it.
fn image() {
    let secret = *b"a planted canary";
    // SAFETY: this program's main thread is its only one here.
    unsafe { std::env::set_var("CANARY", "a planted canary") };
    let on_the_heap = std::hint::black_box(secret.repeat(1000));
    let survey = Survey::new("whole");
    survey.ask(Ask::Image(secret.map(|byte| !byte)));
    assert!(!survey.running.control.recv::<bool>().unwrap().0, "the zygote's image holds its starter's secret");
    // That it would have been found: the victim's file name was told to it.
    let known: [u8; 16] = survey._outside.victim.file.as_bytes()[..16].try_into().unwrap();
    survey.ask(Ask::Image(known.map(|byte| !byte)));
    assert!(survey.running.control.recv::<bool>().unwrap().0, "the scan finds nothing at all");
    survey.end();
    drop(on_the_heap);
}

fn self_test() {
    let started = std::time::Instant::now();
    let (running, edge, ready) = box_::zygote(true);
    let took = started.elapsed();
    let Ready::Serving { attacks, worker, zygote } = ready else { panic!("{ready:?}") };
    println!("    {attacks} attempts in vain, ready after {took:.0?}; worker {worker:?}, zygote {zygote:?}");
    assert!(attacks > ATTACKS.len());
    drop(edge);
    box_::end(running);
}
