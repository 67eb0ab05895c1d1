//! Keys: a mailbox's identity, and the secrets that open it.
//!
//! An [`Identity`] is an age X25519 key. It is stored only [`Wrapped`]: sealed to the public half of a *slot
//! key*. The slot key itself is stored nowhere; it is derived from the slot's secret each time:
//!
//! | slot | slot key |
//! | --- | --- |
//! | device password | `wrap` of the ClientKey that SCRAM-SHA-256 recovers (`wire::scram`) |
//! | recovery words | HKDF of their 128 bits |
//! | chosen password | Argon2id |
//! | household key | the household's own age key |
//!
//! Because a slot is a *public* key, a new identity can be wrapped for every slot without its secret: that is
//! what `rekey` does for the devices that stay.

mod chosen_password;
mod derive;
mod device_password;
mod household;
mod identities;
mod identity;
mod sealed;
mod words;
mod wrapped;

use std::fmt;

pub use chosen_password::{ChosenPassword, Cost};
pub use device_password::DevicePassword;
pub use household::HouseholdKey;
pub use identities::Identities;
pub use identity::{Identity, PublicKey};
pub use words::Words;
pub use wrapped::{Context, Kind, Link, Wrapped};

pub(crate) use derive::{derive, random};
pub(crate) use sealed::{open_small, seal_small};

/// 32 secret bytes, wiped when dropped.
pub type Secret = zeroize::Zeroizing<[u8; 32]>;

/// Why a key could not be made, read or used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// The kernel gave no random bytes.
    NoRandomness,
    /// A person mistyped a secret; says how.
    Mistyped(&'static str),
    /// Not the key this is sealed to, or what is sealed is damaged: the two look alike.
    WrongKey,
    /// Opened, but for another place: somebody has moved it.
    Moved,
    /// Bytes that are no key.
    Malformed(&'static str),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRandomness => f.write_str("the kernel gave no random bytes"),
            Self::Mistyped(how) => write!(f, "mistyped: {how}"),
            Self::WrongKey => f.write_str("not the key this is sealed to, or damaged"),
            Self::Moved => f.write_str("sealed for another mailbox, slot or generation"),
            Self::Malformed(what) => write!(f, "malformed: {what}"),
        }
    }
}

impl std::error::Error for KeyError {}
