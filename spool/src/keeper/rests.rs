//! Which destinations rest, until when and why, for the admin's list: of a letter that waits behind another's trouble nothing
//! else would say so.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::edges::admin::Rest;
use crate::edges::outbox::limits::FARTHEST;

/// By destination.
#[derive(Debug, Default)]
pub struct Rests(Mutex<Both>);

#[derive(Debug, Default)]
struct Both {
    all: HashMap<String, Rest>,
    /// For what aliases pass on only.
    passed_on: HashMap<String, Rest>,
}

impl Rests {
    /// It rests until then; without a reason there is nothing to say.
    pub fn begin(&self, destination: &str, rest: Rest, only_passed_on: bool) {
        let mut both = self.lock();
        let which = if only_passed_on { &mut both.passed_on } else { &mut both.all };
        if rest.why.is_empty() {
            which.remove(destination);
        } else {
            which.insert(destination.to_owned(), rest);
        }
    }

    /// Whose time is over rests no more.
    pub fn look(&self, now: i64) {
        let mut both = self.lock();
        both.all.retain(|_, rest| is_on(rest, now));
        both.passed_on.retain(|_, rest| is_on(rest, now));
    }

    /// Nobody rests.
    pub fn end_all(&self) {
        *self.lock() = Both::default();
    }

    /// How that one rests now, for a letter that is passed on or not: the longest.
    #[must_use]
    pub fn of(&self, destination: &str, passed_on: bool, now: i64) -> Option<Rest> {
        let both = self.lock();
        let strangers = both.passed_on.get(destination).filter(|_| passed_on);
        let rests = both.all.get(destination).into_iter().chain(strangers).filter(|rest| is_on(rest, now));
        rests.max_by_key(|rest| rest.until).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Both> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What rests for longer than anything does was put there by a clock that was ahead.
const fn is_on(rest: &Rest, now: i64) -> bool {
    rest.until > now && rest.until <= now.saturating_add(FARTHEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_its_time_is_over() {
        let rests = Rests::default();
        let rest = |until, why: &str| Rest { until, why: why.to_owned() };
        rests.begin("far.test", rest(100, "down"), false);
        rests.begin("third.test", rest(100, ""), false);
        rests.begin("ahead.test", rest(FARTHEST + 1, "down"), false);
        assert_eq!(rests.of("far.test", false, 99), Some(rest(100, "down")));
        assert_eq!(
            [rests.of("far.test", false, 100), rests.of("third.test", false, 0), rests.of("ahead.test", false, 0)],
            [None, None, None]
        );
        rests.begin("far.test", rest(0, ""), false);
        assert_eq!(rests.of("far.test", false, 0), None, "it has room again");
        rests.begin("far.test", rest(100, "down"), false);
        rests.look(FARTHEST + 1);
        assert!(rests.lock().all.is_empty());
        rests.begin("far.test", rest(100, "down"), false);
        rests.end_all();
        assert_eq!(rests.of("far.test", false, 0), None);
    }

    #[test]
    fn what_is_passed_on_may_rest_by_itself() {
        let rests = Rests::default();
        let rest = |until, why: &str| Rest { until, why: why.to_owned() };
        rests.begin("far.test", rest(100, "lost"), true);
        assert_eq!((rests.of("far.test", false, 0), rests.of("far.test", true, 0)), (None, Some(rest(100, "lost"))));
        rests.begin("far.test", rest(200, "down"), false);
        assert_eq!(rests.of("far.test", true, 0), Some(rest(200, "down")), "the longest");
    }
}
