//! A letter as DATA wants it (RFC 5321 §4.5.2): a dot at the start of a line doubled, and the end that only an end is.
//! A bare CR or LF never leaves (§2.3.8): where two servers disagree about what ends a line, letters are smuggled.

/// Doubles dots, piece by piece.
#[derive(Debug)]
pub struct Stuffing {
    /// The last two bytes written.
    last: [u8; 2],
}

/// The letter holds a CR or LF that is not part of CRLF. `submission` and `mx` let none in: it is our fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BareLineEnd;

impl Default for Stuffing {
    fn default() -> Self {
        Self { last: *b"\r\n" }
    }
}

impl Stuffing {
    /// Appends a piece.
    ///
    /// # Errors
    /// [`BareLineEnd`]; what was written by then must not be ended.
    pub fn piece(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), BareLineEnd> {
        out.reserve(piece.len() + 16);
        let mut rest = piece;
        while !rest.is_empty() {
            // What lies between ends of lines is most of it, and goes as it is.
            let plain =
                if self.last[1] == b'\r' { 0 } else { memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len()) };
            let (line, after) = rest.split_at(plain);
            if line.first() == Some(&b'.') && self.last == *b"\r\n" {
                out.push(b'.');
            }
            out.extend_from_slice(line);
            for byte in &line[line.len().saturating_sub(2)..] {
                self.last = [self.last[1], *byte];
            }
            let Some((end, after)) = after.split_first() else { return Ok(()) };
            if (self.last[1] == b'\r') != (*end == b'\n') {
                return Err(BareLineEnd);
            }
            out.push(*end);
            self.last = [self.last[1], *end];
            rest = after;
        }
        Ok(())
    }

    /// Appends the end; a letter without an end of its last line gets one.
    ///
    /// # Errors
    /// [`BareLineEnd`].
    pub fn end(self, out: &mut Vec<u8>) -> Result<(), BareLineEnd> {
        match self.last {
            [_, b'\r'] => return Err(BareLineEnd),
            [b'\r', b'\n'] => {}
            _ => out.extend_from_slice(b"\r\n"),
        }
        out.extend_from_slice(b".\r\n");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stuff(pieces: &[&[u8]]) -> Result<Vec<u8>, BareLineEnd> {
        let (mut stuffing, mut out) = (Stuffing::default(), Vec::new());
        pieces.iter().try_for_each(|piece| stuffing.piece(piece, &mut out))?;
        stuffing.end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn every_way_dots_and_ends_can_stand() {
        for (letter, expected) in [
            ("", ".\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            (".\r\n", "..\r\n.\r\n"),
            ("..a\r\n.b\r\n", "...a\r\n..b\r\n.\r\n"),
            ("a.b\r\n", "a.b\r\n.\r\n"),
            ("\r\n.", "\r\n..\r\n.\r\n"),
        ] {
            assert_eq!(stuff(&[letter.as_bytes()]).as_deref(), Ok(expected.as_bytes()), "{letter:?}");
        }
        for bare in ["a\n.\r\n", "a\r.\r\n", "\n", "\r", "a\r", "\r\r\n", "a\r\n\n"] {
            assert_eq!(stuff(&[bare.as_bytes()]), Err(BareLineEnd), "{bare:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(lines in prop::collection::vec("[.a]{0,4}", 0..12), cuts in prop::collection::vec(0usize..40, 0..5)) {
            let letter: Vec<u8> = lines.iter().flat_map(|line| format!("{line}\r\n").into_bytes()).collect();
            let mut pieces = vec![letter.as_slice()];
            for cut in cuts {
                let last = pieces.pop().unwrap();
                let (head, tail) = last.split_at(cut.min(last.len()));
                pieces.extend([head, tail]);
            }
            let sent = stuff(&pieces).unwrap();
            let text = String::from_utf8(sent).unwrap();
            // As a server reads it: line by line, to the line that is one dot.
            let (mut read, mut rest) = (String::new(), text.as_str());
            let ended = loop {
                let Some((line, after)) = rest.split_once("\r\n") else { break false };
                rest = after;
                if line == "." {
                    break true;
                }
                read.push_str(line.strip_prefix('.').unwrap_or(line));
                read.push_str("\r\n");
            };
            prop_assert!(ended && rest.is_empty());
            prop_assert_eq!(read.into_bytes(), letter);
        }
    }
}
