//! When a certificate holds: the one field of X.509 that rustls does not tell. The certificate is the admin's own, so
//! a form that is not understood is "unknown", never an error.

/// Seconds since 1970 of both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub from: i64,
    /// Not after.
    pub to: i64,
}

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The explicit version, the first and only optional field before the validity.
const VERSION: u8 = 0xa0;

impl Validity {
    /// Reads it from a certificate (RFC 5280 §4.1).
    #[must_use]
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate, _) = element(der).filter(|(tag, ..)| *tag == SEQUENCE)?;
        let (_, mut body, _) = element(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
        if element(body)?.0 == VERSION {
            body = element(body)?.2;
        }
        // serialNumber, signature, issuer.
        for _ in 0..3 {
            body = element(body)?.2;
        }
        let (_, validity, _) = element(body).filter(|(tag, ..)| *tag == SEQUENCE)?;
        let (from_tag, from, rest) = element(validity)?;
        let (to_tag, to, _) = element(rest)?;
        Some(Self { from: time(from_tag, from)?, to: time(to_tag, to)? })
    }

    /// Whole days until its end; negative when it is over.
    #[must_use]
    pub const fn days_left(&self, now: i64) -> i64 {
        self.to.saturating_sub(now).div_euclid(86_400)
    }
}

/// Tag, content and what follows. Lengths of up to four bytes.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 {
            return None;
        }
        let (bytes, after) = rest.split_at_checked(count)?;
        length = bytes.iter().try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)))?;
        rest = after;
    }
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let digits = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, rest) = match tag {
        // RFC 5280 §4.1.2.5.1: two digits of a year from 1950 to 2049.
        UTC_TIME => (digits(0, 2).map(|year| if year < 50 { 2000 + year } else { 1900 + year })?, 2),
        GENERALIZED_TIME => (digits(0, 4)?, 4),
        _ => return None,
    };
    let field = |n: usize| digits(rest + 2 * n, rest + 2 * n + 2);
    let small = |n: usize| u8::try_from(field(n)?).ok();
    let (month, day, hour, minute, second) = (small(0)?, small(1)?, field(2)?, field(3)?, field(4)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(((wire::date::days_from_civil(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_real_certificate() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["home.test".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2026, 11, 21);
        parameters.not_after = rcgen::date_time_ymd(2052, 2, 29);
        let certificate = parameters.self_signed(&key).unwrap();
        let validity = Validity::of(certificate.der()).unwrap();
        assert_eq!(crate::cli::output::day(validity.from), "2026-11-21");
        assert_eq!(crate::cli::output::day(validity.to), "2052-02-29");
        assert_eq!(validity.days_left(validity.to - 86_401), 1);
        assert_eq!(validity.days_left(validity.to + 1), -1);
    }

    #[test]
    fn what_is_no_certificate_is_unknown() {
        for bytes in [&b""[..], b"\x30", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x30\x02\x30\x00"] {
            assert_eq!(Validity::of(bytes), None);
        }
    }
}
