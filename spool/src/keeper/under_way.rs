//! What is on its way to a far server at this moment, for the admin's commands: they must not say that a letter is kept
//! back of which somebody has the half.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::names::LetterId;

/// How far a letter is at one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The courier has it; its text has not begun, and does not if the admin keeps it back.
    Leased,
    /// Its text goes out.
    Begun,
}

/// By letter, and by destination.
#[derive(Debug, Default)]
pub struct UnderWay(Mutex<HashMap<LetterId, BTreeMap<String, Stage>>>);

impl UnderWay {
    /// It is there now.
    pub fn is_at(&self, letter: LetterId, destination: &str, stage: Stage) {
        self.lock().entry(letter).or_default().insert(destination.to_owned(), stage);
    }

    /// It has been there.
    pub fn is_over(&self, letter: LetterId, destination: &str) {
        let mut all = self.lock();
        let Some(its) = all.get_mut(&letter) else { return };
        its.remove(destination);
        if its.is_empty() {
            all.remove(&letter);
        }
    }

    /// Where a letter is on its way to.
    #[must_use]
    pub fn of(&self, letter: LetterId) -> Vec<String> {
        self.lock().get(&letter).map(|its| its.keys().cloned().collect()).unwrap_or_default()
    }

    /// Where its text goes at this moment.
    #[must_use]
    pub fn begun(&self, letter: LetterId) -> Vec<String> {
        let all = self.lock();
        let its = all.get(&letter).into_iter().flatten();
        its.filter(|(_, stage)| **stage == Stage::Begun).map(|(destination, _)| destination.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LetterId, BTreeMap<String, Stage>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
