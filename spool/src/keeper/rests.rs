//! Which destinations rest, until when and why, for the admin's list: of a letter that waits behind another's trouble nothing
//! else would say so.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::edges::admin::Rest;
use crate::edges::outbox::limits::FARTHEST;

/// By destination.
#[derive(Debug, Default)]
pub struct Rests(Mutex<HashMap<String, Rest>>);

impl Rests {
    /// It rests until then; without a reason there is nothing to say.
    pub fn begin(&self, destination: &str, rest: Rest) {
        let mut all = self.lock();
        if rest.why.is_empty() {
            all.remove(destination);
        } else {
            all.insert(destination.to_owned(), rest);
        }
    }

    /// Whose time is over rests no more.
    pub fn look(&self, now: i64) {
        self.lock().retain(|_, rest| is_on(rest, now));
    }

    /// Nobody rests.
    pub fn end_all(&self) {
        self.lock().clear();
    }

    /// How that one rests now.
    #[must_use]
    pub fn of(&self, destination: &str, now: i64) -> Option<Rest> {
        self.lock().get(destination).filter(|rest| is_on(rest, now)).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Rest>> {
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
        rests.begin("far.test", rest(100, "down"));
        rests.begin("third.test", rest(100, ""));
        rests.begin("ahead.test", rest(FARTHEST + 1, "down"));
        assert_eq!(rests.of("far.test", 99), Some(rest(100, "down")));
        assert_eq!(
            [rests.of("far.test", 100), rests.of("third.test", 0), rests.of("ahead.test", 0)],
            [None, None, None]
        );
        rests.begin("far.test", rest(0, ""));
        assert_eq!(rests.of("far.test", 0), None, "it has room again");
        rests.begin("far.test", rest(100, "down"));
        rests.look(FARTHEST + 1);
        assert!(rests.lock().is_empty());
        rests.begin("far.test", rest(100, "down"));
        rests.end_all();
        assert_eq!(rests.of("far.test", 0), None);
    }
}
