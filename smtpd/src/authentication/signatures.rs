//! Signatures: how many are looked at, and each in its own time, so that one whose key does not come says nothing about
//! the others.

use mail_auth::common::crypto::Algorithm;
use mail_auth::dkim::{Canonicalization, Signature};
use mail_auth::hickory_resolver::proto::rr::RData;
use mail_auth::{ArcOutput, AuthenticatedMessage, DkimOutput, DkimResult};
use tokio::time::timeout;

use super::outcomes::no_answer;
use super::{Verifier, all};
use crate::{header, limits};

/// A message once for each of its signatures, with that one alone; and once with those that are malformed.
pub(super) struct Each<'x>(Vec<AuthenticatedMessage<'x>>);

impl<'x> Each<'x> {
    pub(super) fn of(parsed: &AuthenticatedMessage<'x>) -> Self {
        let bare = AuthenticatedMessage { dkim_headers: Vec::new(), ..parsed.clone() };
        let one = |signature: &_| AuthenticatedMessage {
            dkim_headers: vec![Clone::clone(signature)],
            errors: Vec::new(),
            ..bare.clone()
        };
        let heard = |signature: &Signature| counts(signature) && !is_added_to(signature, &parsed.headers);
        let mut each: Vec<_> = parsed.dkim_headers.iter().filter(|field| heard(&field.header)).map(one).collect();
        each.push(bare);
        Self(each)
    }
}

/// Whether a signature may say anything: one that leaves From to whoever comes by must be ignored (RFC 6376 §6.1.1), and
/// SHA-1 proves nothing (RFC 8301 §3.1).
fn counts(signature: &Signature) -> bool {
    let signs_from = signature.h.iter().any(|name| name.trim().eq_ignore_ascii_case("from"));
    signs_from && signature.a != Algorithm::RsaSha1 && names_few(&signature.h)
}

/// What may stand in a header once only (RFC 5322 §3.6, RFC 2045 §3).
const ONCE: [&str; 14] = [
    "Date",
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Subject",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

/// Whether of a field that it names, and that may be there once only, there are more than it names. It signs the lowest of
/// them and readers show the first: whoever came by can have put that one on top (RFC 6376 §8.15).
fn is_added_to(signature: &Signature, headers: &[(&[u8], &[u8])]) -> bool {
    let is = |name: &str, other: &[u8]| other.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
    ONCE.iter().any(|once| {
        let named = signature.h.iter().filter(|name| is(once, name.as_bytes())).count();
        let there = headers.iter().filter(|(name, _)| is(once, name)).count();
        named > 0 && there > 1 && there > named
    })
}

/// The library looks for each name among all fields, and among the names before it.
const fn names_few(names: &[String]) -> bool {
    names.len() <= limits::SIGNED_NAMES
}

/// Whether a key's record lets it sign mail, with a hash that counts (RFC 6376 §3.6.1, `s=` and `h=`).
fn signs_mail(record: &str) -> bool {
    let named = |tag: &str, wanted: &[&str]| {
        let mut tags = record.split(';').filter_map(|tag| tag.split_once('='));
        let value = tags.find(|(name, _)| name.trim() == tag).map(|(_, value)| value);
        value.is_none_or(|value| value.split(':').any(|one| wanted.contains(&one.trim().to_ascii_lowercase().as_str())))
    };
    named("s", &["*", "email"]) && named("h", &["sha256"])
}

impl Verifier {
    /// The key was there a moment ago, and the resolver has it still, unless its time was over at once: `None` when DNS does
    /// not say it again.
    async fn is_for_mail(&self, signature: &Signature) -> Option<bool> {
        let name = format!("{}._domainkey.{}.", signature.s, signature.d);
        let found = timeout(limits::LOOKUP, self.authenticator.0.txt_lookup(name)).await.ok()?.ok()?;
        let mut records = found.answers().iter().filter_map(|record| match &record.data {
            RData::TXT(text) => Some(text.txt_data.concat()),
            _ => None,
        });
        Some(records.any(|record| signs_mail(&String::from_utf8_lossy(&record))))
    }

    pub(super) async fn dkim<'x>(&self, each: &'x Each<'x>) -> Vec<DkimOutput<'x>> {
        all(each.0.iter().map(|one| self.signature(one))).await.concat()
    }

    async fn signature<'x>(&self, one: &'x AuthenticatedMessage<'x>) -> Vec<DkimOutput<'x>> {
        let asked = self.authenticator.verify_dkim(one);
        let Some(signature) = one.dkim_headers.first().map(|field| &field.header) else { return asked.await };
        // Its domain stays known: only a signature that could be aligned leaves DMARC undecided.
        let unknown = || vec![DkimOutput::temp_err(no_answer()).with_signature(signature)];
        let failed =
            |outputs: &Vec<DkimOutput<'_>>| outputs.iter().any(|one| matches!(one.result(), DkimResult::TempError(_)));
        let outputs = self.ask(&format!("key {} {}", signature.s, signature.d), asked, failed, unknown).await;
        if !outputs.iter().any(|one| *one.result() == DkimResult::Pass) {
            return outputs;
        }
        match self.is_for_mail(signature).await {
            Some(true) => outputs,
            Some(false) => Vec::new(),
            // Nothing is known against it: whoever sent it is asked to come again, not refused.
            None => unknown(),
        }
    }

    pub(super) async fn arc<'x>(&self, parsed: Option<&'x AuthenticatedMessage<'x>>) -> ArcOutput<'x> {
        let Some((parsed, last)) = parsed.and_then(|parsed| Some((parsed, &parsed.ams_headers.last()?.header))) else {
            return ArcOutput::default();
        };
        if !parsed.ams_headers.iter().all(|signature| names_few(&signature.header.h)) {
            return ArcOutput::default();
        }
        let unknown = || ArcOutput::default().with_result(DkimResult::TempError(no_answer()));
        let failed = |output: &ArcOutput<'_>| matches!(output.result(), DkimResult::TempError(_));
        let asked = self.authenticator.verify_arc(parsed);
        self.ask(&format!("arc {} {}", last.s, last.d), asked, failed, unknown).await
    }
}

/// Parsing hashes the body once for each way in which a signature wants it: of a large message that takes long,
/// and the runtime's other sessions must not wait.
pub(super) fn parse(message: &[u8]) -> Option<AuthenticatedMessage<'_>> {
    const LARGE: usize = 256 * 1024;
    if message.len() < LARGE { hashed(message) } else { tokio::task::block_in_place(|| hashed(message)) }
}

fn hashed(message: &[u8]) -> Option<AuthenticatedMessage<'_>> {
    let mut parsed = AuthenticatedMessage::parse(message)?;
    let meant = header::without_blank_end(message);
    let end = &message[meant.len()..];
    let body = usize::try_from(parsed.body_offset).ok().and_then(|at| meant.get(at..)).unwrap_or_default();
    let blanks = end.iter().any(|byte| b" \t".contains(byte));
    // Signatures of a part of the body (`l=`) do not count here.
    for (canonicalization, algorithm, _, hash) in &mut parsed.body_hashes {
        if blanks && *canonicalization == Canonicalization::Relaxed {
            *hash = algorithm.hash(canonicalization.canonical_body(body, 0)).as_ref().to_vec();
        }
    }
    Some(parsed)
}

fn is_signature(field: &header::Field<'_>) -> bool {
    ["DKIM-Signature", "ARC-Message-Signature", "ARC-Seal", "DKIM2-Signature", "Message-Instance"]
        .iter()
        .any(|name| field.is(name))
}

/// Each signature may want the body hashed in a way of its own, and its names looked for among all fields: with thousands of either
/// one message would keep a core busy for hours.
pub(super) fn beyond_measure(message: &[u8]) -> bool {
    let (mut fields, mut signatures) = (0, 0);
    header::fields(message).any(|field| {
        let signs = is_signature(&field);
        fields += 1;
        signatures += usize::from(signs);
        let counted = signs || field.is("ARC-Authentication-Results");
        fields > limits::SIGNED_FIELDS
            || signatures > limits::SIGNATURES
            || (counted && field.value.len() > limits::SIGNATURE)
    })
}

/// The header without signatures: enough for SPF and DMARC.
pub(super) fn without_signatures(message: &[u8]) -> Vec<u8> {
    let mut reduced = Vec::new();
    for field in header::fields(message).filter(|field| !is_signature(field)) {
        reduced.extend_from_slice(&message[field.at]);
    }
    reduced.extend_from_slice(b"\r\n");
    reduced
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the signatures' bodies hash to: relaxed, simple.
    fn hashes(body: &str) -> Vec<Vec<u8>> {
        let signature = |canonicalization: &str| {
            format!(
                "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/{canonicalization}; d=b.example; s=s; h=from; bh=AAAA; b=AAAA\r\n"
            )
        };
        let fields = [signature("relaxed"), signature("simple")].concat();
        let message = format!("{fields}From: a@b.example\r\n\r\n{body}");
        parse(message.as_bytes()).unwrap().body_hashes.into_iter().map(|(.., hash)| hash).collect()
    }

    #[test]
    fn a_last_line_of_blanks_means_nothing_where_blanks_do_not_count() {
        let plain = hashes("abc\r\n");
        assert_eq!(plain.len(), 2);
        for end in [" \r\n", "\t\r\n\r\n", "\r\n \r\n  \r\n"] {
            let blank = hashes(&format!("abc\r\n{end}"));
            assert_eq!(blank[0], plain[0], "{end:?}");
            assert_ne!(blank[1], plain[1], "{end:?}");
        }
        assert_ne!(hashes(" \r\nabc\r\n")[0], plain[0]);
        assert_eq!(hashes(" \r\n")[0], hashes("")[0], "nothing at all");
    }

    #[test]
    fn who_leaves_from_open_or_uses_sha_1_says_nothing() {
        let signed = |names: &[&str], a| Signature {
            a,
            h: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Signature::default()
        };
        assert!(counts(&signed(&["subject", "From"], Algorithm::RsaSha256)));
        assert!(!counts(&signed(&["subject", "date"], Algorithm::RsaSha256)));
        assert!(!counts(&signed(&["from"], Algorithm::RsaSha1)));
    }

    #[test]
    fn what_was_put_on_top_takes_the_signature_away() {
        let naming = |names: &[&str]| Signature {
            h: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Signature::default()
        };
        let header: [(&[u8], &[u8]); 5] = [
            (b"SUBJECT ", b"new"),
            (b"Received", b"x"),
            (b"Received", b"y"),
            (b"From", b"a@b.example"),
            (b"Subject", b"old"),
        ];
        assert!(is_added_to(&naming(&["from", "subject"]), &header));
        assert!(!is_added_to(&naming(&["from", "subject"]), &header[1..]), "as it was signed");
        assert!(!is_added_to(&naming(&["from", "subject", "subject"]), &header), "it signs both");
        assert!(!is_added_to(&naming(&["from"]), &header), "it says nothing about subjects");
        assert!(!is_added_to(&naming(&["from", "received"]), &header), "of these there may be many");
        assert!(
            !is_added_to(&naming(&["from", "from", "subject", "subject", "subject"]), &header),
            "against further ones"
        );
    }

    #[test]
    fn what_takes_long_to_look_at_is_not_looked_at() {
        let one = |value: usize| format!("DKIM-Signature: {}\r\n", "x".repeat(value - 3));
        let message = |fields: &[String]| {
            [fields.concat().as_bytes(), b"From: a@b.example\r\n\r\nDKIM-Signature: x\r\n"].concat()
        };
        let few = |fields: &[String]| !beyond_measure(&message(fields));
        assert!(few(&vec![one(limits::SIGNATURE); limits::SIGNATURES]));
        assert!(!few(&vec![one(10); limits::SIGNATURES + 1]));
        assert!(!few(&[one(limits::SIGNATURE + 1)]));
        assert!(!few(&[one(limits::SIGNATURE + 1).replace("DKIM-Signature", "ARC-Authentication-Results")]));
        assert!(few(&[one(limits::SIGNATURE + 1).replace("DKIM-Signature", "References")]));
        let others = |fields: usize| vec!["X: y\r\n".to_owned(); fields - 1];
        assert!(few(&others(limits::SIGNED_FIELDS)) && !few(&others(limits::SIGNED_FIELDS + 1)));
        let long = [one(limits::SIGNATURE + 1)];
        assert_eq!(without_signatures(&message(&long)), b"From: a@b.example\r\n\r\n");
        let naming = |names: usize| Signature { h: vec!["from".to_owned(); names], ..Signature::default() };
        assert!(counts(&naming(limits::SIGNED_NAMES)) && !counts(&naming(limits::SIGNED_NAMES + 1)));
    }

    #[test]
    fn keys_for_something_else() {
        for record in ["v=DKIM1; p=x", "s=email; p=x", "v=DKIM1; h=sha1:sha256; s=*; p=x", "p=x; s = tlsrpt : email"] {
            assert!(signs_mail(record), "{record}");
        }
        for record in ["s=tlsrpt; p=x", "v=DKIM1; h=sha1; p=x", "h=; p=x"] {
            assert!(!signs_mail(record), "{record}");
        }
    }
}
