//! What is wrong with a command, whose fault it is (the client's, always), and how it is told.

/// Why a command was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Not of the grammar; the text says what was expected.
    Syntax(&'static str),
    /// A verb we do not have.
    Unknown,
    /// SEARCH CHARSET is neither US-ASCII nor UTF-8 (RFC 3501 §6.4.4).
    BadCharset,
    /// A folder name that is not modified UTF-7, or too long, or with control characters.
    BadName,
    /// Beyond a bound of [`crate::limits`].
    TooMuch(&'static str),
    /// A line beyond [`crate::limits::LINE`]; nothing after it can be trusted.
    LineTooLong,
    /// A literal too long to skip.
    LiteralTooLong,
}

impl Fault {
    /// Whether the connection must end: what follows cannot be told apart from the rest of this command.
    #[must_use]
    pub const fn closes(&self) -> bool {
        matches!(self, Self::LineTooLong | Self::LiteralTooLong)
    }

    const fn answer(self) -> (&'static str, &'static str) {
        match self {
            Self::Syntax(text) => ("BAD ", text),
            Self::Unknown => ("BAD ", "Unknown command"),
            Self::BadCharset => ("NO [BADCHARSET (US-ASCII UTF-8)] ", "Search texts may be US-ASCII or UTF-8"),
            Self::BadName => ("NO [CANNOT] ", "This folder name is not valid modified UTF-7, or too long"),
            Self::TooMuch(text) => ("NO [LIMIT] ", text),
            Self::LineTooLong => ("BAD ", "The line is too long"),
            Self::LiteralTooLong => ("BAD ", "The literal is too long"),
        }
    }
}

/// A command that was not taken, with its tag where one could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its tag.
    pub tag: Option<String>,
    /// What was wrong.
    pub fault: Fault,
}

impl Refused {
    /// Appends the answer; when the fault [closes](Fault::closes), a BYE after it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (status, text) = self.fault.answer();
        // NO is only for a command that was understood; without its tag it is BAD.
        let status = if self.tag.is_none() { "BAD " } else { status };
        out.extend_from_slice(self.tag.as_deref().unwrap_or("*").as_bytes());
        for part in [" ", status, text, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        if self.fault.closes() {
            out.extend_from_slice(b"* BYE Too much at once\r\n");
        }
    }
}
