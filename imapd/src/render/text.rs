//! Strings and numbers (RFC 3501 §4).

use crate::grammar::utf7;
use crate::limits;

/// Appends a number in decimal.
pub fn number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a string: quoted when it may be, else a literal. NUL, which neither can carry, is left out.
pub fn string(out: &mut Vec<u8>, text: &[u8]) {
    if text.len() <= limits::QUOTED && text.iter().all(|&b| matches!(b, b'\t' | b' '..=b'~')) {
        quoted(out, text);
    } else {
        let nuls = text.iter().filter(|&&b| b == 0).count();
        out.push(b'{');
        number(out, (text.len() - nuls) as u64);
        out.extend_from_slice(b"}\r\n");
        out.extend(text.iter().filter(|&&b| b != 0));
    }
}

fn quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&b| matches!(b, b'"' | b'\\')) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        out.push(b'\\');
        // Nothing is special behind its own backslash.
        let (first, behind) = special.split_at(1);
        out.extend_from_slice(first);
        rest = behind;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// RFC 3501 §9 `nstring`.
pub fn nil_or_string(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => string(out, text),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Appends a folder's name in modified UTF-7, quoted.
pub fn folder_name(out: &mut Vec<u8>, name: &str) {
    let mut wire = Vec::with_capacity(name.len());
    utf7::encode(name, &mut wire);
    string(out, &wire);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rendered(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        string(&mut out, text);
        out
    }

    #[test]
    fn strings() {
        assert_eq!(rendered(b""), b"\"\"");
        assert_eq!(rendered(b"a \"b\" \\ c"), br#""a \"b\" \\ c""#);
        assert_eq!(rendered(b"\"\""), br#""\"\"""#);
        assert_eq!(rendered(b"a\r\nb"), b"{4}\r\na\r\nb");
        assert_eq!(rendered("é\0".as_bytes()), "{2}\r\né".as_bytes());
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(text in prop::collection::vec(1u8.., 0..50)) {
            let command = [b"a LOGIN ".as_slice(), &rendered(&text), b" b"].concat();
            let parsed = crate::grammar::parse(&command).map(|tagged| tagged.command);
            let login = crate::command::Command::Login { name: text, password: b"b".to_vec().into() };
            prop_assert_eq!(parsed, Ok(login));
        }

        #[test]
        fn numbers(n: u64) {
            let mut out = Vec::new();
            number(&mut out, n);
            prop_assert_eq!(out, n.to_string().into_bytes());
        }
    }
}
