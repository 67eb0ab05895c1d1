//! Taking off transfer encodings and charsets, a piece at a time: a 50 MB text must not be held three times over in
//! a worker whose memory is twice its letter.

use super::mime::Mime;
use encoding_rs::{Decoder, Encoding, UTF_8, WINDOWS_1252};
use mail_parser::decoders::charsets::{DecoderFnc, map::charset_decoder};
use memchr::memchr;

/// Decoded bytes made at a time.
const PIECE: usize = 4 * 1024;
/// Most bytes of a text in a charset that can only be decoded whole (UTF-7, IBM 850).
const WHOLE: usize = 1024 * 1024;

/// Content-Transfer-Encoding (RFC 2045 §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transfer {
    Identity,
    Base64,
    Quoted,
}

impl Transfer {
    pub(super) fn of(mime: &Mime) -> Transfer {
        if mime.encoding.eq_ignore_ascii_case(b"base64") {
            Transfer::Base64
        } else if mime.encoding.eq_ignore_ascii_case(b"quoted-printable") {
            Transfer::Quoted
        } else {
            Transfer::Identity
        }
    }
}

/// A body, its transfer encoding taken off piece by piece. Lenient: what cannot be decoded is skipped (base64) or
/// stands as it is (quoted-printable), since a mail program would show the rest too.
pub(super) struct Bytes<'m> {
    raw: &'m [u8],
    transfer: Transfer,
    /// Base64: bits not given out yet, and how many.
    bits: u32,
    held: u32,
}

impl<'m> Bytes<'m> {
    pub(super) fn new(raw: &'m [u8], transfer: Transfer) -> Self {
        Bytes { raw, transfer, bits: 0, held: 0 }
    }

    /// Appends about [`PIECE`] bytes; `false` when there is no more to come.
    pub(super) fn next(&mut self, into: &mut Vec<u8>) -> bool {
        match self.transfer {
            Transfer::Identity => {
                let (piece, rest) = self.raw.split_at(self.raw.len().min(PIECE));
                into.extend_from_slice(piece);
                self.raw = rest;
            }
            Transfer::Base64 => {
                let (piece, rest) = self.raw.split_at(self.raw.len().min(PIECE / 3 * 4));
                self.base64(piece, into);
                self.raw = rest;
            }
            Transfer::Quoted => {
                let enough = into.len() + PIECE;
                while !self.raw.is_empty() && into.len() < enough {
                    self.raw = quoted(self.raw, into);
                }
            }
        }
        !self.raw.is_empty()
    }

    fn base64(&mut self, piece: &[u8], into: &mut Vec<u8>) {
        into.reserve(piece.len() / 4 * 3 + 3);
        let mut rest = piece;
        while let Some((byte, after)) = rest.split_first() {
            if self.held == 0
                && let Some((four, after)) = rest.split_first_chunk()
                && let Some(three) = whole(*four)
            {
                into.extend_from_slice(&three);
                rest = after;
                continue;
            }
            rest = after;
            let value = BASE64[usize::from(*byte)];
            if value < 64 {
                self.bits = (self.bits << 6) | u32::from(value);
                self.held += 6;
                if self.held >= 8 {
                    self.held -= 8;
                    into.push((self.bits >> self.held) as u8);
                }
            } else if *byte == b'=' {
                // Padding ends a run; some programs join several runs.
                self.held = 0;
            }
        }
    }
}

/// Four digits as three bytes, if they are digits: nearly all of a body.
fn whole(four: [u8; 4]) -> Option<[u8; 3]> {
    let [a, b, c, d] = four.map(|byte| BASE64[usize::from(byte)]);
    let bits = u32::from(a) << 18 | u32::from(b) << 12 | u32::from(c) << 6 | u32::from(d);
    let [_, bytes @ ..] = bits.to_be_bytes();
    (a | b | c | d < 64).then_some(bytes)
}

/// The value of each base64 digit; 64 for what is none.
const BASE64: [u8; 256] = {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut table = [64u8; 256];
    let mut value = 0;
    while value < 64 {
        table[digits[value] as usize] = value as u8;
        value += 1;
    }
    table
};

/// Decodes up to and including the next `=`; what is left.
fn quoted<'m>(raw: &'m [u8], into: &mut Vec<u8>) -> &'m [u8] {
    let piece = &raw[..raw.len().min(PIECE)];
    let Some(equals) = memchr(b'=', piece) else {
        into.extend_from_slice(piece);
        return &raw[piece.len()..];
    };
    into.extend_from_slice(&raw[..equals]);
    let rest = &raw[equals + 1..];
    match rest {
        [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] => rest,
        [high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            into.push((hex(*high) << 4) | hex(*low));
            rest
        }
        _ => soft_break(rest).unwrap_or_else(|| {
            into.push(b'=');
            rest
        }),
    }
}

/// After `= ` with white space that some relay put behind a soft line break.
fn soft_break(rest: &[u8]) -> Option<&[u8]> {
    let blank = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    match &rest[blank..] {
        [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] => Some(rest),
        [] => Some(&[]),
        _ => None,
    }
}

/// A hexadecimal digit's value; 0 for what is none.
pub(super) fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).unwrap_or(0) as u8
}

/// How bytes become characters.
enum Charset {
    Pieces(Box<Decoder>),
    Whole(DecoderFnc),
}

/// A text part, decoded piece by piece.
pub(super) struct Text<'m> {
    bytes: Bytes<'m>,
    charset: Charset,
    piece: Vec<u8>,
    /// The first piece, read to choose the charset and not given out yet.
    ahead: Option<bool>,
    ended: bool,
}

impl<'m> Text<'m> {
    pub(super) fn new(raw: &'m [u8], mime: &Mime) -> Self {
        let mut bytes = Bytes::new(raw, Transfer::of(mime));
        let mut piece = Vec::new();
        let more = bytes.next(&mut piece);
        let charset = charset(mime.parameter(b"charset"), &piece);
        Text { bytes, charset, piece, ahead: Some(more), ended: false }
    }

    /// Appends the next characters; `false` when there are no more to come.
    pub(super) fn next(&mut self, into: &mut String) -> bool {
        if self.ended {
            return false;
        }
        let more = match self.ahead.take() {
            Some(more) => more,
            None => {
                self.piece.clear();
                self.bytes.next(&mut self.piece)
            }
        };
        match &mut self.charset {
            Charset::Pieces(decoder) => feed(decoder, &self.piece, !more, into),
            Charset::Whole(decode) => {
                while self.piece.len() < WHOLE && self.bytes.next(&mut self.piece) {}
                into.push_str(&decode(&self.piece));
                self.ended = true;
                return false;
            }
        }
        self.ended = !more;
        more
    }
}

fn feed(decoder: &mut Decoder, mut bytes: &[u8], last: bool, into: &mut String) {
    loop {
        into.reserve(decoder.max_utf8_buffer_length(bytes.len()).unwrap_or(bytes.len()));
        let (result, read, _) = decoder.decode_to_string(bytes, into, last);
        bytes = &bytes[read..];
        if result == encoding_rs::CoderResult::InputEmpty {
            return;
        }
    }
}

/// The decoder for a declared charset; where none or only US-ASCII is declared, what the bytes look like.
fn charset(label: Option<&[u8]>, sample: &[u8]) -> Charset {
    let label = label.unwrap_or_default().trim_ascii();
    let undeclared =
        label.is_empty() || label.eq_ignore_ascii_case(b"us-ascii") || label.eq_ignore_ascii_case(b"ascii");
    if !undeclared {
        if let Some(encoding) = encoding(label) {
            return Charset::Pieces(Box::new(encoding.new_decoder()));
        }
        if let Some(decode) = charset_decoder(label) {
            return Charset::Whole(decode);
        }
    }
    Charset::Pieces(Box::new(guess(sample).new_decoder()))
}

/// An encoding by its label, without those that only say "replacement character".
fn encoding(label: &[u8]) -> Option<&'static Encoding> {
    Encoding::for_label_no_replacement(label)
}

/// UTF-8 when the sample is that (its last character may be cut), else Windows-1252.
fn guess(sample: &[u8]) -> &'static Encoding {
    match std::str::from_utf8(sample) {
        Err(error) if error.error_len().is_some() => WINDOWS_1252,
        _ => UTF_8,
    }
}

/// Bytes of a declared charset (empty: none declared) as text, whole.
pub(super) fn text_of(label: &[u8], bytes: &[u8]) -> String {
    let mut text = String::new();
    match charset(Some(label), bytes) {
        Charset::Pieces(mut decoder) => feed(&mut decoder, bytes, true, &mut text),
        Charset::Whole(decode) => text = decode(&bytes[..bytes.len().min(WHOLE)]),
    }
    text
}
