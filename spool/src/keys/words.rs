//! The twelve recovery words (BIP 39, English).

use std::fmt;

use bip39::{Language, Mnemonic};
use zeroize::Zeroizing;

use super::{KeyError, Secret, derive, random};
use crate::names::MailboxId;

/// Twelve words: 128 random bits and four of checksum. Shown once, on a sheet to print.
///
/// ```
/// use spool::keys::Words;
/// let words = Words::generate()?;
/// assert_eq!(words.list().len(), 12);
/// let typed = words.list().join("  ").to_uppercase();
/// assert_eq!(Words::parse(&typed)?.list(), words.list());
/// # Ok::<(), spool::keys::KeyError>(())
/// ```
pub struct Words(Zeroizing<[u8; 16]>);

impl Words {
    /// How many.
    pub const COUNT: usize = 12;

    /// New ones.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`].
    pub fn generate() -> Result<Self, KeyError> {
        random().map(Zeroizing::new).map(Self)
    }

    /// Reads what a person typed: any case, any blanks, commas or numbers between the words.
    ///
    /// # Errors
    /// [`KeyError::Mistyped`] saying whether the count, a word or the checksum is wrong.
    pub fn parse(typed: &str) -> Result<Self, KeyError> {
        let mut words = Zeroizing::new(String::with_capacity(typed.len() + 1));
        let mut count = 0;
        for word in typed.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty()) {
            if count > 0 {
                words.push(' ');
            }
            word.bytes().for_each(|byte| words.push(char::from(byte.to_ascii_lowercase())));
            count += 1;
        }
        if count != Self::COUNT {
            return Err(KeyError::Mistyped("there are twelve recovery words"));
        }
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &words).map_err(|error| match error {
            bip39::Error::InvalidChecksum => KeyError::Mistyped("one of the recovery words is wrong, or their order"),
            _ => KeyError::Mistyped("one of these is not in the list of recovery words"),
        })?;
        let (entropy, _) = mnemonic.to_entropy_array();
        let entropy = Zeroizing::new(entropy);
        let mut words = Zeroizing::new([0; 16]);
        words.copy_from_slice(&entropy[..16]);
        Ok(Self(words))
    }

    /// The words in order.
    #[must_use]
    pub fn list(&self) -> Vec<&'static str> {
        // 16 bytes always have their twelve words.
        Mnemonic::from_entropy_in(Language::English, self.0.as_ref()).map(|m| m.words().collect()).unwrap_or_default()
    }

    /// The slot key they open.
    #[must_use]
    pub fn slot_key(&self, mailbox: MailboxId) -> Secret {
        derive(self.0.as_ref(), &mailbox.0.to_le_bytes(), b"postern words v1")
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Words(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bip39s_own_vector() {
        let words = Words(Zeroizing::new([0x7f; 16]));
        let text = "legal winner thank year wave sausage worth useful legal winner thank yellow";
        assert_eq!(words.list().join(" "), text);
        let typed = "1. Legal 2. winner, thank\nyear wave sausage worth useful LEGAL winner thank  yellow ";
        assert_eq!(*Words::parse(typed).unwrap().0, *words.0);
    }

    #[test]
    fn says_what_is_wrong() {
        let legal = "legal winner thank year wave sausage worth useful legal winner thank";
        for (typed, how) in
            [(legal.to_owned(), "twelve"), (format!("{legal} legal"), "order"), (format!("{legal} letterbox"), "list")]
        {
            let error = Words::parse(&typed).unwrap_err().to_string();
            assert!(error.contains(how), "{error}");
        }
    }
}
