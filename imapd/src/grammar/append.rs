//! Literals as a line announces them, and APPEND's head (RFC 3501 §6.3.11), parsed before its message comes.

use super::cursor::{Cursor, Parsed};
use super::{Fault, date, flags, name};
use crate::command::{AppendHead, Flags};

/// A literal that a line's end announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Announced {
    /// Bytes; as large as it may be written, to refuse it by its true size.
    pub size: u64,
    /// Whether the client waits for `+ ` (RFC 7888).
    pub sync: bool,
}

/// What the end of a line announces: `{n}` or `{n+}`.
pub(super) fn announced(line: &[u8]) -> Option<Announced> {
    let inner = line.strip_suffix(b"}")?;
    let (inner, sync) = inner.strip_suffix(b"+").map_or((inner, true), |inner| (inner, false));
    let open = inner.iter().rposition(|&b| b == b'{')?;
    let digits = inner.get(open + 1..)?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = std::str::from_utf8(digits).ok()?.parse().unwrap_or(u64::MAX);
    Some(Announced { size, sync })
}

/// Whether this is an APPEND, as far as it has come.
pub(super) fn is_append(command: &[u8]) -> bool {
    let mut cursor = Cursor::new(command);
    cursor.tag().is_ok() && cursor.space().is_ok() && cursor.word().eq_ignore_ascii_case("APPEND")
}

/// The head, when `command` is an APPEND up to and with the announcement of its message; `None` when the literal is
/// an ordinary one (another verb's, or the folder's name).
pub(super) fn head(command: &[u8], literal: &Announced) -> Parsed<Option<AppendHead>> {
    if !is_append(command) {
        return Ok(None);
    }
    let mut cursor = Cursor::new(command);
    let tag = cursor.tag()?.to_owned();
    cursor.space()?;
    cursor.word();
    cursor.space()?;
    if is_announcement(cursor.rest()) {
        return Ok(None);
    }
    let mailbox = name::decode(&cursor.astring()?)?;
    cursor.space()?;
    let mut given = Flags::default();
    if cursor.peek() == Some(b'(') {
        given = flags::list(&mut cursor)?;
        cursor.space()?;
    }
    let mut date = None;
    if cursor.peek() == Some(b'"') {
        date = Some(date::date_time(&mut cursor)?);
        cursor.space()?;
    }
    if !is_announcement(cursor.rest()) {
        return Err(Fault::Syntax("APPEND wants a folder, flags, a date, and the message as a literal"));
    }
    let size = u32::try_from(literal.size).map_err(|_| Fault::TooMuch("The message is too long"))?;
    Ok(Some(AppendHead { tag, mailbox, flags: given, date, size, sync: literal.sync }))
}

// `{n}` or `{n+}` and nothing else: a literal whose bytes have not come.
fn is_announcement(rest: &[u8]) -> bool {
    rest.first() == Some(&b'{') && !rest.contains(&b'\n') && announced(rest).is_some()
}
