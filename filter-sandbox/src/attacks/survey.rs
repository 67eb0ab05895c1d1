//! What only tests use: whole lists tried in one go, single attempts as a role, kernels that lack something.

use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;

use rustix::fd::AsFd;
use serde::{Deserialize, Serialize};

use super::{ATTACKS, Attack, ENDS, Message, ON_A_SCANNER, ON_A_WRITABLE_MESSAGE, Outcome, PAIRS, Victim};
use crate::bpf::Program;
use crate::calls::{Call, Rule};
use crate::confine::{self, Confined};
use crate::role::Role;
use crate::zygote::births::Births;
use crate::{seccomp, sys};

/// What a test asks its surveying zygote; each is answered over the control edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// [`ATTACKS`], then [`ON_A_WRITABLE_MESSAGE`]: one [`Outcome`] each.
    Attacks,
    /// [`ON_A_SCANNER`]: one [`Outcome`] each.
    OnAScanner,
    /// [`ENDS`]: one [`Outcome`] each.
    Ends,
    /// [`PAIRS`], once while the first of the two lives and once after its end: two [`Outcome`]s each.
    Pairs,
    /// Whether the zygote's image holds these bytes (each sent inverted, so that asking does not plant them): a `bool`.
    Image([u8; 16]),
}

/// A zygote that confines itself as `role` but for its own list, and answers [`Ask`]s about its children, who have
/// their list or not. Told its [`Victim`] first.
#[must_use]
pub fn survey(role: Role, seccomp: bool) -> ExitCode {
    told(surveyed(role, seccomp))
}

/// One of a list, by index, tried by this process after it has confined itself as `role`, with its list or without.
/// Told its [`Victim`] first, with the listener, the connection and the open listener for [`ON_INHERITED`]; what came of
/// it is the exit code, or the end.
#[must_use]
pub fn as_role(role: Role, seccomp: bool, list: &[Attack], attack: usize) -> ExitCode {
    told((|| {
        let confined = confine::all_but_seccomp(role)?;
        let (mut victim, with) = confined.control.recv::<Victim>()?;
        victim.stray = confined.control.as_fd().as_raw_fd() + 1;
        victim.inherits(&with);
        let attack = list.get(attack).ok_or("no such attack")?;
        if seccomp {
            seccomp::install(&seccomp::program(role.walls()))?;
        }
        sys::exit((attack.run)(&victim).err().unwrap_or(0))
    })())
}

/// The same for a role that a zygote clones: its child tries the attempt, and what came of it is sent over the control
/// edge as an [`Outcome`].
#[must_use]
pub fn as_offspring(zygote: Role, child: Role, seccomp: bool, list: &[Attack], attack: usize) -> ExitCode {
    told((|| {
        let mut confined = confine::all_but_seccomp(zygote)?;
        let (mut victim, with) = confined.control.recv::<Victim>()?;
        victim.stray = confined.control.as_fd().as_raw_fd() + 1;
        let attack = list.get(attack).ok_or("no such attack")?;
        let makes = crate::offspring::Zygote::of(&mut confined).ok_or("no zygote")?;
        if seccomp {
            seccomp::install(&seccomp::program(zygote.walls()))?;
        }
        let main = |with: Vec<OwnedFd>| {
            victim.inherits(&with);
            sys::exit((attack.run)(&victim).err().unwrap_or(0))
        };
        let made = if seccomp { makes.make(child, with, main) } else { makes.make_without_list(child, with, main) };
        confined.control.send(&super::end_of(&made?.pidfd)?, &[])?;
        Ok(())
    })())
}

impl Victim {
    fn inherits(&mut self, with: &[OwnedFd]) {
        if let [listener, accepted, open] = with {
            [self.listener, self.accepted, self.open_listener] = [listener, accepted, open].map(AsRawFd::as_raw_fd);
        }
    }
}

/// Makes the kernel seem to lack a call, for this process and all its children.
///
/// # Errors
/// The kernel's.
pub fn pretend(number: libc::c_long, errno: i32) -> io::Result<()> {
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1)?;
    let lacking = Call { number, rule: Rule::Fail(errno), why: "a test of a lesser kernel" };
    seccomp::install(&Program::new(&[lacking], libc::SECCOMP_RET_ALLOW))
}

/// Makes the kernel seem one of before Linux 6.4, for this thread and all its children: its `prctl` has no `PR_GET_AUXV`.
///
/// # Errors
/// The kernel's.
pub fn pretend_before_auxv() -> io::Result<()> {
    /// All that Linux 6.3 has, but for names of mappings, which need not be built in.
    const OPTIONS: [u32; 67] = {
        let mut options = [0; 67];
        let mut at = 0;
        while at < options.len() {
            options[at] = at as u32;
            at += 1;
        }
        options
    };
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1)?;
    let rule = Rule::Only { argument: 0, mask: u32::MAX, values: &OPTIONS, otherwise: Some(libc::EINVAL) };
    let older = Call { number: libc::SYS_prctl, rule, why: "a test of an older kernel" };
    seccomp::install(&Program::new(&[older], libc::SECCOMP_RET_ALLOW))
}

fn told(outcome: Result<(), Box<dyn std::error::Error>>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "survey: {error}");
            ExitCode::from(u8::MAX)
        }
    }
}

fn surveyed(role: Role, seccomp: bool) -> Result<(), Box<dyn std::error::Error>> {
    let mut confined = confine::all_but_seccomp(role)?;
    let (mut victim, _) = confined.control.recv::<Victim>()?;
    let mut births = Births::of(role, &mut confined)?;
    victim.stray = births.zygote.proc().as_raw_fd();
    if !seccomp {
        births.prepared.program = None;
    }
    while let Ok((ask, _)) = confined.control.recv::<Ask>() {
        answer(ask, &confined, &births, &victim)?;
    }
    Ok(())
}

fn answer(ask: Ask, confined: &Confined, births: &Births, victim: &Victim) -> Result<(), Box<dyn std::error::Error>> {
    let each = |list: &[Attack], message| -> Result<(), Box<dyn std::error::Error>> {
        for attack in list {
            confined.control.send(&attack.attempt(births, victim, message)?, &[])?;
        }
        Ok(())
    };
    match ask {
        Ask::Attacks => {
            each(ATTACKS, Message::ReadOnly)?;
            each(ON_A_WRITABLE_MESSAGE, Message::Writable)?;
        }
        Ask::OnAScanner => each(ON_A_SCANNER, Message::ReadOnly)?,
        Ask::Ends => each(ENDS, Message::ReadOnly)?,
        Ask::Pairs => {
            for pair in PAIRS {
                for outcome in births.pair(pair)? {
                    confined.control.send::<Outcome>(&outcome, &[])?;
                }
            }
        }
        Ask::Image(inverted) => confined.control.send(&image_holds(births, inverted)?, &[])?,
    }
    Ok(())
}

/// Reads all of this process's memory, which each child gets a copy of.
fn image_holds(births: &Births, inverted: [u8; 16]) -> io::Result<bool> {
    sys::prctl(libc::PR_SET_DUMPABLE, 1)?;
    let proc = Some(births.zygote.proc());
    let maps = sys::open_at(proc, c"self/maps", libc::O_RDONLY)?;
    let mut text = String::new();
    io::Read::read_to_string(&mut std::fs::File::from(maps), &mut text)?;
    let memory = sys::open_at(proc, c"self/mem", libc::O_RDONLY)?;
    let mut found = false;
    for line in text.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw"))) {
        let (start, end) = line.split(' ').next().and_then(|range| range.split_once('-')).unwrap_or(("0", "0"));
        let address = |text| u64::from_str_radix(text, 16).unwrap_or(0);
        let mut bytes = vec![0; usize::try_from(address(end) - address(start)).unwrap_or(0)];
        let read = rustix::io::pread(&memory, &mut bytes, address(start)).unwrap_or(0);
        found |=
            bytes[..read].windows(16).any(|window| window.iter().zip(inverted).all(|(byte, other)| *byte == !other));
    }
    Ok(found)
}
