//! Identities as they lie on disk: sealed to a slot's key, or by their successor.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::{Identity, KeyError, PublicKey, derive, open_small, random, seal_small};
use crate::bytes::{Cut, Take};
use crate::limits;
use crate::names::{MailboxId, SlotId};

const VERSION: u8 = 1;

/// What kind of secret opens a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A password the box made for one device.
    Device = 1,
    /// The twelve words.
    Words = 2,
    /// A password a person chose: the web page only.
    Chosen = 3,
    /// The household's key.
    Household = 4,
}

impl Kind {
    /// From its byte on disk.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Device),
            2 => Some(Self::Words),
            3 => Some(Self::Chosen),
            4 => Some(Self::Household),
            _ => None,
        }
    }
}

/// The place a wrapped identity belongs to; sealed with it, so that it cannot be moved to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Whose identity.
    pub mailbox: MailboxId,
    /// In which slot.
    pub slot: SlotId,
    /// Of which kind.
    pub kind: Kind,
    /// Which generation.
    pub generation: u32,
}

/// An identity sealed to a slot's key: an age file (any age tool with the slot's key opens it) of these bytes:
///
/// | bytes | field |
/// | --- | --- |
/// | 1 | version, 1 |
/// | 8 | mailbox |
/// | 4 | slot |
/// | 1 | [`Kind`] |
/// | 4 | generation |
/// | 32 | the identity's secret |
///
/// ```
/// use spool::keys::{Context, Identity, Kind, Wrapped};
/// use spool::names::{MailboxId, SlotId};
/// let place = Context { mailbox: MailboxId(7), slot: SlotId(1), kind: Kind::Device, generation: 1 };
/// let (identity, slot_key) = (Identity::generate()?, Identity::generate()?);
/// let wrapped = Wrapped::seal(&identity, slot_key.public(), &place)?;
/// let opened = wrapped.open(slot_key.to_bytes(), &place)?;
/// assert_eq!(opened.public(), identity.public());
/// # Ok::<(), spool::keys::KeyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped(Vec<u8>);

impl Wrapped {
    /// Seals an identity for one place, to a slot's public key.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn seal(identity: &Identity, to: &PublicKey, place: &Context) -> Result<Self, KeyError> {
        let mut plain = Zeroizing::new(Vec::with_capacity(64));
        plain.push(VERSION);
        plain.extend_from_slice(&place.mailbox.0.to_le_bytes());
        plain.extend_from_slice(&place.slot.0.to_le_bytes());
        plain.push(place.kind as u8);
        plain.extend_from_slice(&place.generation.to_le_bytes());
        plain.extend_from_slice(identity.to_bytes());
        seal_small(to, &plain).map(Self)
    }

    /// Takes the sealed bytes.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] over [`limits::WRAPPED`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() > limits::WRAPPED {
            return Err(KeyError::Malformed("wrapped identity too long"));
        }
        Ok(Self(bytes.to_vec()))
    }

    /// The sealed bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Opens with the slot's key: for a device, `wire::scram::wrap` of its ClientKey.
    ///
    /// # Errors
    /// [`KeyError::WrongKey`]; [`KeyError::Moved`] when it was sealed for another place.
    pub fn open(&self, slot_key: &[u8; 32], place: &Context) -> Result<Identity, KeyError> {
        self.open_with(&Identity::from_bytes(slot_key)?, place)
    }

    pub(crate) fn open_with(&self, slot_key: &Identity, place: &Context) -> Result<Identity, KeyError> {
        let plain = open_small(slot_key, &self.0)?;
        let (at, secret) = read(&plain).map_err(|Cut| KeyError::Malformed("wrapped identity"))?;
        if at.as_ref() != Some(place) {
            return Err(KeyError::Moved);
        }
        Identity::from_bytes(&secret)
    }
}

fn read(plain: &[u8]) -> Result<(Option<Context>, super::Secret), Cut> {
    let mut take = Take::new(plain);
    let version = take.u8()?;
    let (mailbox, slot) = (MailboxId(take.u64()?), SlotId(take.u32()?));
    let (kind, generation) = (Kind::from_byte(take.u8()?), take.u32()?);
    let secret = Zeroizing::new(take.array()?);
    let place = kind.map(|kind| Context { mailbox, slot, kind, generation });
    Ok((place.filter(|_| version == VERSION && take.is_empty()), secret))
}

/// An identity wrapped by its successor: ChaCha20-Poly1305 under HKDF(successor, "postern predecessor v1"),
/// with mailbox and generation as associated data.
///
/// | bytes | field |
/// | --- | --- |
/// | 12 | nonce |
/// | 32 | the identity's secret, encrypted |
/// | 16 | tag |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link([u8; Link::BYTES]);

impl Link {
    /// Bytes on disk.
    pub const BYTES: usize = 12 + 32 + 16;

    /// Wraps `predecessor`, which is of `generation`, by `successor`.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`].
    pub fn seal(
        predecessor: &Identity,
        successor: &Identity,
        mailbox: MailboxId,
        generation: u32,
    ) -> Result<Self, KeyError> {
        let nonce: [u8; 12] = random()?;
        let mut secret = Zeroizing::new(*predecessor.to_bytes());
        let tag = key(successor)?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place(mailbox, generation)),
                secret.as_mut(),
            )
            .map_err(|_| KeyError::Malformed("cannot seal"))?;
        let mut out = [0; Self::BYTES];
        out[..12].copy_from_slice(&nonce);
        out[12..44].copy_from_slice(secret.as_ref());
        out[44..].copy_from_slice(tag.as_ref());
        Ok(Self(out))
    }

    /// Takes the bytes.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] for another length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        bytes.try_into().map(Self).map_err(|_| KeyError::Malformed("earlier identity"))
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Opens the identity of `generation` with its successor.
    ///
    /// # Errors
    /// [`KeyError::WrongKey`].
    pub fn open(&self, successor: &Identity, mailbox: MailboxId, generation: u32) -> Result<Identity, KeyError> {
        let (nonce, sealed) = self.0.split_at(12);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyError::WrongKey)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let secret = key(successor)?
            .open_in_place(nonce, Aad::from(place(mailbox, generation)), &mut sealed)
            .map_err(|_| KeyError::WrongKey)?;
        let secret = <&[u8; 32]>::try_from(&*secret).map_err(|_| KeyError::WrongKey)?;
        Identity::from_bytes(secret)
    }
}

fn key(successor: &Identity) -> Result<LessSafeKey, KeyError> {
    let key = derive(successor.to_bytes(), b"", b"postern predecessor v1");
    UnboundKey::new(&CHACHA20_POLY1305, key.as_ref()).map(LessSafeKey::new).map_err(|_| KeyError::Malformed("key"))
}

fn place(mailbox: MailboxId, generation: u32) -> [u8; 12] {
    let mut out = [0; 12];
    out[..8].copy_from_slice(&mailbox.0.to_le_bytes());
    out[8..].copy_from_slice(&generation.to_le_bytes());
    out
}
