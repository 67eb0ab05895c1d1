//! FETCH (RFC 3501 §6.4.5, §7.4.2). What the journal knows is told at once; summaries come from the cache, or with
//! bodies from the letters themselves, opened ahead of the telling.

mod plan;
mod tell;

use std::collections::BTreeSet;

use spool::edges::limits::RANGES;
use spool::edges::mailbox::{Change, Request, flag};
use tokio::sync::mpsc;

use self::plan::Plan;
use self::tell::{Teller, Told};
use super::{Done, Ended, Session, Stop};
use crate::answer::Answer;
use crate::command::Item;
use crate::limits;
use crate::peers::Unanswered;
use crate::pipeline::{Feeder, beside};
use crate::sequence::{Picked, SequenceSet};

pub(super) async fn run(session: &mut Session, uid: bool, set: &SequenceSet, items: Vec<Item>) -> Done {
    let picked = session.pick(uid, set)?;
    let plan = Plan::new(items, uid);
    let marked = if plan.reads { mark_seen(session, &picked).await? } else { BTreeSet::new() };
    let view = session.view()?;
    let targets = picked.iter().map(|place| view.uids()[place]).collect();
    let mut teller = Teller::new(view, &plan, targets, marked);
    if plan.wanted.is_some() {
        letters(session, &plan, &mut teller).await?;
    } else {
        facts(session, &mut teller).await?;
    }
    let Told { marked, gone, damaged } = teller.finish();
    let view = session.view()?;
    for (uid, modseq) in marked {
        // Told in its answer, unless it has changed again since.
        if view.facts().get(uid).is_some_and(|fact| fact.modseq == modseq) {
            view.silence(uid);
        }
    }
    Ok(match (damaged, gone && !uid) {
        (true, _) => Answer::no("CORRUPTION", "Some letters cannot be shown"),
        (false, true) => Answer::no("EXPUNGEISSUED", "Some of these letters are gone"),
        (false, false) => Answer::ok("That is all"),
    })
}

/// Reading a body sets \Seen; the change is told with the letter. A full disk does not keep anybody from reading.
async fn mark_seen(session: &mut Session, picked: &Picked) -> Result<BTreeSet<u32>, Stop> {
    let view = session.view()?;
    if view.read_only() {
        return Ok(BTreeSet::new());
    }
    let unseen = |uid: &u32| view.facts().get(*uid).is_some_and(|fact| fact.flags & flag::SEEN == 0);
    let uids: BTreeSet<u32> = picked.iter().map(|place| view.uids()[place]).filter(unseen).collect();
    let ranges = crate::sequence::compact(uids.iter().copied());
    let folder = session.writable()?;
    for uids in ranges.chunks(RANGES) {
        let (uids, change) = (uids.to_vec(), Change::Add);
        let request = Request::Store { folder, uids, change, flags: flag::SEEN, keywords: Vec::new() };
        match session.keeper.order(request).await {
            Ok(()) | Err(Unanswered::Refused(_)) => {}
            Err(Unanswered::Down) => return Err(Ended::KeeperGone.into()),
        }
    }
    Ok(uids)
}

/// Only what the journal knows.
async fn facts(session: &mut Session, teller: &mut Teller<'_>) -> Result<(), Ended> {
    while teller.next_fact(&mut session.client.out) {
        if session.client.is_full() {
            session.flush().await?;
        }
    }
    Ok(())
}

/// Summaries or bytes of letters: asked for, opened and told side by side.
async fn letters(session: &mut Session, plan: &Plan, teller: &mut Teller<'_>) -> Result<(), Stop> {
    let Some(wanted) = plan.wanted.clone() else { return Ok(()) };
    let names = teller.names();
    let (owner, client) = (&session.owner, &mut session.client);
    let cache = owner.cache()?;
    let (keeper, ears) = session.keeper.parts();
    let identities = owner.identities();
    let feeder = Feeder { mailbox: owner.mailbox, keeper, identities, wanted, cache: &cache };
    let (to, mut from) = mpsc::channel(limits::LETTERS_AHEAD);
    let telling = teller.letters(client, &mut from, &cache);
    ears.while_waiting(beside(&feeder, &names, to, telling)).await.map_err(Stop::End)
}
