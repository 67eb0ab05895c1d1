//! The readable text of HTML and the links in it, fed piece by piece. Not a browser: tags are dropped, blocks become
//! spaces, scripts and styles are not text.

use encoding_rs::WINDOWS_1252;
use memchr::{memchr, memchr2, memchr3};

/// Bytes of a tag that are looked at; the rest of a longer one is skipped.
const TAG: usize = 4 * 1024;
/// Bytes of the longest entity looked up (HTML's longest name is `CounterClockwiseContourIntegral`).
const ENTITY: usize = 32;

/// What [`Html::push`] reports beside the text.
pub(super) trait Tags {
    /// A tag without its angle brackets: `a href="..."`, `/a`.
    fn tag(&mut self, tag: &str, text_before: usize);
}

/// Nobody listens.
impl Tags for () {
    fn tag(&mut self, _: &str, _: usize) {}
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    Entity,
    Tag,
    Quoted(u8),
    Comment,
}

/// A place in an HTML text.
pub(super) struct Html {
    state: State,
    held: String,
    /// The element whose content is not shown (`script`, `style`, ...).
    hidden: Option<&'static str>,
}

/// Elements whose content nobody reads.
const HIDDEN: [&str; 4] = ["script", "style", "title", "template"];
/// Elements that do not part words.
const INLINE: [&str; 30] = [
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "del", "dfn", "em", "font", "i", "ins", "kbd",
    "label", "mark", "nobr", "q", "s", "samp", "small", "span", "strong", "sub", "sup", "u", "var", "wbr",
];

impl Html {
    pub(super) fn new() -> Self {
        Html { state: State::Text, held: String::new(), hidden: None }
    }

    /// Appends the readable text of `source` to `text` and tells `tags` of every tag.
    pub(super) fn push(&mut self, source: &str, text: &mut String, tags: &mut impl Tags) {
        let mut rest = source;
        while let Some(char) = rest.chars().next() {
            let length = self.stretch(rest.as_bytes());
            if length == 0 {
                self.char(char, text, tags);
                rest = &rest[char.len_utf8()..];
                continue;
            }
            let (stretch, after) = rest.split_at(length);
            rest = after;
            match self.state {
                State::Text if self.hidden.is_none() => text.push_str(stretch),
                State::Text => {}
                State::Comment => self.held.clear(),
                _ => self.hold(stretch),
            }
        }
    }

    /// How many bytes from here only add to what they stand in. They end before an ASCII byte, so at a character.
    fn stretch(&self, rest: &[u8]) -> usize {
        let stop = match self.state {
            State::Text if self.hidden.is_some() => memchr(b'<', rest),
            State::Text => memchr2(b'<', b'&', rest),
            // The beginning decides what kind of tag it is.
            State::Tag if self.held.len() < 3 || self.hidden.is_some() => Some(0),
            State::Tag => memchr3(b'>', b'"', b'\'', rest),
            State::Quoted(quote) => memchr(quote, rest),
            State::Comment => memchr2(b'-', b'>', rest),
            State::Entity => Some(0),
        };
        stop.unwrap_or(rest.len())
    }

    /// What is left at the end: an unfinished entity is text.
    pub(super) fn finish(&mut self, text: &mut String) {
        if self.state == State::Entity && self.hidden.is_none() {
            text.push('&');
            text.push_str(&self.held);
        }
        self.held.clear();
    }

    fn char(&mut self, char: char, text: &mut String, tags: &mut impl Tags) {
        match (self.state, char) {
            (State::Text, '<') => self.state = State::Tag,
            (State::Text, '&') if self.hidden.is_none() => self.state = State::Entity,
            (State::Text, _) if self.hidden.is_none() => text.push(char),
            (State::Text, _) => {}
            (State::Entity, _) => self.entity(char, text, tags),
            (State::Comment, '>') if self.held == "--" => self.leave(),
            // Only the last two characters matter.
            (State::Comment, '-') if self.held.len() < 2 => self.held.push('-'),
            (State::Comment, '-') => {}
            (State::Comment, _) => self.held.clear(),
            (State::Quoted(_), _) => {
                self.state = State::Tag;
                self.hold(char.encode_utf8(&mut [0; 4]));
            }
            (State::Tag, '>') => {
                self.end_tag(text, tags);
                self.leave();
            }
            (State::Tag, '"' | '\'') if self.held.len() < TAG && self.held.trim_end().ends_with('=') => {
                self.held.push(char);
                self.state = State::Quoted(char as u8);
            }
            (State::Tag, _) => self.in_tag(char, text),
        }
    }

    fn leave(&mut self) {
        self.state = State::Text;
        self.held.clear();
    }

    fn hold(&mut self, text: &str) {
        let room = TAG.saturating_sub(self.held.len()).min(text.len());
        self.held.push_str(&text[..text.floor_char_boundary(room)]);
    }

    fn in_tag(&mut self, char: char, text: &mut String) {
        let begins_tag = char.is_ascii_alphabetic() || matches!(char, '/' | '!' | '?');
        if self.held.is_empty() && !begins_tag {
            // "1 < 2" is text.
            if self.hidden.is_none() {
                text.push('<');
                text.push(char);
            }
            self.state = State::Text;
            return;
        }
        self.hold(char.encode_utf8(&mut [0; 4]));
        if self.held == "!--" {
            self.state = State::Comment;
            self.held.clear();
        }
        // Inside a script only its own end is a tag: `a<b` is not.
        if self.hidden.is_some_and(|hidden| !begins_end_of(&self.held, hidden)) {
            self.leave();
        }
    }

    fn end_tag(&mut self, text: &mut String, tags: &mut impl Tags) {
        if self.hidden.take().is_some() {
            return;
        }
        let closing = self.held.starts_with('/');
        tags.tag(&self.held, text.len());
        let name = self.held.trim_start_matches('/');
        let name = name.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        if !closing && !self.held.ends_with('/') {
            self.hidden = HIDDEN.into_iter().find(|hidden| name.eq_ignore_ascii_case(hidden));
        }
        let inline = INLINE.iter().any(|inline| name.eq_ignore_ascii_case(inline));
        if !inline && !text.ends_with(' ') {
            text.push(' ');
        }
    }

    fn entity(&mut self, char: char, text: &mut String, tags: &mut impl Tags) {
        if char == ';' {
            match decoded(&self.held) {
                Some(decoded) => text.push_str(&decoded),
                None => {
                    text.push('&');
                    text.push_str(&self.held);
                    text.push(';');
                }
            }
            self.leave();
        } else if self.held.len() < ENTITY && (char.is_ascii_alphanumeric() || char == '#') {
            self.held.push(char);
        } else {
            text.push('&');
            text.push_str(&self.held);
            self.leave();
            self.char(char, text, tags);
        }
    }
}

/// Whether `held` may become, or is, the end tag of `hidden`.
fn begins_end_of(held: &str, hidden: &str) -> bool {
    let Some(name) = held.strip_prefix('/') else { return false };
    let shared = name.len().min(hidden.len());
    name.as_bytes()[..shared].eq_ignore_ascii_case(&hidden.as_bytes()[..shared])
        && !name.as_bytes().get(hidden.len()).is_some_and(u8::is_ascii_alphanumeric)
}

/// An entity's character: all numeric ones, and those that HTML names.
fn decoded(entity: &str) -> Option<String> {
    if let Some(number) = entity.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code).map(shown).map(String::from);
    }
    let (token, mut text) = (format!("&{entity};"), String::new());
    mail_parser::decoders::html::add_html_token(&mut text, token.as_bytes(), false);
    (text != token).then_some(text)
}

/// What a browser shows for a number: those of C1 controls are Windows-1252's, which old programs write.
fn shown(char: char) -> char {
    match u8::try_from(char) {
        Ok(byte @ 0x80..=0x9f) => WINDOWS_1252.decode(&[byte]).0.chars().next().unwrap_or(' '),
        _ if char.is_control() => ' ',
        _ => char,
    }
}
