//! What a far server says. Hostile: bounded in lines and bytes, and clean before anybody sees it.

use wire::unseen::is_harmless;

use super::fate::{Fate, Status, Why};
use super::limits;

/// A whole reply (RFC 5321 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FarReply {
    /// 200 to 599.
    pub code: u16,
    /// Its enhanced status, if it has one that fits the code (RFC 2034).
    pub status: Option<Status>,
    /// Without code; no control characters. At least one, perhaps empty.
    pub lines: Vec<String>,
}

/// Lines that are no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoReply(pub &'static str);

impl FarReply {
    /// 2yz.
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 4yz.
    #[must_use]
    pub const fn is_for_now(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5yz.
    #[must_use]
    pub const fn is_for_good(&self) -> bool {
        self.code / 100 == 5
    }

    /// Whether it is one to what was done, and not to what is still to come.
    #[must_use]
    pub const fn is_answer(&self) -> bool {
        matches!(self.code / 100, 2 | 4 | 5)
    }

    /// 421: it closes the connection.
    #[must_use]
    pub const fn closes(&self) -> bool {
        self.code == 421
    }

    /// Its words on one line, bounded; a status that each line repeats (RFC 2034 §4) stands there once.
    #[must_use]
    pub fn words(&self) -> String {
        let (mut words, mut is_said) = (String::new(), false);
        for line in &self.lines {
            let (status, rest) = match Status::parse(line).filter(|(status, _)| self.status == Some(*status)) {
                Some((_, rest)) if is_said => (None, rest),
                found => (found, line.as_str()),
            };
            is_said |= status.is_some();
            if !words.is_empty() && !rest.is_empty() {
                words.push(' ');
            }
            words.push_str(rest);
        }
        if words.len() > limits::WORDS {
            words.truncate(floor(&words, limits::WORDS));
            words.push_str("...");
        }
        words
    }

    /// Why, as `host` says; the status is what it says or, by the code alone, `otherwise`'s subject and detail.
    #[must_use]
    pub fn why(&self, host: &str, otherwise: (u16, u16)) -> Why {
        let class = u8::try_from(self.code / 100).unwrap_or(4);
        let status = self.status.unwrap_or(Status::new(class, otherwise.0, otherwise.1));
        Why { status, said: Some((host.to_owned(), self.code)), words: self.words(), wait: None }
    }

    /// The fate of a recipient about whom this was said: 2yz, 4yz, 5yz as they are; 3yz and 1yz have no business
    /// there, and a server that is confused today may not be tomorrow.
    #[must_use]
    pub fn fate(&self, host: &str, otherwise: (u16, u16)) -> Fate {
        let why = self.why(host, otherwise);
        match self.code / 100 {
            2 => Fate::Delivered(why),
            5 => Fate::Failed(why),
            4 => Fate::Deferred(why),
            _ => Fate::Deferred(Why { status: Status::new(4, 5, 0), ..why }),
        }
    }
}

/// The lines of a reply as they come.
#[derive(Debug, Default)]
pub struct Gathering {
    code: Option<u16>,
    status: Option<Status>,
    lines: Vec<String>,
    bytes: usize,
}

impl Gathering {
    /// Whether a reply has begun and is not yet whole.
    #[must_use]
    pub const fn is_begun(&self) -> bool {
        self.code.is_some()
    }

    /// Takes a line, its CRLF removed. The reply, once it is whole.
    ///
    /// # Errors
    /// [`NoReply`]: nothing more on this connection can be understood.
    pub fn line(&mut self, line: &[u8]) -> Result<Option<FarReply>, NoReply> {
        let (code, last) = code(line)?;
        if self.code.is_some_and(|first| first != code) {
            return Err(NoReply("lines of one reply with different codes"));
        }
        if self.lines.len() == limits::REPLY_LINES {
            return Err(NoReply("a reply without end"));
        }
        let text = clean(line.get(4..).unwrap_or_default());
        let status = Status::parse(&text).map(|(status, _)| status);
        self.status = self.status.or(status.filter(|status| u16::from(status.class) == code / 100));
        self.code = Some(code);
        self.keep(text);
        if !last {
            return Ok(None);
        }
        let Self { status, lines, .. } = std::mem::take(self);
        Ok(Some(FarReply { code, status, lines }))
    }

    /// After the end of a letter's text: a line that is none of a reply, and still says yes by its first three digits, as those
    /// read it who sent it, or follows such a one. Whoever took it for a no would send the letter again, and again.
    #[must_use]
    pub fn yes(&mut self, line: &[u8]) -> Option<FarReply> {
        let Some(code) = digits(line) else { return self.begun_yes() };
        if code / 100 != 2 || self.code.is_some_and(|first| first / 100 != 2) {
            return None;
        }
        self.keep(clean(line.get(3..).unwrap_or_default()));
        let lines = std::mem::take(self).lines;
        Some(FarReply { code, status: None, lines })
    }

    /// The same of what has come of a reply that breaks off.
    #[must_use]
    pub fn begun_yes(&mut self) -> Option<FarReply> {
        let code = self.code.filter(|code| code / 100 == 2)?;
        let Self { status, lines, .. } = std::mem::take(self);
        Some(FarReply { code, status, lines })
    }

    fn keep(&mut self, mut text: String) {
        text.truncate(floor(&text, limits::REPLY.saturating_sub(self.bytes)));
        self.bytes += text.len();
        self.lines.push(text);
    }
}

/// RFC 5321 §4.2: three digits, then `-`, a space, or (§4.2 asks clients to take that too) nothing.
fn code(line: &[u8]) -> Result<(u16, bool), NoReply> {
    let code = digits(line).ok_or(NoReply("no reply code"))?;
    let last = match line.get(3) {
        Some(b'-') => false,
        Some(b' ') | None => true,
        Some(_) => return Err(NoReply("no reply code")),
    };
    if (200..600).contains(&code) { Ok((code, last)) } else { Err(NoReply("a reply code that means nothing")) }
}

/// Whether a line is meant for a yes or a no.
#[must_use]
pub fn is_answer(line: &[u8]) -> bool {
    digits(line).is_some_and(|code| matches!(code / 100, 2 | 4 | 5))
}

/// Without what stands in front of a line and nobody sees.
#[must_use]
pub fn without_blanks(line: &[u8]) -> &[u8] {
    let begin = line.iter().position(|byte| *byte > b' ').unwrap_or(line.len());
    &line[begin..]
}

fn digits(line: &[u8]) -> Option<u16> {
    let digits = line.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    Some(digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')))
}

/// Bytes of a stranger as text that can go on a terminal, into a header and into a log.
fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars()
        .map(|c| {
            if c == '\t' {
                ' '
            } else if is_harmless(c) {
                c
            } else {
                '?'
            }
        })
        .collect()
}

fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(lines: &[&[u8]]) -> Result<Option<FarReply>, NoReply> {
        let mut gathering = Gathering::default();
        let mut last = Ok(None);
        for line in lines {
            last = gathering.line(line);
        }
        last
    }

    #[test]
    fn replies() {
        let reply = read(&[b"250-mx.far.example", b"250-SIZE 100", b"250 DSN"]).unwrap().unwrap();
        assert_eq!((reply.code, reply.status), (250, None));
        assert_eq!(reply.lines, ["mx.far.example", "SIZE 100", "DSN"]);
        let reply = read(&[b"550-5.1.1 No such", b"550 5.1.1 user"]).unwrap().unwrap();
        assert_eq!(reply.status, Some(Status::new(5, 1, 1)));
        assert_eq!(reply.words(), "5.1.1 No such user");
        let reply =
            read(&[b"550-Blocked.", b"550-", b"550-5.7.1 Read on at", b"550 5.7.1 4.2.2 x.test"]).unwrap().unwrap();
        assert_eq!(reply.status, Some(Status::new(5, 7, 1)), "whichever line says it");
        assert_eq!(reply.words(), "Blocked. 5.7.1 Read on at 4.2.2 x.test");
        assert_eq!(read(&[b"220"]).unwrap().unwrap().lines, [""]);
        assert_eq!(read(&[b"250-a"]), Ok(None));
        // A status of another class is words.
        assert_eq!(read(&[b"550 4.1.1 x"]).unwrap().unwrap().status, None);
    }

    #[test]
    fn no_replies() {
        for lines in
            [&[b"".as_slice()][..], &[b"25"], &[b"abc d"], &[b"250x"], &[b"199 x"], &[b"600 x"], &[b"250-a", b"251 b"]]
        {
            assert!(read(lines).is_err(), "{lines:?}");
        }
        let mut gathering = Gathering::default();
        let endless = (0..1_000).map(|_| gathering.line(b"250-x")).find(Result::is_err);
        assert_eq!(endless, Some(Err(NoReply("a reply without end"))));
    }

    #[test]
    fn what_fate_a_reply_means() {
        let fate = |line: &[u8]| read(&[line]).unwrap().unwrap().fate("far", (1, 0));
        assert!(matches!(fate(b"250 ok"), Fate::Delivered(why) if why.status == Status::new(2, 1, 0)));
        assert!(matches!(fate(b"450 4.2.0 greylisted"), Fate::Deferred(why) if why.status == Status::new(4, 2, 0)));
        assert!(matches!(fate(b"552 full"), Fate::Failed(why) if why.to_string() == "far says: 552 full"));
        assert!(matches!(fate(b"354 go on"), Fate::Deferred(_)));
    }

    proptest! {
        #[test]
        fn any_line_is_taken_and_clean(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..40)) {
            let mut gathering = Gathering::default();
            for line in lines {
                let mut begun = b"250-".to_vec();
                begun.extend(&line);
                let _ = gathering.line(&begun);
                if let Ok(Some(reply)) = gathering.line(&line) {
                    prop_assert!((200..600).contains(&reply.code) && !reply.lines.is_empty());
                    prop_assert!(reply.lines.iter().all(|line| line.chars().all(is_harmless)));
                    prop_assert!(reply.words().len() <= limits::WORDS + 3);
                }
            }
        }

        #[test]
        fn no_words_are_too_many(text in "\\PC{0,400}", times in 1usize..120) {
            let mut gathering = Gathering::default();
            for _ in 0..times {
                gathering.line(format!("450-{text}").as_bytes()).unwrap();
            }
            let reply = gathering.line(b"450 x").unwrap().unwrap();
            prop_assert!(reply.lines.iter().map(String::len).sum::<usize>() <= limits::REPLY);
            prop_assert!(reply.words().len() <= limits::WORDS + 3);
        }
    }
}
