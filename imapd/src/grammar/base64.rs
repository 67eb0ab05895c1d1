//! Base64 (RFC 4648 §4) for AUTHENTICATE: strict, padded, in buffers that are wiped.

use zeroize::Zeroizing;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends `data` in base64.
pub fn encode(data: &[u8], out: &mut Vec<u8>) {
    for group in data.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let here = DIGITS[(bits >> (18 - 6 * digit) & 63) as usize];
            out.push(if digit <= group.len() { here } else { b'=' });
        }
    }
}

/// Decodes; `None` unless it is whole groups of four with correct padding and no stray bits.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut data = Zeroizing::new(Vec::with_capacity(text.len() / 4 * 3));
    let (mut bits, mut have) = (0u32, 0);
    for &byte in digits {
        bits = (bits << 6 | u32::from(value(byte)?)) & 0xffff;
        have += 6;
        if have >= 8 {
            have -= 8;
            data.push((bits >> have & 0xff) as u8);
        }
    }
    (bits & ((1 << have) - 1) == 0 && have < 6).then_some(data)
}

const fn value(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // RFC 4648 §10.
    #[test]
    fn known() {
        for (data, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            let mut out = Vec::new();
            encode(data.as_bytes(), &mut out);
            assert_eq!(out, text.as_bytes());
            assert_eq!(decode(text.as_bytes()).unwrap().as_slice(), data.as_bytes());
        }
        for bad in ["Z", "Zg", "Zg=", "Zh==", "Zm9", "Zm9=", "=", "====", "Zg==Zg==", "Z g=", "Zm9v\r\n"] {
            assert!(decode(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(data in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut out = Vec::new();
            encode(&data, &mut out);
            prop_assert_eq!(decode(&out).unwrap().as_slice(), data.as_slice());
        }

        #[test]
        fn decoding_never_panics(text in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&text);
        }
    }
}
