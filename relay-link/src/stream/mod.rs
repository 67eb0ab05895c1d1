//! One data connection: a number and a key said over the control connection, a proof each way, then nothing of ours.
//!
//! ```text
//! home  → proxy   'P', number (8), HMAC-SHA-256(key, "home" number) (32)
//! proxy → home    HMAC-SHA-256(key, "proxy" number) (32)
//! ```
//!
//! The number is single use and random, the key is of this stream alone; who sees the opening learns nothing that
//! works again, and who answers it knows the key.

use std::fmt;
use std::io;

use ring::hmac;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::keys::{self, KeyError};
use crate::limits;

mod waiting;

pub use waiting::{NotExpected, TooMany, Waiting};

/// The first byte of an opening. A TLS record begins with 0x16, so one port serves both kinds of connection.
pub const MARK: u8 = b'P';
/// Bytes of an opening.
pub const OPENING: usize = 1 + 8 + PROOF;
/// Bytes of a proof.
pub const PROOF: usize = 32;

/// What a stream is fetched with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Ticket {
    /// Which stream.
    #[zeroize(skip)]
    pub number: u64,
    key: [u8; 32],
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({:016x})", self.number)
    }
}

impl Ticket {
    /// A new one.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<Self, KeyError> {
        let bytes = Zeroizing::new(keys::random::<40>()?);
        let (mut number, mut key) = ([0; 8], [0; 32]);
        number.copy_from_slice(&bytes[..8]);
        key.copy_from_slice(&bytes[8..]);
        Ok(Self { number: u64::from_be_bytes(number), key })
    }

    /// What the home opens with.
    #[must_use]
    pub fn opening(&self) -> [u8; OPENING] {
        let mut bytes = [MARK; OPENING];
        bytes[1..9].copy_from_slice(&self.number.to_be_bytes());
        bytes[9..].copy_from_slice(&self.sign(b"home"));
        bytes
    }

    /// What the proxy answers.
    #[must_use]
    pub fn answer(&self) -> [u8; PROOF] {
        self.sign(b"proxy")
    }

    fn admits(&self, opening: &Opening) -> bool {
        opening.number == self.number && self.verify(b"home", &opening.proof)
    }

    fn is_answered_by(&self, answer: &[u8; PROOF]) -> bool {
        self.verify(b"proxy", answer)
    }

    fn message(&self, who: &[u8]) -> Vec<u8> {
        [who, &self.number.to_be_bytes()].concat()
    }

    fn sign(&self, who: &[u8]) -> [u8; PROOF] {
        let mut out = [0; PROOF];
        out.copy_from_slice(hmac::sign(&self.hmac_key(), &self.message(who)).as_ref());
        out
    }

    fn verify(&self, who: &[u8], proof: &[u8]) -> bool {
        hmac::verify(&self.hmac_key(), &self.message(who), proof).is_ok()
    }

    fn hmac_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.key)
    }
}

/// An opening as a stranger sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    number: u64,
    proof: [u8; PROOF],
}

impl Opening {
    /// `None` unless it begins with [`MARK`].
    #[must_use]
    pub fn read(bytes: &[u8; OPENING]) -> Option<Self> {
        let (number, proof) = bytes.strip_prefix(&[MARK])?.split_first_chunk::<8>()?;
        Some(Self { number: u64::from_be_bytes(*number), proof: proof.try_into().ok()? })
    }
}

/// Fetches a stream, as a home: opens on a fresh connection and checks the answer, within [`limits::FETCH`].
///
/// # Errors
/// The connection's; `PermissionDenied` when the answer is not the proxy's.
pub async fn fetch(mut connection: TcpStream, ticket: &Ticket) -> io::Result<TcpStream> {
    let talk = async {
        connection.set_nodelay(true)?;
        connection.write_all(&ticket.opening()).await?;
        let mut answer = [0; PROOF];
        connection.read_exact(&mut answer).await?;
        if !ticket.is_answered_by(&answer) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "this is not the proxy"));
        }
        Ok(connection)
    };
    timeout(limits::FETCH, talk).await.map_err(|_| io::ErrorKind::TimedOut)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_proof_is_of_its_side_and_stream() {
        let ticket = Ticket::generate().unwrap();
        let opening = Opening::read(&ticket.opening()).unwrap();
        assert!(ticket.admits(&opening));
        assert!(ticket.is_answered_by(&ticket.answer()));
        assert!(!ticket.is_answered_by(&opening.proof), "the home's proof echoed is no answer");
        let other = Ticket { number: ticket.number, key: Ticket::generate().unwrap().key };
        assert!(!other.admits(&opening));
        assert!(!other.is_answered_by(&ticket.answer()));
        let renumbered = Ticket { number: ticket.number ^ 1, key: ticket.key };
        assert!(!renumbered.admits(&Opening { number: renumbered.number, ..opening }));
        assert_eq!(format!("{ticket:?}"), format!("Ticket({:016x})", ticket.number), "the key does not show");
    }

    proptest! {
        #[test]
        fn any_bit_matters(bit in 0usize..OPENING * 8) {
            let ticket = Ticket::generate().unwrap();
            let mut bytes = ticket.opening();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!Opening::read(&bytes).is_some_and(|opening| ticket.admits(&opening)));
        }
    }
}
