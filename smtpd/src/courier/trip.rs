//! One lease, and what else goes the same way: opens the letter, connects, sends, reports, takes the next.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use spool::edges::Down;
use spool::edges::admin::Rest;
use spool::edges::outbox::{Leased, Outbox, Outgoing, State};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tracing::{info, warn};

use super::arc;
use super::around::{AroundLease, InTurn, Seat};
use super::convert;
use super::elsewhere::{Asked, Fates};
use super::engine::Courier;
use super::envelope;
use super::fate::{Fate, Status, Why};
use super::lanes::{Go, Went};
use super::letter::{self, Sealed};
use super::limits;
use super::link::Link;
use super::lost::Door;
use super::memory::{self, Room};
use super::outcome::{self, Attempt};
use super::passing;
use super::pieces::{Pieces, Text};
use super::reach::World;
use super::record::{self, Ends};
use super::session::Extensions;
use super::tell;
use crate::peers::Keeper;

mod home;
mod hosts;

/// The means of one trip.
#[derive(Debug)]
pub struct Trip<W: World> {
    /// What the role shares.
    pub courier: Arc<Courier<W>>,
    /// Where the lease came from.
    pub outbox: Arc<Outbox>,
    /// Where notices go.
    pub keeper: Keeper,
    /// Whether the role is to end.
    pub drain: watch::Receiver<bool>,
    /// Its place among the connections.
    pub seat: Seat,
}

/// A place in a lane, given back however the trip ends: with its keeper, it is broken off anywhere.
struct Place<'a, W: World + Send + 'static> {
    courier: &'a Courier<W>,
    destination: &'a str,
    went: Option<Went>,
}

/// What a trip leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Nothing that was leased is due again, or soon: nobody needs to ask for more because of it.
    Nothing,
    /// There may be something.
    Perhaps,
}

impl<W: World + Send + 'static> Place<'_, W> {
    fn taken(mut self, ended: Result<(Went, Left), Down>) -> Result<Left, Down> {
        self.went = ended.as_ref().ok().map(|(went, _)| *went);
        ended.map(|(_, left)| left)
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

/// A letter that is leased, and its file.
struct Open {
    leased: Leased,
    file: Sealed,
    in_turn: InTurn,
}

/// What of a letter is made for one far server.
struct Prepared {
    /// In front of it.
    signatures: String,
    /// MAIL FROM.
    sender: Option<String>,
    eight_bit: bool,
    /// Its bytes, where they are in memory; else they come from its file.
    text: Option<Vec<u8>>,
    _room: Room,
}

/// A connection, and what it is good for.
#[derive(Debug)]
pub struct Ready<S> {
    link: Link<S>,
    door: Door,
    /// All of its destination, by name.
    hosts: Vec<String>,
    require_tls: bool,
    sent: usize,
    _share: Option<OwnedSemaphorePermit>,
}

impl<W: World + Send + 'static> Trip<W> {
    /// From the lease to the last report.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn run(self, leased: Leased, file: OwnedFd) -> Result<Left, Down> {
        if leased.destination.is_empty() {
            let text = self.open(leased.clone(), file).file.beginning();
            return tell::told(&self, &leased, &text).await.map(|()| Left::Perhaps);
        }
        if leased.is_ours {
            return self.home(leased, file).await.map(|()| Left::Perhaps);
        }
        let destination = leased.destination.clone();
        let begun = self.courier.lanes().begin(&destination, leased.turn(), wire::date::now());
        let rest = match begun {
            Go::Now => {
                let place = Place { courier: &self.courier, destination: &destination, went: None };
                let left = place.taken(self.letters(leased, file).await)?;
                if self.courier.lanes().has_room_again(&destination) {
                    self.outbox.rest(destination, Rest { until: 0, why: String::new() }).await?;
                    return Ok(Left::Perhaps);
                }
                return Ok(left);
            }
            // That is no trouble anybody must hear of.
            Go::Busy => Rest { until: wire::date::now().saturating_add(limits::BUSY), why: String::new() },
            Go::NotBefore(until) => Rest { until, why: self.courier.lanes().why(&destination) },
            Go::StrangersNotBefore(until) => {
                let rest = Rest { until, why: self.courier.lanes().why(&destination) };
                self.courier.look_again(until);
                self.outbox.rest_for_strangers(destination, rest).await?;
                return self.outbox.report(leased.lease, Vec::new()).await.map(|_| Left::Perhaps);
            }
        };
        self.rest(destination, rest).await?;
        self.outbox.report(leased.lease, Vec::new()).await.map(|_| Left::Perhaps)
    }

    async fn rest(&self, destination: String, rest: Rest) -> Result<(), Down> {
        self.courier.look_again(rest.until);
        self.outbox.rest(destination, rest).await
    }

    /// One letter after another over one connection, while it goes well.
    async fn letters(&self, leased: Leased, file: OwnedFd) -> Result<(Went, Left), Down> {
        let destination = leased.destination.clone();
        let (mut next, mut went, mut left) = (Some((leased, file)), Went::Well, Left::Nothing);
        let mut ready = self.courier.reuse(&destination);
        while let Some((leased, file)) = next.take() {
            if *self.drain.borrow() {
                // It is due again with the next courier.
                self.report(leased.lease, Vec::new()).await?;
                left = Left::Perhaps;
                break;
            }
            let now = wire::date::now();
            let go = self.courier.lanes().letter(&destination, now);
            if let Go::NotBefore(until) = go {
                let words =
                    format!("{destination} has said \"not now\" of late, and gets only so many letters a minute");
                self.rest(destination.clone(), Rest { until, why: outcome::reason(&words) }).await?;
                self.outbox.report(leased.lease, Vec::new()).await?;
                left = Left::Perhaps;
                break;
            }
            let mut open = self.open(leased, file);
            let (fates, notifies, nowhere) = self.attempt(&mut open, &mut ready, &mut went).await;
            if !is_all_done(&open.leased, &fates) {
                left = Left::Perhaps;
            }
            let goes_on = open.leased.more
                && ready.as_ref().is_some_and(Ready::is_good)
                && !*self.drain.borrow()
                && !self.courier.is_held()
                && !self.seat.is_given_up();
            // Asked for in one go with the record, and begun only after it: the keeper answers in order.
            let more = async { if goes_on { self.more(&destination).await } else { Ok(None) } };
            let (concluded, more) = tokio::join!(self.conclude(&mut open, fates, notifies), more);
            concluded?;
            next = more?;
            drop(open);
            if let Some(fate) = nowhere {
                self.the_same_for_all(&destination, &fate).await?;
            }
        }
        match ready {
            Some(ready) if ready.is_good() && !*self.drain.borrow() => {
                self.courier.keep_for_the_next(destination, ready).await;
            }
            Some(ready) => ready.close().await,
            None => {}
        }
        Ok((went, left))
    }

    /// A destination that cannot be reached at all is as far for every letter that is due there: each has had its attempt,
    /// so that its sender hears of it in time, however many wait and however rarely it is tried.
    async fn the_same_for_all(&self, destination: &str, fate: &Fate) -> Result<(), Down> {
        for _ in 0..limits::SAME_FATE {
            if *self.drain.borrow() || self.courier.is_held() {
                break;
            }
            let Some((leased, file)) = self.more(destination).await? else { break };
            let fates = all(&leased, fate);
            self.conclude(&mut self.open(leased, file), fates, false).await?;
        }
        Ok(())
    }

    /// What else is due there.
    async fn more(&self, destination: &str) -> Result<Option<(Leased, OwnedFd)>, Down> {
        let per_destination = u16::try_from(limits::PER_DESTINATION).unwrap_or(u16::MAX);
        self.outbox.lease(Some(destination.to_owned()), per_destination).await
    }

    fn open(&self, leased: Leased, file: OwnedFd) -> Open {
        let file = Sealed::new(&leased, file, self.courier.identities.clone());
        let in_turn = self.courier.takes_turn(leased.turn());
        Open { leased, file, in_turn }
    }

    /// The fates of the leased recipients; whether the far server makes notices of success; the fate that is everybody's
    /// there now, when no host could be reached.
    async fn attempt(
        &self,
        open: &mut Open,
        ready: &mut Option<Ready<W::Stream>>,
        went: &mut Went,
    ) -> (Fates, bool, Option<Fate>) {
        let recipients = open.leased.recipients.clone();
        let came = self.at_hosts(open, ready, went).await;
        open.leased.recipients = recipients;
        came
    }

    async fn send(&self, ready: &mut Ready<W::Stream>, open: &mut Open) -> Vec<(u16, Fate)> {
        ready.sent += 1;
        let prepared = match self.prepare(open, ready.link.hello(), ready.link.extensions()).await {
            Ok(prepared) => prepared,
            Err(fate) => return all(&open.leased, &fate),
        };
        let text = match (&prepared.text, open.file.opened()) {
            (Some(text), _) => Text::Here(text),
            (None, Ok(opened)) => Text::Sealed(opened),
            (None, Err(error)) => return all(&open.leased, &letter::fate(open.leased.letter, &error)),
        };
        let bytes = Pieces::new(prepared.signatures.as_bytes(), text);
        let size = (bytes.size(), prepared.eight_bit);
        let far = ready.link.extensions();
        let made = match envelope::addressed(&open.leased, prepared.sender.as_deref(), size, far) {
            Ok(made) => made,
            Err(why) => return all(&open.leased, &Fate::Failed(why)),
        };
        let mut all = made.refused;
        if !made.numbers.is_empty() {
            let around = AroundLease {
                courier: &self.courier,
                outbox: &self.outbox,
                lease: open.leased.lease,
                seat: &self.seat,
                in_turn: &open.in_turn,
                drain: &self.drain,
            };
            let fates = ready.link.send(made.letter, bytes, &around).await;
            all.extend(made.numbers.into_iter().zip(fates));
        }
        all
    }

    /// Reads all of it, converts it if it must be, and signs it. No far server waits meanwhile for longer than that takes.
    async fn prepare(&self, open: &mut Open, hello: &str, far: &Extensions) -> Result<Prepared, Fate> {
        let (outgoing, name) = (&open.leased.outgoing, open.leased.letter);
        let convert = must_convert(outgoing, far);
        let memory = &self.courier.memory;
        let room = if convert { memory.to_convert(outgoing.size).await } else { memory.to_sign(outgoing.size).await };
        let _hand = memory.hand().await;
        // Opening, hashing and RSA take milliseconds, on a small board and of a large letter many.
        tokio::task::block_in_place(|| {
            let whole = open.file.whole().map_err(|error| letter::fate(name, &error))?;
            passing::check(outgoing, &whole, (&self.courier.domain, &self.courier.house.hello), hello)?;
            let text = if convert { seven_bit(&whole).map_err(Fate::Failed)? } else { whole };
            let signatures = if outgoing.passed_on { self.seal(&text) } else { self.signatures(outgoing, &text) };
            let sender = self.sender(outgoing, &text);
            let eight_bit = outgoing.eight_bit && !convert;
            let stays = convert || memory::is_small(outgoing.size);
            let (text, room) = if stays { (Some(text), room) } else { (None, None) };
            Ok(Prepared { signatures, sender, eight_bit, text, _room: room })
        })
    }

    fn sender(&self, outgoing: &Outgoing, text: &[u8]) -> Option<String> {
        let today = u32::try_from(wire::date::now() / 86_400).unwrap_or(0);
        passing::sender(outgoing, text, &self.courier.rewriter, &self.courier.domain, today)
    }

    /// DKIM. Without a key, or of what no signature fits, a letter leaves as it is. One from a domain that has no keys
    /// here (`domains` in the configuration does not name it any more) is signed for the house: who gets it then knows at
    /// least which house answers for it (RFC 6376 §1: the signer need not be the author).
    fn signatures(&self, outgoing: &Outgoing, text: &[u8]) -> String {
        let Some(domain) = passing::signing_domain(outgoing, text) else { return String::new() };
        let signers = self.courier.signers(&domain).or_else(|| {
            warn!(
                domain,
                "a letter has no signature of its own domain: `domains` in the configuration does not name it"
            );
            self.courier.signers(&self.courier.domain)
        });
        let Some(signers) = signers else { return String::new() };
        signers.sign(text).unwrap_or_else(|error| {
            warn!(domain, error, "a letter could not be signed");
            String::new()
        })
    }

    /// ARC, for the domain of rewritten senders; what its author signed stays as it is.
    fn seal(&self, text: &[u8]) -> String {
        let domain = &self.courier.domain;
        let Some(signers) = self.courier.signers(domain) else { return String::new() };
        let host = &self.courier.house.hello;
        arc::seal(text, host, &signers, wire::date::now()).unwrap_or_else(|error| {
            warn!(domain, error, "a letter that is passed on could not be sealed");
            String::new()
        })
    }

    /// Writes down what became of it; then its sender hears that it waits.
    async fn conclude(&self, open: &mut Open, fates: Vec<(u16, Fate)>, far_notifies: bool) -> Result<(), Down> {
        let states = self.states(&open.leased, &fates, far_notifies);
        self.settle(open, states).await
    }

    fn states(&self, leased: &Leased, fates: &[(u16, Fate)], far_notifies: bool) -> Vec<(u16, State)> {
        log(leased, fates);
        let (now, jitter) = (wire::date::now(), self.courier.jitter(&leased.destination));
        outcome::states(&leased.outgoing, fates, Attempt { now, jitter, far_notifies })
    }

    async fn settle(&self, open: &mut Open, states: Vec<(u16, State)>) -> Result<(), Down> {
        let (leased, now) = (&open.leased, wire::date::now());
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
        let (text, mut told) = (open.file.beginning(), Vec::new());
        for due in late {
            if tell::deposit(self, leased.letter, &after, &due, &text).await == tell::Told::Yes {
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

    /// Whether its destination has a host that is not among these.
    fn has_other(&self, asked: &Asked) -> bool {
        self.hosts.iter().any(|host| !asked.has_asked(host))
    }

    /// Holds no more memory than it must.
    pub fn shrink(&mut self) {
        self.link.shrink();
    }

    /// Says goodbye.
    pub async fn close(self) {
        self.link.close().await;
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

/// Whether a far server has taken it for everybody it was leased for.
fn is_all_done(leased: &Leased, fates: &[(u16, Fate)]) -> bool {
    fates.len() == leased.recipients.len() && fates.iter().all(|(_, fate)| matches!(fate, Fate::Delivered(_)))
}

/// Whether it takes seven bits only. Of a header beyond ASCII no other form is the same letter.
const fn must_convert(outgoing: &Outgoing, far: &Extensions) -> bool {
    outgoing.eight_bit && !far.eight_bit && !outgoing.international
}

fn seven_bit(bytes: &[u8]) -> Result<Vec<u8>, Why> {
    convert::to_seven_bit(bytes).map_err(|_| {
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
mod tests;
