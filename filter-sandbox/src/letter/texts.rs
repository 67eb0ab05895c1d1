//! The room that all texts of one report share.

use crate::report::limits;

/// What a text costs beside its bytes: its length, and its share of what it stands in.
const OVERHEAD: usize = 4;

/// Bytes left for texts. When it is spent, further texts are cut short rather than the letter refused: a letter
/// with a megabyte of file names is odd, and still somebody's letter.
pub(super) struct Texts {
    left: usize,
    cut: bool,
}

impl Texts {
    pub(super) fn new() -> Self {
        Texts { left: limits::TEXTS, cut: false }
    }

    /// Something was left out.
    pub(super) fn cut(&mut self) {
        self.cut = true;
    }

    /// Whether something was left out since this was last asked.
    pub(super) fn take_cut(&mut self) -> bool {
        std::mem::take(&mut self.cut)
    }

    /// The text, cut to [`limits::TEXT`] and to what is left.
    pub(super) fn keep(&mut self, mut text: Vec<u8>) -> Vec<u8> {
        let longest = limits::TEXT.min(self.left);
        self.cut |= text.len() > longest;
        text.truncate(longest);
        self.spend(text.len() + OVERHEAD);
        text
    }

    /// How many more items of a few texts each there is room for.
    pub(super) fn items(&self) -> usize {
        self.left / (4 * OVERHEAD)
    }

    /// Takes room for `bytes` more; whether there was so much.
    pub(super) fn spend(&mut self, bytes: usize) -> bool {
        let enough = bytes <= self.left;
        self.left = self.left.saturating_sub(bytes);
        enough
    }

    /// The text, cut at a character, without control characters.
    pub(super) fn keep_readable(&mut self, text: &str, longest: usize) -> String {
        let mut kept = String::with_capacity(text.len().min(longest));
        for char in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
            if kept.len() + char.len_utf8() > longest.min(self.left) {
                self.cut = true;
                break;
            }
            kept.push(char);
        }
        self.spend(kept.len());
        kept
    }
}
