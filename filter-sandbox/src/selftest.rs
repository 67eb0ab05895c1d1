//! At every start the box attacks its own walls, in children that are locked as workers are, and does not start if
//! one gives way.

use std::fmt;
use std::os::fd::AsRawFd;

use crate::attacks::{ATTACKS, Attack, Message, Outcome, Victim};
use crate::seccomp;
use crate::zygote::births::Births;

/// An attempt that got through, or could not be made.
#[derive(Debug)]
pub(crate) struct GaveWay {
    attack: &'static str,
    row: u8,
    outcome: Outcome,
    without_seccomp: bool,
}

impl fmt::Display for GaveWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let walls = if self.without_seccomp { "all walls but seccomp" } else { "all walls" };
        let Self { attack, row, outcome, .. } = self;
        match outcome {
            Outcome::Works => write!(f, "the sandbox gives way: \"{attack}\" (row {row}) succeeded behind {walls}"),
            other => write!(f, "the sandbox cannot be tested: \"{attack}\" (row {row}) behind {walls}: {other:?}"),
        }
    }
}

/// Tries the whole list behind all walls, then what is aimed at the host with seccomp off. Answers how many attempts
/// were made. `births` has seccomp on; the zygote itself must not have its own list yet.
pub(crate) fn run(births: &mut Births, starter: i32) -> Result<usize, GaveWay> {
    let victim = victim(births, starter);
    let mut tried = 0;
    for attack in ATTACKS {
        hold(attack, births, &victim, false)?;
        tried += 1;
    }
    let program = births.prepared.program.take();
    let boundary = ATTACKS.iter().filter(|attack| attack.boundary);
    let alone = boundary.map(|attack| hold(attack, births, &victim, true)).collect::<Result<Vec<_>, _>>();
    births.prepared.program = program.or_else(|| Some(seccomp::program(births.prepared.child.walls())));
    Ok(tried + alone?.len())
}

fn hold(attack: &Attack, births: &Births, victim: &Victim, without_seccomp: bool) -> Result<(), GaveWay> {
    let outcome = attack.attempt(births, victim, Message::ReadOnly).unwrap_or(Outcome::NotTried);
    match outcome {
        Outcome::Refused(_) | Outcome::Killed(_) => Ok(()),
        Outcome::Works | Outcome::NotTried => {
            Err(GaveWay { attack: attack.name, row: attack.row, outcome, without_seccomp })
        }
    }
}

/// What surely exists on any machine.
fn victim(births: &Births, starter: i32) -> Victim {
    Victim {
        file: "/etc/passwd".to_owned(),
        // A child's own number is 1.
        process: if starter > 1 { starter } else { 2 },
        tcp: 25,
        udp: 53,
        abstract_socket: "postern".to_owned(),
        socket_file: "/run/systemd/journal/socket".to_owned(),
        segment: 1,
        stray: births.zygote.proc().as_raw_fd(),
        listener: -1,
        accepted: -1,
        open_listener: -1,
    }
}
