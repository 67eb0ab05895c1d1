//! One owner process: the sessions of one mailbox, in one thread; letters are opened on others.
//!
//! # What it reads from hostile hands
//! IMAP commands of one owner who has logged in; letters, which strangers wrote, only through summaries that are
//! checked and bytes that are passed on unread.
//! # What it holds
//! The identities of one mailbox, in locked memory; for each session a keeper's socket bound to that mailbox.
//! # What it can never do
//! See another mailbox, a file, a network, another process.
//! # RFCs
//! 3501, 2177, 2342, 2971, 3691, 4315, 4731, 5161, 5258, 5530, 5819, 6154, 6851, 7888, 7889, 8438, 9208.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use filter_sandbox::edge::{AsyncEdge, Edge};
use filter_sandbox::filter::{Filter, FilterLimits};
use spool::keys::Identities;
use spool::names::MailboxId;
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use tracing::{error, warn};

use super::{Bounds, Owner};
use crate::client::Client;
use crate::handover::{FromOwner, Handover, ToOwner};
use crate::peers::Keeper;
use crate::session::Session;
use crate::{driver, files, limits};

/// The process, already confined. Descriptors: the edge to the zygote and, when it is there, the edge to the filter's
/// zygote.
pub(super) fn run(mailbox: MailboxId, bounds: Bounds, descriptors: Vec<OwnedFd>) -> ExitCode {
    let mut descriptors = descriptors.into_iter();
    let Some(edge) = descriptors.next() else { return ExitCode::FAILURE };
    match serve(mailbox, bounds, edge.into(), descriptors.next().map(Edge::from)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            error!(%mailbox, %why, "an owner cannot go on");
            ExitCode::FAILURE
        }
    }
}

/// Serves the sessions that come over `edge` until it closes.
///
/// # Errors
/// The kernel's.
pub fn serve(mailbox: MailboxId, bounds: Bounds, edge: Edge, filter: Option<Edge>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(limits::THREADS)
        .thread_keep_alive(limits::THREAD_KEPT)
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let edge = AsyncEdge::new(edge)?;
        let filter = filter.and_then(|filter| connect(filter, bounds));
        let (sessions, drain) = (JoinSet::new(), watch::channel(false).0);
        Desk { mailbox, bounds, edge, filter, owner: None, sessions, taken: 0, drain }.serve().await;
        Ok(())
    })
}

fn connect(edge: Edge, bounds: Bounds) -> Option<Arc<Filter>> {
    // None waits ready: an owner examines a letter only when one is appended.
    let limits = FilterLimits {
        ready: 0,
        concurrent: limits::EXAMINED_AT_ONCE,
        deadline: limits::EXAMINE,
        largest: bounds.largest as usize,
    };
    Filter::new(edge, limits).inspect_err(|why| warn!(%why, "no filter: letters cannot be appended")).ok()
}

/// Takes logins in.
struct Desk {
    mailbox: MailboxId,
    bounds: Bounds,
    edge: AsyncEdge,
    filter: Option<Arc<Filter>>,
    /// From the first login on.
    owner: Option<Rc<Owner>>,
    sessions: JoinSet<()>,
    taken: u64,
    drain: watch::Sender<bool>,
}

impl Desk {
    async fn serve(mut self) {
        loop {
            tokio::select! {
                packet = self.edge.recv::<ToOwner>() => match packet {
                    Ok((news, with)) => self.hear(news, with).await,
                    // The zygote has let this process go, or is dead itself.
                    Err(_) => return,
                },
                Some(ended) = self.sessions.join_next() => {
                    if let Err(why) = ended {
                        error!(mailbox = %self.mailbox, %why, "a session broke");
                    }
                    self.offer_to_go().await;
                }
            }
        }
    }

    async fn hear(&mut self, news: ToOwner, with: Vec<OwnedFd>) {
        match news {
            ToOwner::Session(handover) => {
                self.taken += 1;
                if let Err(why) = self.begin(&handover, with) {
                    warn!(mailbox = %self.mailbox, session = handover.session(), %why, "a login came to nothing");
                }
                self.offer_to_go().await;
            }
            ToOwner::Zygote => {
                if let Some(edge) = with.into_iter().next() {
                    self.renew_filter(edge.into());
                }
            }
            ToOwner::Drain => {
                self.drain.send_replace(true);
            }
        }
    }

    /// The filter's zygote has been restarted, or is there for the first time.
    fn renew_filter(&mut self, edge: Edge) {
        if let Some(filter) = &self.filter {
            if let Err(why) = filter.replace(edge) {
                warn!(mailbox = %self.mailbox, %why, "no filter: letters cannot be appended");
            }
            return;
        }
        self.filter = connect(edge, self.bounds);
        if let Some(owner) = &self.owner {
            owner.set_filter(self.filter.clone());
        }
    }

    fn begin(&mut self, handover: &Handover, with: Vec<OwnedFd>) -> io::Result<()> {
        let Ok([socket, stream, identities]) = <[_; 3]>::try_from(with) else {
            return Err(io::Error::other("descriptors are missing"));
        };
        if handover.mailbox() != self.mailbox {
            return Err(io::Error::other("a login of another mailbox"));
        }
        let mut client = Client::new(stream.into())?;
        if self.sessions.len() >= limits::SESSIONS_PER_OWNER {
            client.say("* BYE [LIMIT] Too many connections of this mailbox\r\n");
            self.sessions.spawn_local(async move {
                let _ = client.flush().await;
            });
            return Ok(());
        }
        let identities = Identities::from_bytes(&files::read(identities)?).map_err(io::Error::other)?;
        let owner = self.owner(identities)?;
        let session = Session::new(owner, Keeper::new(socket)?, client, handover.session(), handover.device());
        self.sessions.spawn_local(driver::run(session));
        Ok(())
    }

    fn owner(&mut self, identities: Identities) -> io::Result<Rc<Owner>> {
        if identities.mailbox() != self.mailbox {
            return Err(io::Error::other("identities of another mailbox"));
        }
        if let Some(owner) = &self.owner {
            let owner = owner.clone();
            let ours = owner.renew(identities);
            return ours.then_some(owner).ok_or_else(|| io::Error::other("identities that are not this mailbox's"));
        }
        let owner = Owner::new(identities, self.bounds, self.filter.clone(), self.drain.subscribe());
        self.owner = Some(owner.clone());
        Ok(owner)
    }

    /// With the last session gone, the identities go too.
    async fn offer_to_go(&mut self) {
        if self.sessions.is_empty() {
            self.owner = None;
            let _ = self.edge.send(&FromOwner::Unused { taken: self.taken }, &[]).await;
        }
    }
}
