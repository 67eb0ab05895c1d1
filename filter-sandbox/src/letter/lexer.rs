//! The words of structured header fields (RFC 5322 §3.2, RFC 2045 §5.1), over a value that is already unfolded.
//! Every step takes at least a byte or says it took none, so all loops above it end.

/// A place in a header value.
pub(super) struct Lexer<'v> {
    bytes: &'v [u8],
    at: usize,
    /// The text of the last comment skipped: RFC 822 mail writes names there.
    pub(super) comment: Option<Vec<u8>>,
}

impl<'v> Lexer<'v> {
    pub(super) fn new(bytes: &'v [u8]) -> Self {
        Lexer { bytes, at: 0, comment: None }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn skip(&mut self) {
        self.at += 1;
    }

    /// Takes the byte if it is next.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    /// Bytes read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'v [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Skips white space and comments; whether there was any.
    pub(super) fn space(&mut self) -> bool {
        let from = self.at;
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.at += 1,
                Some(b'(') => self.comment = Some(self.read_comment()),
                _ => return self.at > from,
            }
        }
    }

    /// From its `(` to its `)`, or to the end of the value; comments nest.
    fn read_comment(&mut self) -> Vec<u8> {
        let (mut text, mut depth) = (Vec::new(), 0usize);
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'(' => {
                    depth += 1;
                    if depth == 1 {
                        continue;
                    }
                }
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                b'\\' => {
                    text.extend(self.peek());
                    self.at += 1;
                    continue;
                }
                _ => {}
            }
            text.push(byte);
        }
        self.at = self.at.min(self.bytes.len());
        text.trim_ascii().to_vec()
    }

    /// The inside of the quoted string that begins here, to its closing quote or the end of the value.
    pub(super) fn quoted(&mut self, into: &mut Vec<u8>) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'"' => return,
                b'\\' => {
                    into.extend(self.peek());
                    self.at = (self.at + 1).min(self.bytes.len());
                }
                _ => into.push(byte),
            }
        }
    }

    /// Bytes while `wanted` says so.
    pub(super) fn run(&mut self, wanted: impl Fn(u8) -> bool) -> &'v [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|b| !wanted(*b)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// A whole encoded word (RFC 2047 §2), if one begins here. Careless ones hold commas and brackets, which must
    /// not end an address.
    pub(super) fn encoded_word(&mut self) -> Option<&'v [u8]> {
        let rest = self.rest();
        let length = encoded_word_length(rest)?;
        self.at += length;
        Some(&rest[..length])
    }
}

/// Length of the encoded word at the start of `text`: `=?charset?B or Q?text?=` without white space.
pub(super) fn encoded_word_length(text: &[u8]) -> Option<usize> {
    let inner = text.strip_prefix(b"=?")?;
    let charset = inner.iter().position(|b| !b.is_ascii_graphic() || *b == b'?')?;
    let rest = inner.get(charset + 1..).filter(|_| charset > 0 && inner[charset] == b'?')?;
    let kind = matches!(rest.first()?, b'B' | b'b' | b'Q' | b'q') && rest.get(1) == Some(&b'?');
    let body = rest.get(2..).filter(|_| kind)?;
    let end = body.iter().position(|b| *b == b'?' || b.is_ascii_whitespace())?;
    (body[end..].starts_with(b"?=")).then_some(2 + charset + 1 + 2 + end + 2)
}
