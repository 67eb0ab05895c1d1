//! A letter that waited for an address which is ours by now: each mailbox gets it once, however many of its addresses it was
//! for and whatever ended in between; and whom such an address leads to elsewhere, it waits for from then on.

use ring::digest;

use crate::commit::{Core, With};
use crate::edges::notices::Others;
use crate::edges::outbox::limits::RECIPIENTS;
use crate::edges::outbox::{Outgoing, OutgoingRecipient, State};
use crate::index::Index;
use crate::journal::record::{Placed, Record};
use crate::names::{LetterId, MailboxId, TransactionId};

use super::house::{House, now};
use super::hub::Hub;
use super::{passing, posting};

/// Under this name it is known that the mailbox has had that letter.
#[must_use]
pub fn name(letter: LetterId, mailbox: MailboxId) -> TransactionId {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"postern arrived\0");
    context.update(&letter.0);
    context.update(&mailbox.0.to_le_bytes());
    let mut name = [0; 16];
    name.copy_from_slice(&context.finish().as_ref()[..16]);
    TransactionId(name)
}

/// Whether it has.
#[must_use]
pub fn has_had(index: &Index, letter: LetterId, mailbox: MailboxId) -> bool {
    index.delivered(name(letter, mailbox))
}

/// That these have it.
pub fn arrived(letter: LetterId, at: i64, placed: Vec<Placed>) -> Vec<Record> {
    let one = |placed: Placed| {
        let transaction = Some(name(letter, placed.mailbox));
        Record::Delivered { transaction, at, letters: vec![placed] }
    };
    placed.into_iter().map(one).collect()
}

/// That these have it already, while it waits for others: an address of theirs may yet become one of these.
pub fn have_already(letter: LetterId, at: i64, mailboxes: impl Iterator<Item = MailboxId>) -> Vec<Record> {
    let one = |mailbox| Record::Delivered { transaction: Some(name(letter, mailbox)), at, letters: Vec::new() };
    mailboxes.map(one).collect()
}

/// Has it wait for those elsewhere to whom that recipient's address leads; what the answer rests on. Whoever is among its
/// recipients already is not added, so that this may be asked again.
pub fn add_others(
    house: &House,
    core: &mut Core<Hub>,
    (letter, recipient): (LetterId, u16),
    free: u64,
) -> (Others, u64) {
    let Some(found) = others(house, &core.index, (letter, recipient)) else { return (Others::Nobody, 0) };
    let (mut outgoing, new) = found;
    if new.is_empty() {
        return (Others::Wait, core.sequence);
    }
    if outgoing.recipients.len() + new.len() > RECIPIENTS {
        return (Others::TooMany, 0);
    }
    if !passing::has_room_for(house, &core.index, free, (&outgoing, &new)) {
        return (Others::NoRoom, 0);
    }
    outgoing.recipients.extend(new);
    let record = Record::Queued { letter, outgoing: Box::new(outgoing) };
    match house.committer.take(core, vec![record], &With::default()) {
        Ok(after) => (Others::Wait, after),
        Err(_) => (Others::NoRoom, 0),
    }
}

/// The letter, and who of those elsewhere is not among its recipients; nothing, where the address leads to nobody there.
fn others(
    house: &House,
    index: &Index,
    (letter, recipient): (LetterId, u16),
) -> Option<(Outgoing, Vec<OutgoingRecipient>)> {
    let outgoing = index.waiting().get(letter)?;
    let one = outgoing.recipients.get(usize::from(recipient))?;
    let elsewhere = posting::leads(house, index, &one.address).elsewhere;
    let known = outgoing.each_recipient();
    let at = now();
    let add = |address: &String| OutgoingRecipient { address: address.clone(), state: State::new(at), ..one.clone() };
    let new = elsewhere.iter().filter(|address| !known.contains(&address.to_lowercase())).map(add);
    (!elsewhere.is_empty()).then(|| (outgoing.clone(), new.collect()))
}
