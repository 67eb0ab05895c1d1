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
use crate::edge::{Call, Caller, Edge};
use crate::memory;
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
    /// Its one socket. What is written there it reads as soon as it lives.
    pub(super) socket: UnixStream,
    /// Whether it lives already.
    pub(super) birth: Birth,
}

/// What is known of a worker's beginning.
#[derive(Debug)]
pub(super) struct Birth {
    link: Arc<Link>,
    told: Told,
}

#[derive(Debug)]
enum Told {
    /// Its zygote has not answered yet.
    Nothing(Call<Reply>),
    /// It was made. Readable once it is dead.
    Made(OwnedFd),
    /// Its zygote has gone, or refused it: there is nothing to wait for.
    Never,
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
            // Its letter is written while it is being made.
            None => self.begin(READY_LARGEST, None).await,
        };
        self.refill_behind();
        taken
    }

    /// A waiting worker that is alive: one that was killed while it waited must not cost a letter.
    fn living(&self) -> Option<Worker> {
        let mut state = self.lock();
        std::iter::from_fn(|| state.ready.pop_front()).find(|worker| !worker.is_dead())
    }

    /// A worker made now.
    pub(super) async fn make(&self, largest: u64, file: Option<&OwnedFd>) -> Result<Worker, Unfiltered> {
        loop {
            let mut worker = self.begin(largest, file).await?;
            match worker.birth.wait().await {
                Ok(()) => return Ok(worker),
                Err(Unmade::Refused(error)) => return Err(Unfiltered::NoWorker(error)),
                Err(Unmade::Gone) => self.forget(&worker.birth.link),
            }
        }
    }

    /// A worker that is being made. Waits for a zygote if there is none, as long as the caller likes.
    async fn begin(&self, largest: u64, file: Option<&OwnedFd>) -> Result<Worker, Unfiltered> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if let Some(link) = self.usable() {
                match self.ask(&link, largest, false, file).await {
                    Ok(worker) => return Ok(worker),
                    Err(Unmade::Refused(error)) => return Err(Unfiltered::NoWorker(error)),
                    Err(Unmade::Gone) => self.forget(&link),
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
        let made = async {
            let mut worker = pool.ask(&link, READY_LARGEST, pool.limits.ready > 0, None).await?;
            worker.birth.wait().await.map(|()| worker)
        };
        match made.await {
            Ok(worker) => {
                let mut state = pool.lock();
                let present = state.link.as_ref().is_some_and(|present| Arc::ptr_eq(present, &link));
                if present {
                    state.ready.push_back(worker);
                }
            }
            // The next letter asks again and is told.
            Err(Unmade::Refused(error)) => tracing::warn!(%error, "a filter worker could not be made in advance"),
            Err(Unmade::Gone) => pool.forget(&link),
        }
    }

    /// Asks for a worker, whose birth can be waited for later.
    async fn ask(
        &self,
        link: &Arc<Link>,
        largest: u64,
        warm: bool,
        brought: Option<&OwnedFd>,
    ) -> Result<Worker, Unmade> {
        let seconds = u32::try_from(self.limits.deadline.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        let spawn = Spawn { largest: largest.max(1), seconds, warm };
        let own = if brought.is_none() { Some(memory::empty_file()?) } else { None };
        let file = brought.or(own.as_ref()).ok_or(io::ErrorKind::InvalidInput)?;
        // The worker waits at its end, we never at ours.
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let ours = UnixStream::from_std(ours)?;
        let with = [file.as_fd(), theirs.as_fd()];
        let call = link.caller.begin(Request::Spawn(spawn), &with).await.map_err(|_| Unmade::Gone)?;
        let birth = Birth { link: Arc::clone(link), told: Told::Nothing(call) };
        Ok(Worker { file: own, socket: ours, birth })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no worker.
#[derive(Debug)]
pub(super) enum Unmade {
    /// By the kernel.
    Refused(io::Error),
    /// There is no zygote any more.
    Gone,
}

impl From<io::Error> for Unmade {
    fn from(error: io::Error) -> Self {
        Self::Refused(error)
    }
}

impl From<io::ErrorKind> for Unmade {
    fn from(kind: io::ErrorKind) -> Self {
        Self::Refused(kind.into())
    }
}

impl Birth {
    /// Waits until it lives.
    pub(super) async fn wait(&mut self) -> Result<(), Unmade> {
        let call = match std::mem::replace(&mut self.told, Told::Never) {
            Told::Nothing(call) => call,
            told @ Told::Made(_) => {
                self.told = told;
                return Ok(());
            }
            Told::Never => return Err(Unmade::Gone),
        };
        match call.reply().await {
            Err(_) => Err(Unmade::Gone),
            Ok((Reply::Refused(errno), _)) => Err(Unmade::Refused(io::Error::from_raw_os_error(errno))),
            Ok((Reply::Attached, _)) => Err(io::ErrorKind::InvalidData.into()),
            Ok((Reply::Worker, with)) => {
                let pidfd = with.into_iter().next().ok_or(io::ErrorKind::InvalidData)?;
                self.told = Told::Made(pidfd);
                Ok(())
            }
        }
    }

    /// Its number, once it lives; readable when it is dead.
    pub(super) async fn pidfd(mut self) -> Option<OwnedFd> {
        self.wait().await.ok()?;
        match self.told {
            Told::Made(pidfd) => Some(pidfd),
            Told::Nothing(_) | Told::Never => None,
        }
    }

    /// Whether its zygote is gone: its death then says nothing about its letter. One that was replaced waits for its
    /// workers.
    pub(super) async fn orphaned(&self) -> bool {
        tokio::time::timeout(NOTICE, self.link.caller.closed()).await.is_ok()
    }
}

/// One worker that is coming, counted until it has come or will not.
struct Coming(Arc<Pool>);

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.lock().coming -= 1;
    }
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
        let Told::Made(pidfd) = &self.birth.told else { return false };
        let mut died = [PollFd::new(pidfd, PollFlags::IN)];
        rustix::event::poll(&mut died, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}
