//! The end of DATA, byte by byte. This is where SMTP smuggling lives: two servers that disagree about
//! what ends a message let a sender put a second one inside. Only CRLF.CRLF ends one here, and a CR or LF
//! that is not part of a CRLF makes the message refused, wherever it stands.

use crate::limits::TEXT_LINE;

/// Why a message that has been read to its end is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A CR or LF that is not part of a CRLF (RFC 5321 §2.3.8).
    BareLineEnd,
    /// A line longer than [`TEXT_LINE`].
    LineTooLong,
}

/// Where the reader stands within a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first byte of a line.
    Start,
    /// Within a line.
    Inside,
    /// After a CR.
    AfterCr,
    /// After a dot that began a line; not yet written.
    AfterDot,
    /// After a dot and a CR that began a line; neither written.
    AfterDotCr,
    /// After CRLF.CRLF.
    Ended,
}

/// Reads dot-stuffed text (RFC 5321 §4.5.2) in pieces of any size.
#[derive(Debug)]
pub struct Reader {
    place: Place,
    line: usize,
    fault: Option<Fault>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { place: Place::Start, line: 0, fault: None }
    }
}

impl Reader {
    /// Takes bytes and appends what belongs to the message, dots unstuffed. Returns how many bytes it
    /// took: all, unless the end came; what follows is the next command. After a fault it goes on to the
    /// end, so that nothing of a refused message is ever read as a command, but writes no more.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            if self.place == Place::Ended {
                break;
            }
            if self.place == Place::Inside {
                let run = input[at..].iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(input.len() - at);
                if run > 0 {
                    self.write(&input[at..at + run], out);
                    at += run;
                    continue;
                }
            }
            self.step(byte, out);
            at += 1;
        }
        at
    }

    /// Whether CRLF.CRLF has come.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.place == Place::Ended
    }

    /// The first fault, if any.
    #[must_use]
    pub const fn fault(&self) -> Option<Fault> {
        self.fault
    }

    fn step(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.place = match (self.place, byte) {
            (Place::AfterCr, b'\n') => {
                self.write(b"\r\n", out);
                self.line = 0;
                Place::Start
            }
            (Place::AfterDotCr, b'\n') => Place::Ended,
            (Place::AfterCr | Place::AfterDotCr, b'\r') => {
                self.blame(Fault::BareLineEnd);
                Place::AfterCr
            }
            (Place::AfterCr | Place::AfterDotCr, _) | (_, b'\n') => {
                self.blame(Fault::BareLineEnd);
                Place::Inside
            }
            (Place::AfterDot, b'\r') => Place::AfterDotCr,
            (_, b'\r') => Place::AfterCr,
            (Place::Start, b'.') => Place::AfterDot,
            _ => {
                self.write(&[byte], out);
                Place::Inside
            }
        };
    }

    fn write(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.line = self.line.saturating_add(bytes.len());
        if self.line > TEXT_LINE {
            self.blame(Fault::LineTooLong);
        }
        if self.fault.is_none() {
            out.extend_from_slice(bytes);
        }
    }

    fn blame(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }
}

/// The same two rules for a BDAT message, whose end is counted: feed it every chunk in order.
#[derive(Debug, Default)]
pub struct LineEnds {
    after_cr: bool,
    line: usize,
    fault: Option<Fault>,
}

impl LineEnds {
    /// Looks at the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\n' if self.after_cr => self.line = 0,
                b'\n' => self.blame(Fault::BareLineEnd),
                _ if self.after_cr => self.blame(Fault::BareLineEnd),
                b'\r' => {}
                _ => self.line += 1,
            }
            if self.line > TEXT_LINE {
                self.blame(Fault::LineTooLong);
            }
            self.after_cr = byte == b'\r';
        }
    }

    /// The first fault, the last CR's included.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.fault.or(self.after_cr.then_some(Fault::BareLineEnd))
    }

    fn blame(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Seen {
        consumed: usize,
        ended: bool,
        bare: bool,
        text: Vec<u8>,
    }

    fn read(pieces: &[&[u8]]) -> Seen {
        let (mut reader, mut text, mut consumed) = (Reader::default(), Vec::new(), 0);
        for piece in pieces {
            let took = reader.feed(piece, &mut text);
            consumed += took;
            if took < piece.len() {
                break;
            }
        }
        let bare = reader.fault() == Some(Fault::BareLineEnd);
        // What a refused message left behind is nobody's business.
        if bare {
            text.clear();
        }
        Seen { consumed, ended: reader.ended(), bare, text }
    }

    /// The rules said once more, the slow way: find the end, then look at the whole.
    fn specification(input: &[u8]) -> Seen {
        let padded = [b"\r\n".as_slice(), input].concat();
        let end = padded.windows(5).position(|w| w == b"\r\n.\r\n");
        let body = end.map_or(input, |at| &input[..at]);
        let bare = |bytes: &[u8], closed: bool| {
            (0..bytes.len()).any(|i| match bytes[i] {
                b'\n' => i == 0 || bytes[i - 1] != b'\r',
                b'\r' => bytes.get(i + 1).map_or(closed, |next| *next != b'\n'),
                _ => false,
            })
        };
        let bare = bare(body, end.is_some());
        let text = if bare { Vec::new() } else { unstuff(body, end.is_none()) };
        Seen { consumed: end.map_or(input.len(), |at| at + 3), ended: end.is_some(), bare, text }
    }

    fn unstuff(body: &[u8], open: bool) -> Vec<u8> {
        let mut text = Vec::new();
        for line in body.split_inclusive(|b| *b == b'\n') {
            text.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        // An open CR may yet become CRLF: it is held back.
        if open && text.last() == Some(&b'\r') {
            text.pop();
        }
        text
    }

    // Every string of up to eight bytes over the only four that matter.
    #[test]
    fn every_short_string() {
        const ALPHABET: [u8; 4] = *b"\r\n.a";
        for length in 0..=8u32 {
            for number in 0..4usize.pow(length) {
                let input: Vec<u8> = (0..length).map(|place| ALPHABET[number >> (2 * place) & 3]).collect();
                assert_eq!(read(&[&input]), specification(&input), "{:?}", input.escape_ascii().to_string());
            }
        }
    }

    // The endings by which mail was smuggled past one server or another: none ends a message here.
    #[test]
    fn smuggling_table() {
        const ENDINGS: [&[u8]; 18] = [
            b"\n.\n",
            b"\n.\r\n",
            b"\r\n.\n",
            b"\r.\r",
            b"\r\n.\r",
            b"\r.\r\n",
            b"\r\n.\r\r\n",
            b"\r\r\n.\r\r\n",
            b"\n\n.\n\n",
            b"\r\n.\0\r\n",
            b"\r\n\0.\r\n",
            b"\n.\n\r\n",
            b"\r\n.\n\r\n",
            b"\r\n.\x85\r\n",
            b"\r\n.\x0b\r\n",
            b"\r\n. \r\n",
            b"\r\0\n.\r\n",
            b"\r.\n",
        ];
        for ending in ENDINGS {
            let input = [b"text".as_slice(), ending, b"MAIL FROM:<evil@example.org>\r\n"].concat();
            let seen = read(&[&input]);
            assert!(!seen.ended, "{:?} ended the message", ending.escape_ascii().to_string());
            let innocent = !ending.iter().any(|b| matches!(b, b'\0' | 0x85 | 0x0b | b' '));
            assert!(seen.bare || !innocent, "{:?} was not refused", ending.escape_ascii().to_string());
        }
    }

    #[test]
    fn text_lines_are_bounded() {
        let mut reader = Reader::default();
        let mut out = Vec::new();
        reader.feed(&vec![b'a'; TEXT_LINE + 1], &mut out);
        assert_eq!(reader.fault(), Some(Fault::LineTooLong));
        reader.feed(b"\r\n.\r\n", &mut out);
        assert!(reader.ended());
    }

    #[test]
    fn chunks_have_the_same_rules() {
        let fault = |chunks: &[&[u8]]| {
            let mut ends = LineEnds::default();
            chunks.iter().for_each(|chunk| ends.feed(chunk));
            ends.fault()
        };
        assert_eq!(fault(&[b"a\r", b"\nb\r\n"]), None);
        assert_eq!(fault(&[b"a\r\n.\r\nb"]), None);
        for bad in [b"a\nb\r\n".as_slice(), b"a\rb\r\n", b"a\r\r\n", b"\n", b"a\r"] {
            assert_eq!(fault(&[bad]), Some(Fault::BareLineEnd), "{:?}", bad.escape_ascii().to_string());
        }
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same(
            input in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(0usize..200, 0..10),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
            cuts.extend([0, input.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &input[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&pieces), read(&[&input]));
            prop_assert_eq!(read(&[&input]), specification(&input));
        }

        #[test]
        fn stuffed_text_comes_back(lines in proptest::collection::vec("[ -~]{0,20}", 0..20)) {
            let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let stuffed: String = lines.iter().map(|line| {
                if line.starts_with('.') { format!(".{line}\r\n") } else { format!("{line}\r\n") }
            }).collect();
            let seen = read(&[format!("{stuffed}.\r\nQUIT\r\n").as_bytes()]);
            prop_assert_eq!(seen, Seen { consumed: stuffed.len() + 3, ended: true, bare: false, text: text.into_bytes() });
        }
    }
}
