//! What a sender hears of a letter: that it could not be delivered, that it still waits, that it was passed on
//! (RFC 3464, 6533 for addresses beyond ASCII). In words for people first, with the far server's own; then for machines.

use std::fmt::Write;

use super::fate::Why;
use super::limits;
use super::session::{Notify, Return};
use crate::header;

mod words;

use words::{words, wrapped};

/// What it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It will not be delivered.
    Failure,
    /// It still waits, until then (seconds since 1970).
    Delay(i64),
    /// The far server has it; it makes no notices of its own.
    Relayed,
    /// It is in a mailbox of this house.
    Delivered,
}

/// RFC 3463 X.4.7: given up, for nobody took it in all the time there was.
pub const GIVEN_UP: (u8, u16, u16) = (5, 4, 7);

/// A recipient it is about.
#[derive(Debug, Clone)]
pub struct About<'a> {
    /// RCPT TO.
    pub address: &'a str,
    /// ORCPT, as it came.
    pub original: Option<&'a str>,
    /// NOTIFY, if it came.
    pub notify: Option<Notify>,
    /// Why.
    pub why: &'a Why,
    /// When it was last tried.
    pub at: i64,
}

/// Everything else a notice is made of.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Our host name.
    pub host: &'a str,
    /// The domain of the postmaster it comes from.
    pub domain: &'a str,
    /// Unique among our notices; no spaces, nothing but letters, digits and hyphens.
    pub id: &'a str,
    /// MAIL FROM of the letter: `None` for `<>`.
    pub sender: Option<&'a str>,
    /// ENVID as it came.
    pub envelope_id: Option<&'a str>,
    /// RET.
    pub ret: Option<Return>,
    /// When the letter was queued.
    pub queued: i64,
    /// Now.
    pub now: i64,
    /// The letter, or as much of it as there is.
    pub letter: &'a [u8],
    /// When an alias passes it on. The postmaster is told.
    pub passed_on: Option<PassedOn<'a>>,
}

/// What the postmaster hears of a letter.
#[derive(Debug, Clone, Copy, Default)]
pub struct PassedOn<'a> {
    /// From whom it came.
    pub from: &'a str,
    /// To which alias, where that is known.
    pub alias: Option<&'a str>,
    /// How many others there were of which nothing else is told.
    pub more: Option<&'a str>,
}

/// Whether a recipient's sender wants to hear this (RFC 3461 §4.1: without NOTIFY of failures and delays).
#[must_use]
pub const fn is_wanted(kind: Kind, notify: Option<Notify>) -> bool {
    match (kind, notify) {
        (Kind::Failure, Some(notify)) => notify.failure,
        (Kind::Delay(_), Some(notify)) => notify.delay,
        (Kind::Relayed | Kind::Delivered, Some(notify)) => notify.success,
        (Kind::Failure | Kind::Delay(_), None) => true,
        (Kind::Relayed | Kind::Delivered, None) => false,
    }
}

/// The notice, whole, CRLF at every end of line; `None` when there is nobody to tell (the null sender: RFC 5321
/// §4.5.5), or nobody wants to hear it.
#[must_use]
pub fn notice(kind: Kind, facts: &Facts<'_>, about: &[About<'_>]) -> Option<Vec<u8>> {
    let sender = facts.sender?;
    let about: Vec<&About<'_>> = about.iter().filter(|one| is_wanted(kind, one.notify)).collect();
    if about.is_empty() {
        return None;
    }
    let boundary = format!("=_{}", facts.id);
    let international = !sender.is_ascii() || about.iter().any(|one| !one.address.is_ascii());
    let mut out = head(kind, facts, sender, &boundary);
    let _ = write!(
        out,
        "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    );
    out.push_str(&words(kind, facts, &about));
    let global = if international { "global-" } else { "" };
    let _ = write!(out, "\r\n--{boundary}\r\nContent-Type: message/{global}delivery-status\r\n");
    if international {
        out.push_str("Content-Transfer-Encoding: 8bit\r\n");
    }
    out.push_str("\r\n");
    out.push_str(&status(kind, facts, &about));
    let mut out = out.into_bytes();
    returned(kind, facts, &boundary, &mut out);
    out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    Some(out)
}

fn head(kind: Kind, facts: &Facts<'_>, sender: &str, boundary: &str) -> String {
    let subject = match kind {
        Kind::Failure => "Could not be delivered",
        Kind::Delay(_) => "Not yet delivered",
        Kind::Relayed => "Passed on",
        Kind::Delivered => "Delivered",
    };
    let (id, host, domain, date) = (facts.id, facts.host, facts.domain, wire::date::rfc5322(facts.now));
    format!(
        "Return-Path: <>\r\nFrom: Mail delivery <postmaster@{domain}>\r\nTo: <{sender}>\r\nSubject: {subject}{of}\r\n\
         Date: {date}\r\nMessage-ID: <{id}@{host}>\r\n{answers}Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n\r\n",
        of = original_subject(facts.letter).map(|subject| format!(": {subject}")).unwrap_or_default(),
        answers = in_answer_to(facts.letter),
    )
}

/// The letter's own subject helps its sender to know which one it is.
fn original_subject(letter: &[u8]) -> Option<String> {
    let field = header::fields(letter).find(|field| field.is("Subject"))?;
    // In another charset, which nothing names, it would be shown with holes.
    std::str::from_utf8(&letter[field.at.clone()]).ok()?;
    let subject = field.unfolded();
    // An encoded word cut in half would be shown as it is.
    let fits = !subject.is_empty() && subject.len() <= 200 && !subject.chars().any(char::is_control);
    fits.then_some(subject)
}

// So that mail apps show it beside the letter.
fn in_answer_to(letter: &[u8]) -> String {
    let id = header::fields(letter).find(|field| field.is("Message-ID")).map(|field| field.unfolded());
    let formed = |id: &String| {
        id.len() <= 250 && id.starts_with('<') && id.ends_with('>') && id.bytes().all(|b| b.is_ascii_graphic())
    };
    id.filter(formed).map(|id| format!("In-Reply-To: {id}\r\nReferences: {id}\r\n")).unwrap_or_default()
}

/// RFC 3464 §2.2, 2.3.
fn status(kind: Kind, facts: &Facts<'_>, about: &[&About<'_>]) -> String {
    let mut out = String::new();
    if let Some(id) = facts.envelope_id {
        let _ = write!(out, "Original-Envelope-Id: {}\r\n", decode_xtext(id));
    }
    let arrived = wire::date::rfc5322(facts.queued);
    let _ = write!(out, "Reporting-MTA: dns; {}\r\nArrival-Date: {arrived}\r\n", facts.host);
    let action = match kind {
        Kind::Failure => "failed",
        Kind::Delay(_) => "delayed",
        Kind::Relayed => "relayed",
        Kind::Delivered => "delivered",
    };
    for one in about {
        out.push_str("\r\n");
        if let Some((form, address)) = one.original.and_then(|original| original.split_once(';')) {
            let _ = write!(out, "Original-Recipient: {form};{}\r\n", decode_xtext(address));
        }
        let form = if one.address.is_ascii() { "rfc822" } else { "utf-8" };
        let _ = write!(out, "Final-Recipient: {form};{}\r\nAction: {action}\r\n", one.address);
        // A letter that came back after five days of "later" failed for good.
        let class = if kind == Kind::Failure { 5 } else { one.why.status.class };
        let _ = write!(out, "Status: {}\r\n", one.why.status.of_class(class));
        if let Some((host, code)) = &one.why.said {
            let _ = write!(out, "Remote-MTA: dns; {host}\r\nDiagnostic-Code: smtp; {}\r\n", diagnostic(*code, one.why));
        }
        let _ = write!(out, "Last-Attempt-Date: {}\r\n", wire::date::rfc5322(one.at));
        if let Kind::Delay(until) = kind {
            let _ = write!(out, "Will-Retry-Until: {}\r\n", wire::date::rfc5322(until));
        }
    }
    out
}

/// Folded, and in ASCII: RFC 3464 §2.1.2.
fn diagnostic(code: u16, why: &Why) -> String {
    // RFC 3464 §2.3.6: what it said, and no status that it did not say.
    let text: String = format!("{code} {}", why.words).chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
    wrapped(&text, 70).join("\r\n\t")
}

/// RFC 3461 §4.3: RET is about failures; other notices return headers.
fn is_whole(kind: Kind, facts: &Facts<'_>) -> bool {
    kind == Kind::Failure && facts.ret == Some(Return::Full) && facts.letter.len() <= limits::RETURNED_WHOLE
}

fn returned(kind: Kind, facts: &Facts<'_>, boundary: &str, out: &mut Vec<u8>) {
    let eight_bit = !facts.letter.is_ascii();
    if is_whole(kind, facts) {
        out.extend_from_slice(format!("\r\n--{boundary}\r\nContent-Type: message/rfc822\r\n").as_bytes());
        if eight_bit {
            out.extend_from_slice(b"Content-Transfer-Encoding: 8bit\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(facts.letter);
        return;
    }
    let head: Vec<u8> = header_of(facts.letter);
    let encoding = if head.is_ascii() { "" } else { "Content-Transfer-Encoding: 8bit\r\n" };
    out.extend_from_slice(
        format!("\r\n--{boundary}\r\nContent-Type: text/rfc822-headers\r\n{encoding}\r\n").as_bytes(),
    );
    out.extend_from_slice(&head);
}

/// Whole fields only, up to a bound.
fn header_of(letter: &[u8]) -> Vec<u8> {
    let end = header::fields(letter).map(|field| field.at).take_while(|at| at.end <= limits::RETURNED_HEADER);
    let mut head = Vec::new();
    end.for_each(|at| head.extend_from_slice(&letter[at]));
    head
}

/// RFC 3461 §4; what would not stand on one line of ASCII (§5.2) becomes `?`.
pub(crate) fn decode_xtext(text: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once('+') {
        out.extend_from_slice(before.as_bytes());
        let coded = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(coded.filter(|octet| matches!(octet, b' '..=b'~')).unwrap_or(b'?'));
        rest = after.get(2..).unwrap_or_default();
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&out).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::courier::fate::Status;
    use proptest::prelude::*;

    const LETTER: &[u8] =
        b"Received: by mx\r\nFrom: anna@home.test\r\nSubject: cake on\r\n Sunday\r\nMessage-ID: <1@home.test>\r\n\r\nthe body\r\n";

    fn facts(letter: &[u8]) -> Facts<'_> {
        Facts {
            host: "mx.home.test",
            domain: "home.test",
            id: "abc-1",
            sender: Some("anna@home.test"),
            envelope_id: Some("x+2By"),
            ret: None,
            queued: 0,
            now: 3_600,
            letter,
            passed_on: None,
        }
    }

    fn refused() -> Why {
        Why {
            status: Status::new(5, 1, 1),
            said: Some(("mx.far.test".into(), 550)),
            words: "5.1.1 no such user here".into(),
            wait: None,
        }
    }

    fn about<'a>(why: &'a Why, notify: Option<Notify>) -> About<'a> {
        About { address: "ben@far.test", original: Some("rfc822;b+2B@far.test"), notify, why, at: 3_600 }
    }

    fn text(kind: Kind, facts: &Facts<'_>, about: &[About<'_>]) -> Option<String> {
        notice(kind, facts, about).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn a_failure() {
        let why = refused();
        let text = text(Kind::Failure, &facts(LETTER), &[about(&why, None)]).unwrap();
        for line in [
            "Return-Path: <>",
            "To: <anna@home.test>",
            "Subject: Could not be delivered: cake on Sunday",
            "In-Reply-To: <1@home.test>",
            "        mx.far.test says: 550 no such user here",
            "Original-Envelope-Id: x+y",
            "Reporting-MTA: dns; mx.home.test",
            "Original-Recipient: rfc822;b+@far.test",
            "Final-Recipient: rfc822;ben@far.test",
            "Action: failed",
            "Status: 5.1.1",
            "Remote-MTA: dns; mx.far.test",
            "Diagnostic-Code: smtp; 550 5.1.1 no such user here",
            "Content-Type: text/rfc822-headers",
            "From: anna@home.test",
            "--=_abc-1--",
        ] {
            assert!(text.split("\r\n").any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("the body"));
        assert!(text.contains("Nobody will try again. The beginning (the header) of what was sent is below.\r\n"));
    }

    #[test]
    fn a_subject_that_cannot_be_read_is_left_out() {
        let why = refused();
        let latin = b"From: anna@home.test\r\nSubject: Gr\xfc\xdfe\r\n\r\nthe body\r\n";
        let text = text(Kind::Failure, &facts(latin), &[about(&why, None)]).unwrap();
        assert!(text.contains("\r\nSubject: Could not be delivered\r\n"), "{text}");
    }

    #[test]
    fn the_postmaster_hears_whose_letter_it_was() {
        let why = refused();
        let more = Some("3 more, from: far.test (3)");
        let passed_on = Some(PassedOn { from: "aunt@third.test", alias: Some("grandma@home.test"), more });
        let text = text(Kind::Failure, &Facts { passed_on, ..facts(LETTER) }, &[about(&why, None)]).unwrap();
        assert!(!text.contains("Your message"), "{text}");
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains("A letter from aunt@third.test came for grandma@home.test, and an alias"), "{flat}");
        assert!(
            flat.contains("passes such letters on.") && flat.contains("ben@far.test mx.far.test says: 550"),
            "{flat}"
        );
        assert!(flat.contains("you hear of it in a list with others") && !flat.contains("only the log"), "{flat}");
        assert!(flat.contains("is told nowhere else: 3 more, from: far.test (3) --=_"), "{flat}");
    }

    #[test]
    fn the_whole_letter_when_it_was_asked_for() {
        let why = refused();
        let full = Facts { ret: Some(Return::Full), ..facts(LETTER) };
        let whole = text(Kind::Failure, &full, &[about(&why, None)]).unwrap();
        assert!(whole.contains("\r\n\r\nthe body\r\n") && whole.contains("What was sent is below."));
        let lost = text(Kind::Failure, &facts(b""), &[about(&why, None)]).unwrap();
        assert!(lost.contains("What was sent cannot be read here any more."));
        // RFC 3461 §4.3: of a letter that is late or passed on only the header.
        assert!(!text(Kind::Delay(9_000), &full, &[about(&why, None)]).unwrap().contains("the body"));
    }

    #[test]
    fn a_delay_and_what_was_passed_on() {
        let why = Why::ours(Status::new(4, 4, 1), "mx.far.test does not answer");
        let late = text(Kind::Delay(90_000), &facts(LETTER), &[about(&why, None)]).unwrap();
        assert!(
            late.contains("Action: delayed\r\nStatus: 4.4.1\r\n") && late.contains("Will-Retry-Until: Fri, 2 Jan 1970")
        );
        assert!(!late.contains("Diagnostic-Code"), "nobody said anything");
        let wants = Notify { success: true, failure: false, delay: false };
        let passed = text(Kind::Relayed, &facts(LETTER), &[about(&refused(), Some(wants))]).unwrap();
        assert!(passed.contains("Action: relayed"));
        let here = Why::ours(Status::new(2, 1, 5), "its mailbox is in this house now");
        let arrived = text(Kind::Delivered, &facts(LETTER), &[about(&here, Some(wants))]).unwrap();
        assert!(arrived.contains("Action: delivered\r\nStatus: 2.1.5\r\n"), "{arrived}");
        assert!(arrived.contains("\r\nSubject: Delivered: cake") && !arrived.contains("mail servers"), "{arrived}");
        // After five days of 4yz it failed for good.
        let failed = text(Kind::Failure, &facts(LETTER), &[about(&why, None)]).unwrap();
        assert!(failed.contains("Status: 5.4.1"));
    }

    #[test]
    fn given_up_after_as_long_as_it_was() {
        let (class, subject, detail) = GIVEN_UP;
        let why = Why::ours(Status::new(class, subject, detail), "mx.far.test does not answer");
        let after = |seconds| {
            let about = About { at: facts(LETTER).queued + seconds, ..about(&why, None) };
            text(Kind::Failure, &facts(LETTER), &[about]).unwrap()
        };
        assert!(after(5 * 86_400 + 60).contains("Given up after 5 days. The last answer:"));
        assert!(after(86_400).contains("Given up after a day."));
        for nothing in [60, -86_400] {
            assert!(after(nothing).contains("Given up after many attempts."), "{}", after(nothing));
        }
    }

    #[test]
    fn who_hears_nothing() {
        let why = refused();
        let nobody = Facts { sender: None, ..facts(LETTER) };
        for kind in [Kind::Failure, Kind::Delay(1), Kind::Relayed, Kind::Delivered] {
            assert_eq!(notice(kind, &nobody, &[about(&why, None)]), None, "never to the null sender");
            assert_eq!(notice(kind, &facts(LETTER), &[about(&why, Some(Notify::default()))]), None, "NEVER");
        }
        assert_eq!(notice(Kind::Relayed, &facts(LETTER), &[about(&why, None)]), None);
        assert_eq!(notice(Kind::Failure, &facts(LETTER), &[]), None);
    }

    #[test]
    fn addresses_beyond_ascii() {
        let why = refused();
        let one = About { address: "jürgen@far.test", ..about(&why, None) };
        let text = text(Kind::Failure, &facts(LETTER), &[one]).unwrap();
        assert!(
            text.contains("message/global-delivery-status") && text.contains("Final-Recipient: utf-8;jürgen@far.test")
        );
    }

    #[test]
    fn wrapping() {
        assert_eq!(wrapped("a bb ccc", 4), ["a bb", "ccc"]);
        assert_eq!(wrapped("abcdefghij k", 4), ["abcd", "efgh", "ij k"]);
        assert_eq!(wrapped("", 4), [""]);
    }

    proptest! {
        #[test]
        fn any_words_and_any_letter(words in "\\PC{0,300}", letter in prop::collection::vec(any::<u8>(), 0..300), full in any::<bool>()) {
            let why = Why { status: Status::new(5, 0, 0), said: Some(("far".into(), 550)), words, wait: None };
            let ret = full.then_some(Return::Full);
            let bytes = notice(Kind::Failure, &Facts { ret, ..facts(&letter) }, &[about(&why, None)]).unwrap();
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
            // Nothing a stranger says adds a field to the head, or ends it early.
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            prop_assert!(head.ends_with("boundary=\"=_abc-1\""));
            prop_assert!((9..=11).contains(&head.replace("\r\n\t", "").split("\r\n").count()));
            prop_assert!(bytes.ends_with(b"--=_abc-1--\r\n"));
        }
    }
}
