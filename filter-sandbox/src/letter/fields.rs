//! The fields of one header block, as offsets into the message.

use crate::report::{Field, limits};
use memchr::memchr;

/// The fields of a header block, in order. Lines that are no field (no colon, a space in the name, an mbox
/// `From ` line) belong to no field.
pub(super) struct Fields<'m> {
    message: &'m [u8],
    at: usize,
    end: usize,
}

impl<'m> Fields<'m> {
    /// The fields of `message[header]`.
    pub(super) fn of(message: &'m [u8], header: std::ops::Range<usize>) -> Self {
        let end = header.end.min(message.len());
        Fields { message, at: header.start.min(end), end }
    }

    /// One past the line that begins at `from`.
    fn line_end(&self, from: usize) -> usize {
        memchr(b'\n', &self.message[from..self.end]).map_or(self.end, |n| from + n + 1)
    }
}

impl Iterator for Fields<'_> {
    type Item = Field;

    fn next(&mut self) -> Option<Field> {
        while self.at < self.end {
            let start = self.at;
            let mut end = self.line_end(start);
            let name = name_length(&self.message[start..end]);
            while end < self.end && matches!(self.message[end], b' ' | b'\t') {
                end = self.line_end(end);
            }
            self.at = end;
            if let (Some(name), Ok(start), Ok(end)) = (name, u32::try_from(start), u32::try_from(end)) {
                return Some(Field { start, name, end });
            }
        }
        None
    }
}

/// Bytes of the field's name on its first line. RFC 5322 §4.5 lets white space stand before the colon.
fn name_length(line: &[u8]) -> Option<u16> {
    let colon = memchr(b':', line)?;
    let name = line[..colon].trim_ascii_end();
    let good = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    u16::try_from(name.len()).ok().filter(|_| good)
}

/// The field's name.
pub(super) fn name<'m>(message: &'m [u8], field: &Field) -> &'m [u8] {
    let start = field.start as usize;
    message.get(start..start + usize::from(field.name)).unwrap_or_default()
}

/// Everything after the field's colon, folded as it stands.
pub(super) fn value<'m>(message: &'m [u8], field: &Field) -> &'m [u8] {
    let rest = message.get(field.start as usize + usize::from(field.name)..field.end as usize).unwrap_or_default();
    memchr(b':', rest).map_or(&[], |colon| &rest[colon + 1..])
}

/// A value on one line: RFC 5322 §2.2.3 unfolding, trimmed, cut at [`limits::TEXT`], and without the bytes that
/// can end a line of a reply (CR, LF, NUL).
pub(super) fn unfold(value: &[u8]) -> Vec<u8> {
    let value = value.trim_ascii();
    let mut line: Vec<u8> = Vec::with_capacity(value.len().min(limits::TEXT));
    line.extend(value.iter().filter(|b| !matches!(b, b'\r' | b'\n' | 0)).take(limits::TEXT));
    line.truncate(line.trim_ascii_end().len());
    line
}
