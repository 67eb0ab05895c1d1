//! Places at work, and who is next when all are taken: those who wait come in turn, each address's letters in the order
//! in which they came. Whoever sends much waits behind himself, and nobody is turned away because others wait.

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
    /// None while anybody waits.
    free: usize,
    /// No row is empty; the first is next.
    rows: VecDeque<(Whose, Row)>,
}

/// A place, given on when dropped.
#[derive(Debug)]
pub(super) struct Turn(Option<Arc<Turns>>);

impl Turns {
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { free: places.max(1), rows: VecDeque::new() })))
    }

    /// A place, when it is this one's turn; `None` only when the house ends.
    pub(super) async fn take(self: &Arc<Self>, whose: Whose) -> Option<Turn> {
        let turn = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Some(Turn(Some(Arc::clone(self))));
            }
            state.wait(whose)
        };
        turn.await.ok()
    }

    /// Gives a place to the next who still waits for one.
    fn give(self: Arc<Self>) {
        loop {
            let next = {
                let mut state = self.lock();
                let next = state.next();
                state.free += usize::from(next.is_none());
                next
            };
            let Some(next) = next else { return };
            match next.send(Turn(Some(Arc::clone(&self)))) {
                Ok(()) => return,
                // Nobody waits there any more. It must not give itself on, or this would be a recursion.
                Err(mut unused) => drop(unused.0.take()),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
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

    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let (whose, mut row) = self.rows.pop_front()?;
        let next = row.pop_front();
        if !row.is_empty() {
            self.rows.push_back((whose, row));
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.give();
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
    async fn who_has_gone_keeps_no_place() {
        let turns = Turns::new(2);
        let held = [turns.take(None).await.unwrap(), turns.take(None).await.unwrap()];
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
