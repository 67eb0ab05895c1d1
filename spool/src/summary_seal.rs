//! Cached summaries, sealed to their owner: opening one costs a microsecond instead of an X25519.
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | version, 2: from 2 on the owner puts the header before the summary |
//! | 4 | generation of the identity whose key this is |
//! | 12 | nonce |
//! | n | the summary, ChaCha20-Poly1305 under HKDF(identity, mailbox, "postern summary v1") |
//! | 16 | tag; mailbox, letter, version and generation are associated data |

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::keys::{Identities, Identity, KeyError, derive, random};
use crate::limits;
use crate::names::{LetterId, MailboxId};

const VERSION: u8 = 2;
const FRONT: usize = 1 + 4 + 12;
const TAG: usize = 16;

/// Seals and opens one owner's summaries. Made once a session.
///
/// ```
/// use spool::keys::{Identities, Identity};
/// use spool::names::{LetterId, MailboxId};
/// use spool::summary_seal::SummarySeal;
/// let owner = Identities::first(MailboxId(7), Identity::generate()?);
/// let seal = SummarySeal::new(&owner)?;
/// let value = seal.seal(LetterId([1; 16]), b"summary")?;
/// assert_eq!(seal.open(LetterId([1; 16]), &value).as_deref().map(Vec::as_slice), Some(&b"summary"[..]));
/// assert!(seal.open(LetterId([2; 16]), &value).is_none());
/// # Ok::<(), spool::keys::KeyError>(())
/// ```
pub struct SummarySeal {
    mailbox: MailboxId,
    newest: u32,
    // Newest first, as the identities.
    keys: Vec<LessSafeKey>,
}

impl SummarySeal {
    /// Derives the keys of all generations.
    ///
    /// # Errors
    /// None in practice.
    pub fn new(identities: &Identities) -> Result<Self, KeyError> {
        let mailbox = identities.mailbox();
        let keys = identities.iter().map(|(_, identity)| key(identity, mailbox)).collect::<Result<_, _>>()?;
        Ok(Self { mailbox, newest: identities.generation(), keys })
    }

    /// Seals a letter's summary under the newest identity's key.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`]; [`KeyError::Malformed`] over [`limits::SUMMARY`].
    pub fn seal(&self, letter: LetterId, summary: &[u8]) -> Result<Vec<u8>, KeyError> {
        let newest = self.keys.first().filter(|_| summary.len() <= limits::SUMMARY);
        let newest = newest.ok_or(KeyError::Malformed("summary too long"))?;
        let nonce: [u8; 12] = random()?;
        let mut out = Vec::with_capacity(FRONT + summary.len() + TAG);
        out.push(VERSION);
        out.extend_from_slice(&self.newest.to_le_bytes());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(summary);
        let place = self.place(letter, self.newest);
        let (_, text) = out.split_at_mut(FRONT);
        let tag = newest
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), text)
            .map_err(|_| KeyError::Malformed("cannot seal"))?;
        out.extend_from_slice(tag.as_ref());
        Ok(out)
    }

    /// Opens a value of the cache; `None` for one that is damaged, of another letter, or not ours: throw it away.
    #[must_use]
    pub fn open(&self, letter: LetterId, value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (front, sealed) = value.split_at_checked(FRONT)?;
        let (version, rest) = front.split_first()?;
        let (generation, nonce) = rest.split_first_chunk()?;
        let generation = u32::from_le_bytes(*generation);
        if *version != VERSION || value.len() > limits::CACHE_VALUE {
            return None;
        }
        let key = self.keys.get(usize::try_from(self.newest.checked_sub(generation)?).ok()?)?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = key.open_in_place(nonce, Aad::from(self.place(letter, generation)), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }

    fn place(&self, letter: LetterId, generation: u32) -> [u8; 29] {
        let mut place = [VERSION; 29];
        place[1..9].copy_from_slice(&self.mailbox.0.to_le_bytes());
        place[9..25].copy_from_slice(&letter.0);
        place[25..].copy_from_slice(&generation.to_le_bytes());
        place
    }
}

impl std::fmt::Debug for SummarySeal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SummarySeal({})", self.mailbox)
    }
}

fn key(identity: &Identity, mailbox: MailboxId) -> Result<LessSafeKey, KeyError> {
    let key = derive(identity.to_bytes(), &mailbox.0.to_le_bytes(), b"postern summary v1");
    UnboundKey::new(&CHACHA20_POLY1305, key.as_ref()).map(LessSafeKey::new).map_err(|_| KeyError::Malformed("key"))
}
