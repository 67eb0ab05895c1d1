//! Questions that DNS failed to answer a moment ago: not asked again for a while (RFC 9520 §3.2), so that a name
//! server that is down costs one letter its time and not every letter. By name: one broken domain says nothing
//! about another.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::limits;

/// The memory of one role, bounded.
#[derive(Debug, Default)]
pub struct FailedLookups(Mutex<HashMap<String, Instant>>);

impl FailedLookups {
    /// Whether this question failed within [`limits::FAILED_LOOKUP`].
    #[must_use]
    pub fn recently(&self, question: &str) -> bool {
        let questions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        questions.get(question).is_some_and(|since| since.elapsed() < limits::FAILED_LOOKUP)
    }

    /// It failed now.
    pub fn note(&self, question: &str) {
        let mut questions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if questions.len() >= limits::FAILED_LOOKUPS {
            questions.retain(|_, since| since.elapsed() < limits::FAILED_LOOKUP);
        }
        if questions.len() < limits::FAILED_LOOKUPS {
            // Kept from its first failure: asking again is what ends an outage.
            let now = Instant::now();
            let since = questions.entry(question.to_owned()).or_insert(now);
            if since.elapsed() >= limits::FAILED_LOOKUP {
                *since = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_by_name_and_bounded() {
        let failed = FailedLookups::default();
        failed.note("spf a.example");
        assert!(failed.recently("spf a.example") && !failed.recently("spf b.example"));
        (0..limits::FAILED_LOOKUPS * 2).for_each(|n| failed.note(&n.to_string()));
        assert!(failed.0.lock().unwrap().len() <= limits::FAILED_LOOKUPS);
    }
}
