//! The message as it will be examined, sealed and read: what came, with our fields in front and false ones
//! taken out. After this nothing of it changes.

use std::net::IpAddr;
use std::ops::Range;

use crate::header::{self, Field};
use crate::limits;
use crate::session::{Envelope, Service};

/// A message as slices, so that megabytes need not be copied to put lines in front of them.
#[derive(Debug)]
pub struct FinalBytes {
    front: Vec<u8>,
    original: Vec<u8>,
    kept: Vec<Range<usize>>,
}

impl FinalBytes {
    /// A message that we wrote ourselves.
    #[must_use]
    pub const fn whole(message: Vec<u8>) -> Self {
        Self { front: message, original: Vec::new(), kept: Vec::new() }
    }

    /// The parts, in order.
    #[must_use]
    pub fn slices(&self) -> Vec<&[u8]> {
        let kept = self.kept.iter().map(|range| &self.original[range.clone()]);
        std::iter::once(self.front.as_slice()).chain(kept).collect()
    }

    /// The parts of what leaves: RFC 5321 §4.4, Return-Path is for who delivers it at last.
    #[must_use]
    pub fn leaving(&self) -> Vec<&[u8]> {
        let mut slices = self.slices();
        if let Some(front) = slices.first_mut()
            && front.starts_with(b"Return-Path:")
        {
            let end = front.windows(2).position(|pair| pair == b"\r\n").map_or(front.len(), |at| at + 2);
            *front = &front[end..];
        }
        slices
    }

    /// Whether there are octets above 127 in the header, and in the body.
    #[must_use]
    pub fn beyond_ascii(&self) -> (bool, bool) {
        let bound = self.original.len().min(crate::limits::HEADER);
        let end = self.original[..bound].windows(4).position(|ends| ends == b"\r\n\r\n").unwrap_or(bound);
        let (mut header, mut body) = (!self.front.is_ascii(), false);
        for range in &self.kept {
            let cut = end.clamp(range.start, range.end);
            header |= !self.original[range.start..cut].is_ascii();
            body |= !self.original[cut..range.end].is_ascii();
        }
        (header, body)
    }

    /// Bytes of all parts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.front.len() + self.kept.iter().map(Range::len).sum::<usize>()
    }

    /// Never: there is always a Return-Path.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All in one piece.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.slices().concat()
    }
}

/// What the Received field says (RFC 5321 §4.4).
#[derive(Debug, Clone)]
pub struct Trace<'a> {
    /// Our name, which is also our authserv-id (RFC 8601 §2.5).
    pub host: &'a str,
    /// Which service.
    pub service: Service,
    /// The client. On submission it is not shown.
    pub client: IpAddr,
    /// The client's proven name.
    pub client_name: Option<&'a str>,
    /// TLS version and suite, if any.
    pub tls: Option<&'a str>,
    /// Seconds since 1970.
    pub now: i64,
    /// By which a letter is known that comes back (see [`crate::returning`]).
    pub marks: &'a [String],
}

/// Makes the final bytes of a letter from a stranger. `results` is a whole Authentication-Results field.
#[must_use]
pub fn from_stranger(mut original: Vec<u8>, envelope: &Envelope, trace: &Trace<'_>, results: &str) -> FinalBytes {
    end_header(&mut original);
    let mut front = trace_fields(envelope, trace);
    front.push_str(results);
    let kept = keep(&original, |field| !field.is("Return-Path") && !is_forged_result(field, trace.host));
    FinalBytes { front: front.into_bytes(), original, kept }
}

/// Makes the final bytes of a letter of one of our own: what a mail app left out is added (RFC 6409 §8), Bcc
/// removed.
#[must_use]
pub fn from_owner(mut original: Vec<u8>, envelope: &Envelope, trace: &Trace<'_>) -> FinalBytes {
    end_header(&mut original);
    let mut front = trace_fields(envelope, trace);
    let only = ONCE.map(|name| only(&original, name));
    let [date, message_id, mime_version] = only;
    if date.is_none() {
        front.push_str(&format!("Date: {}\r\n", wire::date::rfc5322(trace.now)));
    }
    if message_id.is_none() {
        front.push_str(&format!("Message-ID: {}\r\n", name(envelope, trace.host)));
    }
    // Whether or not it says anything of MIME: the courier may have to encode its body (RFC 2045 §4).
    if mime_version.is_none() {
        front.push_str("MIME-Version: 1.0\r\n");
    }
    let stays = |field: &Field<'_>| {
        let once = ONCE.iter().zip(only).find(|(name, _)| field.is(name));
        once.is_none_or(|(_, only)| only == Some(field.at.start))
    };
    let kept = keep(&original, |field| {
        stays(field)
            && !field.is("Bcc")
            && !field.is("Resent-Bcc")
            && !field.is("Return-Path")
            && !is_forged_result(field, trace.host)
    });
    FinalBytes { front: front.into_bytes(), original, kept }
}

/// The name that a letter of one of our own gets where it has none.
#[must_use]
pub fn name(envelope: &Envelope, host: &str) -> String {
    format!("<{}@{host}>", envelope.id())
}

/// What every message is to have once (RFC 5322 §3.6, RFC 2045 §4): large houses refuse one that has it twice, or empty.
const ONCE: [&str; 3] = ["Date", "Message-ID", "MIME-Version"];

/// Where the first field of that name begins that says anything.
fn only(message: &[u8], name: &str) -> Option<usize> {
    let mut says = header::fields(message).filter(|field| field.is(name) && !field.value.trim_ascii().is_empty());
    says.next().map(|field| field.at.start)
}

/// A message without an empty line is all header (RFC 5322 §3.5 allows that), and mail apps that look for its end find
/// none: mbsync leaves such a letter out. One that has lines that are no fields was meant to have a body.
fn end_header(original: &mut Vec<u8>) {
    // The whole message is no longer than a header may be.
    if let Some(at) = header::missing_end(original) {
        let line_ended = at == 0 || original[..at].ends_with(b"\r\n");
        let end: &[u8] = if line_ended { b"\r\n" } else { b"\r\n\r\n" };
        original.splice(at..at, end.iter().copied());
    }
}

fn trace_fields(envelope: &Envelope, trace: &Trace<'_>) -> String {
    let mut front = format!("Return-Path: <{}>\r\nReceived: ", envelope.sender);
    if trace.service == Service::Mx {
        let known_as = trace.client_name.unwrap_or("unknown");
        front.push_str(&format!("from {} ({known_as} [{}])\r\n\t", envelope.hello.name, literal(trace.client)));
    }
    front.push_str(&format!("by {} (Postern) with {}", trace.host, protocol(envelope, trace)));
    if let Some(tls) = trace.tls {
        front.push_str(&format!("\r\n\t({tls})"));
    }
    front.push_str(&format!(" id {}", envelope.id()));
    for some in trace.marks.chunks(limits::MARKS) {
        front.push_str(&format!("\r\n\t(marks {})", some.join(" ")));
    }
    // RFC 5321 §7.2: with several, one recipient would learn of another.
    if let [only] = envelope.recipients.as_slice() {
        front.push_str(&format!("\r\n\tfor <{}>", only.address));
    }
    front.push_str(&format!(";\r\n\t{}\r\n", wire::date::rfc5322(trace.now)));
    front
}

/// RFC 3848, RFC 6531 §4.3.
fn protocol(envelope: &Envelope, trace: &Trace<'_>) -> String {
    if !envelope.hello.extended && trace.tls.is_none() {
        return "SMTP".into();
    }
    let base = if envelope.parameters.international { "UTF8SMTP" } else { "ESMTP" };
    let secure = if trace.tls.is_some() { "S" } else { "" };
    let proven = if trace.service == Service::Submission { "A" } else { "" };
    format!("{base}{secure}{proven}")
}

fn literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("IPv6:{v6}"),
    }
}

fn keep(original: &[u8], keeps: impl Fn(&Field<'_>) -> bool) -> Vec<Range<usize>> {
    let (mut kept, mut from) = (Vec::new(), 0);
    for field in header::fields(original).filter(|field| !keeps(field)) {
        kept.push(from..field.at.start);
        from = field.at.end;
    }
    kept.push(from..original.len());
    kept.retain(|range| !range.is_empty());
    kept
}

/// RFC 8601 §5: results that claim to be ours and are not. A value too odd to say whose it is counts as forged.
fn is_forged_result(field: &Field<'_>, host: &str) -> bool {
    if !field.is("Authentication-Results") {
        return false;
    }
    let Some(value) = header::without_comments(&field.unfolded()) else { return true };
    let claimed = value.split(';').next().unwrap_or_default().replace(['"', '\\'], "");
    let claimed = claimed.split_whitespace().next().unwrap_or_default().trim_end_matches('.').to_lowercase();
    claimed == host.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::path::{Address, Sender};
    use crate::session::{Accepted, Hello, MailParameters, Notify};
    use proptest::prelude::*;
    use spool::names::TransactionId;

    fn envelope(recipients: &[&str]) -> Envelope {
        let accepted = |text: &&str| Accepted {
            address: Address::parse(text.as_bytes()).unwrap(),
            targets: Vec::new(),
            outgoing: None,
            notify: Notify::default(),
        };
        Envelope {
            transaction: TransactionId([7; 16]),
            hello: Hello { name: "client.example".into(), extended: true },
            sender: Sender(Address::parse(b"a@example.org").ok()),
            parameters: MailParameters::default(),
            recipients: recipients.iter().map(accepted).collect(),
        }
    }

    fn trace(service: Service) -> Trace<'static> {
        Trace {
            host: "mx.home.test",
            service,
            client: IpAddr::from([192, 0, 2, 1]),
            client_name: None,
            tls: Some("TLS1.3 with TLS13_AES_128_GCM_SHA256"),
            now: 0,
            marks: &[],
        }
    }

    fn text(bytes: &FinalBytes) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn a_strangers_letter() {
        let original = b"Return-Path: <evil@example.org>\r\n\
            Authentication-Results: MX.home.test; dkim=pass\r\n\
            authentication-results: (c;d) \"mx.home.test\" 1;\r\n\tspf=pass\r\n\
            Authentication-Results: other.example; spf=fail\r\n\
            Authentication-Results: (never closed; mx.home.test; spf=pass\r\n\
            Subject: x\r\n\r\nReturn-Path: body\r\n";
        let results = "Authentication-Results: mx.home.test; none\r\n";
        let made = from_stranger(original.to_vec(), &envelope(&["you@home.test"]), &trace(Service::Mx), results);
        let id = "07".repeat(16);
        let expected = format!(
            "Return-Path: <a@example.org>\r\n\
             Received: from client.example (unknown [192.0.2.1])\r\n\
             \tby mx.home.test (Postern) with ESMTPS\r\n\
             \t(TLS1.3 with TLS13_AES_128_GCM_SHA256) id {id}\r\n\
             \tfor <you@home.test>;\r\n\
             \tThu, 1 Jan 1970 00:00:00 +0000\r\n\
             {results}\
             Authentication-Results: other.example; spf=fail\r\n\
             Subject: x\r\n\r\nReturn-Path: body\r\n"
        );
        assert_eq!(text(&made), expected);
        assert_eq!(made.len(), expected.len());
    }

    #[test]
    fn an_owners_letter() {
        let original = b"From: you@home.test\r\nBcc: secret@home.test,\r\n two@home.test\r\nResent-Bcc: secret@home.test\r\nbcc : secret@home.test\r\n secret\r\nContent-Type: text/plain\r\n\r\nhi\r\n";
        let made =
            from_owner(original.to_vec(), &envelope(&["a@home.test", "b@home.test"]), &trace(Service::Submission));
        let text = text(&made);
        assert!(!text.contains("secret") && !text.contains("192.0.2.1") && !text.contains("client.example"));
        assert!(!text.contains("for <"), "several recipients are not named");
        for added in ["Date: Thu, 1 Jan 1970", "Message-ID: <0707", "MIME-Version: 1.0\r\n", "with ESMTPSA"] {
            assert!(text.contains(added), "{added}: {text}");
        }
        assert!(text.ends_with("From: you@home.test\r\nContent-Type: text/plain\r\n\r\nhi\r\n"));
    }

    #[test]
    fn what_an_owners_letter_has_once_it_has_once() {
        let original = "Date:\r\nMessage-ID: \r\n\t\r\nmime-version:\r\nFrom: you@home.test\r\n\r\nDate:\r\n";
        let made = from_owner(original.into(), &envelope(&[]), &trace(Service::Submission));
        for added in ["\r\nDate: Thu, 1 Jan 1970", "\r\nMessage-ID: <0707", "\r\nMIME-Version: 1.0\r\n"] {
            assert!(text(&made).contains(added), "{added}: {}", text(&made));
        }
        assert!(text(&made).ends_with("MIME-Version: 1.0\r\nFrom: you@home.test\r\n\r\nDate:\r\n"), "{}", text(&made));
        let original =
            "Message-ID:\r\nMessage-ID: <a@b>\r\nDate: x\r\nMessage-Id: <c@d>\r\nMIME-Version: 1.0\r\nDate: y\r\n\r\n";
        let made = from_owner(original.into(), &envelope(&[]), &trace(Service::Submission));
        assert!(
            text(&made).ends_with("+0000\r\nMessage-ID: <a@b>\r\nDate: x\r\nMIME-Version: 1.0\r\n\r\n"),
            "{}",
            text(&made)
        );
    }

    #[test]
    fn a_header_that_never_ends_is_ended() {
        for (original, made) in [
            ("Subject: x\r\n", "Subject: x\r\n\r\n"),
            ("Subject: x", "Subject: x\r\n\r\n"),
            ("", "\r\n"),
            ("Subject: x\r\nwords\r\nmore: words\r\n", "Subject: x\r\n\r\nwords\r\nmore: words\r\n"),
            ("Subject: x\r\nno field\r\nTo: y\r\n\r\nwords\r\n", "Subject: x\r\nno field\r\nTo: y\r\n\r\nwords\r\n"),
        ] {
            let bytes = original.as_bytes().to_vec();
            let stranger = from_stranger(bytes.clone(), &envelope(&[]), &trace(Service::Mx), "");
            let owner = from_owner(bytes, &envelope(&[]), &trace(Service::Submission));
            for letter in [stranger, owner] {
                assert!(text(&letter).ends_with(&format!("\r\n{made}")), "{original:?} {}", text(&letter));
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_came(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let results = "Authentication-Results: mx.home.test; none\r\n";
            let made = from_stranger(bytes.clone(), &envelope(&[]), &trace(Service::Mx), results);
            let whole = made.to_vec();
            prop_assert_eq!(whole.len(), made.len());
            prop_assert_eq!(header::missing_end(&whole), None);
            if header::missing_end(&bytes).is_none() && !header::fields(&bytes).any(|f| f.is("Return-Path") || f.is("Authentication-Results")) {
                prop_assert!(whole.ends_with(&bytes));
            }
        }
    }
}
