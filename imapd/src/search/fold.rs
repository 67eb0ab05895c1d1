//! Text without regard to case or the length of white space, as the worker compares it.

/// A text to look for, folded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle(String);

impl Needle {
    /// Folds it.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(folded(text))
    }

    /// Whether a text contains it.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        folded(text).contains(&self.0)
    }
}

fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut after_space = false;
    for c in text.chars() {
        let space = c.is_whitespace();
        if space && !after_space {
            folded.push(' ');
        } else if c.is_ascii() && !space {
            folded.push(c.to_ascii_lowercase());
        } else if !space {
            // The two small sigmas are one letter; which is written depends on its place in the word.
            folded.extend(c.to_lowercase().map(|lower| if lower == 'ς' { 'σ' } else { lower }));
        }
        after_space = space;
    }
    folded
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
        ];
        for (needle, text) in same {
            assert!(Needle::new(needle).is_in(text), "{needle} {text}");
        }
        assert!(Needle::new("ΟΔΟΣ").is_in("οδος"));
        assert!(!Needle::new("abc").is_in("ab"));
    }
}
