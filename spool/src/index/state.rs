//! The index as records of a checkpoint, and how one is finished after reading it back.

use crate::journal::limits::CHUNK;
use crate::journal::record::Record;
use crate::names::MailboxId;

use super::Index;

/// Recipients of one [`Record::Met`].
const MET: usize = 500;

impl Index {
    /// Aliases and transactions, as they are after entry `sequence`.
    #[must_use]
    pub fn house(&self, sequence: u64) -> Record {
        Record::House {
            sequence,
            transactions: self.transactions.all().collect(),
            aliases: self.aliases.iter().map(|(alias, targets)| (alias.clone(), targets.clone())).collect(),
            made: self.made,
        }
    }

    /// Aliases that pass mail on, as they are now.
    #[must_use]
    pub fn forwards_record(&self) -> Record {
        Record::Forwards { all: self.forwards.iter().map(|(alias, to)| (alias.clone(), to.clone())).collect() }
    }

    /// One mailbox, as it is after entry `sequence`: its head, then its letters.
    pub fn mailbox_records(&self, sequence: u64, id: MailboxId) -> impl Iterator<Item = Record> {
        self.mailboxes.get(&id).into_iter().flat_map(move |mailbox| {
            let head = Record::Mailbox {
                sequence,
                mailbox: id,
                profile: mailbox.profile.clone(),
                folders: mailbox.folders.iter().map(|folder| folder.head.clone()).collect(),
                keywords: mailbox.keywords.clone(),
                subscriptions: mailbox.subscriptions.iter().cloned().collect(),
                modseq: mailbox.modseq,
                next_folder: mailbox.next_folder,
                last_validity: mailbox.last_validity,
            };
            let letters = mailbox.folders.iter().flat_map(move |folder| {
                folder.letters().chunks(CHUNK).map(move |some| Record::Letters {
                    mailbox: id,
                    folder: folder.head.id,
                    letters: some.to_vec(),
                })
            });
            std::iter::once(head).chain(letters)
        })
    }

    /// What else belongs to the house: to whom and how much mailboxes have written, and policies.
    pub fn house_records(&self) -> impl Iterator<Item = Record> {
        let met = self.met.iter().flat_map(|(mailbox, met)| {
            let all: Vec<String> = met.all().map(ToOwned::to_owned).collect();
            let some = |some: &[String]| Record::Met { mailbox: *mailbox, recipients: some.to_vec() };
            all.chunks(MET).map(some).collect::<Vec<_>>()
        });
        let policies = self.policies.all().map(|(domain, until, policy)| Record::Policy {
            domain: domain.to_owned(),
            until,
            policy: policy.to_vec(),
        });
        let sent = self.sent.iter().map(|(mailbox, sent)| Record::Sent { mailbox: *mailbox, hours: sent.hours() });
        met.chain(sent).chain(policies)
    }

    /// The letters that wait to leave, as they are now.
    pub fn outgoing_records(&self) -> impl Iterator<Item = Record> {
        let record = |(letter, outgoing): (_, &crate::edges::outbox::Outgoing)| Record::Outgoing {
            letter,
            outgoing: Box::new(outgoing.clone()),
        };
        self.waiting.all().map(record)
    }

    /// All mailboxes, for the two ends of a segment.
    pub fn still(&self) -> impl Iterator<Item = Record> {
        let still = |(id, mailbox): (&MailboxId, &super::Mailbox)| Record::Still {
            mailbox: *id,
            profile: mailbox.profile.clone(),
        };
        self.mailboxes.iter().map(still)
    }

    /// The ids of all mailboxes.
    #[must_use]
    pub fn ids(&self) -> Vec<MailboxId> {
        self.mailboxes.keys().copied().collect()
    }

    /// To be called once the checkpoint is read and before any later entry.
    pub fn restored(&mut self) {
        self.mailboxes.values_mut().for_each(super::Mailbox::recount);
    }

    /// Two indexes are the same but for what a checkpoint left behind in them.
    #[must_use]
    pub fn settled(mut self) -> Self {
        (self.as_of, self.routes) = (0, 0);
        self.mailboxes.values_mut().for_each(|mailbox| mailbox.as_of = 0);
        self
    }
}
