//! Crockford's base32, for people: no letter that looks like a digit, either case, hyphens and spaces ignored.

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Encodes in lower case. Bits that are missing at the end are zero.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut held, mut bits) = (0u32, 0u32);
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(char::from(ALPHABET[(held >> bits & 31) as usize]));
        }
    }
    if bits > 0 {
        out.push(char::from(ALPHABET[(held << (5 - bits) & 31) as usize]));
    }
    out
}

/// Decodes to exactly `N` bytes; `None` for any other length, a character of no meaning, or left-over bits that are
/// not zero.
#[must_use]
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    let (mut held, mut bits, mut at, mut digits) = (0u32, 0u32, 0, 0);
    for character in text.bytes().filter(|byte| !matches!(byte, b'-' | b' ')) {
        held = held << 5 | u32::from(value(character)?);
        bits += 5;
        digits += 1;
        if bits >= 8 {
            bits -= 8;
            *out.get_mut(at)? = (held >> bits & 0xff) as u8;
            at += 1;
        }
    }
    let spare = held & ((1 << bits) - 1);
    (at == N && digits == (N * 8).div_ceil(5) && spare == 0).then_some(out)
}

/// Writes it in groups of `size` with hyphens between.
#[must_use]
pub fn grouped(text: &str, size: usize) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / size.max(1));
    for (at, character) in text.chars().enumerate() {
        if at > 0 && at % size.max(1) == 0 {
            out.push('-');
        }
        out.push(character);
    }
    out
}

/// What is easily mistaken is taken for what was meant: o for 0, i and l for 1.
fn value(character: u8) -> Option<u8> {
    let lower = match character.to_ascii_lowercase() {
        b'o' => b'0',
        b'i' | b'l' => b'1',
        other => other,
    };
    ALPHABET.iter().position(|digit| *digit == lower).and_then(|at| u8::try_from(at).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn vectors() {
        assert_eq!(encode(b""), "");
        assert_eq!(encode(&[0xff]), "zw");
        assert_eq!(encode(&[0, 0, 0, 0, 1]), "00000001");
        assert_eq!(decode::<5>("0O0o-oo0Il"), None, "nine digits");
        assert_eq!(decode::<5>("0O0o-oo0I"), Some([0, 0, 0, 0, 1]));
        assert_eq!(decode::<1>("zw"), Some([0xff]));
        assert_eq!(decode::<1>("zz"), None, "bits left over");
        assert_eq!(decode::<1>("zu"), None, "u is no digit");
        assert_eq!(grouped("abcdefg", 3), "abc-def-g");
    }

    proptest! {
        #[test]
        fn round_trip(bytes: [u8; 32]) {
            prop_assert_eq!(decode::<32>(&grouped(&encode(&bytes), 4).to_uppercase()), Some(bytes));
        }

        #[test]
        fn anything_is_decoded_or_refused(text in ".{0,40}") {
            if let Some(bytes) = decode::<7>(&text) {
                prop_assert_eq!(decode::<7>(&encode(&bytes)), Some(bytes));
            }
        }
    }
}
