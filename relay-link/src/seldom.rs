//! Lines in a log about what others can have happen as often as they like: seldom, and how often it was since.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

use crate::limits::SELDOM;

/// Of each thing there is to say, when it was said last, and how often it was not since.
#[derive(Debug)]
pub struct Seldom<K>(HashMap<K, (Instant, u64)>);

impl<K> Default for Seldom<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Seldom<K> {
    /// Whether there is to be a line, and how many times before this one there was none.
    pub fn line(&mut self, of: K, now: Instant) -> Option<u64> {
        let first = !self.0.contains_key(&of);
        let (last, unsaid) = self.0.entry(of).or_insert((now, 0));
        if !first && now.saturating_duration_since(*last) < SELDOM {
            *unsaid += 1;
            return None;
        }
        *last = now;
        Some(std::mem::take(unsaid))
    }

    /// Lets go of what has not happened for long.
    pub fn forget(&mut self, now: Instant) {
        self.0.retain(|_, (last, _)| now.saturating_duration_since(*last) < SELDOM * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_without_end_fills_no_log() {
        let (mut seldom, now) = (Seldom::default(), Instant::now());
        let later = now + SELDOM;
        let lines: Vec<u64> = (0..10_000).filter_map(|_| seldom.line("alice", now)).collect();
        assert_eq!(lines, [0]);
        assert_eq!(seldom.line("bob", now), Some(0), "others have theirs");
        assert_eq!(seldom.line("alice", later), Some(9_999));
        seldom.forget(later + SELDOM);
        assert_eq!(seldom.0.len(), 1, "who is refused no more is forgotten");
    }
}
