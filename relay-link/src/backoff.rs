//! How long a home waits before it dials again. Pure: the caller brings the randomness.
//!
//! The first tries come fast, for a home that roams; later ones spread out, so that a thousand homes do not meet at
//! the door of a proxy that has just come back.

use std::time::Duration;

/// The first wait, at most.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait, at most.
pub const LONGEST: Duration = Duration::from_secs(60);
/// A connection that lasted so long was a good one: the next trouble is new.
pub const GOOD: Duration = Duration::from_secs(30);

/// One link's.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait before the next try: between half of and the whole of a bound that doubles. `random` is any number.
    pub fn next(&mut self, random: u32) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        bound / 2 + bound.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
    }

    /// A connection has ended that had lasted so long.
    pub fn ended(&mut self, lasted: Duration) {
        if lasted >= GOOD {
            self.failures = 0;
        }
    }

    /// The world has changed (an address, a network): what failed before means nothing.
    pub fn afresh(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_doubles_to_its_longest_and_is_spread(randoms in prop::collection::vec(any::<u32>(), 1..100)) {
            let mut backoff = Backoff::default();
            let mut bound = FIRST;
            for random in randoms {
                let wait = backoff.next(random);
                prop_assert!(wait >= bound / 2 && wait <= bound + Duration::from_micros(1), "{wait:?} of {bound:?}");
                bound = (bound * 2).min(LONGEST);
            }
            backoff.ended(Duration::from_secs(1));
            prop_assert!(backoff.failures > 0, "a short one does not count");
            backoff.ended(GOOD);
            prop_assert!(backoff.next(u32::MAX) <= FIRST + Duration::from_micros(1));
        }
    }

    #[test]
    fn five_tries_fit_into_the_first_quarter_of_a_minute() {
        let mut backoff = Backoff::default();
        let total: Duration = (0..5).map(|_| backoff.next(u32::MAX)).sum();
        assert!(total <= Duration::from_secs(16), "{total:?}");
    }
}
