//! How much one mailbox may send: far more than a family writes, far less than a thief of a password wants to. Counted
//! over the last 24 hours; the clock is handed in.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::names::MailboxId;

const HOUR: i64 = 3_600;
/// Hours that count.
const HOURS: usize = 24;
/// Recipients remembered of one mailbox; the oldest go first.
pub const KNOWN: usize = 5_000;

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

/// What one mailbox has sent.
#[derive(Debug, Default)]
struct Sent {
    hours: VecDeque<Hour>,
    known: HashSet<String>,
    order: VecDeque<String>,
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

    /// These were written to before: read back at a start.
    pub fn learn<'a>(&mut self, mailbox: MailboxId, recipients: impl IntoIterator<Item = &'a str>) {
        let sent = self.sent.entry(mailbox).or_default();
        recipients.into_iter().for_each(|recipient| sent.meet(recipient));
    }

    /// Whether a message to these (each once, lower-case) may go; nothing is counted.
    ///
    /// # Errors
    /// What it would go beyond.
    pub fn ask(&self, mailbox: MailboxId, recipients: &[&str], now: i64) -> Result<(), Reached> {
        let nothing = Sent::default();
        let sent = self.sent.get(&mailbox).unwrap_or(&nothing);
        let so_far = sent.so_far(now);
        let more = number(recipients.len());
        if so_far.messages >= self.limits.messages {
            return Err(Reached::Messages);
        }
        if so_far.recipients.saturating_add(more) > self.limits.recipients {
            return Err(Reached::Recipients);
        }
        if so_far.strangers.saturating_add(sent.strangers(recipients)) > self.limits.strangers {
            return Err(Reached::Strangers);
        }
        Ok(())
    }

    /// It went.
    pub fn count(&mut self, mailbox: MailboxId, recipients: &[&str], now: i64) {
        let sent = self.sent.entry(mailbox).or_default();
        let strangers = sent.strangers(recipients);
        let hour = sent.hour(now);
        hour.messages = hour.messages.saturating_add(1);
        hour.recipients = hour.recipients.saturating_add(number(recipients.len()));
        hour.strangers = hour.strangers.saturating_add(strangers);
        recipients.iter().for_each(|recipient| sent.meet(recipient));
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
    fn strangers(&self, recipients: &[&str]) -> u32 {
        number(recipients.iter().filter(|recipient| !self.known.contains(**recipient)).count())
    }

    fn meet(&mut self, recipient: &str) {
        if self.known.insert(recipient.to_owned()) {
            self.order.push_back(recipient.to_owned());
        }
        while self.order.len() > KNOWN {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    /// A clock that was set back counts on in the newest hour: setting it gives nobody more.
    fn hour(&mut self, now: i64) -> &mut Hour {
        let number = now.div_euclid(HOUR).max(self.hours.back().map_or(i64::MIN, |hour| hour.number));
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
        let newest = now.div_euclid(HOUR).max(self.hours.back().map_or(i64::MIN, |hour| hour.number));
        let count = self.hours.iter().filter(|hour| newest.saturating_sub(hour.number) < HOURS as i64);
        count.fold(Hour::default(), |all, hour| Hour {
            number: newest,
            messages: all.messages.saturating_add(hour.messages),
            recipients: all.recipients.saturating_add(hour.recipients),
            strangers: all.strangers.saturating_add(hour.strangers),
        })
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
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

    #[test]
    fn only_so_many_are_remembered() {
        let mut all = allowance();
        let names: Vec<String> = (0..KNOWN + 10).map(|number| number.to_string()).collect();
        all.learn(ANNA, names.iter().map(String::as_str));
        assert_eq!(all.sent[&ANNA].known.len(), KNOWN);
        assert_eq!(all.sent[&ANNA].strangers(&["9", "10"]), 1, "the oldest are strangers again");
    }

    fn send(allowance: &mut Allowance, recipients: &[&str], now: i64) -> Result<(), Reached> {
        allowance.ask(ANNA, recipients, now).inspect(|()| allowance.count(ANNA, recipients, now))
    }

    #[test]
    fn each_limit() {
        let mut all = allowance();
        for _ in 0..3 {
            assert_eq!(send(&mut all, &["a"], 0), Ok(()));
        }
        assert_eq!(send(&mut all, &["a"], 0), Err(Reached::Messages));
        let mut all = allowance();
        all.learn(ANNA, ["a", "b", "c", "d", "e", "f"]);
        assert_eq!(send(&mut all, &["a", "b", "c", "d"], 0), Ok(()));
        assert_eq!(send(&mut all, &["e", "f"], 0), Err(Reached::Recipients));
        assert_eq!(send(&mut all, &["e"], 0), Ok(()));
        let mut all = allowance();
        assert_eq!(send(&mut all, &["x", "y", "z"], 0), Err(Reached::Strangers));
        assert_eq!(send(&mut all, &["x", "y"], 0), Ok(()));
        assert_eq!(send(&mut all, &["z"], 0), Err(Reached::Strangers));
        assert_eq!(send(&mut all, &["x"], 0), Ok(()));
        // Nobody pays for another.
        assert_eq!(all.ask(BEN, &["z"], 0), Ok(()));
    }

    #[test]
    fn a_day_later() {
        let mut all = allowance();
        for hour in 0..3 {
            send(&mut all, &["a"], hour * HOUR).unwrap();
        }
        assert_eq!(send(&mut all, &["a"], DAY - 1), Err(Reached::Messages));
        assert_eq!(send(&mut all, &["a"], DAY), Ok(()), "the first hour no longer counts");
        assert_eq!(send(&mut all, &["a"], DAY), Err(Reached::Messages));
        assert_eq!(send(&mut all, &["a"], 0), Err(Reached::Messages), "nor does setting the clock back help");
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
        fn never_more_than_a_day_allows(steps in prop::collection::vec((0i64..4_000, 0u16..6_000), 1..300)) {
            let limits = Limits { messages: 40, recipients: 60, strangers: 20 };
            let (mut all, mut now, mut went) = (Allowance::new(limits), 0, Vec::new());
            for (passed, to) in steps {
                now += passed;
                let (a, b) = (to.to_string(), (to / 2).to_string());
                let recipients = if a == b { vec![a.as_str()] } else { vec![a.as_str(), b.as_str()] };
                if all.ask(ANNA, &recipients, now).is_ok() {
                    all.count(ANNA, &recipients, now);
                    went.push((now, recipients.len()));
                }
                // An hour is counted whole: what is within 23 hours is always counted.
                let lately: Vec<_> = went.iter().filter(|(at, _)| now - at < DAY - HOUR).collect();
                prop_assert!(lately.len() <= 40);
                prop_assert!(lately.iter().map(|(_, count)| count).sum::<usize>() <= 60);
            }
        }
    }
}
