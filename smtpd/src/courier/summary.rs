//! One notice about many letters that aliases passed on and nobody took.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use ring::digest;
use spool::edges::outbox::{Outgoing, State};
use spool::names::TransactionId;

use super::fate::without_status;
use super::limits;
use super::outcome::Due;

/// What it says of a letter.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Of its sender, for where there is room for no more.
    pub domain: String,
    /// Who wrote it, for whom, and what was said.
    pub lines: String,
    /// Its bytes, which lie here until it is told.
    pub size: u64,
}

impl Entry {
    /// Of that letter.
    #[must_use]
    pub fn of(outgoing: &Outgoing, due: &Due, alias: Option<&str>) -> Self {
        let sender = outgoing.sender.as_deref().unwrap_or_default();
        let domain = sender.rsplit_once('@').map_or("", |(_, far)| far);
        let came = wire::date::rfc5322(outgoing.queued);
        let mut lines =
            format!("From {}, for {}, {came}\r\n", plain(sender), plain(alias.unwrap_or("several aliases")));
        let about = due.recipients.iter().filter_map(|number| outgoing.recipients.get(usize::from(*number)));
        for one in about.take(limits::SUMMARY_RECIPIENTS) {
            let State::Untold { last, .. } = &one.state else { continue };
            let said = last.by.as_ref().map_or(String::new(), |(host, code)| format!("{host} says {code} "));
            let _ = write!(
                lines,
                "    to {}: {}{}\r\n",
                plain(&one.address),
                plain(&said),
                plain(without_status(&last.words))
            );
        }
        Self { domain: plain(domain).to_lowercase(), lines, size: outgoing.size.into() }
    }
}

/// A stranger's and a far server's words, on one line that any mail app shows.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(limits::SUMMARY_WORDS).collect()
}

/// Those that could not wait: how many, by their senders' domains.
pub type Counted = BTreeMap<String, u64>;

/// How many, and from whom.
#[must_use]
pub fn more(counted: &Counted) -> Option<String> {
    let domains = counted.iter().map(|(domain, many)| match domain.as_str() {
        "" => format!("others ({many})"),
        domain => format!("{domain} ({many})"),
    });
    let (domains, more): (Vec<_>, u64) = (domains.collect(), counted.values().sum());
    (more > 0).then(|| format!("{more} more, from: {}", domains.join(",\r\n    ")))
}

/// What waits to be told so.
#[derive(Debug, Default)]
pub struct Rest {
    /// And when each asked last.
    waits: BTreeMap<TransactionId, (Entry, i64)>,
    counted: Counted,
    told: BTreeSet<TransactionId>,
    /// When the first of them came.
    since: Option<i64>,
    /// When the last notice was made.
    last: Option<i64>,
    is_wanted: bool,
    is_being_told: bool,
}

/// A notice.
#[derive(Debug, Clone)]
pub struct Sum {
    /// The same for the same letters.
    pub name: TransactionId,
    /// What it says, CRLF at every end of line.
    pub text: String,
    letters: Vec<TransactionId>,
    counted: Counted,
}

impl Rest {
    /// Whether that letter waits to be told.
    #[must_use]
    pub fn has(&self, one: TransactionId) -> bool {
        self.waits.contains_key(&one)
    }

    /// Whether it was told; asked once, since then its letter goes.
    pub fn has_told(&mut self, one: TransactionId) -> bool {
        self.told.remove(&one)
    }

    /// It waits from now on; whether it did not before. Nothing, where there is no room for it.
    pub fn add(&mut self, one: TransactionId, entry: &Entry, now: i64) -> Option<bool> {
        if let Some((_, asked)) = self.waits.get_mut(&one) {
            *asked = now;
            return Some(false);
        }
        while !self.has_room(entry.size, now) {
            self.forget_one(now)?;
        }
        self.begin(now);
        self.waits.insert(one, (entry.clone(), now));
        Some(true)
    }

    /// It only has a number.
    pub fn count(&mut self, domain: &str, now: i64) {
        self.begin(now);
        self.count_many(domain, 1);
    }

    fn begin(&mut self, now: i64) {
        if self.is_empty() {
            (self.since, self.is_wanted) = (None, false);
        }
        self.since.get_or_insert(now);
    }

    fn is_empty(&self) -> bool {
        self.waits.is_empty() && self.counted.is_empty()
    }

    fn has_room(&self, size: u64, now: i64) -> bool {
        // With what is due this moment one more is told, which asks for all of them: the others may be gone.
        let is_due = self.is_due(now);
        let sizes = self.waits.values().map(|(entry, _)| entry.size).chain((!is_due).then_some(size));
        let (all, largest) =
            sizes.fold((0_u64, 0), |(all, largest), size| (all.saturating_add(size), size.max(largest)));
        // The largest has room however large it is.
        self.waits.len() < limits::SUMMARY_LETTERS + usize::from(is_due) && all - largest <= limits::SUMMARY_BYTES
    }

    /// The one that asked longest ago, if it would have asked since: the admin has dropped it.
    fn forget_one(&mut self, now: i64) -> Option<()> {
        let asked = self.waits.iter().map(|(one, (_, asked))| (now.abs_diff(*asked), *one));
        let (_, gone) = asked.filter(|(ago, _)| *ago > limits::SUMMARY_GONE).max()?;
        self.waits.remove(&gone).map(drop)
    }

    fn count_many(&mut self, domain: &str, many: u64) {
        let is_known = self.counted.contains_key(domain) || self.counted.len() < limits::SUMMARY_DOMAINS;
        *self.counted.entry(if is_known { domain } else { "" }.to_owned()).or_default() += many;
    }

    /// Another notice tells of them.
    pub fn take_counted(&mut self) -> Counted {
        std::mem::take(&mut self.counted)
    }

    /// It was none after all.
    pub fn give_back(&mut self, counted: &Counted) {
        counted.iter().for_each(|(domain, many)| self.count_many(domain, *many));
    }

    /// The admin wants to hear it now.
    pub fn hurry(&mut self) {
        self.is_wanted = !self.is_empty();
    }

    fn is_due(&self, now: i64) -> bool {
        // A clock that was ahead keeps nothing back.
        let has_waited = |from: i64, seconds: i64| now < from || now >= from.saturating_add(seconds);
        let is_time = self.since.is_some_and(|since| has_waited(since, limits::SUMMARY_AFTER))
            && self.last.is_none_or(|last| has_waited(last, limits::SUMMARY_BETWEEN));
        !self.is_being_told && (is_time || self.is_wanted)
    }

    /// What is to be told now, unless it is being told.
    pub fn due(&mut self, now: i64) -> Option<Sum> {
        if !self.is_due(now) {
            return None;
        }
        self.is_being_told = true;
        Some(self.sum())
    }

    fn sum(&mut self) -> Sum {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"postern summary\0");
        self.waits.keys().for_each(|one| context.update(&one.0));
        let mut name = [0; 16];
        name.copy_from_slice(&context.finish().as_ref()[..16]);
        let mut text = String::from(WORDS);
        self.waits.values().for_each(|(entry, _)| text.push_str(&entry.lines));
        let counted = self.take_counted();
        if let Some(more) = more(&counted) {
            let _ = write!(text, "\r\nAnd {more}\r\n");
        }
        let letters = self.waits.keys().copied().collect();
        Sum { name: TransactionId(name), text, letters, counted }
    }

    /// It lies in the mailbox.
    pub fn told(&mut self, sum: &mut Sum, now: i64) {
        for one in &sum.letters {
            self.waits.remove(one);
        }
        sum.counted.clear();
        // Letters that the admin has dropped are never asked for again.
        if self.told.len() > limits::SUMMARY_LETTERS {
            self.told.clear();
        }
        self.told.extend(&sum.letters);
        (self.since, self.last, self.is_wanted) = ((!self.is_empty()).then_some(now), Some(now), false);
    }

    /// It is told, or is to be told again.
    pub fn ended(&mut self, sum: &Sum) {
        self.is_being_told = false;
        self.give_back(&sum.counted);
    }
}

const WORDS: &str = "These letters came for aliases here, which pass mail on, and could not be delivered\r\n\
    there. They are of a kind of which you were told, or more than are told one by\r\n\
    one. Their senders do not hear of it from this house.\r\n\r\n";

/// The whole letter.
#[must_use]
pub fn notice(sum: &Sum, (host, domain): (&str, &str), now: i64) -> Vec<u8> {
    let id: String = sum.name.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let (date, text) = (wire::date::rfc5322(now), &sum.text);
    format!(
        "Return-Path: <>\r\nFrom: Mail delivery <postmaster@{domain}>\r\nTo: <postmaster@{domain}>\r\n\
         Subject: Letters that could not be passed on\r\nDate: {date}\r\nMessage-ID: <{id}@{host}>\r\n\
         Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n{text}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use spool::edges::outbox::{OutgoingRecipient, Said};

    use super::*;
    use crate::courier::dsn::Kind;
    use crate::courier::samples;

    #[test]
    fn it_says_who_wrote_to_whom_and_why_not() {
        let last = Said {
            status: (5, 7, 1),
            by: Some(("mx.far.test".into(), 550)),
            words: format!("5.7.1 no\r\nBcc: {}", "x".repeat(2_000)),
            at: 0,
        };
        let one = OutgoingRecipient {
            address: "ben@far.test".into(),
            original: None,
            notify: None,
            state: State::Untold { delivered: false, last },
        };
        let due =
            Due { kind: Kind::Failure, recipients: vec![0], transaction: TransactionId([1; 16]), then: Vec::new() };
        let outgoing = samples::outgoing(Some("aunt@Example.org"), std::iter::once(one));
        let entry = Entry::of(&outgoing, &due, Some("us@home.test"));
        assert!(entry.lines.starts_with("From aunt@Example.org, for us@home.test, Thu, 1 Jan 1970"), "{}", entry.lines);
        assert!(entry.lines.contains("\r\n    to ben@far.test: mx.far.test says 550 no??Bcc: x"), "{}", entry.lines);
        assert!(entry.lines.lines().all(|line| line.len() < 998) && entry.domain == "example.org");
        let mut rest = Rest::default();
        assert_eq!(rest.add(TransactionId([1; 16]), &entry, 5), Some(true));
        rest.hurry();
        let sum = rest.due(5).unwrap();
        let notice = String::from_utf8(notice(&sum, ("mail.home.test", "home.test"), 5)).unwrap();
        assert!(
            notice.contains("To: <postmaster@home.test>\r\n") && notice.contains("\r\n\r\nThese letters"),
            "{notice}"
        );
        assert!(!notice.contains("more, from"), "{notice}");
    }

    #[test]
    fn domains_of_strangers_are_bounded() {
        let mut rest = Rest::default();
        for number in 0..10_000 {
            rest.count(&format!("d{number}.test"), 0);
        }
        rest.hurry();
        let sum = rest.due(0).unwrap();
        let others = 10_000 - limits::SUMMARY_DOMAINS;
        assert!(sum.text.contains("And 10000 more, from: ") && sum.text.contains(&format!("others ({others})")));
    }

    #[test]
    fn what_no_longer_asks_keeps_no_room() {
        let mut rest = Rest::default();
        let entry = Entry { domain: "far.test".into(), lines: String::new(), size: 1_000 };
        let name = |number: usize| TransactionId([u8::try_from(number).unwrap(); 16]);
        for number in 0..limits::SUMMARY_LETTERS {
            assert_eq!(rest.add(name(number), &entry, 0), Some(true));
        }
        assert_eq!(rest.add(name(7), &entry, 300), Some(false));
        assert_eq!(rest.add(name(200), &entry, 600), None, "they sleep");
        assert_eq!(rest.add(name(200), &entry, 601), Some(true));
        assert_eq!(rest.waits.len(), limits::SUMMARY_LETTERS, "no more than there is need of is forgotten");
        for number in 0..limits::SUMMARY_LETTERS - 2 {
            assert_eq!(rest.add(name(100 + number), &entry, 700), Some(true), "{number}");
        }
        assert!(rest.has(name(7)) && rest.has(name(200)), "these asked since");
        assert_eq!(rest.add(name(201), &entry, 700), None);
        assert_eq!(rest.add(name(201), &entry, 901), Some(true));
        assert!(!rest.has(name(7)));
    }

    #[test]
    fn one_may_be_of_any_size() {
        let mut rest = Rest::default();
        let of = |size| Entry { domain: "far.test".into(), lines: String::new(), size };
        let (small, large) = (of(1_000), of(limits::SUMMARY_BYTES + 1));
        assert_eq!(rest.add(TransactionId([1; 16]), &large, 0), Some(true));
        assert_eq!(rest.add(TransactionId([2; 16]), &large, 0), None);
        assert_eq!(rest.add(TransactionId([3; 16]), &small, 0), Some(true), "it takes nobody's room");
        rest.hurry();
        assert_eq!(rest.due(0).unwrap().letters.len(), 2);
    }
}
