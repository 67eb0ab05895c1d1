//! One line: made with the public key alone, checked with no key at all.

use wire::{base64, scram};

use super::{AuditError, Entry};
use crate::keys::{Identities, PublicKey, open_small, seal_small};
use crate::limits;
use crate::names::MailboxId;

const VERSION: &str = "1";

/// A line of the log, its form checked; whether it belongs where it stands [`Self::holds_after`] says.
///
/// ```
/// use spool::audit::{Entry, Line, What};
/// use spool::keys::{Identities, Identity};
/// use spool::names::MailboxId;
/// let owner = Identities::first(MailboxId(7), Identity::generate()?);
/// let entry = Entry { at: 1_700_000_000, what: What::Made, slot: None, text: "phone".to_owned() };
/// let first = Line::make(None, MailboxId(7), 1, owner.newest().public(), &entry)?;
/// assert!(Line::parse(&first.to_string())?.holds_after(None, MailboxId(7)));
/// assert_eq!(first.open(None, &owner)?, entry);
/// # Ok::<(), spool::audit::AuditError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    number: u64,
    generation: u32,
    chain: [u8; 32],
    sealed: Vec<u8>,
}

impl Line {
    /// Makes the line that follows `previous`.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn make(
        previous: Option<&Self>,
        mailbox: MailboxId,
        generation: u32,
        to: &PublicKey,
        entry: &Entry,
    ) -> Result<Self, AuditError> {
        let (number, before) = successor(previous);
        if number > limits::AUDIT_LINES as u64 {
            return Err(AuditError::TooMany("lines"));
        }
        let sealed = seal_small(to, &entry.encode(number, &before)?)?;
        let chain = chain(mailbox, &before, number, generation, &sealed);
        Ok(Self { number, generation, chain, sealed })
    }

    /// Reads a line, without its line end.
    ///
    /// # Errors
    /// [`AuditError::Broken`] with the number that can be read, or 0.
    pub fn parse(text: &str) -> Result<Self, AuditError> {
        let number = text.split(' ').nth(1).and_then(decimal).unwrap_or(0);
        Self::fields(text).ok_or(AuditError::Broken(number, "not a line of an audit log"))
    }

    fn fields(text: &str) -> Option<Self> {
        if text.len() > limits::AUDIT_LINE {
            return None;
        }
        let mut fields = text.split(' ');
        let version = fields.next()?;
        let number = decimal(fields.next()?)?;
        let generation = decimal(fields.next()?)?.try_into().ok()?;
        let chain = unhex(fields.next()?)?;
        let sealed = base64::decode(fields.next()?.as_bytes())?;
        (version == VERSION && fields.next().is_none()).then_some(Self { number, generation, chain, sealed })
    }

    /// Its number, from 1.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Its chain: whoever remembers the last line's notices a log whose end was cut off.
    #[must_use]
    pub const fn chain(&self) -> &[u8; 32] {
        &self.chain
    }

    /// Whether it is whole and follows `previous` in this mailbox's log.
    #[must_use]
    pub fn holds_after(&self, previous: Option<&Self>, mailbox: MailboxId) -> bool {
        let (number, before) = successor(previous);
        self.number == number && self.chain == chain(mailbox, &before, number, self.generation, &self.sealed)
    }

    /// Opens it; it must have been made for exactly this place.
    ///
    /// # Errors
    /// [`AuditError::Broken`].
    pub fn open(&self, previous: Option<&Self>, identities: &Identities) -> Result<Entry, AuditError> {
        let (entry, fits) = self.open_anywhere(previous, identities)?;
        if fits { Ok(entry) } else { Err(self.misplaced()) }
    }

    /// Opens it wherever it stands; says whether it was made for this place.
    pub(super) fn open_anywhere(
        &self,
        previous: Option<&Self>,
        identities: &Identities,
    ) -> Result<(Entry, bool), AuditError> {
        let broken = |how| AuditError::Broken(self.number, how);
        let identity = identities.of(self.generation).ok_or(broken("of a generation whose key is missing"))?;
        let plain = open_small(identity, &self.sealed).map_err(|_| broken("does not open"))?;
        let (entry, number, before) = Entry::decode(&plain).map_err(|_| broken("not an entry"))?;
        Ok((entry, (number, before) == successor(previous)))
    }

    pub(super) const fn misplaced(&self) -> AuditError {
        AuditError::Broken(self.number, "was made for another place: lines before it were taken out or changed")
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{VERSION} {} {} ", self.number, self.generation)?;
        self.chain.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, " {}", base64::encode(&self.sealed))
    }
}

/// For the keeper: whether `line` may be appended to a log that ends in `previous`.
///
/// # Errors
/// [`AuditError::Broken`] for a line of no form; [`AuditError::Outdated`] when it belongs elsewhere.
pub fn follows(previous: Option<&Line>, line: &str, mailbox: MailboxId) -> Result<Line, AuditError> {
    let line = Line::parse(line)?;
    if line.holds_after(previous, mailbox) { Ok(line) } else { Err(AuditError::Outdated) }
}

/// Number and previous chain of the line that comes next.
fn successor(previous: Option<&Line>) -> (u64, [u8; 32]) {
    previous.map_or((1, [0; 32]), |line| (line.number.saturating_add(1), line.chain))
}

fn chain(mailbox: MailboxId, before: &[u8; 32], number: u64, generation: u32, sealed: &[u8]) -> [u8; 32] {
    let mut text = b"postern audit v1".to_vec();
    text.extend_from_slice(&mailbox.0.to_le_bytes());
    text.extend_from_slice(before);
    text.extend_from_slice(&number.to_le_bytes());
    text.extend_from_slice(&generation.to_le_bytes());
    text.extend_from_slice(sealed);
    scram::sha256(&text)
}

/// Only the one way of writing a number that [`Line`] itself uses.
fn decimal(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if canonical { text.parse().ok() } else { None }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (place, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(out)
}
