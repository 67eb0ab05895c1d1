//! What `Deposit` and `Queue` share: recipients, rooms, and the one transaction over all recipients.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use tokio::sync::Semaphore;

use crate::commit::{Leading, NotTaken, With};
use crate::edges::outbox::Outgoing;
use crate::edges::{Delivered, Moment, NewLetter, Recipient, Size, Target, limits};
use crate::index::plan::{self, Arrival};
use crate::index::{Index, Mailbox, normal_address};
use crate::journal::record::Record;
use crate::names::{LetterId, MailboxId, TransactionId};
use crate::store;

use super::elsewhere::{Counted, Elsewhere};
use super::failing::Failing;
use super::house::{House, now};
use super::hub::Hub;
use super::intake::{self, NotIn};
use super::leads::{self, Leads};
use super::line::{Asked, Breach};
use super::passing;
use super::posting::{self, Leaving};
use super::reserve::{self, Open, Rooms};

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

/// A Deliver that the table has let through.
struct Work {
    transaction: TransactionId,
    letters: Vec<(NewLetter, OwnedFd)>,
    /// For recipients elsewhere.
    leaving: Option<(Leaving, OwnedFd)>,
    rooms: Rooms,
    /// From here on the sender may have given up, and told so.
    until: Instant,
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
            self.find(&core.index, transaction, address, size)
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

    /// A recipient of a letter that waits, whose domain is ours by now.
    ///
    /// # Errors
    /// As [`Self::recipient`].
    pub fn here(
        &mut self,
        transaction: TransactionId,
        waits: (LetterId, u16),
        size: Size,
    ) -> Result<Recipient, Breach> {
        let address = posting::waiting_for(&self.house.committer.lock().index, waits);
        address.map_or(Ok(Recipient::NotLocal), |address| self.recipient(transaction, &address, size))
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

    /// The same, with a letter that leaves, checked already; its pipe is the last.
    ///
    /// # Errors
    /// As [`Self::deliver`].
    pub fn deliver_and_post<R: Failing + Serialize + Send + 'static, E: Serialize + Send + 'static>(
        &mut self,
        asked: Asked<R, E>,
        (transaction, begun): (TransactionId, Moment),
        (letters, leaving): (Vec<NewLetter>, Option<Leaving>),
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
        let work = Work { transaction, letters, leaving, rooms, until };
        let (house, hands) = (self.house.clone(), self.hands.clone());
        tokio::spawn(async move {
            let Ok(hand) = hands.acquire_owned().await else { return };
            let done = tokio::task::spawn_blocking(move || {
                let _hand = hand;
                // Dropped last: what the answer waits for is written while it is queued.
                let leading = house.committer.leading();
                let (outcome, after) = run(&house, &leading, work);
                asked.reply(after, reply(outcome));
            });
            let _ = done.await;
        });
        Ok(())
    }

    /// Who that address is, and whether one of its mailboxes has room whatever comes.
    fn find(&self, index: &Index, transaction: TransactionId, address: &str, size: Size) -> (Recipient, bool) {
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

fn told_full(mailbox: MailboxId) {
    tracing::warn!(%mailbox, "this mailbox is full: it gets no copy of a letter to an address that it shares");
}

/// In a thread: pipes to letters, letters to one entry.
fn run(house: &House, leading: &Leading<'_, Hub>, work: Work) -> (Delivered, u64) {
    let Work { transaction, letters, leaving, mut rooms, until } = work;
    let left_out = {
        let core = house.committer.lock();
        if core.index.delivered(transaction) {
            return (Delivered::Already, core.sequence);
        }
        // The mailbox has a new key since RCPT: its sender comes again, and then seals to that.
        if letters.iter().any(|(letter, _)| !house.is_newest_generation(letter)) {
            return (Delivered::Failed, core.sequence);
        }
        let left_out = without_room(&core.index, house, &letters, &mut rooms);
        if !rooms.can_do_without(&left_out) {
            return (Delivered::MailboxFull, core.sequence);
        }
        left_out
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
        if left_out.contains(&letter.mailbox) {
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
    let (outcome, after) = commit((house, leading), (transaction, until), at, &placed, queued);
    if outcome != Delivered::Durable {
        intake::discard(house, &arrivals);
        file.into_iter().for_each(|file| drop(house.disk.remove(&file)));
    }
    (outcome, after)
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
    (transaction, until): (TransactionId, Instant),
    at: i64,
    placed: &[(Arrival, crate::edges::Into)],
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
    let fits =
        |(arrival, _): &(Arrival, _)| core.index.mailbox(arrival.mailbox).is_none_or(|found| arrival.fits(found));
    if !placed.iter().all(fits) {
        return (Delivered::MailboxFull, core.sequence);
    }
    let letters = plan::arrivals(&core.index, placed);
    if letters.len() != placed.len() {
        // A mailbox was removed meanwhile. Asked again, its recipient is unknown.
        return (Delivered::Failed, core.sequence);
    }
    let folders: Vec<_> = letters.iter().map(|placed| (placed.mailbox, placed.letter.letter)).collect();
    let mut entry = vec![Record::Delivered { transaction: Some(transaction), at, letters }];
    entry.extend(queued.map(|(letter, outgoing)| Record::Queued { letter, outgoing: Box::new(outgoing) }));
    match leading.take(&mut core, entry, &With { letters: &folders, frees: false }) {
        Ok(after) => (Delivered::Durable, after),
        Err(NotTaken::Full) => (Delivered::Full, core.sequence),
        Err(NotTaken::Failed | NotTaken::OnlyReads) => (Delivered::Failed, core.sequence),
    }
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
