//! One command line: its verb, and what follows it.

pub use wire::verb::Verb;

/// Splits a line, its CRLF already gone, at the first space.
#[must_use]
pub fn split(line: &[u8]) -> (Verb, &[u8]) {
    let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    (Verb::of(word), rest.strip_prefix(b" ").unwrap_or(rest))
}

/// Takes a keyword and colon off the front, in any case: `FROM:` of MAIL, `TO:` of RCPT.
#[must_use]
pub fn after_keyword<'a>(argument: &'a [u8], keyword: &str) -> Option<&'a [u8]> {
    let argument = argument.trim_ascii_start();
    let (word, rest) = argument.split_at_checked(keyword.len())?;
    let rest = rest.trim_ascii_start().strip_prefix(b":")?;
    word.eq_ignore_ascii_case(keyword.as_bytes()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_and_keywords() {
        assert_eq!(split(b"mail FROM:<>"), (Verb::Mail, b"FROM:<>".as_slice()));
        assert_eq!(split(b"QUIT"), (Verb::Quit, b"".as_slice()));
        assert_eq!(split(b""), (Verb::Unknown, b"".as_slice()));
        assert_eq!(split(b"MAILFROM:<>").0, Verb::Unknown);
        assert_eq!(after_keyword(b"from:<a>", "FROM"), Some(b"<a>".as_slice()));
        assert_eq!(after_keyword(b"FROM : <a>", "FROM"), Some(b" <a>".as_slice()));
        assert_eq!(after_keyword(b"TO:<a>", "FROM"), None);
        assert_eq!(after_keyword(b"FR", "FROM"), None);
    }
}
