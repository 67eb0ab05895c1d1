//! The courier's work: takes what is due from the keeper, as much at a time as there is room for, and gives each lease to
//! a [`trip`](super::trip). With a keeper that is gone everything under way ends: its leases are due again with the next,
//! and what was not acknowledged by a far server yet is sent once.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use filter_sandbox::filter::Filter;
use spool::edges::Down;
use spool::edges::outbox::turns::{Turn, Turns};
use spool::edges::outbox::{Event, Outbox};
use spool::keys::Identities;
use spool::srs::Rewriter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};
use wire::control::SigningKey;

use super::around::{Aside, InTurn, Seat};
use super::dkim::{Kind, Signers};
use super::idle::Idle;
use super::lanes::Lanes;
use super::limits;
use super::lost::Lost;
use super::memory::Memory;
use super::postmaster::Postmaster;
use super::reach::{self, World};
use super::trip::{Left, Ready, Trip};
use crate::peers::Keeper;

/// What the whole role shares.
pub struct Courier<W: World> {
    /// The outside.
    pub world: W,
    /// What is ours.
    pub house: reach::House,
    /// The domain of the postmaster that notices come from.
    pub domain: String,
    /// Domains that may get mail in clear, or `*`.
    pub clear_text: Vec<String>,
    /// Rewrites the senders of what aliases pass on.
    pub rewriter: Rewriter,
    /// Opens what waits.
    pub identities: Arc<Identities>,
    /// The strangers that look at notices.
    pub filter: Arc<Filter>,
    /// Room for letters in memory.
    pub memory: Memory,
    /// What the postmaster was told today.
    pub postmaster: Postmaster,
    signers: Mutex<HashMap<String, Arc<Signers>>>,
    lanes: Mutex<Lanes>,
    lost: Mutex<Lost>,
    rests: Mutex<BTreeSet<i64>>,
    connections: Arc<Semaphore>,
    /// Those through a proxy that carry what strangers sent.
    strangers_through: Arc<Semaphore>,
    /// See [`Self::jitter`].
    spread: RandomState,
    /// Who waits beside them.
    pub aside: Aside,
    /// Whether all of them are taken.
    busy: watch::Sender<bool>,
    /// What is on its way, as the keeper counts it.
    turns: Arc<watch::Sender<Turns>>,
    idle: Idle<Ready<W::Stream>>,
    /// One is held by each trip whose report the disk does not take.
    unrecorded: Arc<()>,
}

impl<W: World> std::fmt::Debug for Courier<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Courier").field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl<W: World + Send + 'static> Courier<W> {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        world: W,
        house: reach::House,
        (domain, clear_text): (String, Vec<String>),
        rewriter: Rewriter,
        identities: Identities,
        filter: Arc<Filter>,
        memory: Memory,
    ) -> Arc<Self> {
        Arc::new(Self {
            world,
            house,
            domain,
            clear_text,
            rewriter,
            identities: Arc::new(identities),
            filter,
            memory,
            postmaster: Postmaster::default(),
            signers: Mutex::default(),
            lanes: Mutex::default(),
            lost: Mutex::default(),
            rests: Mutex::default(),
            connections: Arc::new(Semaphore::new(limits::CONNECTIONS)),
            strangers_through: Arc::new(Semaphore::new(limits::STRANGERS_THROUGH)),
            spread: RandomState::new(),
            aside: Aside::default(),
            busy: watch::Sender::new(false),
            turns: Arc::new(watch::Sender::new(Turns::default())),
            idle: Idle::default(),
            unrecorded: Arc::default(),
        })
    }

    /// Signs with these keys from now on.
    pub fn sign_with(&self, keys: &[SigningKey]) {
        let domains: BTreeSet<String> = keys.iter().map(|key| key.domain.clone()).collect();
        let mut signers = HashMap::new();
        for domain in domains {
            let its = keys.iter().filter(|key| key.domain == domain).map(|key| {
                let kind = if key.rsa { Kind::Rsa } else { Kind::Ed25519 };
                (key.selector.as_str(), kind, key.der.as_slice())
            });
            let mut its: Vec<_> = its.collect();
            // RSA first: who reads only one signature reads the first.
            its.sort_by_key(|(_, kind, _)| *kind != Kind::Rsa);
            match Signers::new(&domain, &its) {
                Ok(made) => drop(signers.insert(domain, Arc::new(made))),
                Err(bad) => {
                    tracing::error!(domain, why = bad.0, "a signing key is of no use; letters leave without it")
                }
            }
        }
        *lock(&self.signers) = signers;
    }

    /// Who signs for a domain.
    pub fn signers(&self, domain: &str) -> Option<Arc<Signers>> {
        lock(&self.signers).get(domain).cloned()
    }

    /// How the destinations behave.
    pub fn lanes(&self) -> MutexGuard<'_, Lanes> {
        lock(&self.lanes)
    }

    /// Where letters were lost over their text.
    pub fn lost(&self) -> MutexGuard<'_, Lost> {
        lock(&self.lost)
    }

    /// A connection to that destination that has just been of use.
    pub fn reuse(&self, destination: &str) -> Option<Ready<W::Stream>> {
        self.idle.take(destination)
    }

    /// Keeps one for the next letter, and ends it when none comes.
    pub async fn keep_for_the_next(self: &Arc<Self>, destination: String, mut ready: Ready<W::Stream>) {
        ready.shrink();
        match self.idle.keep(&destination, ready) {
            Err(ready) => ready.close().await,
            Ok(number) => {
                let courier = self.clone();
                tokio::spawn(async move {
                    sleep(limits::LINGER).await;
                    if let Some(ready) = courier.idle.end(&destination, number) {
                        ready.close().await;
                    }
                });
            }
        }
    }

    /// Spreads attempts: of one destination all by the same, so that its letters stay in their order.
    pub fn jitter(&self, destination: &str) -> u64 {
        self.spread.hash_one(destination)
    }

    /// Returns when a connection that was begun now, and has not become ready in so much time, keeps others from theirs:
    /// dozens of far servers that say nothing would else hold up everybody's mail, or all that is passed on.
    pub async fn others_wait(&self, patience: Duration, turn: Turn) {
        sleep(patience).await;
        let (mut busy, mut turns) = (self.busy.subscribe(), self.turns.subscribe());
        tokio::select! {
            _ = busy.wait_for(|busy| *busy) => {}
            _ = turns.wait_for(|turns| turns.is_full(turn)) => {}
        }
    }

    /// It is that one's turn now.
    #[must_use]
    pub fn takes_turn(&self, turn: Turn) -> InTurn {
        InTurn::begin(turn, self.turns.clone())
    }

    /// One of those that carry through a proxy what strangers sent; `None`: it is one's own, or goes through none.
    ///
    /// # Errors
    /// All are taken, and stay so for long.
    pub async fn share_of_strangers(&self, turn: Turn) -> Result<Option<OwnedSemaphorePermit>, Elapsed> {
        if turn == Turn::Written || !self.world.is_through_proxy() {
            return Ok(None);
        }
        timeout(limits::OPENING_WHEN_BUSY, self.strangers_through.clone().acquire_owned()).await.map(Result::ok)
    }

    /// Says whether all connections are taken, or all that a proxy lets us have.
    pub fn set_busy(&self, busy: bool) {
        self.busy.send_if_modified(|was| std::mem::replace(was, busy) != busy);
    }

    /// Something may be due again then.
    pub fn look_again(&self, at: i64) {
        lock(&self.rests).insert(at);
    }

    /// Nothing new is leased while what this gives lives.
    #[must_use]
    pub fn hold(&self) -> Arc<()> {
        self.unrecorded.clone()
    }

    /// Whether somebody holds.
    #[must_use]
    pub fn is_held(&self) -> bool {
        Arc::strong_count(&self.unrecorded) > 1
    }

    /// Whether mail may go to that domain in clear.
    #[must_use]
    pub fn allows_clear_text(&self, domain: &str) -> bool {
        let under =
            |allowed: &str| domain == allowed || domain.strip_suffix(allowed).is_some_and(|head| head.ends_with('.'));
        self.clear_text.iter().any(|allowed| allowed == "*" || under(allowed))
    }

    /// Serves one keeper until it is gone, or the role is to end.
    pub async fn serve(
        self: &Arc<Self>,
        outbox: Arc<Outbox>,
        news: mpsc::Receiver<Event>,
        keeper: Keeper,
        mut drain: watch::Receiver<bool>,
    ) {
        let mut trips = JoinSet::new();
        let (heard, mut hurries) = watch::channel(0);
        // It takes what comes at once: whoever reads the edge must never wait for whoever waits for an answer there.
        tokio::spawn(collapse(news, heard));
        let mut woken = 0;
        let (mut asks, mut left) = (true, Left::Perhaps);
        while !*drain.borrow() {
            if std::mem::replace(&mut asks, true) {
                match self.send_off(&outbox, &keeper, &mut trips, &drain).await {
                    Ok(still) => left = still,
                    Err(Down) => break,
                }
            }
            self.set_busy(self.connections.available_permits() == 0 || self.world.is_full());
            tokio::select! {
                () = outbox.closed() => break,
                () = keeper.closed() => break,
                changed = hurries.changed() => match changed {
                    Ok(()) => {
                        let now = *hurries.borrow_and_update();
                        if std::mem::replace(&mut woken, now) != now {
                            self.lanes().wake();
                            self.postmaster.hurry();
                        }
                    }
                    Err(_) => break,
                },
                Some(ended) = trips.join_next(), if !trips.is_empty() => {
                    asks = left == Left::Perhaps || ended.unwrap_or(Left::Perhaps) == Left::Perhaps;
                }
                () = self.aside.freed.notified() => {}
                () = self.world.filled(), if !self.world.is_full() => {}
                () = sleep(self.until_next_look()) => {}
                _ = drain.changed() => {}
            }
        }
        if *drain.borrow() {
            let ended = async {
                while trips.join_next().await.is_some() {}
                self.part().await;
            };
            let _ = timeout(limits::DRAIN, ended).await;
        }
    }

    /// Says goodbye over every connection that was kept (RFC 5321 §4.1.1.10).
    pub async fn part(&self) {
        let mut closing: JoinSet<()> = self.idle.end_all().into_iter().map(Ready::close).collect();
        while closing.join_next().await.is_some() {}
    }

    /// Leases as much as there is room for; what is left that is due.
    async fn send_off(
        self: &Arc<Self>,
        outbox: &Arc<Outbox>,
        keeper: &Keeper,
        trips: &mut JoinSet<Left>,
        drain: &watch::Receiver<bool>,
    ) -> Result<Left, Down> {
        let mut left = Left::Perhaps;
        while !*drain.borrow()
            && !self.is_held()
            && let Ok(connection) = self.connections.clone().try_acquire_owned()
        {
            let per_destination = u16::try_from(limits::PER_DESTINATION).unwrap_or(u16::MAX);
            let Some((leased, file)) = outbox.lease(None, per_destination).await? else { break };
            let is_last = !leased.more;
            let trip = Trip {
                courier: self.clone(),
                outbox: outbox.clone(),
                keeper: keeper.clone(),
                drain: drain.clone(),
                seat: Seat::new(connection),
            };
            // A keeper that is gone has been noticed already.
            trips.spawn(async move { trip.run(leased, file).await.unwrap_or(Left::Perhaps) });
            if is_last {
                left = Left::Nothing;
                break;
            }
        }
        Ok(left)
    }

    fn until_next_look(&self) -> Duration {
        let now = wire::date::now();
        let mut rests = lock(&self.rests);
        while rests.first().is_some_and(|at| *at <= now) {
            rests.pop_first();
        }
        let next = rests.first().map_or(limits::LOOK, |at| (at - now).clamp(1, limits::LOOK));
        Duration::from_secs(next.unsigned_abs())
    }
}

/// However many: that there was something, and how often the admin said "now".
async fn collapse(mut news: mpsc::Receiver<Event>, heard: watch::Sender<u64>) {
    while let Some(event) = news.recv().await {
        heard.send_modify(|hurries| *hurries += u64::from(event == Event::Hurry));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn news_never_wait_for_who_hears_them() {
        let (says, news) = mpsc::channel(1);
        let (heard, mut hurries) = watch::channel(0);
        let collapsing = tokio::spawn(collapse(news, heard));
        let all = async {
            for event in [Event::Due, Event::Hurry].repeat(100) {
                says.send(event).await.unwrap();
            }
        };
        timeout(Duration::from_secs(20), all).await.expect("nobody listens yet");
        drop(says);
        collapsing.await.unwrap();
        assert!(hurries.changed().await.is_err() || *hurries.borrow() == 100);
        assert_eq!(*hurries.borrow(), 100);
    }
}
