//! Every transcript of `tests/transcripts/inbound` against the pure session.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../smtpd/tests/transcript/mod.rs"]
mod transcript;

use std::collections::VecDeque;
use std::fs;
use std::path::Path;

use inbound_proxy::session::{Effect, Event, Phase, Session};

/// The session, and what it has said. `TLS` goes over to a session that learns, or to one for a home that is away.
struct Pure {
    session: Session,
    said: VecDeque<String>,
    learnt: Vec<String>,
    handed_over: Option<Option<String>>,
    closed: bool,
    under_tls: Phase,
    /// There is no place under TLS.
    full: bool,
}

impl Pure {
    fn new() -> Self {
        let mut pure = Self {
            session: Session::new(Phase::Clear).0,
            said: VecDeque::new(),
            learnt: Vec::new(),
            handed_over: None,
            closed: false,
            under_tls: Phase::Learning,
            full: false,
        };
        pure.begin(Phase::Clear);
        pure
    }

    fn begin(&mut self, phase: Phase) {
        let (session, effects) = Session::new(phase);
        self.session = session;
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Say(reply) => {
                    let mut bytes = Vec::new();
                    reply.write("clean.example", &mut bytes);
                    let text = String::from_utf8(bytes).unwrap();
                    self.said.extend(text.split_terminator("\r\n").map(str::to_owned));
                }
                Effect::Admit => {
                    let effects = self.session.handle(Event::Admitted(!self.full));
                    self.perform(effects);
                }
                Effect::Unclear => self.learnt.push("unclear".to_owned()),
                Effect::HandOver { ehlo } => self.handed_over = Some(ehlo.map(|name| name.as_str().to_owned())),
                Effect::Learn(domain) => self.learnt.push(domain.as_str().to_owned()),
                Effect::Close => self.closed = true,
            }
        }
    }
}

impl transcript::Peer for Pure {
    fn send(&mut self, _: usize, bytes: &[u8]) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r\n").unwrap_or(line);
            let bad = line.iter().any(|byte| matches!(byte, b'\r' | b'\n'));
            let effects = self.session.handle(if bad { Event::BadLine } else { Event::Line(line) });
            self.perform(effects);
        }
    }

    fn line(&mut self, _: usize) -> Option<String> {
        self.said.pop_front()
    }

    fn is_closed(&mut self, _: usize) -> bool {
        self.closed
    }

    fn start_tls(&mut self, _: usize) {
        assert!(self.handed_over.is_some(), "no STARTTLS before the handshake");
        self.begin(self.under_tls);
    }

    fn is_bound(&self) -> bool {
        false
    }

    fn directive(&mut self, key: &str, value: &str) -> Option<Result<(), String>> {
        let same = |found: String| if found == value { Ok(()) } else { Err(format!("it is {found:?}")) };
        match key {
            "learnt" => Some(same(self.learnt.join(" "))),
            "handed over" => Some(same(self.handed_over.clone().flatten().unwrap_or_default())),
            "home" => {
                self.under_tls = if value == "away" { Phase::Away } else { Phase::Learning };
                Some(Ok(()))
            }
            "places" => {
                self.full = value == "none";
                Some(Ok(()))
            }
            "silence" => {
                let effects = self.session.handle(Event::Silence);
                self.perform(effects);
                Some(Ok(()))
            }
            _ => None,
        }
    }
}

#[test]
fn every_transcript() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/transcripts/inbound");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "only {} transcripts", files.len());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        if let Err(report) = transcript::run(&text, &mut Pure::new()) {
            panic!("{}:\n{report}", file.display());
        }
    }
}
