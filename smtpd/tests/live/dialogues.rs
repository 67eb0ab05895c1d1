//! The transcripts again, over a socket.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::house::House;
use crate::transcript::{self, Peer};

/// What only the pure session's table of a keeper knows, or what has its password in it.
const PURE: [&str; 15] = [
    "# outcome:",
    "# budget:",
    "# keeper:",
    "# drain:",
    "# timeout:",
    "# largest:",
    "full@",
    "later@",
    "village@",
    "guessed@",
    "device-password",
    "legacy.example",
    "AUTH PLAIN",
    "AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: e",
    "recipients are taken",
];

struct Live<'a> {
    house: &'a mut House,
    /// TLS 1.3, which can be bound to; else 1.2.
    bound: bool,
    service: String,
    clients: Vec<Option<Client>>,
    began: (usize, usize),
}

impl Live<'_> {
    fn config(&self) -> Arc<rustls::ClientConfig> {
        if self.bound { self.house.tls() } else { self.house.tls_1_2() }
    }

    fn client(&mut self, number: usize) -> &mut Client {
        let to = match self.service.as_str() {
            "submissions" => self.house.submissions(),
            "submission" => self.house.submission(),
            _ => self.house.smtp(),
        };
        let implicit = self.service == "submissions";
        let config = self.config();
        self.clients[number].get_or_insert_with(|| {
            let mut client = Client::connect(to);
            if implicit {
                client.start_tls(&config).expect("a handshake");
            }
            client.wait(Duration::from_millis(300));
            client
        })
    }
}

impl Peer for Live<'_> {
    fn send(&mut self, number: usize, bytes: &[u8]) {
        self.client(number).raw(bytes);
    }

    fn line(&mut self, number: usize) -> Option<String> {
        self.client(number).wait(Duration::from_secs(10));
        self.client(number).line()
    }

    fn is_closed(&mut self, _number: usize) -> bool {
        // `line` gave nothing: the end, or ten seconds of silence.
        true
    }

    fn start_tls(&mut self, number: usize) {
        let config = self.config();
        self.client(number).start_tls(&config).expect("a handshake");
    }

    fn is_bound(&self) -> bool {
        self.bound
    }

    fn directive(&mut self, key: &str, value: &str) -> Option<Result<(), String>> {
        match key {
            "service" => self.service = value.to_owned(),
            "clear-text" | "mailboxes" | "abandoned" | "login-failures" => {}
            "delivered" => {
                let now = self.house.letters(0).len() - self.began.0;
                if value == "0" && now != 0 || value != "0" && now == 0 {
                    return Some(Err(format!("{now} letters came to you@home.test")));
                }
            }
            "text" => {
                let expected = String::from_utf8(transcript::unescape(value)).unwrap();
                if !self.house.letters(0).iter().any(|letter| letter.ends_with(&expected)) {
                    return Some(Err("no such letter".into()));
                }
            }
            _ => return None,
        }
        Some(Ok(()))
    }
}

pub fn every_transcript() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/transcripts/smtp");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut in_clear, mut strict) = (House::new(&["*"]), House::new(&[]));
    let (mut ran, mut wrong) = (0, Vec::new());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        if PURE.iter().any(|mark| text.contains(mark)) {
            continue;
        }
        let house = if text.contains("# clear-text: *") { &mut in_clear } else { &mut strict };
        // What differs by channel binding is tried with one and without.
        let ways: &[bool] = if text.contains("\nbound ") { &[true, false] } else { &[true] };
        for bound in ways {
            let began = (house.letters(0).len(), house.letters(1).len());
            let clients = (0..4).map(|_| None).collect();
            let mut live = Live { house, bound: *bound, service: String::new(), clients, began };
            ran += 1;
            if let Err(report) = transcript::run_to_end(&text, &mut live) {
                wrong.push(format!("{}:\n{report}", file.file_name().unwrap().to_string_lossy()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {ran} transcripts:\n\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(ran >= 35, "only {ran} transcripts");
}
