//! What the fuzz targets call for the bytes that come from where letters go: one function a kind.

use super::dane::{self, Tlsa};
use super::destination::{self, Answer};
use super::dns::Dns;
use super::dsn::{self, About, Facts, Kind};
use super::fate::{Status, Why};
use super::mta_sts::{self, Policies, Policy};
use super::reply::Gathering;
use super::session::{
    Awaits, Effect, Event, Extensions, Letter, Notify, Recipient, Return, Rules, Session, Tls as Encryption,
};
use super::{convert, https};
use crate::session::path::Address;

/// A far server's lines, to a session that has two letters and always gets TLS.
pub fn session(bytes: &[u8]) {
    let Some((kind, lines)) = bytes.split_first() else { return };
    let tls = [Encryption::Required, Encryption::IfOffered, Encryption::Without][usize::from(kind & 3) % 3];
    let mut session = Session::new(Rules { hello: "home.test".into(), far: "mx.far.test".into(), tls, proves: false });
    let (mut secure, mut letters, mut fates) = (false, 0, 0);
    let mut lines = lines.split(|byte| *byte == b'\n');
    let mut next = None;
    loop {
        let event = match (next.take(), session.awaits()) {
            (Some(event), _) => event,
            (None, Awaits::Reply(_)) => lines.next().map_or_else(|| Event::Lost("the end".into()), Event::Line),
            (None, Awaits::Letter) if letters < 2 => {
                letters += 1;
                Event::Letter(letter(session.extensions(), kind & 4 == 0))
            }
            (None, Awaits::Letter) => Event::NoMore,
            (None, Awaits::Outcome) => unreachable!("an effect that wants an outcome gets one"),
            (None, Awaits::Nothing) => break,
        };
        let (after, effects) = session.handle(event);
        session = after;
        for effect in effects {
            match effect {
                Effect::Send(command) => {
                    assert!(command.ends_with(b"\r\n"), "a command without its end");
                    let bare = command.windows(2).filter(|two| (two[0] == b'\r') != (two[1] == b'\n')).count();
                    assert_eq!(bare, 0, "a command breaks a line");
                }
                Effect::StartTls => {
                    secure = true;
                    next = Some(Event::TlsStarted);
                }
                Effect::WriteText | Effect::WriteBytes => {
                    assert!(secure || tls != Encryption::Required, "a letter in clear");
                    next = Some(Event::Written);
                }
                Effect::Fates(some) => {
                    assert_eq!(some.len(), 2, "a fate for each recipient");
                    fates += 1;
                }
                Effect::Ready | Effect::Unusable(_) | Effect::Close => {}
            }
        }
    }
    assert_eq!(fates, letters, "each letter comes back once");
}

fn letter(far: &Extensions, plain: bool) -> Letter {
    let recipient = |text: &str| {
        let address = Address::parse(text.as_bytes()).ok()?;
        let notify = (!plain).then_some(Notify { success: true, failure: true, delay: false });
        Some(Recipient { address, notify, original: (!plain).then(|| "rfc822;x@y".to_owned()) })
    };
    Letter {
        sender: Address::parse(b"anna@home.test").ok(),
        recipients: ["ben@far.test", "cleo@far.test"].into_iter().filter_map(recipient).collect(),
        size: 1_000,
        eight_bit: far.eight_bit && !plain,
        international: false,
        require_tls: !plain,
        ret: (!plain).then_some(Return::Headers),
        envelope_id: (!plain).then(|| "id".to_owned()),
    }
}

/// Lines of replies, and EHLO's keywords.
pub fn replies(bytes: &[u8]) {
    let mut gathering = Gathering::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        match gathering.line(line) {
            Ok(Some(reply)) => {
                assert!((200..600).contains(&reply.code), "{}", reply.code);
                let clean = reply.lines.iter().chain([&reply.words()]).all(|text| !text.contains(char::is_control));
                assert!(clean && reply.lines.len() <= super::limits::REPLY_LINES, "words that are not clean");
                let far = Extensions::read(&reply);
                assert!(far.most_recipients() > 0, "nobody could be sent to");
                let said = super::outcome::said(&reply.why("mx.far.test", (0, 0)), 0);
                assert!(said.words.len() <= spool::edges::outbox::limits::WORDS);
                gathering = Gathering::default();
            }
            Ok(None) => {}
            Err(_) => gathering = Gathering::default(),
        }
    }
}

/// MTA-STS: the TXT records, the answer of the web server, the policy, what was kept of one.
pub fn policies(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let records: Vec<String> = text.split('\n').map(ToOwned::to_owned).collect();
    if let Some(id) = mta_sts::id(&records) {
        assert!((1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
    }
    let body = https::body(bytes);
    for file in [Ok(bytes.to_vec()), body].into_iter().flatten() {
        if let Ok(policy) = Policy::parse(&file) {
            let _ = (policy.allows("mx.far.test"), policy.allows(""), policy.allows(&text));
        }
    }
    Policies::default().take_back("far.test", bytes, 0);
}

/// TLSA records and certificates.
pub fn certificates(bytes: &[u8]) {
    let [usage, selector, matching, cut, rest @ ..] = bytes else { return };
    let (data, certificate) = rest.split_at(usize::from(*cut).min(rest.len()));
    let record = Tlsa { usage: *usage, selector: *selector, matching: *matching, data: data.to_vec() };
    let records = Answer::Found { records: vec![record.clone()], secure: true };
    if matches!(dane::judge(true, &records), dane::Dane::Must(_)) {
        assert!(record.is_usable(), "a must that nothing can meet");
    }
    let _ = dane::compare(&[record], &[certificate, data]);
    if let Some(key) = dane::public_key(certificate) {
        assert!(key.len() <= certificate.len());
    }
    let _ = dane::common_name(certificate);
}

/// Answers of resolvers.
pub fn answers(bytes: &[u8]) {
    Dns::exercise(bytes);
    let text = String::from_utf8_lossy(bytes);
    let name = wire::dns::normal(&text);
    let _ = destination::is_name(&name);
}

/// Letters that become 7-bit ones: what comes of them has nothing above 127 and is as it is converted again.
pub fn conversion(bytes: &[u8]) {
    if let Ok(converted) = convert::to_seven_bit(bytes) {
        assert!(converted.is_ascii(), "eight bits are left");
        assert!(convert::to_seven_bit(&converted).is_ok_and(|again| again == converted), "converted twice");
    }
}

/// Words, ENVID, ORCPT and the letter of a notice: nothing in it can become a line of its own.
pub fn notices(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.splitn(4, '\n');
    let mut next = || parts.next().unwrap_or_default();
    // What a session lets in: no controls, nothing beyond ASCII in ENVID and ORCPT.
    let parameter = |text: &str| text.chars().filter(char::is_ascii_graphic).collect::<String>();
    let (id, original, words) = (parameter(next()), parameter(next()), next().replace(char::is_control, "?"));
    let letter = next().replace('\r', "").replace('\n', "\r\n");
    let why = Why { status: Status::new(5, 1, 1), said: Some(("mx.far.test".to_owned(), 550)), words, wait: None };
    let about = About { address: "ben@far.test", original: Some(&original), notify: None, why: &why, at: 0 };
    let facts = Facts {
        host: "mx.home.test",
        domain: "home.test",
        id: "1",
        sender: Some("anna@home.test"),
        envelope_id: Some(&id),
        ret: None,
        queued: 0,
        now: 0,
        letter: letter.as_bytes(),
        passed_on: None,
    };
    let Some(notice) = dsn::notice(Kind::Failure, &facts, &[about]) else { return };
    assert!(crate::form::fault(&notice).is_none(), "a bare CR or LF");
    let (head, _) = notice.split_at(notice.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or(notice.len()));
    let names = ["Return-Path", "From", "To", "Subject", "Date", "Message-ID"];
    let once = |name: &&str| crate::header::fields(head).filter(|field| field.is(name)).count() == 1;
    assert!(names.iter().all(once), "a field of the notice's header was added");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    fn all(bytes: &[u8]) {
        super::session(bytes);
        super::replies(bytes);
        super::policies(bytes);
        super::certificates(bytes);
        super::answers(bytes);
        super::conversion(bytes);
        super::notices(bytes);
    }

    #[test]
    fn they_run() {
        let talk = "220 hi\r\n250-mx\r\n250 STARTTLS\r\n220 go\r\n250-mx\r\n250-PIPELINING\r\n250-DSN\r\n250-REQUIRETLS\r\n\
                    250 CHUNKING\r\n250 ok\r\n250 ok\r\n550 no\r\n250 done\r\n221 bye\r\n";
        for kind in 0..8 {
            super::session(&[&[kind], talk.replace('\r', "").as_bytes()].concat());
        }
        super::replies(b"250-mx SIZE\n250-SIZE 99999999999999999999999\n250 LIMITS MAILMAX=0 RCPTMAX=0\n4");
        super::policies(b"version: STSv1\nmode: enforce\nmx: *.far.test\nmax_age: 86400\n");
        super::policies(b"v=STSv1; id=20260101;");
        super::conversion("Content-Type: text/plain\r\n\r\nGr\u{fc}n\r\n".as_bytes());
        super::notices(b"+41x\nrfc822;a+0D+0Ab\nno\nSubject: x\n\nbody");
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            all(&bytes);
        }

        #[test]
        fn any_talk(lines in proptest::collection::vec("[245][0-9]{2}[- ](STARTTLS|SIZE [0-9]{0,30}|DSN|PIPELINING|CHUNKING|8BITMIME|SMTPUTF8|REQUIRETLS|LIMITS RCPTMAX=[0-9]{0,20}|[4-5]\\.[0-9]{1,4}\\.[0-9]{1,4} no|[a-z ]{0,20})", 0..40), kind in 0u8..8) {
            super::session(&[&[kind], lines.join("\n").as_bytes()].concat());
            super::replies(lines.join("\n").as_bytes());
        }
    }
}
