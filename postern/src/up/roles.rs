//! The running roles: started from the table, watched, started again, told of each other's restarts.

mod disk;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use std::{fs, io};

use filter_sandbox::edge::{Edge, EdgeError};
use filter_sandbox::launch::{Dns, Launch, Running};
use filter_sandbox::role::Role;
use filter_sandbox::zygote::Ready;
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus};
use serde::Serialize;
use wire::control::{Control, EdgeName, SigningKey};
use wire::tls::CertificatePem;

use super::back_off::BackOff;
use super::link::Proxies;
use super::parts::Parts;
use super::{logs, say};
use crate::data::{is_read_only_at, is_writable_elsewhere};
use crate::edges::{EdgeRow, ROLES, RoleRow, rows};
use crate::failure::{Doing, Failure};

/// All roles of the box.
#[derive(Debug)]
pub struct Roles {
    parts: Parts,
    exe: File,
    as_root: bool,
    running: BTreeMap<usize, Live>,
    /// Zygotes whose time is over: a fresh one has taken their place, and they end with their last worker.
    leaving: Vec<(Role, Live)>,
    waiting: BTreeMap<usize, Instant>,
    back_off: [BackOff; ROLES.len()],
    /// Ends of edges whose role is not running yet.
    held: Vec<(&'static EdgeRow, Role, Edge)>,
    /// `mx`'s DNS sockets: the resolver gets them again when it is started again.
    dns: Option<Dns>,
    /// The keeper may not open this spool, and said why.
    refused: bool,
    /// The disk was read-only when the keeper was started.
    read_only: bool,
    /// It was so for this process only.
    elsewhere: bool,
}

#[derive(Debug)]
struct Live {
    running: Running,
    since: Instant,
    /// A zygote has said that it cannot serve.
    refused: bool,
}

/// Packets of one zygote that are read at one look: an honest one sends one or two in its life, and `up` has one thread.
const PACKETS: usize = 4;

impl Roles {
    /// Takes what the roles will be given.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(parts: Parts) -> io::Result<Self> {
        Ok(Self {
            parts,
            exe: File::open("/proc/self/exe")?,
            as_root: rustix::process::geteuid().is_root(),
            running: BTreeMap::new(),
            leaving: Vec::new(),
            waiting: BTreeMap::new(),
            back_off: std::array::from_fn(|_| BackOff::default()),
            held: Vec::new(),
            dns: None,
            refused: false,
            read_only: false,
            elsewhere: false,
        })
    }

    /// Starts all, in the table's order.
    ///
    /// # Errors
    /// In words for the admin: which role, what is missing, what to do.
    pub fn start_all(&mut self) -> Result<(), Failure> {
        let scanner = self.parts.config.scanner.is_some();
        for (place, row) in ROLES.iter().enumerate().filter(|(_, row)| row.is_in(scanner)) {
            self.start(place).doing(|| format!("cannot start the role {}", row.role))?;
        }
        Ok(())
    }

    fn start(&mut self, place: usize) -> io::Result<()> {
        let row = &ROLES[place];
        self.parts.listen_again(row)?;
        if row.role == Role::Keeper {
            self.read_only = is_read_only_at(self.parts.spool.as_fd());
            self.elsewhere = is_writable_elsewhere(self.parts.spool.as_fd());
        }
        let log = logs::follow(row.role)?;
        let launch = Launch {
            role: row.role,
            exe: self.exe.as_fd(),
            args: &[],
            uid: self.as_root.then(|| row.role.host_uid()),
            directory: (row.role == Role::Keeper).then(|| self.parts.spool.as_fd()),
            stderr: log.as_fd(),
        };
        let mut running = launch.start()?;
        // A role that does not read must not stop `up`.
        rustix::io::ioctl_fionbio(&running.control, true)?;
        if let Some(dns) = running.dns.take() {
            self.tell(Role::Resolver, &Control::Edge(EdgeName::Dns), &[&dns.udp, &dns.tcp]);
            self.dns = Some(dns);
        }
        let ends = self.ends(row)?;
        self.parts.send_start(row.role, &running.control, &ends, self.dns.as_ref()).map_err(io::Error::other)?;
        self.running.insert(place, Live { running, since: Instant::now(), refused: false });
        Ok(())
    }

    /// The role's ends of its edges. The other end of a new one goes to its role, now or when that is started.
    fn ends(&mut self, row: &RoleRow) -> io::Result<Vec<Edge>> {
        let mut ends = Vec::new();
        for edge in row.edges(self.parts.config.scanner.is_some()) {
            let held = self.held.iter().position(|(held, role, _)| *held == edge && *role == row.role);
            if let Some(index) = held {
                ends.push(self.held.swap_remove(index).2);
                continue;
            }
            let (own, others) = Edge::pair()?;
            ends.push(own);
            let (other, name) = match row.role == edge.client {
                true => (edge.server, edge.at_server),
                false => (edge.client, Some(edge.at_client)),
            };
            match name {
                Some(name) if self.is_running(other) => {
                    self.tell(other, &Control::Edge(name), &[&others.into()]);
                }
                _ => self.held.push((edge, other, others)),
            }
        }
        Ok(ends)
    }

    fn is_running(&self, role: Role) -> bool {
        self.live(role).is_some()
    }

    fn live(&self, role: Role) -> Option<&Live> {
        self.running.iter().find(|(place, _)| ROLES[**place].role == role).map(|(_, live)| live)
    }

    /// Sends news. A role that does not take it is ended, and started again.
    fn tell(&self, role: Role, news: &impl Serialize, with: &[&OwnedFd]) {
        let Some(live) = self.live(role) else { return };
        let with: Vec<_> = with.iter().map(|fd| fd.as_fd()).collect();
        match live.running.control.send(news, &with) {
            // Dead already: it will be missed in a moment.
            Ok(()) | Err(EdgeError::Closed) => {}
            Err(error) => {
                say(&format!("{role} takes no news ({error}); it is ended"));
                end(live);
            }
        }
    }

    /// Sees to the roles that have died: says why, ends those that live and die with them, plans their return.
    pub fn bury(&mut self) {
        let dead: Vec<usize> = self
            .running
            .iter()
            .filter_map(|(place, live)| exited(live).map(|status| (*place, status)))
            .map(|(place, (status, code))| {
                let role = ROLES[place].role;
                say(&format!("{role} ended ({status})"));
                self.refused |= role == Role::Keeper && code == Some(spool::keeper::REFUSED.into());
                place
            })
            .collect();
        for place in dead {
            self.forget(place);
        }
        self.leaving.retain(|(_, live)| exited(live).is_none());
    }

    fn forget(&mut self, place: usize) {
        let Some(live) = self.running.remove(&place) else { return };
        let row = &ROLES[place];
        self.held.retain(|(edge, ..)| edge.client != row.role && edge.server != row.role);
        let wait = self.back_off[place].after(live.since.elapsed());
        self.waiting.insert(place, Instant::now() + wait);
        // Its zygote ends by itself when its last client is gone; this makes sure, and takes no second wait.
        for dependant in row.dependants() {
            if let Some(live) = self.live(dependant) {
                end(live);
            }
        }
    }

    /// Whether there is no going on: this program is not the one for this mail.
    #[must_use]
    pub const fn refused(&self) -> bool {
        self.refused
    }

    /// When the next role is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.values().min().copied()
    }

    /// Starts the roles whose wait is over.
    pub fn start_due(&mut self) {
        let now = Instant::now();
        let due: Vec<usize> = self.waiting.iter().filter(|(_, at)| **at <= now).map(|(place, _)| *place).collect();
        for place in due {
            self.waiting.remove(&place);
            match self.start(place) {
                Ok(()) => say(&format!("{} started again", ROLES[place].role)),
                Err(error) => {
                    let wait = self.back_off[place].after(Duration::ZERO);
                    say(&format!("cannot start {} again ({error}); trying in {wait:?}", ROLES[place].role));
                    self.waiting.insert(place, Instant::now() + wait);
                }
            }
        }
    }

    /// Starts a fresh zygote for each that says its time is over. Its clients use the old one until they have it.
    pub fn hear_zygotes(&mut self) {
        let zygotes = self.running.iter_mut().filter(|(place, _)| ROLES[**place].makes_workers());
        let due: Vec<usize> =
            zygotes.filter_map(|(place, live)| is_due(ROLES[*place].role, live).then_some(*place)).collect();
        for place in due {
            let role = ROLES[place].role;
            let Some(old) = self.running.remove(&place) else { continue };
            match self.start(place) {
                Ok(()) => {
                    say(&format!("{role} has served its time; a fresh one takes its place"));
                    self.leaving.push((role, old));
                }
                Err(error) => {
                    // It serves on, and ends by itself after a while: then there is a next try.
                    say(&format!("cannot start a fresh {role} ({error})"));
                    self.running.insert(place, old);
                }
            }
        }
    }

    /// Whether commands reach the keeper.
    #[must_use]
    pub const fn has_admin_socket(&self) -> bool {
        self.parts.admin.is_some()
    }

    /// Hands out a new certificate, also to roles started from now on.
    pub fn renew(&mut self, certificate: CertificatePem) {
        for row in ROLES.iter().filter(|row| !row.serves.is_empty()) {
            self.tell(row.role, &Control::Certificate(certificate.clone()), &[]);
        }
        self.parts.certificate = certificate;
    }

    /// Hands out new DKIM keys, also to a courier started from now on.
    pub fn sign(&mut self, keys: Vec<SigningKey>) {
        Control::signing(&keys).for_each(|some| self.tell(Role::Courier, &some, &[]));
        self.parts.signing = keys;
    }

    /// Hands out the pairings, also to a `link` started from now on.
    pub fn pair(&mut self, proxies: Proxies) {
        self.tell(Role::Link, &Control::Pairings(proxies.all.clone()), &[]);
        self.tell(Role::Courier, &Control::ThroughProxy(proxies.outbound), &[]);
        self.parts.pairings = proxies;
    }

    /// The control edges of the zygotes, on which each says once whether it serves.
    pub fn zygotes(&self) -> impl Iterator<Item = (Role, &Edge)> {
        let zygotes = self.running.iter().filter(|(place, _)| ROLES[**place].makes_workers());
        zygotes.map(|(place, live)| (ROLES[*place].role, &live.running.control))
    }

    /// Whether every role runs and has locked itself.
    #[must_use]
    pub fn all_locked(&self) -> bool {
        self.running.len() == rows(self.parts.config.scanner.is_some()).count()
            && self.running.values().all(|live| is_locked(live.running.pid))
    }

    /// Asks `role` to finish and end.
    pub fn drain(&self, role: Role) {
        self.tell(role, &Control::Drain, &[]);
    }

    /// Gives the listeners back: whoever connects from now on is refused.
    pub fn close_doors(&mut self) {
        self.parts.bound.clear();
    }

    /// Whether it is gone; it is not started again by this.
    #[must_use]
    pub fn is_gone(&mut self, role: Role) -> bool {
        let place = self.running.iter().find(|(place, _)| ROLES[**place].role == role).map(|(place, _)| *place);
        let Some(place) = place else { return true };
        if self.running.get(&place).is_some_and(|live| exited(live).is_some()) {
            self.running.remove(&place);
            return true;
        }
        false
    }

    /// Ends one at once.
    pub fn end(&mut self, role: Role) {
        if let Some(live) = self.live(role) {
            end(live);
            let _ = rustix::process::waitid(WaitId::PidFd(live.running.pidfd.as_fd()), WaitIdOptions::EXITED);
        }
        self.running.retain(|place, _| ROLES[*place].role != role);
        self.leaving.retain(|(leaving, live)| {
            if *leaving == role {
                end(live);
            }
            *leaving != role
        });
    }

    /// What the other commands are told.
    #[must_use]
    pub const fn told(&self) -> &crate::told::Told {
        &self.parts.told
    }

    /// Where each service listens.
    #[must_use]
    pub fn bound(&self) -> &[super::ports::Bound] {
        &self.parts.bound
    }
}

/// Whether a zygote has said that it is due. It may have been taken over: what it says is bounded, and repeating itself
/// is its end.
fn is_due(role: Role, live: &mut Live) -> bool {
    for _ in 0..PACKETS {
        match live.running.control.recv::<Ready>() {
            Ok((Ready::Due, _)) => return true,
            Ok((Ready::Serving { .. }, _)) => {}
            // It ends by itself, and is started again like any other.
            Ok((Ready::Refused(words), _)) if !live.refused => {
                live.refused = true;
                say(&format!("{role}: {words}"));
            }
            Ok((Ready::Refused(_), _)) | Err(EdgeError::Malformed(_)) => {
                end(live);
                return false;
            }
            Err(_) => return false,
        }
    }
    false
}

fn end(live: &Live) {
    let _ = rustix::process::pidfd_send_signal(&live.running.pidfd, Signal::KILL);
}

/// How it ended, when it has, and its exit code.
fn exited(live: &Live) -> Option<(String, Option<i32>)> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match rustix::process::waitid(WaitId::PidFd(live.running.pidfd.as_fd()), options) {
        Ok(Some(status)) => Some((words(&status), status.exit_status())),
        Ok(None) => None,
        Err(error) => Some((error.to_string(), None)),
    }
}

fn words(status: &WaitIdStatus) -> String {
    if let Some(code) = status.exit_status() {
        return format!("exit code {code}");
    }
    match status.terminating_signal() {
        Some(signal) if signal == Signal::SYS.as_raw() => "signal 31: it made a system call that it may not".to_owned(),
        Some(signal) => format!("signal {signal}"),
        None => "for no known reason".to_owned(),
    }
}

/// seccomp is the last wall: once it stands, all do.
fn is_locked(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| status.contains("\nSeccomp:\t2"))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use filter_sandbox::confine::Status;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    /// A zygote that was taken over: the other end of its control edge, and a process to be ended.
    fn zygote() -> (Live, Edge, Child) {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id().cast_signed();
        let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        let (control, theirs) = Edge::pair().unwrap();
        rustix::io::ioctl_fionbio(&control, true).unwrap();
        let running = Running { pid, pidfd, control, dns: None };
        (Live { running, since: Instant::now(), refused: false }, theirs, child)
    }

    #[test]
    fn a_zygote_that_keeps_talking_does_not_hold_up() {
        let (mut live, theirs, mut child) = zygote();
        let layers = Status { landlock: None, locked: None, no_new_code: true };
        let serving = || Ready::Serving { zygote: layers, worker: layers, attacks: 0 };
        for _ in 0..2 * PACKETS {
            theirs.send(&serving(), &[]).unwrap();
        }
        theirs.send(&Ready::Due, &[]).unwrap();
        assert!(!is_due(Role::MxZygote, &mut live), "all was read at one look");
        assert!(!is_due(Role::MxZygote, &mut live));
        assert!(is_due(Role::MxZygote, &mut live), "what it says is read at a later look");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_zygote_that_refuses_twice_is_ended() {
        let (mut live, theirs, mut child) = zygote();
        theirs.send(&Ready::Refused("no".to_owned()), &[]).unwrap();
        assert!(!is_due(Role::MxZygote, &mut live));
        assert!(child.try_wait().unwrap().is_none(), "it ends by itself");
        theirs.send(&Ready::Refused("no\nup: all is well".to_owned()), &[]).unwrap();
        assert!(!is_due(Role::MxZygote, &mut live));
        assert!(!child.wait().unwrap().success());
    }
}
