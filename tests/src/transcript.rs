//! Conversations written down: what a client says, what the server must answer. Each transcript in
//! `tests/transcripts/whole/` is named after what it proves.
//!
//! ```text
//! # Why anybody would care.
//! service imaps
//! C: a LOGIN $ADDRESS $PASSWORD
//! S: a OK ...
//! ```
//!
//! | line | meaning |
//! | --- | --- |
//! | `# ...` | for the reader |
//! | `service NAME` | the service every connection goes to; `imaps` and `submissions` begin with TLS |
//! | `C: text` | the client sends the line |
//! | `R: text` | the client sends the text as it is, `\r`, `\n`, `\0`, `\\` and `\xHH` replaced |
//! | `S: pattern` | the server's next line; `...` stands for anything |
//! | `U: pattern` | some later line of the server's; those before it are passed over |
//! | `T:` | the client does a TLS handshake |
//! | `E:` | the server closes the connection, without another line |
//!
//! A number after the letter (`C2:`) is another connection, opened when first used. `$ADDRESS`, `$PASSWORD`, `$PLAIN` (its
//! SASL PLAIN response) are a mailbox that only this transcript uses; `$OTHER` is another mailbox's address.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use crate::talk::Talk;
use crate::{House, Mailbox};

/// One line of a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    /// Line in its file, from 1.
    number: usize,
    connection: u8,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Send(Vec<u8>),
    Next(String),
    Until(String),
    Handshake,
    Closed,
}

/// A conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// Its path below the folder, without ending: `mx/plus-addresses-arrive`.
    pub name: String,
    service: String,
    steps: Vec<Step>,
}

/// All transcripts below a folder, by name.
#[must_use]
pub fn all(folder: &Path) -> Vec<Transcript> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap_or_else(|error| panic!("{}: {error}", next.display())) {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "txt") {
                let name = path.strip_prefix(folder).unwrap().with_extension("").display().to_string();
                let text = std::fs::read_to_string(&path).unwrap();
                found.push(Transcript::read(&name, &text).unwrap_or_else(|error| panic!("{name}: {error}")));
            }
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

impl Transcript {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong, and in which line.
    pub fn read(name: &str, text: &str) -> Result<Self, String> {
        let mut service = None;
        let mut steps = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            match line.strip_prefix("service ") {
                Some(named) => service = Some(named.trim().to_owned()),
                None => steps.push(step(number, line).ok_or_else(|| format!("line {number}: {line:?} is none"))?),
            }
        }
        let service = service.ok_or("it names no service")?;
        Ok(Self { name: name.to_owned(), service, steps })
    }

    /// Holds the conversation with a house.
    ///
    /// # Errors
    /// Where it went another way, with everything said up to there.
    pub fn hold(&self, house: &House) -> Result<(), String> {
        let names = self.names(house);
        let mut talks = BTreeMap::new();
        let mut said = String::new();
        for step in &self.steps {
            let talk = match talks.entry(step.connection) {
                std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
                std::collections::btree_map::Entry::Vacant(new) => {
                    let talk = Talk::open(house, &self.service).map_err(|error| format!("no connection: {error}"))?;
                    new.insert(talk)
                }
            };
            one(step, talk, &names, &mut said)
                .map_err(|error| format!("line {}: {error}\n---- so far ----\n{said}", step.number))?;
        }
        Ok(())
    }

    /// What the `$` words stand for; mailboxes are made only when they are named.
    fn names(&self, house: &House) -> Vec<(&'static str, String)> {
        let uses = |name: &str| {
            self.steps.iter().any(|step| match &step.what {
                What::Send(bytes) => String::from_utf8_lossy(bytes).contains(name),
                What::Next(pattern) | What::Until(pattern) => pattern.contains(name),
                What::Handshake | What::Closed => false,
            })
        };
        let local = self.name.replace(|char: char| !char.is_ascii_alphanumeric(), "-");
        let mut names = Vec::new();
        if uses("$ADDRESS") || uses("$PASSWORD") || uses("$PLAIN") {
            let Mailbox { address, password, .. } = house.add_mailbox(&local);
            names.push(("$PLAIN", wire::base64::encode(format!("\0{address}\0{password}").as_bytes())));
            names.extend([("$ADDRESS", address), ("$PASSWORD", password)]);
        }
        if uses("$OTHER") {
            names.push(("$OTHER", house.add_mailbox(&format!("{local}.other")).address));
        }
        names
    }
}

/// One line of a transcript.
fn step(number: usize, line: &str) -> Option<Step> {
    let (head, text) = line.split_once(':')?;
    let text = text.strip_prefix(' ').unwrap_or(text);
    let letter = head.chars().next()?;
    let connection = if head.len() == 1 { 1 } else { head[1..].parse().ok()? };
    let what = match letter {
        'C' => What::Send([text.as_bytes(), b"\r\n"].concat()),
        'R' => What::Send(unescape(text)?),
        'S' => What::Next(text.to_owned()),
        'U' => What::Until(text.to_owned()),
        'T' => What::Handshake,
        'E' => What::Closed,
        _ => return None,
    };
    Some(Step { number, connection, what })
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        bytes.push(match chars.next()? {
            'r' => b'\r',
            'n' => b'\n',
            '0' => 0,
            '\\' => b'\\',
            'x' => u8::from_str_radix(&chars.by_ref().take(2).collect::<String>(), 16).ok()?,
            _ => return None,
        });
    }
    Some(bytes)
}

fn one(step: &Step, talk: &mut Talk, names: &[(&str, String)], said: &mut String) -> Result<(), String> {
    let told = |text: &str| names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    let failed = |error: io::Error| error.to_string();
    match &step.what {
        What::Send(bytes) => {
            // Bytes that are no text hold no names.
            let bytes = std::str::from_utf8(bytes).map_or_else(|_| bytes.clone(), |text| told(text).into_bytes());
            writeln!(said, "C{} {}", step.connection, bytes.escape_ascii()).unwrap();
            talk.send(&bytes).map_err(failed)
        }
        What::Next(pattern) => {
            let line = talk.line().map_err(|error| format!("{pattern:?} awaited: {error}"))?;
            writeln!(said, "S{} {line}", step.connection).unwrap();
            if matches(&told(pattern), &line) { Ok(()) } else { Err(format!("{pattern:?} awaited, {line:?} came")) }
        }
        What::Until(pattern) => loop {
            let line = talk.line().map_err(|error| format!("{pattern:?} awaited: {error}"))?;
            writeln!(said, "S{} {line}", step.connection).unwrap();
            if matches(&told(pattern), &line) {
                return Ok(());
            }
        },
        What::Handshake => talk.handshake().map_err(failed),
        What::Closed => match talk.line() {
            Ok(line) => Err(format!("the end awaited, {line:?} came")),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err("it stays open".to_owned()),
            Err(_) => Ok(()),
        },
    }
}

/// Whether a line is what a pattern says: `...` stands for any text, also none.
fn matches(pattern: &str, line: &str) -> bool {
    let mut pieces = pattern.split("...");
    let Some(mut rest) = line.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match() {
        for (pattern, line) in
            [("a", "a"), ("a...", "a b c"), ("...c", "a b c"), ("a...c", "ac"), ("a...b...c", "a b c"), ("...", "")]
        {
            assert!(matches(pattern, line), "{pattern} {line}");
        }
        for (pattern, line) in [("a", "ab"), ("a...", "b"), ("a...c", "a b"), ("a...b...b", "a b"), ("", "a")] {
            assert!(!matches(pattern, line), "{pattern} {line}");
        }
    }

    #[test]
    fn transcripts_are_read() {
        let read = Transcript::read("x", "# why\nservice smtp\n\nC: EHLO\nR2: a\\r\\x41\nS: ...\nE:\n").unwrap();
        assert_eq!(read.service, "smtp");
        let what: Vec<_> = read.steps.into_iter().map(|step| (step.number, step.connection, step.what)).collect();
        let expected = [
            (4, 1, What::Send(b"EHLO\r\n".to_vec())),
            (5, 2, What::Send(b"a\rA".to_vec())),
            (6, 1, What::Next("...".into())),
            (7, 1, What::Closed),
        ];
        assert_eq!(what, expected);
        assert!(Transcript::read("x", "C: a").is_err() && Transcript::read("x", "service smtp\nX: a").is_err());
    }
}
