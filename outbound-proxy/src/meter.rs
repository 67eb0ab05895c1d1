//! How much mail a session is, from what can be seen of it: the lengths of TLS records. Pure.
//!
//! A server answers every recipient, and its answers are encrypted octet by octet: the plaintext of what it says is the
//! sum of its records' lengths, less a constant for each that the cipher suite gives. That is exact for every server
//! measured, and unlike a count of records it does not depend on pipelining. What is not counted: the handshake, and after
//! it tickets and the reply to EHLO, each up to a bound; the session's minimum pays for them.
//!
//! Errs against the sender where it must: an unknown suite, late tickets and padding are counted in full.

use std::fmt;

use crate::limits;
use crate::records::{HEADER, Kind, NotTls, Record, Records};

/// Units that have come due.
pub type Units = u64;

/// One session's.
#[derive(Default)]
pub struct Meter {
    home: Records,
    server: Records,
    suite: Suite,
    /// Application records of the home, and octets of those that may be its EHLO.
    spoken: u32,
    greeting: u64,
    /// Octets of reply plaintext that were passed over since its EHLO.
    passed_over: u64,
    /// Octets of the far server's that were taken to be its handshake.
    shaken: u64,
    /// Octets of reply plaintext that count.
    replies: u64,
    /// Octets from the home, and its longest record.
    body: u64,
    longest: u64,
    due: Units,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("replies", &self.replies).field("body", &self.body).finish_non_exhaustive()
    }
}

impl Meter {
    /// The home has sent this; how many units of bodies that is.
    ///
    /// # Errors
    /// [`NotTls`]: close, and pass nothing of it on.
    pub fn home(&mut self, bytes: &[u8]) -> Result<Units, NotTls> {
        let (spoken, longest, greeting) = (&mut self.spoken, &mut self.longest, &mut self.greeting);
        let first = self.suite.first_command();
        self.home.pass(bytes, |record| {
            *spoken = spoken.saturating_add(u32::from(record.kind == Kind::Application));
            if *spoken == first && record.kind == Kind::Application {
                *greeting += record.length;
            }
            *longest = record.length.max(*longest);
        })?;
        let before = self.body / limits::UNIT_OF_BODY;
        self.body += bytes.len() as u64;
        Ok(self.body / limits::UNIT_OF_BODY - before)
    }

    /// The far server has sent this; what that costs.
    ///
    /// # Errors
    /// [`NotTls`]: close, and pass nothing of it on.
    pub fn server(&mut self, bytes: &[u8]) -> Result<Units, NotTls> {
        self.suite.look(bytes);
        let mut seen = Vec::new();
        self.server.pass(bytes, |record| seen.push(record))?;
        seen.into_iter().for_each(|record| self.count(record));
        Ok(self.newly_due())
    }

    /// Octets of reply plaintext counted so far.
    #[must_use]
    pub const fn replies(&self) -> u64 {
        self.replies
    }

    /// Octets of the far server's that can be replies: its handshake, and what is passed over, among them.
    #[must_use]
    pub const fn heard(&self) -> u64 {
        self.shaken + self.passed_over + self.replies
    }

    /// Whether the far server may owe a reply. It owes none only to a home that has ended the handshake and said nothing since
    /// (TLS 1.3: one record): whatever was asked later, nobody can see how many commands that was, or what of the answers
    /// is tickets, or the length of an earlier one.
    #[must_use]
    pub const fn may_owe(&self) -> bool {
        !(self.suite.is_tls13() && self.spoken == 1)
    }

    /// Octets of the home's longest record.
    #[must_use]
    pub const fn longest(&self) -> u64 {
        self.longest
    }

    fn count(&mut self, record: Record) {
        if record.kind != Kind::Application || self.spoken < self.suite.first_command() {
            let octets = record.length + HEADER as u64;
            let free = octets.min(limits::HANDSHAKE - self.shaken);
            self.shaken += free;
            self.replies += octets - free;
            return;
        }
        let plaintext = record.length.saturating_sub(self.suite.overhead());
        // Longer, it has more in it.
        let to_ehlo = self.spoken == self.suite.first_command() && self.greeting <= limits::EHLO;
        let room = limits::UNCOUNTED - self.passed_over;
        let free = if to_ehlo { plaintext.min(room) } else { 0 };
        self.passed_over += free;
        self.replies += plaintext - free;
    }

    fn newly_due(&mut self) -> Units {
        let total = self.replies.div_ceil(limits::UNIT);
        let new = total - self.due;
        self.due = total;
        new
    }
}

/// The cipher suite, out of the far server's first record.
#[derive(Default)]
struct Suite {
    first: Vec<u8>,
    chosen: Option<u16>,
}

impl Suite {
    fn look(&mut self, bytes: &[u8]) {
        if self.chosen.is_some() || self.first.len() >= limits::SERVER_HELLO {
            return;
        }
        let room = limits::SERVER_HELLO - self.first.len();
        self.first.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.chosen = suite(&self.first);
        if self.chosen.is_some() {
            self.first = Vec::new();
        }
    }

    const fn is_tls13(&self) -> bool {
        matches!(self.chosen, Some(0x1301..=0x1305))
    }

    /// Octets of a record that are no plaintext.
    const fn overhead(&self) -> u64 {
        match self.chosen {
            // RFC 8446 §5.2: the tag, and the octet that says the kind. (0x1305 has a shorter tag: counted in full.)
            Some(0x1301..=0x1304) => 17,
            // RFC 5288 §3, RFC 5289: AES-GCM; eight octets of nonce and the tag.
            Some(0x009c..=0x00a7 | 0xc02b..=0xc032) => 24,
            // RFC 7905 §2: ChaCha20-Poly1305; the tag alone.
            Some(0xcca8..=0xccae) => 16,
            _ => 0,
        }
    }

    /// Which of the home's application records is its EHLO: in TLS 1.3 its Finished is one, too.
    const fn first_command(&self) -> u32 {
        if self.is_tls13() { 2 } else { 1 }
    }
}

/// RFC 8446 §4.1.3, the same in RFC 5246 §7.4.1.3; `None` while it is not there.
fn suite(first: &[u8]) -> Option<u16> {
    const SERVER_HELLO: u8 = 2;
    let (header, rest) = first.split_at_checked(5 + 4 + 2 + 32)?;
    if header[0] != 22 || header[5] != SERVER_HELLO {
        return None;
    }
    let (id, rest) = rest.split_first()?;
    let suite = rest.get(usize::from(*id)..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*suite))
}
