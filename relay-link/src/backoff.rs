//! How long a home waits before it dials again. Pure: the caller brings the randomness.
//!
//! The first tries come fast, for a home that roams; later ones spread out, so that a thousand homes do not meet at
//! the door of a proxy that has just come back. How far depends on what a try costs the proxy: nothing while it is not there.

use std::time::Duration;

/// The first wait, at most.
const FIRST: Duration = Duration::from_millis(500);
/// A connection that lasted so long was a good one: the next trouble is new.
pub const GOOD: Duration = Duration::from_secs(30);

/// Why a home dials again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody has answered, or a link that was up has ended. Ten thousand homes that come back within these seconds are some two
    /// thousand handshakes a second, once.
    Away,
    /// Somebody has, and the talk broke off: it may have too much to do.
    Broken,
    /// It said no, and will for a while.
    Refused,
}

impl Trouble {
    /// The longest wait, at most.
    const fn longest(self) -> Duration {
        Duration::from_secs(match self {
            Self::Away => 8,
            Self::Broken => 20,
            Self::Refused => 60,
        })
    }
}

/// One link's.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait before the next try: between half of and the whole of a bound that doubles. `random` is any number.
    pub fn next(&mut self, trouble: Trouble, random: u32) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.failures.min(16)).min(trouble.longest());
        self.failures = self.failures.saturating_add(1);
        between(bound / 2, bound, random)
    }

    /// A connection has ended that had lasted so long.
    pub fn ended(&mut self, lasted: Duration) {
        if lasted >= GOOD {
            self.failures = 0;
        }
    }

    /// The world has changed (an address, a network): what failed before means nothing. The wait before the next try: a street that
    /// has its line again does not come all at once.
    pub fn afresh(&mut self, random: u32) -> Duration {
        self.failures = 0;
        between(Duration::ZERO, FIRST * 2, random)
    }
}

fn between(least: Duration, most: Duration, random: u32) -> Duration {
    least + (most - least).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_doubles_to_its_longest_and_is_spread(randoms in prop::collection::vec(any::<u32>(), 1..100)) {
            for trouble in [Trouble::Away, Trouble::Broken, Trouble::Refused] {
                let mut backoff = Backoff::default();
                let mut bound = FIRST;
                for random in &randoms {
                    let wait = backoff.next(trouble, *random);
                    prop_assert!(wait >= bound / 2 && wait <= bound + Duration::from_micros(1), "{wait:?} of {bound:?}");
                    bound = (bound * 2).min(trouble.longest());
                }
                backoff.ended(Duration::from_secs(1));
                prop_assert!(backoff.failures > 0, "a short one does not count");
                backoff.ended(GOOD);
                prop_assert!(backoff.next(trouble, u32::MAX) <= FIRST + Duration::from_micros(1));
            }
        }
    }

    #[test]
    fn five_tries_fit_into_the_first_quarter_of_a_minute() {
        let mut backoff = Backoff::default();
        let total: Duration = (0..5).map(|_| backoff.next(Trouble::Refused, u32::MAX)).sum();
        assert!(total <= Duration::from_secs(16), "{total:?}");
    }

    #[test]
    fn who_is_away_is_found_within_seconds_of_its_return() {
        let mut backoff = Backoff::default();
        let longest = (0..10_000).map(|_| backoff.next(Trouble::Away, u32::MAX)).max().unwrap();
        assert!(longest <= Duration::from_secs(8), "{longest:?}");
        assert!(backoff.next(Trouble::Refused, 0) >= Duration::from_secs(30), "who says no is not asked all the time");
        assert!(backoff.afresh(u32::MAX) <= Duration::from_secs(1));
        assert!(backoff.next(Trouble::Refused, u32::MAX) <= FIRST);
    }
}
