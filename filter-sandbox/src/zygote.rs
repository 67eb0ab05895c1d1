//! A filter zygote: makes single-use workers, watches them die, ends them when their client lets go.
//!
//! Hostile bytes: none from the net; requests of its clients, which may have been taken over. Holds: no key, and
//! never handled a message. Always started by exec. It has no Landlock (its children would inherit it, and it would
//! forbid what they must do first); they apply it themselves.
//!
//! Started with `zygote::Start` and one descriptor, the first client's edge; answers [`Ready`] on the control edge.
//! Says [`Ready::Due`] there once it has served its time, and goes on serving until `up` has given its clients a fresh one.
//! Ends when `up` closes the control edge, when its last client is gone, or when nobody has replaced it for long (exit
//! code 0).

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use serde::{Deserialize, Serialize};

use crate::attacks::Message;
use crate::confine::{self, Confined, Status};
use crate::edge::{Answer, Edge, EdgeError, Numbered};
use crate::offspring::Zygote;
use crate::protocol::{Event, Job, Reply, Request, Spawn};
use crate::role::Role;
use crate::scanner::Command;
#[doc(hidden)]
pub use crate::worker::Duty;
use crate::worker::{Prepared, Purpose};
use crate::{protocol, seccomp, selftest};

pub(crate) mod births;
mod pace;

use births::{Births, Dowry, Living};

/// Bounds of one zygote's life.
pub mod limits {
    use std::time::Duration;

    /// Workers it makes before a fresh zygote is due: they all share one layout of memory.
    pub const WORKERS: u64 = 20_000;
    /// Time after which a fresh zygote is due.
    pub const AGE: Duration = Duration::from_secs(30 * 60);
    /// Workers that died other than well or by our hand before a fresh zygote is due.
    pub const ABNORMAL: u32 = 8;
    /// How long it goes on, once due, where no fresh one takes its place.
    pub const GRACE: Duration = Duration::from_secs(600);
    /// Clients at once.
    pub const CLIENTS: usize = 256;
    /// Workers at once, all clients together.
    pub const LIVING: usize = 256;
    /// Workers of one client at once: none can use up what others need.
    pub const LIVING_EACH: usize = 64;
}

/// The first packet on a zygote's control edge; the first client's edge rides along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Attack its own walls first, and refuse to serve if one gives way. `up` asks it of one zygote each start.
    pub self_test: bool,
}

/// What a zygote says on its control edge: the first or the second at its start, the third at most once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ready {
    /// It serves.
    Serving {
        /// Layers of the zygote itself.
        zygote: Status,
        /// Layers of each worker, as one reported them.
        worker: Status,
        /// Attacks tried in vain, when they were asked for.
        attacks: usize,
    },
    /// It does not: what gave way or is missing, in words for the admin.
    Refused(String),
    /// It has served its time, and goes on until a fresh one has taken its place.
    Due,
}

/// The role's life: confines itself, then serves until it is no longer needed.
#[must_use]
pub fn run(role: Role) -> ExitCode {
    ended(role, own_purpose(role).map_err(Into::into).and_then(|purpose| serve(role, purpose)))
}

/// [`run`], with workers that do something else: hostile ones, in tests.
#[doc(hidden)]
#[must_use]
pub fn run_with(role: Role, duty: Duty) -> ExitCode {
    ended(role, serve(role, Purpose::Work(duty)))
}

/// [`run`] for [`Role::ScannerZygote`], with another Perl program as the scanner: hostile ones, in tests.
#[doc(hidden)]
#[must_use]
pub fn run_scanning(role: Role, program: &str) -> ExitCode {
    let purpose = Command::perl(program).map(Purpose::Scan);
    ended(role, purpose.map_err(Into::into).and_then(|purpose| serve(role, purpose)))
}

/// What a zygote's children are for, when nobody tests.
fn own_purpose(role: Role) -> io::Result<Purpose> {
    match role {
        Role::ScannerZygote => Command::spamassassin().map(Purpose::Scan),
        _ => Ok(Purpose::Work(crate::worker::serve)),
    }
}

fn ended(role: Role, outcome: Result<(), Box<dyn std::error::Error>>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{role}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(role: Role, purpose: Purpose) -> Result<(), Box<dyn std::error::Error>> {
    let mut confined = confine::all_but_seccomp(role)?;
    quiet_panics();
    // What code finds out once about the processor is found out here, not by every worker anew.
    crate::worker::sample::read();
    let (start, with) = confined.control.recv::<Start>()?;
    let mut births = Births::of(role, &mut confined)?;
    // Before this process has its own list, so that the other walls of a worker can be attacked without it.
    let tested = if start.self_test { selftest::run(&mut births, confined.starter) } else { Ok(0) };
    seccomp::install(&seccomp::program(role.walls()))?;
    let ready = match tested.map(|attacks| births.describe().map(|worker| (worker, attacks))) {
        Ok(Ok((worker, attacks))) => Ready::Serving { zygote: confined.status, worker, attacks },
        Ok(Err(error)) => Ready::Refused(format!("no worker could be made: {error}")),
        Err(gave_way) => Ready::Refused(gave_way.to_string()),
    };
    births.prepared.purpose = purpose;
    confined.control.send(&ready, &[])?;
    if let Ready::Refused(why) = ready {
        return Err(why.into());
    }
    Served::new(births, confined.control, with)?.until_done();
    Ok(())
}

/// A worker that panics dies quietly: its letter must not reach a log.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|_| crate::sys::exit(crate::worker::ended::PANICKED)));
}

/// The image's address space, from `/proc/self/statm`.
fn image_size(zygote: &Zygote) -> io::Result<u64> {
    let statm = crate::sys::open_at(Some(zygote.proc()), c"self/statm", libc::O_RDONLY)?;
    let mut text = [0; 64];
    let read = rustix::io::read(&statm, &mut text)?;
    let pages = String::from_utf8_lossy(&text[..read]).split(' ').next().and_then(|pages| pages.parse::<u64>().ok());
    pages.map(|pages| pages * crate::sys::page_size()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Who asks for workers.
struct Client {
    edge: Edge,
    number: u64,
}

/// The client that came with the start, which alone brings others.
const FIRST: u64 = 1;

/// A worker, and the client that has asked for it.
struct Charge {
    worker: Living,
    client: u64,
}

/// A serving zygote.
struct Served {
    births: Births,
    control: Edge,
    clients: Vec<Client>,
    /// Edges ever attached: gives each client its number.
    attached: u64,
    living: Vec<Charge>,
    pace: pace::Pace,
    born: Instant,
    made: u64,
    abnormal: u32,
    due: Option<Instant>,
}

impl Served {
    fn new(births: Births, control: Edge, with: Vec<OwnedFd>) -> io::Result<Self> {
        let mut served = Self {
            births,
            control,
            clients: Vec::new(),
            attached: 0,
            living: Vec::new(),
            pace: pace::Pace::new(),
            born: Instant::now(),
            made: 0,
            abnormal: 0,
            due: None,
        };
        for client in with {
            served.attach(client)?;
        }
        Ok(served)
    }

    fn attach(&mut self, client: OwnedFd) -> io::Result<()> {
        if self.clients.len() >= limits::CLIENTS {
            return Err(io::Error::other("too many clients"));
        }
        // A client that does not read its answers must not stop the others.
        rustix::io::ioctl_fionbio(&client, true)?;
        self.attached += 1;
        self.clients.push(Client { edge: client.into(), number: self.attached });
        Ok(())
    }

    fn until_done(mut self) {
        while !self.clients.is_empty() {
            let ready = match self.wait() {
                Ok(ready) => ready,
                Err(error) => {
                    eprintln!("zygote: cannot wait: {error}");
                    return;
                }
            };
            if ready.control && matches!(self.control.recv::<()>(), Err(EdgeError::Closed)) {
                return;
            }
            self.bury(&ready.dead);
            ready.released.iter().for_each(|index| self.living[*index].worker.end());
            self.living.retain(|charge| !charge.worker.buried());
            self.answer(&ready.clients);
            if self.finished() {
                return;
            }
        }
    }

    /// Waits until something wants to be done; tells what.
    fn wait(&self) -> io::Result<Woken> {
        let input = PollFlags::IN;
        let mut fds = vec![PollFd::new(&self.control, input)];
        fds.extend(self.clients.iter().map(|client| PollFd::new(&client.edge, input)));
        // Hanging up is always told; a worker's socket is never read here.
        fds.extend(self.living.iter().map(|charge| PollFd::new(charge.worker.hung_up(), PollFlags::empty())));
        fds.extend(self.living.iter().map(|charge| PollFd::new(charge.worker.died(), input)));
        let timeout = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&timeout)))?;
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let (control, rest) = (ready[0], &ready[1..]);
        let (clients, rest) = rest.split_at(self.clients.len());
        let (released, dead) = rest.split_at(self.living.len());
        let places = |flags: &[bool]| flags.iter().enumerate().filter_map(|(at, on)| on.then_some(at)).collect();
        Ok(Woken { control, clients: places(clients), released: places(released), dead: places(dead) })
    }

    fn bury(&mut self, dead: &[usize]) {
        for index in dead {
            if self.living[*index].worker.bury() == births::Death::Abnormal {
                self.abnormal += 1;
            }
        }
    }

    /// One request of each client that has one; from the last, so that a client dropped moves no other.
    fn answer(&mut self, clients: &[usize]) {
        for index in clients.iter().rev() {
            match self.clients[*index].edge.recv::<Numbered<Request>>() {
                Ok((request, with)) => {
                    if self.reply(*index, request, with).is_err() {
                        self.clients.swap_remove(*index);
                    }
                }
                Err(EdgeError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => drop(self.clients.swap_remove(*index)),
            }
        }
    }

    fn reply(&mut self, client: usize, request: Numbered<Request>, with: Vec<OwnedFd>) -> Result<(), EdgeError> {
        let number = request.number;
        let refused = |error: &io::Error| Reply::Refused(error.raw_os_error().unwrap_or(libc::EIO));
        match request.body {
            Request::Attach if self.clients[client].number != FIRST => {
                self.send(client, number, Reply::Refused(libc::EPERM), &[])
            }
            Request::Attach => {
                let attached = with.into_iter().next().ok_or(EdgeError::Malformed("no edge"))?;
                let reply = self.attach(attached).map_or_else(|error| refused(&error), |()| Reply::Attached);
                self.send(client, number, reply, &[])
            }
            Request::Spawn(spawn) => match Dowry::of(with).and_then(|dowry| self.spawn(client, spawn, dowry)) {
                Err(error) => self.send(client, number, refused(&error), &[]),
                Ok(living) => {
                    let sent = self.send(client, number, Reply::Worker, &[living.died().as_fd()]);
                    // Should it not have been sent, its client is gone: its socket hangs up and it is ended.
                    self.living.push(Charge { worker: living, client: self.clients[client].number });
                    sent
                }
            },
        }
    }

    fn spawn(&mut self, client: usize, spawn: Spawn, dowry: Dowry) -> io::Result<Living> {
        let number = self.clients[client].number;
        let of_client = self.living.iter().filter(|charge| charge.client == number).count();
        if of_client >= limits::LIVING_EACH || self.living.len() >= limits::LIVING {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
        self.pace.wait();
        let born = self.births.spawn(spawn, dowry)?;
        self.made += 1;
        Ok(born)
    }

    fn send(
        &self,
        client: usize,
        number: u32,
        reply: Reply,
        with: &[std::os::fd::BorrowedFd<'_>],
    ) -> Result<(), EdgeError> {
        self.clients[client].edge.send(&Answer::<Reply, Event>::Reply(number, reply), with)
    }

    /// Whether its time has long been over. Its clients go to a fresh zygote, and then it ends with the last of them.
    fn finished(&mut self) -> bool {
        let Some(due) = self.due else {
            if self.made >= limits::WORKERS || self.abnormal >= limits::ABNORMAL || self.born.elapsed() >= limits::AGE {
                self.due = Some(Instant::now());
                // An `up` that is gone is noticed at once, and one that does not read it after the grace.
                let _ = self.control.send(&Ready::Due, &[]);
            }
            return false;
        };
        due.elapsed() >= limits::GRACE
    }
}

/// What has happened, as places in the zygote's lists.
struct Woken {
    control: bool,
    clients: Vec<usize>,
    released: Vec<usize>,
    dead: Vec<usize>,
}

impl Births {
    /// What a zygote that has confined itself prepares for its workers.
    pub(crate) fn of(role: Role, confined: &mut Confined) -> io::Result<Self> {
        let zygote = Zygote::of(confined).ok_or_else(|| io::Error::other("this role is no zygote"))?;
        // Once, not by every worker anew: they inherit it. A client or a reader of the log that is gone must not end it.
        crate::sys::reset_signals(&[libc::SIGPIPE]);
        let purpose = own_purpose(role)?;
        let child = if matches!(purpose, Purpose::Scan(_)) { Role::Scanner } else { Role::Worker };
        let program = Some(seccomp::program(child.walls()));
        let prepared = Prepared { purpose, child, program, image: image_size(&zygote)? };
        Ok(Self { zygote, prepared })
    }

    /// Makes one child as a client would and has it tell its layers.
    fn describe(&self) -> io::Result<Status> {
        match &self.prepared.purpose {
            Purpose::Work(_) => self.describe_worker(),
            Purpose::Scan(_) => self.describe_scanner(),
        }
    }

    /// A scanner cannot say what it is: a child locks itself as one, and answers instead of becoming it.
    fn describe_scanner(&self) -> io::Result<Status> {
        let (socket, pidfd) = self.locked_child(Message::Empty, |status| {
            // SAFETY: descriptor 1 is this child's socket, and nothing else in it uses it.
            let mut socket = ManuallyDrop::new(unsafe { File::from_raw_fd(1) });
            let told =
                postcard::to_stdvec(&status).map_err(io::Error::other).and_then(|status| protocol::frame(&status));
            i32::from(told.and_then(|frame| io::Write::write_all(&mut *socket, &frame)).is_err())
        })?;
        let status = protocol::read_frame(&mut File::from(OwnedFd::from(socket)), 256);
        rustix::process::waitid(rustix::process::WaitId::PidFd(pidfd.as_fd()), rustix::process::WaitIdOptions::EXITED)?;
        postcard::from_bytes(&status?).map_err(io::Error::other)
    }

    fn describe_worker(&self) -> io::Result<Status> {
        let (ours, theirs) = UnixStream::pair()?;
        let dowry = Dowry { file: crate::memory::empty_file()?, socket: theirs.into() };
        let mut living = self.spawn(Spawn { largest: 4096, seconds: 5, warm: true }, dowry)?;
        // As a file: `read` and `write` are calls a zygote has anyway.
        let mut socket = File::from(OwnedFd::from(ours));
        living.let_go();
        let status = (|| {
            io::Write::write_all(&mut socket, &protocol::job_frame(&Job::Describe)?)?;
            let patience = rustix::event::Timespec { tv_sec: 5, tv_nsec: 0 };
            rustix::event::poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&patience))?;
            rustix::io::ioctl_fionbio(&socket, true)?;
            protocol::read_frame(&mut socket, 256)
        })();
        living.end();
        let death = living.wait();
        let status = status.map_err(|error| io::Error::other(format!("{error}; it ended {death:?}")))?;
        postcard::from_bytes(&status).map_err(io::Error::other)
    }
}
