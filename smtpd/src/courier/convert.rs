//! A letter with 8-bit bodies for a server that takes 7 bits only (RFC 6152 §3): such parts become quoted-printable.
//! The parts are found by their boundaries, line by line; nothing else of the letter changes.
//!
//! Hostile only as far as our own people are; it is bounded all the same, and is to run in a worker.

use super::limits;
use crate::header::{self, Field};

/// Why a letter cannot be converted: it comes back, or waits for a server that takes it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unconvertible {
    /// A header beyond ASCII needs SMTPUTF8.
    Header,
    /// Changing a part would break its signature.
    Signed,
    /// Parts in parts without end, or in an encoding that is against the rules there.
    Form,
}

/// The letter in 7 bits.
///
/// # Errors
/// [`Unconvertible`].
pub fn to_seven_bit(letter: &[u8]) -> Result<Vec<u8>, Unconvertible> {
    let mut out = Vec::with_capacity(letter.len() + letter.len() / 8);
    entity(letter, 0, false, &mut out)?;
    Ok(out)
}

/// One part: its header and its body.
fn entity(bytes: &[u8], level: usize, in_signed: bool, out: &mut Vec<u8>) -> Result<(), Unconvertible> {
    if bytes.is_ascii() {
        out.extend_from_slice(bytes);
        return Ok(());
    }
    if in_signed {
        return Err(Unconvertible::Signed);
    }
    if level > limits::LEVELS {
        return Err(Unconvertible::Form);
    }
    let (head, body) = split(bytes);
    if !head.is_ascii() {
        return Err(Unconvertible::Header);
    }
    let kind = Kind::of(head);
    match &kind {
        // Its parts cannot be found, or are in other letters, so nothing of it may be touched.
        Kind::Formless => Err(Unconvertible::Form),
        Kind::Multipart { boundary, signed } => {
            relabelled(head, "7bit", out);
            multipart(body, boundary, level, *signed, out)
        }
        Kind::Message => {
            relabelled(head, "7bit", out);
            entity(body, level + 1, false, out)
        }
        Kind::Leaf => {
            // What claims to be encoded and is not may not be encoded again.
            if matches!(encoding(head).as_deref(), Some("quoted-printable" | "base64")) {
                return Err(Unconvertible::Form);
            }
            relabelled(head, "quoted-printable", out);
            quoted_printable(body, out);
            Ok(())
        }
    }
}

enum Kind {
    Multipart {
        boundary: Vec<u8>,
        signed: bool,
    },
    Message,
    /// Of several parts, without a boundary that could be read; or one that may have no other encoding (RFC 2046 §5.2.2.1,
    /// 5.2.3).
    Formless,
    Leaf,
}

impl Kind {
    fn of(head: &[u8]) -> Self {
        let Some(value) = header::fields(head).find(|field| field.is("Content-Type")).map(|field| field.unfolded())
        else {
            return Self::Leaf;
        };
        let media = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if media == "message/rfc822" || media == "message/global" {
            return Self::Message;
        }
        if media == "message/partial" || media == "message/external-body" {
            return Self::Formless;
        }
        match (media.strip_prefix("multipart/"), boundary(&value)) {
            (Some(kind), Some(boundary)) => Self::Multipart { boundary, signed: kind == "signed" },
            (Some(_), None) => Self::Formless,
            (None, _) => Self::Leaf,
        }
    }
}

/// RFC 2045 §5.1: a token or a quoted string, of the one parameter of that name. The pieces of RFC 2231
/// (`boundary*0=`) are not put together.
fn boundary(value: &str) -> Option<Vec<u8>> {
    let mut named = parameters(value).into_iter().filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().to_owned())
    });
    let (text, None) = (named.next()?, named.next()) else { return None };
    let found = match text.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None => text.split(char::is_whitespace).next()?.to_owned(),
    };
    let found = found.trim_end();
    (!found.is_empty() && found.len() <= limits::BOUNDARY).then(|| found.as_bytes().to_vec())
}

/// What stands between semicolons that are in no quoted string.
fn parameters(value: &str) -> Vec<&str> {
    let (mut all, mut from) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in value.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' if !quoted => {
                all.push(&value[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    all.push(&value[from..]);
    all
}

/// Up to the closing quote.
fn unquoted(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some(out),
            '\\' => out.push(chars.next()?),
            c => out.push(c),
        }
    }
}

fn multipart(body: &[u8], boundary: &[u8], level: usize, signed: bool, out: &mut Vec<u8>) -> Result<(), Unconvertible> {
    let (mut part, mut in_part) = (0, false);
    let mut any = false;
    let mut at = 0;
    while at < body.len() {
        let end = line_end(body, at);
        let Some(last) = delimiter(&body[at..end], boundary) else {
            at = end;
            continue;
        };
        // The end of line before a delimiter belongs to it (RFC 2046 §5.1.1).
        let before = at - body[part..at].iter().rev().take(2).take_while(|b| matches!(b, b'\r' | b'\n')).count();
        piece(&body[part..before], in_part, level, signed, out)?;
        out.extend_from_slice(&body[before..end]);
        any |= !last;
        (part, in_part, at) = (end, !last, end);
        if last {
            break;
        }
    }
    // Else what looked like text before the first part may have been all of the letter.
    if !any {
        return Err(Unconvertible::Form);
    }
    piece(&body[part..], in_part, level, signed, out)
}

/// A part, or what stands before the first or after the last and is nobody's.
fn piece(bytes: &[u8], part: bool, level: usize, signed: bool, out: &mut Vec<u8>) -> Result<(), Unconvertible> {
    if part {
        return entity(bytes, level + 1, signed, out);
    }
    out.extend(bytes.iter().map(|byte| if byte.is_ascii() { *byte } else { b'?' }));
    Ok(())
}

/// Whether a line is a delimiter, and if so whether it is the last.
fn delimiter(line: &[u8], boundary: &[u8]) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?;
    let (rest, last) = rest.strip_prefix(b"--").map_or((rest, false), |rest| (rest, true));
    rest.iter().all(u8::is_ascii_whitespace).then_some(last)
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |found| at + found + 1)
}

/// The header with its empty line, and the body.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    while at < bytes.len() {
        let end = line_end(bytes, at);
        if matches!(&bytes[at..end], b"\r\n" | b"\n") {
            return bytes.split_at(end);
        }
        at = end;
    }
    (bytes, &[])
}

fn encoding(head: &[u8]) -> Option<String> {
    let field = header::fields(head).find(is_encoding)?;
    Some(field.unfolded().to_ascii_lowercase())
}

fn is_encoding(field: &Field<'_>) -> bool {
    field.is("Content-Transfer-Encoding")
}

/// The header with this encoding instead of the one it names.
fn relabelled(head: &[u8], encoding: &str, out: &mut Vec<u8>) {
    let mut from = 0;
    let mut fields_end = 0;
    for field in header::fields(head) {
        fields_end = field.at.end;
        if is_encoding(&field) {
            out.extend_from_slice(&head[from..field.at.start]);
            from = field.at.end;
        }
    }
    out.extend_from_slice(&head[from..fields_end.max(from)]);
    out.extend_from_slice(format!("Content-Transfer-Encoding: {encoding}\r\n").as_bytes());
    out.extend_from_slice(&head[fields_end.max(from)..]);
}

/// RFC 2045 §6.7: lines of at most 76, spaces at their ends encoded; ends of lines stay ends of lines.
fn quoted_printable(body: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while at < body.len() {
        let end = line_end(body, at);
        let line = &body[at..end];
        let text = line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        quoted_line(text, out);
        if text.len() < line.len() {
            out.extend_from_slice(b"\r\n");
        }
        at = end;
    }
}

fn quoted_line(text: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut column = 0;
    for (at, byte) in text.iter().enumerate() {
        let last = at + 1 == text.len();
        let plain = matches!(byte, b'!'..=b'<' | b'>'..=b'~') || (matches!(byte, b' ' | b'\t') && !last);
        let width = if plain { 1 } else { 3 };
        if column + width > if last { 76 } else { 75 } {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if plain {
            out.push(*byte);
        } else {
            out.extend_from_slice(&[b'=', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        column += width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn convert(letter: &str) -> Result<String, Unconvertible> {
        to_seven_bit(letter.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// RFC 2045 §6.7 backwards.
    fn decoded(text: &[u8]) -> Vec<u8> {
        let (mut out, mut at) = (Vec::new(), 0);
        while at < text.len() {
            match &text[at..] {
                [b'=', b'\r', b'\n', ..] => at += 3,
                [b'=', a, b, ..] => {
                    let digits = [*a, *b];
                    out.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                    at += 3;
                }
                [byte, ..] => {
                    out.push(*byte);
                    at += 1;
                }
                [] => {}
            }
        }
        out
    }

    #[test]
    fn a_plain_letter() {
        let letter = "Subject: x\r\nContent-Transfer-Encoding: 8bit\r\nTo: y\r\n\r\nGrüße = \r\nzwei\r\n";
        let expected = "Subject: x\r\nTo: y\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe =3D=20\r\nzwei\r\n";
        assert_eq!(convert(letter).as_deref(), Ok(expected));
        assert_eq!(convert("Subject: x\r\n\r\nascii\r\n").as_deref(), Ok("Subject: x\r\n\r\nascii\r\n"));
    }

    #[test]
    fn parts_and_a_letter_in_a_letter() {
        let letter = "Content-Type: multipart/mixed;\r\n boundary=\"b 1\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\nprä\r\n\
            --b 1\r\nContent-Type: text/plain\r\n\r\nascii\r\n--b 1  \r\n\r\nä\r\n\
            --b 1\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nö\r\n--b 1--\r\nend\r\n";
        let expected = "Content-Type: multipart/mixed;\r\n boundary=\"b 1\"\r\nContent-Transfer-Encoding: 7bit\r\n\r\npr??\r\n\
            --b 1\r\nContent-Type: text/plain\r\n\r\nascii\r\n--b 1  \r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A4\r\n\
            --b 1\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
            Subject: in\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=B6\r\n--b 1--\r\nend\r\n";
        assert_eq!(convert(letter).as_deref(), Ok(expected));
    }

    #[test]
    fn what_cannot_be() {
        assert_eq!(convert("Subject: ä\r\n\r\nä\r\n"), Err(Unconvertible::Header));
        let signed = "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nä\r\n--b\r\n\r\nsig\r\n--b--\r\n";
        assert_eq!(convert(signed), Err(Unconvertible::Signed));
        assert_eq!(convert("Content-Transfer-Encoding: base64\r\n\r\nä\r\n"), Err(Unconvertible::Form));
        for part_of_one in ["message/partial; id=x; number=1; total=2", "Message/External-Body; access-type=x"] {
            assert_eq!(convert(&format!("Content-Type: {part_of_one}\r\n\r\nä\r\n")), Err(Unconvertible::Form));
        }
        let deep = "Content-Type: message/rfc822\r\n\r\n".repeat(limits::LEVELS + 2) + "\r\nä";
        assert_eq!(convert(&deep), Err(Unconvertible::Form));
    }

    #[test]
    fn boundaries() {
        for (value, expected) in [
            ("multipart/mixed; boundary=abc", Some("abc")),
            ("multipart/mixed; charset=x; BOUNDARY = \"a;b c\" ; y", Some("a;b c")),
            ("multipart/mixed; boundary=\"\"", None),
            ("multipart/mixed", None),
        ] {
            assert_eq!(boundary(value).as_deref(), expected.map(str::as_bytes), "{value}");
        }
        assert_eq!(boundary(&format!("multipart/mixed; boundary={}", "x".repeat(71))), None);
        for (value, expected) in [
            ("multipart/mixed; x-boundary=no; boundary=yes", Some("yes")),
            ("multipart/mixed; name=\"a; boundary=no\"; boundary=\"y\\\"es\"", Some("y\"es")),
            ("multipart/mixed; boundary*0=\"ab\"; boundary*1=\"c\"", None),
            ("multipart/mixed; boundary=a; boundary=b", None),
            ("multipart/mixed; boundary=\"open", None),
        ] {
            assert_eq!(boundary(value).as_deref(), expected.map(str::as_bytes), "{value}");
        }
    }

    #[test]
    fn parts_that_cannot_be_found_are_left_alone() {
        for head in ["boundary*0=b", "boundary=other", "x-boundary=b", "boundary=b; boundary=c"] {
            let letter = format!("Content-Type: multipart/mixed; {head}\r\n\r\n--b\r\n\r\nä\r\n--b--\r\n");
            assert_eq!(convert(&letter), Err(Unconvertible::Form), "{head}");
        }
        let only_its_end = "Content-Type: multipart/mixed; boundary=b\r\n\r\nä\r\n--b--\r\n";
        assert_eq!(convert(only_its_end), Err(Unconvertible::Form));
    }

    proptest! {
        #[test]
        fn quoted_lines_decode_to_what_they_were(text in prop::collection::vec(any::<u8>().prop_filter("no end of line", |b| !matches!(b, b'\r' | b'\n')), 0..300)) {
            let mut out = Vec::new();
            quoted_printable(&text, &mut out);
            prop_assert_eq!(decoded(&out), text);
            for line in out.split(|byte| *byte == b'\n') {
                prop_assert!(line.len() <= 77 && line.is_ascii());
                prop_assert!(!line.ends_with(b" ") && !line.ends_with(b"\t"));
            }
        }

        #[test]
        fn any_letter(pieces in prop::collection::vec(prop::sample::select(vec![
            "Content-Type: multipart/mixed; boundary=b\r\n", "Content-Type: message/rfc822\r\n", "X: y\r\n", "\r\n", "--b\r\n",
            "--b--\r\n", "ä", "text\r\n", "\n", "Content-Transfer-Encoding: 8bit\r\n", "--b", "Content-Type: multipart/signed; boundary=c\r\n", "--c\r\n",
        ]), 0..40)) {
            let letter = pieces.concat();
            if let Ok(converted) = to_seven_bit(letter.as_bytes()) {
                prop_assert!(converted.is_ascii());
                if letter.is_ascii() {
                    prop_assert_eq!(converted, letter.into_bytes());
                }
            }
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(converted) = to_seven_bit(&bytes) {
                prop_assert!(converted.is_ascii());
            }
        }
    }
}
