//! A mailbox's identity, and its public half.

use std::fmt;
use std::str::FromStr;

use age::secrecy::ExposeSecret;
use bech32::{Bech32, Hrp};
use zeroize::Zeroizing;

use super::{KeyError, Secret, random};

const SECRET_PREFIX: Hrp = Hrp::parse_unchecked("age-secret-key-");
const PUBLIC_PREFIX: Hrp = Hrp::parse_unchecked("age");

/// u-coordinates of low order (RFC 7748 §6.1), top bit cleared. A shared secret with one of these is zero whatever the
/// other key; age panics when asked to seal to one.
const LOW_ORDER: [[u8; 32]; 7] = {
    const fn near_p(first: u8) -> [u8; 32] {
        let mut point = [0xff; 32];
        point[0] = first;
        point[31] = 0x7f;
        point
    }
    const fn small(first: u8) -> [u8; 32] {
        let mut point = [0; 32];
        point[0] = first;
        point
    }
    [
        small(0),
        small(1),
        [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
            0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
        ],
        [
            0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44,
            0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
        ],
        near_p(0xec),
        near_p(0xed),
        near_p(0xee),
    ]
};

/// A public key that letters, slots and audit lines are sealed to; written as age writes it (`age1...`).
///
/// ```
/// use spool::keys::{Identity, PublicKey};
/// let identity = Identity::generate()?;
/// let text = identity.public().to_string();
/// assert!(text.starts_with("age1"));
/// assert_eq!(&text.parse::<PublicKey>()?, identity.public());
/// # Ok::<(), spool::keys::KeyError>(())
/// ```
#[derive(Clone)]
pub struct PublicKey {
    bytes: [u8; 32],
    recipient: age::x25519::Recipient,
}

impl PublicKey {
    /// From its 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] for a point of low order, to which nothing can be sealed.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let mut masked = *bytes;
        masked[31] &= 0x7f;
        if LOW_ORDER.contains(&masked) {
            return Err(KeyError::Malformed("public key of low order"));
        }
        let text = bech32::encode::<Bech32>(PUBLIC_PREFIX, bytes).map_err(|_| KeyError::Malformed("public key"))?;
        let recipient = text.parse().map_err(KeyError::Malformed)?;
        Ok(Self { bytes: *bytes, recipient })
    }

    /// Its 32 bytes.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; 32] {
        self.bytes
    }

    pub(crate) const fn recipient(&self) -> &age::x25519::Recipient {
        &self.recipient
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (prefix, data) = bech32::decode(text).map_err(|_| KeyError::Malformed("public key"))?;
        if prefix != PUBLIC_PREFIX {
            return Err(KeyError::Malformed("not an age public key"));
        }
        let bytes = data.as_slice().try_into().map_err(|_| KeyError::Malformed("public key of wrong length"))?;
        Self::from_bytes(bytes)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.recipient.fmt(f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.recipient.fmt(f)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for PublicKey {}

/// An age X25519 key: a mailbox's identity of one generation, or a slot's key. Wiped when dropped.
pub struct Identity {
    // Boxed, so that moving an identity leaves no copies behind on the stack.
    secret: Box<Secret>,
    age: Box<age::x25519::Identity>,
    public: PublicKey,
}

impl Identity {
    /// A new one.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`].
    pub fn generate() -> Result<Self, KeyError> {
        Self::from_bytes(&Zeroizing::new(random()?))
    }

    /// From its 32 bytes.
    ///
    /// # Errors
    /// None in practice: every 32 bytes are a key.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let malformed = |_| KeyError::Malformed("secret key");
        // As long as the text gets, so that it never moves and leaves a copy.
        let mut text = Zeroizing::new(String::with_capacity(128));
        bech32::encode_upper_to_fmt::<Bech32, _>(&mut *text, SECRET_PREFIX, bytes).map_err(malformed)?;
        let age = Box::new(text.parse::<age::x25519::Identity>().map_err(KeyError::Malformed)?);
        let public = age.to_public().to_string().parse()?;
        Ok(Self { secret: Box::new(Zeroizing::new(*bytes)), age, public })
    }

    /// The secret bytes.
    #[must_use]
    pub fn to_bytes(&self) -> &[u8; 32] {
        &self.secret
    }

    /// As age writes it: `AGE-SECRET-KEY-1...`. Only for a person to keep (the household key).
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(self.age.to_string().expose_secret().to_owned())
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) fn age(&self) -> &age::x25519::Identity {
        &self.age
    }
}

impl FromStr for Identity {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (prefix, data) = bech32::decode(text).map_err(|_| KeyError::Mistyped("not an age secret key"))?;
        let data = Zeroizing::new(data);
        if prefix != SECRET_PREFIX {
            return Err(KeyError::Mistyped("not an age secret key"));
        }
        let bytes = data.as_slice().try_into().map_err(|_| KeyError::Mistyped("age secret key of wrong length"))?;
        Self::from_bytes(bytes)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_own_vector() {
        let text = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
        let identity: Identity = text.parse().unwrap();
        assert_eq!(identity.public().to_string(), "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa");
        assert_eq!(identity.to_text().as_str(), text);
    }

    #[test]
    fn low_order_points_are_the_ones_age_cannot_seal_to() {
        use age::Recipient as _;
        for point in LOW_ORDER {
            assert!(PublicKey::from_bytes(&point).is_err());
            let mut high = point;
            high[31] |= 0x80;
            assert!(PublicKey::from_bytes(&high).is_err());
            let text = bech32::encode::<Bech32>(PUBLIC_PREFIX, &point).unwrap();
            let recipient: age::x25519::Recipient = text.parse().unwrap();
            let sealed = std::panic::catch_unwind(|| {
                age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).is_ok()
            });
            assert!(sealed.is_err(), "{point:x?}");
        }
        let _ = age::x25519::Recipient::wrap_file_key;
    }
}
