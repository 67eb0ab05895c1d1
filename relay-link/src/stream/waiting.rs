//! The proxy's streams that wait to be fetched. Pure: the caller says what time it is.

use std::collections::HashMap;
use std::time::Instant;

use super::{Opening, PROOF, Ticket};
use crate::limits;

/// Too many streams wait already: of this home, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// No stream waits for this opening: never did, no longer, or the proof is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotExpected;

#[derive(Debug)]
struct Entry<T> {
    ticket: Ticket,
    home: u64,
    until: Instant,
    what: T,
}

/// What waits, each with `T`, for the home of a number.
#[derive(Debug)]
pub struct Waiting<T> {
    entries: HashMap<u64, Entry<T>>,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { entries: HashMap::new() }
    }
}

impl<T> Waiting<T> {
    /// Puts a stream of `home` (any number that stands for it) by until [`limits::FETCH`] from now.
    ///
    /// # Errors
    /// [`TooMany`], with what was to wait.
    pub fn expect(&mut self, ticket: Ticket, home: u64, what: T, now: Instant) -> Result<(), (TooMany, T)> {
        let of_home = self.entries.values().filter(|entry| entry.home == home).count();
        let full = of_home >= limits::WAITING_OF_ONE || self.entries.len() >= limits::WAITING;
        // 64 random bits meet once in an age; then the newer waits in vain, and the older is not given away.
        if full || self.entries.contains_key(&ticket.number) {
            return Err((TooMany, what));
        }
        let entry = Entry { home, until: now + limits::FETCH, what, ticket };
        self.entries.insert(entry.ticket.number, entry);
        Ok(())
    }

    /// Gives out what waits for this opening, once, and the answer to send.
    ///
    /// # Errors
    /// [`NotExpected`]. A wrong proof takes nothing away from who has the right one.
    pub fn claim(&mut self, opening: &Opening, now: Instant) -> Result<(T, [u8; PROOF]), NotExpected> {
        let entry = self.entries.get(&opening.number).ok_or(NotExpected)?;
        if now >= entry.until || !entry.ticket.admits(opening) {
            return Err(NotExpected);
        }
        let entry = self.entries.remove(&opening.number).ok_or(NotExpected)?;
        Ok((entry.what, entry.ticket.answer()))
    }

    /// Takes back one that its home has declined; only that home can.
    pub fn take_back(&mut self, number: u64, home: u64) -> Option<T> {
        self.entries.get(&number).filter(|entry| entry.home == home)?;
        self.entries.remove(&number).map(|entry| entry.what)
    }

    /// Takes back those that have waited too long.
    pub fn expired(&mut self, now: Instant) -> Vec<T> {
        self.entries.extract_if(|_, entry| now >= entry.until).map(|(_, entry)| entry.what).collect()
    }

    /// Takes back all of a home that is gone.
    pub fn of_home(&mut self, home: u64) -> Vec<T> {
        self.entries.extract_if(|_, entry| entry.home == home).map(|(_, entry)| entry.what).collect()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn opening(ticket: &Ticket) -> Opening {
        Opening::read(&ticket.opening()).unwrap()
    }

    #[test]
    fn a_stream_is_fetched_once_and_in_time() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let ticket = Ticket::generate().unwrap();
        waiting.expect(ticket.clone(), 1, "mail", now).unwrap();
        let forged = Opening { proof: [0; PROOF], ..opening(&ticket) };
        assert_eq!(waiting.claim(&forged, now), Err(NotExpected));
        assert_eq!(waiting.claim(&opening(&ticket), now), Ok(("mail", ticket.answer())), "a forger took nothing away");
        assert_eq!(waiting.claim(&opening(&ticket), now), Err(NotExpected), "single use");

        let late = Ticket::generate().unwrap();
        waiting.expect(late.clone(), 1, "late", now).unwrap();
        let then = now + limits::FETCH;
        assert_eq!(waiting.claim(&opening(&late), then), Err(NotExpected));
        assert_eq!(waiting.expired(then - Duration::from_millis(1)), Vec::<&str>::new());
        assert_eq!(waiting.expired(then), vec!["late"]);
        assert!(waiting.is_empty());
    }

    #[test]
    fn one_home_cannot_take_anothers_place() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        for _ in 0..limits::WAITING_OF_ONE {
            waiting.expect(Ticket::generate().unwrap(), 1, (), now).unwrap();
        }
        assert!(waiting.expect(Ticket::generate().unwrap(), 1, (), now).is_err());
        let others = Ticket::generate().unwrap();
        waiting.expect(others.clone(), 2, (), now).unwrap();
        assert_eq!(waiting.take_back(others.number, 1), None);
        assert_eq!(waiting.of_home(1).len(), limits::WAITING_OF_ONE);
        assert_eq!(waiting.len(), 1);
        assert_eq!(waiting.take_back(others.number, 2), Some(()));
    }

    #[test]
    fn a_number_that_is_taken_is_not_given_away() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let ticket = Ticket::generate().unwrap();
        waiting.expect(ticket.clone(), 1, "first", now).unwrap();
        let same = Ticket { number: ticket.number, ..Ticket::generate().unwrap().clone() };
        assert_eq!(waiting.expect(same, 2, "second", now), Err((TooMany, "second")));
        assert_eq!(waiting.claim(&opening(&ticket), now).unwrap().0, "first");
    }
}
