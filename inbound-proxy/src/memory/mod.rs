//! What was learnt: which home a sender's group has mail for, and which ticket stands for which home. It lives five
//! days after its last use, survives a restart, and is forgotten when a home says that it got another's mail.
//!
//! Pure but for [`Memory::open`]: times are seconds since 1970, given by the caller.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::path::Path;

use crate::limits;
use crate::sender::{Group, Network};
use crate::tickets::TicketDigest;

mod file;
mod room;

use file::{Log, Record};
use room::{Lodger, make_room};

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
    /// Whose connection taught it.
    network: Network,
}

/// What a ticket stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The home of all recipients of the session in which it was given.
    pub home: String,
    /// The group of senders that it was given to.
    pub group: Option<Group>,
    used: u64,
    /// Whose connection got it.
    network: Network,
}

impl Lodger for Learnt {
    fn network(&self) -> Network {
        self.network
    }

    fn used(&self) -> u64 {
        self.used
    }
}

impl Lodger for Given {
    fn network(&self) -> Network {
        self.network
    }

    fn used(&self) -> u64 {
        self.used
    }
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
        self.learn_from(Network::from(group), street, group, tickets, (home, now));
    }

    /// The same of one whose network its group does not say.
    pub fn learn_from(
        &mut self,
        network: Network,
        street: Option<&str>,
        group: &Group,
        tickets: &[TicketDigest],
        (home, now): (&str, u64),
    ) {
        for ticket in tickets {
            let given = Given { home: home.to_owned(), group: Some(group.clone()), used: now, network };
            self.record(given.record(*ticket));
        }
        if let Some(street) = street {
            let (street, home) = (street.to_owned(), home.to_owned());
            self.record(Record::Told { street, group: group.clone(), home, now, network });
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
        if let Some(given) = self.tickets.get(&ticket).cloned() {
            self.record(Given { used: now, ..given }.record(ticket));
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

    /// What was learnt of a home follows it to the name by which it is called now; homes that are no more leave nothing behind.
    pub fn follow<'a>(&mut self, called: impl Fn(&str) -> Option<&'a str>) {
        let tickets = self.tickets.values().map(|given| &given.home);
        let groups =
            self.groups.values().flat_map(|learnt| learnt.pending.iter().map(|(home, _)| home).chain(&learnt.steady));
        let known: BTreeSet<String> = tickets.chain(groups).cloned().collect();
        for home in known {
            match called(&home) {
                Some(to) if to == home => {}
                Some(to) => self.record(Record::Called { home, to: to.to_owned() }),
                None => self.record(Record::Gone { home }),
            }
        }
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
            Record::Ticket { ticket, home, now } => {
                self.given(ticket, Given { home, group: None, used: now, network: Network::default() });
            }
            Record::Given { ticket, home, group, now } => {
                let network = group.as_ref().map(Network::from).unwrap_or_default();
                self.given(ticket, Given { home, group, used: now, network });
            }
            Record::GivenTo { ticket, home, group, now, network } => {
                self.given(ticket, Given { home, group, used: now, network });
            }
            Record::Pending { street, group, home, now } => {
                let network = Network::from(&group);
                self.group(street, group, network).told(home, now);
            }
            Record::Told { street, group, home, now, network } => self.group(street, group, network).told(home, now),
            Record::Used { street, group, home, now } => {
                let network = Network::from(&group);
                self.group(street, group, network).used(home, now);
            }
            Record::Wrong { street, group, home, .. } => self.wrong(&(street, group), &home),
            Record::Mixed { street, group, now } => {
                let network = Network::from(&group);
                let learnt = self.group(street, group, network);
                learnt.used = now;
                learnt.mixed = true;
            }
            Record::Made { street, group, now, network } => {
                let learnt = self.group(street, group, network);
                learnt.used = learnt.used.max(now);
            }
            Record::Void { ticket } => drop(self.tickets.remove(&ticket)),
            Record::Gone { home } => {
                self.tickets.retain(|_, given| given.home != home);
                self.groups.retain(|_, learnt| learnt.knows_without(&home));
            }
            Record::Called { home, to } => {
                let tickets = self.tickets.values_mut().map(|given| &mut given.home);
                tickets.filter(|known| **known == home).for_each(|known| known.clone_from(&to));
                self.groups.values_mut().for_each(|learnt| learnt.calls(&home, &to));
            }
        }
    }

    fn given(&mut self, ticket: TicketDigest, given: Given) {
        if !self.tickets.contains_key(&ticket) {
            make_room(&mut self.tickets, limits::TICKETS);
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

    fn group(&mut self, street: String, group: Group, network: Network) -> &mut Learnt {
        let key = (street, group);
        if !self.groups.contains_key(&key) {
            make_room(&mut self.groups, limits::GROUPS);
        }
        self.groups.entry(key).or_insert_with(|| Learnt { network, ..Learnt::default() })
    }

    /// Writes the file anew, as short as it can be.
    fn rewrite(&mut self) -> io::Result<()> {
        let Some(log) = &mut self.log else { return Ok(()) };
        let tickets = self.tickets.iter().map(|(ticket, given)| given.clone().record(*ticket));
        let groups = self.groups.iter().flat_map(|((street, group), learnt)| learnt.records(street, group));
        log.rewrite(tickets.chain(groups))
    }
}

impl Given {
    /// What makes it again.
    fn record(self, ticket: TicketDigest) -> Record {
        let Self { home, group, used, network } = self;
        Record::GivenTo { ticket, home, group, now: used, network }
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

    /// A home is called otherwise.
    fn calls(&mut self, home: &str, to: &str) {
        if self.pending.iter().any(|(pending, _)| pending == to) {
            self.pending.retain(|(pending, _)| pending != home);
        }
        let pending = self.pending.iter_mut().map(|(pending, _)| pending);
        pending.chain(&mut self.steady).filter(|known| *known == home).for_each(|known| to.clone_into(known));
    }

    fn note_homes(&mut self) {
        let homes: BTreeSet<&String> = self.pending.iter().map(|(home, _)| home).chain(&self.steady).collect();
        self.mixed |= homes.len() > 1;
    }

    /// What makes it again: first whose it is.
    fn records(&self, street: &str, group: &Group) -> Vec<Record> {
        let (street, group, now, network) = (street.to_owned(), group.clone(), self.used, self.network);
        let made = Record::Made { street: street.clone(), group: group.clone(), now, network };
        let used =
            |home: &String| Record::Used { street: street.clone(), group: group.clone(), home: home.clone(), now };
        let told = |(home, at): &(String, u64)| Record::Pending {
            street: street.clone(),
            group: group.clone(),
            home: home.clone(),
            now: *at,
        };
        let mixed = self.mixed.then(|| Record::Mixed { street: street.clone(), group: group.clone(), now });
        let all = self.steady.iter().map(used).chain(self.pending.iter().map(told)).chain(mixed);
        std::iter::once(made).chain(all).collect()
    }
}

const fn is_old(used: u64, now: u64) -> bool {
    now.saturating_sub(used) > limits::REMEMBER.as_secs()
}

#[cfg(test)]
mod tests;
