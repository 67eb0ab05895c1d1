//! Flags (RFC 3501 §2.3.2, §7.2.6).

use spool::edges::mailbox::flag;

const SYSTEM: [(u8, &[u8]); 5] = [
    (flag::ANSWERED, b"\\Answered"),
    (flag::FLAGGED, b"\\Flagged"),
    (flag::DELETED, b"\\Deleted"),
    (flag::SEEN, b"\\Seen"),
    (flag::DRAFT, b"\\Draft"),
];

/// Appends `(\Seen $Forwarded \Recent)`: system bits, bits into the keyword table, and whether \Recent.
pub fn flags(out: &mut Vec<u8>, system: u8, keywords: u64, table: &[String], recent: bool) {
    out.push(b'(');
    let start = out.len();
    for (bit, name) in SYSTEM {
        if system & bit != 0 {
            word(out, start, name);
        }
    }
    if recent {
        word(out, start, b"\\Recent");
    }
    let mut left = keywords;
    while left != 0 {
        if let Some(name) = table.get(left.trailing_zeros() as usize) {
            word(out, start, name.as_bytes());
        }
        left &= left - 1;
    }
    out.push(b')');
}

fn word(out: &mut Vec<u8>, start: usize, name: &[u8]) {
    if out.len() > start {
        out.push(b' ');
    }
    out.extend_from_slice(name);
}

/// `* FLAGS (...)`: all that exist in the folder.
pub fn flags_line(out: &mut Vec<u8>, table: &[String]) {
    out.extend_from_slice(b"* FLAGS ");
    flags(out, u8::MAX, u64::MAX, table, false);
    out.extend_from_slice(b"\r\n");
}

/// `* OK [PERMANENTFLAGS (...)]`: what may be set for good; with `\*` while the table has room, nothing when read-only.
pub fn permanent_flags(out: &mut Vec<u8>, table: &[String], read_only: bool, room: bool) {
    out.extend_from_slice(b"* OK [PERMANENTFLAGS ");
    if read_only {
        out.extend_from_slice(b"()");
    } else {
        flags(out, u8::MAX, u64::MAX, table, false);
        if room {
            out.pop();
            out.extend_from_slice(b" \\*)");
        }
    }
    out.extend_from_slice(b"] Flags that stay\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let table = ["$Forwarded".to_owned(), "Junk".to_owned()];
        let shown = |system, keywords, recent| {
            let mut out = Vec::new();
            flags(&mut out, system, keywords, &table, recent);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(0, 0, false), "()");
        assert_eq!(shown(flag::SEEN | flag::DELETED, 0, true), "(\\Deleted \\Seen \\Recent)");
        assert_eq!(shown(0, 0b10, false), "(Junk)");
        assert_eq!(shown(0, u64::MAX, false), "($Forwarded Junk)");
        let mut out = Vec::new();
        permanent_flags(&mut out, &[], false, true);
        let line = b"* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] Flags that stay\r\n";
        assert_eq!(out, line);
    }
}
