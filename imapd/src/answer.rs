//! The tagged line that ends a command.

use std::borrow::Cow;

/// RFC 3501 §7.1: how a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok,
    /// Not done: ours, or the folder's or disk's state.
    No,
    /// Not done: the client's mistake.
    Bad,
}

/// A tagged line without its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How it ended.
    pub status: Status,
    /// A response code without its brackets (RFC 3501 §7.1, RFC 5530).
    pub code: Option<Cow<'static, str>>,
    /// For people.
    pub text: Cow<'static, str>,
}

impl Answer {
    /// `OK text`
    #[must_use]
    pub fn ok(text: impl Into<Cow<'static, str>>) -> Self {
        Self { status: Status::Ok, code: None, text: text.into() }
    }

    /// `NO [code] text`
    #[must_use]
    pub fn no(code: impl Into<Cow<'static, str>>, text: impl Into<Cow<'static, str>>) -> Self {
        Self { status: Status::No, code: Some(code.into()), text: text.into() }
    }

    /// `BAD text`
    #[must_use]
    pub fn bad(text: impl Into<Cow<'static, str>>) -> Self {
        Self { status: Status::Bad, code: None, text: text.into() }
    }

    /// The same with a response code.
    #[must_use]
    pub fn with(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Writes `tag STATUS [code] text`.
    pub fn write(&self, out: &mut Vec<u8>, tag: &str) {
        let status = match self.status {
            Status::Ok => "OK",
            Status::No => "NO",
            Status::Bad => "BAD",
        };
        for part in [tag, " ", status, " "] {
            out.extend_from_slice(part.as_bytes());
        }
        if let Some(code) = &self.code {
            for part in ["[", code, "] "] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.extend_from_slice(self.text.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}
