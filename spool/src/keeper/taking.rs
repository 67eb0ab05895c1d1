//! From the pipes of one transaction to its letters and one entry of the journal, or to nothing at all.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::time::Instant;

use crate::commit::{Leading, NotTaken, With};
use crate::edges::outbox::Outgoing;
use crate::edges::{Delivered, NewLetter};
use crate::index::Index;
use crate::index::plan::{self, Arrival};
use crate::journal::record::{Placed, Record};
use crate::names::{LetterId, MailboxId, TransactionId};
use crate::store;

use super::arriving;
use super::delivering::told_full;
use super::house::{House, now};
use super::hub::Hub;
use super::intake::{self, NotIn};
use super::passing;
use super::posting::{self, Leaving};
use super::reserve::Rooms;

/// A Deliver that the table has let through.
#[derive(Debug)]
pub struct Work {
    /// Its name.
    pub transaction: TransactionId,
    /// Each with its pipe.
    pub letters: Vec<(NewLetter, OwnedFd)>,
    /// For recipients elsewhere.
    pub leaving: Option<(Leaving, OwnedFd)>,
    /// The one that waited, if it is that.
    pub waited: Option<LetterId>,
    /// What it has reserved.
    pub rooms: Rooms,
    /// From here on the sender may have given up, and told so.
    pub until: Instant,
}

/// In a thread: pipes to letters, letters to one entry.
pub fn run(house: &House, leading: &Leading<'_, Hub>, work: Work) -> (Delivered, u64) {
    let Work { transaction, letters, leaving, waited, mut rooms, until } = work;
    let (left_out, had) = {
        let core = house.committer.lock();
        let had = have_had(&core.index, waited, &letters);
        if core.index.delivered(transaction) || (had.len() == letters.len() && waited.is_some()) {
            return (Delivered::Already, core.sequence);
        }
        // The mailbox has a new key since RCPT: its sender comes again, and then seals to that.
        if letters.iter().any(|(letter, _)| !house.is_newest_generation(letter)) {
            return (Delivered::Failed, core.sequence);
        }
        let mut left_out = without_room(&core.index, house, &letters, &mut rooms);
        left_out.retain(|mailbox| !had.contains(mailbox));
        if !rooms.can_do_without(&left_out) {
            return (Delivered::MailboxFull, core.sequence);
        }
        (left_out, had)
    };
    left_out.iter().copied().for_each(told_full);
    let at = now();
    // Until it is in the journal, which counts it then, or is not after all.
    let _counted = match leaving.as_ref().map(|(leaving, _)| posting::allowed(house, leaving, at)).transpose() {
        Ok(counted) => counted.flatten(),
        Err(spent) => return (spent, 0),
    };
    let passing = leaving.as_ref().map(|(leaving, _)| passing::begin(house, leaving)).transpose();
    let stays_only = passing.is_err();
    let _passing = match (passing, &leaving) {
        (Ok(passing), _) => passing.flatten(),
        // Those here need not wait for a house that may be gone: they have their copies.
        (Err(_), Some((leaving, _))) if leaving.is_shared && left_out.is_empty() => None,
        (Err(waiting), _) => return (waiting, 0),
    };
    let mut arrivals = Vec::with_capacity(letters.len());
    let mut placed = Vec::with_capacity(letters.len());
    for (letter, pipe) in letters {
        if left_out.contains(&letter.mailbox) || had.contains(&letter.mailbox) {
            intake::pass_by(letter.size, pipe, until);
            continue;
        }
        match intake::take(house, &letter, pipe, at, until) {
            Ok(arrival) => {
                arrivals.push(arrival);
                placed.push((arrival, letter.into));
            }
            Err(why) => {
                intake::discard(house, &arrivals);
                return (failed(house, &why), 0);
            }
        }
    }
    let leaves = |(leaving, pipe): (Leaving, OwnedFd)| match stays_only {
        true => {
            intake::pass_by(leaving.size(), pipe, until);
            None
        }
        false => Some(posting::take(house, leaving, pipe, (at, until))),
    };
    let queued = match leaving.and_then(leaves) {
        None => None,
        Some(Ok(queued)) => Some(queued),
        Some(Err(why)) => {
            intake::discard(house, &arrivals);
            return (failed(house, &why), 0);
        }
    };
    let file = queued.as_ref().map(|(letter, _)| store::outgoing_path(&house.root, *letter));
    let (outcome, after) = commit((house, leading), (transaction, until, waited), at, placed, queued);
    if outcome != Delivered::Durable {
        intake::discard(house, &arrivals);
        file.into_iter().for_each(|file| drop(house.disk.remove(&file)));
    }
    (outcome, after)
}

/// The mailboxes that have had a letter that waited.
fn have_had(index: &Index, waited: Option<LetterId>, letters: &[(NewLetter, OwnedFd)]) -> HashSet<MailboxId> {
    let mailboxes = letters.iter().map(|(letter, _)| letter.mailbox);
    mailboxes.filter(|mailbox| waited.is_some_and(|waited| arriving::has_had(index, waited, *mailbox))).collect()
}

/// The mailboxes that do not hold what comes beyond what was reserved (a size is a promise, not a proof). For the others
/// it is reserved now.
fn without_room(
    index: &Index,
    house: &House,
    letters: &[(NewLetter, OwnedFd)],
    rooms: &mut Rooms,
) -> HashSet<MailboxId> {
    let mut left_out = HashSet::new();
    for (letter, _) in letters {
        let (id, comes) = (letter.mailbox, u64::from(letter.size));
        if index.mailbox(id).is_some_and(|mailbox| comes > rooms.of(id) && !rooms.grow(mailbox, id, comes)) {
            house.reserved.did_not_fit(id, comes);
            left_out.insert(id);
        }
    }
    left_out
}

fn commit(
    (house, leading): (&House, &Leading<'_, Hub>),
    (transaction, until, waited): (TransactionId, Instant, Option<LetterId>),
    at: i64,
    placed: Vec<(Arrival, crate::edges::Into)>,
    queued: Option<(LetterId, Outgoing)>,
) -> (Delivered, u64) {
    let mut core = house.committer.lock();
    if core.index.delivered(transaction) {
        return (Delivered::Already, core.sequence);
    }
    if Instant::now() >= until {
        tracing::warn!("a letter came too late: its sender may have been told that it was not taken");
        return (Delivered::Failed, core.sequence);
    }
    // Meanwhile it may have come for another of their addresses.
    let has = |(arrival, _): &(Arrival, _)| {
        waited.is_some_and(|waited| arriving::has_had(&core.index, waited, arrival.mailbox))
    };
    let (had, placed): (Vec<_>, Vec<_>) = placed.into_iter().partition(has);
    intake::discard(house, &had.into_iter().map(|(arrival, _)| arrival).collect::<Vec<_>>());
    if placed.is_empty() && waited.is_some() {
        return (Delivered::Already, core.sequence);
    }
    let fits =
        |(arrival, _): &(Arrival, _)| core.index.mailbox(arrival.mailbox).is_none_or(|found| arrival.fits(found));
    if !placed.iter().all(fits) {
        return (Delivered::MailboxFull, core.sequence);
    }
    let letters = plan::arrivals(&core.index, &placed);
    if letters.len() != placed.len() {
        // A mailbox was removed meanwhile. Asked again, its recipient is unknown.
        return (Delivered::Failed, core.sequence);
    }
    let folders: Vec<_> = letters.iter().map(|placed| (placed.mailbox, placed.letter.letter)).collect();
    let entry = match waited {
        Some(waited) => arriving::arrived(waited, at, letters),
        None => delivered(transaction, at, letters, queued),
    };
    match leading.take(&mut core, entry, &With { letters: &folders, frees: false }) {
        Ok(after) => (Delivered::Durable, after),
        Err(NotTaken::Full) => (Delivered::Full, core.sequence),
        Err(NotTaken::Failed | NotTaken::OnlyReads) => (Delivered::Failed, core.sequence),
    }
}

fn delivered(
    transaction: TransactionId,
    at: i64,
    letters: Vec<Placed>,
    queued: Option<(LetterId, Outgoing)>,
) -> Vec<Record> {
    let mailboxes: Vec<_> = letters.iter().map(|placed| placed.mailbox).collect();
    let mut entry = vec![Record::Delivered { transaction: Some(transaction), at, letters }];
    if let Some((letter, outgoing)) = queued {
        entry.push(Record::Queued { letter, outgoing: Box::new(outgoing) });
        entry.extend(arriving::have_already(letter, at, mailboxes.into_iter()));
    }
    entry
}

fn failed(house: &House, why: &NotIn) -> Delivered {
    match why {
        NotIn::Full => {
            tracing::error!("no room on the disk for a letter");
            Delivered::Full
        }
        NotIn::Disk(error) => {
            tracing::error!(%error, "a letter could not be written");
            house.doubts.notify_one();
            Delivered::Failed
        }
        NotIn::Sender(what) => {
            tracing::warn!(what, "a letter was not taken");
            Delivered::Failed
        }
    }
}
