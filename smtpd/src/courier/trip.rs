//! One lease, and what else goes the same way: opens the letter, connects, sends, reports, takes the next.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use spool::edges::Down;
use spool::edges::outbox::{Leased, Outbox, Outgoing, State};
use spool::keys::{Identities, Identity};
use spool::letter::{Expect, LetterError, Opened};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tracing::{error, info, warn};

use super::arc;
use super::convert;
use super::engine::Courier;
use super::envelope;
use super::fate::{Fate, Status, Why};
use super::lanes::{Go, Went};
use super::limits;
use super::link::Link;
use super::outcome::{self, Attempt};
use super::passing;
use super::reach::{self, Wish, World};
use super::record::{self, Ends};
use super::schedule;
use super::session::Extensions;
use super::tell;
use crate::peers::Keeper;

/// The means of one trip.
#[derive(Debug)]
pub struct Trip<W> {
    /// What the role shares.
    pub courier: Arc<Courier<W>>,
    /// Where the lease came from.
    pub outbox: Arc<Outbox>,
    /// Where notices go.
    pub keeper: Keeper,
    /// Whether the role is to end.
    pub drain: watch::Receiver<bool>,
}

/// A place in a lane, given back however the trip ends: with its keeper, it is broken off anywhere.
struct Place<'a, W: World + Send + 'static> {
    courier: &'a Courier<W>,
    destination: &'a str,
    went: Option<Went>,
}

impl<W: World + Send + 'static> Place<'_, W> {
    fn taken(mut self, went: Result<Went, Down>) -> Result<(), Down> {
        self.went = went.as_ref().ok().copied();
        went.map(drop)
    }
}

impl<W: World + Send + 'static> Drop for Place<'_, W> {
    fn drop(&mut self) {
        let mut lanes = self.courier.lanes();
        match self.went {
            Some(went) => lanes.ended(self.destination, went, wire::date::now()),
            None => lanes.broken_off(self.destination),
        }
    }
}

/// A letter that is leased, and open.
struct Open {
    leased: Leased,
    /// What became of all who are leased, where it cannot be read.
    bytes: Result<Vec<u8>, Fate>,
    _room: Option<OwnedSemaphorePermit>,
}

/// A connection, and what it is good for.
struct Ready<S> {
    link: Link<S>,
    require_tls: bool,
    sent: usize,
}

impl<W: World + Send + 'static> Trip<W> {
    /// From the lease to the last report.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn run(self, leased: Leased, file: OwnedFd) -> Result<(), Down> {
        if leased.destination.is_empty() {
            let open = self.open(leased, file).await;
            return tell::told(&self, &open.leased, open.bytes.as_deref().unwrap_or_default()).await;
        }
        let destination = leased.destination.clone();
        let begun = self.courier.lanes().begin(&destination, wire::date::now());
        let until = match begun {
            Go::Now => {
                let place = Place { courier: &self.courier, destination: &destination, went: None };
                return place.taken(self.letters(leased, file).await);
            }
            Go::Busy => wire::date::now().saturating_add(limits::BUSY),
            Go::NotBefore(until) => until,
        };
        self.rest(destination, until).await?;
        self.outbox.report(leased.lease, Vec::new()).await.map(drop)
    }

    async fn rest(&self, destination: String, until: i64) -> Result<(), Down> {
        self.courier.look_again(until);
        self.outbox.rest(destination, until).await
    }

    /// One letter after another over one connection, while it goes well.
    async fn letters(&self, leased: Leased, file: OwnedFd) -> Result<Went, Down> {
        let destination = leased.destination.clone();
        let (mut next, mut ready, mut went) = (Some((leased, file)), None, Went::Well);
        while let Some((leased, file)) = next.take() {
            if *self.drain.borrow() {
                // It is due again with the next courier.
                self.report(leased.lease, Vec::new()).await?;
                break;
            }
            let now = wire::date::now();
            let go = self.courier.lanes().letter(&destination, now);
            if let Go::NotBefore(until) = go {
                self.rest(destination.clone(), until).await?;
                self.outbox.report(leased.lease, Vec::new()).await?;
                break;
            }
            let open = self.open(leased, file).await;
            let (fates, notifies, nowhere) = self.attempt(&open, &mut ready, &mut went).await;
            self.conclude(&open, fates, notifies).await?;
            drop(open);
            if let Some(fate) = nowhere {
                self.the_same_for_all(&destination, &fate).await?;
            }
            if ready.as_ref().is_some_and(Ready::is_good) && !*self.drain.borrow() && !self.courier.is_held() {
                let per_destination = u16::try_from(limits::PER_DESTINATION).unwrap_or(u16::MAX);
                next = self.outbox.lease(Some(destination.clone()), per_destination).await?;
            }
        }
        if let Some(ready) = ready {
            ready.link.close().await;
        }
        Ok(went)
    }

    /// A destination that cannot be reached at all is as far for every letter that is due there: each has had its attempt,
    /// so that its sender hears of it in time, however many wait and however rarely it is tried.
    async fn the_same_for_all(&self, destination: &str, fate: &Fate) -> Result<(), Down> {
        let per_destination = u16::try_from(limits::PER_DESTINATION).unwrap_or(u16::MAX);
        for _ in 0..limits::SAME_FATE {
            if *self.drain.borrow() || self.courier.is_held() {
                break;
            }
            let next = self.outbox.lease(Some(destination.to_owned()), per_destination).await?;
            let Some((leased, file)) = next else { break };
            // Its text is of use in a notice only.
            let open = match schedule::is_delayed(leased.outgoing.queued, wire::date::now()) {
                true => self.open(leased, file).await,
                false => Open { leased, bytes: Ok(Vec::new()), _room: None },
            };
            self.conclude(&open, all(&open.leased, fate), false).await?;
        }
        Ok(())
    }

    async fn open(&self, leased: Leased, file: OwnedFd) -> Open {
        let room = self.courier.memory.take(leased.outgoing.size).await;
        let (identity, facts) = (self.courier.identity.clone(), leased.clone());
        let bytes = tokio::task::spawn_blocking(move || read(&facts, file, &identity)).await;
        let bytes = bytes.unwrap_or_else(|_| Err(LetterError::Io(std::io::Error::other("its reader failed"))));
        let bytes = bytes.map_err(|error| {
            error!(letter = %leased.letter, %error, "a letter that is to leave cannot be opened; run `postern spool check`");
            unreadable(&error)
        });
        Open { leased, bytes, _room: room }
    }

    /// The fates of the leased recipients; whether the far server makes notices of success; the fate that is everybody's
    /// there now, when no host could be reached.
    async fn attempt(
        &self,
        open: &Open,
        ready: &mut Option<Ready<W::Stream>>,
        went: &mut Went,
    ) -> (Vec<(u16, Fate)>, bool, Option<Fate>) {
        let (leased, bytes) = match &open.bytes {
            Ok(bytes) => (&open.leased, bytes),
            Err(fate) => return (all(&open.leased, fate), false, None),
        };
        let require_tls = leased.outgoing.require_tls;
        if let Some(other) = ready.take_if(|ready| require_tls && !ready.require_tls) {
            other.link.close().await;
        }
        loop {
            let reused = ready.is_some();
            let mut drain = self.drain.clone();
            let connected = tokio::select! {
                connected = self.connect(&leased.destination, leased.outgoing.require_tls, ready) => connected,
                // Nothing is lost with a connection that brought nothing yet.
                _ = drain.wait_for(|drain| *drain) => return (Vec::new(), false, None),
            };
            if let Err(fate) = connected {
                let fates = all(leased, &fate);
                let later = matches!(fate, Fate::Deferred(_));
                if later {
                    *went = Went::Badly;
                }
                // Of a letter that asks for more than others it says nothing about them.
                return (fates, false, (later && !require_tls).then_some(fate));
            }
            let Some(current) = ready.as_mut().filter(|_| !*self.drain.borrow()) else {
                return (Vec::new(), false, None);
            };
            let notifies = current.link.extensions().notifications;
            let fates = self.send(current, leased, bytes).await;
            // A far server ends a connection that was idle or much used when it likes: no failure of this letter's.
            if reused && current.link.is_lost_unbegun() {
                *ready = None;
                continue;
            }
            let lost = fates.iter().any(|(_, fate)| matches!(fate, Fate::Deferred(why) if why.status.subject == 4));
            *went = if lost { Went::Badly } else { Went::Well };
            return (fates, notifies, None);
        }
    }

    /// Unless there is one.
    async fn connect(
        &self,
        destination: &str,
        require_tls: bool,
        ready: &mut Option<Ready<W::Stream>>,
    ) -> Result<(), Fate> {
        if ready.is_some() {
            return Ok(());
        }
        let clear_text = self.courier.allows_clear_text(destination);
        let wish = Wish { require_tls, clear_text, seed: random() };
        let link = reach::reach(&self.courier.world, &self.courier.house, destination, wish).await?;
        *ready = Some(Ready { link, require_tls, sent: 0 });
        Ok(())
    }

    async fn send(&self, ready: &mut Ready<W::Stream>, leased: &Leased, bytes: &[u8]) -> Vec<(u16, Fate)> {
        ready.sent += 1;
        let outgoing = &leased.outgoing;
        let converted = match seven_bit(outgoing, ready.link.extensions(), bytes) {
            Ok(converted) => converted,
            Err(why) => return all(leased, &Fate::Failed(why)),
        };
        let text = converted.as_deref().unwrap_or(bytes);
        let signatures = if outgoing.passed_on { self.seal(text) } else { self.signatures(outgoing, text).await };
        let size = (signatures.len() + text.len()) as u64;
        let eight_bit = converted.is_none() && outgoing.eight_bit;
        let sender = self.sender(outgoing, text);
        let made = match envelope::addressed(leased, sender.as_deref(), (size, eight_bit), ready.link.extensions()) {
            Ok(made) => made,
            Err(why) => return all(leased, &Fate::Failed(why)),
        };
        let mut all = made.refused;
        if !made.numbers.is_empty() {
            let fates = ready.link.send(made.letter, &[signatures.as_bytes(), text]).await;
            all.extend(made.numbers.into_iter().zip(fates));
        }
        all
    }

    fn sender(&self, outgoing: &Outgoing, text: &[u8]) -> Option<String> {
        let today = u32::try_from(wire::date::now() / 86_400).unwrap_or(0);
        passing::sender(outgoing, text, &self.courier.rewriter, &self.courier.domain, today)
    }

    /// DKIM. Without a key, or of what no signature fits, a letter leaves as it is.
    async fn signatures(&self, outgoing: &Outgoing, text: &[u8]) -> String {
        let Some(domain) = passing::signing_domain(outgoing, text) else { return String::new() };
        let Some(signers) = self.courier.signers(&domain) else {
            warn!(domain, "a letter leaves unsigned: `domains` in the configuration does not name its domain");
            return String::new();
        };
        // Hashing a large letter and RSA take milliseconds, on a small board tens of them.
        let signed = tokio::task::block_in_place(|| signers.sign(text));
        signed.unwrap_or_else(|error| {
            warn!(domain, error, "a letter could not be signed");
            String::new()
        })
    }

    /// ARC, for the domain of rewritten senders; what its author signed stays as it is.
    fn seal(&self, text: &[u8]) -> String {
        let domain = &self.courier.domain;
        let Some(signers) = self.courier.signers(domain) else { return String::new() };
        let host = &self.courier.house.hello;
        let sealed = tokio::task::block_in_place(|| arc::seal(text, host, &signers, wire::date::now()));
        sealed.unwrap_or_else(|error| {
            warn!(domain, error, "a letter that is passed on could not be sealed");
            String::new()
        })
    }

    /// Writes down what became of it; then its sender hears that it waits.
    async fn conclude(&self, open: &Open, fates: Vec<(u16, Fate)>, far_notifies: bool) -> Result<(), Down> {
        let (leased, now) = (&open.leased, wire::date::now());
        log(leased, &fates);
        let states = outcome::states(&leased.outgoing, &fates, Attempt { now, jitter: random(), far_notifies });
        let mut after = leased.outgoing.clone();
        apply(&mut after, &states);
        // What is decided is told under a lease of its own, once the decision is durable.
        let mut late = outcome::due(leased.letter, &after, &leased.recipients, now);
        late.retain(|due| due.then.iter().all(|(_, state)| matches!(state, State::Waiting { .. })));
        if late.is_empty() {
            return self.report(leased.lease, states).await;
        }
        // A notice takes its time, and a delivery without a record is made again.
        record::record(&self.outbox, (leased.lease, Ends::Not), states, || self.courier.hold()).await?;
        let (text, mut told) = (open.bytes.as_deref().unwrap_or_default(), Vec::new());
        for due in late {
            if tell::deposit(self, leased.letter, &after, &due, text).await == tell::Told::Yes {
                told.extend(due.then);
            }
        }
        self.report(leased.lease, told).await
    }

    /// The last of a lease.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn report(&self, lease: u64, states: Vec<(u16, State)>) -> Result<(), Down> {
        record::record(&self.outbox, (lease, Ends::Now), states, || self.courier.hold()).await
    }
}

impl<S> Ready<S>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    fn is_good(&self) -> bool {
        let most = self.link.extensions().letters.unwrap_or(limits::LETTERS).min(limits::LETTERS);
        self.link.is_ready() && self.sent < most
    }
}

/// Puts states in.
pub fn apply(outgoing: &mut Outgoing, states: &[(u16, State)]) {
    for (number, state) in states {
        if let Some(one) = outgoing.recipients.get_mut(usize::from(*number)) {
            one.state = state.clone();
        }
    }
}

fn all(leased: &Leased, fate: &Fate) -> Vec<(u16, Fate)> {
    leased.recipients.iter().map(|number| (*number, fate.clone())).collect()
}

/// In a thread: the message.
fn read(leased: &Leased, file: OwnedFd, identity: &[u8; 32]) -> Result<Vec<u8>, LetterError> {
    let mailbox = leased.outgoing.mailbox;
    let identity = Identity::from_bytes(identity).map_err(|_| LetterError::NoIdentity(leased.outgoing.generation))?;
    let expect = Expect { mailbox, letter: leased.letter, size: Some(leased.outgoing.size) };
    let mut opened = Opened::open(File::from(file), &expect, &Identities::first(mailbox, identity))?;
    let size = opened.size();
    opened.read_range(0, size)
}

/// Only what is damaged stays so: a disk, memory or a key that is missing may come back.
fn unreadable(error: &LetterError) -> Fate {
    match error {
        LetterError::Damaged(_) | LetterError::Misplaced | LetterError::OutOfRange => {
            Fate::Failed(Why::ours(Status::new(5, 3, 0), "the mail server's own copy of the letter is damaged"))
        }
        LetterError::Io(_) | LetterError::NoIdentity(_) => Fate::Deferred(Why::ours(
            Status::new(4, 3, 0),
            "the mail server cannot open its own copy of the letter now",
        )),
    }
}

/// For a server that takes seven bits only; `None`: it goes as it is.
fn seven_bit(outgoing: &Outgoing, far: &Extensions, bytes: &[u8]) -> Result<Option<Vec<u8>>, Why> {
    if !outgoing.eight_bit || far.eight_bit || outgoing.international {
        return Ok(None);
    }
    convert::to_seven_bit(bytes).map(Some).map_err(|_| {
        Why::ours(Status::new(5, 6, 3), "the far server takes 7-bit mail only, and this letter cannot be made so")
    })
}

/// One line a recipient: its number, its fate, in whose words; never an address.
fn log(leased: &Leased, fates: &[(u16, Fate)]) {
    for (recipient, fate) in fates {
        let (what, why) = (kind(fate), fate.why());
        let destination = &leased.destination;
        info!(letter = %leased.letter, destination, recipient, what, status = %why.status, "sent off");
    }
}

const fn kind(fate: &Fate) -> &'static str {
    match fate {
        Fate::Delivered(_) => "delivered",
        Fate::Deferred(_) => "deferred",
        Fate::Failed(_) => "failed",
    }
}

/// Any number: for the order of hosts and the spread of attempts.
fn random() -> u64 {
    let mut bytes = [0; 8];
    let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_damaged_is_given_up() {
        for error in [LetterError::Damaged("cut short"), LetterError::Misplaced, LetterError::OutOfRange] {
            assert!(matches!(unreadable(&error), Fate::Failed(why) if why.status == Status::new(5, 3, 0)), "{error}");
        }
        for error in [LetterError::Io(std::io::ErrorKind::OutOfMemory.into()), LetterError::NoIdentity(1)] {
            assert!(matches!(unreadable(&error), Fate::Deferred(why) if why.status == Status::new(4, 3, 0)), "{error}");
        }
    }
}
