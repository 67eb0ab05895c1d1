//! What an alias passes on for a stranger: under whose name it leaves, and who here hears of it. A stranger may write
//! any address of ours into From: nothing that leaves may then speak for it.

use spool::edges::outbox::Outgoing;
use spool::srs::Rewriter;

use crate::authors::{self, Authors};

/// The domain whose keys sign a letter: that of its From. What is passed on gets no signature of ours.
#[must_use]
pub fn signing_domain(outgoing: &Outgoing, text: &[u8]) -> Option<String> {
    if outgoing.passed_on { None } else { author(text) }
}

/// MAIL FROM. Of what is passed on, one of ours, so that the far server finds our SPF record and a bounce its way; but
/// not when From claims to be ours: the two together would be believed (DMARC, RFC 7489 §3.1.2).
#[must_use]
pub fn sender(outgoing: &Outgoing, text: &[u8], rewriter: &Rewriter, domain: &str, day: u32) -> Option<String> {
    let sender = outgoing.sender.as_ref()?;
    if !outgoing.passed_on || author(text).is_none_or(|author| is_akin(&author, domain)) {
        return Some(sender.clone());
    }
    let rewritten = sender.rsplit_once('@').and_then(|(local, far)| rewriter.forward(local, far, day));
    // Too long to be rewritten: then at least somebody here hears of a bounce.
    rewritten.or_else(|| Some(postmaster(domain)))
}

/// Whom a notice about a letter goes to. A stranger is never told: any address may stand there.
#[must_use]
pub fn listener(outgoing: &Outgoing, domain: &str) -> Option<String> {
    let sender = outgoing.sender.as_ref()?;
    Some(if outgoing.passed_on { postmaster(domain) } else { sender.clone() })
}

fn postmaster(domain: &str) -> String {
    format!("postmaster@{domain}")
}

fn author(text: &[u8]) -> Option<String> {
    match authors::of(text) {
        Authors::These(authors) => authors.first().map(|author| author.domain().to_lowercase()),
        Authors::Unreadable => None,
    }
}

/// Relaxed alignment, without a list of public suffixes: one lies in the other.
fn is_akin(one: &str, other: &str) -> bool {
    let (one, other) = (format!(".{one}"), format!(".{}", other.to_lowercase()));
    one.ends_with(&other) || other.ends_with(&one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use spool::names::MailboxId;

    fn outgoing(sender: &str, passed_on: bool) -> Outgoing {
        Outgoing {
            mailbox: MailboxId(1),
            sender: Some(sender.to_owned()),
            queued: 0,
            size: 1,
            generation: 1,
            digest: [0; 32],
            eight_bit: false,
            international: false,
            require_tls: false,
            full: None,
            envelope_id: None,
            recipients: Vec::new(),
            held: false,
            passed_on,
        }
    }

    const OURS: &[u8] = b"From: anna@home.test\r\n\r\nhello\r\n";
    const THEIRS: &[u8] = b"From: ben@far.test\r\n\r\nhello\r\n";

    #[test]
    fn nothing_of_a_stranger_s_is_signed() {
        assert_eq!(signing_domain(&outgoing("anna@home.test", false), OURS).as_deref(), Some("home.test"));
        assert_eq!(signing_domain(&outgoing("ben@far.test", true), OURS), None);
        assert_eq!(signing_domain(&outgoing("ben@far.test", true), THEIRS), None);
    }

    #[test]
    fn the_senders_of_what_is_passed_on() {
        let rewriter = Rewriter::new(&[7; 32], "home.test");
        let sender = |from: &str, passed_on, text| {
            super::sender(&outgoing(from, passed_on), text, &rewriter, "home.test", 1).unwrap()
        };
        assert_eq!(sender("anna@home.test", false, OURS), "anna@home.test");
        let rewritten = sender("ben@far.test", true, THEIRS);
        assert!(rewritten.starts_with("SRS0=") && rewritten.ends_with("=far.test=ben@home.test"), "{rewritten}");
        assert_eq!(sender(&format!("{}@far.test", "b".repeat(60)), true, THEIRS), "postmaster@home.test");
        for claimed in [OURS, b"From: x@Sub.home.test\r\n\r\n", b"From: x@test\r\n\r\n", b"Subject: none\r\n\r\n"] {
            assert_eq!(sender("ben@far.test", true, claimed), "ben@far.test", "no SPF of ours for it");
        }
        assert_ne!(sender("ben@far.test", true, b"From: x@athome.test\r\n\r\n"), "ben@far.test");
    }

    #[test]
    fn what_was_made_is_an_address() {
        let rewriter = Rewriter::new(&[7; 32], "home.test");
        for length in 1..64 {
            let from = outgoing(&format!("{}@far.test", "b".repeat(length)), true);
            let made = sender(&from, THEIRS, &rewriter, "home.test", 1).unwrap();
            assert!(crate::session::path::Address::parse(made.as_bytes()).is_ok(), "{made}");
        }
    }

    #[test]
    fn who_hears() {
        assert_eq!(listener(&outgoing("anna@home.test", false), "home.test").as_deref(), Some("anna@home.test"));
        assert_eq!(listener(&outgoing("ben@far.test", true), "home.test").as_deref(), Some("postmaster@home.test"));
        let bounce = Outgoing { sender: None, ..outgoing("", true) };
        assert_eq!(listener(&bounce, "home.test"), None);
    }
}
