//! A password a person chose. It opens the web page only, never a mail app's login.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::{KeyError, Secret, random};
use crate::limits;

/// How dear a guess is made, and the salt: all that Argon2id needs besides the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Random, one a slot.
    pub salt: [u8; 16],
    /// KiB of memory, at most [`limits::ARGON2_KIB`].
    pub kib: u32,
    /// Passes over it, at most [`limits::ARGON2_PASSES`].
    pub passes: u32,
}

impl Cost {
    /// What new slots get: the same on every machine, so that a small board can open what a big one made.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`].
    pub fn new() -> Result<Self, KeyError> {
        Ok(Self { salt: random()?, kib: 32 * 1024, passes: 3 })
    }

    /// Whether it is within the bounds.
    #[must_use]
    pub const fn is_bounded(&self) -> bool {
        self.kib >= 8 && self.kib <= limits::ARGON2_KIB && self.passes >= 1 && self.passes <= limits::ARGON2_PASSES
    }
}

/// A password a person chose: at least [`limits::CHOSEN_MIN`] letters, any of Unicode, taken as typed but for
/// blanks at its ends.
pub struct ChosenPassword(Zeroizing<String>);

impl ChosenPassword {
    /// Takes what was typed.
    ///
    /// # Errors
    /// [`KeyError::Mistyped`] when it is too short or too long.
    pub fn new(typed: &str) -> Result<Self, KeyError> {
        let typed = typed.trim();
        if typed.chars().take(limits::CHOSEN_MIN).count() < limits::CHOSEN_MIN {
            return Err(KeyError::Mistyped("a password you choose has at least ten letters"));
        }
        if typed.len() > limits::CHOSEN_MAX {
            return Err(KeyError::Mistyped("that password is too long"));
        }
        Ok(Self(Zeroizing::new(typed.to_owned())))
    }

    /// The slot key it opens; takes a good part of a second, on purpose.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] when `cost` is out of bounds.
    pub fn slot_key(&self, cost: &Cost) -> Result<Secret, KeyError> {
        let wrong = |_| KeyError::Malformed("cost of a chosen password");
        if !cost.is_bounded() {
            return Err(KeyError::Malformed("cost of a chosen password"));
        }
        let params = Params::new(cost.kib, cost.passes, 1, Some(32)).map_err(wrong)?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(self.0.as_bytes(), &cost.salt, key.as_mut())
            .map_err(wrong)?;
        Ok(key)
    }
}

impl fmt::Debug for ChosenPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChosenPassword(..)")
    }
}
