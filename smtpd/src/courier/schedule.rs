//! When a letter is tried again, when its sender hears of it, and when it comes back.

use super::limits;

/// Seconds to the next attempt after the first, second, ... failure: greylisting is over after the second or third;
/// a server that is being restarted is soon back; one that is gone for the night is asked every few hours.
const STEPS: [i64; 8] = [90, 240, 600, 1_200, 2_400, 3_600, 7_200, 14_400];

/// What comes next for a recipient that was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again then (seconds since 1970).
    At(i64),
    /// It comes back to its sender.
    GiveUp,
}

/// After `failures` failed attempts (this one included) of a letter that was queued then. `jitter` is any random
/// number: without it, letters that failed together would come back together for days.
#[must_use]
pub fn next(queued: i64, failures: u32, now: i64, jitter: u64) -> Next {
    let end = queued.saturating_add(limits::GIVE_UP);
    // An admin may order as many attempts as they like within the days.
    let clock_was_ahead = queued > now && failures >= limits::MOST_ATTEMPTS;
    if clock_was_ahead || (now >= end && failures >= limits::ATTEMPTS) {
        return Next::GiveUp;
    }
    let step = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX).min(STEPS.len() - 1);
    let wait = STEPS[step];
    // An eighth more or less.
    let spread = (jitter % 251).cast_signed() * wait / 1_000 - wait / 8;
    let at = now.saturating_add(wait + spread);
    // The last attempt is made at the end, so that the far server had all of the time.
    Next::At(if now < end { at.min(end) } else { at })
}

/// Whether its sender is now to hear that it still waits (once).
#[must_use]
pub const fn is_delayed(queued: i64, now: i64) -> bool {
    now.saturating_sub(queued) >= limits::DELAYED
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn attempts(jitter: u64) -> Vec<i64> {
        let (mut now, mut failures, mut times) = (0, 0, vec![0]);
        loop {
            failures += 1;
            match next(0, failures, now, jitter) {
                Next::At(at) => now = at,
                Next::GiveUp => return times,
            }
            times.push(now);
        }
    }

    #[test]
    fn soon_at_first_then_for_five_days() {
        let times = attempts(125);
        assert!(times[1] <= 120 && times[2] <= 400 && times[3] <= 1_000, "{times:?}");
        assert_eq!(times.last(), Some(&limits::GIVE_UP));
        assert!((30..50).contains(&times.len()), "{}", times.len());
    }

    #[test]
    fn a_clock_that_jumped_brings_nothing_back_at_its_first_failure() {
        let now = 50 * limits::GIVE_UP;
        assert!(matches!(next(0, 1, now, 125), Next::At(at) if at > now && at < now + 120));
        assert!(matches!(next(0, limits::ATTEMPTS - 1, now, 125), Next::At(_)));
        assert_eq!(next(0, limits::ATTEMPTS, now, 125), Next::GiveUp);
        assert_eq!(next(now, limits::MOST_ATTEMPTS, 0, 125), Next::GiveUp, "nor does it wait for the clock");
        assert!(matches!(next(now, 10 * limits::MOST_ATTEMPTS, now + 60, 125), Next::At(_)), "the days decide");
    }

    #[test]
    fn nobody_waits_so_long_that_the_keeper_takes_it_for_a_wrong_clock() {
        let longest = attempts(250).windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(longest.is_some_and(|longest| longest < spool::edges::outbox::limits::FARTHEST));
    }

    #[test]
    fn delay() {
        assert!(!is_delayed(1_000, 1_000 + limits::DELAYED - 1));
        assert!(is_delayed(1_000, 1_000 + limits::DELAYED));
    }

    proptest! {
        #[test]
        fn always_forward_and_never_beyond_the_end(jitter in any::<u64>()) {
            let times = attempts(jitter);
            prop_assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!(times.last(), Some(&limits::GIVE_UP));
            prop_assert!(times.len() < 60);
        }

        #[test]
        fn any_numbers(queued in any::<i64>(), failures in any::<u32>(), now in any::<i64>(), jitter in any::<u64>()) {
            if let Next::At(at) = next(queued, failures, now, jitter) {
                prop_assert!(at > now || now == i64::MAX);
                prop_assert!(at <= queued.saturating_add(limits::GIVE_UP) || failures < limits::ATTEMPTS);
            }
        }
    }
}
