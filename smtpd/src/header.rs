//! The fields of a message's header, found without understanding them. Hostile: a line that is no field is
//! passed over, as mail readers do, so that nothing can hide a field from us that they would see.

use std::ops::Range;

use crate::limits;

/// One field: where it stands, its end of line and folded lines included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'a> {
    /// In the message.
    pub at: Range<usize>,
    /// Without the colon and spaces before it.
    pub name: &'a [u8],
    /// After the colon, folding and end of line included.
    pub value: &'a [u8],
}

impl Field<'_> {
    /// Compares the name in any case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value on one line, spaces at its ends removed; bytes that are not UTF-8 replaced.
    #[must_use]
    pub fn unfolded(&self) -> String {
        let joined: Vec<u8> = self.value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        String::from_utf8_lossy(joined.trim_ascii()).into_owned()
    }
}

/// Whether the header ends within its bound, so that [`fields`] gives all of it.
#[must_use]
pub fn is_bounded(message: &[u8]) -> bool {
    let head = &message[..message.len().min(limits::HEADER)];
    head.len() == message.len() || head.starts_with(b"\r\n") || head.windows(4).any(|ends| ends == b"\r\n\r\n")
}

/// Where the empty line belongs that a message has nowhere: before its first line that is no field, or at its end.
/// `None` when it has one.
#[must_use]
pub fn missing_end(message: &[u8]) -> Option<usize> {
    if message.starts_with(b"\r\n") || message.windows(4).any(|ends| ends == b"\r\n\r\n") {
        return None;
    }
    let mut at = 0;
    while let Some(end) = field_end(message, at).filter(|end| field(message, at..*end).is_some()) {
        at = end;
    }
    Some(at)
}

/// The number of the first line of the header that is none of a field as RFC 5322 §3.6.8 has it, from 1: mail readers,
/// verifiers and filters make each something else of it.
#[must_use]
pub fn misformed(message: &[u8]) -> Option<usize> {
    let head = &message[..message.len().min(limits::HEADER)];
    let end = missing_end(message).unwrap_or(head.len());
    let mut at = 0;
    while let Some(next) = field_end(head, at).filter(|_| at < end) {
        let name = head[at..next].split(|byte| *byte == b':').next().unwrap_or_default();
        let is_named = !name.is_empty() && name.iter().all(u8::is_ascii_graphic) || is_old_bcc(name);
        if name.len() == next - at || !is_named {
            return Some(1 + head[..at].iter().filter(|byte| **byte == b'\n').count());
        }
        at = next;
    }
    None
}

/// RFC 5322 §4.5 knows blanks before the colon. Of what does not leave it is nobody's affair what others would make.
fn is_old_bcc(name: &[u8]) -> bool {
    let bare = name.trim_ascii_end();
    bare.len() < name.len() && [&b"bcc"[..], b"resent-bcc"].iter().any(|bcc| bare.eq_ignore_ascii_case(bcc))
}

/// The line that a mailbox file has between letters, where a message begins with it: some mail apps pass it on.
#[must_use]
pub fn mailbox_line(message: &[u8]) -> Option<Range<usize>> {
    let end = field_end(message, 0).filter(|_| message.starts_with(b"From "))?;
    field(message, 0..end).is_none().then_some(0..end)
}

/// The fields in order, of the first [`limits::HEADER`] bytes.
#[must_use]
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { message: &message[..message.len().min(limits::HEADER)], at: 0 }
}

/// See [`fields`].
#[derive(Debug)]
pub struct Fields<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        loop {
            let start = self.at;
            let end = field_end(self.message, start)?;
            self.at = end;
            if let Some(field) = field(self.message, start..end) {
                return Some(field);
            }
        }
    }
}

/// The end of the field (or of the line that is none) that begins here; `None` at the empty line.
fn field_end(message: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let rest = message.get(at..)?;
        if at == start && (rest.is_empty() || rest.starts_with(b"\r\n") || rest.starts_with(b"\n")) {
            return None;
        }
        at += rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |found| found + 1);
        if !matches!(message.get(at), Some(b' ' | b'\t')) {
            return Some(at);
        }
    }
}

fn field(message: &[u8], at: Range<usize>) -> Option<Field<'_>> {
    let bytes = &message[at.clone()];
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let name = bytes[..colon].trim_ascii();
    let formed = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    formed.then_some(Field { at, name, value: &bytes[colon + 1..] })
}

/// Takes comments out of a structured value (RFC 5322 §3.2.2); `None` when one does not end.
#[must_use]
pub fn without_comments(value: &str) -> Option<String> {
    let (mut out, mut depth, mut quoted, mut escaped) = (String::new(), 0u32, false, false);
    for c in value.chars() {
        let inside = depth > 0;
        match c {
            _ if escaped => escaped = false,
            '\\' if inside || quoted => escaped = true,
            '"' if !inside => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if inside => {
                depth -= 1;
                if depth == 0 {
                    out.push(' ');
                }
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            out.push(c);
        }
    }
    (depth == 0 && !quoted).then_some(out)
}

/// The message without the blanks and empty lines at its end: what a body means that is hashed in the relaxed way (RFC 6376 §3.4.4).
/// The library writes the end of the line before a last one that is made of blanks; so it must not see such.
#[must_use]
pub fn without_blank_end(message: &[u8]) -> &[u8] {
    let body = message.windows(4).position(|end| end == b"\r\n\r\n").map_or(message.len(), |at| at + 4);
    let blank = message[body..].iter().rev().take_while(|byte| b" \t\r\n".contains(byte)).count();
    &message[..message.len() - blank]
}

/// A text without its quoted strings (RFC 5322 §3.2.4); `None` when one is not closed.
#[must_use]
pub fn without_quoted(text: &str) -> Option<String> {
    let (mut out, mut quoted, mut escaped) = (String::new(), false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if !quoted => out.push(c),
            _ => {}
        }
    }
    (!quoted).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_ends() {
        let without = |text: &'static str| std::str::from_utf8(without_blank_end(text.as_bytes())).unwrap();
        assert_eq!(without("A: b\r\n\r\nabc \r\n \r\n\t\r\n\r\n"), "A: b\r\n\r\nabc");
        assert_eq!(without("A: b\r\n\r\n \r\nabc"), "A: b\r\n\r\n \r\nabc");
        assert_eq!(without("A: b\r\n\r\n \r\n"), "A: b\r\n\r\n");
        assert_eq!(without("A: b\r\n"), "A: b\r\n");
    }

    #[test]
    fn a_line_that_is_no_field_is_found() {
        for fine in [
            "From: a@b.example\r\nSubject: x\r\n y: z\r\n\tw\r\n\r\nno field\r\n",
            "X-!#$:\r\n\r\n",
            "\r\nno field\r\n",
            "",
            "From: a@b.example\r\nbcc : c@d.example\r\nResent-Bcc\t: e@f.example\r\n\r\n",
            // Meant to have a body: the empty line is put in.
            "From: a@b.example\r\nno field\r\n: x\r\n",
        ] {
            assert_eq!(misformed(fine.as_bytes()), None, "{fine:?}");
        }
        for (bad, line) in [
            (b"From: a@b.example\r\n\x0bFrom: c@d.example\r\n\r\n".as_slice(), 2),
            (b"From: a@b.example\r\n x\r\n\xff: x\r\n\r\n", 3),
            (b"Subject : x\r\n\r\n", 1),
            (b" folded: into what is put in front\r\n\r\n", 1),
            (b"From: a@b.example\r\nno field\r\n\r\n", 2),
            (b": x\r\n\r\n", 1),
            (b"From: a@b.example\r\nBcc \r\n\r\n", 2),
            (b"xBcc : a@b.example\r\n\r\n", 1),
        ] {
            assert_eq!(misformed(bad), Some(line), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn the_line_of_a_mailbox_file() {
        assert_eq!(mailbox_line(b"From a@b.example Sun Nov 22 09:00:00\r\nFrom: a@b.example\r\n\r\n"), Some(0..38));
        for none in ["From : a@b.example\r\n\r\n", "From: a@b.example\r\n\r\n", "From", ""] {
            assert_eq!(mailbox_line(none.as_bytes()), None, "{none}");
        }
    }
    use proptest::prelude::*;

    #[test]
    fn an_empty_line_is_missed() {
        for (message, at) in [
            (&b""[..], Some(0)),
            (b"A: 1\r\n", Some(6)),
            (b"A: 1", Some(4)),
            (b"A: 1\r\n folded\r\nwords\r\nB: 2\r\n", Some(15)),
            (b"words\r\n", Some(0)),
            (b"\r\nwords", None),
            (b"A: 1\r\nwords\r\n\r\n", None),
        ] {
            assert_eq!(missing_end(message), at, "{}", message.escape_ascii());
        }
    }

    #[test]
    fn fields_folds_and_rubbish() {
        let message = b"A: 1\r\nB : 2\r\n folded\r\nrubbish\r\nC:3\r\n\r\nD: body\r\n";
        let found: Vec<(String, String)> =
            fields(message).map(|f| (String::from_utf8_lossy(f.name).into_owned(), f.unfolded())).collect();
        let expected = [("A", "1"), ("B", "2 folded"), ("C", "3")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_header_ends_within_its_bound() {
        let header = |octets: usize| [b"X: ".as_slice(), &vec![b'x'; octets - 5], b"\r\n"].concat();
        assert!(is_bounded(b"") && is_bounded(b"\r\nbody") && is_bounded(&header(limits::HEADER)));
        assert!(!is_bounded(&header(limits::HEADER + 1)));
        let with_body = |octets: usize| [header(octets), b"\r\nFrom: body@example.org\r\n".to_vec()].concat();
        assert!(is_bounded(&with_body(limits::HEADER - 2)) && !is_bounded(&with_body(limits::HEADER - 1)));
    }

    #[test]
    fn comments() {
        assert_eq!(without_comments("a (b (c) \\) d) e").as_deref(), Some("a   e"));
        assert_eq!(without_comments("\"a (b\" c").as_deref(), Some("\"a (b\" c"));
        assert_eq!(without_comments("a (b"), None);
    }

    proptest! {
        #[test]
        fn what_is_not_misformed_is_fields_from_end_to_end(text in "((A|b:|: |\\x0c| |\r\n){0,4}(A: b\r\n)){0,4}\r\nbody") {
            let bytes = text.as_bytes();
            let whole = fields(bytes).try_fold(0, |last, field| {
                (field.at.start == last && bytes[last] == field.name[0] && field.value.len() + field.name.len() + 1 == field.at.len())
                    .then_some(field.at.end)
            });
            let is_whole = whole.is_some_and(|end| bytes[end..].starts_with(b"\r\n"));
            prop_assert_eq!(misformed(bytes).is_none(), is_whole, "{:?}", text);
        }

        #[test]
        fn fields_lie_in_order_within_the_message(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut last = 0;
            for field in fields(&bytes) {
                prop_assert!(field.at.start >= last && field.at.end <= bytes.len());
                last = field.at.end;
                let _ = without_comments(&field.unfolded());
            }
        }
    }
}
