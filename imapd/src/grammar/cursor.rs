//! The small steps of the own parsers: words, strings, numbers, over one whole command.

use std::borrow::Cow;

use super::Fault;
use crate::limits;

/// A parser's result.
pub type Parsed<T> = Result<T, Fault>;

/// What is left of a command.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

/// RFC 3501 §9 `ATOM-CHAR`.
pub const fn is_atom(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// RFC 3501 §9 `ASTRING-CHAR`.
pub const fn is_astring(byte: u8) -> bool {
    is_atom(byte) || byte == b']'
}

/// RFC 3501 §9 `list-char`.
pub const fn is_pattern(byte: u8) -> bool {
    is_astring(byte) || matches!(byte, b'%' | b'*')
}

impl<'a> Cursor<'a> {
    /// Over a whole command or any part of one.
    pub const fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// What is left.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next byte.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Takes the byte if it is next.
    pub fn eat(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((&first, rest)) if first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// One space.
    pub fn space(&mut self) -> Parsed<()> {
        if self.eat(b' ') { Ok(()) } else { Err(Fault::Syntax("A space is missing")) }
    }

    /// Nothing more than spaces, which some apps leave at the end of a line.
    pub fn end(&mut self) -> Parsed<()> {
        if self.rest.iter().all(|&b| b == b' ') { Ok(()) } else { Err(Fault::Syntax("Something follows the command")) }
    }

    /// The longest run of such bytes, perhaps none.
    pub fn run(&mut self, of: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|&b| !of(b)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(end);
        self.rest = rest;
        run
    }

    /// An atom, perhaps empty: verbs and keys.
    pub fn word(&mut self) -> &'a str {
        ascii(self.run(is_atom))
    }

    /// An atom of at least one character.
    pub fn atom(&mut self) -> Parsed<&'a str> {
        match self.word() {
            "" => Err(Fault::Syntax("A word is missing")),
            word => Ok(word),
        }
    }

    /// Takes this word if it is next and whole.
    pub fn eat_word(&mut self, wanted: &str) -> bool {
        let mut ahead = self.clone();
        let found = ahead.word().eq_ignore_ascii_case(wanted);
        if found {
            *self = ahead;
        }
        found
    }

    /// RFC 3501 §9 `tag`.
    pub fn tag(&mut self) -> Parsed<&'a str> {
        let tag = ascii(self.run(|b| is_astring(b) && b != b'+'));
        if tag.is_empty() || tag.len() > limits::TAG {
            return Err(Fault::Syntax("A command begins with a tag of at most 64 characters"));
        }
        Ok(tag)
    }

    /// A number.
    pub fn number(&mut self) -> Parsed<u32> {
        let digits = self.run(|b| b.is_ascii_digit());
        ascii(digits).parse().map_err(|_| Fault::Syntax("A number is missing or too large"))
    }

    /// RFC 3501 §9 `astring`.
    pub fn astring(&mut self) -> Parsed<Cow<'a, [u8]>> {
        self.string_or(is_astring)
    }

    /// RFC 3501 §9 `list-mailbox`.
    pub fn pattern(&mut self) -> Parsed<Cow<'a, [u8]>> {
        self.string_or(is_pattern)
    }

    fn string_or(&mut self, of: impl Fn(u8) -> bool) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal().map(Cow::Borrowed),
            _ => match self.run(of) {
                [] => Err(Fault::Syntax("A string is missing")),
                run => Ok(Cow::Borrowed(run)),
            },
        }
    }

    // 8-bit text is let through: RFC 6855 has it as UTF-8, and older apps send it unasked.
    fn quoted(&mut self) -> Parsed<Cow<'a, [u8]>> {
        self.eat(b'"');
        let plain = self.run(|b| !matches!(b, b'"' | b'\\' | b'\r' | b'\n' | 0));
        if self.eat(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_vec();
        loop {
            if self.eat(b'"') {
                return Ok(Cow::Owned(text));
            }
            if self.eat(b'\\') {
                match self.peek() {
                    Some(escaped @ (b'"' | b'\\')) => text.push(escaped),
                    _ => return Err(Fault::Syntax("Only \" and \\ may follow a \\ in a string")),
                }
                self.rest = self.rest.get(1..).unwrap_or_default();
            }
            let run = self.run(|b| !matches!(b, b'"' | b'\\' | b'\r' | b'\n' | 0));
            text.extend_from_slice(run);
            if !matches!(self.peek(), Some(b'"' | b'\\')) {
                return Err(Fault::Syntax("A string has no end"));
            }
        }
    }

    fn literal(&mut self) -> Parsed<&'a [u8]> {
        const BROKEN: Fault = Fault::Syntax("A literal is broken");
        self.eat(b'{');
        let size = self.number()? as usize;
        self.eat(b'+');
        let rest = self.rest.strip_prefix(b"}\r\n").ok_or(BROKEN)?;
        let (literal, rest) = rest.split_at_checked(size).ok_or(BROKEN)?;
        self.rest = rest;
        if literal.contains(&0) { Err(Fault::Syntax("A literal may not contain NUL")) } else { Ok(literal) }
    }

    /// `( ... )` with entries parted by spaces, perhaps none; `each` takes one entry.
    pub fn list(&mut self, mut each: impl FnMut(&mut Self) -> Parsed<()>) -> Parsed<()> {
        if !self.eat(b'(') {
            return Err(Fault::Syntax("A list in parentheses is missing"));
        }
        if self.eat(b')') {
            return Ok(());
        }
        loop {
            each(self)?;
            if self.eat(b')') {
                return Ok(());
            }
            self.space()?;
        }
    }
}

// Runs of atoms and digits are ASCII by construction.
fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
