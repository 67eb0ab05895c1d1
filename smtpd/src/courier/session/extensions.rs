//! What a far server announces in answer to EHLO.

use crate::courier::limits;
use crate::courier::reply::FarReply;

/// Extensions we use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 1870; `Some(0)`: announced without a bound.
    pub size: Option<u64>,
    /// RFC 6152.
    pub eight_bit: bool,
    /// RFC 6531.
    pub international: bool,
    /// RFC 3030.
    pub chunking: bool,
    /// RFC 3461.
    pub notifications: bool,
    /// RFC 8689.
    pub require_tls: bool,
    /// RFC 3207.
    pub start_tls: bool,
    /// RFC 9422 RCPTMAX.
    pub recipients: Option<usize>,
    /// RFC 9422 MAILMAX.
    pub letters: Option<usize>,
}

impl Extensions {
    /// Reads them. The first line is the server's name; unknown keywords are passed over.
    #[must_use]
    pub fn read(reply: &FarReply) -> Self {
        let mut extensions = Self::default();
        for line in reply.lines.iter().skip(1) {
            let mut words = line.split(' ').filter(|word| !word.is_empty());
            if let Some(keyword) = words.next() {
                extensions.learn(&keyword.to_ascii_uppercase(), words);
            }
        }
        extensions
    }

    fn learn<'a>(&mut self, keyword: &str, mut words: impl Iterator<Item = &'a str>) {
        match keyword {
            "PIPELINING" => self.pipelining = true,
            "SIZE" => self.size = Some(words.next().and_then(|size| size.parse().ok()).unwrap_or(0)),
            "8BITMIME" => self.eight_bit = true,
            "SMTPUTF8" => self.international = true,
            "CHUNKING" => self.chunking = true,
            "DSN" => self.notifications = true,
            "REQUIRETLS" => self.require_tls = true,
            "STARTTLS" => self.start_tls = true,
            "LIMITS" => words.for_each(|word| self.limit(word)),
            _ => {}
        }
    }

    fn limit(&mut self, word: &str) {
        let Some((name, value)) = word.split_once('=') else { return };
        let value = value.parse().ok().filter(|value| *value > 0);
        match name.to_ascii_uppercase().as_str() {
            "RCPTMAX" => self.recipients = value,
            "MAILMAX" => self.letters = value,
            _ => {}
        }
    }

    /// How many recipients one letter may have.
    #[must_use]
    pub fn most_recipients(&self) -> usize {
        self.recipients.unwrap_or(limits::RECIPIENTS).min(limits::RECIPIENTS)
    }

    /// The largest letter it takes, if it says.
    #[must_use]
    pub fn largest(&self) -> Option<u64> {
        self.size.filter(|size| *size > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announced() {
        let lines = ["mx SIZE 5", "size 1000", "8BITMIME", "LIMITS MAILMAX=20 rcptmax=50 X", "X-OTHER", "", "dsn  "];
        let reply = FarReply { code: 250, status: None, lines: lines.map(String::from).to_vec() };
        let found = Extensions::read(&reply);
        let expected = Extensions {
            size: Some(1_000),
            eight_bit: true,
            notifications: true,
            recipients: Some(50),
            letters: Some(20),
            ..Extensions::default()
        };
        assert_eq!(found, expected);
        assert_eq!((found.most_recipients(), found.largest()), (50, Some(1_000)));
        assert_eq!(
            (Extensions::default().most_recipients(), Extensions::default().largest()),
            (limits::RECIPIENTS, None)
        );
    }

    #[test]
    fn limits_that_are_none() {
        let lines = ["mx", "SIZE", "LIMITS RCPTMAX=0 MAILMAX=many"];
        let reply = FarReply { code: 250, status: None, lines: lines.map(String::from).to_vec() };
        let found = Extensions::read(&reply);
        assert_eq!((found.size, found.largest(), found.recipients, found.letters), (Some(0), None, None, None));
    }
}
