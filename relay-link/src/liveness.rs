//! Whether the peer is still there. Pure: the caller says what time it is and what was heard.
//!
//! Both ends ping. The home does so more often and loses patience sooner: it is the one whose address changes, and it
//! alone can dial.

use std::time::{Duration, Instant};

/// How often, and for how long in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Silence after which the peer is asked for a sign.
    pub ask: Duration,
    /// Silence after which it is dead.
    pub dead: Duration,
}

/// Of a home: it notices within 20 seconds that it must dial again.
pub const HOME: Patience = Patience { ask: Duration::from_secs(6), dead: Duration::from_secs(20) };
/// Of a proxy: it notices within 40 seconds that a home is gone.
pub const PROXY: Patience = Patience { ask: Duration::from_secs(15), dead: Duration::from_secs(40) };

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tend {
    /// Nothing until then, unless something is heard.
    Wait(Instant),
    /// Send a ping.
    Ping,
    /// Give the connection up.
    Dead,
}

/// One connection's.
#[derive(Debug)]
pub struct Liveness {
    patience: Patience,
    heard: Instant,
    asked: Option<Instant>,
}

impl Liveness {
    /// It has just been heard.
    #[must_use]
    pub const fn new(patience: Patience, now: Instant) -> Self {
        Self { patience, heard: now, asked: None }
    }

    /// Anything came.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
    }

    /// How long it has been silent.
    #[must_use]
    pub fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// What to do; a [`Tend::Ping`] is counted as sent.
    pub fn tend(&mut self, now: Instant) -> Tend {
        if self.silence(now) >= self.patience.dead {
            return Tend::Dead;
        }
        let ask_at = self.asked.unwrap_or(self.heard) + self.patience.ask;
        if now >= ask_at {
            self.asked = Some(now);
            return Tend::Ping;
        }
        Tend::Wait(ask_at.min(self.heard + self.patience.dead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Seconds from the last sign to the end, pings counted, when each wake is late by up to a second.
    fn until_dead(patience: Patience, late: &[u64]) -> (Duration, usize) {
        let start = Instant::now();
        let (mut liveness, mut now, mut pings) = (Liveness::new(patience, start), start, 0);
        for late in late.iter().cycle() {
            match liveness.tend(now) {
                Tend::Wait(until) => now = until + Duration::from_millis(*late),
                Tend::Ping => pings += 1,
                Tend::Dead => return (now - start, pings),
            }
        }
        unreachable!("the delays are not empty")
    }

    proptest! {
        #[test]
        fn a_dead_peer_is_noticed_within_45_seconds(late in prop::collection::vec(0u64..1_000, 1..20)) {
            for (patience, most) in [(HOME, 22), (PROXY, 45)] {
                let (after, pings) = until_dead(patience, &late);
                prop_assert!(after >= patience.dead);
                prop_assert!(after < Duration::from_secs(most), "{after:?}");
                prop_assert!(pings >= 2, "it is asked more than once: one packet may be lost");
            }
        }

        #[test]
        fn who_answers_lives(answers in prop::collection::vec(1u64..4_000, 1..100)) {
            let mut now = Instant::now();
            let mut liveness = Liveness::new(HOME, now);
            for after in answers {
                match liveness.tend(now) {
                    Tend::Wait(until) => now = until,
                    Tend::Ping => {
                        now += Duration::from_millis(after);
                        liveness.heard(now);
                    }
                    Tend::Dead => prop_assert!(false, "given up though it answers"),
                }
            }
        }
    }
}
