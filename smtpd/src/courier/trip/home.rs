//! A letter that waited while its domain came into this house: into mailboxes here, through a worker, as any that comes in. The
//! keeper sees to it that each has it once, and that whom the address leads to elsewhere gets it, too.

use filter_sandbox::filter::Unfiltered;
use filter_sandbox::report::Facts as Envelope;
use ring::digest;
use spool::edges::notices::Others;
use spool::edges::outbox::{Leased, Outgoing, State};
use spool::edges::{Into, Recipient, Size, Target};
use spool::names::{LetterId, TransactionId};

use super::{Open, OwnedFd, Trip};
use crate::courier::arc;
use crate::courier::elsewhere::Fates;
use crate::courier::fate::{Fate, Status, Why};
use crate::courier::letter;
use crate::courier::reach::World;
use crate::final_bytes::FinalBytes;
use crate::sealing::{Kind, Letter, Letters, store};
use crate::session::Outcome;
use crate::verdict;
use spool::edges::Down;

impl<W: World + Send + 'static> Trip<W> {
    /// One lease.
    pub(super) async fn home(&self, leased: Leased, file: OwnedFd) -> Result<(), Down> {
        // The admin may have kept it back, and a role that ends begins nothing.
        if *self.drain.borrow() || !self.outbox.begin(leased.lease).await? {
            return self.report(leased.lease, Vec::new()).await;
        }
        let mut open = self.open(leased, file);
        let (fates, replaced) = self.all_arrive(&mut open).await;
        let mut states = self.states(&open.leased, &fates, false);
        // Of those in their place, each has a fate of its own.
        states.extend(replaced.into_iter().map(|number| (number, State::Done { delivered: true })));
        self.settle(&mut open, states).await
    }

    /// And the recipients in whose place the letter waits for others now.
    async fn all_arrive(&self, open: &mut Open) -> (Fates, Vec<u16>) {
        let _room = self.courier.memory.to_convert(open.leased.outgoing.size).await;
        let (mut fates, mut replaced, mut examined) = (Vec::new(), Vec::new(), None);
        for number in open.leased.recipients.clone() {
            let waits = (open.leased.letter, number);
            let (fate, others) = match self.who_is_here(waits, &open.leased.outgoing).await {
                Place::Mailboxes(targets, others) if targets.is_empty() => (here(), others),
                Place::Mailboxes(targets, others) => {
                    let letter = match examined.take() {
                        Some(letter) => letter,
                        None => self.arriving(open).await,
                    };
                    (self.arrives(waits, &targets, examined.insert(letter)).await, others)
                }
                Place::Elsewhere(Others::Wait) => {
                    tracing::info!(letter = %waits.0, recipient = number, "it waits for those to whom that address leads");
                    replaced.push(number);
                    continue;
                }
                Place::Elsewhere(Others::Nobody) => (not_now(), Others::Nobody),
                Place::Elsewhere(others) => (here(), others),
                // What nobody here gets is not read at all.
                Place::None(fate) => (fate, Others::Nobody),
            };
            if !matches!(fate, Fate::Delivered(_)) {
                self.keeper.abandon(name(waits)).await;
            }
            fates.push((number, with_others(fate, others)));
        }
        (fates, replaced)
    }

    /// With room reserved.
    async fn who_is_here(&self, waits: (LetterId, u16), outgoing: &Outgoing) -> Place {
        let size = u64::from(outgoing.size) + return_path(outgoing).len() as u64;
        let answer = self.keeper.here(name(waits), waits, Size::Said(size)).await;
        answer.map_or_else(|Down| Place::None(not_now()), place)
    }

    /// With what a stranger found in it. What others wrote may be junk; who proved what about it was seen when it came.
    async fn arriving(&self, open: &mut Open) -> Result<Letter, Fate> {
        let (outgoing, name) = (&open.leased.outgoing, open.leased.letter);
        let text = tokio::task::block_in_place(|| open.file.whole()).map_err(|error| letter::fate(name, &error))?;
        let mut bytes = return_path(outgoing).into_bytes();
        bytes.extend_from_slice(&text);
        let found = arc::dmarc(&text, &self.courier.house.hello);
        drop(text);
        let made = FinalBytes::whole(bytes);
        let domain = outgoing.sender.as_deref().and_then(|sender| sender.rsplit_once('@')).map_or("", |(_, far)| far);
        let facts = Envelope { sender_domain: domain.to_owned(), script: Vec::new() };
        let report = self.courier.filter.examine(&made.slices(), &facts).await.map_err(|error| {
            tracing::warn!(letter = %name, %error, "a letter that waited for an address of ours could not be examined");
            unexamined(&error)
        })?;
        let into = match outgoing.passed_on {
            true => verdict::folder(&report, &found, None).0,
            false => Into::Inbox,
        };
        Letter::new(made, &report, into).ok_or_else(not_now)
    }

    async fn arrives(&self, waits: (LetterId, u16), targets: &[Target], letter: &Result<Letter, Fate>) -> Fate {
        let letter = match letter {
            Ok(letter) => letter,
            Err(fate) => return fate.clone(),
        };
        let letters = Letters::address(targets, None);
        match store(&self.keeper, name(waits), letters, letter, Kind::Waited(waits.0)).await {
            Outcome::Delivered => here(),
            Outcome::MailboxFull => full(),
            _ => not_now(),
        }
    }
}

/// RFC 5321 §4.4: who delivers it at last says where it came from.
fn return_path(outgoing: &Outgoing) -> String {
    format!("Return-Path: <{}>\r\n", outgoing.sender.as_deref().unwrap_or_default())
}

/// Only what nobody will ever make out is given up: the same letter may be examined later, or by a house that takes larger
/// ones again.
fn unexamined(error: &Unfiltered) -> Fate {
    match error {
        Unfiltered::NotUnderstood => Fate::Failed(unreadable()),
        _ => not_now(),
    }
}

/// Where the letter goes for a recipient.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Into these mailboxes (where there are none, all have had it), and to others.
    Mailboxes(Vec<Target>, Others),
    /// To others only.
    Elsewhere(Others),
    /// Nowhere.
    None(Fate),
}

fn place((answer, others): (Recipient, Others)) -> Place {
    match answer {
        Recipient::Forwarded { targets, .. } if targets.is_empty() => Place::Elsewhere(others),
        Recipient::Known(targets) | Recipient::Forwarded { targets, .. } => Place::Mailboxes(targets, others),
        // The mailbox may be about to be made: the domain has just come.
        Recipient::Unknown => Place::None(Fate::Deferred(Why::ours(
            Status::new(4, 1, 1),
            "its domain is this house's now, and nobody here has that address yet",
        ))),
        Recipient::OverQuota => Place::None(full()),
        Recipient::Remote { .. }
        | Recipient::NotLocal
        | Recipient::Separately
        | Recipient::Waiting
        | Recipient::OnlyReads
        | Recipient::NotNow => Place::None(not_now()),
    }
}

/// While those elsewhere cannot wait for it, the address has not all of it yet. Who is here gets no second when it is tried again.
fn with_others(fate: Fate, others: Others) -> Fate {
    match (fate, others) {
        (Fate::Delivered(_), Others::NoRoom) => not_now(),
        (Fate::Delivered(_), Others::TooMany) => Fate::Failed(Why::ours(
            Status::new(5, 5, 3),
            "its domain is this house's now, and with those elsewhere to whom that address leads the letter would have more \
             recipients than one may: who has a mailbox here has it; who sends it to that address again reaches the others",
        )),
        (fate, _) => fate,
    }
}

fn here() -> Fate {
    Fate::Delivered(Why::ours(Status::new(2, 1, 5), "its mailbox is in this house now"))
}

fn full() -> Fate {
    Fate::Deferred(Why::ours(Status::new(4, 2, 2), "its mailbox is in this house now, and it is full"))
}

fn not_now() -> Fate {
    Fate::Deferred(Why::ours(
        Status::new(4, 3, 0),
        "its domain is this house's now, which cannot take it at this moment",
    ))
}

fn unreadable() -> Why {
    Why::ours(Status::new(5, 6, 0), "its domain is this house's now, which cannot make out how the letter is built")
}

/// The same each time: a crash between the delivery and its record makes no second one.
fn name((letter, recipient): (LetterId, u16)) -> TransactionId {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"postern home\0");
    context.update(&letter.0);
    context.update(&recipient.to_le_bytes());
    let mut name = [0; 16];
    name.copy_from_slice(&context.finish().as_ref()[..16]);
    TransactionId(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use spool::names::MailboxId;

    #[test]
    fn what_the_keeper_says_of_who_is_here_now() {
        let key = || "age1".to_owned();
        let at = |answer| place((answer, Others::Nobody));
        assert_eq!(at(Recipient::Known(Vec::new())), Place::Mailboxes(Vec::new(), Others::Nobody));
        assert!(
            matches!(at(Recipient::Unknown), Place::None(Fate::Deferred(why)) if why.status == Status::new(4, 1, 1))
        );
        assert!(
            matches!(at(Recipient::OverQuota), Place::None(Fate::Deferred(why)) if why.status == Status::new(4, 2, 2))
        );
        for later in [Recipient::NotLocal, Recipient::NotNow, Recipient::OnlyReads, Recipient::Separately] {
            assert_eq!(at(later), Place::None(not_now()));
        }
        let forwarded = |targets| (Recipient::Forwarded { targets, generation: 1, public_key: key() }, Others::Wait);
        assert_eq!(place(forwarded(Vec::new())), Place::Elsewhere(Others::Wait));
        let carl = Target { mailbox: MailboxId(2), generation: 1, public_key: key() };
        assert_eq!(place(forwarded(vec![carl.clone()])), Place::Mailboxes(vec![carl], Others::Wait));
    }

    #[test]
    fn an_address_that_leads_elsewhere_too_is_not_done_before_they_wait_for_it() {
        for others in [Others::Nobody, Others::Wait] {
            assert_eq!(with_others(here(), others), here());
        }
        assert_eq!(with_others(here(), Others::NoRoom), not_now());
        assert!(
            matches!(with_others(here(), Others::TooMany), Fate::Failed(why) if why.words.contains("reaches the others"))
        );
        assert_eq!(with_others(full(), Others::TooMany), full(), "who is here comes first");
    }

    #[test]
    fn only_what_nobody_can_make_out_is_given_up() {
        assert!(matches!(unexamined(&Unfiltered::NotUnderstood), Fate::Failed(_)));
        for later in [Unfiltered::TooLong, Unfiltered::Busy, Unfiltered::Late, Unfiltered::Died, Unfiltered::Garbage] {
            assert_eq!(unexamined(&later), not_now(), "{later}");
        }
    }

    #[test]
    fn each_recipient_s_delivery_has_a_name_of_its_own() {
        let letter = LetterId([1; 16]);
        assert_eq!(name((letter, 1)), name((letter, 1)));
        assert_ne!(name((letter, 1)), name((letter, 2)));
        assert_ne!(name((letter, 1)), name((LetterId([2; 16]), 1)));
    }
}
