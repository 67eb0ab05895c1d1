//! RFC 3501 ENVELOPE from raw header fields. Encoded words stay as they stood: a client decodes them, and a decoded
//! comma or quote must not change who an address list names.

use super::{fields, lexer::Lexer, texts::Texts};
use crate::report::{Address, Envelope, Field, limits};

/// Bytes of the longest name of a field that an envelope shows, `In-Reply-To`.
const LONGEST_NAME: usize = 11;

/// The envelope of a header. The first Date, Subject, From, ... counts; several To, Cc, Bcc are one list each.
pub(super) fn envelope(message: &[u8], index: &[Field], texts: &mut Texts) -> Envelope {
    let mut envelope = Envelope::default();
    for field in index {
        let (name, value) = (fields::name(message, field), fields::value(message, field));
        let mut short = [0; LONGEST_NAME];
        let Some(lower) = short.get_mut(..name.len()) else { continue };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        match &*lower {
            b"date" => first(&mut envelope.date, value, texts),
            b"subject" => first(&mut envelope.subject, value, texts),
            b"in-reply-to" => first(&mut envelope.in_reply_to, value, texts),
            b"message-id" => first(&mut envelope.message_id, value, texts),
            b"from" => first_list(&mut envelope.from, value, texts),
            b"sender" => first_list(&mut envelope.sender, value, texts),
            b"reply-to" => first_list(&mut envelope.reply_to, value, texts),
            b"to" => more(&mut envelope.to, value, texts),
            b"cc" => more(&mut envelope.cc, value, texts),
            b"bcc" => more(&mut envelope.bcc, value, texts),
            _ => {}
        }
    }
    default_to_from(&mut envelope, texts);
    envelope
}

/// RFC 3501 §7.4.2: an absent or empty Sender or Reply-To is From.
fn default_to_from(envelope: &mut Envelope, texts: &mut Texts) {
    let cost = envelope.from.iter().map(bytes_of).sum();
    for list in [&mut envelope.sender, &mut envelope.reply_to] {
        if list.is_empty() && texts.spend(cost) {
            list.clone_from(&envelope.from);
        }
    }
}

/// About what an address takes in a report.
fn bytes_of(address: &Address) -> usize {
    let texts = [&address.name, &address.mailbox, &address.host];
    texts.into_iter().map(|text| text.as_ref().map_or(1, |text| text.len() + 4)).sum()
}

fn first(slot: &mut Option<Vec<u8>>, value: &[u8], texts: &mut Texts) {
    if slot.is_none() {
        if value.len() > limits::TEXT {
            texts.cut();
        }
        *slot = Some(texts.keep(fields::unfold(value)));
    }
}

fn first_list(list: &mut Vec<Address>, value: &[u8], texts: &mut Texts) {
    if list.is_empty() {
        more(list, value, texts);
    }
}

fn more(list: &mut Vec<Address>, value: &[u8], texts: &mut Texts) {
    // An address list is not one text: each address is bounded, and the list by count.
    let room = limits::ADDRESSES.saturating_sub(list.len()).min(texts.items());
    let found = addresses(value, room);
    // A place may have been kept for a group's end.
    if found.len() + 1 >= room || value.len() > limits::LIST {
        texts.cut();
    }
    list.extend(found.into_iter().map(|address| Address {
        name: address.name.map(|text| texts.keep(text)),
        mailbox: address.mailbox.map(|text| texts.keep(text)),
        host: address.host.map(|text| texts.keep(text)),
    }));
}

/// The addresses of a list, at most `most`, group ends included. Never fails: what is no address becomes one
/// without a host, as it stands.
pub fn addresses(value: &[u8], most: usize) -> Vec<Address> {
    let value = &value[..value.len().min(limits::LIST)];
    let line: Vec<u8> = value.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n' | 0)).collect();
    let mut list = List { lexer: Lexer::new(&line), found: Vec::new(), most, in_group: false, scanned: (0, false) };
    list.read();
    list.found
}

struct List<'v> {
    lexer: Lexer<'v>,
    found: Vec<Address>,
    most: usize,
    in_group: bool,
    /// How far it has been looked for a bracket, and whether there was one.
    scanned: (usize, bool),
}

impl List<'_> {
    fn read(&mut self) {
        loop {
            self.lexer.comment = None;
            self.lexer.space();
            match self.lexer.peek() {
                Some(_) if self.room() == 0 => break,
                Some(b',') => self.lexer.skip(),
                Some(b';') => {
                    self.lexer.skip();
                    self.end_group();
                }
                Some(_) => self.entry(),
                None => break,
            }
        }
        self.end_group();
    }

    /// Places left; one is kept for an open group's end.
    fn room(&self) -> usize {
        self.most.saturating_sub(self.found.len() + usize::from(self.in_group))
    }

    fn end_group(&mut self) {
        if self.in_group {
            self.found.push(Address { name: None, mailbox: None, host: None });
            self.in_group = false;
        }
    }

    /// One address, or the beginning of a group. Takes at least a byte.
    fn entry(&mut self) {
        let bracket_follows = self.bracket_follows();
        let words = self.words(bracket_follows);
        match self.lexer.peek() {
            Some(b':') if !bracket_follows || !words.contains(&b'@') => {
                self.lexer.skip();
                self.end_group();
                if self.room() >= 2 {
                    self.in_group = true;
                    self.found.push(Address { name: None, mailbox: Some(words), host: None });
                }
            }
            Some(b'<') => {
                self.lexer.skip();
                self.in_brackets(words);
            }
            Some(b'@') => {
                self.lexer.skip();
                let host = self.domain();
                self.add(None, glued(&words), host);
                self.lexer.run(|b| !matches!(b, b',' | b';'));
            }
            Some(b',' | b';') | None => self.add(None, words, Vec::new()),
            Some(_) => self.lexer.skip(),
        }
    }

    /// Whether a `<` comes before this entry's end: then what stands before it is a display name, `@` and all. Each
    /// stretch is looked through once, however many entries turn out to begin in it.
    fn bracket_follows(&mut self) -> bool {
        let from = self.lexer.at();
        if from >= self.scanned.0 {
            let (length, found) = bracket_ahead(self.lexer.rest());
            self.scanned = (from + length + 1, found);
        }
        self.scanned.1
    }

    fn add(&mut self, name: Option<Vec<u8>>, mailbox: Vec<u8>, host: Vec<u8>) {
        self.lexer.space();
        let name = name.or_else(|| self.lexer.comment.take()).filter(|name| !name.is_empty());
        if name.is_some() || !mailbox.is_empty() || !host.is_empty() {
            self.found.push(Address { name, mailbox: Some(mailbox), host: Some(host) });
        }
    }

    /// Words up to a special, one space where there was white space; quotes taken off. A name may hold an `@`.
    fn words(&mut self, is_name: bool) -> Vec<u8> {
        let mut words = Vec::new();
        let mut after_at = false;
        loop {
            let gap = self.lexer.space();
            let from = words.len();
            if gap && from > 0 {
                words.push(b' ');
            }
            match self.lexer.peek() {
                Some(b'"') => self.lexer.quoted(&mut words),
                Some(b'@') if is_name => {
                    self.lexer.skip();
                    words.push(b'@');
                    after_at = true;
                }
                Some(b':') if after_at => {
                    self.lexer.skip();
                    words.push(b':');
                }
                _ => match self.lexer.encoded_word() {
                    Some(word) => words.extend_from_slice(word),
                    None => words.extend_from_slice(self.lexer.run(is_atom)),
                },
            }
            let added = words.len() > from + usize::from(gap && from > 0);
            if !added && !matches!(self.lexer.peek(), Some(b'"')) {
                words.truncate(words.trim_ascii_end().len());
                return words;
            }
        }
    }

    /// After `<`: an obsolete route is dropped (RFC 5322 §4.4), and whatever follows `>` up to the comma.
    fn in_brackets(&mut self, name: Vec<u8>) {
        self.lexer.space();
        if self.lexer.peek() == Some(b'@') {
            self.lexer.run(|b| !matches!(b, b':' | b'>'));
            self.lexer.take(b':');
        }
        let mailbox = glued(&self.words(false));
        let host = if self.lexer.take(b'@') { self.domain() } else { Vec::new() };
        self.lexer.run(|b| !matches!(b, b'>' | b',' | b';'));
        self.lexer.take(b'>');
        self.lexer.space();
        let name = Some(name).filter(|name| !name.is_empty());
        self.add_even_empty(name, mailbox, host);
        while !matches!(self.lexer.peek(), None | Some(b',' | b';' | b'<')) {
            self.words(true);
            if matches!(self.lexer.peek(), Some(byte) if !matches!(byte, b',' | b';' | b'<')) {
                self.lexer.skip();
            }
        }
    }

    fn add_even_empty(&mut self, name: Option<Vec<u8>>, mailbox: Vec<u8>, host: Vec<u8>) {
        let name = name.or_else(|| self.lexer.comment.take()).filter(|name| !name.is_empty());
        self.found.push(Address { name, mailbox: Some(mailbox), host: Some(host) });
    }

    /// A domain: atoms, dots and a bracketed literal. RFC 5322 §4.4: white space and comments round the dots go.
    fn domain(&mut self) -> Vec<u8> {
        let mut domain = Vec::new();
        loop {
            let gap = self.lexer.space();
            if gap && !matches!(domain.last(), None | Some(b'.')) && self.lexer.peek() != Some(b'.') {
                return domain;
            }
            match self.lexer.peek() {
                Some(b'[') => {
                    domain.extend_from_slice(self.lexer.run(|b| !matches!(b, b']' | b',' | b'>')));
                    if self.lexer.take(b']') {
                        domain.push(b']');
                    }
                }
                Some(byte) if is_atom(byte) => domain.extend_from_slice(self.lexer.run(is_atom)),
                _ => return domain,
            }
        }
    }
}

/// Bytes of an atom, dots, 8-bit text and stray specials that cannot be anything else.
fn is_atom(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f && !b"()<>@,;:\"[".contains(&byte)
}

/// Without the spaces that obsolete syntax allows round the dots of a local part; a quoted local part's own
/// spaces go with them only where it stands beside a dot.
fn glued(words: &[u8]) -> Vec<u8> {
    let mut glued: Vec<u8> = Vec::with_capacity(words.len());
    for (index, byte) in words.iter().enumerate() {
        let beside_dot = glued.last() == Some(&b'.') || words.get(index + 1) == Some(&b'.');
        if *byte != b' ' || !beside_dot {
            glued.push(*byte);
        }
    }
    glued
}

/// How far it is to a `<` or the entry's end, and whether it is a `<`.
fn bracket_ahead(rest: &[u8]) -> (usize, bool) {
    let mut lexer = Lexer::new(rest);
    let mut ignored = Vec::new();
    loop {
        lexer.space();
        match lexer.peek() {
            Some(b'<') => return (lexer.at(), true),
            Some(b'"') => lexer.quoted(&mut ignored),
            Some(b',' | b';') | None => return (lexer.at(), false),
            Some(_) if lexer.encoded_word().is_some() => {}
            Some(_) => lexer.skip(),
        }
    }
}
