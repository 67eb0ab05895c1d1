//! The part of a session before TLS, as a pure machine: greeting, EHLO, STARTTLS, and nothing else. What each side says
//! is passed on unchanged, once it has been seen to be that; one command at a time, so that nothing hides behind
//! another.

use std::fmt;
use std::mem;

use crate::limits;

/// Who has sent something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The home.
    Home,
    /// The far server.
    Server,
}

/// What to do with what came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Pass it on to the other side; nothing if it is empty.
    Pass(Vec<u8>),
    /// The same, and from here on both directions are TLS records.
    TlsBegins(Vec<u8>),
    /// The same, then close: the home has said QUIT.
    Ends(Vec<u8>),
}

/// Why a session is closed: nothing of what came is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The home would say something other than EHLO, STARTTLS or QUIT without TLS.
    NotWithoutTls,
    /// The home did not wait for a reply.
    Pipelined,
    /// The far server spoke unasked, or sent more behind the reply to STARTTLS (a man in the middle would).
    Unasked,
    /// What the far server says is no SMTP reply.
    NotSmtp,
    /// Too much of it, or too long.
    TooMuch,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotWithoutTls => "the home said something other than EHLO, STARTTLS or QUIT in clear",
            Self::Pipelined => "the home did not wait for a reply",
            Self::Unasked => "the far server said something unasked",
            Self::NotSmtp => "what the far server says is no SMTP",
            Self::TooMuch => "too much was said before STARTTLS",
        })
    }
}

impl std::error::Error for Broken {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    /// None yet: the greeting is awaited.
    Greeting,
    Ehlo,
    StartTls,
    Quit,
}

/// One session's.
#[derive(Debug)]
pub struct Clear {
    /// What the server owes a reply to.
    asked: Option<Verb>,
    commands: usize,
    line: Vec<u8>,
    /// Whole lines of a reply under way.
    reply: Vec<u8>,
    lines: usize,
}

impl Default for Clear {
    fn default() -> Self {
        Self { asked: Some(Verb::Greeting), commands: 0, line: Vec::new(), reply: Vec::new(), lines: 0 }
    }
}

impl Clear {
    /// Whether the far server owes a reply, or the rest of one.
    #[must_use]
    pub const fn owes(&self) -> bool {
        self.asked.is_some()
    }

    /// Something has come.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn came(&mut self, from: Side, bytes: &[u8]) -> Result<Step, Broken> {
        match (from, self.asked) {
            (Side::Home, None) => self.command(bytes),
            (Side::Home, Some(_)) => Err(Broken::Pipelined),
            (Side::Server, Some(verb)) => self.reply(verb, bytes),
            (Side::Server, None) => Err(Broken::Unasked),
        }
    }

    fn command(&mut self, bytes: &[u8]) -> Result<Step, Broken> {
        self.line.extend_from_slice(bytes);
        if self.line.len() > limits::COMMAND_LINE {
            return Err(Broken::TooMuch);
        }
        let Some(end) = self.line.iter().position(|byte| *byte == b'\n') else { return Ok(Step::Pass(Vec::new())) };
        if end + 1 != self.line.len() {
            return Err(Broken::Pipelined);
        }
        let verb = self.line.strip_suffix(b"\r\n").and_then(verb).ok_or(Broken::NotWithoutTls)?;
        self.commands += 1;
        if self.commands > limits::COMMANDS {
            return Err(Broken::TooMuch);
        }
        self.asked = Some(verb);
        Ok(Step::Pass(mem::take(&mut self.line)))
    }

    fn reply(&mut self, verb: Verb, bytes: &[u8]) -> Result<Step, Broken> {
        for (at, byte) in bytes.iter().enumerate() {
            self.line.push(*byte);
            if self.line.len() > limits::REPLY_LINE {
                return Err(Broken::TooMuch);
            }
            if *byte != b'\n' {
                continue;
            }
            let last = is_last(&self.line).ok_or(Broken::NotSmtp)?;
            self.lines += 1;
            self.reply.append(&mut self.line);
            if self.lines > limits::REPLY_LINES {
                return Err(Broken::TooMuch);
            }
            if last {
                return if at + 1 == bytes.len() { Ok(self.replied(verb)) } else { Err(Broken::Unasked) };
            }
        }
        Ok(Step::Pass(Vec::new()))
    }

    /// A reply is whole.
    fn replied(&mut self, verb: Verb) -> Step {
        (self.asked, self.lines) = (None, 0);
        let reply = mem::take(&mut self.reply);
        match verb {
            Verb::StartTls if reply.starts_with(b"220") => Step::TlsBegins(reply),
            Verb::Quit => Step::Ends(reply),
            _ => Step::Pass(reply),
        }
    }
}

/// EHLO with a name, STARTTLS, QUIT; printable, so that no second line hides in the first.
fn verb(line: &[u8]) -> Option<Verb> {
    let printable = line.iter().all(|byte| matches!(byte, 0x20..=0x7e));
    let (word, rest) = line.split_at(line.iter().position(|byte| *byte == b' ').unwrap_or(line.len()));
    let rest = rest.trim_ascii();
    match word.to_ascii_uppercase().as_slice() {
        _ if !printable => None,
        b"EHLO" if !rest.is_empty() && !rest.contains(&b' ') => Some(Verb::Ehlo),
        b"STARTTLS" if rest.is_empty() => Some(Verb::StartTls),
        b"QUIT" if rest.is_empty() => Some(Verb::Quit),
        _ => None,
    }
}

/// RFC 5321 §4.2.1: whether it is the last line of a reply; `None` when it is none at all. A bare LF is tolerated,
/// as mail servers do with replies.
fn is_last(line: &[u8]) -> Option<bool> {
    let (code, rest) = line.split_first_chunk::<3>()?;
    let formed = matches!(code[0], b'2'..=b'5') && code.iter().all(u8::is_ascii_digit);
    match rest.first() {
        Some(b'-') if formed => Some(false),
        Some(b' ' | b'\r' | b'\n') if formed => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Plays a conversation: `H` and `S` lines. The last step's outcome.
    fn play(lines: &[(&str, &str)]) -> Result<Step, Broken> {
        let mut clear = Clear::default();
        let mut last = Ok(Step::Pass(Vec::new()));
        for (number, (side, text)) in lines.iter().enumerate() {
            let from = if *side == "H" { Side::Home } else { Side::Server };
            last = clear.came(from, text.as_bytes());
            match &last {
                Ok(Step::Pass(bytes)) => assert_eq!(bytes, text.as_bytes(), "line {number}"),
                _ => assert_eq!(number + 1, lines.len(), "line {number}: {last:?}"),
            }
        }
        last
    }

    const TO_EHLO: [(&str, &str); 3] =
        [("S", "220 mx.example ESMTP\r\n"), ("H", "EHLO me.example\r\n"), ("S", "250-mx.example\r\n250 STARTTLS\r\n")];

    fn then<'a>(more: &[(&'a str, &'a str)]) -> Result<Step, Broken> {
        play(&[&TO_EHLO[..], more].concat())
    }

    #[test]
    fn the_one_way_through() {
        let went = then(&[("H", "starttls\r\n"), ("S", "220 go\r\n")]);
        assert_eq!(went, Ok(Step::TlsBegins(b"220 go\r\n".to_vec())));
        let refused = then(&[("H", "STARTTLS\r\n"), ("S", "454 no\r\n"), ("H", "QUIT\r\n"), ("S", "221 bye\r\n")]);
        assert_eq!(refused, Ok(Step::Ends(b"221 bye\r\n".to_vec())));
        assert_eq!(
            play(&[("S", "554 go away\r\n"), ("H", "QUIT\r\n"), ("S", "221-a\n221 b\n")]),
            Ok(Step::Ends(b"221-a\n221 b\n".to_vec()))
        );
    }

    #[test]
    fn no_mail_in_clear() {
        for command in [
            "MAIL FROM:<a@b>\r\n",
            "HELO x\r\n",
            "VRFY a\r\n",
            "AUTH PLAIN\r\n",
            "DATA\r\n",
            "EHLO\r\n",
            "EHLO a b\r\n",
            "STARTTLS x\r\n",
            "EHLO a\n",
            "EHLO a\0\r\n",
            "EHLO a\rMAIL\r\n",
            "\x16\x03\x01\n",
        ] {
            assert_eq!(then(&[("H", command)]), Err(Broken::NotWithoutTls), "{command:?}");
        }
    }

    #[test]
    fn one_thing_at_a_time() {
        assert_eq!(then(&[("H", "STARTTLS\r\nEHLO x\r\n")]), Err(Broken::Pipelined));
        assert_eq!(play(&[("H", "EHLO x\r\n")]), Err(Broken::Pipelined), "before the greeting");
        assert_eq!(then(&[("S", "250 hello?\r\n")]), Err(Broken::Unasked));
        assert_eq!(then(&[("H", "STARTTLS\r\n"), ("S", "220 go\r\n250 injected\r\n")]), Err(Broken::Unasked));
    }

    #[test]
    fn what_is_no_smtp() {
        for greeting in ["SSH-2.0-OpenSSH\r\n", "HTTP/1.1 400 Bad\r\n", "22 x\r\n", "620 x\r\n", "\r\n", "220_x\r\n"] {
            assert_eq!(play(&[("S", greeting)]), Err(Broken::NotSmtp), "{greeting}");
        }
        let endless = "220-x\r\n".repeat(limits::REPLY_LINES + 1);
        assert_eq!(play(&[("S", &endless)]), Err(Broken::TooMuch));
        assert_eq!(play(&[("S", &"2".repeat(limits::REPLY_LINE + 1))]), Err(Broken::TooMuch));
        let endless = "E".repeat(limits::COMMAND_LINE + 1);
        assert_eq!(then(&[("H", &endless)]), Err(Broken::TooMuch));
    }

    proptest! {
        /// However it is cut, the same bytes go through, and they go through whole.
        #[test]
        fn cutting_changes_nothing(step in 1usize..20) {
            let mut clear = Clear::default();
            for (side, text) in TO_EHLO {
                let from = if side == "H" { Side::Home } else { Side::Server };
                let mut passed = Vec::new();
                for chunk in text.as_bytes().chunks(step) {
                    let Ok(Step::Pass(bytes)) = clear.came(from, chunk) else { panic!("broken") };
                    passed.extend(bytes);
                }
                prop_assert_eq!(passed, text.as_bytes());
            }
        }

        /// Whatever the home says, the far server never hears a command of a mail.
        #[test]
        fn nothing_but_three_verbs_reaches_the_server(chunks in prop::collection::vec("(EHLO a|STARTTLS|MAIL|RCPT|DATA|QUIT|[ -~]{0,5})(\r\n|\n|\r)?", 0..30)) {
            let mut clear = Clear::default();
            clear.came(Side::Server, b"220 x\r\n").unwrap();
            for chunk in chunks {
                match clear.came(Side::Home, chunk.as_bytes()) {
                    Ok(Step::Pass(bytes)) if bytes.is_empty() => continue,
                    Ok(Step::Pass(bytes)) => {
                        let text = String::from_utf8(bytes).unwrap().to_ascii_uppercase();
                        prop_assert!(["EHLO ", "STARTTLS", "QUIT"].iter().any(|verb| text.starts_with(verb)), "{text}");
                        prop_assert_eq!(text.matches('\n').count(), 1);
                        clear.came(Side::Server, b"250 x\r\n").unwrap();
                    }
                    _ => break,
                }
            }
        }
    }
}
