//! What a scorer may weigh. Each feature is a fact about the letter, not a judgement; [`score`](crate::score) knows
//! what each is worth.

mod body;
mod files;
mod form;
mod urls;

use super::Letter;
use crate::report::{Feature, limits};

/// All features of a letter, each once, none with the value 0.
pub(super) fn features(letter: &Letter<'_>) -> Vec<Feature> {
    let mut found = Found::default();
    form::note(letter, &mut found);
    files::note(letter, &mut found);
    body::note(letter, &mut found);
    found.features
}

/// Features found so far.
#[derive(Default)]
struct Found {
    features: Vec<Feature>,
}

impl Found {
    /// Notes how much of something there is; nothing for 0.
    fn count(&mut self, name: &'static str, amount: usize) {
        if amount == 0 || self.features.len() == limits::FEATURES {
            return;
        }
        // Counts beyond 16 bits say no more than this.
        let value = f32::from(u16::try_from(amount).unwrap_or(u16::MAX));
        self.features.push(Feature { name: name.into(), value });
    }

    /// Notes that something is so.
    fn is(&mut self, name: &'static str, so: bool) {
        self.count(name, usize::from(so));
    }
}
