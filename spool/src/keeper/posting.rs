//! What leaves: who may send what, what an alias passes on, and how it comes into `outgoing/`.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::allowance::{Allowance, Amount};
use crate::edges::outbox::{self, Outgoing, OutgoingRecipient, State};
use crate::edges::queue::{Posted, PostedTo};
use crate::edges::{Delivered, Into, NewLetter, Recipient, Size, Target, limits};
use crate::index::passed_on::Load;
use crate::index::{Index, normal_address};
use crate::names::{LetterId, MailboxId};
use crate::srs::Rewriter;

use super::delivering::postmaster;
use super::house::House;
use super::intake::{self, NotIn};
use super::leads::{self, Leads};
use super::line::Breach;
use super::start;

/// A letter that leaves, its recipients checked and aliases put in.
#[derive(Debug)]
pub struct Leaving {
    mailbox: MailboxId,
    posted: Posted,
    passed_on: bool,
    /// Each alias that it came for has somebody here who gets the same letter.
    pub is_shared: bool,
}

impl Leaving {
    /// What it adds to what strangers have waiting; nothing, where a login has sent it.
    #[must_use]
    pub fn load(&self) -> Option<Load> {
        let Posted { size, sender, recipients, .. } = &self.posted;
        let to = recipients.iter().map(|one| one.address.as_str());
        self.passed_on.then(|| Load::new((*size).into(), sender.is_some(), to))
    }

    /// Its octets.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.posted.size
    }

    fn outgoing(self, queued: i64, digest: [u8; 32]) -> Outgoing {
        let posted = self.posted;
        let recipients = posted.recipients.into_iter().map(|one| OutgoingRecipient {
            address: one.address,
            original: one.original,
            notify: one.notify,
            state: State::new(queued),
        });
        Outgoing {
            mailbox: self.mailbox,
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
            passed_on: self.passed_on,
        }
    }
}

/// Checks what a session of that mailbox hands in.
///
/// # Errors
/// What no submission would: another's sender, a recipient that is ours, beyond a bound.
pub fn posted(house: &House, index: &Index, mailbox: MailboxId, mut posted: Posted) -> Result<Leaving, Breach> {
    let ours = index.addresses_of(mailbox);
    let owned = |sender: &String| normal_address(sender).is_some_and(|sender| ours.contains(&sender));
    if !posted.sender.as_ref().is_none_or(owned) {
        return Err(Breach("a letter from somebody else"));
    }
    posted.recipients = with_aliases(house, index, posted.recipients);
    if !posted.recipients.iter().all(|one| leaves(house, index, &one.address)) {
        return Err(Breach("a letter that does not leave"));
    }
    if !is_bounded(&posted) {
        return Err(Breach("beyond its bounds"));
    }
    Ok(Leaving { mailbox, posted, passed_on: false, is_shared: false })
}

/// What `mx` passes on, beside letters for these mailboxes. An alias may have gone since RCPT: then nobody is left, and the letter is not taken.
///
/// # Errors
/// What no `mx` would hand in.
pub fn passed_on(house: &House, mut posted: Posted, here: &[MailboxId]) -> Result<Leaving, Breach> {
    if !is_bounded(&posted) {
        return Err(Breach("beyond its bounds"));
    }
    let core = house.committer.lock();
    let is_bounce = posted.sender.is_none();
    let (back, aliases): (Vec<PostedTo>, _) =
        posted.recipients.into_iter().partition(|one| is_bounce && sender_behind(house, &one.address).is_some());
    let back =
        back.into_iter().filter_map(|one| Some(PostedTo { address: sender_behind(house, &one.address)?, ..one }));
    let back: Vec<PostedTo> = back.collect();
    // Nothing else: whoever took over `mx` could send anything to anybody.
    let has_somebody =
        |one: &PostedTo| leads(house, &core.index, &one.address).here.iter().any(|target| here.contains(target));
    let is_shared = back.is_empty() && aliases.iter().all(has_somebody);
    let all_forward = aliases.iter().all(|one| forwards(house, &core.index, &one.address) > 0);
    let expanded = with_aliases(house, &core.index, aliases);
    posted.recipients = back.into_iter().chain(expanded).collect();
    if !all_forward
        || !posted.recipients.iter().all(|one| leaves(house, &core.index, &one.address))
        || !is_bounded(&posted)
    {
        tracing::warn!("an alias that passes mail on has changed meanwhile, or leads to too many; try again");
        posted.recipients.clear();
    }
    Ok(Leaving { mailbox: MailboxId(0), posted, passed_on: true, is_shared })
}

fn is_bounded(posted: &Posted) -> bool {
    let address = |text: &String| text.len() <= limits::ADDRESS;
    let parameter = |text: &Option<String>| text.as_ref().is_none_or(|text| text.len() <= outbox::limits::PARAMETER);
    (1..=outbox::limits::RECIPIENTS).contains(&posted.recipients.len())
        && posted.sender.as_ref().is_none_or(address)
        && parameter(&posted.envelope_id)
        && posted.recipients.iter().all(|one| address(&one.address) && parameter(&one.original))
}

/// To how many addresses elsewhere that address passes mail on.
pub fn forwards(house: &House, index: &Index, address: &str) -> usize {
    leads(house, index, address).elsewhere.len()
}

/// Where an address leads, however it is written.
pub fn leads(house: &House, index: &Index, address: &str) -> Leads {
    normal_address(address).map(|address| leads::of(house, index, &address)).unwrap_or_default()
}

fn leaves(house: &House, index: &Index, address: &str) -> bool {
    let has_domain = address.rsplit_once('@').is_some_and(|(_, domain)| !domain.is_empty());
    has_domain && !leads::is_ours(house, index, address)
}

/// Each address once; instead of an alias, where it passes mail on.
fn with_aliases(house: &House, index: &Index, recipients: Vec<PostedTo>) -> Vec<PostedTo> {
    let (mut seen, mut out) = (BTreeSet::new(), Vec::new());
    for one in recipients {
        let forwards = leads(house, index, &one.address).elsewhere;
        let all = if forwards.is_empty() { vec![one.address.clone()] } else { forwards };
        for address in all {
            if seen.insert(address.to_lowercase()) {
                out.push(PostedTo { address, ..one.clone() });
            }
        }
    }
    out
}

/// Who wrote what was passed on from that address of ours, so that a bounce finds its way.
fn sender_behind(house: &House, address: &str) -> Option<String> {
    let (local, domain) = address.rsplit_once('@')?;
    // Any of ours: which one stands first may have changed since.
    let own = house.domains.iter().find(|own| own.eq_ignore_ascii_case(domain))?;
    let rewriter = Rewriter::new(&house.outgoing.as_ref()?.srs_key, own);
    let today = u32::try_from(super::house::now() / 86_400).unwrap_or(0);
    rewriter.back(local, today).ok()
}

/// What a letter of that size to that address would add to what strangers have waiting.
pub fn load_of(house: &House, index: &Index, address: &str, size: u64) -> Load {
    let forwards = leads(house, index, address).elsewhere;
    match sender_behind(house, address).filter(|_| forwards.is_empty()) {
        Some(sender) => Load::new(size, false, [sender.as_str()].into_iter()),
        None => Load::new(size, true, forwards.iter().map(String::as_str)),
    }
}

/// An address that nobody here has may be the way back to a sender.
pub fn way_back(house: &House, address: &str, found: Recipient) -> Recipient {
    match (found, &house.outgoing) {
        (Recipient::Unknown, Some(outgoing)) if sender_behind(house, address).is_some() => remote(outgoing),
        (found, _) => found,
    }
}

/// A recipient that is not ours may have a letter from who has logged in.
pub fn elsewhere(house: &House, found: Recipient) -> Recipient {
    match (found, &house.outgoing) {
        (Recipient::NotLocal, Some(outgoing)) => remote(outgoing),
        (found, _) => found,
    }
}

fn remote(outgoing: &start::Outgoing) -> Recipient {
    Recipient::Remote { generation: outgoing.generation, public_key: outgoing.public_key.clone() }
}

/// An alias that passes mail on, and may name mailboxes here, too.
pub fn forwarded(outgoing: &start::Outgoing, targets: Vec<Target>) -> Recipient {
    Recipient::Forwarded { targets, generation: outgoing.generation, public_key: outgoing.public_key.clone() }
}

/// For whom a letter still waits.
#[must_use]
pub fn waiting_for(index: &Index, (letter, recipient): (LetterId, u16)) -> Option<String> {
    let one = index.waiting().get(letter)?.recipients.get(usize::from(recipient))?;
    matches!(one.state, State::Waiting { .. }).then(|| one.address.clone())
}

/// Who hears of a letter that waits: whose login sent it, whatever its addresses are by now. A stranger is never told of
/// what was passed on; and nobody of a letter that has no sender (RFC 5321 §4.5.5).
pub fn listeners(house: &House, index: &Index, (letter, size): (LetterId, Size)) -> Vec<MailboxId> {
    let Some(outgoing) = index.waiting().get(letter).filter(|outgoing| outgoing.sender.is_some()) else {
        return Vec::new();
    };
    if !outgoing.passed_on {
        return vec![outgoing.mailbox];
    }
    let named = house.domains.first().map(|domain| leads::of(house, index, &format!("postmaster@{domain}")).here);
    let named = named.filter(|named| !named.is_empty());
    named.unwrap_or_else(|| postmaster(house, index, size).into_iter().collect())
}

/// A message that counts until this goes.
#[derive(Debug)]
pub struct Counted<'a>(&'a House, MailboxId, Amount);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        lock(&self.0.allowance).ended(self.1, self.2);
    }
}

/// Counts a letter, if a day's allowance still has room for it. What is passed on takes from nobody's.
///
/// # Errors
/// What to answer.
pub fn allowed<'a>(house: &'a House, leaving: &Leaving, at: i64) -> Result<Option<Counted<'a>>, Delivered> {
    let mailbox = leaving.mailbox;
    if leaving.passed_on {
        return Ok(None);
    }
    let all: BTreeSet<String> = leaving.posted.recipients.iter().map(|one| one.address.to_lowercase()).collect();
    let core = house.committer.lock();
    let message = core.index.amount(mailbox, &all.into_iter().collect::<Vec<_>>());
    let mut allowance = lock(&house.allowance);
    match allowance.begin(mailbox, core.index.sent(mailbox), message, at) {
        Ok(()) => Ok(Some(Counted(house, mailbox, message))),
        Err(reached) => {
            tracing::warn!(%mailbox, ?reached, "a mailbox has sent as much as it may in a day");
            Err(Delivered::Spent { tell: allowance.is_to_tell(mailbox, at) })
        }
    }
}

/// The owner knows that its allowance is spent.
pub fn told(house: &House, mailbox: MailboxId, at: i64) {
    lock(&house.allowance).told(mailbox, at);
}

/// The mailbox is gone.
pub fn forget(house: &House, mailbox: MailboxId) {
    lock(&house.allowance).forget(mailbox);
}

fn lock(allowance: &Mutex<Allowance>) -> MutexGuard<'_, Allowance> {
    allowance.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In a thread: from the pipe to a file in its place, and what is to be said of it.
///
/// # Errors
/// [`NotIn`]; nothing is left then.
pub fn take(
    house: &House,
    leaving: Leaving,
    pipe: OwnedFd,
    (at, until): (i64, Instant),
) -> Result<(LetterId, Outgoing), NotIn> {
    if leaving.posted.recipients.is_empty() {
        return Err(NotIn::Sender("for nobody"));
    }
    // The frame names its sender's mailbox; the folder is nobody's.
    let (mailbox, generation, size) = (leaving.mailbox, leaving.posted.generation, leaving.posted.size);
    let new = NewLetter { mailbox, generation, size, into: Into::Inbox };
    let arrival = intake::take_outgoing(house, &new, pipe, at, until)?;
    Ok((arrival.letter, leaving.outgoing(at, arrival.digest)))
}
