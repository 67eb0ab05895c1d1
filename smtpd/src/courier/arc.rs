//! ARC (RFC 8617): what we found when a letter came in, sealed, for the house to which an alias passes it on. There SPF
//! speaks for us only, and the author's signature may not hold; with the seal it can still believe what held here.
//!
//! The findings are those of `mx`: they stand in the letter, in the field that bears our name (`mx` takes out what others
//! put there). A chain that did not hold when the letter came is not made longer.

use std::collections::BTreeMap;

use filter_sandbox::score::{Authentication, Outcome, Policy};
use mail_auth::common::crypto::{DkimKey, SigningKey};
use mail_auth::dkim::Canonicalization;
use wire::base64;

use super::dkim::Signers;
use crate::header::{self, Field};

/// Sets of a chain (RFC 8617 §4.2.1).
const SETS: u32 = 50;
/// Fields that one seal covers.
const FIELDS: usize = 60;
/// What is signed, as often as it is there (RFC 8617 §4.1.2: not what other houses add on the way).
const SIGNED: [&str; 16] = [
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "Sender",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "List-Id",
    "List-Unsubscribe",
    "DKIM-Signature",
];
const SET: [&str; 3] = ["ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"];

/// Who seals for a domain.
pub struct Sealer {
    /// Its key.
    pub key: DkimKey,
    /// An RSA key; else Ed25519.
    pub rsa: bool,
    /// Whose.
    pub domain: String,
    /// Where its public half stands in DNS.
    pub selector: String,
}

/// The three fields, to be put in front of the letter; none where there is nothing to seal: no key, no findings of ours,
/// a chain that does not hold.
///
/// # Errors
/// The library's word.
pub fn seal(letter: &[u8], host: &str, signers: &Signers, now: i64) -> Result<String, String> {
    let (Some(sealer), Some(found)) = (signers.sealer(), findings(letter, host)) else { return Ok(String::new()) };
    match chain(letter, &found) {
        Some(sets) => sealer.set(letter, &found, &sets, now),
        None => Ok(String::new()),
    }
}

/// What `mx` found: its own field's value, as it stands.
fn findings(letter: &[u8], host: &str) -> Option<String> {
    let field = header::fields(letter).find(|field| field.is("Authentication-Results"))?;
    let ours = field.unfolded().split(';').next()?.trim().eq_ignore_ascii_case(host);
    let text = String::from_utf8(field.value.trim_ascii().to_vec()).ok()?;
    ours.then_some(text)
}

/// What `mx` found by that method (`dmarc`).
#[must_use]
pub fn found(letter: &[u8], host: &str, method: &str) -> Option<String> {
    result(&findings(letter, host)?, method)
}

/// What `mx` found about who wrote it, as far as DMARC goes; nothing where it says nothing.
#[must_use]
pub fn dmarc(letter: &[u8], host: &str) -> Authentication {
    let words = findings(letter, host).and_then(|found| words(&found, "dmarc")).unwrap_or_default();
    let dmarc = match words.first().map(String::as_str) {
        Some("pass") => Outcome::Pass,
        Some("fail") => Outcome::Fail,
        _ => Outcome::None,
    };
    let is_quarantine = words.iter().any(|word| word == "policy.dmarc=quarantine");
    let policy = if is_quarantine { Policy::Quarantine } else { Policy::None };
    Authentication { dmarc, policy, ..Authentication::default() }
}

/// A method's result in it.
fn result(found: &str, method: &str) -> Option<String> {
    words(found, method)?.into_iter().next()
}

/// The same, and the properties that follow it. What is quoted, or a comment, others may have chosen.
fn words(found: &str, method: &str) -> Option<Vec<String>> {
    let plain = header::without_comments(&found.replace(['\r', '\n'], " "))?;
    let mut quoted = false;
    let parts = plain.split(|c: char| {
        quoted ^= c == '"';
        c == ';' && !quoted
    });
    let value = parts.skip(1).find_map(|part| part.trim().strip_prefix(method)?.strip_prefix('='))?;
    Some(value.split_whitespace().map(str::to_lowercase).collect())
}

/// The fields of the sets before ours, canonical, in the order in which a seal covers them; `None` when the chain is
/// broken, or full.
fn chain(letter: &[u8], found: &str) -> Option<Vec<Vec<u8>>> {
    let mut sets: BTreeMap<(u32, usize), Vec<u8>> = BTreeMap::new();
    for field in header::fields(letter) {
        if let Some(kind) = SET.iter().position(|name| field.is(name))
            && sets.insert((instance(&field)?, kind), relaxed(&field)).is_some()
        {
            return None;
        }
    }
    let whole =
        sets.keys().copied().eq((1..).flat_map(|set| (0..SET.len()).map(move |kind| (set, kind))).take(sets.len()));
    let count = u32::try_from(sets.len() / SET.len()).ok()?;
    let holds = count == 0 || result(found, "arc").as_deref() == Some("pass");
    (whole && sets.len().is_multiple_of(SET.len()) && count < SETS && holds).then(|| sets.into_values().collect())
}

fn instance(field: &Field<'_>) -> Option<u32> {
    let value = field.unfolded();
    value.split(';').find_map(|tag| tag.trim().strip_prefix("i")?.trim_start().strip_prefix('=')?.trim().parse().ok())
}

/// RFC 6376 §3.4.2, with its end of line. Of bytes, since old senders write what is no UTF-8.
fn relaxed(field: &Field<'_>) -> Vec<u8> {
    [&field.name.to_ascii_lowercase(), b":".as_slice(), &spaces(field.value), b"\r\n"].concat()
}

fn spaces(value: &[u8]) -> Vec<u8> {
    let words = value.split(|byte| b" \t\r\n".contains(byte)).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(b" ".as_slice())
}

impl Sealer {
    fn set(&self, letter: &[u8], found: &str, before: &[Vec<u8>], now: i64) -> Result<String, String> {
        let number = before.len() / SET.len() + 1;
        let (signed, covered) = signed(letter);
        let results = format!("i={number}; {found}");
        let (algorithm, by) = (self.algorithm(), format!("d={}; s={}", self.domain, self.selector));
        let letter = header::without_blank_end(letter);
        let body = letter.windows(4).position(|end| end == b"\r\n\r\n").map_or(&[][..], |at| &letter[at + 4..]);
        let body = self.key.hash(Canonicalization::Relaxed.canonical_body(body, u64::MAX));
        let message = format!(
            "i={number}; a={algorithm}; c=relaxed/relaxed; {by}; t={now}; h={signed}; bh={}; b=",
            base64::encode(body.as_ref())
        );
        let signature = self.sign(&[&covered, b"arc-message-signature:".as_slice(), message.as_bytes()])?;
        let message = format!("{message}{signature}");
        let validity = if before.is_empty() { "none" } else { "pass" };
        let seal = format!("i={number}; a={algorithm}; t={now}; cv={validity}; {by}; b=");
        let before = before.concat();
        let results_line = [b"arc-authentication-results:".as_slice(), &spaces(results.as_bytes())].concat();
        let own = format!("\r\narc-message-signature:{message}\r\narc-seal:{seal}");
        let seal = format!("{seal}{}", self.sign(&[&before, &results_line, own.as_bytes()])?);
        let fold = |value: &str| value.replace("; ", ";\r\n\t");
        Ok(format!(
            "ARC-Seal: {}\r\nARC-Message-Signature: {}\r\nARC-Authentication-Results: {results}\r\n",
            fold(&seal),
            fold(&message)
        ))
    }

    const fn algorithm(&self) -> &'static str {
        if self.rsa { "rsa-sha256" } else { "ed25519-sha256" }
    }

    fn sign(&self, text: &[&[u8]]) -> Result<String, String> {
        let signature = self.key.sign(text.concat().as_slice()).map_err(|error| error.to_string())?;
        Ok(base64::encode(&signature))
    }
}

/// The names of what is signed, and it, canonical: of a name that comes again the last first (RFC 6376 §5.4.2).
fn signed(letter: &[u8]) -> (String, Vec<u8>) {
    let fields: Vec<Field<'_>> = header::fields(letter).collect();
    let of =
        |name: &'static str| fields.iter().rev().filter(move |field| field.is(name)).map(move |field| (name, field));
    let (mut names, mut covered) = (Vec::new(), Vec::new());
    for (name, field) in SIGNED.into_iter().flat_map(of).take(FIELDS) {
        names.push(name);
        covered.extend(relaxed(field));
    }
    (names.join(":"), covered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::courier::dkim::tests::{Zone, keys};
    use mail_auth::hickory_resolver::config::{ResolverConfig, ResolverOpts};
    use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters};

    const HOST: &str = "mx.home.test";
    const TEXT: &str = "From: =?utf-8?q?B?= <ben@far.test>\r\nTo: anna@home.test\r\nDKIM-Signature: v=1; d=far.test;\r\n b=x\r\n\
        DKIM-Signature: v=1; d=other.test\r\nSubject: cake\r\n  on   Sunday\r\n\r\nDear Anna,  \r\n.\r\n\r\n\r\n";

    /// As it lies in the queue.
    fn came(found: &str, text: &str) -> String {
        format!(
            "Received: from far.test\r\n\tby {HOST}\r\nAuthentication-Results: {HOST};\r\n\tspf=pass{found}\r\n{text}"
        )
    }

    fn verify(zone: &Zone, letter: impl AsRef<[u8]>) -> (DkimResult, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let nobody = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
            let authenticator = MessageAuthenticator::new(nobody, ResolverOpts::default()).unwrap();
            let message = AuthenticatedMessage::parse(letter.as_ref()).unwrap();
            let output = authenticator.verify_arc(Parameters::new(&message).with_txt_cache(zone)).await;
            (output.result().clone(), output.sets().len())
        })
    }

    #[test]
    fn a_chain_through_two_houses_holds() {
        let (signers, zone) = keys();
        let first = came("", TEXT);
        let first = format!("{}{first}", seal(first.as_bytes(), HOST, &signers, 1_700_000_000).unwrap());
        assert!(first.starts_with("ARC-Seal: i=1;\r\n\ta=rsa-sha256;") && first.contains("cv=none"), "{first}");
        assert_eq!(verify(&zone, &first), (DkimResult::Pass, 1), "{first}");
        let second = came(
            ";\r\n\tarc=pass smtp.remote-ip=192.0.2.1",
            &first.replacen("Authentication-Results: mx.home", "Authentication-Results: mx.first", 2),
        );
        let second = second.replace("mx.first", "mx.home");
        let second = format!("{}{second}", seal(second.as_bytes(), HOST, &signers, 1_700_000_001).unwrap());
        assert!(second.starts_with("ARC-Seal: i=2;") && second.contains("cv=pass"), "{second}");
        assert_eq!(verify(&zone, &second), (DkimResult::Pass, 2), "{second}");
        for (word, other) in
            [("Dear", "Bad"), ("cake", "tax"), ("d=other.test", "d=evil.test"), ("spf=pass", "spf=fail")]
        {
            assert_ne!(verify(&zone, second.replace(word, other)).0, DkimResult::Pass, "{word}");
        }
    }

    #[test]
    fn what_is_no_utf8_and_blank_lines_at_the_end() {
        let (signers, zone) = keys();
        let letter = came("", &TEXT.replace("cake", "caf\u{e9}"));
        let latin = |text: &str| text.chars().map(|c| c as u8).collect::<Vec<u8>>();
        let sealed = seal(&latin(&format!("{letter}\t\r\n")), HOST, &signers, 1_700_000_000).unwrap();
        assert_eq!(verify(&zone, latin(&format!("{sealed}{letter}"))), (DkimResult::Pass, 1));
    }

    #[test]
    fn what_dmarc_said_when_it_came() {
        let dmarc = |found: &str| super::dmarc(came(found, TEXT).as_bytes(), HOST);
        let failed = dmarc(";\r\n\tdmarc=fail (policy not aligned) header.from=far.test policy.dmarc=quarantine");
        assert_eq!((failed.dmarc, failed.policy), (Outcome::Fail, Policy::Quarantine));
        let passed = dmarc(";\r\n\tdmarc=pass header.from=far.test policy.dmarc=none");
        assert_eq!((passed.dmarc, passed.policy), (Outcome::Pass, Policy::None));
        let forged = format!("Authentication-Results: far.test; dmarc=pass\r\n{TEXT}");
        for nothing in [dmarc(""), super::dmarc(forged.as_bytes(), HOST)] {
            assert_eq!(nothing, Authentication::default());
        }
    }

    #[test]
    fn without_rsa_the_other_key_seals() {
        let edwards = crate::courier::dkim::new_ed25519().unwrap();
        let kind = crate::courier::dkim::Kind::Ed25519;
        let signers = Signers::new("home.test", &[("e", kind, edwards.as_slice())]).unwrap();
        let zone = Zone::of(&[("e", kind, edwards.as_slice())]);
        let letter = came("", TEXT);
        let letter = format!("{}{letter}", seal(letter.as_bytes(), HOST, &signers, 1_700_000_000).unwrap());
        assert_eq!(verify(&zone, &letter), (DkimResult::Pass, 1), "{letter}");
    }

    #[test]
    fn what_is_not_sealed() {
        let (signers, _) = keys();
        let set = |i: u32| SET.map(|name| format!("{name}: i={i}; a=x; cv=none\r\n")).concat();
        let sealed = |letter: String| !seal(letter.as_bytes(), HOST, &signers, 0).unwrap().is_empty();
        let pass = ";\r\n\tarc=pass";
        assert!(sealed(came(pass, &format!("{}{TEXT}", set(1)))));
        for (why, letter) in [
            ("no findings", TEXT.to_owned()),
            ("another's findings", format!("Authentication-Results: far.test; spf=pass\r\n{TEXT}")),
            ("it did not hold", came(";\r\n\tarc=fail", &format!("{}{TEXT}", set(1)))),
            ("nobody looked", came("", &format!("{}{TEXT}", set(1)))),
            ("said in quotes", came(" smtp.mailfrom=\";arc=pass\"@far.test", &format!("{}{TEXT}", set(1)))),
            ("said in a comment", came(" (;arc=pass)", &format!("{}{TEXT}", set(1)))),
            ("a hole", came(pass, &format!("{}{TEXT}", set(2)))),
            ("twice", came(pass, &format!("{}{}{TEXT}", set(1), set(1)))),
            ("half a set", came(pass, &format!("ARC-Seal: i=1; cv=none\r\n{TEXT}"))),
            ("no number", came(pass, &format!("ARC-Seal: cv=none\r\n{TEXT}"))),
            ("full", came(pass, &format!("{}{TEXT}", (1..=50).map(set).collect::<String>()))),
        ] {
            assert!(!sealed(letter), "{why}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_letter(bytes in "(ARC-Seal: i=[0-9 ]{0,3};?\r\n|Authentication-Results: mx.home.test[ -~]{0,20}\r\n|[ -~]{0,9}\r\n){0,8}") {
            let (signers, _) = keys();
            let _ = seal(bytes.as_bytes(), HOST, &signers, 0).unwrap();
        }
    }
}
