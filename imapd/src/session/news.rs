//! What a client is told without having asked: letters that came or went, flags that changed.

use spool::edges::limits::KEYWORDS;

use super::Session;
use crate::render;
use crate::view::{Expunges, News, View};

/// Tells what may be told now.
pub(super) fn tell(session: &mut Session, expunges: Expunges) {
    let Some(view) = session.keeper.view() else { return };
    if !view.has_news(expunges) {
        return;
    }
    let out = &mut session.client.out;
    for news in view.news(expunges) {
        match news {
            News::Expunge(number) => line(out, number, "EXPUNGE"),
            News::Exists(number) => line(out, number, "EXISTS"),
            News::Recent(number) => line(out, number, "RECENT"),
            News::Keywords => flags(out, view),
            News::Flags { number, uid } => letter_flags(out, view, number, uid),
        }
    }
}

fn line(out: &mut Vec<u8>, number: u32, what: &str) {
    out.extend_from_slice(format!("* {number} {what}\r\n").as_bytes());
}

/// `* n FETCH (UID u FLAGS (...))`: with the UID, which RFC 9051 §7.5.2 makes a rule.
fn letter_flags(out: &mut Vec<u8>, view: &View, number: u32, uid: u32) {
    let facts = view.facts();
    if let Some(fact) = facts.get(uid) {
        out.extend_from_slice(format!("* {number} FETCH (UID {uid} FLAGS ").as_bytes());
        render::flags(out, fact.flags, fact.keywords, facts.keywords(), view.is_recent(uid));
        out.extend_from_slice(b")\r\n");
    }
}

/// FLAGS and PERMANENTFLAGS (RFC 3501 §7.2.6, §7.1).
pub(super) fn flags(out: &mut Vec<u8>, view: &View) {
    let facts = view.facts();
    let table = facts.keywords();
    render::flags_line(out, table);
    render::permanent_flags(out, table, view.read_only(), table.len() < KEYWORDS);
}
