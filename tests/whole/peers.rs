//! Real mail servers deliver over verified STARTTLS.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use tests::{House, Imap, Setup, peers};

fn deliver_from(peer: &str) {
    let house = House::start(Setup::default());
    let anna = house.add_mailbox("anna");
    let token = format!("greetings from {peer}");
    let message = format!(
        "From: Aunt <aunt@sender.example.org>\nTo: you@home.test, anna@home.test\nSubject: {token}\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGr\u{fc}\u{df}e\n.dot at the start\n"
    );
    let output =
        peers::deliver(peer, &house, "aunt@sender.example.org", &["you@home.test", "anna@home.test"], &message);
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    for mailbox in [house.you(), &anna] {
        let mut imap = Imap::login(&house, &mailbox.address, &mailbox.password).unwrap();
        assert!(imap.ask("SELECT INBOX").unwrap().ok());
        let answer = imap.ask("FETCH 1:* (BODY.PEEK[])").unwrap();
        assert_eq!(answer.untagged.len(), 1, "{peer}: {}", mailbox.address);
        let text = answer.text();
        assert!(text.contains(&format!("Subject: {token}")), "{text}");
        assert!(text.contains("\r\n.dot at the start"), "{text}");
        assert!(text.contains("Gr\u{fc}\u{df}e"), "{text}");
        assert!(text.contains("TLS1.3"), "Received says how it came: {text}");
    }
}

#[test]
fn postfix() {
    deliver_from("postfix");
}

#[test]
fn exim() {
    deliver_from("exim");
}

#[test]
fn opensmtpd() {
    deliver_from("opensmtpd");
}

#[test]
fn an_unknown_recipient_is_refused_to_postfix() {
    // One root serves one test at a time; this file's other Postfix test may be running.
    let house = House::start(Setup::default());
    let output = tests::programs::python(
        r#"
import smtplib, ssl, sys
smtp = smtplib.SMTP('localhost', int(sys.argv[1]), timeout=60)
smtp.starttls(context=ssl.create_default_context(cafile=sys.argv[2]))
smtp.ehlo()
smtp.mail('aunt@example.org')
print(smtp.rcpt('nobody@home.test'), smtp.rcpt('someone@example.com'), smtp.rcpt('postmaster@home.test'), smtp.rcpt('you+tag@home.test'))
"#,
        &[&house.port("smtp").to_string(), house.authority().authority().to_str().unwrap()],
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let codes: Vec<&str> = text.match_indices('(').map(|(at, _)| &text[at + 1..at + 4]).collect();
    assert_eq!(codes, ["550", "550", "250", "250"], "{text}{}", String::from_utf8_lossy(&output.stderr));
}
