//! Each role confines itself as it does in the box, then tries to reach the host: files, network, processes, programs.
//! One process an attempt, whole and with seccomp off.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use filter_sandbox::Role;
use filter_sandbox::attacks::{ATTACKS, Attack, ON_INHERITED, Outcome, Victim};
use rustix::process::WaitStatus;

use crate::box_;
use crate::runner::Case;
use crate::worker_attacks::Outside;

pub fn cases() -> Vec<Case> {
    vec![
        Case { name: "role attacks, all walls", run: || attack_from("whole") },
        Case { name: "role attacks, seccomp off", run: || attack_from("alone") },
        Case { name: "owner attacks, all walls and seccomp off", run: owner },
        Case { name: "role attacks on the kernel, all walls", run: kernel },
        Case { name: "role attacks through inherited sockets, all walls", run: || inherited("whole") },
        Case { name: "role attacks through inherited sockets, seccomp off", run: || inherited("alone") },
    ]
}

/// Every role that `up` starts.
const STARTED: [Role; 16] = [
    Role::Keeper,
    Role::Mx,
    Role::MxZygote,
    Role::Submission,
    Role::SubmissionZygote,
    Role::Login,
    Role::OwnerZygote,
    Role::ImapZygote,
    Role::Courier,
    Role::CourierZygote,
    Role::KeyMaker,
    Role::Link,
    Role::InboundProxy,
    Role::OutboundProxy,
    Role::Resolver,
    Role::ScannerZygote,
];

/// What came of it: an exit code or a signal.
fn attempt(role: Role, how: &str, index: usize, outside: &Outside) -> Result<i32, i32> {
    let running = box_::start(role, &["attack", "all", how, &index.to_string()]).unwrap();
    let _ = running.control.send(&outside.victim, &[]);
    let status = box_::wait(running.pid).unwrap();
    match status.exit_status() {
        Some(255) => panic!("{role} could not confine itself"),
        Some(code) => Ok(code),
        None => Err(status.terminating_signal().unwrap()),
    }
}

fn attack_from(how: &str) {
    let outside = Outside::new();
    let mut tried = 0;
    let mut wrong = Vec::new();
    for role in STARTED {
        for (index, attack) in ATTACKS.iter().enumerate().filter(|(_, attack)| attack.boundary) {
            tried += 1;
            if attempt(role, how, index, &outside) == Ok(0) && !harmless(role, attack, &outside.udp) {
                wrong.push(format!("{role}: row {}, {}", attack.row, attack.name));
            }
        }
    }
    assert!(wrong.is_empty(), "got through:\n{}", wrong.join("\n"));
    println!("    {tried} attempts in vain");
}

/// An owner is cloned by its zygote; it tries the same.
fn owner() {
    let outside = Outside::new();
    for how in ["whole", "alone"] {
        let mut wrong = Vec::new();
        for (index, attack) in ATTACKS.iter().enumerate().filter(|(_, attack)| attack.boundary) {
            let words = ["attack-child", Role::Owner.name(), "all", how, &index.to_string()];
            let running = box_::start(Role::OwnerZygote, &words).unwrap();
            running.control.send(&outside.victim, &[]).unwrap();
            let (outcome, _) = running.control.recv::<Outcome>().unwrap();
            let held = match how {
                // Its list kills, or answers with an errno of its own.
                "whole" => matches!(outcome, Outcome::Killed(libc::SIGSYS) | Outcome::Refused(_)),
                _ => outcome == attack.alone,
            };
            if !held {
                wrong.push(format!("row {}, {}: {outcome:?}", attack.row, attack.name));
            }
            box_::end(running);
        }
        assert!(wrong.is_empty(), "{how}:\n{}", wrong.join("\n"));
    }
}

/// What may succeed, because it is the role's work or reaches nobody.
fn harmless(role: Role, attack: &Attack, udp: &UdpSocket) -> bool {
    match (role, attack.row) {
        // Its own loopback is up: the packet leaves for nowhere. The host's socket must not have got it.
        (Role::Mx, 12) => {
            udp.set_nonblocking(true).unwrap();
            udp.recv(&mut [0; 16]).is_err()
        }
        // They ask the DNS by UDP, on the host's network: the roles that may.
        (Role::Resolver | Role::Courier | Role::Link | Role::InboundProxy | Role::OutboundProxy, 12) => true,
        _ => false,
    }
}

/// Multiplying, executing and the kernel's own surface: for a role nothing of it may work, seccomp on.
fn kernel() {
    let outside = Outside::new();
    let rows = [
        10, 15, 16, 17, 19, 20, 21, 22, 23, 24, 25, 27, 30, 32, 34, 36, 37, 38, 41, 43, 45, 46, 48, 49, 50, 51, 53, 54,
    ];
    let mut wrong = Vec::new();
    for role in STARTED.into_iter().filter(|role| *role != Role::ScannerZygote) {
        for (index, attack) in ATTACKS.iter().enumerate().filter(|(_, attack)| rows.contains(&attack.row)) {
            if attempt(role, "whole", index, &outside) == Ok(0) && !needed(role, attack) {
                wrong.push(format!("{role}: row {}, {}", attack.row, attack.name));
            }
        }
    }
    assert!(wrong.is_empty(), "got through:\n{}", wrong.join("\n"));
}

fn needed(role: Role, attack: &Attack) -> bool {
    match attack.row {
        // A zygote makes its children undumpable and bound to it; until then it may also do the reverse.
        49 => matches!(
            role,
            Role::MxZygote | Role::SubmissionZygote | Role::ImapZygote | Role::CourierZygote | Role::OwnerZygote
        ),
        // The cache library asks for the machine's size; a proxy has the keeper's calls for its files.
        53 => {
            matches!(role, Role::Keeper | Role::InboundProxy | Role::OutboundProxy)
                && attack.name == "system information"
        }
        _ => false,
    }
}

/// A listener of this network, a connection that it accepted, and a listener as it comes from the kernel.
struct Inherited {
    deaf: TcpListener,
    is_deaf: bool,
    open: TcpListener,
    accepted: TcpStream,
    _client: TcpStream,
}

impl Inherited {
    fn new() -> Self {
        let [deaf, open] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let is_deaf = filter_sandbox::listener::only_answers(deaf.as_fd()).unwrap();
        let client = TcpStream::connect(deaf.local_addr().unwrap()).unwrap();
        let accepted = deaf.accept().unwrap().0;
        for socket in [deaf.as_fd(), open.as_fd(), accepted.as_fd()] {
            rustix::io::ioctl_fionbio(socket, true).unwrap();
        }
        Self { deaf, is_deaf, open, accepted, _client: client }
    }

    fn sockets(&self) -> [BorrowedFd<'_>; 3] {
        [self.deaf.as_fd(), self.accepted.as_fd(), self.open.as_fd()]
    }
}

/// Every started role, and an owner, is given what a front role has, and tries to reach a server of the host's network
/// through it. With seccomp off a listener that is not deaf reaches it: that is left out, which is all of it where the
/// kernel makes them deaf for root only.
fn inherited(how: &str) {
    let outside = Outside::new();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let victim = Victim { tcp: server.local_addr().unwrap().port(), ..outside.victim.clone() };
    let deaf = Inherited::new().is_deaf;
    assert!(deaf || !rustix::process::geteuid().is_root());
    let open = |attack: &Attack| how == "alone" && (!deaf || attack.alone == Outcome::Works);
    let mut wrong = Vec::new();
    for role in STARTED.into_iter().chain([Role::Owner]) {
        for (index, attack) in ON_INHERITED.iter().enumerate().filter(|(_, attack)| !open(attack)) {
            let sockets = Inherited::new();
            let index = index.to_string();
            let outcome = if role == Role::Owner {
                let words = ["attack-child", Role::Owner.name(), "inherited", how, &index];
                let running = box_::start(Role::OwnerZygote, &words).unwrap();
                running.control.send(&victim, &sockets.sockets()).unwrap();
                let outcome = running.control.recv::<Outcome>().unwrap().0;
                box_::end(running);
                outcome
            } else {
                let running = box_::start(role, &["attack", "inherited", how, &index]).unwrap();
                running.control.send(&victim, &sockets.sockets()).unwrap();
                outcome(box_::wait(running.pid).unwrap())
            };
            let reached = server.accept().is_ok();
            if reached || matches!(outcome, Outcome::Works | Outcome::NotTried) {
                wrong.push(format!("{role}: {}: {outcome:?}, connected: {reached}", attack.name));
            }
        }
    }
    assert!(wrong.is_empty(), "got through:\n{}", wrong.join("\n"));
}

fn outcome(status: WaitStatus) -> Outcome {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => Outcome::Works,
        (Some(255), _) => Outcome::NotTried,
        (Some(errno), _) => Outcome::Refused(errno),
        (None, signal) => Outcome::Killed(signal.unwrap()),
    }
}
