//! The commands about what waits to leave.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use crate::commit::With;
use crate::edges::admin::{QueuedInfo, Reply, Rest};
use crate::edges::outbox::limits::PACKET;
use crate::edges::outbox::{Outgoing, OutgoingRecipient, Said, State};
use crate::index::Index;
use crate::journal::record::Record;
use crate::keeper::house::{House, now};
use crate::names::LetterId;

use super::lists::shares;
use super::{Asked, NotDone, Outcome, commit};

/// Bytes of a far server's words in a list: a hundred recipients must fit into one packet.
const WORDS: usize = 240;
/// Bytes of why destinations rest, in the entry of one letter: the rest of a packet is for its recipients.
const RESTS: usize = 4 * 1024;
/// Letters made due by one entry.
const AT_ONCE: usize = 1_000;

pub(super) fn list(asked: &Asked) -> Reply {
    let infos: Vec<_> = {
        let core = asked.house.committer.lock();
        // What is kept back does not begin any more.
        let at = |letter, held| match held {
            true => asked.house.under_way.begun(letter),
            false => asked.house.under_way.of(letter),
        };
        let info = |(letter, outgoing): (LetterId, &Outgoing)| QueuedInfo {
            under_way: under_way(outgoing, &at(letter, outgoing.held)),
            resting: resting(&asked.house, outgoing),
            ..info(&core.index, letter, outgoing)
        };
        let mut all: Vec<_> = core.index.waiting().all().map(info).collect();
        all.sort_by_key(|info| info.queued);
        all
    };
    shares(asked, infos, |some, more| Reply::Queue { some, more })
}

/// Those who still wait, of the recipients at these destinations.
fn under_way(outgoing: &Outgoing, destinations: &[String]) -> Vec<u16> {
    let leaves = |one: &OutgoingRecipient| {
        matches!(one.state, State::Waiting { .. }) && destinations.contains(&one.destination())
    };
    outgoing.recipients.iter().zip(0..).filter(|(one, _)| leaves(one)).map(|(_, number)| number).collect()
}

/// Those who still wait at destinations that rest.
fn resting(house: &House, outgoing: &Outgoing) -> Vec<(Vec<u16>, Rest)> {
    let (now, mut room, mut found) = (now(), RESTS, BTreeMap::<String, (Vec<u16>, Rest)>::new());
    let waiting = outgoing.recipients.iter().zip(0..).filter(|(one, _)| matches!(one.state, State::Waiting { .. }));
    for (one, number) in waiting {
        let destination = one.destination();
        if let Some((numbers, _)) = found.get_mut(&destination) {
            numbers.push(number);
            continue;
        }
        let Some(rest) = house.rests.of(&destination, outgoing.passed_on, now).filter(|rest| rest.why.len() <= room)
        else {
            continue;
        };
        room -= rest.why.len();
        found.insert(destination, (vec![number], rest));
    }
    found.into_values().collect()
}

fn info(index: &Index, letter: LetterId, outgoing: &Outgoing) -> QueuedInfo {
    let profile = index.mailbox(outgoing.mailbox).map(crate::index::Mailbox::profile);
    // The addresses of a hundred, as long as they may be, are half a packet.
    let weight: usize =
        outgoing.recipients.iter().map(|one| one.address.len() + one.state.weight().min(2 * WORDS)).sum();
    let words = if weight > PACKET { 0 } else { WORDS };
    let recipients = outgoing.recipients.iter().map(|one| (one.address.clone(), shortened(one.state.clone(), words)));
    QueuedInfo {
        letter,
        mailbox: profile.filter(|_| !outgoing.passed_on).map(|profile| profile.address.clone()),
        sender: outgoing.sender.clone(),
        queued: outgoing.queued,
        size: outgoing.size,
        held: outgoing.held || !outgoing.passed_on && profile.is_some_and(|profile| profile.suspended),
        passed_on: outgoing.passed_on,
        under_way: Vec::new(),
        resting: Vec::new(),
        recipients: recipients.collect(),
    }
}

fn shortened(mut state: State, words: usize) -> State {
    let cut = |said: &mut Said| {
        said.by.take_if(|(host, _)| host.len() > words);
        let end = (0..=said.words.len().min(words)).rev().find(|at| said.words.is_char_boundary(*at));
        said.words.truncate(end.unwrap_or(0));
    };
    match &mut state {
        State::Waiting { last: Some(last), .. } | State::Untold { last, .. } => cut(last),
        State::Waiting { last: None, .. } | State::Done { .. } => {}
    }
    state
}

pub(super) fn retry(house: &House, letter: Option<LetterId>) -> Outcome {
    let letters = match letter {
        Some(letter) => vec![free(house, known(house, letter)?)?],
        None => {
            let core = house.committer.lock();
            core.index.waiting().all().filter(|(_, outgoing)| !outgoing.held).map(|(letter, _)| letter).collect()
        }
    };
    let at = now();
    house.hurried.fetch_add(1, Ordering::Relaxed);
    for some in letters.chunks(AT_ONCE) {
        commit(house, some.iter().map(|letter| Record::Hurried { letter: *letter, at }).collect(), false)?;
    }
    Ok(Reply::Done)
}

pub(super) fn hold(house: &House, letter: LetterId, on: bool) -> Outcome {
    let reply = change(house, letter, Record::Held { letter, on }, false)?;
    if on {
        return Ok(reply);
    }
    free(house, letter)?;
    Ok(Reply::Done)
}

pub(super) fn give_up(house: &House, letter: LetterId) -> Outcome {
    change(house, letter, Record::Dropped { letter }, true)
}

/// What the courier has not begun to hand over stays here from now on: it asks under the same lock.
fn change(house: &House, letter: LetterId, record: Record, frees: bool) -> Outcome {
    let (number, begun) = {
        let mut core = house.committer.lock();
        if core.index.waiting().get(letter).is_none() {
            return Err(unknown(letter));
        }
        let taken = house.committer.take(&mut core, vec![record], &With { letters: &[], frees });
        (taken.map_err(NotDone::NotTaken)?, house.under_way.begun(letter))
    };
    if !house.committer.wait(number) {
        return Err(NotDone::Unknown.into());
    }
    Ok(if begun.is_empty() { Reply::Done } else { Reply::UnderWay(begun) })
}

/// A letter that nobody keeps back.
fn free(house: &House, letter: LetterId) -> Result<LetterId, String> {
    let core = house.committer.lock();
    let Some(outgoing) = core.index.waiting().get(letter) else { return Ok(letter) };
    if outgoing.held {
        return Err(format!("letter {letter} is kept back; to let it go: postern queue release {letter}"));
    }
    match core.index.mailbox(outgoing.mailbox).map(|mailbox| mailbox.profile()) {
        Some(profile) if profile.suspended && !outgoing.passed_on => {
            let address = &profile.address;
            Err(format!("letter {letter} waits while {address} is suspended: postern mailbox suspend --lift {address}"))
        }
        _ => Ok(letter),
    }
}

fn known(house: &House, letter: LetterId) -> Result<LetterId, String> {
    let is_known = house.committer.lock().index.waiting().get(letter).is_some();
    if is_known { Ok(letter) } else { Err(unknown(letter)) }
}

fn unknown(letter: LetterId) -> String {
    format!("no letter {letter} waits to leave")
}
