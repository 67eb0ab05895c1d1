//! Transcripts: `C:` is sent, `S:` must come, `C2:` and `S2:` are a second connection, and so on.
//!
//! - Connections are logged in when they first appear, unless the file says `# from the greeting`.
//! - `...` stands for anything, also inside a line; `$ADDRESS` and `$PASSWORD` for the mailbox's.
//! - `L:` lines follow a `C:` line that ends in `{}` or `{+}` and are its literal; the braces get its length, and
//!   before the literal of a `{}` a continuation must come. Each line of it ends in CRLF, but for the last one of a
//!   `{=}`, which is `{+}` for short texts. The line of the command that goes on is `C:` again.
//! - `E:` must be the connection's end. `# revoke` ends the first device's logins.
//! - A transcript ends when nothing more has come.

use std::collections::BTreeMap;
use std::path::Path;

use crate::client::Client;
use crate::house::{House, Mailbox};

/// Name and text of all.
pub fn all() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/transcripts/imap");
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    all.sort();
    assert!(!all.is_empty());
    all
}

struct Play<'a> {
    house: &'a House,
    mailbox: Mailbox,
    greeted: bool,
    clients: BTreeMap<usize, Client>,
    seen: String,
}

/// Plays one in a fresh mailbox; panics with the transcript so far when it goes another way.
pub fn play(house: &House, name: &str, text: &str) {
    let mut play = Play {
        house,
        mailbox: house.mailbox(name, None),
        greeted: text.lines().any(|line| line == "# from the greeting"),
        clients: BTreeMap::new(),
        seen: String::new(),
    };
    let lines: Vec<&str> = text.lines().collect();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        at += 1;
        let literal: Vec<&str> = lines[at..]
            .iter()
            .map_while(|line| line.strip_prefix("L:"))
            .map(|line| line.strip_prefix(' ').unwrap_or(line))
            .collect();
        at += literal.len();
        play.line(line, &literal);
    }
    for (number, client) in &mut play.clients {
        let unasked = client.unasked();
        assert!(unasked.is_empty(), "{}\nconnection {number} was told, unasked:\n{unasked}", play.seen);
    }
}

impl Play<'_> {
    fn line(&mut self, line: &str, literal: &[&str]) {
        self.seen += &format!("{line}\n");
        if line == "# revoke" {
            self.house.revoke(&self.mailbox, "first");
        }
        if line.is_empty() || line.starts_with('#') {
            return;
        }
        let (who, text) = line.split_once(':').unwrap_or_else(|| panic!("not a line of a transcript: {line}"));
        let text = text.strip_prefix(' ').unwrap_or(text);
        let number = who[1..].parse().unwrap_or(1);
        match &who[..1] {
            "C" => self.send(number, text, literal),
            "S" => self.expect(number, text),
            "E" => self.expect(number, "(end)"),
            _ => panic!("not a line of a transcript: {line}"),
        }
    }

    fn client(&mut self, number: usize) -> &mut Client {
        let (house, mailbox, greeted) = (self.house, &self.mailbox, self.greeted);
        self.clients.entry(number).or_insert_with(|| if greeted { house.connect() } else { house.session(mailbox) })
    }

    fn send(&mut self, number: usize, text: &str, literal: &[&str]) {
        let text = text.replace("$ADDRESS", &self.mailbox.address).replace("$PASSWORD", &self.mailbox.password);
        let mut bytes = literal.join("\r\n");
        if !bytes.is_empty() && !text.ends_with("{=}") {
            bytes += "\r\n";
        }
        if let Some(text) = text.strip_suffix("{}") {
            self.client(number).send(&format!("{text}{{{}}}", bytes.len()));
            self.expect(number, "+ ...");
        } else if let Some(text) = text.strip_suffix("{+}").or_else(|| text.strip_suffix("{=}")) {
            self.client(number).send(&format!("{text}{{{}+}}", bytes.len()));
        } else {
            self.client(number).send(&text);
            return;
        }
        self.client(number).send_bytes(bytes.as_bytes());
    }

    fn expect(&mut self, number: usize, wanted: &str) {
        let wanted = wanted.replace("$ADDRESS", &self.mailbox.address);
        let came = self.client(number).line();
        assert!(fits(&wanted, &came), "\n{}  <- but connection {number} was told:\n{came}\n", self.seen);
    }
}

/// Whether a line is of a form in which `...` is anything.
fn fits(wanted: &str, line: &str) -> bool {
    let mut pieces = wanted.split("...");
    let Some(mut rest) = pieces.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let mut last = None;
    for piece in pieces {
        if let Some(middle) = last {
            match rest.find(middle) {
                Some(found) => rest = &rest[found + str::len(middle)..],
                None => return false,
            }
        }
        last = Some(piece);
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}
