//! Places at work, and who is next when all are taken: those who wait come in turn, each address's letters in the order
//! in which they came. Whoever sends much waits behind himself, and nobody is turned away because others wait. One address
//! never has all places, where there are two: letters whose workers hang hold theirs until the deadline.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Whom a letter comes from, as far as taking turns goes; `None` is one more.
pub(super) type Whose = Option<IpAddr>;

/// Letters of one address, the oldest first.
type Row = VecDeque<oneshot::Sender<Turn>>;

/// So many places.
#[derive(Debug)]
pub(super) struct Turns(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    /// Places that one address may have.
    most: usize,
    /// Who has how many.
    at_work: Vec<(Whose, usize)>,
    /// No row is empty; the first is next.
    rows: VecDeque<(Whose, Row)>,
}

/// A place, given on when dropped.
#[derive(Debug)]
pub(super) struct Turn(Option<(Arc<Turns>, Whose)>);

impl Turns {
    pub(super) fn new(places: usize) -> Arc<Self> {
        let free = places.max(1);
        let most = (free - free.div_ceil(4)).max(1);
        Arc::new(Self(Mutex::new(State { free, most, at_work: Vec::new(), rows: VecDeque::new() })))
    }

    /// A place, when it is this one's turn; `None` only when the house ends.
    pub(super) async fn take(self: &Arc<Self>, whose: Whose) -> Option<Turn> {
        let turn = {
            let mut state = self.lock();
            if state.may_begin(whose) {
                state.begin(whose);
                return Some(Turn(Some((Arc::clone(self), whose))));
            }
            state.wait(whose)
        };
        turn.await.ok()
    }

    /// Gives what is free to the next who still wait and may have it.
    fn give(self: &Arc<Self>, mut from: Whose) {
        loop {
            let next = {
                let mut state = self.lock();
                state.end(from);
                state.next()
            };
            let Some((whose, next)) = next else { return };
            match next.send(Turn(Some((Arc::clone(self), whose)))) {
                Ok(()) => return,
                // Nobody waits there any more. It must not give itself on, or this would be a recursion.
                Err(mut unused) => drop(unused.0.take()),
            }
            from = whose;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has(&self, whose: Whose) -> usize {
        self.at_work.iter().find(|(other, _)| *other == whose).map_or(0, |(_, count)| *count)
    }

    fn may_begin(&self, whose: Whose) -> bool {
        self.free > 0 && self.has(whose) < self.most
    }

    fn begin(&mut self, whose: Whose) {
        self.free -= 1;
        match self.at_work.iter_mut().find(|(other, _)| *other == whose) {
            Some((_, count)) => *count += 1,
            None => self.at_work.push((whose, 1)),
        }
    }

    fn end(&mut self, whose: Whose) {
        self.free += 1;
        let Some(place) = self.at_work.iter().position(|(other, _)| *other == whose) else { return };
        self.at_work[place].1 -= 1;
        if self.at_work[place].1 == 0 {
            self.at_work.swap_remove(place);
        }
    }

    fn wait(&mut self, whose: Whose) -> oneshot::Receiver<Turn> {
        let (sender, turn) = oneshot::channel();
        match self.rows.iter_mut().find(|(other, _)| *other == whose) {
            Some((_, row)) => {
                // Those who waited as long as they would.
                row.retain(|waiting| !waiting.is_closed());
                row.push_back(sender);
            }
            None => self.rows.push_back((whose, Row::from([sender]))),
        }
        turn
    }

    /// Has a place from now on.
    fn next(&mut self) -> Option<(Whose, oneshot::Sender<Turn>)> {
        let place = self.rows.iter().position(|(whose, _)| self.may_begin(*whose))?;
        let (whose, mut row) = self.rows.remove(place)?;
        let next = row.pop_front()?;
        if !row.is_empty() {
            self.rows.push_back((whose, row));
        }
        self.begin(whose);
        Some((whose, next))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some((turns, whose)) = self.0.take() {
            turns.give(whose);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Whose {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    /// Begins to wait; only then does it come back.
    async fn waiting(turns: &Arc<Turns>, whose: Whose) -> tokio::task::JoinHandle<Turn> {
        let turns = Arc::clone(turns);
        let waiting = tokio::spawn(async move { turns.take(whose).await.unwrap() });
        tokio::task::yield_now().await;
        waiting
    }

    #[tokio::test]
    async fn who_has_many_waits_behind_himself() {
        let turns = Turns::new(1);
        let mut turn = turns.take(address(1)).await.unwrap();
        let mut rows = Vec::new();
        for whose in [1, 1, 1, 1, 2, 3, 2] {
            rows.push((whose, waiting(&turns, address(whose)).await));
        }
        let mut order = Vec::new();
        while !rows.is_empty() {
            drop(turn);
            tokio::task::yield_now().await;
            let ready: Vec<usize> = (0..rows.len()).filter(|at| rows[*at].1.is_finished()).collect();
            assert_eq!(ready.len(), 1, "one place, one at work");
            let (whose, next) = rows.remove(ready[0]);
            order.push(whose);
            turn = next.await.unwrap();
        }
        assert_eq!(order, [1, 2, 3, 1, 2, 1, 1]);
    }

    #[tokio::test]
    async fn one_address_never_has_all_places() {
        let turns = Turns::new(8);
        let mut hanging = Vec::new();
        for _ in 0..6 {
            hanging.push(turns.take(address(1)).await.unwrap());
        }
        let seventh = waiting(&turns, address(1)).await;
        let others = [turns.take(address(2)).await.unwrap(), turns.take(None).await.unwrap()];
        drop(others);
        tokio::task::yield_now().await;
        assert!(!seventh.is_finished(), "though two are free");
        hanging.pop();
        drop(seventh.await.unwrap());
        drop(hanging);
        let state = turns.lock();
        assert_eq!((state.free, state.at_work.len(), state.rows.len()), (8, 0, 0));
    }

    #[tokio::test]
    async fn of_two_places_one_is_for_others() {
        let turns = Turns::new(2);
        let hangs = turns.take(address(1)).await.unwrap();
        let next = waiting(&turns, address(1)).await;
        drop(turns.take(address(2)).await.unwrap());
        tokio::task::yield_now().await;
        assert!(!next.is_finished());
        drop(hangs);
        drop(next.await.unwrap());
        drop(Turns::new(1).take(None).await.unwrap());
    }

    #[tokio::test]
    async fn who_has_gone_keeps_no_place() {
        let turns = Turns::new(2);
        let held = [turns.take(None).await.unwrap(), turns.take(address(9)).await.unwrap()];
        for _ in 0..10_000 {
            waiting(&turns, address(1)).await.abort();
        }
        let last = waiting(&turns, address(2)).await;
        tokio::task::yield_now().await;
        drop(held);
        drop(last.await.unwrap());
        let state = turns.lock();
        assert_eq!((state.free, state.rows.len()), (2, 0));
    }
}
