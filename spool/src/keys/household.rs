//! The household's key: one for all mailboxes that enable it, its secret half on paper or in a safe.

use std::fmt;

use zeroize::Zeroizing;

use super::{Identity, KeyError, PublicKey};

/// An age key pair that the family keeps outside the box. The box stores only the public half, in the slots of
/// the mailboxes that enable it; any tool that makes age keys can make one.
pub struct HouseholdKey(Identity);

impl HouseholdKey {
    /// A new one; show [`Self::to_text`] once.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`].
    pub fn generate() -> Result<Self, KeyError> {
        Identity::generate().map(Self)
    }

    /// Reads `AGE-SECRET-KEY-1...`, blanks at its ends and case forgiven.
    ///
    /// # Errors
    /// [`KeyError::Mistyped`].
    pub fn parse(typed: &str) -> Result<Self, KeyError> {
        Zeroizing::new(typed.trim().to_uppercase()).parse().map(Self)
    }

    /// Whether a typed text means to be one.
    #[must_use]
    pub fn looks_like(typed: &str) -> bool {
        const PREFIX: &str = "AGE-SECRET-KEY-";
        typed.trim().get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
    }

    /// For paper.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        self.0.to_text()
    }

    /// The half the box may know.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        self.0.public()
    }

    pub(crate) fn into_slot_key(self) -> Identity {
        self.0
    }
}

impl fmt::Debug for HouseholdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HouseholdKey({})", self.public())
    }
}
