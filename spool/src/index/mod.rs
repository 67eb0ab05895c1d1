//! The live index: everything the journal says, in memory. About 100 bytes a letter.
//!
//! It changes only by [`Index::apply`], live and when replaying alike; [`plan`] decides what an
//! entry must say so that it fits the index as it is.

pub mod apply;
pub mod folder;
pub mod mailbox;
pub mod met;
pub mod name;
pub mod outgoing;
pub mod passed_on;
pub mod plan;
pub mod policies;
pub mod state;
pub mod transactions;
pub mod uids;

use std::collections::{BTreeMap, HashMap};

use crate::allowance::{Amount, Sent};
use crate::edges::mailbox::Event;
use crate::names::{FolderId, LetterId, MailboxId};

pub use folder::Folder;
pub use mailbox::Mailbox;
use met::Met;
use outgoing::Waiting;
use policies::Policies;
use transactions::Transactions;

/// Everything.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Index {
    pub(crate) mailboxes: BTreeMap<MailboxId, Mailbox>,
    addresses: HashMap<String, MailboxId>,
    aliases: BTreeMap<String, Vec<MailboxId>>,
    /// Addresses elsewhere to which an alias passes its mail on.
    forwards: BTreeMap<String, Vec<String>>,
    transactions: Transactions,
    waiting: Waiting,
    met: BTreeMap<MailboxId, Met>,
    sent: BTreeMap<MailboxId, Sent>,
    policies: Policies,
    /// Mailboxes ever made.
    made: u64,
    /// The last entry by which an address came to be somebody's, or nobody's.
    routes: u64,
    /// Aliases, transactions and `made` already know every entry up to this one (from a checkpoint).
    as_of: u64,
}

/// Who is told what applying an entry did. Replay tells nobody: `()`.
pub trait News {
    /// What is told from here on belongs to this entry.
    fn at(&mut self, _sequence: u64) {}
    /// Whether anybody has that folder open (else its events are not even made).
    fn listens(&self, _mailbox: MailboxId, _folder: FolderId) -> bool {
        false
    }
    /// To all who have the folder open.
    fn folder(&mut self, _mailbox: MailboxId, _folder: FolderId, _event: Event) {}
    /// To all who have any folder of that mailbox open.
    fn everywhere(&mut self, _mailbox: MailboxId, _event: Event) {}
    /// No folder holds this letter any more: its file may go once the entry is durable.
    fn unreferenced(&mut self, _mailbox: MailboxId, _letter: LetterId) {}
    /// Something about the letters that wait to leave has changed.
    fn outgoing(&mut self) {}
    /// Nothing more is to be done about a letter that waited to leave: its file may go once the entry is durable.
    fn left(&mut self, _letter: LetterId) {}
}

impl News for () {}

impl Index {
    /// A mailbox.
    #[must_use]
    pub fn mailbox(&self, id: MailboxId) -> Option<&Mailbox> {
        self.mailboxes.get(&id)
    }

    /// All, by id.
    pub fn mailboxes(&self) -> impl Iterator<Item = (MailboxId, &Mailbox)> {
        self.mailboxes.iter().map(|(id, mailbox)| (*id, mailbox))
    }

    /// The mailbox whose own address this is (lower-case, without a tag).
    #[must_use]
    pub fn owner(&self, address: &str) -> Option<MailboxId> {
        self.addresses.get(address).copied()
    }

    /// Whether that address is a mailbox's or an alias.
    #[must_use]
    pub fn taken(&self, address: &str) -> bool {
        self.addresses.contains_key(address)
            || self.aliases.contains_key(address)
            || self.forwards.contains_key(address)
    }

    /// Where mail for that address goes (lower-case, without a tag); empty when nowhere.
    #[must_use]
    pub fn targets(&self, address: &str) -> Vec<MailboxId> {
        match self.owner(address) {
            Some(owner) => vec![owner],
            None => self.aliases.get(address).cloned().unwrap_or_default(),
        }
    }

    /// The mailbox made first, of those of which something holds.
    #[must_use]
    pub fn oldest_that(&self, holds: impl Fn(MailboxId, &Mailbox) -> bool) -> Option<MailboxId> {
        let those = self.mailboxes.iter().filter(|(id, mailbox)| holds(**id, mailbox));
        those.min_by_key(|(_, mailbox)| mailbox.profile.made).map(|(id, _)| *id)
    }

    /// The addresses elsewhere to which mail for that address (lower-case, without a tag) is passed on.
    #[must_use]
    pub fn forwards(&self, address: &str) -> &[String] {
        self.forwards.get(address).map_or(&[], Vec::as_slice)
    }

    /// Changes whenever an address leads elsewhere than before, or may do so.
    #[must_use]
    pub const fn routes(&self) -> u64 {
        self.routes
    }

    /// All aliases that pass mail on.
    pub fn all_forwards(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.forwards.iter().map(|(alias, to)| (alias.as_str(), to.as_slice()))
    }

    /// All aliases.
    pub fn aliases(&self) -> impl Iterator<Item = (&str, &[MailboxId])> {
        self.aliases.iter().map(|(alias, targets)| (alias.as_str(), targets.as_slice()))
    }

    /// What a message to these (lower-case, each once) is of that mailbox's day.
    #[must_use]
    pub fn amount(&self, mailbox: MailboxId, recipients: &[String]) -> Amount {
        let met = self.met.get(&mailbox);
        let strangers = recipients.iter().filter(|recipient| !met.is_some_and(|met| met.knows(recipient))).count();
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        Amount { messages: 1, recipients: number(recipients.len()), strangers: number(strangers) }
    }

    /// What a mailbox has sent of late.
    #[must_use]
    pub fn sent(&self, mailbox: MailboxId) -> Option<&Sent> {
        self.sent.get(&mailbox)
    }

    /// MTA-STS policies.
    #[must_use]
    pub const fn policies(&self) -> &Policies {
        &self.policies
    }

    /// The addresses that are a mailbox's: its own first, then the aliases that name it.
    #[must_use]
    pub fn addresses_of(&self, id: MailboxId) -> Vec<String> {
        let own = self.mailbox(id).map(|mailbox| mailbox.profile.address.clone());
        let aliases = self.aliases.iter().filter(|(_, targets)| targets.contains(&id)).map(|(alias, _)| alias.clone());
        own.into_iter().chain(aliases).collect()
    }

    /// Whether mail for that domain (lower-case) is ours because a mailbox or alias lies in it.
    #[must_use]
    pub fn has_domain(&self, domain: &str) -> bool {
        let of = |address: &String| address.rsplit_once('@').is_some_and(|(_, its)| its == domain);
        self.addresses.keys().any(of) || self.aliases.keys().any(of) || self.forwards.keys().any(of)
    }

    /// Every domain of a mailbox or alias, ascending.
    #[must_use]
    pub fn domains(&self) -> std::collections::BTreeSet<String> {
        let addresses = self.addresses.keys().chain(self.aliases.keys()).chain(self.forwards.keys());
        addresses.filter_map(|address| address.rsplit_once('@').map(|(_, domain)| domain.to_owned())).collect()
    }

    /// Whether that transaction was delivered before.
    #[must_use]
    pub fn delivered(&self, transaction: crate::names::TransactionId) -> bool {
        self.transactions.knows(transaction)
    }

    /// The letters that wait to leave.
    #[must_use]
    pub const fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// The order number for the next new mailbox.
    #[must_use]
    pub const fn next_made(&self) -> u64 {
        self.made
    }

    /// Letters in all folders of all mailboxes.
    #[must_use]
    pub fn letters(&self) -> u64 {
        self.mailboxes.values().map(|mailbox| u64::from(mailbox.letters())).sum()
    }
}

/// `local@domain` in lower case, without a `+tag`, the domain as DNS has it; `None` for what is no address.
#[must_use]
pub fn normal_address(address: &str) -> Option<String> {
    if address.len() > crate::edges::limits::ADDRESS {
        return None;
    }
    let (local, domain) = address.rsplit_once('@')?;
    let local = match local.split_once('+') {
        Some((before, _)) if !before.is_empty() => before,
        _ => local,
    };
    let sound = |part: &str| !part.is_empty() && part.chars().all(|c| !c.is_control() && !c.is_whitespace());
    if !(sound(local) && sound(domain)) || domain.contains('@') {
        return None;
    }
    Some(format!("{}@{}", local.to_lowercase(), wire::dns::in_ascii(domain)?.to_lowercase()))
}
