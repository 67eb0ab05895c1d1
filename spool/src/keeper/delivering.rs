//! What `Deposit` and `Queue` share: recipients, rooms, and the one transaction over all recipients.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::commit::{NotTaken, With};
use crate::edges::{Delivered, NewLetter, Recipient, Target, limits};
use crate::index::plan::{self, Arrival};
use crate::index::{Index, normal_address};
use crate::journal::record::Record;
use crate::names::{MailboxId, TransactionId};

use super::house::{House, now};
use super::intake::{self, NotIn};
use super::line::{Breach, Line};
use super::reserve::{Open, Rooms};

/// One edge's transactions.
#[derive(Debug)]
pub struct Delivering {
    house: Arc<House>,
    open: Open,
    hands: Arc<Semaphore>,
}

/// A Deliver that the table has let through.
struct Work {
    transaction: TransactionId,
    letters: Vec<(NewLetter, OwnedFd)>,
    rooms: Rooms,
}

impl Delivering {
    /// For one connection; `hands` bounds the threads of its kind.
    #[must_use]
    pub fn new(house: Arc<House>, hands: Arc<Semaphore>) -> Self {
        let open = Open::new(&house.reserved);
        Self { house, open, hands }
    }

    /// RCPT.
    ///
    /// # Errors
    /// An address no session would ask for.
    pub fn recipient(&mut self, transaction: TransactionId, address: &str, size: u64) -> Result<Recipient, Breach> {
        if address.len() > limits::ADDRESS {
            return Err(Breach("address too long"));
        }
        let found = {
            let core = self.house.committer.lock();
            find(&self.house, &core.index, address, size)
        };
        if let Recipient::Known(targets) = &found {
            let rooms: Vec<_> = targets.iter().map(|target| (target.mailbox, size)).collect();
            if !self.open.reserve(transaction, &rooms) {
                return Ok(Recipient::NotNow);
            }
        }
        Ok(found)
    }

    /// RSET.
    pub fn abandon(&mut self, transaction: TransactionId) {
        drop(self.open.end(transaction));
    }

    /// End of data: answered through `line` when it is done.
    ///
    /// # Errors
    /// A letter for a mailbox that no Recipient of this transaction was told of; too many.
    pub fn deliver<R: Send + 'static, E: Send + 'static>(
        &mut self,
        (number, line, busy): (u32, &Line<R, E>, OwnedSemaphorePermit),
        transaction: TransactionId,
        letters: Vec<NewLetter>,
        pipes: Vec<OwnedFd>,
        reply: fn(Delivered) -> R,
    ) -> Result<(), Breach> {
        let rooms = self.open.end(transaction);
        if letters.is_empty() || letters.len() > limits::LETTERS || letters.len() != pipes.len() {
            return Err(Breach("as many pipes as letters, and not too many"));
        }
        if !letters.iter().all(|letter| rooms.has(letter.mailbox)) {
            return Err(Breach("a letter for nobody it asked for"));
        }
        let work = Work { transaction, letters: letters.into_iter().zip(pipes).collect(), rooms };
        let (house, hands, line) = (self.house.clone(), self.hands.clone(), line.clone());
        tokio::spawn(async move {
            let Ok(hand) = hands.acquire_owned().await else { return };
            let done = tokio::task::spawn_blocking(move || {
                let _held = (hand, busy);
                let (outcome, after) = run(&house, work);
                line.reply(number, after, reply(outcome));
            });
            let _ = done.await;
        });
        Ok(())
    }
}

/// Who that address is.
fn find(house: &House, index: &Index, address: &str, size: u64) -> Recipient {
    // RFC 5321 §4.5.1: postmaster, with or without our domain.
    let bare = address.eq_ignore_ascii_case("postmaster");
    let Some(address) = normal_address(address).or_else(|| bare.then(|| "postmaster@".to_owned())) else {
        return Recipient::Unknown;
    };
    let (local, domain) = address.rsplit_once('@').unwrap_or((&address, ""));
    if !bare && !house.domains.iter().any(|known| known == domain) && !index.has_domain(domain) {
        return Recipient::NotLocal;
    }
    let mut targets = index.targets(&address);
    if targets.is_empty() && local == "postmaster" {
        match index.oldest() {
            Some(oldest) => targets.push(oldest),
            None => return Recipient::NotNow,
        }
    }
    choose(house, index, &targets, size)
}

fn choose(house: &House, index: &Index, targets: &[MailboxId], size: u64) -> Recipient {
    let mut known = Vec::new();
    let mut suspended = false;
    for id in targets {
        let Some(mailbox) = index.mailbox(*id) else { continue };
        if mailbox.profile().suspended {
            suspended = true;
            continue;
        }
        let taken = mailbox.used().saturating_add(house.reserved.of(*id));
        if taken.saturating_add(size) > mailbox.profile().quota {
            return Recipient::OverQuota;
        }
        // Without a readable slots file there is nothing to seal to; the admin is told at the start.
        let Some(slots) = house.slots(*id) else { return Recipient::NotNow };
        known.push(Target { mailbox: *id, generation: slots.generation(), public_key: slots.public().to_string() });
    }
    match (known.is_empty(), suspended) {
        (false, _) => Recipient::Known(known),
        (true, true) => Recipient::Suspended,
        (true, false) => Recipient::Unknown,
    }
}

/// In a thread: pipes to letters, letters to one entry.
fn run(house: &House, work: Work) -> (Delivered, u64) {
    let Work { transaction, letters, rooms } = work;
    {
        let core = house.committer.lock();
        if core.index.delivered(transaction) {
            return (Delivered::Already, core.sequence);
        }
        if !fits(&core.index, &letters, &rooms) {
            return (Delivered::Full, core.sequence);
        }
    }
    let at = now();
    let mut arrivals = Vec::with_capacity(letters.len());
    let mut placed = Vec::with_capacity(letters.len());
    for (letter, pipe) in letters {
        match intake::take(house, &letter, pipe, at) {
            Ok(arrival) => {
                arrivals.push(arrival);
                placed.push((arrival, letter.into));
            }
            Err(why) => {
                intake::discard(house, &arrivals);
                return (failed(&why), 0);
            }
        }
    }
    let (outcome, after) = commit(house, transaction, at, &placed);
    if outcome != Delivered::Durable {
        intake::discard(house, &arrivals);
    }
    (outcome, after)
}

/// Whether a mailbox holds what comes beyond what was reserved (a size is a promise, not a proof).
fn fits(index: &Index, letters: &[(NewLetter, OwnedFd)], rooms: &Rooms) -> bool {
    letters.iter().all(|(letter, _)| {
        let Some(mailbox) = index.mailbox(letter.mailbox) else { return true };
        let same = letters.iter().filter(|(other, _)| other.mailbox == letter.mailbox);
        let comes: u64 = same.map(|(other, _)| u64::from(other.size)).sum();
        comes <= rooms.of(letter.mailbox) || mailbox.used().saturating_add(comes) <= mailbox.profile().quota
    })
}

fn commit(
    house: &House,
    transaction: TransactionId,
    at: i64,
    placed: &[(Arrival, crate::edges::Into)],
) -> (Delivered, u64) {
    let mut core = house.committer.lock();
    if core.index.delivered(transaction) {
        return (Delivered::Already, core.sequence);
    }
    let letters = plan::arrivals(&core.index, placed);
    if letters.len() != placed.len() {
        // A mailbox was removed meanwhile. Asked again, its recipient is unknown.
        return (Delivered::Failed, core.sequence);
    }
    let folders: Vec<_> = letters.iter().map(|placed| (placed.mailbox, placed.letter.letter)).collect();
    let entry = vec![Record::Delivered { transaction: Some(transaction), at, letters }];
    match house.committer.take(&mut core, entry, &With { letters: &folders, frees: false }) {
        Ok(after) => (Delivered::Durable, after),
        Err(NotTaken::Full) => (Delivered::Full, core.sequence),
        Err(NotTaken::Failed) => (Delivered::Failed, core.sequence),
    }
}

fn failed(why: &NotIn) -> Delivered {
    match why {
        NotIn::Full => {
            tracing::error!("no room on the disk for a letter");
            Delivered::Full
        }
        NotIn::Disk(error) => {
            tracing::error!(%error, "a letter could not be written");
            Delivered::Failed
        }
        NotIn::Sender(what) => {
            tracing::warn!(what, "a letter was not taken");
            Delivered::Failed
        }
    }
}
