//! SMTP's verbs, as who listens on port 25 hears them. How a line is split into words is the listener's.

/// What a client may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "RFC 5321's own words")]
pub enum Verb {
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
    /// A browser that was made to talk to us: nothing it says is mail.
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

impl Verb {
    /// Of a word, in any case.
    #[must_use]
    pub fn of(word: &[u8]) -> Self {
        let named = VERBS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name));
        named.map_or(Self::Unknown, |(_, verb)| *verb)
    }
}
