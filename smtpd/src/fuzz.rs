//! What the fuzz targets call: one function for every kind of hostile bytes this crate reads. They panic when a
//! promise does not hold.

use crate::data::{LineEnds, Reader};
use crate::session::path::{self, Address};
use crate::session::{Awaits, BodyOutcome, Effect, Event, Outcome, Rules, Service, Session, TlsFacts, parameters};
use crate::{authors, form, header};
use spool::edges::{Recipient, Target};
use spool::names::{MailboxId, TransactionId};

/// A client's lines, told to a session by a driver for whom everything goes well.
pub fn session(bytes: &[u8]) {
    let Some((kind, lines)) = bytes.split_first() else { return };
    let service = if kind & 1 == 0 { Service::Mx } else { Service::Submission };
    let rules = Rules {
        service,
        host: "mx.test".into(),
        domain: "test".into(),
        largest: 1_000,
        clear_text: Vec::new(),
        offer: Default::default(),
    };
    let (mut session, _) = Session::new(rules.into(), (kind & 2 == 0).then(TlsFacts::default));
    for line in lines.split(|byte| *byte == b'\n') {
        let mut event = Some(Event::Line(line));
        while let Some(next) = event.take() {
            let (after, effects) = session.handle(next);
            session = after;
            let mut out = Vec::new();
            for effect in effects {
                if let Effect::Reply(reply) = &effect {
                    reply.write(&mut out);
                }
                event = outcome(&effect).or(event);
            }
            assert!(out.split(|byte| *byte == b'\n').all(|line| line.is_empty() || line.ends_with(b"\r")));
        }
        if session.awaits() == Awaits::Nothing {
            return;
        }
    }
}

fn outcome(effect: &Effect) -> Option<Event<'static>> {
    let known = || Recipient::Known(vec![Target { mailbox: MailboxId(1), generation: 1, public_key: String::new() }]);
    Some(match effect {
        Effect::StartTls => Event::TlsStarted(TlsFacts::default()),
        Effect::Begin(_) => Event::Begun(Ok(TransactionId([0; 16]))),
        Effect::CheckRecipient { .. } => Event::Recipient(Ok(known())),
        Effect::ReadText | Effect::ReadChunk { .. } | Effect::Discard { .. } => Event::Body(BodyOutcome::Whole),
        Effect::Deposit(_) => Event::Deposited(Outcome::Delivered),
        Effect::FetchFields { .. } => Event::Fields(Err(crate::session::LoginRefusal::Unavailable)),
        Effect::Prove { .. } => Event::Admitted(Ok(None)),
        _ => return None,
    })
}

/// Text after DATA, in one piece and cut in two: the same message, and the same end.
pub fn data(bytes: &[u8]) {
    let Some((cut, input)) = bytes.split_first() else { return };
    let read = |pieces: &[&[u8]]| {
        let (mut reader, mut text, mut took) = (Reader::default(), Vec::new(), 0);
        for piece in pieces {
            let some = reader.feed(piece, &mut text);
            took += some;
            if some < piece.len() {
                break;
            }
        }
        (took, reader.ended(), reader.fault().is_some(), text)
    };
    let (head, tail) = input.split_at(usize::from(*cut).min(input.len()));
    let (whole, parts) = (read(&[input]), read(&[head, tail]));
    assert_eq!((whole.0, whole.1, whole.2), (parts.0, parts.1, parts.2), "a cut changes the end");
    assert!(whole.2 || whole.3 == parts.3, "a cut changes the text");
    let mut ends = LineEnds::default();
    ends.feed(&whole.3);
    assert!(whole.2 || !whole.1 || ends.fault().is_none(), "a bare CR or LF was let through");
}

/// A message's header: its fields lie in order, and who wrote it is read or not.
pub fn message(bytes: &[u8]) {
    let mut last = 0;
    for field in header::fields(bytes) {
        assert!(field.at.start >= last && field.at.end <= bytes.len(), "fields overlap");
        last = field.at.end;
    }
    let _ = (form::fault(bytes), authors::of(bytes), header::mailbox_line(bytes));
    if header::missing_end(bytes).is_none() && form::owners_fault(bytes).is_none() {
        let formed = |field: header::Field<'_>| bytes[field.at.start] == field.name[0];
        assert!(header::fields(bytes).all(formed), "a field that begins with something else");
    }
    crate::authentication::exercise(bytes);
}

/// An argument of MAIL or RCPT.
pub fn paths(bytes: &[u8]) {
    if let Ok((inner, rest)) = path::bracketed(bytes) {
        let _ = (path::sender(inner), path::recipient(inner, "home.test"), parameters::split(rest));
    }
    if let Ok(address) = Address::parse(bytes) {
        let printed = address.to_string();
        assert!(!printed.contains(['\r', '\n']), "an address breaks a line");
        assert_eq!(Address::parse(printed.as_bytes()), Ok(address), "an address changes on its way");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    #[test]
    fn they_run() {
        super::session(b"\x02EHLO a\nMAIL FROM:<a@b.example>\nRCPT TO:<you@test>\nDATA\nQUIT");
        super::data(b"\x05.a\r\n..\r\n.\r\nQUIT\r\n");
        super::message(b"From: a@b.example\r\nTo: x\r\n\r\nbody");
        super::paths(b" <a@b.example> SIZE=1");
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            super::session(&bytes);
            super::data(&bytes);
            super::message(&bytes);
            super::paths(&bytes);
        }
    }
}
