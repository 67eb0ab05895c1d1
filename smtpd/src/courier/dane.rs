//! DANE for SMTP (RFC 7672): a host's certificate as DNSSEC publishes it.

use ring::digest;

use super::destination::Answer;
use super::limits;

/// A TLSA record (RFC 6698 §2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlsa {
    /// Certificate usage.
    pub usage: u8,
    /// Whole certificate or public key.
    pub selector: u8,
    /// As it is, SHA-256 or SHA-512.
    pub matching: u8,
    /// To compare with.
    pub data: Vec<u8>,
}

const TRUST_ANCHOR: u8 = 2;
const END_ENTITY: u8 = 3;

impl Tlsa {
    /// RFC 7672 §3.1: of the four usages 2 and 3, with a selector and matching that we know and data of that length.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let length = match self.matching {
            0 => !self.data.is_empty() && self.data.len() <= limits::CERTIFICATE,
            1 => self.data.len() == 32,
            2 => self.data.len() == 64,
            _ => false,
        };
        matches!(self.usage, TRUST_ANCHOR | END_ENTITY) && self.selector <= 1 && length
    }

    fn matches(&self, certificate: &[u8]) -> bool {
        let selected = if self.selector == 0 { Some(certificate) } else { public_key(certificate) };
        let Some(selected) = selected else { return false };
        match self.matching {
            0 => self.data == selected,
            1 => self.data == digest::digest(&digest::SHA256, selected).as_ref(),
            2 => self.data == digest::digest(&digest::SHA512, selected).as_ref(),
            _ => false,
        }
    }
}

/// What DNSSEC says about one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dane {
    /// Nothing, provably or for want of DNSSEC.
    No,
    /// One of these must match. At least one.
    Must(Vec<Tlsa>),
    /// There are records, and none we can use: TLS is a must, proof is not (RFC 7672 §2.2).
    Unusable,
    /// Nobody knows, and an attacker may be why: this host gets nothing now (§2.1.2).
    Failed,
}

/// What the answers for a host come to: its MX (or domain) and addresses must be secure before its TLSA records mean
/// anything (§2.2).
#[must_use]
pub fn judge(host_secure: bool, records: &Answer<Tlsa>) -> Dane {
    match records {
        _ if !host_secure => Dane::No,
        Answer::Failed => Dane::Failed,
        Answer::Found { records, secure: true } => {
            let records = records.iter().take(limits::TLSA_RECORDS);
            let usable: Vec<Tlsa> = records.filter(|record| record.is_usable()).cloned().collect();
            if usable.is_empty() { Dane::Unusable } else { Dane::Must(usable) }
        }
        _ => Dane::No,
    }
}

/// What matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// The host's own certificate: names and dates do not matter (§3.1.1).
    EndEntity,
    /// One of these certificates issued it, which must still be proven, with names and dates (§3.1.2).
    Anchors(Vec<Vec<u8>>),
    /// Nothing.
    None,
}

/// Compares a chain, the host's own certificate first.
#[must_use]
pub fn compare(records: &[Tlsa], chain: &[&[u8]]) -> Match {
    let chain = &chain[..chain.len().min(limits::CHAIN)];
    let Some(leaf) = chain.first() else { return Match::None };
    if records.iter().any(|record| record.usage == END_ENTITY && record.matches(leaf)) {
        return Match::EndEntity;
    }
    let mut anchors: Vec<Vec<u8>> = Vec::new();
    for record in records.iter().filter(|record| record.usage == TRUST_ANCHOR) {
        anchors.extend(chain.iter().filter(|one| record.matches(one)).map(|one| one.to_vec()));
        // §3.1.2: a whole certificate in DNS need not be in the chain.
        if record.selector == 0 && record.matching == 0 {
            anchors.push(record.data.clone());
        }
    }
    anchors.dedup();
    if anchors.is_empty() { Match::None } else { Match::Anchors(anchors) }
}

/// The subjectPublicKeyInfo of a certificate (RFC 5280 §4.1), with its tag and length.
#[must_use]
pub fn public_key(certificate: &[u8]) -> Option<&[u8]> {
    Parts::of(certificate).map(|parts| parts.key)
}

/// The one name that a certificate without a subjectAltName gives itself in its subject (RFC 6125 §6.4.4: CN-ID), as a
/// whole name; without it DANE cannot know whose an old certificate of an authority is (RFC 7672 §3.2.3).
#[must_use]
pub fn common_name(certificate: &[u8]) -> Option<&str> {
    const COMMON_NAME: [u8; 5] = [0x06, 3, 0x55, 4, 3];
    // UTF8String, PrintableString, IA5String.
    const STRINGS: [u8; 3] = [0x0c, 0x13, 0x16];
    let parts = Parts::of(certificate)?;
    if parts.has_alternative_name()? {
        return None;
    }
    let mut names = Vec::new();
    for set in elements(parts.subject) {
        for attribute in elements(set?.content) {
            let kind = Element::read(attribute?.content)?;
            if kind.whole == COMMON_NAME {
                names.push(Element::read(kind.rest)?);
            }
        }
    }
    match &names[..] {
        [one] if STRINGS.contains(&one.tag) => std::str::from_utf8(one.content).ok().filter(|name| name.is_ascii()),
        _ => None,
    }
}

const SEQUENCE: u8 = 0x30;

/// What of a certificate is looked at.
struct Parts<'a> {
    /// The content of the subject: a SET each.
    subject: &'a [u8],
    key: &'a [u8],
    /// What follows the key.
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(certificate: &'a [u8]) -> Option<Self> {
        const VERSION: u8 = 0xa0;
        let outer = Element::read(certificate).filter(|outer| outer.tag == SEQUENCE)?;
        let inner = Element::read(outer.content).filter(|inner| inner.tag == SEQUENCE)?;
        let mut fields = inner.content;
        let first = Element::read(fields)?;
        if first.tag == VERSION {
            fields = first.rest;
        }
        // serialNumber, signature, issuer, validity.
        for _ in 0..4 {
            fields = Element::read(fields)?.rest;
        }
        let subject = Element::read(fields)?;
        let key = Element::read(subject.rest).filter(|key| key.tag == SEQUENCE)?;
        Some(Self { subject: subject.content, key: key.whole, rest: key.rest })
    }

    fn has_alternative_name(&self) -> Option<bool> {
        const EXTENSIONS: u8 = 0xa3;
        const SUBJECT_ALT_NAME: [u8; 5] = [0x06, 3, 0x55, 0x1d, 0x11];
        for field in elements(self.rest) {
            let field = field?;
            if field.tag != EXTENSIONS {
                continue;
            }
            for extension in elements(Element::read(field.content)?.content) {
                if Element::read(extension?.content)?.whole == SUBJECT_ALT_NAME {
                    return Some(true);
                }
            }
        }
        Some(false)
    }
}

/// One after another; `None` where they end badly.
fn elements(mut bytes: &[u8]) -> impl Iterator<Item = Option<Element<'_>>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let element = Element::read(bytes);
        bytes = element.as_ref().map_or(&[], |element| element.rest);
        Some(element)
    })
}

/// One DER element.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    /// With tag and length.
    whole: &'a [u8],
    /// What follows it.
    rest: &'a [u8],
}

impl<'a> Element<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (tag, first) = (*bytes.first()?, *bytes.get(1)?);
        let (head, length) = match first {
            0..=0x7f => (2, usize::from(first)),
            // Up to three octets: 16 MiB.
            0x81..=0x83 => {
                let count = usize::from(first & 0x7f);
                let length = bytes.get(2..2 + count)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
                (2 + count, length)
            }
            _ => return None,
        };
        let end = head.checked_add(length)?;
        Some(Self { tag, content: bytes.get(head..end)?, whole: bytes.get(..end)?, rest: &bytes[end..] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn certificate() -> (Vec<u8>, Vec<u8>) {
        let made = rcgen::generate_simple_self_signed(vec!["mx.far.test".into()]).unwrap();
        (made.cert.der().to_vec(), rcgen::PublicKeyData::subject_public_key_info(&made.signing_key))
    }

    fn record(usage: u8, selector: u8, matching: u8, of: &[u8]) -> Tlsa {
        let data = match matching {
            1 => digest::digest(&digest::SHA256, of).as_ref().to_vec(),
            2 => digest::digest(&digest::SHA512, of).as_ref().to_vec(),
            _ => of.to_vec(),
        };
        Tlsa { usage, selector, matching, data }
    }

    #[test]
    fn the_key_in_a_certificate() {
        let (certificate, key) = certificate();
        assert_eq!(public_key(&certificate), Some(key.as_slice()));
        assert_eq!(public_key(&certificate[..certificate.len() - 1]), None);
    }

    #[test]
    fn every_way_to_match() {
        let (certificate, key) = certificate();
        let (other, _) = self::certificate();
        for (selector, of) in [(0, certificate.as_slice()), (1, key.as_slice())] {
            for matching in 0..=2 {
                let end = record(3, selector, matching, of);
                assert!(end.is_usable());
                assert_eq!(
                    compare(std::slice::from_ref(&end), &[&certificate]),
                    Match::EndEntity,
                    "{selector} {matching}"
                );
                assert_eq!(compare(&[end], &[&other, &certificate]), Match::None, "only the host's own");
                let anchor = record(2, selector, matching, of);
                let found = compare(&[anchor], &[&other, &certificate]);
                assert!(
                    matches!(found, Match::Anchors(anchors) if anchors.contains(&certificate)),
                    "{selector} {matching}"
                );
            }
        }
        assert_eq!(compare(&[record(3, 1, 1, &other)], &[&certificate]), Match::None);
        assert_eq!(compare(&[record(3, 1, 1, &key)], &[]), Match::None);
    }

    #[test]
    fn an_anchor_that_only_dns_has() {
        let ((certificate, _), (anchor, _)) = (certificate(), certificate());
        let found = compare(&[record(2, 0, 0, &anchor)], &[&certificate]);
        assert_eq!(found, Match::Anchors(vec![anchor]));
    }

    #[test]
    fn usable_or_not() {
        for (usage, selector, matching, length, usable) in [
            (3, 1, 1, 32, true),
            (2, 0, 2, 64, true),
            (0, 1, 1, 32, false),
            (1, 1, 1, 32, false),
            (4, 1, 1, 32, false),
            (3, 2, 1, 32, false),
            (3, 1, 3, 32, false),
            (3, 1, 1, 31, false),
            (3, 1, 2, 32, false),
            (3, 0, 0, 0, false),
        ] {
            let record = Tlsa { usage, selector, matching, data: vec![0; length] };
            assert_eq!(record.is_usable(), usable, "{record:?}");
        }
    }

    #[test]
    fn what_answers_come_to() {
        let good = record(3, 1, 1, b"key");
        let bad = Tlsa { usage: 1, ..good.clone() };
        let found = |records: &[&Tlsa], secure| Answer::Found {
            records: records.iter().map(|r| (*r).clone()).collect(),
            secure,
        };
        assert_eq!(judge(true, &found(&[&bad, &good], true)), Dane::Must(vec![good.clone()]));
        assert_eq!(judge(true, &found(&[&bad], true)), Dane::Unusable);
        assert_eq!(judge(true, &found(&[&good], false)), Dane::No);
        assert_eq!(judge(false, &found(&[&good], true)), Dane::No);
        assert_eq!(judge(false, &Answer::Failed), Dane::No);
        assert_eq!(judge(true, &Answer::Failed), Dane::Failed);
        assert_eq!(judge(true, &Answer::NoName { secure: true }), Dane::No);
    }

    proptest! {
        #[test]
        fn any_certificate(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (public_key(&bytes), common_name(&bytes));
        }

        #[test]
        fn a_damaged_certificate(at in 0usize..400, bit in 0u8..8) {
            let (mut certificate, _) = certificate();
            let at = at % certificate.len();
            certificate[at] ^= 1 << bit;
            if let Some(key) = public_key(&certificate) {
                prop_assert!(key.len() < certificate.len());
            }
        }
    }
}
