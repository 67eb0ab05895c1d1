//! The link to the present zygote, and the workers that wait ready.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

use super::{FilterLimits, Unfiltered};
use crate::edge::{Caller, Edge};
use crate::protocol::{Event, Reply, Request, Spawn, limits::READY_LARGEST};

/// The edge to one zygote. Workers hold it: a zygote that has been replaced lives until the last of them is gone.
#[derive(Debug)]
pub(super) struct Link {
    caller: Caller<Request, Reply, Event>,
}

/// Time in which a letter is on the disk, mostly.
const BEHIND: Duration = Duration::from_millis(5);

/// Time in which the end of a zygote is noticed after the end of its worker.
const NOTICE: Duration = Duration::from_millis(50);

/// A worker that has done nothing yet.
#[derive(Debug)]
pub(super) struct Worker {
    /// The message's memory file, writable; the client's own if it brought one.
    pub(super) file: Option<OwnedFd>,
    /// Its one socket.
    pub(super) socket: UnixStream,
    /// Readable once it is dead.
    pub(super) pidfd: OwnedFd,
    link: Arc<Link>,
}

#[derive(Debug)]
struct State {
    link: Option<Arc<Link>>,
    ready: VecDeque<Worker>,
    /// Workers asked for and not yet come.
    coming: usize,
}

#[derive(Debug)]
pub(super) struct Pool {
    limits: FilterLimits,
    state: Mutex<State>,
    /// Counts changes of the link, for those who wait for one.
    changed: watch::Sender<u64>,
}

impl Pool {
    pub(super) fn new(zygote: Edge, limits: FilterLimits) -> io::Result<Arc<Self>> {
        let state = State { link: None, ready: VecDeque::new(), coming: 0 };
        let pool = Arc::new(Self { limits, state: Mutex::new(state), changed: watch::Sender::new(0) });
        pool.replace(zygote)?;
        Ok(pool)
    }

    pub(super) fn replace(self: &Arc<Self>, zygote: Edge) -> io::Result<()> {
        let (events, news) = mpsc::channel(4);
        let link = Arc::new(Link { caller: Caller::start(zygote, events)? });
        {
            let mut state = self.lock();
            state.link = Some(Arc::clone(&link));
            state.ready.clear();
        }
        self.changed.send_modify(|count| *count += 1);
        tokio::spawn(watch_link(Arc::downgrade(self), Arc::downgrade(&link), news));
        self.refill();
        Ok(())
    }

    /// A waiting worker, or one made now.
    pub(super) async fn take(self: &Arc<Self>) -> Result<Worker, Unfiltered> {
        let taken = match self.living() {
            Some(worker) => Ok(worker),
            None => self.make(READY_LARGEST, None).await,
        };
        self.refill_behind();
        taken
    }

    /// A waiting worker that is alive: one that was killed while it waited must not cost a letter.
    fn living(&self) -> Option<Worker> {
        let mut state = self.lock();
        std::iter::from_fn(|| state.ready.pop_front()).find(|worker| !worker.is_dead())
    }

    /// A worker made now. Waits for a zygote if there is none, as long as the caller likes.
    pub(super) async fn make(&self, largest: u64, file: Option<&OwnedFd>) -> Result<Worker, Unfiltered> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if let Some(link) = self.usable() {
                match self.ask(&link, largest, false, file).await {
                    Asked::Made(worker) => return Ok(worker),
                    Asked::Refused(error) => return Err(Unfiltered::NoWorker(error)),
                    Asked::Gone => self.forget(&link),
                }
                continue;
            }
            if changed.changed().await.is_err() {
                return Err(Unfiltered::NoWorker(io::ErrorKind::NotConnected.into()));
            }
        }
    }

    fn usable(&self) -> Option<Arc<Link>> {
        self.lock().link.clone()
    }

    /// Drops a link that has proven dead, and what waits behind it.
    fn forget(&self, link: &Arc<Link>) {
        let mut state = self.lock();
        if state.link.as_ref().is_some_and(|present| Arc::ptr_eq(present, link)) {
            state.link = None;
            state.ready.clear();
        }
    }

    /// Making a worker costs a millisecond of processor, which the letter that took one needs itself, on two cores for
    /// its sealing and storing: the next is made once that is over, unless few are left.
    fn refill_behind(self: &Arc<Self>) {
        if self.limits.ready == 0 {
            return;
        }
        let left = {
            let state = self.lock();
            state.ready.len() + state.coming
        };
        if left < self.limits.ready / 2 {
            return self.refill();
        }
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(BEHIND).await;
            if let Some(pool) = pool.upgrade() {
                pool.refill();
            }
        });
    }

    /// Asks for as many workers as are missing, in the background.
    fn refill(self: &Arc<Self>) {
        let Some(link) = self.usable() else { return };
        let missing = {
            let mut state = self.lock();
            let missing = self.limits.ready.saturating_sub(state.ready.len() + state.coming);
            state.coming += missing;
            missing
        };
        for _ in 0..missing {
            tokio::spawn(Self::one_more(Coming(Arc::clone(self)), Arc::clone(&link)));
        }
    }

    async fn one_more(coming: Coming, link: Arc<Link>) {
        let pool = &coming.0;
        match pool.ask(&link, READY_LARGEST, pool.limits.ready > 0, None).await {
            Asked::Made(worker) => {
                let mut state = pool.lock();
                let present = state.link.as_ref().is_some_and(|present| Arc::ptr_eq(present, &link));
                if present {
                    state.ready.push_back(worker);
                }
            }
            // The next letter asks again and is told.
            Asked::Refused(error) => tracing::warn!(%error, "a filter worker could not be made in advance"),
            Asked::Gone => pool.forget(&link),
        }
    }

    async fn ask(&self, link: &Arc<Link>, largest: u64, warm: bool, file: Option<&OwnedFd>) -> Asked {
        let seconds = u32::try_from(self.limits.deadline.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        let spawn = Spawn { largest: largest.max(1), seconds, warm };
        let with: Vec<_> = file.iter().map(|file| file.as_fd()).collect();
        match link.caller.call(Request::Spawn(spawn), &with).await {
            Err(_) => Asked::Gone,
            Ok((Reply::Refused(errno), _)) => Asked::Refused(io::Error::from_raw_os_error(errno)),
            Ok((Reply::Attached, _)) => Asked::Refused(io::ErrorKind::InvalidData.into()),
            Ok((Reply::Worker, fds)) => match worker(fds, file.is_none(), link) {
                Ok(worker) => Asked::Made(worker),
                Err(error) => Asked::Refused(error),
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of asking for a worker.
enum Asked {
    Made(Worker),
    Refused(io::Error),
    Gone,
}

/// One worker that is coming, counted until it has come or will not.
struct Coming(Arc<Pool>);

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.lock().coming -= 1;
    }
}

fn worker(fds: Vec<OwnedFd>, with_file: bool, link: &Arc<Link>) -> io::Result<Worker> {
    let mut fds = fds.into_iter();
    let mut next = || fds.next().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData));
    let file = if with_file { Some(next()?) } else { None };
    let (socket, pidfd) = (std::os::unix::net::UnixStream::from(next()?), next()?);
    socket.set_nonblocking(true)?;
    Ok(Worker { file, socket: UnixStream::from_std(socket)?, pidfd, link: Arc::clone(link) })
}

/// Hears that a zygote is gone.
async fn watch_link(pool: std::sync::Weak<Pool>, link: std::sync::Weak<Link>, mut news: mpsc::Receiver<Event>) {
    // The sender lives in the link's reader: the channel ends with the zygote or with the link.
    while news.recv().await.is_some() {}
    if let (Some(pool), Some(link)) = (pool.upgrade(), link.upgrade()) {
        pool.forget(&link);
    }
}

impl Worker {
    fn is_dead(&self) -> bool {
        let mut died = [PollFd::new(&self.pidfd, PollFlags::IN)];
        rustix::event::poll(&mut died, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Whether its zygote is gone: its death then says nothing about its letter. One that was replaced waits for its
    /// workers.
    pub(super) async fn orphaned(&self) -> bool {
        tokio::time::timeout(NOTICE, self.link.caller.closed()).await.is_ok()
    }
}
