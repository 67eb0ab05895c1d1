//! What goes on around a connection beside its far server: others wait for their turn, and the admin may have kept back what
//! it is for.

use std::convert::Infallible;
use std::future::{self, Future};
use std::sync::{Arc, Mutex, PoisonError};

use spool::edges::outbox::Outbox;
use spool::edges::outbox::turns::{Turn, Turns};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::engine::Courier;
use super::limits;
use super::reach::World;

/// What a [`Link`](super::link::Link) asks while it works.
pub trait Around: Sync {
    /// Whether the letter's text may begin to go out.
    fn may_begin(&self) -> impl Future<Output = bool> + Send;
    /// Returns when the far server has let us wait for long enough, for others wait behind it.
    fn has_had_its_time(&self) -> impl Future<Output = ()> + Send;
    /// What it takes to wait for the answer to a whole letter without keeping others from their turn: to hang up then would
    /// send the letter twice.
    fn stands_aside(&self) -> impl Future<Output = Infallible> + Send;
}

/// Nothing.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

impl Around for Alone {
    async fn may_begin(&self) -> bool {
        true
    }
    async fn has_had_its_time(&self) {
        future::pending().await
    }
    async fn stands_aside(&self) -> Infallible {
        future::pending().await
    }
}

/// A place among the connections that there may be at a time.
#[derive(Debug, Default)]
pub struct Seat(Mutex<Option<OwnedSemaphorePermit>>, Mutex<Option<OwnedSemaphorePermit>>);

impl Seat {
    /// That one.
    #[must_use]
    pub const fn new(place: OwnedSemaphorePermit) -> Self {
        Self(Mutex::new(Some(place)), Mutex::new(None))
    }

    /// Whether somebody else may have it by now.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        lock(&self.1).is_some()
    }

    /// Gives it up for one aside, if there is one.
    fn give_up(&self, aside: &Arc<Semaphore>) -> bool {
        let Ok(one) = aside.clone().try_acquire_owned() else { return false };
        *lock(&self.1) = Some(one);
        lock(&self.0).take().is_some()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Those who wait for the answer to a whole letter, and have given up their places.
#[derive(Debug)]
pub struct Aside {
    written: Arc<Semaphore>,
    passed_on: Arc<Semaphore>,
    way_back: Arc<Semaphore>,
    /// There is a place again.
    pub freed: Notify,
}

impl Default for Aside {
    fn default() -> Self {
        let places = |number| Arc::new(Semaphore::new(number));
        Self {
            written: places(limits::ASIDE),
            passed_on: places(limits::ASIDE_OF_STRANGERS),
            way_back: places(limits::ASIDE_OF_STRANGERS),
            freed: Notify::new(),
        }
    }
}

impl Aside {
    const fn places(&self, turn: Turn) -> &Arc<Semaphore> {
        match turn {
            Turn::Written => &self.written,
            Turn::PassedOn => &self.passed_on,
            Turn::WayBack => &self.way_back,
        }
    }
}

/// A letter that has its turn, until it ends or steps aside.
#[derive(Debug)]
pub struct InTurn {
    turn: Turn,
    turns: Mutex<Option<Arc<watch::Sender<Turns>>>>,
}

impl InTurn {
    /// It begins.
    #[must_use]
    pub fn begin(turn: Turn, turns: Arc<watch::Sender<Turns>>) -> Self {
        turns.send_modify(|turns| turns.begun(turn));
        Self { turn, turns: Mutex::new(Some(turns)) }
    }

    /// Among whom.
    #[must_use]
    pub const fn turn(&self) -> Turn {
        self.turn
    }

    fn end(&self) {
        if let Some(turns) = lock(&self.turns).take() {
            turns.send_modify(|turns| turns.ended(self.turn));
        }
    }
}

impl Drop for InTurn {
    fn drop(&mut self) {
        self.end();
    }
}

/// Around one lease.
#[derive(Debug)]
pub struct AroundLease<'a, W: World + Send + 'static> {
    /// The role.
    pub courier: &'a Courier<W>,
    /// The keeper.
    pub outbox: &'a Outbox,
    /// The lease.
    pub lease: u64,
    /// The connection's.
    pub seat: &'a Seat,
    /// The lease's.
    pub in_turn: &'a InTurn,
    /// Whether the role is to end.
    pub drain: &'a watch::Receiver<bool>,
}

impl<W: World + Send + Sync + 'static> Around for AroundLease<'_, W> {
    async fn may_begin(&self) -> bool {
        // Of a text that begins now the answer may come too late. A keeper that is gone has ended all of this.
        !*self.drain.borrow() && self.outbox.begin(self.lease).await.unwrap_or(false)
    }

    async fn has_had_its_time(&self) {
        self.courier.others_wait(limits::ANSWER_WHEN_BUSY, self.in_turn.turn()).await;
    }

    async fn stands_aside(&self) -> Infallible {
        let turn = self.in_turn.turn();
        self.courier.others_wait(limits::ANSWER_WHEN_BUSY, turn).await;
        if self.seat.give_up(self.courier.aside.places(turn)) {
            self.in_turn.end();
            // A keeper that is gone has ended all of this.
            let _ = self.outbox.aside(self.lease).await;
            self.courier.aside.freed.notify_one();
        }
        future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_up_once_and_only_for_one_aside() {
        let (places, aside) = (Arc::new(Semaphore::new(2)), Arc::new(Semaphore::new(1)));
        let seat = || Seat::new(places.clone().try_acquire_owned().unwrap());
        let (first, second) = (seat(), seat());
        assert!(first.give_up(&aside) && first.is_given_up());
        assert_eq!(places.available_permits(), 1);
        assert!(!second.give_up(&aside) && !second.is_given_up());
        drop(first);
        assert!(second.give_up(&aside));
        drop(second);
        assert_eq!((places.available_permits(), aside.available_permits()), (2, 1));
    }
}
