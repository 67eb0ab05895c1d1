//! How much goes to one destination at a time: few connections at first, more while they go well, none for a while
//! when they do not; and of a destination that says "not now", only so many letters a minute. Destinations know nothing of
//! each other: they share the number of connections, where those that are not ready make room ([`limits::OPENING_WHEN_BUSY`]),
//! and the share of it that is for what strangers send, where they do so for each other.

use std::collections::HashMap;

use spool::edges::outbox::turns::Turn;
use spool::names::LetterId;

use super::limits;

/// Connections to a destination nothing is known of.
const AT_FIRST: u32 = 2;
/// Seconds a destination rests after its first failed connection; doubled with each further one.
const REST: i64 = 60;
/// And at most.
const LONGEST_REST: i64 = 3_600;
/// Seconds after which an idle destination is forgotten.
const FORGOTTEN: i64 = 2 * LONGEST_REST;

/// What is known of one destination.
#[derive(Debug, Clone)]
struct Lane {
    running: u32,
    most: u32,
    failures: u32,
    rest_until: i64,
    /// Why it rests, or would.
    why: String,
    /// Letters that were lost over their text since one last went well.
    lost: Vec<LetterId>,
    strangers: Strangers,
    rate: Option<Rate>,
    /// A connection was not begun because of those that run.
    turned_away: bool,
    /// When anything last happened.
    seen: i64,
}

/// What strangers send, where that was lost: theirs may be what a far server chokes on, or will not have, letter for letter.
#[derive(Debug, Clone)]
struct Strangers {
    lost: Vec<LetterId>,
    failures: u32,
    rest_until: i64,
}

/// Of a destination that has said "not now" of late.
#[derive(Debug, Clone)]
struct Rate {
    per_minute: u32,
    /// When it last changed.
    since: i64,
    /// Letters that may go now, and when that was counted.
    tokens: u32,
    counted: i64,
}

/// All destinations of late.
#[derive(Debug, Default)]
pub struct Lanes {
    lanes: HashMap<String, Lane>,
}

/// Whether a connection may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Go {
    /// Yes; [`Lanes::ended`] must follow.
    Now,
    /// As many as may are running; ask again when one has ended.
    Busy,
    /// Not before then.
    NotBefore(i64),
    /// The same, for what strangers send; what is written here goes.
    StrangersNotBefore(i64),
}

/// How a connection went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    /// The far server took letters, or refused them for what they are.
    Well,
    /// It could not be reached, broke off, or has no time.
    Badly,
    /// It was lost over that letter's text: that may be the letter's fault, and says little about others.
    Lost(LetterId, Turn),
    /// There was none: this house's own proxy has no room for it now.
    Not,
}

impl Lane {
    const fn new(now: i64) -> Self {
        Self {
            running: 0,
            most: AT_FIRST,
            failures: 0,
            rest_until: 0,
            why: String::new(),
            lost: Vec::new(),
            strangers: Strangers { lost: Vec::new(), failures: 0, rest_until: 0 },
            rate: None,
            turned_away: false,
            seen: now,
        }
    }

    fn rest(&mut self, now: i64) {
        self.failures = self.failures.saturating_add(1);
        self.most = AT_FIRST;
        self.turned_away = false;
        self.rest_until = after(self.failures, now);
    }

    /// Others go on, a few at a time; where they are lost, too, it is the far server's fault. How many strangers send, and what,
    /// says that only of what they send.
    fn lost(&mut self, (letter, turn): (LetterId, Turn), now: i64) {
        self.most = AT_FIRST;
        if turn != Turn::Written {
            self.strangers.lost(letter, now);
        } else if is_one_too_many(&mut self.lost, letter) {
            self.rest(now);
        }
    }

    fn is_idle(&self, now: i64) -> bool {
        let last = self.rest_until.max(self.strangers.rest_until).max(self.seen);
        self.running == 0 && last.saturating_add(FORGOTTEN) < now
    }
}

impl Strangers {
    fn lost(&mut self, letter: LetterId, now: i64) {
        if is_one_too_many(&mut self.lost, letter) {
            self.failures = self.failures.saturating_add(1);
            self.rest_until = after(self.failures, now);
        }
    }
}

/// Until when it rests that has failed so often.
fn after(failures: u32, now: i64) -> i64 {
    let rest = REST << failures.saturating_sub(1).min(6);
    now.saturating_add(rest.min(LONGEST_REST))
}

/// A clock that was set back makes nobody rest for longer than anybody rests.
const fn rests(until: i64, now: i64) -> bool {
    now < until && until <= now.saturating_add(LONGEST_REST)
}

/// With that one, so many were lost that it is no letter's fault.
fn is_one_too_many(lost: &mut Vec<LetterId>, letter: LetterId) -> bool {
    if !lost.contains(&letter) {
        lost.push(letter);
    }
    let are_many = lost.len() >= limits::LOST_IN_A_ROW;
    lost.truncate(limits::LOST_IN_A_ROW);
    are_many
}

impl Rate {
    /// All connections hear it at once: once a minute counts.
    fn slower(before: Option<Self>, now: i64) -> Self {
        match before {
            Some(rate) if (0..60).contains(&(now - rate.since)) => rate,
            before => {
                let half = before.map_or(limits::RATE_PER_MINUTE, |rate| rate.per_minute / 2);
                let per_minute = half.max(limits::LEAST_RATE);
                Self { per_minute, since: now, tokens: (per_minute / 6).max(1), counted: now }
            }
        }
    }

    /// `None`: it has been well for long enough.
    fn eased(mut self, now: i64) -> Option<Self> {
        // A clock that was set back eases nothing, and holds nothing up for ever.
        self.since = self.since.min(now);
        while now - self.since >= 60 && self.per_minute < limits::NO_RATE {
            self.per_minute *= 2;
            self.since += 60;
        }
        (self.per_minute < limits::NO_RATE).then_some(self)
    }

    fn refill(&mut self, now: i64) {
        let seconds = now.saturating_sub(self.counted).clamp(0, 60);
        let more = u64::from(self.per_minute) * seconds.unsigned_abs() / 60;
        if more > 0 || now < self.counted {
            self.tokens = self.per_minute.min(self.tokens + u32::try_from(more).unwrap_or(0));
            self.counted = now;
        }
    }
}

impl Lanes {
    /// May a connection to that destination begin, for a letter of that kind?
    pub fn begin(&mut self, destination: &str, turn: Turn, now: i64) -> Go {
        self.make_room(now);
        let lane = self.lanes.entry(destination.to_owned()).or_insert_with(|| Lane::new(now));
        if rests(lane.rest_until, now) {
            return Go::NotBefore(lane.rest_until);
        }
        if turn != Turn::Written && rests(lane.strangers.rest_until, now) {
            return Go::StrangersNotBefore(lane.strangers.rest_until);
        }
        // After a failure one connection feels the way.
        let most = if lane.failures > 0 { 1 } else { lane.most };
        if lane.running >= most {
            lane.turned_away = true;
            return Go::Busy;
        }
        lane.running += 1;
        Go::Now
    }

    /// May one more letter go over a connection that has begun?
    pub fn letter(&mut self, destination: &str, now: i64) -> Go {
        let Some(lane) = self.lanes.get_mut(destination) else { return Go::Now };
        lane.seen = now;
        lane.rate = lane.rate.take().and_then(|rate| rate.eased(now));
        let Some(rate) = &mut lane.rate else { return Go::Now };
        rate.refill(now);
        if rate.tokens == 0 {
            // A slow rate gives one in several seconds.
            return Go::NotBefore(rate.counted.saturating_add(i64::from((60 / rate.per_minute).max(1))));
        }
        rate.tokens -= 1;
        Go::Now
    }

    /// A letter was answered: one that went well makes room for more connections, a "not now" for fewer letters.
    pub fn answered(&mut self, destination: &str, slowed: bool, now: i64) {
        let Some(lane) = self.lanes.get_mut(destination) else { return };
        if slowed {
            lane.rate = Some(Rate::slower(lane.rate.take(), now));
        } else {
            lane.most = limits::PER_DESTINATION.min(lane.most + 1);
        }
    }

    /// A connection was broken off by ourselves: that says nothing about the far server.
    pub fn broken_off(&mut self, destination: &str) {
        if let Some(lane) = self.lanes.get_mut(destination) {
            lane.running = lane.running.saturating_sub(1);
        }
    }

    /// A connection has ended.
    pub fn ended(&mut self, destination: &str, went: Went, now: i64) {
        let Some(lane) = self.lanes.get_mut(destination) else { return };
        lane.running = lane.running.saturating_sub(1);
        match went {
            Went::Well => {
                lane.failures = 0;
                lane.lost.clear();
                lane.strangers.lost.clear();
                lane.strangers.failures = 0;
            }
            Went::Not => {}
            Went::Badly => lane.rest(now),
            Went::Lost(letter, turn) => lane.lost((letter, turn), now),
        }
    }

    /// In whose words it rests if it does; for the admin.
    pub fn because(&mut self, destination: &str, why: String) {
        if let Some(lane) = self.lanes.get_mut(destination) {
            lane.why = why;
        }
    }

    /// Why it rests.
    #[must_use]
    pub fn why(&self, destination: &str) -> String {
        self.lanes.get(destination).map(|lane| lane.why.clone()).unwrap_or_default()
    }

    /// Whether a connection was turned away that may begin now. Says so once.
    pub fn has_room_again(&mut self, destination: &str) -> bool {
        self.lanes.get_mut(destination).is_some_and(|lane| std::mem::take(&mut lane.turned_away))
    }

    /// The admin says "now": no destination rests any longer.
    pub fn wake(&mut self) {
        self.lanes.values_mut().for_each(|lane| (lane.rest_until, lane.strangers.rest_until) = (0, 0));
    }

    fn make_room(&mut self, now: i64) {
        if self.lanes.len() < limits::DESTINATIONS {
            return;
        }
        self.lanes.retain(|_, lane| !lane.is_idle(now));
        // Still too many: what merely rests is forgotten. What runs never is, and that is bounded elsewhere.
        if self.lanes.len() >= limits::DESTINATIONS {
            self.lanes.retain(|_, lane| lane.running > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// For what is written here.
    fn begin(lanes: &mut Lanes, destination: &str, now: i64) -> Go {
        lanes.begin(destination, Turn::Written, now)
    }

    #[test]
    fn more_while_it_goes_well() {
        let mut lanes = Lanes::default();
        assert_eq!(
            [begin(&mut lanes, "a", 0), begin(&mut lanes, "a", 0), begin(&mut lanes, "a", 0)],
            [Go::Now, Go::Now, Go::Busy]
        );
        // Another destination is not concerned.
        assert_eq!(begin(&mut lanes, "b", 0), Go::Now);
        for _ in 0..40 {
            lanes.answered("a", false, 1);
        }
        lanes.ended("a", Went::Well, 1);
        assert_eq!(begin(&mut lanes, "a", 1), Go::Now);
        let more = (0..100).filter(|_| begin(&mut lanes, "a", 1) == Go::Now).count();
        assert_eq!(more, limits::PER_DESTINATION as usize - 2);
    }

    #[test]
    fn rest_after_failures_and_one_to_feel_the_way() {
        let mut lanes = Lanes::default();
        begin(&mut lanes, "a", 0);
        lanes.ended("a", Went::Badly, 100);
        assert_eq!(begin(&mut lanes, "a", 159), Go::NotBefore(160));
        assert_eq!([begin(&mut lanes, "a", 160), begin(&mut lanes, "a", 160)], [Go::Now, Go::Busy]);
        lanes.ended("a", Went::Badly, 161);
        assert_eq!(begin(&mut lanes, "a", 200), Go::NotBefore(281));
        lanes.wake();
        assert_eq!(begin(&mut lanes, "a", 200), Go::Now);
        for _ in 0..70 {
            lanes.ended("a", Went::Badly, 1_000);
        }
        assert_eq!(begin(&mut lanes, "a", 1_000), Go::NotBefore(1_000 + LONGEST_REST));
    }

    #[test]
    fn one_letter_that_is_lost_over_its_text_holds_up_no_other() {
        let (mut lanes, letter) = (Lanes::default(), |number| Went::Lost(LetterId([number; 16]), Turn::Written));
        begin(&mut lanes, "a", 0);
        (0..20).for_each(|_| lanes.answered("a", false, 0));
        for now in 0..5 {
            lanes.ended("a", letter(1), now);
            assert_eq!(begin(&mut lanes, "a", now), Go::Now, "however often");
        }
        assert_eq!([begin(&mut lanes, "a", 5), begin(&mut lanes, "a", 5)], [Go::Now, Go::Busy], "few at a time");
        for (number, ended) in [(2, Went::Well), (3, letter(3)), (4, letter(4)), (5, letter(3)), (6, letter(4))] {
            lanes.ended("a", ended, 10);
            assert_eq!(begin(&mut lanes, "a", 10), Go::Now, "{number}");
        }
        lanes.ended("a", letter(7), 10);
        assert_eq!(begin(&mut lanes, "a", 10), Go::NotBefore(70), "three different ones: it is no letter's fault");
        lanes.ended("a", letter(8), 70);
        assert_eq!(begin(&mut lanes, "a", 70), Go::NotBefore(190));
    }

    #[test]
    fn what_strangers_send_and_is_lost_holds_up_only_that() {
        let (mut lanes, turns) = (Lanes::default(), [Turn::PassedOn, Turn::WayBack, Turn::PassedOn]);
        for (number, turn) in (1..).zip(turns) {
            assert_eq!(lanes.begin("a", turn, 10), Go::Now, "{number}");
            lanes.ended("a", Went::Lost(LetterId([number; 16]), turn), 10);
        }
        assert_eq!(lanes.begin("a", Turn::PassedOn, 10), Go::StrangersNotBefore(70), "three of them");
        assert_eq!(begin(&mut lanes, "a", 10), Go::Now, "nobody who writes here waits for that");
        lanes.ended("a", Went::Lost(LetterId([4; 16]), Turn::Written), 10);
        assert_eq!(begin(&mut lanes, "a", 10), Go::Now, "one of one's own is one");
        assert_eq!(lanes.begin("a", Turn::WayBack, 69), Go::StrangersNotBefore(70));
        lanes.wake();
        assert_eq!(lanes.begin("a", Turn::WayBack, 69), Go::Now);
        lanes.ended("a", Went::Lost(LetterId([5; 16]), Turn::WayBack), 100);
        assert_eq!(lanes.begin("a", Turn::WayBack, 100), Go::StrangersNotBefore(220), "twice as long");
        lanes.ended("a", Went::Well, 101);
        lanes.ended("a", Went::Lost(LetterId([6; 16]), Turn::WayBack), 300);
        assert_eq!(lanes.begin("a", Turn::WayBack, 300), Go::Now, "not in a row");
    }

    #[test]
    fn why_it_rests_is_known() {
        let mut lanes = Lanes::default();
        lanes.because("a", "nobody knows it".to_owned());
        assert_eq!(lanes.why("a"), "");
        begin(&mut lanes, "a", 0);
        lanes.because("a", "it is down".to_owned());
        lanes.ended("a", Went::Badly, 0);
        assert_eq!(lanes.why("a"), "it is down");
    }

    #[test]
    fn without_a_connection_nothing_is_learnt_of_a_destination() {
        let mut lanes = Lanes::default();
        begin(&mut lanes, "a", 0);
        lanes.ended("a", Went::Not, 0);
        assert_eq!([begin(&mut lanes, "a", 0), begin(&mut lanes, "a", 0)], [Go::Now, Go::Now], "it does not rest");
        lanes.ended("a", Went::Badly, 100);
        lanes.ended("a", Went::Not, 160);
        assert_eq!(
            [begin(&mut lanes, "a", 160), begin(&mut lanes, "a", 160)],
            [Go::Now, Go::Busy],
            "nor is it well again"
        );
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nobody_rest_for_long() {
        let mut lanes = Lanes::default();
        begin(&mut lanes, "a", 0);
        lanes.ended("a", Went::Badly, 1_000_000);
        assert_eq!(begin(&mut lanes, "a", 0), Go::Now);
        lanes.ended("a", Went::Badly, 0);
        assert_eq!(begin(&mut lanes, "a", 1), Go::NotBefore(2 * REST));
    }

    #[test]
    fn who_was_turned_away_is_called_when_there_is_room() {
        let mut lanes = Lanes::default();
        for _ in 0..2 {
            begin(&mut lanes, "a", 0);
        }
        lanes.ended("a", Went::Well, 0);
        assert!(!lanes.has_room_again("a"), "nobody waits");
        assert_eq!([begin(&mut lanes, "a", 0), begin(&mut lanes, "a", 0)], [Go::Now, Go::Busy]);
        lanes.ended("a", Went::Well, 0);
        assert_eq!([lanes.has_room_again("a"), lanes.has_room_again("a")], [true, false]);
        assert_eq!([begin(&mut lanes, "a", 0), begin(&mut lanes, "a", 0)], [Go::Now, Go::Busy]);
        lanes.ended("a", Went::Badly, 0);
        assert!(!lanes.has_room_again("a"), "it rests");
    }

    #[test]
    fn what_is_broken_off_makes_room() {
        let mut lanes = Lanes::default();
        assert_eq!(
            [begin(&mut lanes, "a", 0), begin(&mut lanes, "a", 0), begin(&mut lanes, "a", 0)],
            [Go::Now, Go::Now, Go::Busy]
        );
        lanes.broken_off("a");
        assert_eq!(begin(&mut lanes, "a", 0), Go::Now);
    }

    /// How many letters of a thousand may go.
    fn go(lanes: &mut Lanes, now: i64) -> u32 {
        (0..1_000).map(|_| u32::from(lanes.letter("a", now) == Go::Now)).sum()
    }

    #[test]
    fn as_many_letters_as_are_taken_until_it_says_not_now() {
        let mut lanes = Lanes::default();
        begin(&mut lanes, "a", 0);
        assert_eq!(go(&mut lanes, 0), 1_000);
        (0..20).for_each(|_| lanes.answered("a", true, 0));
        assert_eq!(go(&mut lanes, 0), limits::RATE_PER_MINUTE / 6, "all connections hear the same");
        assert_eq!(go(&mut lanes, 10), limits::RATE_PER_MINUTE / 6);
        lanes.answered("a", true, 60);
        assert_eq!(go(&mut lanes, 60), limits::RATE_PER_MINUTE / 12, "again: half of it");
        // Each minute without doubles it, until there is none.
        assert_eq!(go(&mut lanes, 120), limits::RATE_PER_MINUTE);
        assert_eq!(go(&mut lanes, 600), 1_000);
    }

    #[test]
    fn never_slower_than_slow_nor_held_up_by_a_clock() {
        let mut lanes = Lanes::default();
        begin(&mut lanes, "a", 0);
        (0..40).for_each(|minute| lanes.answered("a", true, minute * 60));
        assert_eq!(go(&mut lanes, 2_340), 1);
        assert_eq!(lanes.letter("a", 2_341), Go::NotBefore(2_346));
        assert_eq!(go(&mut lanes, 2_346), 1);
        // A clock that was set back refills nothing, and locks nothing for ever.
        assert!(matches!(lanes.letter("a", -1_000), Go::NotBefore(_)));
        assert_eq!(lanes.letter("a", -990), Go::Now);
        assert_eq!(go(&mut lanes, 0), 1_000);
    }

    proptest! {
        #[test]
        fn bounded_whatever_happens(steps in prop::collection::vec((0u8..4, 0u32..4_000, 0i64..100), 1..6_000)) {
            let (mut lanes, mut now, mut running) = (Lanes::default(), 0, 0usize);
            for (what, name, passed) in steps {
                now += passed;
                let name = name.to_string();
                match what {
                    0 | 1 => running += usize::from(begin(&mut lanes, &name, now) == Go::Now),
                    2 if passed % 2 == 0 => lanes.ended(&name, Went::Lost(LetterId([1; 16]), Turn::Written), now),
                    2 => lanes.ended(&name, Went::Badly, now),
                    _ => lanes.ended(&name, Went::Well, now),
                }
                prop_assert!(lanes.lanes.len() <= limits::DESTINATIONS + running);
            }
        }
    }
}
