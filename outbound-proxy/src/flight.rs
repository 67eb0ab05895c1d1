//! What a home has sent that nobody has answered yet. It may be recipients, and what they will cost is set aside out of the
//! bucket before it is passed on: pipelined, they would be in the far server's buffers long before its first reply is counted.
//! Pure; the caller says what time it is.
//!
//! | what is out | what may follow |
//! | --- | --- |
//! | a little ([`limits::UNRESERVED`]) | anything |
//! | more | as much as units were set aside for, of [`limits::COMMAND`] octets each |
//! | as much, and the far server speaks | what its replies answer, of [`limits::ANSWERED`] octets for each of theirs |
//! | as much, and it is silent | a body, most likely: twice as much each time, and nothing is set aside |
//!
//! Nobody can see where a body begins or ends. So a far server that hides its replies for longer than [`Flight::patience`] is
//! taken to read one: with each such silence the home can have twice as much in its buffers.

use std::time::{Duration, Instant};

use crate::limits;
use crate::meter::Units;

/// One session's.
#[derive(Debug, Clone)]
pub struct Flight {
    /// Octets that are not answered yet.
    unanswered: u64,
    /// Of them those sent since the far server spoke last.
    since: u64,
    /// Units set aside for them.
    reserved: Units,
    /// Octets that may be out while the far server reads in silence; 0: it does not.
    silent: u64,
    /// It has spoken after such a silence.
    read: bool,
    /// Since when it owes a reply.
    asked: Option<Instant>,
    /// The longest it has taken for one.
    latency: Duration,
    /// When somebody spoke last.
    last: Instant,
}

impl Flight {
    /// Nothing is out.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self {
            unanswered: 0,
            since: 0,
            reserved: 0,
            silent: 0,
            read: false,
            asked: None,
            latency: Duration::ZERO,
            last: now,
        }
    }

    /// How many octets may be passed on now. `reserve` sets units aside, as many as it likes.
    pub fn room(&mut self, reserve: impl FnOnce() -> Units) -> u64 {
        if self.silent > 0 {
            return self.silent.saturating_sub(self.unanswered);
        }
        if self.unanswered == self.covered() {
            self.reserved += reserve();
        }
        self.covered().saturating_sub(self.unanswered)
    }

    /// The home's octets are passed on.
    pub fn sent(&mut self, octets: u64, now: Instant) {
        self.unanswered += octets;
        self.since += octets;
        self.last = now;
        self.asked.get_or_insert(now);
    }

    /// They have left for the far server.
    pub const fn passed(&mut self, now: Instant) {
        self.last = now;
    }

    /// The far server has said so much; the units that need not be set aside any more.
    pub fn heard(&mut self, octets: u64, now: Instant) -> Units {
        let body = std::mem::take(&mut self.silent) > 0;
        self.read |= body;
        if let Some(asked) = self.asked.take().filter(|_| !body) {
            self.latency = self.latency.max(now.saturating_duration_since(asked));
        }
        (self.since, self.last) = (0, now);
        self.unanswered = self.unanswered.saturating_sub(octets.saturating_mul(limits::ANSWERED));
        self.surplus()
    }

    /// Nobody has spoken for [`Flight::patience`], and there is no room; the units that need not be set aside any more.
    pub fn silence(&mut self, now: Instant) -> Units {
        self.last = now;
        if self.since > self.unanswered / 2 {
            self.silent = self.unanswered.saturating_mul(2);
            return std::mem::take(&mut self.reserved);
        }
        // It has answered, and goes on no more: what it was sent before that was more than its replies showed.
        self.unanswered = if std::mem::take(&mut self.read) { 0 } else { self.unanswered / 2 };
        self.since = self.since.min(self.unanswered);
        self.surplus()
    }

    /// When a silence is one.
    #[must_use]
    pub fn silent_at(&self) -> Instant {
        self.last + self.patience()
    }

    /// How long a far server may take for a reply.
    #[must_use]
    pub fn patience(&self) -> Duration {
        (self.latency * 2).clamp(limits::REPLY_AT_LEAST, limits::REPLY_AT_MOST)
    }

    /// Units set aside.
    #[must_use]
    pub const fn reserved(&self) -> Units {
        self.reserved
    }

    const fn covered(&self) -> u64 {
        limits::UNRESERVED + self.reserved.saturating_mul(limits::COMMAND)
    }

    fn surplus(&mut self) -> Units {
        let needed = self.unanswered.saturating_sub(limits::UNRESERVED).div_ceil(limits::COMMAND);
        let surplus = self.reserved.saturating_sub(needed);
        self.reserved -= surplus;
        surplus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A home that sends whatever it may.
    struct Home {
        flight: Flight,
        now: Instant,
        left: Units,
    }

    impl Home {
        fn new(left: Units) -> Self {
            let now = Instant::now();
            Self { flight: Flight::new(now), now, left }
        }

        fn room(&mut self) -> u64 {
            let left = &mut self.left;
            self.flight.room(|| std::mem::take(left))
        }

        fn sends(&mut self, octets: u64) -> u64 {
            let (mut sent, mut room) = (0, self.room());
            while room > 0 && sent < octets {
                let some = room.min(octets - sent);
                self.flight.sent(some, self.now);
                sent += some;
                room = self.room();
            }
            sent
        }

        fn silence(&mut self) {
            self.now = self.flight.silent_at();
            self.left += self.flight.silence(self.now);
        }
    }

    #[test]
    fn recipients_wait_for_the_replies_to_those_before() {
        let mut home = Home::new(750);
        let most = limits::UNRESERVED + 750 * limits::COMMAND;
        assert_eq!(home.sends(1_000_000), most, "what the bucket holds, and a little");
        assert_eq!(home.room(), 0);
        home.left += home.flight.heard(14, home.now);
        assert_eq!(home.sends(1_000_000), 14 * limits::ANSWERED, "one was answered");
    }

    #[test]
    fn a_body_is_read_in_silence() {
        let mut home = Home::new(750);
        home.sends(100);
        home.left += home.flight.heard(60, home.now);
        let (mut left, mut silences) = (25_000_000, 0);
        loop {
            left -= home.sends(left);
            if left == 0 {
                break;
            }
            home.silence();
            silences += 1;
        }
        assert!((8..=12).contains(&silences), "{silences}: some seconds at most");
        assert_eq!(home.left, 750, "the home's other sessions go on meanwhile");
        home.left += home.flight.heard(37, home.now);
        assert_eq!(home.room(), 0, "there may have been more in it than a body");
        home.silence();
        assert!(home.sends(5_000) == 5_000, "the next letter");
    }

    /// Whatever comes in what order, as many units are set aside as are given back at the end.
    #[test]
    fn what_is_set_aside_is_given_back() {
        let mut home = Home::new(300);
        for step in 0..1_000u64 {
            home.sends(step * 37 % 9_000);
            if step % 3 == 0 {
                home.left += home.flight.heard(step % 200, home.now);
            } else if home.room() == 0 {
                home.silence();
            }
            assert_eq!(home.left + home.flight.reserved(), 300);
        }
    }

    #[test]
    fn a_slow_server_gets_more_time_up_to_a_bound() {
        let (mut flight, now) = (Flight::new(Instant::now()), Instant::now());
        assert_eq!(flight.patience(), limits::REPLY_AT_LEAST);
        flight.sent(10, now);
        flight.heard(10, now + Duration::from_millis(300));
        assert_eq!(flight.patience(), Duration::from_millis(600));
        flight.sent(10, now);
        flight.heard(10, now + Duration::from_secs(30));
        assert_eq!(flight.patience(), limits::REPLY_AT_MOST);
    }
}
