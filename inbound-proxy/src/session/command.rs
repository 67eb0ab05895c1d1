//! One command line: its verb, and what follows it.

pub(super) use wire::verb::Verb;

/// Splits at the first blank; a tab counts, since nobody may smuggle DATA past us with one.
pub(super) fn split(line: &[u8]) -> (Verb, &[u8]) {
    let line = line.trim_ascii();
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    (Verb::of(word), rest.trim_ascii())
}
