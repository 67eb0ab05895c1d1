//! The keys of the link: one Ed25519 pair for each end of a pairing, shown as a raw public key (RFC 7250).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::base32;

/// What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410 §4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// The system gives no randomness.
    Random,
    /// The bytes are no Ed25519 key in PKCS#8.
    Malformed,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Random => "the system gives no random bytes",
            Self::Malformed => "the key file holds no Ed25519 key in PKCS#8: restore it, or remove it and pair anew",
        })
    }
}

impl std::error::Error for KeyError {}

/// The private half of one end.
pub struct LinkKey {
    pkcs8: Zeroizing<Vec<u8>>,
    public: PublicKey,
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkKey({})", self.public)
    }
}

impl LinkKey {
    /// A new one.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<Self, KeyError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Random)?;
        Self::from_pkcs8(document.as_ref())
    }

    /// Reads one as [`Self::pkcs8`] gave it.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(bytes).map_err(|_| KeyError::Malformed)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Malformed)?;
        Ok(Self { pkcs8: Zeroizing::new(bytes.to_vec()), public: PublicKey(public) })
    }

    /// To be kept where nobody else reads it.
    #[must_use]
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The half that others may know.
    #[must_use]
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// As rustls wants it: the "certificate" is the key itself.
    pub(crate) fn certified(&self) -> Result<Arc<CertifiedKey>, KeyError> {
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.to_vec()));
        let signing = rustls::crypto::ring::sign::any_supported_type(&der).map_err(|_| KeyError::Malformed)?;
        let shown = CertificateDer::from(self.public.to_spki().to_vec());
        Ok(Arc::new(CertifiedKey::new(vec![shown], signing)))
    }
}

/// The public half of one end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// From a SubjectPublicKeyInfo; `None` unless it is exactly an Ed25519 key.
    #[must_use]
    pub fn from_spki(der: &[u8]) -> Option<Self> {
        der.strip_prefix(&SPKI)?.try_into().ok().map(Self)
    }

    /// As it is shown in a handshake.
    #[must_use]
    pub fn to_spki(self) -> [u8; 44] {
        let mut der = [0; 44];
        der[..SPKI.len()].copy_from_slice(&SPKI);
        der[SPKI.len()..].copy_from_slice(&self.0);
        der
    }

    /// Short enough for a code, long enough that nobody makes another key with it (128 bits).
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"postern link key");
        context.update(&self.0);
        let mut out = [0; 16];
        out.copy_from_slice(&context.finish().as_ref()[..16]);
        Fingerprint(out)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32::encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// The text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAKey;

impl fmt::Display for NotAKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is no link key")
    }
}

impl std::error::Error for NotAKey {}

impl FromStr for PublicKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        base32::decode(text).map(Self).ok_or(NotAKey)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The beginning of a key's digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 16]);

/// Which key the other end must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// Exactly this one: what is known after pairing.
    Key(PublicKey),
    /// One of this fingerprint: what a code says.
    Fingerprint(Fingerprint),
}

impl Pin {
    /// Whether it is the one.
    #[must_use]
    pub fn holds(&self, shown: &PublicKey) -> bool {
        match self {
            Self::Key(key) => key == shown,
            Self::Fingerprint(fingerprint) => *fingerprint == shown.fingerprint(),
        }
    }
}

/// A secret that is said once, and kept only as its digest by who checks it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct OneTimeSecret(pub [u8; 10]);

impl fmt::Debug for OneTimeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeSecret(..)")
    }
}

impl OneTimeSecret {
    /// 80 bits: it can be tried only over the network, and for a day.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<Self, KeyError> {
        random().map(Self)
    }

    /// What may lie on a disk.
    #[must_use]
    pub fn digest(&self) -> SecretDigest {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"postern pairing secret");
        context.update(&self.0);
        let mut out = [0; 32];
        out.copy_from_slice(context.finish().as_ref());
        SecretDigest(out)
    }
}

/// The digest of a [`OneTimeSecret`]. How long comparing two takes tells nothing about the secret of either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretDigest([u8; 32]);

impl Serialize for SecretDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base32::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for SecretDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        base32::decode(&text).map(Self).ok_or_else(|| de::Error::custom("this is no digest"))
    }
}

/// Random bytes.
///
/// # Errors
/// [`KeyError::Random`].
pub fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    ring::rand::SecureRandom::fill(&SystemRandom::new(), &mut bytes).map_err(|_| KeyError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back() {
        let key = LinkKey::generate().unwrap();
        let again = LinkKey::from_pkcs8(key.pkcs8()).unwrap();
        assert_eq!(key.public(), again.public());
        assert_eq!(key.public().to_string().parse(), Ok(key.public()));
        assert_eq!(PublicKey::from_spki(&key.public().to_spki()), Some(key.public()));
        assert_eq!(LinkKey::from_pkcs8(b"nothing").unwrap_err(), KeyError::Malformed);
        assert!(!format!("{key:?}").contains("pkcs8"));
    }

    #[test]
    fn only_whole_ed25519_keys_are_keys() {
        let spki = LinkKey::generate().unwrap().public().to_spki();
        assert_eq!(PublicKey::from_spki(&spki[..43]), None);
        assert_eq!(PublicKey::from_spki(&[&spki[..], &[0]].concat()), None);
        let mut other = spki;
        other[8] = 0x71; // Ed448
        assert_eq!(PublicKey::from_spki(&other), None);
    }

    #[test]
    fn pins_hold_for_one_key() {
        let (one, other) = (LinkKey::generate().unwrap().public(), LinkKey::generate().unwrap().public());
        for pin in [Pin::Key(one), Pin::Fingerprint(one.fingerprint())] {
            assert!(pin.holds(&one));
            assert!(!pin.holds(&other));
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let secret = OneTimeSecret([7; 10]);
        assert_eq!(format!("{secret:?}"), "OneTimeSecret(..)");
        assert_eq!(secret.digest(), OneTimeSecret([7; 10]).digest());
        assert_ne!(secret.digest(), OneTimeSecret([8; 10]).digest());
    }
}
