//! Text as a SEARCH compares it, by a worker and by the owner alike.

use super::preview::is_invisible;
use memchr::memmem;

/// A text to look for, folded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle(Vec<u8>);

impl Needle {
    /// Folds it.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(folded(text))
    }

    /// Whether a text contains it.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        memmem::find(&folded(text), &self.0).is_some()
    }
}

/// The whole of a text.
pub(super) fn folded(text: &str) -> Vec<u8> {
    let mut fold = Fold::default();
    fold.push(text);
    fold.bytes
}

/// Text in lower case with single spaces, and without what has no shape: newsletters break words with it.
#[derive(Default)]
pub(super) struct Fold {
    pub bytes: Vec<u8>,
    after_space: bool,
}

impl Fold {
    pub fn push(&mut self, text: &str) {
        self.bytes.reserve(text.len());
        if text.is_ascii() {
            return text.bytes().for_each(|byte| self.ascii(byte));
        }
        for char in text.chars() {
            if char.is_ascii() {
                self.ascii(char as u8);
            } else if char.is_whitespace() {
                self.ascii(b' ');
            } else if !is_invisible(char) {
                self.after_space = false;
                char.to_lowercase().for_each(|lower| self.lower(lower));
            }
        }
    }

    fn ascii(&mut self, byte: u8) {
        let is_space = matches!(byte, b' ' | b'\t'..=b'\r');
        if !is_space {
            self.bytes.push(byte.to_ascii_lowercase());
        } else if !self.after_space {
            self.bytes.push(b' ');
        }
        self.after_space = is_space;
    }

    fn lower(&mut self, char: char) {
        // The two small sigmas are one letter, and which is written depends on its place in the word.
        let char = if char == 'ς' { 'σ' } else { char };
        self.bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds() {
        let same = [
            ("", ""),
            ("ABC", "xabcx"),
            ("MÜNCHEN", "in münchen"),
            ("ß", "Straße"),
            ("ПРИВЕТ", "привет!"),
            ("a b", "A \t B"),
            ("ΟΔΟΣ", "οδος"),
            ("invoice", "your in\u{ad}voi\u{200b}ce"),
            ("in\u{ad}voice", "your invoice"),
        ];
        for (needle, text) in same {
            assert!(Needle::new(needle).is_in(text), "{needle} {text}");
        }
        assert!(!Needle::new("abc").is_in("ab"));
    }
}
