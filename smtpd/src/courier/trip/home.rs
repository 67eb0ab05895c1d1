//! A letter that waited while its domain came into this house: into mailboxes here, through a worker, as any that comes in.

use filter_sandbox::filter::Unfiltered;
use filter_sandbox::report::Facts as Envelope;
use ring::digest;
use spool::edges::outbox::{Leased, Outgoing};
use spool::edges::{Into, Recipient, Size, Target};
use spool::names::{LetterId, TransactionId};

use super::{Open, OwnedFd, Trip};
use crate::courier::arc;
use crate::courier::elsewhere::Fates;
use crate::courier::fate::{Fate, Status, Why};
use crate::courier::letter;
use crate::courier::reach::World;
use crate::final_bytes::FinalBytes;
use crate::sealing::{Letter, Letters, store};
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
        let fates = self.all_arrive(&mut open).await;
        self.conclude(&mut open, fates, false).await
    }

    async fn all_arrive(&self, open: &mut Open) -> Fates {
        let _room = self.courier.memory.to_convert(open.leased.outgoing.size).await;
        let (mut fates, mut examined) = (Vec::new(), None);
        for number in open.leased.recipients.clone() {
            let waits = (open.leased.letter, number);
            let fate = match self.who_is_here(waits, &open.leased.outgoing).await {
                Ok(targets) => {
                    let letter = match examined.take() {
                        Some(letter) => letter,
                        None => self.arriving(open).await,
                    };
                    self.arrives(name(waits), &targets, examined.insert(letter)).await
                }
                // What nobody here gets is not read at all.
                Err(fate) => fate,
            };
            if !matches!(fate, Fate::Delivered(_)) {
                self.keeper.abandon(name(waits)).await;
            }
            fates.push((number, fate));
        }
        fates
    }

    /// With room reserved.
    async fn who_is_here(&self, waits: (LetterId, u16), outgoing: &Outgoing) -> Result<Vec<Target>, Fate> {
        let size = u64::from(outgoing.size) + return_path(outgoing).len() as u64;
        let answer = self.keeper.here(name(waits), waits, Size::Said(size)).await;
        if matches!(&answer, Ok(Recipient::Forwarded { targets, .. }) if !targets.is_empty()) {
            let (letter, recipient) = waits;
            tracing::warn!(%letter, recipient, "an alias here leads elsewhere, too: those there get none of what waited for it");
        }
        answer.map_or_else(|Down| Err(not_now()), targets)
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

    async fn arrives(&self, transaction: TransactionId, targets: &[Target], letter: &Result<Letter, Fate>) -> Fate {
        let letter = match letter {
            Ok(letter) => letter,
            Err(fate) => return fate.clone(),
        };
        match store(&self.keeper, transaction, Letters::address(targets, None), letter, None).await {
            Outcome::Delivered => Fate::Delivered(Why::ours(Status::new(2, 1, 5), "its mailbox is in this house now")),
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

/// The mailboxes that get it.
fn targets(answer: Recipient) -> Result<Vec<Target>, Fate> {
    match answer {
        Recipient::Known(targets) => Ok(targets),
        // To pass it on now would be a new letter, which the courier may not hand in.
        Recipient::Forwarded { targets, .. } if !targets.is_empty() => Ok(targets),
        // The mailbox may be about to be made: the domain has just come.
        Recipient::Unknown => Err(Fate::Deferred(Why::ours(
            Status::new(4, 1, 1),
            "its domain is this house's now, and nobody here has that address yet",
        ))),
        Recipient::Forwarded { .. } | Recipient::Remote { .. } => Err(Fate::Failed(Why::ours(
            Status::new(5, 1, 6),
            "its domain has become this house's while the letter waited, and here that address is an alias that passes mail \
             on: whoever sends the letter again reaches it",
        ))),
        Recipient::OverQuota => Err(full()),
        Recipient::NotLocal | Recipient::Separately | Recipient::Waiting | Recipient::OnlyReads | Recipient::NotNow => {
            Err(not_now())
        }
    }
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
        let fate = |answer| targets(answer).unwrap_err();
        assert_eq!(targets(Recipient::Known(Vec::new())), Ok(Vec::new()));
        assert!(matches!(fate(Recipient::Unknown), Fate::Deferred(why) if why.status == Status::new(4, 1, 1)));
        assert!(matches!(fate(Recipient::OverQuota), Fate::Deferred(why) if why.status == Status::new(4, 2, 2)));
        for later in [Recipient::NotLocal, Recipient::NotNow, Recipient::OnlyReads, Recipient::Separately] {
            assert_eq!(fate(later), not_now());
        }
        let passed_on = Recipient::Forwarded { targets: Vec::new(), generation: 1, public_key: key() };
        assert!(matches!(fate(passed_on), Fate::Failed(why) if why.words.contains("sends the letter again")));
        let carl = Target { mailbox: MailboxId(2), generation: 1, public_key: key() };
        let shared = Recipient::Forwarded { targets: vec![carl.clone()], generation: 1, public_key: key() };
        assert_eq!(targets(shared), Ok(vec![carl]), "who is here has it, whoever else is named");
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
