//! What `Deposit` and `Queue` share: recipients, rooms, and the one transaction over all recipients.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use tokio::sync::Semaphore;

use crate::edges::notices::Others;
use crate::edges::{Delivered, Moment, NewLetter, Recipient, Size, Target, limits};
use crate::index::{Index, Mailbox, normal_address};
use crate::names::{LetterId, MailboxId, TransactionId};

use super::arriving;
use super::elsewhere::{Counted, Elsewhere};
use super::failing::Failing;
use super::house::House;
use super::leads::{self, Leads};
use super::line::{Asked, Breach};
use super::passing;
use super::posting::{self, Leaving};
use super::reserve::{self, Open};
use super::taking::{self, Work};

/// One edge's transactions.
#[derive(Debug)]
pub struct Delivering {
    house: Arc<House>,
    open: Open,
    elsewhere: Elsewhere,
    /// The state of the house's addresses by which the last recipient was found.
    routes: u64,
    hands: Arc<Semaphore>,
}

impl Delivering {
    /// For one connection; `hands` bounds the threads of its kind.
    #[must_use]
    pub fn new(house: Arc<House>, hands: Arc<Semaphore>) -> Self {
        let open = Open::new(&house.reserved);
        Self { house, open, elsewhere: Elsewhere::default(), routes: 0, hands }
    }

    /// What all edges share.
    pub const fn house(&self) -> &Arc<House> {
        &self.house
    }

    /// RCPT.
    ///
    /// # Errors
    /// An address no session would ask for.
    pub fn recipient(&mut self, transaction: TransactionId, address: &str, size: Size) -> Result<Recipient, Breach> {
        if address.len() > limits::ADDRESS {
            return Err(Breach("address too long"));
        }
        let (found, ample) = {
            let core = self.house.committer.lock();
            self.routes = core.index.routes();
            self.find(&core.index, transaction, (address, size), &|_| false)
        };
        // Who is nobody stays nobody: the journal is whole.
        if self.house.manner.only_reads() && !matches!(found, Recipient::Unknown | Recipient::NotLocal) {
            return Ok(Recipient::OnlyReads);
        }
        Ok(self.with_room(transaction, (found, ample), size))
    }

    /// Who hears of a letter that waits to leave.
    pub fn listener(&mut self, transaction: TransactionId, letter: LetterId, size: Size) -> Recipient {
        let found = {
            let core = self.house.committer.lock();
            let listeners = posting::listeners(&self.house, &core.index, (letter, size));
            self.choose(&core.index, transaction, &listeners, size)
        };
        self.with_room(transaction, found, size)
    }

    /// A recipient of a letter that waits, whose domain is ours by now; and the entry that the answer rests on.
    ///
    /// # Errors
    /// As [`Self::recipient`].
    pub fn here(
        &mut self,
        transaction: TransactionId,
        waits: (LetterId, u16),
        size: Size,
    ) -> Result<(Recipient, Others, u64), Breach> {
        let free = passing::free(&self.house);
        let ((found, ample), others, after) = {
            let mut core = self.house.committer.lock();
            let Some(address) = posting::waiting_for(&core.index, waits) else {
                return Ok((Recipient::NotLocal, Others::Nobody, 0));
            };
            let has = |mailbox| arriving::has_had(&core.index, waits.0, mailbox);
            let found = self.find(&core.index, transaction, (&address, size), &has);
            let (others, after) = match &found.0 {
                Recipient::Known(_) | Recipient::Forwarded { .. } => {
                    arriving::add_others(&self.house, &mut core, waits, free)
                }
                _ => (Others::Nobody, 0),
            };
            (found, others, after)
        };
        if self.house.manner.only_reads() && !matches!(found, Recipient::Unknown | Recipient::NotLocal) {
            return Ok((Recipient::OnlyReads, others, after));
        }
        Ok((self.with_room(transaction, (found, ample), size), others, after))
    }

    fn with_room(&mut self, transaction: TransactionId, (found, ample): (Recipient, bool), size: Size) -> Recipient {
        let (Recipient::Known(targets) | Recipient::Forwarded { targets, .. }) = &found else { return found };
        if targets.is_empty() {
            return found;
        }
        let mailboxes: Vec<_> = targets.iter().map(|target| target.mailbox).collect();
        match self.open.reserve(transaction, &mailboxes, size.reserved(), ample) {
            reserve::Asked::Reserved => found,
            reserve::Asked::Separately => Recipient::Separately,
            reserve::Asked::TooMuch => Recipient::NotNow,
        }
    }

    /// What `mx` is told of a recipient, unless too much waits already that is passed on. Where it may turn out to be too
    /// much, it goes alone, so that nobody else's letter waits for that. Those here who share the address get it all the same.
    pub fn with_passing_room(
        &mut self,
        (transaction, address, size): (TransactionId, &str, Size),
        found: Recipient,
    ) -> Recipient {
        let mailboxes: Vec<_> = match &found {
            Recipient::Remote { .. } => Vec::new(),
            Recipient::Forwarded { targets, .. } => targets.iter().map(|target| target.mailbox).collect(),
            _ => return found,
        };
        match passing::room(&self.house, address, size) {
            passing::Room::Ample => found,
            passing::Room::None => match found {
                Recipient::Forwarded { targets, .. } if !targets.is_empty() => Recipient::Known(targets),
                _ => Recipient::Waiting,
            },
            passing::Room::Tight => match self.open.reserve(transaction, &mailboxes, 0, false) {
                reserve::Asked::Reserved => found,
                reserve::Asked::Separately => Recipient::Separately,
                reserve::Asked::TooMuch => Recipient::NotNow,
            },
        }
    }

    /// What is said of a recipient, unless a letter would leave for more than one may have, with all that aliases lead to.
    pub fn counted(&mut self, transaction: TransactionId, address: &str, found: Recipient) -> Recipient {
        let more = match &found {
            Recipient::Remote { .. } => 1,
            Recipient::Forwarded { .. } => posting::forwards(&self.house, &self.house.committer.lock().index, address),
            _ => return found,
        };
        match self.elsewhere.add(transaction, more, (self.routes, Instant::now())) {
            Counted::Fits => found,
            Counted::TooMany => Recipient::Separately,
            Counted::NotNow => Recipient::NotNow,
        }
    }

    /// Whether recipients elsewhere still are where they were when that transaction asked. Where a mailbox or an alias came
    /// or went since, one of them may be ours by now, and would have no copy: its sender comes again.
    #[must_use]
    pub fn is_as_told(&self, transaction: TransactionId) -> bool {
        self.elsewhere.is_as_told(transaction, self.house.committer.lock().index.routes())
    }

    /// RSET.
    pub fn abandon(&mut self, transaction: TransactionId) {
        self.elsewhere.end(transaction);
        drop(self.open.end(transaction));
    }

    /// End of data: answered through `line` when it is done.
    ///
    /// # Errors
    /// A letter for a mailbox that no Recipient of this transaction was told of; two for one; too many.
    pub fn deliver<R: Failing + Serialize + Send + 'static, E: Serialize + Send + 'static>(
        &mut self,
        asked: Asked<R, E>,
        transaction: (TransactionId, Moment),
        letters: Vec<NewLetter>,
        pipes: Vec<OwnedFd>,
        reply: fn(Delivered) -> R,
    ) -> Result<(), Breach> {
        if letters.is_empty() {
            return Err(Breach("no letter"));
        }
        self.deliver_and_post(asked, transaction, (letters, None), pipes, reply)
    }

    /// The same, of a letter that waited: a mailbox that has had it gets no second.
    ///
    /// # Errors
    /// As [`Self::deliver`].
    pub fn arrive<R: Failing + Serialize + Send + 'static, E: Serialize + Send + 'static>(
        &mut self,
        asked: Asked<R, E>,
        transaction: (TransactionId, Moment),
        (letter, letters): (LetterId, Vec<NewLetter>),
        pipes: Vec<OwnedFd>,
        reply: fn(Delivered) -> R,
    ) -> Result<(), Breach> {
        if letters.is_empty() {
            return Err(Breach("no letter"));
        }
        self.begin(asked, transaction, (letters, None, Some(letter)), pipes, reply)
    }

    /// The same, with a letter that leaves, checked already; its pipe is the last.
    ///
    /// # Errors
    /// As [`Self::deliver`].
    pub fn deliver_and_post<R: Failing + Serialize + Send + 'static, E: Serialize + Send + 'static>(
        &mut self,
        asked: Asked<R, E>,
        transaction: (TransactionId, Moment),
        (letters, leaving): (Vec<NewLetter>, Option<Leaving>),
        pipes: Vec<OwnedFd>,
        reply: fn(Delivered) -> R,
    ) -> Result<(), Breach> {
        self.begin(asked, transaction, (letters, leaving, None), pipes, reply)
    }

    fn begin<R: Failing + Serialize + Send + 'static, E: Serialize + Send + 'static>(
        &mut self,
        asked: Asked<R, E>,
        (transaction, begun): (TransactionId, Moment),
        (letters, leaving, waited): (Vec<NewLetter>, Option<Leaving>, Option<LetterId>),
        mut pipes: Vec<OwnedFd>,
        reply: fn(Delivered) -> R,
    ) -> Result<(), Breach> {
        let rooms = self.open.end(transaction);
        self.elsewhere.end(transaction);
        let leaving = leaving.and_then(|leaving| Some((leaving, pipes.pop()?)));
        if letters.len() > limits::LETTERS || letters.len() != pipes.len() {
            return Err(Breach("as many pipes as letters, and not too many"));
        }
        if !letters.iter().all(|letter| rooms.has(letter.mailbox)) {
            return Err(Breach("a letter for nobody it asked for"));
        }
        if !letters.iter().all(|letter| self.house.knows_generation(letter)) {
            return Err(Breach("a letter sealed to an identity that its mailbox does not have"));
        }
        let mailboxes: HashSet<_> = letters.iter().map(|letter| letter.mailbox).collect();
        if mailboxes.len() < letters.len() {
            return Err(Breach("two letters of one message for a mailbox"));
        }
        let until = begun.deadline();
        let letters = letters.into_iter().zip(pipes).collect();
        let work = Work { transaction, letters, leaving, waited, rooms, until };
        let (house, hands) = (self.house.clone(), self.hands.clone());
        tokio::spawn(async move {
            let Ok(hand) = hands.acquire_owned().await else { return };
            let done = tokio::task::spawn_blocking(move || {
                let _hand = hand;
                // Dropped last: what the answer waits for is written while it is queued.
                let leading = house.committer.leading();
                let (outcome, after) = taking::run(&house, &leading, work);
                asked.reply(after, reply(outcome));
            });
            let _ = done.await;
        });
        Ok(())
    }

    /// Who that address is, without the mailboxes that have had the letter, and whether one of the others has room whatever
    /// comes.
    fn find(
        &self,
        index: &Index,
        transaction: TransactionId,
        (address, size): (&str, Size),
        has: &dyn Fn(MailboxId) -> bool,
    ) -> (Recipient, bool) {
        // RFC 5321 §4.5.1: postmaster, with or without our domain.
        let bare = address.eq_ignore_ascii_case("postmaster");
        let Some(address) = normal_address(address).or_else(|| bare.then(|| "postmaster@".to_owned())) else {
            return (Recipient::Unknown, false);
        };
        let (local, domain) = address.rsplit_once('@').unwrap_or((&address, ""));
        if !bare && !self.house.domains.iter().any(|known| known == domain) && !index.has_domain(domain) {
            return (Recipient::NotLocal, false);
        }
        let Leads { here: mut targets, elsewhere, dead } = leads::of(&self.house, index, &address);
        if !dead.is_empty() {
            tracing::warn!(
                addresses = dead.len(),
                "an alias names what is an address of ours now, and nobody has it: `postern alias list`"
            );
            // Whoever it is may yet come back.
            if self.house.misses_some() {
                return (Recipient::NotNow, false);
            }
        }
        let full = |id: &MailboxId| index.mailbox(*id).is_none_or(|mailbox| is_full(mailbox, size));
        if local == "postmaster" && targets.iter().all(full) {
            match postmaster(&self.house, index, size) {
                Some(found) => targets = vec![found],
                None => return (Recipient::NotNow, false),
            }
        }
        let named = targets.len();
        targets.retain(|id| !has(*id));
        if targets.is_empty() && named > 0 {
            return (Recipient::Known(Vec::new()), true);
        }
        let found = match (!elsewhere.is_empty(), &self.house.outgoing) {
            (true, Some(outgoing)) => match self.choose(index, transaction, &targets, size) {
                (Recipient::Known(targets), ample) => (posting::forwarded(outgoing, targets), ample),
                // Nobody here, or nobody here with room: it is passed on all the same.
                (Recipient::Unknown | Recipient::OverQuota, _) => (posting::forwarded(outgoing, Vec::new()), false),
                other => other,
            },
            _ => self.choose(index, transaction, &targets, size),
        };
        match found {
            (Recipient::Unknown, _) if self.house.misses_some() => (Recipient::NotNow, false),
            found => found,
        }
    }

    /// Suspended mailboxes take mail like all others: what comes while their owners are kept out waits for them. Of an
    /// address that several share, the full ones get no copy: it would wait for one of them for ever.
    fn choose(
        &self,
        index: &Index,
        transaction: TransactionId,
        targets: &[MailboxId],
        size: Size,
    ) -> (Recipient, bool) {
        let (mut known, mut full, mut ample) = (Vec::new(), Vec::new(), false);
        for id in targets {
            let Some(mailbox) = index.mailbox(*id) else { continue };
            if is_full(mailbox, size) {
                full.push(*id);
                continue;
            }
            // An address more of a mailbox that has its room already needs none. Where others' room is all that stands
            // in the way, the mailbox is not full: they may never use it.
            let held = self.open.of(transaction, *id);
            if !self.house.reserved.fits(mailbox, *id, size.reserved().saturating_sub(held)) {
                return (Recipient::NotNow, false);
            }
            ample |= self.house.reserved.is_ample(mailbox, *id, size, held);
            // Without a readable slots file there is nothing to seal to; the admin is told at the start.
            let Some(slots) = self.house.slots(*id) else { return (Recipient::NotNow, false) };
            known.push(Target { mailbox: *id, generation: slots.generation(), public_key: slots.public().to_string() });
        }
        match (known.is_empty(), full.is_empty()) {
            (true, true) => (Recipient::Unknown, false),
            (true, false) => (Recipient::OverQuota, false),
            (false, _) => {
                full.into_iter().for_each(told_full);
                (Recipient::Known(known), ample)
            }
        }
    }
}

/// Who gets the postmaster's mail where nobody has that alias, or nobody with room (RFC 5321 §4.5.1: it is never refused): the oldest mailbox
/// that somebody reads and that has room for it, or else the oldest.
#[must_use]
pub fn postmaster(house: &House, index: &Index, size: Size) -> Option<MailboxId> {
    let reads =
        |id, mailbox: &Mailbox| !mailbox.profile().suspended && !is_full(mailbox, size) && house.slots(id).is_some();
    index.oldest_that(reads).or_else(|| index.oldest_that(|_, _| true))
}

fn is_full(mailbox: &Mailbox, size: Size) -> bool {
    !mailbox.takes(1) || mailbox.used().saturating_add(size.needed()) > mailbox.profile().quota
}

/// Says so.
pub fn told_full(mailbox: MailboxId) {
    tracing::warn!(%mailbox, "this mailbox is full: it gets no copy of a letter to an address that it shares");
}
