//! The parameters of MAIL and RCPT (RFC 5321 §4.1.2 `esmtp-param`), split but not judged.

use crate::limits;

/// One `KEYWORD` or `KEYWORD=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// Upper-case.
    pub keyword: String,
    /// Printable, without spaces and `=`.
    pub value: Option<&'a str>,
}

/// Splits what follows a path. `None` when it is not of the form, too much, or a keyword comes twice.
#[must_use]
pub fn split(rest: &[u8]) -> Option<Vec<Parameter<'_>>> {
    let mut parameters: Vec<Parameter<'_>> = Vec::new();
    for word in rest.split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
        let parameter = one(word)?;
        if parameters.len() == limits::PARAMETERS || parameters.iter().any(|p| p.keyword == parameter.keyword) {
            return None;
        }
        parameters.push(parameter);
    }
    Some(parameters)
}

fn one(word: &[u8]) -> Option<Parameter<'_>> {
    let word = std::str::from_utf8(word).ok()?;
    let (keyword, value) = match word.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value)),
        None => (word, None),
    };
    let named = !keyword.is_empty()
        && !keyword.starts_with('-')
        && keyword.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let valued = value.is_none_or(|value| {
        !value.is_empty() && value.chars().all(|c| c != '=' && !c.is_control() && !c.is_whitespace())
    });
    (named && valued).then(|| Parameter { keyword: keyword.to_ascii_uppercase(), value })
}

/// Reads the number of SIZE: up to twenty digits (RFC 1870 §4). More than 2^64 is as good as 2^64.
#[must_use]
pub fn size(value: &str) -> Option<u64> {
    let digits = value.len() <= 20 && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().unwrap_or(u64::MAX))
}

/// Whether it is `xtext` (RFC 3461 §4) of at most `most` bytes.
#[must_use]
pub fn is_xtext(value: &str, most: usize) -> bool {
    let bytes = value.as_bytes();
    let hexadecimal = |at: usize| bytes.get(at).is_some_and(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    bytes.len() <= most
        && bytes.iter().enumerate().all(|(at, byte)| match byte {
            b'+' => hexadecimal(at + 1) && hexadecimal(at + 2),
            byte => byte.is_ascii_graphic(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn splitting() {
        let found = split(b" size=10 BODY=8bitmime  SMTPUTF8").unwrap();
        let shown: Vec<_> = found.iter().map(|p| (p.keyword.as_str(), p.value)).collect();
        assert_eq!(shown, [("SIZE", Some("10")), ("BODY", Some("8bitmime")), ("SMTPUTF8", None)]);
        for bad in [" SIZE=1 SIZE=2", " =1", " SIZE=", " SI/ZE=1", " A=b=c", " -A"] {
            assert_eq!(split(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn numbers_and_xtext() {
        assert_eq!(size("00001"), Some(1));
        assert_eq!(size("99999999999999999999"), Some(u64::MAX));
        assert_eq!((size("-1"), size("1x"), size("999999999999999999999")), (None, None, None));
        assert!(is_xtext("a+2Bb", 100) && !is_xtext("a+2", 100) && !is_xtext("a+2bb", 100) && !is_xtext("abc", 2));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for parameter in split(&bytes).unwrap_or_default() {
                let _ = parameter.value.map(|value| (size(value), is_xtext(value, 100)));
            }
        }
    }
}
