//! What the fuzz targets call. They panic when a promise does not hold.

use crate::client_hello::{self, Progress};
use crate::reply::Reply;
use crate::session::{Effect, Event, Phase, Session};

/// The beginning of a connection: what is told of a part stays true of the whole.
pub fn client_hello(bytes: &[u8]) {
    let whole = client_hello::examine(bytes);
    for end in [bytes.len() / 3, bytes.len() / 2, bytes.len().saturating_sub(1)] {
        match client_hello::examine(&bytes[..end]) {
            Progress::Incomplete => {}
            told => assert_eq!(told, whole, "it changes its mind"),
        }
    }
}

/// A sender's lines, in each phase: no mail is ever taken in.
pub fn session(bytes: &[u8]) {
    for phase in [Phase::Clear, Phase::Learning, Phase::Away] {
        let (mut session, _) = Session::new(phase);
        for line in bytes.split(|byte| *byte == b'\n') {
            let effects = session.handle(Event::Line(line));
            assert!(!takes_mail(line, &effects), "{:?} to {line:?}", effects);
        }
    }
}

/// Whether a command of a mail's transaction got an answer it never may.
#[must_use]
pub fn takes_mail(line: &[u8], effects: &[Effect]) -> bool {
    let verb: Vec<u8> = line.trim_ascii().iter().take(4).map(u8::to_ascii_uppercase).collect();
    let said: Vec<Reply> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Say(reply) => Some(*reply),
            _ => None,
        })
        .collect();
    match verb.as_slice() {
        b"DATA" | b"BDAT" => {
            said.iter().any(|reply| matches!(reply, Reply::Fine | Reply::SenderHeard | Reply::GoAhead))
        }
        b"RCPT" => said.iter().any(|reply| matches!(reply, Reply::Fine | Reply::SenderHeard | Reply::OutOfOrder)),
        b"." => said.iter().any(|reply| !matches!(reply, Reply::NotUnderstood | Reply::Enough)),
        _ => false,
    }
}
