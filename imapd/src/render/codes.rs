//! Status lines and the small untagged responses.

use super::text::{folder_name, nil_or_string, number, string};
use crate::sequence::write_set;

/// `TAG OK text`: `what` is the rest of the line, e.g. `OK [READ-ONLY] EXAMINE completed`.
pub fn tagged(out: &mut Vec<u8>, tag: &str, what: &str) {
    line(out, &[tag.as_bytes(), b" ", what.as_bytes()]);
}

/// `* what`.
pub fn untagged(out: &mut Vec<u8>, what: &str) {
    line(out, &[b"* ", what.as_bytes()]);
}

/// `* BYE why`.
pub fn bye(out: &mut Vec<u8>, why: &str) {
    line(out, &[b"* BYE ", why.as_bytes()]);
}

/// `+ text`, for literals, IDLE and SASL challenges (already base64); the space stays even when there is no text.
pub fn continuation(out: &mut Vec<u8>, text: &[u8]) {
    line(out, &[b"+ ", text]);
}

fn line(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
}

/// `* CAPABILITY ...` (RFC 3501 §7.2.1); `IMAP4rev1` is put first.
pub fn capability(out: &mut Vec<u8>, names: &[&str]) {
    out.extend_from_slice(b"* CAPABILITY IMAP4rev1");
    for name in names {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// `* ID (...)` (RFC 2971 §3.2); no pairs are NIL.
pub fn id(out: &mut Vec<u8>, pairs: &[(&str, Option<&str>)]) {
    out.extend_from_slice(b"* ID ");
    if pairs.is_empty() {
        out.extend_from_slice(b"NIL\r\n");
        return;
    }
    for (at, (field, value)) in pairs.iter().enumerate() {
        out.push(if at == 0 { b'(' } else { b' ' });
        string(out, field.as_bytes());
        out.push(b' ');
        nil_or_string(out, value.map(str::as_bytes));
    }
    out.extend_from_slice(b")\r\n");
}

/// `* NAMESPACE (("" "/")) NIL NIL` (RFC 2342 §5): one personal namespace.
pub fn namespace(out: &mut Vec<u8>) {
    out.extend_from_slice(b"* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
}

/// `* QUOTA "" (STORAGE used limit)` (RFC 9208 §5.1), given in bytes and told in units of 1,024: used rounded up.
pub fn quota(out: &mut Vec<u8>, used: u64, limit: u64) {
    out.extend_from_slice(b"* QUOTA \"\" (STORAGE ");
    number(out, used.div_ceil(1024));
    out.push(b' ');
    number(out, limit / 1024);
    out.extend_from_slice(b")\r\n");
}

/// `* QUOTAROOT folder ""` (RFC 9208 §5.2): every folder has the one root.
pub fn quota_root(out: &mut Vec<u8>, folder: &str) {
    out.extend_from_slice(b"* QUOTAROOT ");
    folder_name(out, folder);
    out.extend_from_slice(b" \"\"\r\n");
}

/// `[COPYUID validity from to]` (RFC 4315 §3), without a line: for a tagged OK (COPY) or an untagged one (MOVE).
pub fn copied(out: &mut Vec<u8>, uid_validity: u32, from: &[(u32, u32)], to: &[(u32, u32)]) {
    out.extend_from_slice(b"[COPYUID ");
    number(out, u64::from(uid_validity));
    out.push(b' ');
    write_set(out, from);
    out.push(b' ');
    write_set(out, to);
    out.push(b']');
}

/// `[APPENDUID validity uid]` (RFC 4315 §3), without a line.
pub fn appended(out: &mut Vec<u8>, uid_validity: u32, uid: u32) {
    out.extend_from_slice(b"[APPENDUID ");
    number(out, u64::from(uid_validity));
    out.push(b' ');
    number(out, u64::from(uid));
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines() {
        assert_eq!(shown(|out| tagged(out, "a1", "OK done")), "a1 OK done\r\n");
        assert_eq!(shown(|out| continuation(out, b"")), "+ \r\n");
        assert_eq!(shown(|out| capability(out, &["IDLE"])), "* CAPABILITY IMAP4rev1 IDLE\r\n");
        assert_eq!(shown(|out| id(out, &[])), "* ID NIL\r\n");
        let pairs = [("name", Some("Postern")), ("x", None)];
        assert_eq!(shown(|out| id(out, &pairs)), "* ID (\"name\" \"Postern\" \"x\" NIL)\r\n");
        assert_eq!(shown(|out| quota(out, 1, 10_240)), "* QUOTA \"\" (STORAGE 1 10)\r\n");
        assert_eq!(shown(|out| quota_root(out, "Entwürfe")), "* QUOTAROOT \"Entw&APw-rfe\" \"\"\r\n");
        assert_eq!(shown(|out| copied(out, 7, &[(1, 3), (9, 9)], &[(20, 23)])), "[COPYUID 7 1:3,9 20:23]");
        assert_eq!(shown(|out| appended(out, 7, 24)), "[APPENDUID 7 24]");
    }
}
