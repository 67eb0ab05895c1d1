//! `* STATUS` (RFC 3501 §7.2.4).

use spool::edges::mailbox::Folder;

use super::text::{folder_name, number};
use crate::command::StatusItems;

/// One folder's line; `largest` is the largest message that APPEND takes, into any of them.
pub fn status(out: &mut Vec<u8>, folder: &Folder, items: StatusItems, largest: u32) {
    out.extend_from_slice(b"* STATUS ");
    folder_name(out, &folder.name);
    out.extend_from_slice(b" (");
    let asked: [(bool, &[u8], u64); 8] = [
        (items.messages, b"MESSAGES ", u64::from(folder.messages)),
        (items.recent, b"RECENT ", u64::from(folder.recent)),
        (items.uid_next, b"UIDNEXT ", u64::from(folder.uid_next)),
        (items.uid_validity, b"UIDVALIDITY ", u64::from(folder.uid_validity)),
        (items.unseen, b"UNSEEN ", u64::from(folder.unseen)),
        (items.deleted, b"DELETED ", u64::from(folder.deleted)),
        (items.size, b"SIZE ", folder.bytes),
        (items.append_limit, b"APPENDLIMIT ", u64::from(largest)),
    ];
    let mut first = true;
    for (_, name, value) in asked.iter().filter(|item| item.0) {
        if !std::mem::take(&mut first) {
            out.push(b' ');
        }
        out.extend_from_slice(name);
        number(out, *value);
    }
    out.extend_from_slice(b")\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use spool::names::FolderId;

    #[test]
    fn a_line() {
        let folder = Folder {
            id: FolderId(1),
            name: "a \"b\"".to_owned(),
            uid_validity: 5,
            uid_next: 10,
            special_use: None,
            messages: 3,
            unseen: 2,
            recent: 1,
            deleted: 0,
            bytes: 5_000_000_000,
            modseq: 1,
        };
        let items = StatusItems { messages: true, unseen: true, size: true, ..StatusItems::default() };
        let mut out = Vec::new();
        status(&mut out, &folder, items, 1);
        assert_eq!(out, b"* STATUS \"a \\\"b\\\"\" (MESSAGES 3 UNSEEN 2 SIZE 5000000000)\r\n");
    }
}
