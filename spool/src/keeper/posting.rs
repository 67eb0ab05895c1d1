//! Submission's side of what leaves: who may send what, and how it comes into `outgoing/`.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::PoisonError;
use std::time::Instant;

use crate::edges::outbox::{Outgoing, OutgoingRecipient, State};
use crate::edges::queue::Posted;
use crate::edges::{Delivered, Into, NewLetter, Recipient, limits};
use crate::index::{Index, normal_address};
use crate::names::{LetterId, MailboxId};

use super::house::House;
use super::intake::{self, NotIn};
use super::line::Breach;

/// Checks what a session of that mailbox hands in.
///
/// # Errors
/// What no submission would: another's sender, a recipient that is ours, beyond a bound.
pub fn check(house: &House, index: &Index, mailbox: MailboxId, posted: &Posted) -> Result<(), Breach> {
    let ours = index.addresses_of(mailbox);
    let owned = |sender: &String| normal_address(sender).is_some_and(|sender| ours.contains(&sender));
    if !posted.sender.as_ref().is_none_or(owned) {
        return Err(Breach("a letter from somebody else"));
    }
    let leaves = |address: &String| {
        let domain = address.rsplit_once('@').map(|(_, domain)| domain.to_lowercase());
        address.len() <= limits::ADDRESS
            && domain.is_some_and(|domain| {
                !domain.is_empty() && !house.domains.contains(&domain) && !index.has_domain(&domain)
            })
    };
    if !posted.recipients.iter().all(|one| leaves(&one.address)) {
        return Err(Breach("a letter that does not leave"));
    }
    if outgoing(mailbox, posted.clone(), 0, [0; 32]).is_bounded() { Ok(()) } else { Err(Breach("beyond its bounds")) }
}

/// A recipient that is not ours may have a letter from who has logged in.
pub fn elsewhere(house: &House, found: Recipient) -> Recipient {
    match (found, &house.outgoing) {
        (Recipient::NotLocal, Some(outgoing)) => {
            Recipient::Remote { generation: outgoing.generation, public_key: outgoing.public_key.clone() }
        }
        (found, _) => found,
    }
}

/// Whether a day's allowance still has room for it.
///
/// # Errors
/// What to answer.
pub fn allowed(house: &House, mailbox: MailboxId, posted: &Posted, at: i64) -> Result<(), Delivered> {
    let mut allowance = house.allowance.lock().unwrap_or_else(PoisonError::into_inner);
    let recipients = each_once(posted);
    let asked = allowance.ask(mailbox, &recipients.iter().map(String::as_str).collect::<Vec<_>>(), at);
    asked.map_err(|reached| {
        tracing::warn!(%mailbox, ?reached, "a mailbox has sent as much as it may in a day");
        Delivered::Spent { tell: allowance.is_to_tell(mailbox, at) }
    })
}

/// It went.
pub fn count(house: &House, mailbox: MailboxId, recipients: &[String], at: i64) {
    let mut allowance = house.allowance.lock().unwrap_or_else(PoisonError::into_inner);
    allowance.count(mailbox, &recipients.iter().map(String::as_str).collect::<Vec<_>>(), at);
}

/// The recipients in lower case.
pub fn each_once(posted: &Posted) -> Vec<String> {
    let all: BTreeSet<String> = posted.recipients.iter().map(|one| one.address.to_lowercase()).collect();
    all.into_iter().collect()
}

fn outgoing(mailbox: MailboxId, posted: Posted, queued: i64, digest: [u8; 32]) -> Outgoing {
    let recipients = posted.recipients.into_iter().map(|one| OutgoingRecipient {
        address: one.address,
        original: one.original,
        notify: one.notify,
        state: State::new(queued),
    });
    Outgoing {
        mailbox,
        sender: posted.sender,
        queued,
        size: posted.size,
        generation: posted.generation,
        digest,
        eight_bit: posted.eight_bit,
        international: posted.international,
        require_tls: posted.require_tls,
        full: posted.full,
        envelope_id: posted.envelope_id,
        recipients: recipients.collect(),
        held: false,
    }
}

/// In a thread: from the pipe to a file in its place, and what is to be said of it.
///
/// # Errors
/// [`NotIn`]; nothing is left then.
pub fn take(
    house: &House,
    mailbox: MailboxId,
    posted: Posted,
    pipe: OwnedFd,
    (at, until): (i64, Instant),
) -> Result<(LetterId, Outgoing), NotIn> {
    // The frame names its sender's mailbox; the folder is nobody's.
    let new = NewLetter { mailbox, generation: posted.generation, size: posted.size, into: Into::Inbox };
    let arrival = intake::take_outgoing(house, &new, pipe, at, until)?;
    Ok((arrival.letter, outgoing(mailbox, posted, at, arrival.digest)))
}
