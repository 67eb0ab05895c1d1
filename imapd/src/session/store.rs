//! STORE (RFC 3501 §6.4.6).

use std::collections::HashMap;

use spool::edges::limits::RANGES;
use spool::edges::mailbox::{Change, Fact, Request};

use super::{Done, Session};
use crate::answer::Answer;
use crate::command::Flags;
use crate::sequence::SequenceSet;
use crate::view::View;

pub(super) async fn run(
    session: &mut Session,
    uid: bool,
    set: &SequenceSet,
    change: Change,
    silent: bool,
    flags: Flags,
) -> Done {
    let folder = session.writable()?;
    let picked = session.pick(uid, set)?;
    let view = session.view()?;
    let uids: Vec<u32> = picked.iter().map(|place| view.uids()[place]).collect();
    let gone = uids.iter().any(|uid| view.facts().get(*uid).is_none());
    let before = if silent { expected(view, &uids, change, &flags) } else { HashMap::new() };
    let ranges = picked.uid_set(view.uids());
    for uids in ranges.chunks(RANGES) {
        let (system, keywords) = (flags.system, flags.keywords.clone());
        let request = Request::Store { folder, uids: uids.to_vec(), change, flags: system, keywords };
        session.keeper.order(request).await?;
    }
    let view = session.view()?;
    if silent {
        silence(view, &before);
    } else {
        uids.into_iter().for_each(|uid| view.mention(uid));
    }
    if gone && !uid {
        return Err(Answer::no("EXPUNGEISSUED", "Some of these letters are gone").into());
    }
    Ok(Answer::ok("Stored"))
}

/// What a client that said .SILENT believes the flags to be afterwards: what it knows, changed. Only letters whose
/// last change it has been told of: what others changed meanwhile must be told in any case (RFC 3501 §6.4.6).
fn expected(view: &View, uids: &[u32], change: Change, flags: &Flags) -> HashMap<u32, (u8, u64)> {
    let facts = view.facts();
    let named = |name: &String| facts.keywords().iter().position(|known| known.eq_ignore_ascii_case(name));
    // A keyword that is new gets the next bit only now; its letters are told, which does no harm.
    let bits: u64 = flags.keywords.iter().filter_map(named).fold(0, |bits, bit| bits | 1 << bit);
    let known = |fact: &&Fact| fact.modseq <= view.modseq() && !view.is_pending(fact.uid);
    uids.iter()
        .filter_map(|uid| facts.get(*uid))
        .filter(known)
        .map(|fact| {
            let after = match change {
                Change::Add => (fact.flags | flags.system, fact.keywords | bits),
                Change::Remove => (fact.flags & !flags.system, fact.keywords & !bits),
                Change::Replace => (flags.system, bits),
            };
            (fact.uid, after)
        })
        .collect()
}

fn silence(view: &mut View, expected: &HashMap<u32, (u8, u64)>) {
    for (uid, (flags, keywords)) in expected {
        let as_expected = view.facts().get(*uid).is_some_and(|fact| fact.flags == *flags && fact.keywords == *keywords);
        if as_expected {
            view.silence(*uid);
        }
    }
}
