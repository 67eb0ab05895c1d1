//! What the fuzz targets call: one function for every kind of hostile bytes this crate reads. They panic when a
//! promise does not hold.

use filter_sandbox::letter;
use filter_sandbox::report::Facts;

use crate::command::{Command, Item};
use crate::grammar::{self, utf7};
use crate::list::Pattern;
use crate::render::{self, Wanted};
use crate::sequence::SequenceSet;

/// A connection's bytes: framed, and every command parsed.
pub fn commands(bytes: &[u8]) {
    grammar::exercise(bytes);
}

/// A folder's name, a pattern, a set of letters.
pub fn names(bytes: &[u8]) {
    if let Some(name) = utf7::decode(bytes) {
        let mut wire = Vec::new();
        utf7::encode(&name, &mut wire);
        assert_eq!(utf7::decode(&wire).as_ref(), Some(&name), "a name changes on its way");
        let (pattern, name) = name.split_once('\n').unwrap_or((&name, "INBOX"));
        let _ = Pattern::new("", pattern).matches(name);
    }
    if let Some(set) = SequenceSet::parse(bytes) {
        assert_eq!(SequenceSet::parse(set.to_text().as_bytes()).as_ref(), Some(&set), "a set changes on its way");
    }
}

/// FETCH items on the first line, a letter behind it: spans stay inside the letter, and everything can be shown.
pub fn letters(bytes: &[u8]) {
    let Some(at) = bytes.iter().position(|&b| b == b'\n') else { return };
    let (line, message) = bytes.split_at(at);
    let Some(report) = letter::examine(message, &Facts::default()) else { return };
    let summary = report.summary;
    let mut out = Vec::new();
    render::envelope(&mut out, &summary.envelope);
    render::body_structure(&mut out, &summary.root);
    let command = [b"a FETCH 1 ", line.trim_ascii_end()].concat();
    let Ok(Command::Fetch { items, .. }) = grammar::parse(&command).map(|tagged| tagged.command) else { return };
    for item in items {
        let Item::Section(item) = item else { continue };
        if let Wanted::Bytes(slices) = render::resolve(&summary, &item.section) {
            let cut = render::cut(&slices, item.partial);
            for span in slices.spans.iter().chain(&cut.spans) {
                assert!(span.start < span.end && span.end as usize <= message.len(), "a span leaves the letter");
            }
            render::label(&mut out, &item);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn they_run() {
        super::commands(b"a NOOP\r\nb LOGIN {3+}\r\nabc x\r\n");
        super::names(b"Entw&APw-rfe");
        super::names(b"1:*,7");
        super::letters(b"(BODY[1.MIME] BODY[TEXT]<1.2>)\nSubject: x\r\n\r\nhello\r\n");
    }
}
