//! How much one mailbox may send: far more than a family writes, far less than a thief of a password wants to. Counted
//! over the last 24 hours; the clock is handed in.
//!
//! What has been queued the index counts ([`Sent`]), and the journal remembers; here stands what is on its way there.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::names::MailboxId;

const HOUR: i64 = 3_600;
/// Hours that count.
const HOURS: usize = 24;
/// Seconds after which an owner who was to be told, and of whom nobody said that it was, is to be told again.
const TELL_AGAIN: i64 = 300;

/// What 24 hours may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Messages.
    pub messages: u32,
    /// Recipients, of all messages together.
    pub recipients: u32,
    /// Recipients to whom the mailbox never wrote before.
    pub strangers: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { messages: 300, recipients: 1_000, strangers: 150 }
    }
}

/// One message, or several together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// How many.
    pub messages: u32,
    /// Their recipients, each once a message.
    pub recipients: u32,
    /// Those of them to whom the mailbox never wrote before ([`crate::index::Index::amount`]).
    pub strangers: u32,
}

impl Amount {
    fn add(&mut self, other: &Self) {
        self.messages = self.messages.saturating_add(other.messages);
        self.recipients = self.recipients.saturating_add(other.recipients);
        self.strangers = self.strangers.saturating_add(other.strangers);
    }

    fn take(&mut self, other: &Self) {
        self.messages = self.messages.saturating_sub(other.messages);
        self.recipients = self.recipients.saturating_sub(other.recipients);
        self.strangers = self.strangers.saturating_sub(other.strangers);
    }
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// Messages.
    Messages,
    /// Recipients.
    Recipients,
    /// Recipients for the first time.
    Strangers,
}

/// One hour of one mailbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hour {
    /// Since 1970.
    number: i64,
    amount: Amount,
}

/// What one mailbox has sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sent(VecDeque<Hour>);

/// What is under way of all mailboxes, and whose owners know.
#[derive(Debug)]
pub struct Allowance {
    limits: Limits,
    under_way: HashMap<MailboxId, Amount>,
    /// When its owner was last told.
    told: HashMap<MailboxId, i64>,
    /// When somebody was last asked to tell.
    telling: HashMap<MailboxId, i64>,
}

impl Allowance {
    /// Nothing is under way yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, under_way: HashMap::new(), told: HashMap::new(), telling: HashMap::new() }
    }

    /// Counts a message beside what was sent before and all that is under way; [`Self::ended`] must follow.
    ///
    /// # Errors
    /// What it would go beyond; then nothing is counted.
    pub fn begin(&mut self, mailbox: MailboxId, sent: Option<&Sent>, message: Amount, now: i64) -> Result<(), Reached> {
        let mut all = sent.map(|sent| sent.so_far(now)).unwrap_or_default();
        let under_way = self.under_way.entry(mailbox).or_default();
        all.add(under_way);
        all.add(&message);
        let reached = [
            (all.messages > self.limits.messages, Reached::Messages),
            (all.recipients > self.limits.recipients, Reached::Recipients),
            // Who writes only to people it knows may, however many strangers there were.
            (message.strangers > 0 && all.strangers > self.limits.strangers, Reached::Strangers),
        ];
        match reached.into_iter().find(|(is, _)| *is) {
            Some((_, reached)) => Err(reached),
            None => {
                under_way.add(&message);
                Ok(())
            }
        }
    }

    /// It has been queued, and is counted there; or it has not.
    pub fn ended(&mut self, mailbox: MailboxId, message: Amount) {
        if let Some(under_way) = self.under_way.get_mut(&mailbox) {
            under_way.take(&message);
            if *under_way == Amount::default() {
                self.under_way.remove(&mailbox);
            }
        }
    }

    /// Whether the owner is to be told now that a limit was reached: once in 24 hours, and by one at a time.
    pub fn is_to_tell(&mut self, mailbox: MailboxId, now: i64) -> bool {
        let within = |at: Option<&i64>, time: i64| at.is_some_and(|at| (0..time).contains(&(now - at)));
        if within(self.told.get(&mailbox), HOURS as i64 * HOUR) || within(self.telling.get(&mailbox), TELL_AGAIN) {
            return false;
        }
        self.telling.insert(mailbox, now);
        true
    }

    /// The owner has it.
    pub fn told(&mut self, mailbox: MailboxId, now: i64) {
        self.told.insert(mailbox, now);
    }

    /// The mailbox is gone.
    pub fn forget(&mut self, mailbox: MailboxId) {
        self.told.remove(&mailbox);
        self.telling.remove(&mailbox);
    }
}

impl Sent {
    /// From a checkpoint.
    #[must_use]
    pub fn of(hours: Vec<Hour>) -> Self {
        Self(hours.into_iter().take(HOURS).collect())
    }

    /// For a checkpoint.
    #[must_use]
    pub fn hours(&self) -> Vec<Hour> {
        self.0.iter().copied().collect()
    }

    /// It was queued at that time.
    pub fn count(&mut self, message: Amount, at: i64) {
        self.hour(at).amount.add(&message);
    }

    /// What a clock that was ahead has counted is counted to this hour: setting the clock gives nobody more, and stops
    /// nobody for longer than a day.
    fn hour(&mut self, now: i64) -> &mut Hour {
        let (number, hours) = (now.div_euclid(HOUR), &mut self.0);
        let mut ahead = Amount::default();
        hours.retain(|hour| {
            let is_past = hour.number <= number;
            if !is_past {
                ahead.add(&hour.amount);
            }
            is_past
        });
        if hours.back().is_none_or(|hour| hour.number != number) {
            hours.push_back(Hour { number, amount: Amount::default() });
        }
        if let Some(this) = hours.back_mut() {
            this.amount.add(&ahead);
        }
        while hours.len() > HOURS {
            hours.pop_front();
        }
        let last = hours.len() - 1;
        &mut hours[last]
    }

    fn so_far(&self, now: i64) -> Amount {
        let number = now.div_euclid(HOUR);
        let count = self.0.iter().filter(|hour| number.saturating_sub(hour.number) < HOURS as i64);
        let mut all = Amount::default();
        count.for_each(|hour| all.add(&hour.amount));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANNA: MailboxId = MailboxId(1);
    const BEN: MailboxId = MailboxId(2);
    const DAY: i64 = 24 * HOUR;

    struct Both(Allowance, Sent);

    fn allowance() -> Both {
        Both(Allowance::new(Limits { messages: 3, recipients: 5, strangers: 2 }), Sent::default())
    }

    fn to(recipients: u32, strangers: u32) -> Amount {
        Amount { messages: 1, recipients, strangers }
    }

    fn send(all: &mut Both, message: Amount, now: i64) -> Result<(), Reached> {
        all.0.begin(ANNA, Some(&all.1), message, now)?;
        all.1.count(message, now);
        all.0.ended(ANNA, message);
        Ok(())
    }

    #[test]
    fn each_limit() {
        let mut all = allowance();
        for _ in 0..3 {
            assert_eq!(send(&mut all, to(1, 0), 0), Ok(()));
        }
        assert_eq!(send(&mut all, to(1, 0), 0), Err(Reached::Messages));
        let mut all = allowance();
        assert_eq!(send(&mut all, to(4, 0), 0), Ok(()));
        assert_eq!(send(&mut all, to(2, 0), 0), Err(Reached::Recipients));
        assert_eq!(send(&mut all, to(1, 0), 0), Ok(()));
        let mut all = allowance();
        assert_eq!(send(&mut all, to(3, 3), 0), Err(Reached::Strangers));
        assert_eq!(send(&mut all, to(2, 2), 0), Ok(()));
        assert_eq!(send(&mut all, to(1, 1), 0), Err(Reached::Strangers));
        assert_eq!(send(&mut all, to(1, 0), 0), Ok(()));
        // Nobody pays for another.
        assert_eq!(all.0.begin(BEN, None, to(1, 1), 0), Ok(()));
    }

    #[test]
    fn what_is_under_way_counts() {
        let mut all = allowance();
        assert_eq!(all.0.begin(ANNA, None, to(1, 1), 0), Ok(()));
        assert_eq!(all.0.begin(ANNA, None, to(1, 1), 0), Ok(()));
        assert_eq!(all.0.begin(ANNA, None, to(1, 1), 0), Err(Reached::Strangers));
        assert_eq!(all.0.begin(ANNA, None, to(4, 0), 0), Err(Reached::Recipients));
        // One of them was not queued after all.
        all.0.ended(ANNA, to(1, 1));
        assert_eq!(all.0.begin(ANNA, None, to(1, 1), 0), Ok(()));
        all.0.ended(ANNA, to(1, 1));
        all.0.ended(ANNA, to(1, 1));
        assert!(all.0.under_way.is_empty());
    }

    #[test]
    fn a_day_later() {
        let mut all = allowance();
        for hour in 0..3 {
            send(&mut all, to(1, 0), hour * HOUR).unwrap();
        }
        assert_eq!(send(&mut all, to(1, 0), DAY - 1), Err(Reached::Messages));
        assert_eq!(send(&mut all, to(1, 0), DAY), Ok(()), "the first hour no longer counts");
        assert_eq!(send(&mut all, to(1, 0), DAY), Err(Reached::Messages));
        assert_eq!(send(&mut all, to(1, 0), 0), Err(Reached::Messages), "nor does setting the clock back help");
    }

    #[test]
    fn a_clock_that_was_ahead_for_a_moment_blocks_nobody_for_good() {
        let mut all = allowance();
        assert_eq!(send(&mut all, to(1, 0), 1_000 * DAY), Ok(()));
        assert_eq!(send(&mut all, to(1, 0), 1_001 * DAY), Ok(()));
        assert_eq!(send(&mut all, to(1, 0), 0), Ok(()));
        assert_eq!(send(&mut all, to(1, 0), 0), Err(Reached::Messages), "all of it counts");
        assert_eq!(send(&mut all, to(1, 0), DAY), Ok(()));
        assert!(all.1.0.len() == 2, "each hour once");
    }

    #[test]
    fn the_owner_is_told_once() {
        let mut all = allowance().0;
        assert!(all.is_to_tell(ANNA, 5));
        assert!(!all.is_to_tell(ANNA, 6), "somebody is at it");
        assert!(all.is_to_tell(ANNA, 5 + TELL_AGAIN), "it came to nothing");
        all.told(ANNA, 400);
        assert!(!all.is_to_tell(ANNA, 400 + DAY - 1));
        assert!(all.is_to_tell(ANNA, 400 + DAY));
    }

    proptest! {
        #[test]
        fn never_more_than_a_day_allows(steps in prop::collection::vec((0i64..4_000, 1u32..3, 0u32..3), 1..300)) {
            let limits = Limits { messages: 40, recipients: 60, strangers: 20 };
            let (mut all, mut now, mut went) = (Both(Allowance::new(limits), Sent::default()), 0, Vec::new());
            for (passed, recipients, strangers) in steps {
                now += passed;
                let message = to(recipients, strangers.min(recipients));
                if send(&mut all, message, now).is_ok() {
                    went.push((now, message));
                }
                all.1 = Sent::of(all.1.hours());
                // An hour is counted whole: what is within 23 hours is always counted.
                let lately: Vec<_> = went.iter().filter(|(at, _)| now - at < DAY - HOUR).collect();
                prop_assert!(lately.len() <= 40);
                prop_assert!(lately.iter().map(|(_, message)| message.recipients).sum::<u32>() <= 60);
                prop_assert!(lately.iter().map(|(_, message)| message.strangers).sum::<u32>() <= 20);
            }
        }
    }
}
