//! `* LIST` and `* LSUB` (RFC 3501 §7.2.2-3).

use spool::edges::mailbox::SpecialUse;

use super::text::folder_name;
use crate::list::Line;

/// One line of LIST.
pub fn list_line(out: &mut Vec<u8>, line: &Line) {
    out.extend_from_slice(b"* LIST (");
    attributes(out, line);
    name(out, line);
    if line.child_info {
        out.extend_from_slice(b" (\"CHILDINFO\" (\"SUBSCRIBED\"))");
    }
    out.extend_from_slice(b"\r\n");
}

/// One line of LSUB.
pub fn lsub_line(out: &mut Vec<u8>, line: &Line) {
    out.extend_from_slice(b"* LSUB (");
    if !line.exists {
        out.extend_from_slice(b"\\Noselect");
    }
    name(out, line);
    out.extend_from_slice(b"\r\n");
}

/// The answer to LIST with an empty pattern: the delimiter, and the empty root (RFC 3501 §6.3.8).
pub fn root_line(out: &mut Vec<u8>) {
    out.extend_from_slice(b"* LIST (\\Noselect) \"/\" \"\"\r\n");
}

fn attributes(out: &mut Vec<u8>, line: &Line) {
    out.extend_from_slice(if line.children { b"\\HasChildren" } else { b"\\HasNoChildren" });
    if !line.exists {
        out.extend_from_slice(if line.extended { b" \\NonExistent" } else { b" \\Noselect" });
    }
    if line.subscribed {
        out.extend_from_slice(b" \\Subscribed");
    }
    out.extend_from_slice(match line.special_use {
        None => b"",
        Some(SpecialUse::Drafts) => b" \\Drafts",
        Some(SpecialUse::Sent) => b" \\Sent",
        Some(SpecialUse::Junk) => b" \\Junk",
        Some(SpecialUse::Trash) => b" \\Trash",
        Some(SpecialUse::Archive) => b" \\Archive",
    });
}

fn name(out: &mut Vec<u8>, line: &Line) {
    out.extend_from_slice(b") \"/\" ");
    folder_name(out, &line.name);
}
