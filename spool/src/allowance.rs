//! How much one mailbox may send: far more than a family writes, far less than a thief of a password wants to. Counted
//! over the last 24 hours; the clock is handed in.

use std::collections::{HashMap, VecDeque};

use crate::names::MailboxId;

const HOUR: i64 = 3_600;
/// Hours that count.
const HOURS: usize = 24;

/// What 24 hours may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Its recipients, each once.
    pub recipients: u32,
    /// Those of them to whom the mailbox never wrote before ([`crate::index::Index::strangers`]).
    pub strangers: u32,
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

#[derive(Debug, Clone, Copy, Default)]
struct Hour {
    /// Since 1970.
    number: i64,
    messages: u32,
    recipients: u32,
    strangers: u32,
}

impl Hour {
    fn add(&mut self, other: &Self) {
        self.messages = self.messages.saturating_add(other.messages);
        self.recipients = self.recipients.saturating_add(other.recipients);
        self.strangers = self.strangers.saturating_add(other.strangers);
    }
}

/// What one mailbox has sent.
#[derive(Debug, Default)]
struct Sent {
    hours: VecDeque<Hour>,
    /// When its owner was last told, so that it happens once.
    told: Option<i64>,
}

/// All mailboxes.
#[derive(Debug)]
pub struct Allowance {
    limits: Limits,
    sent: HashMap<MailboxId, Sent>,
}

impl Allowance {
    /// Nothing was sent yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, sent: HashMap::new() }
    }

    /// Whether a message may go; nothing is counted.
    ///
    /// # Errors
    /// What it would go beyond.
    pub fn ask(&self, mailbox: MailboxId, message: Message, now: i64) -> Result<(), Reached> {
        let so_far = self.sent.get(&mailbox).map(|sent| sent.so_far(now)).unwrap_or_default();
        if so_far.messages >= self.limits.messages {
            return Err(Reached::Messages);
        }
        if so_far.recipients.saturating_add(message.recipients) > self.limits.recipients {
            return Err(Reached::Recipients);
        }
        if so_far.strangers.saturating_add(message.strangers) > self.limits.strangers {
            return Err(Reached::Strangers);
        }
        Ok(())
    }

    /// It went.
    pub fn count(&mut self, mailbox: MailboxId, message: Message, now: i64) {
        let hour = self.sent.entry(mailbox).or_default().hour(now);
        hour.messages = hour.messages.saturating_add(1);
        hour.recipients = hour.recipients.saturating_add(message.recipients);
        hour.strangers = hour.strangers.saturating_add(message.strangers);
    }

    /// Whether the owner is to be told now that a limit was reached: once in 24 hours.
    pub fn is_to_tell(&mut self, mailbox: MailboxId, now: i64) -> bool {
        let sent = self.sent.entry(mailbox).or_default();
        let told = sent.told.is_some_and(|told| (0..HOURS as i64 * HOUR).contains(&(now - told)));
        if !told {
            sent.told = Some(now);
        }
        !told
    }

    /// The mailbox is gone.
    pub fn forget(&mut self, mailbox: MailboxId) {
        self.sent.remove(&mailbox);
    }
}

impl Sent {
    /// What a clock that was ahead has counted is counted to this hour: setting the clock gives nobody more, and stops
    /// nobody for longer than a day.
    fn hour(&mut self, now: i64) -> &mut Hour {
        let number = now.div_euclid(HOUR);
        let (mut ahead, before) = (Hour { number, ..Hour::default() }, self.hours.len());
        self.hours.retain(|hour| {
            let is_past = hour.number <= number;
            if !is_past {
                ahead.add(hour);
            }
            is_past
        });
        if self.hours.len() < before {
            match self.hours.back_mut().filter(|hour| hour.number == number) {
                Some(this) => this.add(&ahead),
                None => self.hours.push_back(ahead),
            }
        }
        if self.hours.back().is_none_or(|hour| hour.number != number) {
            self.hours.push_back(Hour { number, ..Hour::default() });
        }
        while self.hours.len() > HOURS {
            self.hours.pop_front();
        }
        let last = self.hours.len() - 1;
        &mut self.hours[last]
    }

    fn so_far(&self, now: i64) -> Hour {
        let number = now.div_euclid(HOUR);
        let count = self.hours.iter().filter(|hour| number.saturating_sub(hour.number) < HOURS as i64);
        let mut all = Hour { number, ..Hour::default() };
        count.for_each(|hour| all.add(hour));
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

    fn allowance() -> Allowance {
        Allowance::new(Limits { messages: 3, recipients: 5, strangers: 2 })
    }

    fn to(recipients: u32, strangers: u32) -> Message {
        Message { recipients, strangers }
    }

    fn send(allowance: &mut Allowance, message: Message, now: i64) -> Result<(), Reached> {
        allowance.ask(ANNA, message, now).inspect(|()| allowance.count(ANNA, message, now))
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
        assert_eq!(all.ask(BEN, to(1, 1), 0), Ok(()));
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
        assert!(all.sent[&ANNA].hours.len() == 2, "each hour once");
    }

    #[test]
    fn the_owner_is_told_once() {
        let mut all = allowance();
        assert!(all.is_to_tell(ANNA, 5));
        assert!(!all.is_to_tell(ANNA, 5 + DAY - 1));
        assert!(all.is_to_tell(ANNA, 5 + DAY));
    }

    proptest! {
        #[test]
        fn never_more_than_a_day_allows(steps in prop::collection::vec((0i64..4_000, 1u32..3, 0u32..3), 1..300)) {
            let limits = Limits { messages: 40, recipients: 60, strangers: 20 };
            let (mut all, mut now, mut went) = (Allowance::new(limits), 0, Vec::new());
            for (passed, recipients, strangers) in steps {
                now += passed;
                let message = to(recipients, strangers.min(recipients));
                if send(&mut all, message, now).is_ok() {
                    went.push((now, message));
                }
                // An hour is counted whole: what is within 23 hours is always counted.
                let lately: Vec<_> = went.iter().filter(|(at, _)| now - at < DAY - HOUR).collect();
                prop_assert!(lately.len() <= 40);
                prop_assert!(lately.iter().map(|(_, message)| message.recipients).sum::<u32>() <= 60);
                prop_assert!(lately.iter().map(|(_, message)| message.strangers).sum::<u32>() <= 20);
            }
        }
    }
}
