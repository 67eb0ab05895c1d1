//! Which destinations the courier lets rest, for everybody or only for what aliases pass on.

use std::collections::HashMap;

use crate::edges::outbox::limits::{FARTHEST, RESTING};

/// Until when.
#[derive(Debug, Default)]
pub struct Resting {
    all: HashMap<String, i64>,
    passed_on: HashMap<String, i64>,
}

impl Resting {
    /// Whose time is over rests no more.
    pub fn look(&mut self, now: i64) {
        // What rests for longer than anything does was put there by a clock that was ahead.
        let is_on = |until: &i64| *until > now && *until <= now.saturating_add(FARTHEST);
        self.all.retain(|_, until| is_on(until));
        self.passed_on.retain(|_, until| is_on(until));
    }

    /// Nobody rests.
    pub fn end_all(&mut self) {
        *self = Self::default();
    }

    /// It rests until then; whether there is room for it.
    pub fn begin(&mut self, destination: String, until: i64, only_passed_on: bool) -> bool {
        let which = if only_passed_on { &mut self.passed_on } else { &mut self.all };
        let has_room = which.len() < RESTING || which.contains_key(&destination);
        if has_room {
            which.insert(destination, until);
        }
        has_room
    }

    /// Whether nothing goes there.
    #[must_use]
    pub fn is_closed(&self, destination: &str) -> bool {
        self.all.contains_key(destination)
    }

    /// The same, for a letter that is passed on or not.
    #[must_use]
    pub fn is_closed_for(&self, destination: &str, passed_on: bool) -> bool {
        self.is_closed(destination) || passed_on && self.passed_on.contains_key(destination)
    }
}
