//! Header values as a person reads them: encoded words (RFC 2047) and RFC 2231 parameters decoded.

use super::{
    decode::{Bytes, Transfer, hex, text_of},
    lexer::encoded_word_length,
    mime::named,
};
use crate::report::Parameters;

/// An unfolded value, decoded. Adjacent words of one charset are joined before they are decoded, since many
/// programs cut a character between two words.
pub(super) fn decode(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    let mut run = Run::default();
    let mut rest = value;
    while !rest.is_empty() {
        let gap = rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')).count();
        let after = &rest[gap..];
        if let Some(length) = encoded_word_length(after) {
            // RFC 2047 §6.2: white space between two encoded words is not shown.
            if !run.open {
                push_plain(&mut text, &rest[..gap]);
            }
            run.add(&after[..length], &mut text);
            rest = &after[length..];
            continue;
        }
        run.end(&mut text);
        let word = plain_length(after);
        push_plain(&mut text, &rest[..gap + word]);
        rest = &rest[gap + word..];
    }
    run.end(&mut text);
    text
}

/// Bytes up to white space or what may be the next encoded word.
fn plain_length(text: &[u8]) -> usize {
    let ends = |at: &usize| matches!(text[*at], b' ' | b'\t' | b'\r' | b'\n') || text[*at..].starts_with(b"=?");
    (1..text.len()).find(ends).unwrap_or(text.len())
}

/// Raw header bytes: UTF-8 where they are that (RFC 6532), else Windows-1252.
fn push_plain(text: &mut String, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(plain) => text.push_str(plain),
        Err(_) => text.push_str(&text_of(b"", bytes)),
    }
}

/// Encoded words that follow each other in one charset.
#[derive(Default)]
struct Run {
    open: bool,
    charset: Vec<u8>,
    bytes: Vec<u8>,
}

impl Run {
    /// `word` is whole: `=?charset?B?text?=`.
    fn add(&mut self, word: &[u8], text: &mut String) {
        let mut pieces = word[2..word.len() - 2].splitn(3, |b| *b == b'?');
        let (Some(charset), Some(kind), Some(body)) = (pieces.next(), pieces.next(), pieces.next()) else { return };
        // RFC 2231 §5: a language may follow the charset.
        let charset = charset.split(|b| *b == b'*').next().unwrap_or_default();
        if !self.open || !self.charset.eq_ignore_ascii_case(charset) {
            self.end(text);
            (self.open, self.charset) = (true, charset.to_vec());
        }
        if kind.eq_ignore_ascii_case(b"b") {
            let mut bytes = Bytes::new(body, Transfer::Base64);
            while bytes.next(&mut self.bytes) {}
        } else {
            q_word(body, &mut self.bytes);
        }
    }

    fn end(&mut self, text: &mut String) {
        if self.open {
            text.push_str(&text_of(&self.charset, &self.bytes));
            self.bytes.clear();
            self.open = false;
        }
    }
}

/// RFC 2047 §4.2: `_` is a space.
fn q_word(mut body: &[u8], into: &mut Vec<u8>) {
    while let Some((byte, rest)) = body.split_first() {
        body = rest;
        match (byte, rest) {
            (b'_', _) => into.push(b' '),
            (b'=', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                into.push((hex(*high) << 4) | hex(*low));
                body = after;
            }
            _ => into.push(*byte),
        }
    }
}

/// A parameter's value, decoded: plain, with encoded words (common, though forbidden), or by RFC 2231.
pub(super) fn parameter(parameters: &Parameters, name: &str) -> Option<String> {
    if let Some(value) = named(parameters, format!("{name}*").as_bytes()) {
        let (charset, value) = charset_prefix(value);
        return Some(text_of(charset, &percent(value)));
    }
    named(parameters, name.as_bytes()).map(decode)
}

/// `charset'language'value`.
fn charset_prefix(value: &[u8]) -> (&[u8], &[u8]) {
    let mut pieces = value.splitn(3, |b| *b == b'\'');
    match (pieces.next(), pieces.next(), pieces.next()) {
        (Some(charset), Some(_), Some(value)) => (charset, value),
        _ => (b"", value),
    }
}

fn percent(value: &[u8]) -> Vec<u8> {
    let (mut plain, mut rest) = (Vec::with_capacity(value.len()), value);
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                plain.push((hex(*high) << 4) | hex(*low));
                rest = after;
            }
            _ => plain.push(*byte),
        }
    }
    plain
}
