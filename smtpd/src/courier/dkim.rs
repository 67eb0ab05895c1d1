//! DKIM signatures (RFC 6376, 8463): RSA for those who know nothing else, Ed25519 beside it. Both, because some that
//! know only one of them fail on the other and then look at the next.

use mail_auth::common::crypto::{DkimKey, Ed25519Key, RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::{Canonicalization, DkimSigner, Done};
use ring::signature::{Ed25519KeyPair, KeyPair, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use wire::base64;

use super::arc::Sealer;
use crate::header;

/// What is signed when it is there, and cannot be added afterwards when it is not (RFC 6376 §5.4, §8.15). Received and
/// Return-Path change on the way, Bcc has been dropped.
const ONCE: [&str; 10] = [
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];
/// What is signed when it is there.
const ALSO: [&str; 8] = [
    "Sender",
    "In-Reply-To",
    "References",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Auto-Submitted",
    "Content-Disposition",
];

/// Seconds for which an old selector must stay in DNS after the last signature with it: five days of attempts, and as
/// long again for those who verify late.
pub const KEPT: i64 = 10 * 86_400;

/// Why a key is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadKey(pub &'static str);

/// Which kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PKCS#1 or PKCS#8, DER; 2048 bits or more.
    Rsa,
    /// PKCS#8, DER.
    Ed25519,
}

/// One domain's signers.
pub struct Signers(Vec<DkimSigner<DkimKey, Done>>, Option<Sealer>);

impl std::fmt::Debug for Signers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Signers").field(&self.0.len()).finish()
    }
}

impl Signers {
    /// For a domain, with these selectors and keys; RSA first. Until the RSA key is made, Ed25519 signs alone.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn new(domain: &str, keys: &[(&str, Kind, &[u8])]) -> Result<Self, BadKey> {
        let signers = keys.iter().map(|(selector, kind, der)| {
            let names = ONCE.iter().chain(&ONCE).chain(&ALSO).copied();
            let signer = DkimSigner::from_key(key(*kind, der)?).domain(domain).selector(*selector).headers(names);
            Ok(signer
                .header_canonicalization(Canonicalization::Relaxed)
                .body_canonicalization(Canonicalization::Relaxed))
        });
        let signers = signers.collect::<Result<_, _>>()?;
        let sealer = keys.first().map(|(selector, kind, der)| {
            let (domain, selector) = (domain.to_owned(), (*selector).to_owned());
            Ok(Sealer { key: key(*kind, der)?, rsa: *kind == Kind::Rsa, domain, selector })
        });
        Ok(Self(signers, sealer.transpose()?))
    }

    /// Who seals what is passed on: one key, of the kind that everybody knows if there is one.
    #[must_use]
    pub const fn sealer(&self) -> Option<&Sealer> {
        self.1.as_ref()
    }

    /// The signatures, to be put in front of the letter; its bytes are not changed after this.
    ///
    /// # Errors
    /// A letter without any header to sign, or the library's word.
    pub fn sign(&self, letter: &[u8]) -> Result<String, String> {
        let (mut fields, letter) = (String::new(), header::without_blank_end(letter));
        for signer in &self.0 {
            let signature = signer.sign(letter).map_err(|error| error.to_string())?;
            fields.push_str(&signature.to_header());
        }
        Ok(fields)
    }
}

fn key(kind: Kind, der: &[u8]) -> Result<DkimKey, BadKey> {
    match kind {
        Kind::Rsa => {
            let der = PrivateKeyDer::try_from(der).map_err(|_| BadKey("neither PKCS#1 nor PKCS#8"))?;
            let key = RsaKey::<Sha256>::from_key_der(der).map_err(|_| BadKey("no RSA key of 2048 bits or more"))?;
            Ok(key.into())
        }
        Kind::Ed25519 => {
            let key = Ed25519Key::from_pkcs8_maybe_unchecked_der(der).map_err(|_| BadKey("no Ed25519 key"))?;
            Ok(key.into())
        }
    }
}

/// A fresh Ed25519 key, PKCS#8. (RSA keys need the primes that `ring` does not look for.)
///
/// # Errors
/// No randomness.
pub fn new_ed25519() -> Result<zeroize::Zeroizing<Vec<u8>>, BadKey> {
    let made = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).map_err(|_| BadKey("no randomness"))?;
    Ok(made.as_ref().to_vec().into())
}

/// What stands in DNS at `<selector>._domainkey.<domain>` (RFC 6376 §3.6.1, RFC 8463 §4).
///
/// # Errors
/// [`BadKey`].
pub fn record(kind: Kind, der: &[u8]) -> Result<String, BadKey> {
    match kind {
        Kind::Rsa => {
            let pair = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der));
            let pair = pair.map_err(|_| BadKey("no RSA key of 2048 bits or more"))?;
            Ok(format!("v=DKIM1; k=rsa; p={}", base64::encode(&public_key_info(pair.public().as_ref()))))
        }
        Kind::Ed25519 => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| BadKey("no Ed25519 key"))?;
            Ok(format!("v=DKIM1; k=ed25519; p={}", base64::encode(pair.public_key().as_ref())))
        }
    }
}

/// An RSAPublicKey as SubjectPublicKeyInfo (RFC 3279 §2.3.1), which is what verifiers read.
fn public_key_info(key: &[u8]) -> Vec<u8> {
    // SEQUENCE { OID rsaEncryption, NULL }
    const ALGORITHM: [u8; 15] = [0x30, 13, 0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0];
    let bits = [&[0][..], key].concat();
    der(0x30, &[&ALGORITHM[..], &der(0x03, &bits)].concat())
}

pub(super) fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    let mut out = vec![tag];
    if content.len() > 127 {
        out.push(0x80 | u8::try_from(significant.len()).unwrap_or(8));
    }
    out.extend_from_slice(significant);
    out.extend_from_slice(content);
    out
}

/// Two names that no rotation before has used, for keys made on that day: `p20261121r`, `p20261121e`; with a number
/// when there was one that day already.
#[must_use]
pub fn selectors(now: i64, taken: &[String]) -> (String, String) {
    let day = wire::date::civil(now);
    let base = format!("p{:04}{:02}{:02}", day.year, day.month, day.day);
    let name = |number: u32, kind| if number == 0 { format!("{base}{kind}") } else { format!("{base}{kind}{number}") };
    let free = |number: &u32| !["r", "e"].iter().any(|kind| taken.contains(&name(*number, *kind)));
    let number = (0..=u32::try_from(taken.len()).unwrap_or(u32::MAX)).find(free).unwrap_or(u32::MAX);
    (name(number, "r"), name(number, "e"))
}

/// Whether an old selector may go from DNS: nothing that it signed is still on its way.
#[must_use]
pub const fn may_go(last_signed: i64, now: i64) -> bool {
    now.saturating_sub(last_signed) >= KEPT
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use mail_auth::common::parse::TxtRecordParser;
    use mail_auth::common::verify::DomainKey;
    use mail_auth::hickory_resolver::config::{ResolverConfig, ResolverOpts};
    use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, ResolverCache, Txt};
    use std::borrow::Borrow;
    use std::collections::HashMap;
    use std::hash::Hash;
    use std::sync::Arc;
    use std::time::Instant;

    const RSA: &[u8] = include_bytes!("../../tests/keys/dkim-rsa-2048.der");
    const LETTER: &str = "From: Anna <anna@home.test>\r\nTo: ben@far.test\r\nSubject: cake\r\n  on Sunday\r\n\
        Date: Sat, 21 Nov 2026 09:30:00 +0000\r\nMessage-ID: <1@home.test>\r\n\r\nDear Ben,  \r\n.\r\n\r\n\r\n";

    /// DNS of selectors.
    pub struct Zone(HashMap<Box<str>, Txt>);

    impl Zone {
        pub fn of(keys: &[(&str, Kind, &[u8])]) -> Self {
            let zone = keys.iter().map(|(selector, kind, der)| {
                let key = DomainKey::parse(record(*kind, der).unwrap().as_bytes()).unwrap();
                (format!("{selector}._domainkey.home.test.").into(), Txt::DomainKey(Arc::new(key)))
            });
            Self(zone.collect())
        }
    }

    impl ResolverCache<Box<str>, Txt> for Zone {
        fn get<Q: Hash + Eq + ?Sized>(&self, name: &Q) -> Option<Txt>
        where
            Box<str>: Borrow<Q>,
        {
            self.0.get(name).cloned()
        }
        fn remove<Q: Hash + Eq + ?Sized>(&self, _: &Q) -> Option<Txt>
        where
            Box<str>: Borrow<Q>,
        {
            None
        }
        fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
    }

    pub fn keys() -> (Signers, Zone) {
        let edwards = new_ed25519().unwrap();
        let both = [("r", Kind::Rsa, RSA), ("e", Kind::Ed25519, edwards.as_slice())];
        (Signers::new("home.test", &both).unwrap(), Zone::of(&both))
    }

    /// What mail-auth's own verifier makes of each signature.
    fn verify(zone: &Zone, letter: &str) -> Vec<bool> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let nobody = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
            let authenticator = MessageAuthenticator::new(nobody, ResolverOpts::default()).unwrap();
            let message = AuthenticatedMessage::parse(letter.as_bytes()).unwrap();
            let outputs = authenticator.verify_dkim(Parameters::new(&message).with_txt_cache(zone)).await;
            outputs.iter().map(|output| *output.result() == DkimResult::Pass).collect()
        })
    }

    #[test]
    fn both_signatures_hold() {
        let (signers, zone) = keys();
        let fields = signers.sign(LETTER.as_bytes()).unwrap();
        assert!(
            fields.contains("a=rsa-sha256; s=r; d=home.test") && fields.contains("a=ed25519-sha256; s=e; d=home.test")
        );
        assert_eq!(verify(&zone, &format!("{fields}{LETTER}")), [true, true]);
        // Spaces that servers on the way take off do not matter; words do.
        let trimmed = LETTER.replace("Ben,  ", "Ben,").replace("\r\n\r\n\r\n", "\r\n");
        assert_eq!(verify(&zone, &format!("{fields}{trimmed}")), [true, true]);
        assert_eq!(verify(&zone, &format!("{fields}{}", LETTER.replace("Dear", "Bad"))), [false, false]);
        assert_eq!(verify(&zone, &format!("{fields}{}", LETTER.replace("cake", "tax"))), [false, false]);
    }

    #[test]
    fn lines_of_blanks_at_the_end_do_not_count() {
        let (signers, zone) = keys();
        for end in [" \r\n", "\t\r\n \r\n\r\n"] {
            let fields = signers.sign(format!("{LETTER}{end}").as_bytes()).unwrap();
            assert_eq!(verify(&zone, &format!("{fields}{LETTER}")), [true, true], "{end:?}");
        }
    }

    #[test]
    fn nothing_can_be_added() {
        let (signers, zone) = keys();
        let fields = signers.sign(LETTER.as_bytes()).unwrap();
        for added in
            ["From: other@home.test\r\n", "Subject: other\r\n", "Cc: all@far.test\r\n", "Content-Type: text/html\r\n"]
        {
            assert_eq!(verify(&zone, &format!("{fields}{added}{LETTER}")), [false, false], "{added}");
        }
        assert_eq!(verify(&zone, &format!("{fields}Received: by mx\r\n{LETTER}")), [true, true]);
    }

    #[test]
    fn keys_that_are_none() {
        assert!(Signers::new("home.test", &[("r", Kind::Rsa, b"rubbish")]).is_err());
        assert!(Signers::new("home.test", &[("e", Kind::Ed25519, RSA)]).is_err());
        assert!(record(Kind::Rsa, b"").is_err() && record(Kind::Ed25519, RSA).is_err());
    }

    #[test]
    fn names_of_selectors() {
        let now = 1_795_248_000;
        let (rsa, edwards) = selectors(now, &[]);
        assert_eq!((rsa.as_str(), edwards.as_str()), ("p20261121r", "p20261121e"));
        assert_eq!(selectors(now, std::slice::from_ref(&edwards)).0, "p20261121r1");
        assert_eq!(selectors(now, &[edwards, "p20261121r1".into()]).0, "p20261121r2");
        assert!(!may_go(0, KEPT - 1) && may_go(0, KEPT));
    }
}
