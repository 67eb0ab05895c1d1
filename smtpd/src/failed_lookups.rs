//! Questions that DNS failed to answer a moment ago: not asked again for a while, longer each time (RFC 9520 §3.2), so
//! that a name server that is down costs one letter its time and not every letter. By question: one broken domain says
//! nothing about another.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::limits;

#[derive(Debug, Clone, Copy)]
struct Failure {
    at: Instant,
    quiet: Duration,
}

impl Failure {
    fn is_quiet(&self, now: Instant) -> bool {
        now.duration_since(self.at) < self.quiet
    }

    /// One that comes again this long after its quiet time is a new one.
    fn is_recent(&self, now: Instant) -> bool {
        now.duration_since(self.at) < self.quiet + limits::FAILED_LOOKUP_LONGEST
    }
}

/// The memory of one role, bounded.
#[derive(Debug, Default)]
pub struct FailedLookups(Mutex<HashMap<String, Failure>>);

impl FailedLookups {
    /// Whether this question failed a moment ago.
    #[must_use]
    pub fn recently(&self, question: &str) -> bool {
        self.recently_at(question, Instant::now())
    }

    /// It failed now.
    pub fn note(&self, question: &str) {
        self.note_at(question, Instant::now());
    }

    /// It was answered.
    pub fn forget(&self, question: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(question);
    }

    fn recently_at(&self, question: &str, now: Instant) -> bool {
        let questions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        questions.get(question).is_some_and(|failure| failure.is_quiet(now))
    }

    fn note_at(&self, question: &str, now: Instant) {
        let mut questions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = match questions.get(question) {
            // Asked by several letters at once: one failure.
            Some(last) if last.is_quiet(now) => return,
            Some(last) if last.is_recent(now) => (last.quiet * 2).min(limits::FAILED_LOOKUP_LONGEST),
            _ => limits::FAILED_LOOKUP,
        };
        if questions.len() >= limits::FAILED_LOOKUPS && !questions.contains_key(question) {
            questions.retain(|_, failure| failure.is_recent(now));
            // Still full: somebody asks for ever new names. The oldest goes.
            let oldest = questions.iter().min_by_key(|(_, failure)| failure.at).map(|(name, _)| name.clone());
            if let Some(oldest) = oldest.filter(|_| questions.len() >= limits::FAILED_LOOKUPS) {
                questions.remove(&oldest);
            }
        }
        questions.insert(question.to_owned(), Failure { at: now, quiet });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_by_question_and_bounded() {
        let failed = FailedLookups::default();
        failed.note("spf a.example");
        assert!(failed.recently("spf a.example") && !failed.recently("spf b.example"));
        failed.forget("spf a.example");
        assert!(!failed.recently("spf a.example"));
        (0..limits::FAILED_LOOKUPS * 2).for_each(|n| failed.note(&n.to_string()));
        assert_eq!(failed.0.lock().unwrap().len(), limits::FAILED_LOOKUPS);
        assert!(failed.recently(&(limits::FAILED_LOOKUPS * 2 - 1).to_string()), "the last is remembered");
    }

    #[test]
    fn each_failure_makes_the_quiet_longer() {
        let (failed, began) = (FailedLookups::default(), Instant::now());
        let (mut now, mut quiets) = (began, Vec::new());
        for _ in 0..7 {
            failed.note_at("a", now);
            failed.note_at("a", now);
            let quiet = (1..).find(|s| !failed.recently_at("a", now + Duration::from_secs(*s))).unwrap();
            quiets.push(quiet);
            now += Duration::from_secs(quiet);
        }
        assert_eq!(quiets, [15, 30, 60, 120, 240, 300, 300]);
        failed.note_at("a", now + Duration::from_secs(3_600));
        assert!(!failed.recently_at("a", now + Duration::from_secs(3_615)), "it was well in between");
    }
}
