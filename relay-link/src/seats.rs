//! Who sits on a home's one seat at a proxy. Pure: the caller pings, waits and closes.
//!
//! A box that roams dials again while its old connection still looks alive; a copy of a box dials while the first
//! one *is* alive. The run that each names tells the first case; the answer of the old connection tells the second
//! from a box that has lost its power.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::hello::Run;

/// One control connection, by a number of the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Connection(pub u64);

/// What to do with a home that wants to be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seating {
    /// Nobody was there: it sits.
    Seated,
    /// It sits; the older connection, of the same run, is to be closed.
    Replaces(Connection),
    /// Somebody else of that name was there: ask that one for a sign of life, then [`Seats::decide`].
    Ask(Connection),
}

/// What became of [`Seating::Ask`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The older one is gone or silent: the newer sits, the older is to be closed.
    Replaces(Option<Connection>),
    /// The older one is alive, and has been connected for so long: the newer is refused.
    Refused(Duration),
}

#[derive(Debug)]
struct Seat {
    connection: Connection,
    run: Run,
    since: Instant,
}

/// All seats, by the name of the home.
#[derive(Debug)]
pub struct Seats<N> {
    seats: HashMap<N, Seat>,
}

impl<N> Default for Seats<N> {
    fn default() -> Self {
        Self { seats: HashMap::new() }
    }
}

impl<N: Eq + Hash + Clone> Seats<N> {
    /// A home wants to be served.
    pub fn arrive(&mut self, name: &N, run: Run, connection: Connection, now: Instant) -> Seating {
        match self.seats.get(name) {
            None => {
                self.sit(name, run, connection, now);
                Seating::Seated
            }
            Some(seat) if seat.run == run => {
                let older = seat.connection;
                self.sit(name, run, connection, now);
                Seating::Replaces(older)
            }
            Some(seat) => Seating::Ask(seat.connection),
        }
    }

    /// The asked one has answered, or has not.
    pub fn decide(
        &mut self,
        name: &N,
        run: Run,
        connection: Connection,
        asked: (Connection, bool),
        now: Instant,
    ) -> Decision {
        let (asked, answered) = asked;
        match self.seats.get(name) {
            // Whoever sits there now is alive: it answered, or came while we waited.
            Some(seat) if answered || seat.connection != asked => {
                Decision::Refused(now.saturating_duration_since(seat.since))
            }
            seat => {
                let older = seat.map(|seat| seat.connection);
                self.sit(name, run, connection, now);
                Decision::Replaces(older)
            }
        }
    }

    /// A connection has ended. One that was replaced leaves no empty seat.
    pub fn leave(&mut self, name: &N, connection: Connection) {
        if self.sitting(name) == Some(connection) {
            self.seats.remove(name);
        }
    }

    /// Who sits there.
    #[must_use]
    pub fn sitting(&self, name: &N) -> Option<Connection> {
        self.seats.get(name).map(|seat| seat.connection)
    }

    /// For how long somebody has been sitting there.
    #[must_use]
    pub fn since(&self, name: &N, now: Instant) -> Option<Duration> {
        self.seats.get(name).map(|seat| now.saturating_duration_since(seat.since))
    }

    /// How many sit.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether none sits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    fn sit(&mut self, name: &N, run: Run, connection: Connection, now: Instant) {
        self.seats.insert(name.clone(), Seat { connection, run, since: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Run = Run([1; 16]);
    const COPY: Run = Run([2; 16]);

    #[test]
    fn a_box_that_roams_takes_its_seat_at_once() {
        let (mut seats, now) = (Seats::default(), Instant::now());
        assert_eq!(seats.arrive(&"alice", ONE, Connection(1), now), Seating::Seated);
        assert_eq!(seats.arrive(&"alice", ONE, Connection(2), now), Seating::Replaces(Connection(1)));
        seats.leave(&"alice", Connection(1));
        assert_eq!(seats.sitting(&"alice"), Some(Connection(2)), "the end of the old one changes nothing");
        seats.leave(&"alice", Connection(2));
        assert!(seats.is_empty());
    }

    #[test]
    fn the_newer_of_two_boxes_is_refused() {
        let (mut seats, now) = (Seats::default(), Instant::now());
        seats.arrive(&"alice", ONE, Connection(1), now);
        let later = now + Duration::from_secs(60);
        assert_eq!(seats.arrive(&"alice", COPY, Connection(2), later), Seating::Ask(Connection(1)));
        let decision = seats.decide(&"alice", COPY, Connection(2), (Connection(1), true), later);
        assert_eq!(decision, Decision::Refused(Duration::from_secs(60)));
        assert_eq!(seats.sitting(&"alice"), Some(Connection(1)));
        assert_eq!(seats.arrive(&"bob", COPY, Connection(3), later), Seating::Seated, "other names are not concerned");
    }

    #[test]
    fn a_box_that_lost_its_power_comes_back() {
        let (mut seats, now) = (Seats::default(), Instant::now());
        seats.arrive(&"alice", ONE, Connection(1), now);
        seats.arrive(&"alice", COPY, Connection(2), now);
        let decision = seats.decide(&"alice", COPY, Connection(2), (Connection(1), false), now);
        assert_eq!(decision, Decision::Replaces(Some(Connection(1))));
        assert_eq!(seats.sitting(&"alice"), Some(Connection(2)));
    }

    #[test]
    fn while_one_is_asked_the_seat_can_change() {
        let (mut seats, now) = (Seats::default(), Instant::now());
        seats.arrive(&"alice", ONE, Connection(1), now);
        seats.arrive(&"alice", COPY, Connection(2), now);
        // The first box roams meanwhile; its old connection does not answer, but it is not gone.
        seats.arrive(&"alice", ONE, Connection(3), now);
        let decision = seats.decide(&"alice", COPY, Connection(2), (Connection(1), false), now);
        assert_eq!(decision, Decision::Refused(Duration::ZERO));
        // Or it leaves: the seat is empty.
        seats.leave(&"alice", Connection(3));
        let decision = seats.decide(&"alice", COPY, Connection(2), (Connection(1), false), now);
        assert_eq!(decision, Decision::Replaces(None));
    }
}
