//! The admin commands' way to the keeper: the socket of a running box, or, when there is none, a keeper of their own,
//! confined the same way, that ends with the command.

mod socket;

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use filter_sandbox::edge::{Edge, EdgeError};
use filter_sandbox::launch::{Launch, Running};
use filter_sandbox::role::Role;
use spool::edges::admin::{self, Admin, Reply, Request};
use spool::keeper::{EdgeKind, Manner, REFUSED, Start};
use spool::names::MailboxId;

use crate::box_key::BoxKey;
use crate::config::Config;
use crate::data::{self, DataFolder, Lock};
use crate::failure::{Doing, Failure};
use crate::up::heard;
pub use socket::{connect, has_place, listen, remove};

/// How long a command waits for a box that is starting, stopping or used by another command.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a box that runs may say nothing: its keeper shows every few seconds that it is at work, however long that
/// takes.
pub const ANSWER: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Of a keeper that ended with [`REFUSED`].
pub const NOT_FOR_US: &str = "the keeper may not open this mail; its own words stand above";

/// What to do about a file system that was made read-only.
pub const WRITABLE_AGAIN: &str = "Mount it writable, and all goes on by itself; where that is refused, stop the box, check \
    that disk (`fsck`, while it is not mounted), mount it, and start the box. Until then mail can be read, none is taken, senders \
    keep it and come again, and what is there stays as it is";

/// Of a box that was started on such a file system by a user who has no folder in /run.
pub const NO_PLACE: &str = "Commands do not reach the box that runs: its admin socket has no place, neither in the data \
    folder nor in /run. What they look at can be looked at while that box is stopped";

/// A connection to a keeper.
#[derive(Debug)]
pub struct Session {
    admin: Admin,
    // Ends with the session: the keeper sees its only edge close. Kept for its descriptors.
    own: Option<(Running, Lock)>,
    spool: PathBuf,
}

impl Session {
    /// Reaches a keeper of `data`.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn open(data: &DataFolder, config: &Config, passphrase: Option<&str>) -> Result<Self, Failure> {
        Self::reach(data, || Ok((BoxKey::find(data, passphrase)?, start(config, false))))
    }

    /// As [`Self::open`] for `recover`: a lost box key is replaced, and a journal it does not open put aside.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn open_to_recover(data: &DataFolder, config: &Config, passphrase: Option<&str>) -> Result<Self, Failure> {
        Self::reach(data, || Ok((BoxKey::find_or_replace(data, passphrase)?, start(config, true))))
    }

    /// As [`Self::open`] for `spool check`: a keeper of its own tells all it finds in its answer, and without `repair`
    /// changes nothing.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn open_to_check(
        data: &DataFolder,
        config: &Config,
        passphrase: Option<&str>,
        repair: bool,
    ) -> Result<Self, Failure> {
        let manner = if repair { Manner::Repair } else { Manner::Look };
        Self::reach(data, || {
            let mut start = start(config, false);
            start.manner = manner;
            Ok((BoxKey::find(data, passphrase)?, start))
        })
    }

    /// The running box; `None` when there is none, or its keeper ends at this moment.
    ///
    /// Nothing is asked of one that does not answer: what lay in its socket would be done once it does, long after its
    /// admin has given up.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn live(data: &DataFolder, patience: Duration) -> Result<Option<Self>, Failure> {
        let Some(edge) = connect(data, patience)? else { return Ok(None) };
        let mut admin = Admin::new(edge);
        match admin.ask(Request::Told) {
            Ok(_) => Ok(Some(Self { admin, own: None, spool: data.entry("spool") })),
            Err(EdgeError::Closed) => Ok(None),
            Err(error) if is_silence(&error) => Err(unheard(&data.entry("spool"), "nothing was asked of it")),
            Err(error) => Err(Failure::new(format!("the keeper: {error}"))),
        }
    }

    fn reach(data: &DataFolder, prepare: impl Fn() -> Result<(BoxKey, Start), Failure>) -> Result<Self, Failure> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(session) = Self::live(data, ANSWER)? {
                return Ok(session);
            }
            if let Some(lock) = data.lock(Duration::ZERO)? {
                let (key, mut start) = prepare()?;
                start.index_key = *key.index_key()?;
                if data.is_read_only() {
                    start.manner = Manner::Look;
                }
                return Self::with_own_keeper(data, &start, lock);
            }
            if Instant::now() >= until {
                let holder = data.holder().map_or_else(String::new, |pid| format!(" (process {pid})"));
                let advice = match socket::has_place(data) {
                    true => advice(&data.entry("spool")),
                    false => NO_PLACE.to_owned(),
                };
                return Err(Failure::new(format!(
                    "another postern{holder} uses {} and answers not. {advice}",
                    data.path().display()
                )));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn with_own_keeper(data: &DataFolder, start: &Start, lock: Lock) -> Result<Self, Failure> {
        let uid = rustix::process::geteuid().is_root().then(|| Role::Keeper.host_uid());
        let spool = data.spool(uid)?;
        let what = || "cannot start a keeper".to_owned();
        let exe = std::fs::File::open("/proc/self/exe").doing(what)?;
        let (own, theirs) = Edge::pair().doing(what)?;
        let stderr = io::stderr();
        let launch = Launch {
            role: Role::Keeper,
            exe: exe.as_fd(),
            args: &[],
            uid,
            directory: Some(spool.as_fd()),
            stderr: stderr.as_fd(),
        };
        let running = launch.start().doing(what)?;
        running.control.send(start, &[theirs.as_fd()]).doing(what)?;
        Ok(Self { admin: Admin::new(own), own: Some((running, lock)), spool: data.entry("spool") })
    }

    /// Whether the box itself answers, not a keeper of this command's own.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.own.is_none()
    }

    /// Asks; a refusal of the keeper's is a failure in its words.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn ask(&mut self, request: Request) -> Result<Reply, Failure> {
        self.admin.send(request).map_err(|error| self.gone(&error))?;
        self.more()
    }

    /// The next packet of the last answer.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn more(&mut self) -> Result<Reply, Failure> {
        match self.admin.reply().map_err(|error| self.gone(&error))? {
            Reply::Refused(words) => Err(Failure::new(heard(&words))),
            reply => Ok(reply),
        }
    }

    /// A keeper of the command's own has said itself why it ended.
    fn gone(&self, error: &EdgeError) -> Failure {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let own = self.own.as_ref().filter(|_| matches!(error, EdgeError::Closed));
        let ended = own.and_then(|(running, _)| waitid(WaitId::PidFd(running.pidfd.as_fd()), look).ok().flatten());
        match ended.and_then(|status| status.exit_status()) {
            Some(code) if code == i32::from(REFUSED) => Failure::configuration(NOT_FOR_US),
            _ if is_silence(error) => {
                unheard(&self.spool, "whether this was done is not known: look before you try again")
            }
            _ => Failure::new(format!("the keeper: {error}")),
        }
    }

    /// Asks for something that is done or refused.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn done(&mut self, request: Request) -> Result<(), Failure> {
        match self.ask(request)? {
            Reply::Done => Ok(()),
            _ => Err(confused()),
        }
    }

    /// Asks for a change of a letter that waits to leave: the destinations that are being given it at this moment.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn changed(&mut self, request: Request) -> Result<Vec<String>, Failure> {
        match self.ask(request)? {
            Reply::Done => Ok(Vec::new()),
            Reply::UnderWay(to) => Ok(to),
            _ => Err(confused()),
        }
    }

    /// Asks for a list that comes in several packets.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn list<T>(
        &mut self,
        request: Request,
        cut: impl Fn(Reply) -> Option<(Vec<T>, bool)>,
    ) -> Result<Vec<T>, Failure> {
        let (mut all, mut more) = cut(self.ask(request)?).ok_or_else(confused)?;
        while more {
            let (some, again) = cut(self.more()?).ok_or_else(confused)?;
            all.extend(some);
            more = again;
        }
        Ok(all)
    }

    /// All mailboxes.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn mailboxes(&mut self) -> Result<Vec<admin::MailboxInfo>, Failure> {
        self.list(Request::MailboxList, |reply| match reply {
            Reply::Mailboxes { some, more } => Some((some, more)),
            _ => None,
        })
    }

    /// All aliases.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn aliases(&mut self) -> Result<Vec<admin::AliasInfo>, Failure> {
        self.list(Request::AliasList, |reply| match reply {
            Reply::Aliases { some, more } => Some((some, more)),
            _ => None,
        })
    }

    /// Whether anything can be changed.
    ///
    /// # Errors
    /// Why not, in words for the admin.
    pub fn writes(&mut self) -> Result<(), Failure> {
        self.ask(Request::Writes).map(drop)
    }

    /// The mailboxes that the journal does not know, with their slots files: `recover` gives them back.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn lost(&mut self) -> Result<Vec<(MailboxId, Vec<u8>)>, Failure> {
        self.list(Request::Unknown, |reply| match reply {
            Reply::Unknown { some, more } => Some((some, more)),
            _ => None,
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some((running, _lock)) = self.own.take() else { return };
        // The keeper ends cleanly once its only edge is closed; the lock is given back after that.
        if let Ok((unused, _)) = Edge::pair() {
            self.admin = Admin::new(unused);
        }
        let exited = rustix::process::WaitIdOptions::EXITED;
        let _ = rustix::process::waitid(rustix::process::WaitId::PidFd(running.pidfd.as_fd()), exited);
    }
}

/// The keeper's start packet but for the key, for one admin edge.
fn start(config: &Config, new_journal: bool) -> Start {
    Start {
        index_key: [0; 32],
        domains: config.domains.clone(),
        default_quota: config.quota(),
        allowance: config.allowance.limits(),
        new_journal,
        told: String::new(),
        outgoing: None,
        manner: Manner::Serve,
        edges: vec![EdgeKind::Admin],
        left: None,
    }
}

/// Whether the time for an answer is over.
fn is_silence(error: &EdgeError) -> bool {
    matches!(error, EdgeError::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

fn unheard(spool: &Path, after: &str) -> Failure {
    Failure::new(format!("the box runs, but its keeper does not answer ({after}). {}", advice(spool)))
}

/// What to do about a keeper that cannot work.
fn advice(spool: &Path) -> String {
    let spool_is = spool.display();
    let disk = if data::is_read_only(spool) {
        format!("{spool_is} lies on a file system that is read-only now: `dmesg` says why. {WRITABLE_AGAIN}")
    } else {
        format!("Make room if the disk of {spool_is} is full (`df`); `mount` and `dmesg` show whether it fails")
    };
    format!("The log of `postern up` says what the keeper lacks. {disk}")
}

/// An answer to another question: versions differ.
#[must_use]
pub fn confused() -> Failure {
    Failure::new("the keeper gave an answer to another question: is the running box of the same version?")
}
