//! Replies: code, enhanced status (RFC 2034, 3463) and words.

use std::borrow::Cow;

/// One reply of one or more lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// RFC 5321 §4.2: 200 to 599.
    pub code: u16,
    /// Enhanced status; empty for the greeting, EHLO, 334 and 354, which have none.
    pub status: &'static str,
    /// At least one.
    pub lines: Vec<Cow<'static, str>>,
}

/// Longest text of one line, so that 512 octets hold code, status and CRLF (RFC 5321 §4.5.3.1.5); a SASL
/// challenge may be longer (RFC 4954 §4).
const TEXT: usize = 480;

impl Reply {
    /// A reply with an enhanced status.
    #[must_use]
    pub fn new(code: u16, status: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, status, lines: vec![text.into()] }
    }

    /// A reply without one.
    #[must_use]
    pub fn plain(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code, "", text)
    }

    /// Whether it refuses for good (5xx): counted as an error of the peer's.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        self.code >= 500
    }

    /// Appends it as it goes on the wire. Whatever a text contains, the result is well formed: control
    /// characters become `?`, and what is too long is cut.
    pub fn write(&self, out: &mut Vec<u8>) {
        let last = self.lines.len().saturating_sub(1);
        for (number, line) in self.lines.iter().enumerate() {
            out.extend_from_slice(self.code.to_string().as_bytes());
            out.push(if number == last { b' ' } else { b'-' });
            if !self.status.is_empty() {
                out.extend_from_slice(self.status.as_bytes());
                out.push(b' ');
            }
            let limit = if self.code == 334 { crate::limits::AUTH_LINE - 8 } else { TEXT };
            out.extend(line.bytes().take(limit).map(|byte| if byte < b' ' || byte == 0x7f { b'?' } else { byte }));
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// 250 2.0.0.
#[must_use]
pub fn ok(text: impl Into<Cow<'static, str>>) -> Reply {
    Reply::new(250, "2.0.0", text)
}

/// 503 5.5.1: a command at the wrong moment.
#[must_use]
pub fn out_of_order(text: impl Into<Cow<'static, str>>) -> Reply {
    Reply::new(503, "5.5.1", text)
}

/// 501 5.5.4: arguments that are not what the command takes.
#[must_use]
pub fn bad_arguments(text: impl Into<Cow<'static, str>>) -> Reply {
    Reply::new(501, "5.5.4", text)
}

/// 421: the session ends.
#[must_use]
pub fn closing(status: &'static str, text: impl Into<Cow<'static, str>>) -> Reply {
    Reply::new(421, status, text)
}
