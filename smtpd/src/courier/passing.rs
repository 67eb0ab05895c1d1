//! What an alias passes on for a stranger: under whose name it leaves, and who here hears of it. A stranger may write
//! any address of ours into From: nothing that leaves may then speak for it.

use spool::edges::outbox::Outgoing;
use spool::srs::Rewriter;

use super::arc;
use super::fate::{Fate, Status, Why};
use crate::authors::{self, Authors};
use crate::header;

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
    if !outgoing.passed_on || may_claim(text, domain) {
        return Some(sender.clone());
    }
    let rewritten = sender.rsplit_once('@').and_then(|(local, far)| rewriter.forward(local, far, day));
    // Too long to be rewritten: then at least somebody here hears of a bounce.
    rewritten.or_else(|| Some(postmaster(domain)))
}

/// What is passed on, says that it is from here, and leaves with a sender of ours or with none: from this address that is
/// believed (RFC 7208 §2.4: of no sender, the name in EHLO speaks, a proxy's too), as if one of ours had written it. Only what was proven
/// when it came may go on so.
///
/// # Errors
/// The fate of all its recipients.
pub fn check(outgoing: &Outgoing, text: &[u8], (domain, host): (&str, &str), hello: &str) -> Result<(), Fate> {
    if !outgoing.passed_on {
        return Ok(());
    }
    let above = hello.split_once('.').map_or(hello, |(_, above)| above);
    let claims = match outgoing.sender.as_deref().map(|sender| sender.rsplit_once('@').map_or("", |(_, far)| far)) {
        Some(of) => is_akin(&of.to_lowercase(), domain) && may_claim(text, domain),
        None => [domain, hello, above].iter().any(|ours| claims(text, ours)),
    };
    if !claims || arc::found(text, host, "dmarc").as_deref() == Some("pass") {
        return Ok(());
    }
    let words =
        "its From says that it was written here, and nothing proves that: it is not passed on in this house's name";
    Err(Fate::Failed(Why::ours(Status::new(5, 7, 1), words)))
}

/// Whom a notice about a letter goes to. A stranger is never told: any address may stand there.
#[must_use]
pub fn listener(outgoing: &Outgoing, domain: &str) -> Option<String> {
    let sender = outgoing.sender.as_ref()?;
    Some(if outgoing.passed_on { postmaster(domain) } else { sender.clone() })
}

/// The alias that a letter came for, as the field says that `mx` put in front; it names none where there were several.
#[must_use]
pub fn alias(text: &[u8]) -> Option<String> {
    let ours = header::fields(text).find(|field| field.is("Received"))?.unfolded();
    let (_, rest) = ours.rsplit_once("\tfor <")?;
    let (alias, _) = rest.split_once(">;")?;
    Some(alias.to_owned())
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

/// Whether somebody may read an address of that domain in From.
fn may_claim(text: &[u8], domain: &str) -> bool {
    match authors::of(text) {
        Authors::These(authors) => authors.iter().any(|author| is_akin(&author.domain().to_lowercase(), domain)),
        Authors::Unreadable => true,
    }
}

/// The same of what has no sender: many a bounce has a From without an address, which claims nothing.
fn claims(text: &[u8], domain: &str) -> bool {
    let named = |from: String| match header::without_comments(&from) {
        Some(plain) => plain.replace([' ', '\t', '"', '\\'], "").to_lowercase().contains(&domain.to_lowercase()),
        None => true,
    };
    match authors::of(text) {
        Authors::These(_) => may_claim(text, domain),
        Authors::Unreadable => header::fields(text).filter(|field| field.is("From")).any(|from| named(from.unfolded())),
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
        assert_eq!(sender("ben@far.test", true, b"From: b@far.test, anna@home.test\r\n\r\n"), "ben@far.test");
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
    fn what_only_says_that_it_is_from_here_is_not_passed_on() {
        let goes = |from: &str, text: &str| {
            let sender = Some(from.to_owned()).filter(|from| !from.is_empty());
            check(
                &Outgoing { sender, ..outgoing("", true) },
                text.as_bytes(),
                ("home.test", "mx.home.test"),
                "out.clean.test",
            )
            .is_ok()
        };
        let from = |from: &str| format!("From: {from}\r\n\r\n");
        for (sender, author) in [
            ("anna@home.test", "anna@home.test"),
            ("", "anna@home.test"),
            ("", "x@mx.home.test"),
            ("", "x@clean.test"),
            ("", "group: x@out . clean.test;"),
            ("x@sub.home.test", "Anna <anna@Home.test>"),
            ("anna@home.test", "ben@far.test, anna@home.test"),
            ("", "group: anna@home (x) . test;"),
            ("", "anna@home.test (never closed"),
        ] {
            assert!(!goes(sender, &from(author)), "{sender} {author}");
            let found =
                format!("Authentication-Results: mx.home.test;\r\n\tspf=pass;\r\n\tdmarc=pass\r\n{}", from(author));
            assert!(goes(sender, &found), "proven: {sender} {author}");
            let found = found.replace("dmarc=pass", "dmarc=fail");
            assert!(!goes(sender, &found), "{sender} {author}");
        }
        for (sender, author) in [
            ("list@far.test", "anna@home.test"),
            ("", "MAILER-DAEMON (Mail Delivery System)"),
            ("", "postmaster@far.test"),
            ("ben@far.test", "ben@far.test"),
            ("anna@home.test", "ben@far.test"),
        ] {
            assert!(goes(sender, &from(author)), "{sender} {author}");
        }
        let ours = outgoing("anna@home.test", false);
        assert!(check(&ours, OURS, ("home.test", "mx.home.test"), "mx.home.test").is_ok());
    }

    #[test]
    fn which_alias_it_came_for() {
        let text = b"Received: from x (unknown [192.0.2.1])\r\n\tby mx.home.test (Postern) with ESMTP id 1\r\n\tfor <us@home.test>;\r\n\tdate\r\n\
            Received: by other\r\n\tfor <no@far.test>; date\r\n\r\n";
        assert_eq!(alias(text).as_deref(), Some("us@home.test"));
        assert_eq!(alias(&text[text.len() - 50..]), None);
        assert_eq!(alias(b"Received: by mx.home.test id 1;\r\n\tdate\r\n\r\n"), None);
    }

    #[test]
    fn who_hears() {
        assert_eq!(listener(&outgoing("anna@home.test", false), "home.test").as_deref(), Some("anna@home.test"));
        assert_eq!(listener(&outgoing("ben@far.test", true), "home.test").as_deref(), Some("postmaster@home.test"));
        let bounce = Outgoing { sender: None, ..outgoing("", true) };
        assert_eq!(listener(&bounce, "home.test"), None);
    }
}
