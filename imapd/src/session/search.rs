//! SEARCH (RFC 3501 §6.4.4, RFC 4731). Facts first, then summaries, and letters only for what neither can tell: those
//! are read by one worker for the whole command.

use std::cell::RefCell;
use std::sync::Arc;

use filter_sandbox::filter::Searcher;
use spool::edges::mailbox::Fact;
use tokio::sync::mpsc;
use tracing::warn;

use super::{Done, Ended, Session, Stop};
use crate::answer::Answer;
use crate::command::Returns;
use crate::letters::{Digest, Piece, Wanted};
use crate::limits;
use crate::pipeline::{Feeder, Letter, Named, beside};
use crate::render;
use crate::search::{Key, Plan, Verdict, View};
use crate::summaries::Cache;

/// A letter that is not decided yet.
#[derive(Debug, Clone, Copy)]
struct Open {
    number: u32,
    fact: Fact,
    /// What a worker is told of it.
    known: u64,
}

impl Open {
    const fn named(&self) -> Named {
        (self.fact.letter, self.fact.size)
    }
}

/// What one stage brought.
#[derive(Debug, Default)]
struct Sifted {
    found: Vec<(u32, u32)>,
    open: Vec<Open>,
    unreadable: Vec<u32>,
}

pub(super) async fn run(session: &mut Session, tag: &str, uid: bool, returns: Option<Returns>, key: &Key) -> Done {
    let (plan, mut sifted) = by_facts(session, key)?;
    if plan.needs_summary() && !sifted.open.is_empty() {
        by_summaries(session, &plan, &mut sifted).await?;
    }
    if !sifted.open.is_empty() {
        by_text(session, &plan, &mut sifted).await?;
    }
    for uid in &sifted.unreadable {
        session.client.say(&format!("* NO [ALERT] The letter with UID {uid} cannot be read, and was not searched\r\n"));
    }
    sifted.found.sort_unstable();
    let found: Vec<u32> = sifted.found.iter().map(|(number, of)| if uid { *of } else { *number }).collect();
    let out = &mut session.client.out;
    match returns {
        Some(returns) => render::esearch(out, tag, uid, returns, &found),
        None => render::search(out, &found),
    }
    Ok(Answer::ok("That is all"))
}

fn by_facts(session: &mut Session, key: &Key) -> Result<(Plan, Sifted), Stop> {
    let view = session.view()?;
    let facts = view.facts();
    let seen = View {
        exists: view.exists(),
        last_uid: view.uids().last().copied().unwrap_or(0),
        recent: view.recent_ranges(),
        keywords: facts.keywords(),
    };
    let plan = Plan::new(key, &seen);
    let mut sifted = Sifted::default();
    for (number, uid) in (1..).zip(view.uids()) {
        let Some(fact) = facts.get(*uid) else { continue };
        match plan.by_fact(number, fact) {
            Verdict::Yes => sifted.found.push((number, *uid)),
            Verdict::No => {}
            Verdict::Unknown => sifted.open.push(Open { number, fact: *fact, known: plan.known(number, fact, None) }),
        }
    }
    Ok((plan, sifted))
}

async fn by_summaries(session: &mut Session, plan: &Plan, sifted: &mut Sifted) -> Result<(), Stop> {
    let open = std::mem::take(&mut sifted.open);
    let names: Vec<Named> = open.iter().map(Open::named).collect();
    let owner = &session.owner;
    let cache = owner.cache()?;
    let (keeper, ears) = session.keeper.parts();
    let wanted = Arc::new(Wanted { summary: true, ..Wanted::default() });
    let feeder = Feeder { mailbox: owner.mailbox, keeper, identities: owner.identities(), wanted, cache: &cache };
    let (to, mut from) = mpsc::channel(limits::LETTERS_AHEAD);
    let telling = sift(&open, plan, &mut from, &cache, sifted);
    ears.while_waiting(beside(&feeder, &names, to, telling)).await.map_err(Stop::End)
}

async fn sift(
    open: &[Open],
    plan: &Plan,
    from: &mut mpsc::Receiver<Letter>,
    cache: &RefCell<Cache>,
    sifted: &mut Sifted,
) -> Result<(), Ended> {
    for letter in open {
        let (number, fact) = (letter.number, &letter.fact);
        let Some(digest) = digest(letter, from.recv().await.ok_or(Ended::KeeperGone)?, cache).await else {
            sifted.unreadable.push(fact.uid);
            continue;
        };
        match plan.by_summary(number, fact, &digest) {
            Verdict::Yes => sifted.found.push((number, fact.uid)),
            Verdict::No => {}
            Verdict::Unknown => {
                let known = plan.known(number, fact, Some(&digest));
                sifted.open.push(Open { known, ..*letter });
            }
        }
    }
    Ok(())
}

async fn digest(open: &Open, letter: Letter, cache: &RefCell<Cache>) -> Option<Digest> {
    match letter {
        Letter::Cached(digest) => Some(digest),
        Letter::Missing => None,
        Letter::Opening(mut pieces) => match pieces.recv().await {
            Some(Piece::Head(head)) => {
                cache.borrow_mut().add(open.fact.letter, &head.fresh);
                head.digest
            }
            _ => None,
        },
    }
}

async fn by_text(session: &mut Session, plan: &Plan, sifted: &mut Sifted) -> Result<(), Stop> {
    let not_now = || Answer::no("UNAVAILABLE", "The letters cannot be searched now; try again");
    let query = plan.query().map_err(|_| Answer::no("LIMIT", "Too many different conditions"))?;
    let (Some(query), Some(filter)) = (query, session.owner.filter()) else { return Err(not_now().into()) };
    let mut searcher = session.keeper.during(filter.searcher(query)).await.map_err(|why| {
        warn!(session = session.number, %why, "no worker for a SEARCH");
        not_now()
    })?;
    let open = std::mem::take(&mut sifted.open);
    let names: Vec<Named> = open.iter().map(Open::named).collect();
    let owner = &session.owner;
    let cache = owner.cache()?;
    let (keeper, ears) = session.keeper.parts();
    let wanted = Arc::new(Wanted { whole: true, ..Wanted::default() });
    let feeder = Feeder { mailbox: owner.mailbox, keeper, identities: owner.identities(), wanted, cache: &cache };
    let (to, mut from) = mpsc::channel(limits::LETTERS_AHEAD);
    let telling = read(&open, &mut from, &mut searcher, sifted);
    if ears.while_waiting(beside(&feeder, &names, to, telling)).await? {
        return Ok(());
    }
    warn!(session = session.number, "the worker of a SEARCH gave up");
    Err(not_now().into())
}

/// `false` when the worker gave up.
async fn read(
    open: &[Open],
    from: &mut mpsc::Receiver<Letter>,
    searcher: &mut Searcher,
    sifted: &mut Sifted,
) -> Result<bool, Ended> {
    for letter in open {
        let uid = letter.fact.uid;
        let message = match from.recv().await.ok_or(Ended::KeeperGone)? {
            Letter::Opening(mut pieces) => whole(&mut pieces, letter.fact.size).await,
            _ => None,
        };
        let Some(message) = message else {
            sifted.unreadable.push(uid);
            continue;
        };
        let parts: Vec<&[u8]> = message.iter().map(Vec::as_slice).collect();
        match searcher.matches(letter.known, &parts).await {
            Ok(true) => sifted.found.push((letter.number, uid)),
            Ok(false) => {}
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// A whole message in pieces, or nothing: a worker never sees half a letter as if it were one.
async fn whole(pieces: &mut mpsc::Receiver<Piece>, size: u32) -> Option<Vec<Vec<u8>>> {
    let Some(Piece::Head(_)) = pieces.recv().await else { return None };
    let (mut message, mut length) = (Vec::new(), 0);
    while let Some(piece) = pieces.recv().await {
        let Piece::Bytes(bytes) = piece else { return None };
        length += bytes.len() as u64;
        message.push(bytes);
    }
    (length == u64::from(size)).then_some(message)
}
