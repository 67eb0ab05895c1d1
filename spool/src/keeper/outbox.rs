//! The `Outbox` edge, held by `courier`: what is due is leased, what became of it is written down. Leases live as long
//! as the connection.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::OFlags;

use crate::commit::With;
use crate::edges::admin::{Fate, Rest};
use crate::edges::limits::ADDRESS;
use crate::edges::outbox::limits::{LEASES, POLICY, REST_WORDS, WORDS};
use crate::edges::outbox::turns::{Turn, Turns};
use crate::edges::outbox::{Event, Leased, Outgoing, OutgoingRecipient, Reply, Request, Said, State};
use crate::index::Index;
use crate::index::outgoing::{TELL, Waiting, may_follow};
use crate::journal::record::Record;
use crate::names::LetterId;
use crate::store;

use super::house::{House, now};
use super::leads;
use super::line::{Along, Asked, Breach, Line, Service};
use super::under_way::Stage;

mod resting;
mod watching;

use resting::Resting;
use watching::Watching;

/// Bytes of journal that the record of one recipient takes, at the most that couriers say.
const RECORDED: usize = 1_536;
/// Recipients whose record is sure to be taken when one more letter is leased; more of them come in several records.
const RECIPIENTS_SURE: usize = 20;

/// Seconds after which a letter that could not be opened, or whose sender could not be told, has its next turn.
const SLEEP: i64 = 300;
/// Until the next courier: the file is gone.
const FOR_EVER: i64 = i64::MAX;
/// Seconds for which who is to be told of some recipients is not told yet, while others of the same letter are tried: what
/// fails together comes in one notice.
const TOGETHER: i64 = 20;
/// Bytes of policies in one packet.
const SHARE: usize = 24 * 1024;

/// One courier.
#[derive(Debug)]
pub struct Outbox {
    house: Arc<House>,
    leases: HashMap<u64, Lease>,
    /// The same, by what is leased.
    taken: HashSet<(LetterId, String)>,
    /// How many of each destination.
    running: HashMap<String, u16>,
    turns: Turns,
    resting: Resting,
    /// What the admin's "now"s came to when it last rested.
    hurried: u64,
    /// What is not leased again before then: its file could not be opened, or its sender not be told.
    asleep: HashMap<(LetterId, String), i64>,
    next: u64,
    watching: Option<Watching>,
}

#[derive(Debug)]
struct Lease {
    letter: LetterId,
    destination: String,
    recipients: Vec<u16>,
    /// Until it steps aside.
    turn: Option<Turn>,
}

impl Drop for Outbox {
    fn drop(&mut self) {
        for lease in self.leases.values() {
            self.house.under_way.is_over(lease.letter, &lease.destination);
        }
    }
}

impl Outbox {
    /// Serves one.
    #[must_use]
    pub fn new(house: Arc<House>) -> Self {
        house.rests.end_all();
        Self {
            hurried: house.hurried.load(Ordering::Relaxed),
            house,
            leases: HashMap::new(),
            taken: HashSet::new(),
            running: HashMap::new(),
            turns: Turns::default(),
            resting: Resting::default(),
            asleep: HashMap::new(),
            next: 1,
            watching: None,
        }
    }

    fn lease(&mut self, only: Option<&str>, per_destination: u16, asked: Asked<Reply, Event>) -> Result<(), Breach> {
        if self.leases.len() >= LEASES {
            return Err(Breach("too many leases"));
        }
        let at = now();
        self.resting.look(at);
        self.house.rests.look(at);
        self.asleep.retain(|_, until| *until > at && (*until == FOR_EVER || *until <= at.saturating_add(SLEEP)));
        let hurried = self.house.hurried.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.hurried, hurried) != hurried {
            self.resting.end_all();
            self.house.rests.end_all();
            self.asleep.clear();
        }
        loop {
            let (found, after) = self.find(only, per_destination, at);
            let Some(leased) = found else {
                self.hungry(asked.line());
                asked.reply(after, Reply::Leased(None));
                return Ok(());
            };
            if let Some(file) = self.open(&leased, at) {
                self.note(&leased);
                if only.is_none() && !leased.more {
                    self.hungry(asked.line());
                }
                let with = Along::Descriptors(vec![file]);
                asked.reply_with(after, Reply::Leased(Some(Box::new(leased))), with);
                return Ok(());
            }
        }
    }

    /// What is to be leased next, and the entry it rests on.
    fn find(&self, only: Option<&str>, per_destination: u16, at: i64) -> (Option<Leased>, u64) {
        let mut core = self.house.committer.lock();
        // What could not be written down would be sent again and again.
        let recipients: usize = self.leases.values().map(|lease| lease.recipients.len()).sum();
        if !core.has_room((recipients + RECIPIENTS_SURE) * RECORDED) {
            return (None, core.sequence);
        }
        let waiting = core.index.waiting();
        let busy = |destination: &str| {
            let running = self.running.get(destination).copied().unwrap_or(0);
            running >= per_destination || self.resting.is_closed(destination)
        };
        let waits_its_turn = |letter, destination: &str| {
            let rests = |one: &Outgoing| one.passed_on && self.resting.is_closed_for(destination, true);
            destination != TELL && waiting.get(letter).is_some_and(|one| rests(one) || self.turns.is_full(one.turn()))
        };
        let taken = |letter, destination: &str| {
            if waits_its_turn(letter, destination) {
                return true;
            }
            let named = (letter, destination.to_owned());
            self.asleep.contains_key(&named)
                || self.taken.contains(&named)
                || (destination == TELL && self.is_more_to_tell(waiting, letter, at))
                || is_suspended(&core.index, letter, destination)
        };
        let found = match only {
            // It asks for more over a connection that it has: the rest was for new ones.
            Some(destination) if self.running.get(destination).is_some_and(|n| *n >= per_destination) => None,
            Some(destination) => waiting.next_of(destination, at, taken),
            None => waiting.next(at, busy, taken),
        };
        let leased = found.and_then(|(letter, destination)| {
            let outgoing = waiting.get(letter)?.clone();
            let recipients = waiting.recipients(letter, destination, at);
            let more = self.is_more_due(waiting, (letter, destination), only, at);
            let is_ours = leads::is_our_domain(&self.house, &core.index, destination);
            let destination = destination.to_owned();
            Some(Leased { lease: self.next, letter, outgoing, recipients, destination, is_ours, more }.fitting())
        });
        (leased, core.sequence)
    }

    /// Whether anything is due but this and what is leased already, whatever keeps it from being leased now.
    fn is_more_due(&self, waiting: &Waiting, this: (LetterId, &str), only: Option<&str>, at: i64) -> bool {
        let leased = |letter, destination: &str| {
            (letter, destination) == this || self.taken.contains(&(letter, destination.to_owned()))
        };
        match only {
            Some(destination) => waiting.next_of(destination, at, leased).is_some(),
            None => waiting.next(at, |_| false, leased).is_some(),
        }
    }

    /// Whether more of what has just been decided about a letter may be known soon.
    fn is_more_to_tell(&self, waiting: &Waiting, letter: LetterId, at: i64) -> bool {
        let Some(outgoing) = waiting.get(letter) else { return false };
        let fresh = |state: &State| match state {
            State::Untold { last, .. } => (0..TOGETHER).contains(&at.saturating_sub(last.at)),
            State::Waiting { .. } | State::Done { .. } => false,
        };
        let tried = |one: &OutgoingRecipient| {
            let named = (letter, one.destination());
            // What rests may rest for hours.
            let soon = self.taken.contains(&named) || !self.resting.is_closed_for(&named.1, outgoing.passed_on);
            soon && matches!(one.state, State::Waiting { due, .. } if due <= at)
        };
        !outgoing.held
            && outgoing.recipients.iter().any(|one| fresh(&one.state))
            && outgoing.recipients.iter().any(tried)
    }

    fn note(&mut self, leased: &Leased) {
        let turn = leased.turn();
        let Leased { letter, destination, recipients, .. } = leased.clone();
        if destination != TELL {
            self.house.under_way.is_at(letter, &destination, Stage::Leased);
        }
        *self.running.entry(destination.clone()).or_default() += 1;
        self.taken.insert((letter, destination.clone()));
        self.leases.insert(self.next, Lease { letter, destination, recipients, turn: Some(turn) });
        self.turns.begun(turn);
        self.next += 1;
    }

    fn open(&mut self, leased: &Leased, at: i64) -> Option<OwnedFd> {
        let letter = leased.letter;
        let path = store::outgoing_path(&self.house.root, letter);
        let opened =
            std::fs::OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path);
        match opened {
            Ok(file) => Some(file.into()),
            Err(error) => {
                tracing::error!(%letter, %error, "a letter that is to leave cannot be opened; run `postern spool check`");
                self.house.tell(format!("outgoing/{letter}"), format!("cannot be opened: {error}"), Fate::Open);
                // A disk or descriptors that fail now may not fail then; a file that is gone is gone.
                let until = if error.kind() == ErrorKind::NotFound { FOR_EVER } else { at.saturating_add(SLEEP) };
                self.asleep.insert((letter, leased.destination.clone()), until);
                None
            }
        }
    }

    fn end(&mut self, lease: u64) {
        let Some(lease) = self.leases.remove(&lease) else { return };
        lease.turn.into_iter().for_each(|turn| self.turns.ended(turn));
        self.house.under_way.is_over(lease.letter, &lease.destination);
        self.taken.remove(&(lease.letter, lease.destination.clone()));
        if let Some(running) = self.running.get_mut(&lease.destination) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(&lease.destination);
            }
        }
    }

    fn report(
        &mut self,
        (number, ends): (u64, bool),
        states: Vec<(u16, State)>,
        asked: Asked<Reply, Event>,
    ) -> Result<(), Breach> {
        let untold = states.is_empty();
        let (after, reply) = self.record(number, states)?;
        if let Some(lease) = self.leases.get(&number).filter(|_| matches!(reply, Reply::Recorded)) {
            self.house.under_way.is_over(lease.letter, &lease.destination);
        }
        if ends && matches!(reply, Reply::Recorded) {
            let lease = self.leases.get(&number).filter(|lease| untold && lease.destination == TELL);
            if let Some(named) = lease.map(|lease| (lease.letter, lease.destination.clone())) {
                self.asleep.insert(named, now().saturating_add(SLEEP));
            }
            self.end(number);
        }
        asked.reply(after, reply);
        Ok(())
    }

    fn aside(&mut self, lease: u64) -> Result<(), Breach> {
        let lease = self.leases.get_mut(&lease).ok_or(Breach("nothing leased steps aside"))?;
        lease.turn.take().into_iter().for_each(|turn| self.turns.ended(turn));
        Ok(())
    }

    /// Under the lock under which the admin's word becomes true: either it comes first, and the text stays here, or the
    /// admin is told that it had begun.
    fn begin(&self, lease: u64) -> Result<bool, Breach> {
        let lease = self.leases.get(&lease).ok_or(Breach("a beginning of nothing leased"))?;
        let core = self.house.committer.lock();
        let outgoing = core.index.waiting().get(lease.letter);
        let may = outgoing.is_some_and(|outgoing| !outgoing.held)
            && !is_suspended(&core.index, lease.letter, &lease.destination);
        if may {
            self.house.under_way.is_at(lease.letter, &lease.destination, Stage::Begun);
        }
        Ok(may)
    }

    fn over(&self, lease: u64) -> Result<(), Breach> {
        let lease = self.leases.get(&lease).ok_or(Breach("an end of nothing leased"))?;
        self.house.under_way.is_at(lease.letter, &lease.destination, Stage::Leased);
        Ok(())
    }

    fn record(&self, lease: u64, states: Vec<(u16, State)>) -> Result<(u64, Reply), Breach> {
        let lease = self.leases.get(&lease).ok_or(Breach("a report about nothing leased"))?;
        let committer = &self.house.committer;
        let mut core = committer.lock();
        // Dropped by the admin meanwhile: there is nothing left to note.
        if let Some(outgoing) = core.index.waiting().get(lease.letter) {
            for (recipient, state) in &states {
                let before = outgoing.recipients.get(usize::from(*recipient)).map(|one| &one.state);
                let leased = lease.recipients.contains(recipient) && is_bounded(state);
                // The same again: a report whose other half was not taken comes whole once more.
                if !(leased && before.is_some_and(|before| before == state || may_follow(before, state))) {
                    return Err(Breach("a fate that cannot be"));
                }
            }
        }
        if states.is_empty() || core.index.waiting().get(lease.letter).is_none() {
            return Ok((core.sequence, Reply::Recorded));
        }
        // It frees room: the letter's file, in the end.
        let record = Record::Fates { letter: lease.letter, states };
        match committer.take(&mut core, vec![record], &With { letters: &[], frees: true }) {
            Ok(after) => Ok((after, Reply::Recorded)),
            Err(_) => Ok((core.sequence, Reply::NotRecorded)),
        }
    }

    fn rest(&mut self, destination: String, rest: Rest, passed_on: bool) -> Result<(), Breach> {
        if rest.why.len() > REST_WORDS || rest.why.contains(char::is_control) {
            return Err(Breach("a reason beyond its bounds"));
        }
        if destination.len() > ADDRESS || !self.resting.begin(destination.clone(), rest.until, passed_on) {
            return Err(Breach("too much rest"));
        }
        self.house.rests.begin(&destination, rest, passed_on);
        Ok(())
    }

    fn policies(&self, after: Option<&str>) -> Reply {
        let core = self.house.committer.lock();
        let mut bytes = 0;
        let some = core.index.policies().after(after).take_while(|(domain, policy)| {
            bytes += domain.len() + policy.len() + 16;
            bytes <= SHARE
        });
        Reply::Policies(some.map(|(domain, policy)| (domain.to_owned(), policy.to_vec())).collect())
    }

    fn keep_policy(&self, record: Record, asked: Asked<Reply, Event>) {
        let mut core = self.house.committer.lock();
        let after = self.house.committer.take(&mut core, vec![record], &With::default());
        asked.reply(after.unwrap_or(core.sequence), Reply::PolicyKept);
    }

    /// From now on the courier waits for news.
    fn hungry(&mut self, line: &Line<Reply, Event>) {
        self.watching.get_or_insert_with(|| Watching::begin(&self.house, line)).tell_once();
    }
}

/// Whatever a suspended mailbox has written waits with it: who had its password may have written it. It still hears.
fn is_suspended(index: &Index, letter: LetterId, destination: &str) -> bool {
    let written = index.waiting().get(letter).filter(|outgoing| !outgoing.passed_on);
    let sender = written.and_then(|outgoing| index.mailbox(outgoing.mailbox));
    destination != TELL && sender.is_some_and(|mailbox| mailbox.profile().suspended)
}

fn is_bounded(state: &State) -> bool {
    let fits = |said: &Said| {
        let host = said.by.as_ref().map_or("", |(host, _)| host);
        said.words.len() <= WORDS
            && host.len() <= ADDRESS
            && !said.words.chars().chain(host.chars()).any(char::is_control)
    };
    match state {
        State::Waiting { last, .. } => last.as_ref().is_none_or(fits),
        State::Untold { last, .. } => fits(last),
        State::Done { .. } => true,
    }
}

impl Service for Outbox {
    type Request = Request;
    type Reply = Reply;
    type Event = Event;
    const AT_ONCE: usize = 16;

    fn request(&mut self, request: Request, with: Vec<OwnedFd>, asked: Asked<Reply, Event>) -> Result<(), Breach> {
        if !with.is_empty() {
            return Err(Breach("descriptors where none belong"));
        }
        match request {
            Request::Lease { only, per_destination } => self.lease(only.as_deref(), per_destination, asked),
            Request::Begin { lease } => {
                asked.reply(0, Reply::Begun(self.begin(lease)?));
                Ok(())
            }
            Request::Over { lease } => {
                self.over(lease)?;
                asked.reply(0, Reply::Over);
                Ok(())
            }
            Request::Aside { lease } => {
                self.aside(lease)?;
                asked.reply(0, Reply::Aside);
                Ok(())
            }
            Request::Wake => {
                self.asleep.retain(|(_, destination), until| destination != TELL || *until == FOR_EVER);
                asked.reply(0, Reply::Awake);
                Ok(())
            }
            Request::Report { lease, states, ends } => self.report((lease, ends), states, asked),
            Request::Rest { destination, rest, passed_on } => {
                self.rest(destination, rest, passed_on)?;
                asked.reply(0, Reply::Resting);
                Ok(())
            }
            Request::Policies { after } => {
                asked.reply(0, self.policies(after.as_deref()));
                Ok(())
            }
            Request::KeepPolicy { domain, until, policy } => {
                if domain.len() > ADDRESS || policy.len() > POLICY {
                    return Err(Breach("a policy beyond its bounds"));
                }
                self.keep_policy(Record::PolicyKept { domain, until, policy }, asked);
                Ok(())
            }
        }
    }

    fn without(&mut self, _: Request, _: Asked<Reply, Event>) -> Result<(), Breach> {
        Err(Breach("descriptors where none belong"))
    }
}
