//! Finding the quoted strings of a Sieve script, so that an action's argument can be held against them.

use super::Span;

/// Whether the span is exactly what stands between the quotes of one of the script's quoted strings, and holds no
/// escape. A walk from the start is needed: between two strings there is also something between two quotes.
/// RFC 5228 §2.3 (comments) and §2.4.2 (strings).
pub(super) fn literal(script: &[u8], span: Span) -> bool {
    let (start, end) = (span.start as usize, span.end as usize);
    let Some(text) = script.get(start..end) else { return false };
    if text.iter().any(|b| matches!(b, b'"' | b'\\' | b'\r' | b'\n' | 0)) || std::str::from_utf8(text).is_err() {
        return false;
    }
    let mut at = 0;
    while at < script.len() && at < end {
        at = match script[at] {
            b'"' if at + 1 == start => return script.get(end) == Some(&b'"'),
            b'"' => past_string(script, at + 1),
            b'#' => past(script, at, b"\n"),
            b'/' if script[at..].starts_with(b"/*") => past(script, at + 2, b"*/"),
            b't' | b'T' => past_multi_line(script, at),
            _ => at + 1,
        };
    }
    false
}

/// Past the next occurrence of `mark`, or the end.
fn past(script: &[u8], from: usize, mark: &[u8]) -> usize {
    memchr::memmem::find(&script[from..], mark).map_or(script.len(), |n| from + n + mark.len())
}

/// Past the closing quote of the string that opened just before `at`.
fn past_string(script: &[u8], mut at: usize) -> usize {
    while let Some(byte) = script.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    script.len()
}

/// Past a `text:` block, which ends with a line of one dot; past one byte where there is none.
fn past_multi_line(script: &[u8], at: usize) -> usize {
    let begins = script.get(at..at + 5).is_some_and(|word| word.eq_ignore_ascii_case(b"text:"));
    let inside_word = at.checked_sub(1).is_some_and(|b| script[b].is_ascii_alphanumeric() || script[b] == b'_');
    if !begins || inside_word {
        return at + 1;
    }
    let mut line = past(script, at, b"\n");
    while line < script.len() {
        let next = past(script, line, b"\n");
        if matches!(&script[line..next], b".\r\n" | b".\n" | b".") {
            return next;
        }
        line = next;
    }
    script.len()
}
