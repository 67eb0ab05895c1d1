//! Answers that say "there is no such thing" and not for how long, kept for a moment.
//!
//! Small forwarders leave out the SOA record that gives a negative answer its time (RFC 2308 §5), and then the
//! verifier would ask the same three questions for every letter of one sender.

use std::collections::HashMap;
use std::time::Instant;

use super::{HEADER, Question};
use crate::limits;

const NO_ERROR: u8 = 0;
const NO_SUCH_NAME: u8 = 3;

/// By question (letter case does not matter): the answer's code, and when it came.
#[derive(Debug, Default)]
pub(super) struct Nothings(HashMap<Vec<u8>, (u8, Instant)>);

impl Nothings {
    /// Keeps an upstream's answer if it is one of these.
    pub(super) fn note(&mut self, question: &Question, answer: &[u8]) {
        self.note_at(question, answer, Instant::now());
    }

    /// The answer, if it was kept and is fresh.
    pub(super) fn answer(&mut self, question: &Question) -> Option<Vec<u8>> {
        self.answer_at(question, Instant::now())
    }

    fn note_at(&mut self, question: &Question, answer: &[u8], now: Instant) {
        let Some(code) = timeless_nothing(answer) else { return };
        if self.0.len() >= limits::DNS_NOTHINGS {
            self.0.retain(|_, (_, at)| is_fresh(*at, now));
        }
        // Still full: somebody asks for ever new names. Those asked before keep their place.
        if self.0.len() < limits::DNS_NOTHINGS {
            self.0.insert(key(question), (code, now));
        }
    }

    fn answer_at(&mut self, question: &Question, now: Instant) -> Option<Vec<u8>> {
        let (code, at) = self.0.get(&key(question))?;
        is_fresh(*at, now).then(|| question.empty_answer(*code))
    }
}

fn is_fresh(at: Instant, now: Instant) -> bool {
    now.duration_since(at) < limits::DNS_NOTHING
}

fn key(question: &Question) -> Vec<u8> {
    question.message[HEADER..question.end].to_ascii_lowercase()
}

/// The code of a whole answer (TC clear) with neither an answer nor an authority record.
fn timeless_nothing(answer: &[u8]) -> Option<u8> {
    let (counts, code) = (answer.get(6..10)?, answer[3] & 15);
    (answer[2] & 0x02 == 0 && counts == [0; 4] && matches!(code, NO_ERROR | NO_SUCH_NAME)).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn question(name: &str, id: u8) -> Question {
        let mut message = vec![id, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.len() as u8];
        message.extend_from_slice(name.as_bytes());
        message.extend_from_slice(&[0, 0, 16, 0, 1]);
        Question::read(&message).unwrap()
    }

    #[test]
    fn kept_for_a_moment_whatever_the_case() {
        let (mut nothings, now) = (Nothings::default(), Instant::now());
        nothings.note_at(&question("example", 1), &question("example", 1).empty_answer(NO_SUCH_NAME), now);
        let asked = question("EXAMPLE", 2);
        let answer = nothings.answer_at(&asked, now).unwrap();
        assert!(asked.answered_by([2, 2], &answer));
        assert_eq!(answer[3] & 15, NO_SUCH_NAME);
        assert_eq!(nothings.answer_at(&question("other", 2), now), None);
        assert_eq!(nothings.answer_at(&asked, now + limits::DNS_NOTHING), None);
    }

    #[test]
    fn only_nothing_is_kept() {
        let (mut nothings, asked) = (Nothings::default(), question("example", 1));
        let mut records = asked.empty_answer(NO_ERROR);
        records[7] = 1;
        let mut timed = asked.empty_answer(NO_SUCH_NAME);
        timed[9] = 1;
        let mut cut = asked.empty_answer(NO_ERROR);
        cut[2] |= 0x02;
        for answer in [records, timed, cut, asked.failure(), Vec::new()] {
            nothings.note(&asked, &answer);
        }
        assert_eq!(nothings.answer(&asked), None);
    }

    #[test]
    fn bounded() {
        let (mut nothings, now) = (Nothings::default(), Instant::now());
        let ask = |n: usize| question(&format!("n{n}"), 1);
        for n in 0..limits::DNS_NOTHINGS * 2 {
            nothings.note_at(&ask(n), &ask(n).empty_answer(NO_ERROR), now);
        }
        assert_eq!(nothings.0.len(), limits::DNS_NOTHINGS);
        nothings.note_at(&ask(0), &ask(0).empty_answer(NO_ERROR), now + limits::DNS_NOTHING + Duration::from_secs(1));
        assert_eq!(nothings.0.len(), 1, "the old ones went");
    }
}
