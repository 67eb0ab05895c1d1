//! What becomes of one recipient, and in whose words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An enhanced status code (RFC 3463).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Status {
    /// 2, 4 or 5.
    pub class: u8,
    /// What it is about: address, mailbox, system, network, protocol, content, policy.
    pub subject: u16,
    /// In particular.
    pub detail: u16,
}

impl Status {
    /// `class.subject.detail`.
    #[must_use]
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }

    /// Reads one from the front of a reply's text, with what follows it.
    #[must_use]
    pub fn parse(text: &str) -> Option<(Self, &str)> {
        let end = text.find(' ').unwrap_or(text.len());
        let mut numbers = text[..end].split('.');
        let class = numbers.next().filter(|class| matches!(*class, "2" | "4" | "5"))?.parse().ok()?;
        let (subject, detail) = (number(numbers.next()?)?, number(numbers.next()?)?);
        let rest = text[end..].trim_start();
        numbers.next().is_none().then_some((Self { class, subject, detail }, rest))
    }

    /// The same, as another class.
    #[must_use]
    pub const fn of_class(self, class: u8) -> Self {
        Self { class, ..self }
    }
}

/// A far server's words without the status they begin with, for people.
#[must_use]
pub fn without_status(words: &str) -> &str {
    Status::parse(words).map_or(words, |(_, rest)| rest)
}

// RFC 3463 §2: one to three digits, no leading zeros (which some servers send, and which change nothing).
fn number(text: &str) -> Option<u16> {
    let digits = (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// Why it is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// For machines.
    pub status: Status,
    /// The host and the code when these are a far server's words, clean and bounded; else they are ours.
    pub said: Option<(String, u16)>,
    /// Those words: ours are for people, a far server's are as it said them, its own status in front.
    pub words: String,
    /// Seconds before which another attempt is of no use, where somebody said so.
    pub wait: Option<u32>,
}

impl Why {
    /// In our own words.
    #[must_use]
    pub fn ours(status: Status, words: impl Into<String>) -> Self {
        Self { status, said: None, words: words.into(), wait: None }
    }

    /// RFC 5321 §4.5.3.1.10: the far server takes no more recipients in one transaction.
    #[must_use]
    pub fn is_too_many_recipients(&self) -> bool {
        (self.status.subject, self.status.detail) == (5, 3)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.said {
            Some((host, code)) => write!(f, "{host} says: {code} {}", without_status(&self.words)),
            None => f.write_str(&self.words),
        }
    }
}

/// What became of one recipient in one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// The far server has taken it on itself.
    Delivered(Why),
    /// Not now; try again.
    Deferred(Why),
    /// Never; tell the sender.
    Failed(Why),
}

impl Fate {
    /// Why.
    #[must_use]
    pub const fn why(&self) -> &Why {
        match self {
            Self::Delivered(why) | Self::Deferred(why) | Self::Failed(why) => why,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        assert_eq!(Status::parse("5.1.1 no such user"), Some((Status::new(5, 1, 1), "no such user")));
        assert_eq!(Status::parse("4.7.0"), Some((Status::new(4, 7, 0), "")));
        for none in ["", "5", "5.1", "5.1.1.1 x", "3.1.1 x", "5.a.1 x", "5.1000.1 x", "5..1 x", "no such user"] {
            assert_eq!(Status::parse(none), None, "{none}");
        }
    }

    #[test]
    fn words_for_people() {
        let said = Some(("mx.far.example".to_owned(), 550));
        let words = "5.1.1 no such user".to_owned();
        let why = Why { status: Status::new(5, 1, 1), said, words, wait: None };
        assert_eq!(why.to_string(), "mx.far.example says: 550 no such user");
        assert_eq!(Why::ours(Status::new(4, 4, 1), "no connection").to_string(), "no connection");
    }
}
