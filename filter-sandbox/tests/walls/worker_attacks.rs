//! Rows 1 to 54 of the attack list, against real things outside: whole, and with seccomp off, where each attempt must
//! come to exactly what the list says.

use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Child, Command};

use filter_sandbox::Role;
use filter_sandbox::attacks::{ATTACKS, Attack, ON_A_WRITABLE_MESSAGE, Outcome, Victim};
use filter_sandbox::zygote::Ready;

use crate::box_;
use crate::runner::Case;

pub fn cases() -> Vec<Case> {
    vec![
        Case { name: "worker attacks, all walls", run: whole },
        Case { name: "worker attacks, seccomp off", run: alone },
        Case { name: "self-test passes in time", run: self_test },
    ]
}

/// Things outside that a worker must not reach; all of them really there.
pub struct Outside {
    pub victim: Victim,
    _directory: Directory,
    process: Child,
    _sockets: (TcpListener, UdpSocket, UnixListener, UnixListener),
    segment: i32,
}

pub struct Directory(pub std::path::PathBuf);

impl Directory {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("postern-walls-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Outside {
    pub fn new() -> Self {
        let directory = Directory::new();
        let file = directory.0.join("world-readable");
        writeln!(std::fs::File::create(&file).unwrap(), "for everybody").unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let name = format!("postern-walls-{}", std::process::id());
        let hidden = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let socket_file = directory.0.join("socket");
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
        };
        Self { victim, _directory: directory, process, _sockets: (tcp, udp, hidden, path), segment: made }
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

fn survey(how: &str) -> Vec<(&'static Attack, Outcome)> {
    let outside = Outside::new();
    let running = box_::start(Role::MxZygote, &["survey", how]).unwrap();
    running.control.send(&outside.victim, &[]).unwrap();
    let outcomes = ATTACKS
        .iter()
        .chain(ON_A_WRITABLE_MESSAGE)
        .map(|attack| (attack, running.control.recv::<Outcome>().unwrap().0))
        .collect();
    box_::end(running);
    outcomes
}

fn judge(outcomes: &[(&Attack, Outcome)], expected: impl Fn(&Attack) -> Outcome) {
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
    judge(&survey("whole"), |attack| attack.whole);
}

fn alone() {
    judge(&survey("alone"), |attack| attack.alone);
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
