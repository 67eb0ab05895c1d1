//! What makes a message refused for its form alone, before anything is verified: facts that hold for every recipient.

use crate::header;
use crate::limits;
use crate::session::Outcome;

/// Why it is not taken, if so.
#[must_use]
pub fn fault(message: &[u8]) -> Option<Outcome> {
    // First: of a header that is cut off we would see neither loops nor authors.
    if !header::is_bounded(message) {
        return Some(Outcome::LongHeader);
    }
    // RFC 2045 §2.7 and §2.8: neither 7 bit nor 8 bit data has it, and IMAP has no way to say it (RFC 3501 §9, CHAR8).
    if message.contains(&0) {
        return Some(Outcome::Nul);
    }
    let (mut hops, mut authors) = (0, 0);
    for field in header::fields(message) {
        hops += usize::from(field.is("Received"));
        authors += usize::from(field.is("From"));
    }
    if hops > limits::HOPS {
        return Some(Outcome::Looping);
    }
    // Which of them a mail reader shows, and which a verifier looks at, is anybody's guess.
    (authors > 1).then_some(Outcome::ManyAuthors)
}

/// The same for what one of ours sends, and we sign: to each who reads it it must say the same.
#[must_use]
pub fn owners_fault(message: &[u8]) -> Option<Outcome> {
    header::misformed(message).map(|line| Outcome::NoField { line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_counted_in_the_header_only() {
        let hops = |n: usize| ["Received: x\r\n".repeat(n).as_bytes(), b"\r\nReceived: y\r\n"].concat();
        assert_eq!(fault(&hops(limits::HOPS)), None);
        assert_eq!(fault(&hops(limits::HOPS + 1)), Some(Outcome::Looping));
    }

    #[test]
    fn one_from() {
        assert_eq!(fault(b"From: a@b.example\r\n\r\nFrom: c@d.example\r\n"), None);
        assert_eq!(fault(b"Subject: none\r\n\r\n"), None);
        for two in [
            b"From: a@b.example\r\nFrom: c@d.example\r\n\r\n".as_slice(),
            b"From: a@b.example\r\nfrom : c@d.example\r\n\r\n",
            b"From: a@b.example\r\nSubject: x\r\n y\r\nFROM:\r\n c@d.example\r\n\r\n",
        ] {
            assert_eq!(fault(two), Some(Outcome::ManyAuthors), "{}", two.escape_ascii());
        }
    }

    #[test]
    fn no_nul_anywhere() {
        for nul in [b"Subject: a\0b\r\n\r\n".as_slice(), b"Subject: x\r\n\r\nwords\r\n\0"] {
            assert_eq!(fault(nul), Some(Outcome::Nul), "{}", nul.escape_ascii());
        }
    }

    #[test]
    fn what_is_not_looked_at_is_not_taken() {
        let hidden = format!("X: {}\r\nFrom: a@b.example\r\n\r\n", "x\r\n ".repeat(limits::HEADER / 4));
        assert_eq!(fault(hidden.as_bytes()), Some(Outcome::LongHeader));
    }
}
