//! Modified UTF-7 (RFC 3501 §5.1.3), both ways, total.

/// Encodes a name for the wire: ASCII, `&` as `&-`, the rest as `&` base64 of UTF-16BE `-`.
pub fn encode(name: &str, out: &mut Vec<u8>) {
    let mut units: Vec<u8> = Vec::new();
    for c in name.chars() {
        if matches!(c, ' '..='~') {
            shift(&mut units, out);
            out.push(c as u8);
            if c == '&' {
                out.push(b'-');
            }
        } else {
            let mut pair = [0; 2];
            units.extend(c.encode_utf16(&mut pair).iter().flat_map(|unit| unit.to_be_bytes()));
        }
    }
    shift(&mut units, out);
}

fn shift(units: &mut Vec<u8>, out: &mut Vec<u8>) {
    if units.is_empty() {
        return;
    }
    out.push(b'&');
    for group in units.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..=group.len() {
            out.push(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]);
        }
    }
    out.push(b'-');
    units.clear();
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// Decodes a name from the wire. Plain 8-bit UTF-8 is taken as it is, because apps send it; `None` for broken
/// base64, lone surrogates, bytes that are no UTF-8, and any other form than [`encode`]'s.
#[must_use]
pub fn decode(wire: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(wire).ok()?;
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, shifted)) = rest.split_once('&') {
        name.push_str(plain);
        let (base64, after) = shifted.split_once('-')?;
        if base64.is_empty() {
            name.push('&');
        } else {
            name.push_str(&unshift(base64.as_bytes())?);
        }
        rest = after;
    }
    name.push_str(rest);
    // RFC 3501 §5.1.3: what can stand for itself must, and what is shifted is shifted once; else one folder would have
    // several names on the wire.
    let mut again = Vec::with_capacity(wire.len());
    encode(&name, &mut again);
    (!wire.is_ascii() || again == wire).then_some(name)
}

fn unshift(base64: &[u8]) -> Option<String> {
    let (mut bits, mut have) = (0u32, 0);
    let mut units = Vec::new();
    for &byte in base64 {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b',' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(digit)) & 0xff_ffff;
        have += 6;
        if have >= 16 {
            have -= 16;
            units.push((bits >> have & 0xffff) as u16);
        }
    }
    // What is left over is padding: less than one digit, and zero.
    if have >= 6 || bits & ((1 << have) - 1) != 0 {
        return None;
    }
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(name: &str) -> String {
        let mut out = Vec::new();
        encode(name, &mut out);
        String::from_utf8(out).unwrap()
    }

    // RFC 3501 §5.1.3, and names as mail apps send them.
    const KNOWN: &[(&str, &str)] = &[
        ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
        ("Entwürfe", "Entw&APw-rfe"),
        ("Gelöschte Objekte", "Gel&APY-schte Objekte"),
        ("A&B", "A&-B"),
        ("&", "&-"),
        ("Отправленные", "&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-"),
        ("📬", "&2D3c7A-"),
        ("", ""),
    ];

    #[test]
    fn known_names() {
        for (name, wire) in KNOWN {
            assert_eq!(encoded(name), *wire);
            assert_eq!(decode(wire.as_bytes()).as_deref(), Some(*name));
        }
    }

    #[test]
    fn broken_names() {
        for bad in
            ["&", "&A-", "&AA-", "&AAA", "&2D0-", "&AGEA-", "&AGE-", "&ACY-", "A&B", "&Jjo!-", "&AOk-&AOg-", "a\tb"]
        {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(name in any::<String>()) {
            let wire = encoded(&name);
            prop_assert!(wire.bytes().all(|b| (b' '..=b'~').contains(&b)));
            prop_assert_eq!(decode(wire.as_bytes()), Some(name));
        }

        #[test]
        fn decoding_never_panics(wire in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&wire);
        }
    }
}
