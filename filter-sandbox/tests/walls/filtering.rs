//! Letters through real workers.

use filter_sandbox::report::Facts;

use crate::box_::{self, LIMITS};
use crate::runner::Case;

pub fn cases() -> Vec<Case> {
    vec![Case { name: "a letter is described by a ready worker", run: ready_worker }]
}

const LETTER: &[u8] = b"From: a@b.example\r\nTo: c@d.example\r\nSubject: words\r\n\r\nHello.\r\n";

fn ready_worker() {
    box_::with_filter(LIMITS, |filter| async move {
        for _ in 0..5 {
            let report = filter.examine(&[&LETTER[..10], &LETTER[10..]], &Facts::default()).await.unwrap();
            assert_eq!(report.summary.subject_text, "words");
            assert_eq!(report.summary.size as usize, LETTER.len());
        }
    });
}
