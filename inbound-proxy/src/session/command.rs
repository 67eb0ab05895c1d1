//! One command line: its verb, and what follows it.

/// What a sender may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Ehlo,
    Helo,
    StartTls,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Vrfy,
    Expn,
    Help,
    Quit,
    Auth,
    Http,
    Unknown,
}

const VERBS: [(&[u8], Verb); 19] = [
    (b"EHLO", Verb::Ehlo),
    (b"HELO", Verb::Helo),
    (b"STARTTLS", Verb::StartTls),
    (b"MAIL", Verb::Mail),
    (b"RCPT", Verb::Rcpt),
    (b"DATA", Verb::Data),
    (b"BDAT", Verb::Bdat),
    (b"RSET", Verb::Rset),
    (b"NOOP", Verb::Noop),
    (b"VRFY", Verb::Vrfy),
    (b"EXPN", Verb::Expn),
    (b"HELP", Verb::Help),
    (b"QUIT", Verb::Quit),
    (b"AUTH", Verb::Auth),
    (b"GET", Verb::Http),
    (b"POST", Verb::Http),
    (b"HEAD", Verb::Http),
    (b"PUT", Verb::Http),
    (b"OPTIONS", Verb::Http),
];

/// Splits at the first blank; a tab counts, since nobody may smuggle DATA past us with one.
pub(super) fn split(line: &[u8]) -> (Verb, &[u8]) {
    let line = line.trim_ascii();
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let verb = VERBS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map_or(Verb::Unknown, |(_, verb)| *verb);
    (verb, rest.trim_ascii())
}
