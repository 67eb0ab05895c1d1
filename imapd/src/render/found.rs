//! `* SEARCH` (RFC 3501 §7.2.5) and `* ESEARCH` (RFC 4731 §3.1).

use super::text::number;
use crate::command::Returns;
use crate::sequence::{compact, write_set};

/// `* SEARCH 2 3 6`; the line comes also when nothing was found.
pub fn search(out: &mut Vec<u8>, found: &[u32]) {
    out.extend_from_slice(b"* SEARCH");
    for &n in found {
        out.push(b' ');
        number(out, u64::from(n));
    }
    out.extend_from_slice(b"\r\n");
}

/// `* ESEARCH (TAG "a1") UID MIN 2 MAX 6 ALL 2:3,6 COUNT 3`; `found` ascending. Of nothing, only COUNT is told.
pub fn esearch(out: &mut Vec<u8>, tag: &str, uid: bool, returns: Returns, found: &[u32]) {
    out.extend_from_slice(b"* ESEARCH (TAG \"");
    out.extend_from_slice(tag.as_bytes());
    out.extend_from_slice(b"\")");
    if uid {
        out.extend_from_slice(b" UID");
    }
    let ends = [(returns.min, &b" MIN "[..], found.first()), (returns.max, b" MAX ", found.last())];
    for (asked, name, value) in ends {
        if let (true, Some(&value)) = (asked, value) {
            out.extend_from_slice(name);
            number(out, u64::from(value));
        }
    }
    if returns.all && !found.is_empty() {
        out.extend_from_slice(b" ALL ");
        write_set(out, &compact(found.iter().copied()));
    }
    if returns.count {
        out.extend_from_slice(b" COUNT ");
        number(out, found.len() as u64);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    // RFC 4731 §4.
    #[test]
    fn lines() {
        let every = Returns { min: true, max: true, all: true, count: true };
        assert_eq!(shown(|out| search(out, &[2, 3, 6])), "* SEARCH 2 3 6\r\n");
        assert_eq!(shown(|out| search(out, &[])), "* SEARCH\r\n");
        let line = "* ESEARCH (TAG \"A283\") UID MIN 2 MAX 11 ALL 2,10:11 COUNT 3\r\n";
        assert_eq!(shown(|out| esearch(out, "A283", true, every, &[2, 10, 11])), line);
        assert_eq!(shown(|out| esearch(out, "a", false, every, &[])), "* ESEARCH (TAG \"a\") COUNT 0\r\n");
        let all = Returns { all: true, ..Returns::default() };
        assert_eq!(shown(|out| esearch(out, "a", true, all, &[])), "* ESEARCH (TAG \"a\") UID\r\n");
    }
}
