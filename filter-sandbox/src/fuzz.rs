//! What the fuzz targets call: one function for every kind of hostile bytes this crate parses. They panic when a
//! promise does not hold.

use crate::{
    letter,
    report::{Action, Facts, Inside, Part, Query, Report, Span, limits},
    scanner,
    score::{Authentication, score},
};

/// A letter, examined and searched: its report passes its own check, travels, and slices only the letter.
pub fn letter(bytes: &[u8]) {
    let facts = Facts { sender_domain: "example.org".into(), script: Vec::new() };
    for word in ["e", "über"] {
        let query = Query::Or(vec![Query::Header("Subject".into(), word.into()), Query::Text(word.into())]);
        letter::matches(bytes, 0, &query);
    }
    let Some(report) = letter::examine(bytes, &facts) else { return };
    assert_eq!(report.check(bytes.len(), &facts), Ok(()), "a report that its own check refuses");
    let encoded = postcard::to_stdvec(&report).unwrap_or_default();
    assert!(encoded.len() <= limits::REPORT_BYTES, "a report that is too long to travel");
    assert!(postcard::from_bytes(&encoded).is_ok_and(|again: Report| again == report), "a report changes on its way");
    slices(bytes, &report.summary.root);
    assert!(score(&report.features, &Authentication::default()).points.is_finite());
}

/// A worker's report: whatever passes the check lies inside the letter.
pub fn report(bytes: &[u8]) {
    let letter = vec![b'x'; bytes.len()];
    let Ok(report) = postcard::from_bytes::<Report>(bytes) else { return };
    let facts = Facts { sender_domain: String::new(), script: bytes.to_vec() };
    if report.check(letter.len(), &facts).is_ok() {
        slices(&letter, &report.summary.root);
        for Action::FileInto(span) in &report.actions {
            assert!(facts.script.get(span.range()).is_some(), "an action outside the script");
        }
    }
    let _ = score(&report.features, &Authentication::default());
}

/// A Sieve script: every span that counts as its literal stands between quotes.
pub fn script(bytes: &[u8]) {
    let Some(mut report) = letter::examine(b"\r\n", &Facts::default()) else { return };
    let facts = Facts { sender_domain: String::new(), script: bytes.to_vec() };
    let quotes: Vec<u32> = (0..).zip(bytes).filter(|(_, byte)| **byte == b'"').map(|(at, _)| at).take(100).collect();
    for pair in quotes.windows(2) {
        let span = Span { start: pair[0] + 1, end: pair[1] };
        report.actions = vec![Action::FileInto(span)];
        if report.check(2, &facts).is_ok() {
            assert!(bytes.get(span.range()).is_some_and(|name| std::str::from_utf8(name).is_ok()));
        }
    }
}

/// An external scanner's answer: a number within bounds, or none.
pub fn answer(bytes: &[u8]) {
    let Some(points) = scanner::answer(bytes) else { return };
    assert!(points.is_finite() && points.abs() <= scanner::limits::POINTS, "{points}");
    assert!(bytes.len() <= scanner::limits::ANSWER, "an answer longer than what is read of one");
}

/// An address list.
pub fn addresses(bytes: &[u8]) {
    let found = letter::addresses(bytes, limits::ADDRESSES);
    let ends = |address: &&crate::report::Address| address.host.is_none() && address.mailbox.is_none();
    let starts = |address: &&crate::report::Address| address.host.is_none() && address.mailbox.is_some();
    assert_eq!(found.iter().filter(ends).count(), found.iter().filter(starts).count(), "a group left open");
    assert!(found.len() <= limits::ADDRESSES, "too many addresses");
}

/// Every span of the tree slices the letter.
fn slices(letter: &[u8], part: &Part) {
    let both = letter.get(part.header.range()).is_some() && letter.get(part.body.range()).is_some();
    assert!(both, "a span leaves the letter");
    match &part.inside {
        Inside::Leaf => {}
        Inside::Parts(parts) => parts.iter().for_each(|part| slices(letter, part)),
        Inside::Message(enclosed) => {
            let inside = |field: &crate::report::Field| letter.get(field.start as usize..field.end as usize).is_some();
            assert!(enclosed.fields.iter().all(inside), "a field leaves the letter");
            slices(letter, &enclosed.root);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn they_run() {
        super::letter(b"Subject: x\r\n\r\nhello\r\n");
        super::report(&[0; 64]);
        super::answer(b"5.0\n");
        super::script(b"fileinto \"a\";");
        super::addresses(b"a: b@c, \"d\" <e@f>;");
    }
}
