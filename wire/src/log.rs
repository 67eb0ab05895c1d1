//! Log lines: one a decision, to stderr, where `up` reads them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines about a connection that was only opened or lost: so many...
const CHEAP_LINES: u32 = 100;
/// ...in so long. `up` takes 500 lines of a role in that time: the rest is for what was decided.
const WINDOW: Duration = Duration::from_secs(10);

/// What a log line may say of a mail address: its domain.
#[must_use]
pub fn domain(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

/// A short random name for one session, so that its lines can be found together. Unique enough for a log.
#[must_use]
pub fn session() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    // Keyed by the process's own random state: no counter that tells a stranger how many came before.
    let now = std::time::Instant::now();
    let hashed = RandomState::new().hash_one(now);
    u32::try_from(hashed & 0xffff_ffff).unwrap_or(0)
}

/// A bound on lines that a stranger causes at no cost, so that they do not hide what became of letters.
#[derive(Debug)]
pub struct CheapLines(Mutex<Option<(Instant, u32)>>);

impl CheapLines {
    /// None so far.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Whether one more may be written `now`.
    pub fn one_more(&self, now: Instant) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, lines) = said.filter(|(since, _)| now.duration_since(*since) < WINDOW).unwrap_or((now, 0));
        *said = Some((since, lines.saturating_add(1)));
        lines < CHEAP_LINES
    }
}

impl Default for CheapLines {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cheap_lines_are_few_and_come_back() {
        let (lines, began) = (CheapLines::new(), Instant::now());
        assert_eq!((0..1_000).filter(|_| lines.one_more(began)).count(), 100);
        assert!(!lines.one_more(began + Duration::from_secs(9)));
        assert!(lines.one_more(began + Duration::from_secs(10)));
    }
}
