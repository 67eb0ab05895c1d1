//! Connections that have brought what there was, kept for a moment: the next letter to the same destination goes over one
//! of them, and needs no look-ups, no handshake and no more of the far server's patience.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::limits;

/// Those of all destinations.
#[derive(Debug)]
pub struct Idle<L>(Mutex<Links<L>>);

#[derive(Debug)]
struct Links<L> {
    /// By destination, the newest last, each with a number of its own.
    links: HashMap<String, Vec<(u64, L)>>,
    count: usize,
    next: u64,
}

impl<L> Default for Idle<L> {
    fn default() -> Self {
        Self(Mutex::new(Links { links: HashMap::new(), count: 0, next: 0 }))
    }
}

impl<L> Idle<L> {
    /// The one that has been idle for the shortest time.
    pub fn take(&self, destination: &str) -> Option<L> {
        let mut all = self.all();
        let (_, link) = all.links.get_mut(destination)?.pop()?;
        all.taken(destination);
        Some(link)
    }

    /// Keeps one, until [`Self::end`] with that number.
    ///
    /// # Errors
    /// There are enough: it comes back.
    pub fn keep(&self, destination: &str, link: L) -> Result<u64, L> {
        let mut all = self.all();
        let most = limits::PER_DESTINATION as usize;
        if all.count >= limits::IDLE || all.links.get(destination).is_some_and(|some| some.len() >= most) {
            return Err(link);
        }
        let number = all.next;
        (all.next, all.count) = (number + 1, all.count + 1);
        all.links.entry(destination.to_owned()).or_default().push((number, link));
        Ok(number)
    }

    /// Its moment is over; `None` when it has been taken.
    pub fn end(&self, destination: &str, number: u64) -> Option<L> {
        let mut all = self.all();
        let some = all.links.get_mut(destination)?;
        let at = some.iter().position(|(known, _)| *known == number)?;
        let (_, link) = some.remove(at);
        all.taken(destination);
        Some(link)
    }

    /// All of them: their moment is over at once.
    pub fn end_all(&self) -> Vec<L> {
        let mut all = self.all();
        all.count = 0;
        std::mem::take(&mut all.links).into_values().flatten().map(|(_, link)| link).collect()
    }

    fn all(&self) -> MutexGuard<'_, Links<L>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L> Links<L> {
    fn taken(&mut self, destination: &str) {
        self.count -= 1;
        if self.links.get(destination).is_some_and(Vec::is_empty) {
            self.links.remove(destination);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_once_or_ended_once() {
        let idle = Idle::default();
        let [one, two] = ["one", "two"].map(|link| idle.keep("far.test", link).unwrap());
        assert_eq!(idle.take("other.test"), None);
        assert_eq!(idle.take("far.test"), Some("two"));
        assert_eq!((idle.end("far.test", two), idle.end("far.test", one)), (None, Some("one")));
        assert_eq!((idle.take("far.test"), idle.end("far.test", one)), (None, None));
        let all = idle.all();
        assert!(all.links.is_empty() && all.count == 0);
    }

    #[test]
    fn all_end_at_once() {
        let idle = Idle::default();
        let numbers = ["one", "two"].map(|link| idle.keep("far.test", link).unwrap());
        idle.keep("other.test", "three").unwrap();
        let mut ended = idle.end_all();
        ended.sort_unstable();
        assert_eq!(ended, ["one", "three", "two"]);
        assert_eq!((idle.take("far.test"), idle.end("far.test", numbers[0])), (None, None));
        assert!((0..limits::IDLE).all(|n| idle.keep(&n.to_string(), "").is_ok()), "all the room is free");
    }

    #[test]
    fn bounded() {
        let idle = Idle::default();
        let kept = (0..100).filter(|_| idle.keep("far.test", ()).is_ok()).count();
        assert_eq!(kept, limits::PER_DESTINATION as usize);
        let more = (0..1_000).filter(|n| idle.keep(&n.to_string(), ()).is_ok()).count();
        assert_eq!(kept + more, limits::IDLE);
    }
}
