//! Which home a connection is for. Pure, and in one order:
//!
//! | what | proves? |
//! | --- | --- |
//! | 1. the address it dialled belongs to one home, and it asks for no other by name | yes |
//! | 2. the name its ClientHello asks for (SNI) | yes |
//! | 3. a ticket of ours, handed out while that sender told us recipients of this home and of no other | yes |
//! | 4. one home alone can be meant at this address, and no name is asked for | yes |
//! | 5. the operator's table of EHLO names | inside one street |
//! | 6. what was learnt about the sender's group | inside one street |
//! | 7. nothing: learn, under TLS, and answer 451 | |
//!
//! A home is one from its invitation until the operator forgets it, whether its box has come, is away, or was revoked: its
//! mail waits for it, and goes to nobody who happens to be there. A name that nobody has is not anybody's, either. But one
//! whose box has never come takes nothing away from who is there, as long as its names lead nowhere near: nobody can bring
//! mail for it.
//!
//! 3 proves as much as the sender's store of tickets is kept by the domain it writes to, as Postfix's is (measured). Between
//! streets it counts only for the group of senders that got it. A sender that keeps tickets by address alone would show
//! a stranger's: none is known that does so by itself.
//!
//! An address is a home's, or a street's, by the operator's word; whoever's name DNS leads there is meant there, too
//! ([`crate::leads`]). So 1 and 4 prove nothing where the name of another home leads, or may: then it goes on as if all of them
//! shared that address.
//!
//! 5 and 6 are guesses, and a guess between strangers would let a home that answers 250 to everything take another's
//! mail. So they count only where every home that could be meant is of one street.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use relay_link::inbound::{ClientName, Service};

use crate::grant::HomeGrant;
use crate::leads::{Strays, is_public};
use crate::memory::Memory;
use crate::sender::Group;

/// What is known of a connection when its ClientHello is there.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The address it dialled.
    pub dialled: IpAddr,
    /// The port it dialled.
    pub service: Service,
    /// The name it asks for.
    pub sni: Option<&'a str>,
    /// The tickets it shows.
    pub tickets: &'a [Vec<u8>],
    /// What it called itself.
    pub ehlo: Option<&'a ClientName>,
    /// Whether that is forward-confirmed.
    pub confirmed: bool,
    /// Its group.
    pub group: &'a Group,
}

/// How a home was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// 1.
    OwnAddress,
    /// 2.
    Sni,
    /// 3.
    Ticket,
    /// 4.
    Only,
    /// 5.
    Table,
    /// 6.
    Learnt,
}

impl How {
    /// Every one, in order.
    pub const ALL: [Self; 6] = [Self::OwnAddress, Self::Sni, Self::Ticket, Self::Only, Self::Table, Self::Learnt];

    /// For the metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OwnAddress => "own_address",
            Self::Sni => "sni",
            Self::Ticket => "ticket",
            Self::Only => "only",
            Self::Table => "table",
            Self::Learnt => "learnt",
        }
    }
}

/// Where a connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To this home.
    Home(String, How),
    /// Nobody knows; under TLS with this proxy it may tell.
    Learn,
    /// To nobody: this service is handed on by name alone, and there is no such name.
    Nowhere,
}

/// The proxy's own addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Here {
    /// To which its name leads: there the world knows it.
    pub named: BTreeSet<IpAddr>,
    /// On which it is told to listen.
    pub bound: BTreeSet<IpAddr>,
}

impl Here {
    /// None of them is any address, nor is an IPv4 address in disguise.
    #[must_use]
    pub fn new(named: &[IpAddr], bound: &[IpAddr]) -> Self {
        let plain = |all: &[IpAddr]| all.iter().map(IpAddr::to_canonical).filter(|at| !at.is_unspecified()).collect();
        Self { named: plain(named), bound: plain(bound) }
    }
}

/// The homes and addresses of one proxy.
#[derive(Debug, Clone, Default)]
pub struct Map {
    /// By the operator's name; also those that have not come yet, or are revoked.
    pub homes: BTreeMap<String, HomeGrant>,
    /// There are others, of which nothing can be read.
    pub hides_some: bool,
    /// Addresses of the proxy that one street has for itself, from the configuration.
    pub streets: BTreeMap<IpAddr, String>,
    /// Whose names lead where they do not live.
    pub strays: Strays,
    /// Homes whose box has never come.
    pub expected: BTreeSet<String>,
}

impl Map {
    /// Decides. Takes from `memory` what is to be used once.
    pub fn route(&self, facts: &Facts<'_>, memory: &mut Memory, now: u64) -> Route {
        if facts.service != Service::Mail {
            let named = facts.sni.and_then(|name| self.by_name(name));
            return named.map_or(Route::Nowhere, |home| Route::Home(home.to_owned(), How::Sni));
        }
        match self.proof(facts, memory, now).or_else(|| self.guess(facts, memory, now)) {
            Some((home, how)) => Route::Home(home, how),
            None => Route::Learn,
        }
    }

    /// Whose name it is: of SNI, or the target of an MX record.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&str> {
        let found = self.homes.iter().find(|(_, grant)| grant.names.contains(name));
        found.map(|(home, _)| home.as_str())
    }

    /// The one home that an address of the proxy belongs to.
    #[must_use]
    pub fn owner(&self, dialled: IpAddr) -> Option<&str> {
        let found = self.homes.iter().find(|(_, grant)| grant.addresses.contains(&dialled));
        found.map(|(home, _)| home.as_str())
    }

    /// The home that everything at its own address is for: no other can be meant there.
    #[must_use]
    pub fn alone(&self, dialled: IpAddr) -> Option<&str> {
        let owner = self.owner(dialled).filter(|_| !self.hides_some)?;
        matches!(self.meant(dialled).as_slice(), [(only, _)] if *only == owner).then_some(owner)
    }

    fn proof(&self, facts: &Facts<'_>, memory: &mut Memory, now: u64) -> Option<(String, How)> {
        let named = facts.sni.and_then(|name| self.by_name(name));
        if let Some(home) = self.alone(facts.dialled).filter(|home| named.is_none_or(|named| named == *home)) {
            return Some((home.to_owned(), How::OwnAddress));
        }
        if let Some(home) = named {
            return Some((home.to_owned(), How::Sni));
        }
        if let Some(home) = self.by_ticket(facts, memory, now) {
            return Some((home, How::Ticket));
        }
        // Who asks for another is not meant for whoever is left here.
        match self.meant(facts.dialled).as_slice() {
            [(only, _)] if facts.sni.is_none() && !self.hides_some => Some(((*only).to_owned(), How::Only)),
            _ => None,
        }
    }

    fn by_ticket(&self, facts: &Facts<'_>, memory: &mut Memory, now: u64) -> Option<String> {
        let street = self.street(facts.dialled);
        let (ticket, home) = facts.tickets.iter().find_map(|ticket| {
            let given = memory.by_ticket(ticket, now)?;
            let neighbours = street.is_some() && self.homes.get(&given.home)?.street == street;
            (neighbours || self.homes.contains_key(&given.home) && given.group.as_ref() == Some(facts.group))
                .then(|| (ticket, given.home.clone()))
        })?;
        memory.ticket_used(ticket, now);
        Some(home)
    }

    fn guess(&self, facts: &Facts<'_>, memory: &mut Memory, now: u64) -> Option<(String, How)> {
        let street = self.street(facts.dialled)?;
        if let Some(home) = self.in_table(facts, &street) {
            return Some((home, How::Table));
        }
        // A home that has moved away since does not get what was learnt.
        let here = |home: &str| self.homes.get(home).is_some_and(|grant| grant.street.as_deref() == Some(&street));
        let home = memory.take(&street, facts.group, now, here)?;
        Some((home, How::Learnt))
    }

    /// The one street whose homes share this address. An operator whose address has several reads of it in the log.
    #[must_use]
    pub fn street(&self, dialled: IpAddr) -> Option<String> {
        if self.hides_some {
            return None;
        }
        let meant = self.meant(dialled);
        let street = meant.first()?.1.street.clone()?;
        meant.iter().all(|(_, grant)| grant.street.as_ref() == Some(&street)).then_some(street)
    }

    /// Homes that a connection to this address can be for when it does not say.
    #[must_use]
    pub fn meant(&self, dialled: IpAddr) -> Vec<(&str, &HomeGrant)> {
        let (owner, street) = (self.owner(dialled), self.streets.get(&dialled));
        let lives_here = |home: &str, grant: &HomeGrant| match (owner, street) {
            (Some(owner), _) => home == owner,
            (None, Some(street)) => grant.street.as_ref() == Some(street),
            (None, None) => true,
        };
        // Its owner alone is meant at an address of its own, come or not.
        let is_there = |home: &str| owner.is_some() || !self.expected.contains(home);
        let all = self.homes.iter().map(|(home, grant)| (home.as_str(), grant));
        let is_meant = |home: &str, grant: &HomeGrant| lives_here(home, grant) && is_there(home);
        all.filter(|(home, grant)| {
            is_meant(home, grant) || self.strays.may(dialled, home, self.expected.contains(*home))
        })
        .collect()
    }

    /// Where a home's names are to lead: to its own addresses, else to its street's, else to those of the proxy that are nobody's; where
    /// those have no IPv4, to the next that have, too. Of one that a router translates the world knows another, and it proves nothing.
    #[must_use]
    pub fn places(&self, grant: &HomeGrant, here: &Here) -> BTreeSet<IpAddr> {
        let is_shared = |at: &IpAddr| self.owner(*at).is_none() && !self.streets.contains_key(at);
        let of_street = self.streets.iter().filter(|(_, street)| grant.street.as_ref() == Some(*street));
        let own = grant.addresses.iter().copied().filter(|at| is_public(*at)).collect();
        let of_street = of_street.map(|(address, _)| *address).filter(|at| is_public(*at)).collect();
        let named = here.named.iter().copied().filter(is_shared).collect();
        let bound = here.bound.iter().copied().filter(|at| is_shared(at) && is_public(*at)).collect();
        let all: [BTreeSet<IpAddr>; 4] = [own, of_street, named, bound];
        let first = |is: fn(&IpAddr) -> bool| {
            let kind = all.iter().map(|places| places.iter().copied().filter(is).collect::<BTreeSet<_>>());
            kind.into_iter().find(|places| !places.is_empty()).unwrap_or_default()
        };
        let mut places = first(|_| true);
        // Many senders have no IPv6. (They have IPv4, all: an IPv6 address that others share is never added.)
        if !places.iter().any(IpAddr::is_ipv4) {
            places.extend(first(IpAddr::is_ipv4));
        }
        places
    }

    /// Homes of others that can be meant at somebody's own address, or at a street's.
    #[must_use]
    pub fn astray(&self, dialled: IpAddr) -> Vec<&str> {
        let (owner, street) = (self.owner(dialled), self.streets.get(&dialled));
        let anothers = |home: &str, grant: &HomeGrant| match owner {
            Some(owner) => home != owner,
            None => street.is_some() && grant.street.as_ref() != street,
        };
        let meant = self.meant(dialled).into_iter().filter(|(home, grant)| anothers(home, grant));
        meant.map(|(home, _)| home).collect()
    }

    fn in_table(&self, facts: &Facts<'_>, street: &str) -> Option<String> {
        let name = facts.ehlo.filter(|_| facts.confirmed)?.as_str().to_ascii_lowercase();
        let matches = |pattern: &String| match pattern.strip_prefix('.') {
            Some(_) => name.ends_with(pattern),
            None => name == *pattern,
        };
        let listed = |grant: &HomeGrant| grant.street.as_deref() == Some(street) && grant.senders.iter().any(matches);
        self.homes.iter().find(|(_, grant)| listed(grant)).map(|(home, _)| home.clone())
    }
}
