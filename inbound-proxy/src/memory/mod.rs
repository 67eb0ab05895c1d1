//! What was learnt: which home a sender's group has mail for, and which ticket stands for which home. It lives five
//! days after its last use, survives a restart, and is forgotten when a home says that it got another's mail.
//!
//! Pure but for [`Memory::open`]: times are seconds since 1970, given by the caller.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::path::Path;

use crate::limits;
use crate::sender::Group;
use crate::tickets::TicketDigest;

mod file;

use file::{Log, Record};

/// Of what was learnt: where, and about whom.
type Key = (String, Group);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Learnt {
    /// Homes that this group has told us it has mail for, and when it first did, oldest first; each is used once.
    pending: VecDeque<(String, u64)>,
    /// The home of its last delivery that nobody complained about.
    steady: Option<String>,
    /// It writes to more than one home of the street: the last one says nothing about the next.
    mixed: bool,
    used: u64,
}

/// What a ticket stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The home of all recipients of the session in which it was given.
    pub home: String,
    /// The group of senders that it was given to.
    pub group: Option<Group>,
    used: u64,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Memory {
    groups: HashMap<Key, Learnt>,
    tickets: HashMap<TicketDigest, Given>,
    log: Option<Log>,
}

impl Memory {
    /// Reads what is in the file, as far as it is whole, and from then on writes to it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(path: &Path, now: u64) -> io::Result<Self> {
        let mut memory = Self::default();
        let log = Log::open(path, |record| memory.apply(record))?;
        memory.log = Some(log);
        memory.forget_old(now);
        memory.rewrite()?;
        Ok(memory)
    }

    /// A sender has told us, in a session that learns: its mail is for this home of this street.
    pub fn learn(&mut self, street: Option<&str>, group: &Group, tickets: &[TicketDigest], home: &str, now: u64) {
        for ticket in tickets {
            let (home, group) = (home.to_owned(), Some(group.clone()));
            self.record(Record::Given { ticket: *ticket, home, group, now });
        }
        if let Some(street) = street {
            self.record(Record::Pending {
                street: street.to_owned(),
                group: group.clone(),
                home: home.to_owned(),
                now,
            });
        }
    }

    /// Whose ticket it is.
    #[must_use]
    pub fn by_ticket(&self, ticket: &[u8], now: u64) -> Option<&Given> {
        self.tickets.get(&crate::tickets::digest(ticket)).filter(|given| !is_old(given.used, now))
    }

    /// A ticket has led to its home.
    pub fn ticket_used(&mut self, ticket: &[u8], now: u64) {
        let ticket = crate::tickets::digest(ticket);
        if let Some(Given { home, group, .. }) = self.tickets.get(&ticket).cloned() {
            self.record(Record::Given { ticket, home, group, now });
        }
    }

    /// The home to try for this group: what it told us and has not yet come back for, else where it went last.
    pub fn take(&mut self, street: &str, group: &Group, now: u64, here: impl Fn(&str) -> bool) -> Option<String> {
        let learnt = self.groups.get(&(street.to_owned(), group.clone())).filter(|learnt| !is_old(learnt.used, now))?;
        let steady = learnt.steady.as_ref().filter(|_| !learnt.mixed);
        let pending = learnt.pending.iter().filter(|(_, told)| now.abs_diff(*told) >= limits::SETTLED);
        let home = pending.map(|(home, _)| home).chain(steady).find(|home| here(home))?.clone();
        self.record(Record::Used { street: street.to_owned(), group: group.clone(), home: home.clone(), now });
        Some(home)
    }

    /// A home says that this group had mail for somebody else.
    pub fn wrong_home(&mut self, street: &str, group: &Group, home: &str, now: u64) {
        self.record(Record::Wrong { street: street.to_owned(), group: group.clone(), home: home.to_owned(), now });
    }

    /// A ticket led to the wrong home.
    pub fn wrong_ticket(&mut self, ticket: &[u8]) {
        self.void(crate::tickets::digest(ticket));
    }

    /// A ticket proves nothing.
    pub fn void(&mut self, ticket: TicketDigest) {
        if self.tickets.contains_key(&ticket) {
            self.record(Record::Void { ticket });
        }
    }

    /// Homes that are no more leave nothing behind.
    pub fn keep_only(&mut self, here: impl Fn(&str) -> bool) {
        let tickets = self.tickets.values().map(|given| &given.home);
        let groups =
            self.groups.values().flat_map(|learnt| learnt.pending.iter().map(|(home, _)| home).chain(&learnt.steady));
        let gone: BTreeSet<String> = tickets.chain(groups).filter(|home| !here(home)).cloned().collect();
        gone.into_iter().for_each(|home| self.record(Record::Gone { home }));
    }

    /// Drops what is too old. To be called now and then; nothing old is ever used anyway.
    pub fn forget_old(&mut self, now: u64) {
        self.groups.retain(|_, learnt| !is_old(learnt.used, now));
        self.tickets.retain(|_, given| !is_old(given.used, now));
    }

    /// How much is remembered: groups and tickets.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (self.groups.len(), self.tickets.len())
    }

    /// Remembers first, then writes: a full disk costs what is learnt its permanence, not its use.
    fn record(&mut self, record: Record) {
        let written = self.log.as_mut().map(|log| log.append(&record));
        self.apply(record);
        if let Some(Err(error)) = written {
            tracing::error!(%error, "what was learnt cannot be written");
        }
        if self.log.as_ref().is_some_and(Log::is_long)
            && let Err(error) = self.rewrite()
        {
            tracing::error!(%error, "what was learnt cannot be written anew");
        }
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Ticket { ticket, home, now } => self.given(ticket, Given { home, group: None, used: now }),
            Record::Given { ticket, home, group, now } => self.given(ticket, Given { home, group, used: now }),
            Record::Pending { street, group, home, now } => self.group(street, group).told(home, now),
            Record::Used { street, group, home, now } => self.group(street, group).used(home, now),
            Record::Wrong { street, group, home, .. } => self.wrong(&(street, group), &home),
            Record::Mixed { street, group, now } => {
                let learnt = self.group(street, group);
                learnt.used = now;
                learnt.mixed = true;
            }
            Record::Void { ticket } => drop(self.tickets.remove(&ticket)),
            Record::Gone { home } => {
                self.tickets.retain(|_, given| given.home != home);
                self.groups.retain(|_, learnt| learnt.knows_without(&home));
            }
        }
    }

    fn given(&mut self, ticket: TicketDigest, given: Given) {
        if !self.tickets.contains_key(&ticket) {
            make_room(&mut self.tickets, limits::TICKETS, |given| given.used);
        }
        self.tickets.insert(ticket, given);
    }

    /// A report makes no new entry: who lies in one must not push out what is known of others.
    fn wrong(&mut self, key: &Key, home: &str) {
        let Some(learnt) = self.groups.get_mut(key) else { return };
        if !learnt.knows_without(home) {
            self.groups.remove(key);
        }
    }

    fn group(&mut self, street: String, group: Group) -> &mut Learnt {
        let key = (street, group);
        if !self.groups.contains_key(&key) {
            make_room(&mut self.groups, limits::GROUPS, |learnt| learnt.used);
        }
        self.groups.entry(key).or_default()
    }

    /// Writes the file anew, as short as it can be.
    fn rewrite(&mut self) -> io::Result<()> {
        let Some(log) = &mut self.log else { return Ok(()) };
        let tickets = self.tickets.iter().map(|(ticket, given)| Record::Given {
            ticket: *ticket,
            home: given.home.clone(),
            group: given.group.clone(),
            now: given.used,
        });
        let groups = self.groups.iter().flat_map(|((street, group), learnt)| learnt.records(street, group));
        log.rewrite(tickets.chain(groups))
    }
}

impl Learnt {
    fn told(&mut self, home: String, now: u64) {
        if !self.pending.iter().any(|(pending, _)| *pending == home) {
            if self.pending.len() >= limits::PENDING {
                self.pending.pop_front();
            }
            self.pending.push_back((home, now));
            self.used = self.used.max(now);
        }
        self.note_homes();
    }

    fn used(&mut self, home: String, now: u64) {
        self.used = now;
        self.pending.retain(|(pending, _)| *pending != home);
        self.mixed |= self.steady.as_ref().is_some_and(|steady| *steady != home);
        self.steady = Some(home);
    }

    /// Forgets a home; whether anything is left that is worth an entry.
    fn knows_without(&mut self, home: &str) -> bool {
        self.pending.retain(|(pending, _)| pending != home);
        self.steady.take_if(|steady| steady == home);
        self.mixed || self.steady.is_some() || !self.pending.is_empty()
    }

    fn note_homes(&mut self) {
        let homes: BTreeSet<&String> = self.pending.iter().map(|(home, _)| home).chain(&self.steady).collect();
        self.mixed |= homes.len() > 1;
    }

    /// What makes it again.
    fn records(&self, street: &str, group: &Group) -> Vec<Record> {
        let (street, group, now) = (street.to_owned(), group.clone(), self.used);
        let used =
            |home: &String| Record::Used { street: street.clone(), group: group.clone(), home: home.clone(), now };
        let told = |(home, at): &(String, u64)| Record::Pending {
            street: street.clone(),
            group: group.clone(),
            home: home.clone(),
            now: *at,
        };
        let mixed = self.mixed.then(|| Record::Mixed { street: street.clone(), group: group.clone(), now });
        self.steady.iter().map(used).chain(self.pending.iter().map(told)).chain(mixed).collect()
    }
}

const fn is_old(used: u64, now: u64) -> bool {
    now.saturating_sub(used) > limits::REMEMBER.as_secs()
}

/// Drops the least recent tenth when it is full: seldom, so that a flood of strangers costs little each.
fn make_room<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>, most: usize, used: impl Fn(&V) -> u64) {
    if map.len() < most {
        return;
    }
    let mut times: Vec<u64> = map.values().map(&used).collect();
    let (_, bound, _) = times.select_nth_unstable(most / 10);
    let (bound, mut spare) = (*bound, most / 10 + 1);
    map.retain(|_, value| {
        let goes = used(value) <= bound && spare > 0;
        spare -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
mod tests;
