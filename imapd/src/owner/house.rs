//! The zygote's loop: blocking and single-threaded, because a process that clones itself must have one thread.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use filter_sandbox::Role;
use filter_sandbox::edge::{Answer, Edge, EdgeError, Numbered};
use filter_sandbox::offspring::{Offspring, Zygote};
use filter_sandbox::protocol;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitId, WaitIdOptions};
use spool::names::MailboxId;
use tracing::{info, warn};
use wire::control::{Control, EdgeName, NEW_EDGE};

use super::{Bounds, process};
use crate::handover::{self, FromOwner, Handover, ToOwner};
use crate::limits;

/// One owner process.
#[derive(Debug)]
struct Household {
    /// Never waited for: one that does not read is no reason to keep others out.
    edge: Edge,
    /// Sessions sent to it.
    sent: u64,
    /// Whether the filter's present zygote has been told of it.
    filtered: bool,
    /// Ends with its edge, and with the house.
    process: Offspring,
}

/// All owners, and who may speak to the zygote.
#[derive(Debug)]
pub(super) struct House {
    zygote: Zygote,
    control: Edge,
    /// `None` between the death of a `login` and the next one's edge.
    logins: Option<Edge>,
    /// Since when it is `None`.
    unasked: Instant,
    /// `None` between the death of a filter's zygote and the next one's edge. Never waited for.
    filter: Option<Edge>,
    bounds: Bounds,
    owners: HashMap<MailboxId, Household>,
    /// Processes that have been let go and may not have ended yet.
    leaving: Vec<Offspring>,
    /// `up` has asked to finish: sessions end, also those that begin now. The house itself stays until `up` ends it: a
    /// login may be on its way.
    draining: bool,
}

/// Who is ready to be read.
#[derive(Debug, Clone, Copy)]
enum Ready {
    Control,
    Logins,
    /// The filter's zygote has answered, takes requests again, or is gone.
    Filter,
    Owner(MailboxId),
    /// One that was leaving has ended.
    Ended,
}

impl House {
    pub(super) fn new(zygote: Zygote, bounds: Bounds, control: Edge, logins: Edge, filter: Edge) -> Self {
        let (owners, leaving) = (HashMap::new(), Vec::new());
        let filter = unwaiting(filter).inspect_err(|why| warn!(%why, "no filter")).ok();
        let (logins, unasked) = (Some(logins), Instant::now());
        Self { zygote, control, logins, unasked, filter, bounds, owners, leaving, draining: false }
    }

    /// Serves until `up` is gone.
    pub(super) fn serve(mut self) -> io::Result<()> {
        loop {
            for ready in self.wait()? {
                let goes_on = match ready {
                    Ready::Control => self.control()?,
                    Ready::Logins => {
                        self.login();
                        true
                    }
                    Ready::Filter => {
                        self.filter();
                        true
                    }
                    Ready::Owner(mailbox) => {
                        self.owner(mailbox);
                        true
                    }
                    Ready::Ended => {
                        self.reap();
                        true
                    }
                };
                if !goes_on {
                    return Ok(());
                }
            }
            if self.patience() == Some(Duration::ZERO) {
                return Err(io::Error::other("`imapd-login` has closed its edge, and there is no new one"));
            }
        }
    }

    fn wait(&self) -> io::Result<Vec<Ready>> {
        let mut who = vec![Ready::Control];
        let mut fds = vec![PollFd::new(&self.control, PollFlags::IN)];
        if let Some(logins) = &self.logins {
            who.push(Ready::Logins);
            fds.push(PollFd::new(logins, PollFlags::IN));
        }
        if let Some(filter) = &self.filter {
            let waits = self.owners.values().any(|household| !household.filtered);
            who.push(Ready::Filter);
            fds.push(PollFd::new(filter, if waits { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN }));
        }
        for (mailbox, household) in &self.owners {
            who.push(Ready::Owner(*mailbox));
            fds.push(PollFd::new(&household.edge, PollFlags::IN));
        }
        for process in &self.leaving {
            who.push(Ready::Ended);
            fds.push(PollFd::new(&process.pidfd, PollFlags::IN));
        }
        let patience = self
            .patience()
            .map(|left| Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() });
        rustix::io::retry_on_intr(|| poll(&mut fds, patience.as_ref()))?;
        Ok(who.into_iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty()).map(|(who, _)| who).collect())
    }

    /// What is left of the wait for a new edge from `login`.
    fn patience(&self) -> Option<Duration> {
        let waits = self.logins.is_none() && !self.draining;
        waits.then(|| NEW_EDGE.saturating_sub(self.unasked.elapsed()))
    }

    /// News from `up`; `false` at its end.
    fn control(&mut self) -> io::Result<bool> {
        let (news, with) = match self.control.recv::<Control>() {
            Ok(news) => news,
            Err(EdgeError::Closed) => return Ok(false),
            Err(error) => return Err(io::Error::other(error)),
        };
        match (news, with.into_iter().next()) {
            (Control::Edge(EdgeName::Owners), Some(edge)) => self.logins = Some(edge.into()),
            (Control::Edge(EdgeName::Zygote), Some(edge)) => self.renew_filter(edge.into()),
            (Control::Drain, _) => {
                self.draining = true;
                self.tell_all(&ToOwner::Drain);
            }
            _ => {}
        }
        Ok(true)
    }

    fn renew_filter(&mut self, edge: Edge) {
        self.filter = unwaiting(edge).inspect_err(|why| warn!(%why, "no filter")).ok();
        self.owners.values_mut().for_each(|household| household.filtered = false);
        self.attach_all();
    }

    /// Owners that the present filter's zygote has not been told of. One that takes nothing now is tried again when it
    /// does.
    fn attach_all(&mut self) {
        let Some(filter) = &self.filter else { return };
        for household in self.owners.values_mut().filter(|household| !household.filtered) {
            match attach(filter) {
                Ok(theirs) => {
                    household.filtered = true;
                    // One that has died, or that has stopped reading, is noticed at its next login.
                    let _ = household.edge.send(&ToOwner::Zygote, &[theirs.as_fd()]);
                }
                Err(EdgeError::Io(why)) if why.kind() == io::ErrorKind::WouldBlock => return,
                Err(why) => {
                    warn!(%why, "an owner has no filter");
                    self.filter = None;
                    return;
                }
            }
        }
    }

    /// What the filter's zygote answers needs no reader: an edge it does not want it closes, which its owner sees.
    fn filter(&mut self) {
        while let Some(filter) = &self.filter {
            match filter.recv::<Answer<protocol::Reply, protocol::Event>>() {
                Ok(_) => {}
                Err(EdgeError::Io(why)) if why.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.filter = None,
            }
        }
        self.attach_all();
    }

    fn tell_all(&self, news: &ToOwner) {
        for household in self.owners.values() {
            // One that has just died is noticed by its edge.
            let _ = household.edge.send(news, &[]);
        }
    }

    fn login(&mut self) {
        let Some(logins) = &self.logins else { return };
        match logins.recv::<Handover>() {
            Ok((handover, with)) if with.len() == handover::DESCRIPTORS => self.hand_over(&handover, &with),
            Ok(_) => warn!("a login without its descriptors"),
            Err(EdgeError::Io(why)) => warn!(%why, "a login could not be received"),
            // A `login` that sends what is none is dropped like one that died; `up` starts another.
            Err(_) => (self.logins, self.unasked) = (None, Instant::now()),
        }
    }

    fn hand_over(&mut self, handover: &Handover, with: &[OwnedFd]) {
        let mailbox = handover.mailbox();
        let with: Vec<_> = with.iter().map(AsFd::as_fd).collect();
        for _ in 0..2 {
            let household = match self.household(mailbox) {
                Ok(household) => household,
                Err(why) => {
                    // The stream closes with its descriptor; the client will try again.
                    warn!(%mailbox, %why, "no process for a login");
                    return;
                }
            };
            if household.edge.send(&ToOwner::Session(*handover), &with).is_ok() {
                household.sent += 1;
                if self.draining {
                    // This owner may be a fresh one, which has not heard it.
                    self.tell_all(&ToOwner::Drain);
                }
                return;
            }
            // It died a moment ago, or has stopped reading.
            self.let_go(mailbox);
        }
    }

    /// Closes an owner's edge, which ends it.
    fn let_go(&mut self, mailbox: MailboxId) {
        if let Some(household) = self.owners.remove(&mailbox) {
            self.leaving.push(household.process);
        }
    }

    /// Takes notice of the dead, or they would stay in the process table.
    fn reap(&mut self) {
        self.leaving.retain(|process| {
            let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let ended = rustix::process::waitid(WaitId::PidFd(process.pidfd.as_fd()), how);
            matches!(ended, Ok(None) | Err(rustix::io::Errno::INTR))
        });
    }

    fn household(&mut self, mailbox: MailboxId) -> io::Result<&mut Household> {
        if !self.owners.contains_key(&mailbox) {
            if self.owners.len() >= limits::OWNERS {
                return Err(io::Error::other("too many mailboxes are logged in"));
            }
            let household = self.make(mailbox)?;
            self.owners.insert(mailbox, household);
        }
        self.owners.get_mut(&mailbox).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn make(&self, mailbox: MailboxId) -> io::Result<Household> {
        let (edge, theirs) = Edge::pair()?;
        let edge = unwaiting(edge)?;
        // Without a filter mail is still read; the owner gets one when its zygote is there again.
        let filter = match self.filter.as_ref().map(attach) {
            Some(Ok(filter)) => Some(filter),
            _ => {
                warn!(%mailbox, "an owner begins without a filter");
                None
            }
        };
        let filtered = filter.is_some();
        let descriptors = [Some(theirs.into()), filter.map(OwnedFd::from)].into_iter().flatten().collect();
        let bounds = self.bounds;
        let main = |descriptors| process::run(mailbox, bounds, descriptors);
        let process = self.zygote.make(Role::Owner, descriptors, main)?;
        info!(%mailbox, "an owner begins");
        Ok(Household { edge, sent: 0, filtered, process })
    }

    fn owner(&mut self, mailbox: MailboxId) {
        let Some(household) = self.owners.get(&mailbox) else { return };
        match household.edge.recv::<FromOwner>() {
            // A login that is on its way keeps it.
            Ok((FromOwner::Unused { taken }, _)) if taken < household.sent => {}
            Ok((FromOwner::Unused { .. }, _)) => {
                info!(%mailbox, "an owner ends");
                self.let_go(mailbox);
            }
            Err(EdgeError::Io(why)) if why.kind() == io::ErrorKind::WouldBlock => {}
            Err(why) => {
                warn!(%mailbox, %why, "an owner is gone");
                self.let_go(mailbox);
            }
        }
    }
}

/// A new client edge of the filter's zygote, without waiting for its answer.
fn attach(filter: &Edge) -> Result<Edge, EdgeError> {
    let (ours, theirs) = Edge::pair().map_err(EdgeError::Io)?;
    let request = Numbered { number: 0, body: protocol::Request::Attach };
    filter.send(&request, &[theirs.as_fd()])?;
    Ok(ours)
}

/// Sending and receiving on it never wait.
fn unwaiting(edge: Edge) -> io::Result<Edge> {
    rustix::io::ioctl_fionbio(&edge, true)?;
    Ok(edge)
}
