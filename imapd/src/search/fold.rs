//! Text without regard to case.

/// A text to look for, folded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle(String);

impl Needle {
    /// Folds it.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_lowercase())
    }

    /// Whether it is the empty text, which RFC 3501 §6.4.4 gives a meaning of its own.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a text contains it.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        let needle = self.0.as_bytes();
        if !self.0.is_ascii() {
            return text.to_lowercase().contains(&self.0);
        }
        needle.is_empty() || text.as_bytes().windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds() {
        for (needle, text) in
            [("", ""), ("ABC", "xabcx"), ("MÜNCHEN", "in münchen"), ("ß", "Straße"), ("привет", "ПРИВЕТ!")]
        {
            assert!(Needle::new(needle).is_in(text), "{needle} {text}");
        }
        assert!(!Needle::new("abc").is_in("ab"));
    }
}
