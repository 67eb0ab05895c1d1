//! A parameter's value in pieces (RFC 2231 §3), as the one parameter that it is: BODYSTRUCTURE names it so (§6).

use super::texts::Texts;
use crate::report::{Parameters, is_token};

/// `name*0`, `name*1` as `name`; once one of them is encoded (`name*1*`), all as `name*`. They come first: where a plain
/// one of that name is there, too, it is for readers that know no pieces. What follows a gap stays as written.
pub(super) fn joined(parameters: Parameters, texts: &mut Texts) -> Parameters {
    let first = |name: &[u8]| piece(name).filter(|piece| piece.number == 0).map(|piece| piece.of.to_vec());
    let mut names: Vec<Vec<u8>> = parameters.iter().filter_map(|(name, _)| first(name)).collect();
    names.iter_mut().for_each(|name| name.make_ascii_lowercase());
    names.sort_unstable();
    names.dedup();
    let (mut all, mut left) = (Parameters::new(), parameters);
    for name in names {
        let pieces = taken(&mut left, &name);
        if let Some((name, value)) = whole(name, &pieces) {
            all.push((name, texts.keep(value)));
        }
    }
    all.append(&mut left);
    all
}

struct Piece<'n> {
    of: &'n [u8],
    number: usize,
    encoded: bool,
}

/// `name*3` or `name*3*`.
fn piece(name: &[u8]) -> Option<Piece<'_>> {
    let (name, encoded) = name.strip_suffix(b"*").map_or((name, false), |name| (name, true));
    let star = name.iter().rposition(|b| *b == b'*').filter(|star| *star > 0)?;
    let number = std::str::from_utf8(&name[star + 1..]).ok()?;
    let is_number = number == "0" || number.starts_with(|c: char| matches!(c, '1'..='9'));
    Some(Piece { of: &name[..star], number: number.parse().ok().filter(|_| is_number)?, encoded })
}

/// The pieces of that name, in their order, each with whether it is encoded.
fn taken(parameters: &mut Parameters, name: &[u8]) -> Vec<(bool, Vec<u8>)> {
    let mut pieces = Vec::new();
    loop {
        let is_next = |piece: &Piece<'_>| piece.number == pieces.len() && piece.of.eq_ignore_ascii_case(name);
        let encoded = |written: &[u8]| piece(written).filter(is_next).map(|piece| piece.encoded);
        let found = parameters.iter().enumerate().find_map(|(at, (written, _))| Some((at, encoded(written)?)));
        let Some((at, encoded)) = found else { return pieces };
        pieces.push((encoded, parameters.remove(at).1));
    }
}

/// `None` of none.
fn whole(name: Vec<u8>, pieces: &[(bool, Vec<u8>)]) -> Option<(Vec<u8>, Vec<u8>)> {
    let ((starts_encoded, _), any) = (pieces.first()?, pieces.iter().any(|(encoded, _)| *encoded));
    if !any {
        return Some((name, pieces.iter().flat_map(|(_, value)| value.clone()).collect()));
    }
    // §4: what is encoded begins with its charset and language, both of which may be left out.
    let mut all = if *starts_encoded { Vec::new() } else { b"''".to_vec() };
    for (encoded, value) in pieces {
        if *encoded { all.extend_from_slice(value) } else { escape(value, &mut all) }
    }
    Some(([name.as_slice(), b"*"].concat(), all))
}

/// `%20`, where a plain piece has what an encoded one may not.
fn escape(plain: &[u8], into: &mut Vec<u8>) {
    for byte in plain {
        if is_token(*byte) && !b"*'%".contains(byte) {
            into.push(*byte);
        } else {
            into.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined_of(written: &[(&str, &str)]) -> Vec<(String, String)> {
        let bytes = written.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        joined(bytes, &mut Texts::new()).into_iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    fn of(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn pieces_are_one_parameter() {
        let plain = [("charset", "utf-8"), ("NAME*1", "cd"), ("name*0", "ab"), ("name*2", "e")];
        assert_eq!(joined_of(&plain), of(&[("name", "abcde"), ("charset", "utf-8")]));
        let encoded = [("name*0*", "utf-8'en'%C3%A9"), ("name*1", " 50%*'"), ("name*2*", "%20b")];
        assert_eq!(joined_of(&encoded), of(&[("name*", "utf-8'en'%C3%A9%2050%25%2A%27%20b")]));
        assert_eq!(joined_of(&[("name*0", "a b"), ("name*1*", "%20c")]), of(&[("name*", "''a%20b%20c")]));
    }

    #[test]
    fn what_is_no_piece_stays_as_written() {
        for written in [
            vec![("name", "a"), ("name*", "utf-8''b")],
            vec![("name*1", "b"), ("name*2", "c")],
            vec![("*0", "a"), ("name*", "x"), ("name**", "y"), ("name*00", "a"), ("name*+0", "a")],
            vec![("name*18446744073709551616", "a")],
        ] {
            assert_eq!(joined_of(&written), of(&written));
        }
        let gap = [("name*0", "a"), ("name*2", "c"), ("name*0", "again")];
        assert_eq!(joined_of(&gap), of(&[("name", "a"), ("name*2", "c"), ("name*0", "again")]));
        assert_eq!(joined_of(&[("name", "old"), ("name*0", "new")]), of(&[("name", "new"), ("name", "old")]));
    }
}
