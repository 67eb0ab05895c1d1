//! What a home has sent that may be recipients and is not paid for yet. All sessions of a home together have no more of it out
//! than its account reaches ([`crate::account::Account::reach`]): what waits in the far server's buffers cannot be called
//! back when its replies begin to cost. Pure; the caller says what the far server's TCP said, and what time it is.
//!
//! Nobody can see where a body begins or ends. What can be seen is how far the far server is with reading: of all that a session
//! ever sent, what may be unanswered is
//!
//! - no more than what was sent, less what the replies since answer;
//! - no more than what was sent this moment, or what its TCP has not acknowledged, or has and its program has not read (that
//!   takes room of the window that it grants), and one record, which its program may have in part.
//!
//! A body that is read as it comes so keeps only what is on the way, and nothing waits for silences. A far server that does not
//! read, for as long as it looks through a letter or for any other reason, gets no more than that.

use std::time::{Duration, Instant};

use filter_sandbox::standing::Standing;

use crate::limits;

/// One session's.
#[derive(Debug, Clone, Default)]
pub struct Flight {
    /// Octets that were sent, ever, and of them those that the far side's TCP has.
    sent: u64,
    arrived: u64,
    /// Up to which octet it would take them, and how many it has granted at once.
    edge: u64,
    granted: u64,
    /// Octets that it has not read, for all that is known.
    unread: u64,
    /// Octets that may be commands without an answer.
    unanswered: u64,
    /// Octets that the home's account has let it have out.
    reserved: u64,
    /// The longest record.
    record: u64,
    round_trip: Duration,
    recent: Recent,
    halt: Option<Halt>,
}

/// What was sent a moment ago.
#[derive(Debug, Clone, Copy, Default)]
struct Recent {
    since: Option<Instant>,
    now: u64,
    before: u64,
}

impl Recent {
    /// Octets of the last [`limits::AGED`], and of up to as long before.
    fn octets(&mut self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(*self.since.get_or_insert(now));
        if age >= limits::AGED {
            let before = if age < limits::AGED * 2 { self.now } else { 0 };
            *self = Self { since: Some(now), now: 0, before };
        }
        self.now + self.before
    }
}

/// Nothing may follow for now.
#[derive(Debug, Clone, Copy)]
struct Halt {
    /// So many octets may be unread nevertheless.
    level: u64,
    /// When one more is risked, and how long was waited for that.
    probe: Instant,
    wait: Duration,
    /// When something was last heard of the far side's TCP, or the halt began.
    moved: Instant,
}

impl Flight {
    /// How many octets may be passed on now. `reserve` gives as many as it has, up to those it is asked for.
    pub fn room(&mut self, now: Instant, reserve: impl FnOnce(u64) -> u64) -> u64 {
        let have = self.reserved.saturating_sub(self.unanswered);
        self.reserved += reserve((limits::LARGE_PIECE as u64).saturating_sub(have));
        let have = self.reserved.saturating_sub(self.unanswered);
        // Crumbs cost a packet each.
        let least = limits::UNRESERVED.saturating_sub(self.unread);
        let room = least.max(if have >= limits::UNRESERVED { have } else { 0 });
        if room > 0 {
            self.halt = None;
            return room;
        }
        let (level, round_trip) = (self.unread, self.round_trip);
        let halt = self.halt.get_or_insert_with(|| {
            let wait = (round_trip / 4).max(limits::LOOK);
            Halt { level, probe: now + wait, wait, moved: now }
        });
        if now >= halt.probe && self.arrived == self.sent {
            halt.level = halt.level.max(self.unread) + limits::PROBE;
            halt.wait = (halt.wait * 2).min(limits::PROBE_AT_LEAST_EVERY);
            halt.probe = now + halt.wait;
        }
        halt.level.saturating_sub(self.unread)
    }

    /// How long it is of no use to ask again, unless the far server speaks.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Duration {
        let quiet = self.halt.map_or(Duration::ZERO, |halt| now.saturating_duration_since(halt.moved));
        // Often while it may move at any moment, seldom when it has not for long.
        let idle = if quiet > self.round_trip * 4 { quiet / 8 } else { Duration::ZERO };
        (self.round_trip / 16).max(idle).clamp(limits::LOOK, limits::LOOK_AT_LEAST_EVERY)
    }

    /// The home's octets are passed on; how many of them nobody has let it have.
    pub fn sent(&mut self, octets: u64) -> u64 {
        self.sent += octets;
        self.recent.now += octets;
        self.unread += octets;
        self.unanswered += octets;
        let more = self.unanswered.saturating_sub(self.reserved);
        self.reserved += more;
        more
    }

    /// One of the home's records is so long.
    pub fn record(&mut self, octets: u64) {
        self.record = self.record.max(octets);
    }

    /// What the far server's TCP has said last.
    pub fn stands(&mut self, standing: &Standing, now: Instant) {
        let arrived = standing.acknowledged.min(self.sent).max(self.arrived);
        let edge = (arrived + standing.window).max(self.edge);
        if let Some(halt) = &mut self.halt
            && (arrived, edge) != (self.arrived, self.edge)
        {
            halt.moved = now;
        }
        // It may grant less than it did for another reason: what it has read since then lets that be forgotten, slowly.
        let advance = edge - self.edge;
        self.granted = self.granted.saturating_sub(advance / limits::FORGOTTEN).max(standing.window);
        (self.arrived, self.edge, self.round_trip) = (arrived, edge, standing.round_trip);
        let unread = self.sent - arrived + self.granted.saturating_sub(standing.window);
        self.unread = unread.max(self.recent.octets(now));
        self.unanswered = self.unanswered.min(self.unread + self.record);
    }

    /// The far server has said so much: no less was asked (a RCPT command is longer than the reply to it). That is for what is to be
    /// paid; whether it still owes a reply does not follow from it.
    pub const fn heard(&mut self, octets: u64) {
        self.unanswered = self.unanswered.saturating_sub(octets);
    }

    /// What need not be reserved any more.
    #[must_use]
    pub fn surplus(&mut self) -> u64 {
        let surplus = self.reserved.saturating_sub(self.unanswered);
        self.reserved -= surplus;
        surplus
    }

    /// Octets that may be out in its name.
    #[must_use]
    pub const fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Octets that may have reached it and that it has not answered. On a kernel that does not say what has, all.
    #[must_use]
    pub const fn owed(&self) -> u64 {
        let on_the_way = if self.arrived > 0 { self.sent - self.arrived } else { 0 };
        self.unanswered.saturating_sub(on_the_way)
    }

    /// Whether the far server may have something unread.
    #[must_use]
    pub const fn is_unread(&self) -> bool {
        self.unread > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 64_000;
    const ROUND_TRIP: Duration = Duration::from_millis(20);

    /// A home that sends whatever it may, and a far server's TCP, which says at once what it has.
    struct Session {
        flight: Flight,
        now: Instant,
        /// What all of the home's sessions may have out, less what this one has.
        free: u64,
        sent: u64,
        read: u64,
        /// What the far TCP grants when nothing is unread.
        window: u64,
    }

    impl Session {
        fn new(reach: u64) -> Self {
            let mut flight = Flight::default();
            flight.record(1_400);
            let mut session = Self { flight, now: Instant::now(), free: reach, sent: 0, read: 0, window: WINDOW };
            session.looks();
            session
        }

        fn looks(&mut self) {
            self.now += limits::AGED * 2;
            let window = self.window.saturating_sub(self.sent - self.read);
            let standing = Standing { acknowledged: self.sent, window, round_trip: ROUND_TRIP };
            self.flight.stands(&standing, self.now);
            self.free += self.flight.surplus();
        }

        fn room(&mut self) -> u64 {
            let free = &mut self.free;
            self.flight.room(self.now, |octets| {
                let some = octets.min(*free);
                *free -= some;
                some
            })
        }

        fn sends(&mut self, octets: u64) -> u64 {
            let mut sent = 0;
            loop {
                let some = self.room().min(octets - sent);
                if some == 0 {
                    return sent;
                }
                self.free = self.free.saturating_sub(self.flight.sent(some));
                sent += some;
                self.sent += some;
                self.looks();
            }
        }
    }

    #[test]
    fn recipients_wait_for_the_replies_to_those_before() {
        let mut session = Session::new(30_000);
        assert!((30_000..=31_100).contains(&session.sends(1_000_000)), "what is in reach, and a crumb");
        // It has read them, and that may be seen: but as many as a record may be unanswered in any case.
        session.read = session.sent;
        session.looks();
        assert_eq!(session.flight.reserved(), 1_400);
        session.flight.heard(1_400);
        session.looks();
        assert_eq!(session.flight.reserved(), 0);
    }

    #[test]
    fn a_body_that_is_read_waits_for_nothing() {
        let mut session = Session::new(30_000);
        while session.sent < 25_000_000 {
            assert!(session.sends(100_000) > 28_000);
            session.read = session.sent;
            session.looks();
        }
        // What comes behind it may be recipients.
        let body = session.sent;
        session.sends(1_000_000);
        assert!(session.sent - body <= 31_100, "{}", session.sent - body);
    }

    /// It looks through a letter for four hours, and then for a month.
    #[test]
    fn a_far_server_that_does_not_read_gets_no_more() {
        let mut session = Session::new(30_000);
        session.sends(1_000_000);
        session.read = session.sent;
        session.looks();
        let before = session.sent;
        session.sends(1_000_000);
        let stands = session.sent - before;
        assert!(stands <= 31_100, "{stands}");
        for minute in 0..600_000 {
            session.now += Duration::from_millis(if minute < 540_000 { 7 } else { 60_000 });
            session.looks();
            session.sends(1_000);
            if minute == 540_000 {
                let probes = (session.sent - before - stands) / limits::PROBE;
                assert!(probes <= 320, "{probes} in four hours");
            }
        }
    }

    /// Its last word was from before it read: it says nothing by itself.
    #[test]
    fn what_was_read_meanwhile_is_asked_for() {
        let mut session = Session::new(30_000);
        session.sends(1_000_000);
        session.read = session.sent;
        assert_eq!(session.room(), 0, "nobody knows");
        let (began, mut waited, mut sent) = (session.now, session.now, 0);
        while sent == 0 {
            session.now += session.flight.wait(session.now);
            waited = session.now;
            sent = session.sends(limits::PROBE);
        }
        assert!(waited - began < ROUND_TRIP, "a few milliseconds");
        assert_eq!(sent, limits::PROBE);
        assert!(session.sends(1_000_000) > 25_000);
    }

    /// A line that broke, or a home that broke it.
    #[test]
    fn what_has_arrived_is_owed_for() {
        let mut session = Session::new(30_000);
        session.sends(20_000);
        let standing = Standing { acknowledged: 12_000, window: WINDOW - 12_000, round_trip: ROUND_TRIP };
        let mut flight = session.flight.clone();
        assert_eq!(flight.owed(), 20_000, "nothing of it was read");
        flight.sent(8_000);
        assert_eq!(flight.owed(), 20_000, "what is on the way may still be lost");
        flight.heard(28_000);
        assert_eq!(flight.owed(), 0);
        let mut unknown = Flight::default();
        unknown.sent(5_000);
        assert_eq!(unknown.owed(), 5_000);
        unknown.stands(&standing, session.now);
        assert_eq!(unknown.owed(), 5_000);
    }

    /// A machine that is short of memory grants less than it did, and reads all the same.
    #[test]
    fn a_window_that_shrank_is_forgotten() {
        let mut session = Session::new(30_000);
        session.sends(1_000_000);
        session.read = session.sent;
        session.looks();
        session.window = 6_000;
        let (mut steps, goal) = (0, session.sent + 1_000_000);
        while session.sent < goal {
            session.now += session.flight.wait(session.now).max(ROUND_TRIP);
            session.looks();
            session.sends(100_000);
            session.read = session.sent;
            steps += 1;
            assert!(steps < 5_000, "{} octets are missing", goal - session.sent);
        }
    }

    /// The other sessions of the home have all of it.
    #[test]
    fn nobody_stands_still_for_others() {
        let mut session = Session::new(0);
        for _ in 0..100 {
            assert_eq!(session.sends(1_000_000), limits::UNRESERVED);
            session.read = session.sent;
            session.looks();
        }
    }

    /// A neighbour's TCP has all of it at once, and its program is not so fast.
    #[test]
    fn what_was_sent_this_moment_is_not_read_yet() {
        let mut session = Session::new(30_000);
        session.sends(1_000_000);
        session.read = session.sent;
        let standing = Standing { acknowledged: session.sent + 20_000, window: WINDOW, round_trip: Duration::ZERO };
        let mut flight = session.flight.clone();
        flight.sent(20_000);
        flight.stands(&standing, session.now);
        assert!(flight.is_unread());
        flight.stands(&standing, session.now + limits::AGED * 3);
        flight.stands(&standing, session.now + limits::AGED * 6);
        assert!(!flight.is_unread());
    }

    /// Whatever comes in what order, as much is given back as was reserved.
    #[test]
    fn what_is_reserved_is_given_back() {
        let mut flight = Flight::default();
        let (mut free, mut sent, now) = (10_000i64, 0, Instant::now());
        for step in 0..10_000u64 {
            let room = flight.room(now, |octets| {
                let some = octets.min(u64::try_from(free).unwrap_or(0));
                free -= i64::try_from(some).unwrap();
                some
            });
            let some = room.min(step * 37 % 9_000);
            sent += some;
            free -= i64::try_from(flight.sent(some)).unwrap();
            if step % 3 == 0 {
                flight.heard(step % 200);
            }
            if step % 5 == 0 {
                let window = step * 7_919 % 70_000;
                let standing = Standing { acknowledged: sent - sent.min(step % 4_000), window, round_trip: ROUND_TRIP };
                flight.stands(&standing, now);
                free += i64::try_from(flight.surplus()).unwrap();
            }
            assert_eq!(free + i64::try_from(flight.reserved()).unwrap(), 10_000);
        }
    }
}
