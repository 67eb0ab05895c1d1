//! What a transcript cannot say: any input at all, and a whole SCRAM exchange.

use super::*;
use crate::reply;
use proptest::prelude::*;
use spool::edges::{Down, Recipient, Target};
use spool::names::{MailboxId, TransactionId};
use wire::{base64, scram};

fn rules(service: Service) -> Arc<Rules> {
    let clear_text = vec!["*".to_owned()];
    let (host, domain) = ("mx.home.test".into(), "home.test".into());
    Arc::new(Rules { service, host, domain, largest: 1_000, clear_text, offer: Default::default() })
}

fn known() -> Recipient {
    Recipient::Known(vec![Target { mailbox: MailboxId(1), generation: 1, public_key: String::new() }])
}

/// Everything the driver could say, by number; arbitrary lines beside it.
fn event(number: u8, line: &[u8]) -> Event<'_> {
    match number {
        0 => Event::TooLong,
        1 => Event::BareLineEnd,
        2 => Event::TlsStarted(TlsFacts::default()),
        3 => Event::Begun(Ok(TransactionId([0; 16]))),
        4 => Event::Begun(Err(Spent)),
        5 => Event::Recipient(Ok(known())),
        6 => Event::Recipient(Err(Down)),
        7 => Event::Body(BodyOutcome::Whole),
        8 => Event::Body(BodyOutcome::NoRoom),
        9 => Event::Deposited(Outcome::Delivered),
        10 => Event::Deposited(Outcome::KeeperGone),
        11 => Event::Fields(Err(LoginRefusal::TooMany)),
        12 => Event::Admitted(Ok(Some(Owner { addresses: Vec::new() }))),
        13 => Event::TimedOut,
        14 => Event::Drain,
        15 => Event::DrainOver,
        _ => Event::Line(line),
    }
}

/// The outcome that an effect wants, all going well.
fn good_outcome(effect: &Effect) -> Option<Event<'static>> {
    Some(match effect {
        Effect::StartTls => Event::TlsStarted(TlsFacts::default()),
        Effect::Begin(_) => Event::Begun(Ok(TransactionId([0; 16]))),
        Effect::CheckRecipient { .. } => Event::Recipient(Ok(known())),
        Effect::ReadText | Effect::ReadChunk { .. } | Effect::Discard { .. } => Event::Body(BodyOutcome::Whole),
        Effect::Deposit(_) => Event::Deposited(Outcome::Delivered),
        Effect::FetchFields { .. } => Event::Fields(Err(LoginRefusal::Unavailable)),
        Effect::Prove { .. } => Event::Admitted(Ok(None)),
        _ => return None,
    })
}

/// RFC 5321 §4.2, RFC 2034 §4: three digits, the same on every line; a status of the same class.
fn assert_well_formed(reply: &Reply) {
    let mut bytes = Vec::new();
    reply.write(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.strip_suffix("\r\n").expect("an end of line").split("\r\n").collect();
    assert!((200..600).contains(&reply.code));
    for (number, line) in lines.iter().enumerate() {
        let separator = if number + 1 == lines.len() { ' ' } else { '-' };
        assert!(line.starts_with(&format!("{}{separator}", reply.code)), "{line}");
        assert!(line.len() <= 510 || reply.code == 334, "{line}");
        assert!(!line.chars().any(char::is_control), "{line}");
    }
    let class = (reply.code / 100).to_string();
    assert!(reply.status.is_empty() || reply.status.starts_with(&class), "{text}");
}

/// Lines that mean something, so that random sequences get somewhere.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let commands = prop::sample::select(vec![
        "EHLO a.example",
        "HELO a.example",
        "STARTTLS",
        "MAIL FROM:<a@b.example>",
        "MAIL FROM:<> SIZE=10",
        "RCPT TO:<you@home.test>",
        "DATA",
        "BDAT 5",
        "BDAT 5 LAST",
        "RSET",
        "NOOP",
        "VRFY x",
        "HELP",
        "QUIT",
        "AUTH PLAIN",
        "AUTH LOGIN",
        "AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9YWJj",
        "*",
        "AHgAeQ==",
        "=",
    ]);
    prop_oneof![
        4 => commands.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..100),
        1 => "(MAIL FROM:|RCPT TO:|AUTH |BDAT |EHLO )\\PC{0,60}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn any_events_in_any_order(
        steps in prop::collection::vec((0u8..60, line()), 0..60),
        submission in any::<bool>(),
        tls in any::<bool>(),
    ) {
        let service = if submission { Service::Submission } else { Service::Mx };
        let (mut session, _) = Session::new(rules(service), tls.then(TlsFacts::default));
        for (number, line) in &steps {
            let (next, effects) = session.handle(event(*number, line));
            effects.iter().for_each(|effect| if let Effect::Reply(reply) = effect { assert_well_formed(reply) });
            session = next;
        }
    }

    // With a driver that plays by the rules: every line gets exactly one reply (RFC 5321 §4.2.1), or the end.
    #[test]
    fn every_line_is_answered_once(lines in prop::collection::vec(line(), 0..60), submission in any::<bool>()) {
        let service = if submission { Service::Submission } else { Service::Mx };
        let (mut session, _) = Session::new(rules(service), None);
        for line in &lines {
            if session.awaits() == Awaits::Nothing {
                break;
            }
            let (mut replies, mut event) = (0, Some(Event::Line(line)));
            let mut text_follows = false;
            while let Some(next) = event.take() {
                let (after, effects) = session.handle(next);
                session = after;
                for effect in &effects {
                    replies += usize::from(matches!(effect, Effect::Reply(reply) if reply.code != 354));
                    text_follows |= matches!(effect, Effect::ReadText);
                    event = good_outcome(effect).or(event);
                }
            }
            let closed = session.awaits() == Awaits::Nothing;
            prop_assert!(replies == 1 || (closed && replies == 2), "{} replies to {:?}", replies, line);
            let _ = text_follows;
        }
    }

    #[test]
    fn any_text_makes_a_reply(text in "\\PC{0,700}", code in 200u16..600) {
        assert_well_formed(&Reply { code, status: "", lines: vec![text.into(), "\r\n\u{7f}".into()] });
    }
}

fn step(session: Session, event: Event<'_>) -> (Session, Vec<Effect>) {
    session.handle(event)
}

fn challenge(effects: &[Effect]) -> String {
    let Some(Effect::Reply(reply)) = effects.first() else { panic!("no reply in {effects:?}") };
    assert_eq!(reply.code, 334);
    String::from_utf8(base64::decode(reply.lines[0].as_bytes()).unwrap()).unwrap()
}

// RFC 7677 §3 through RFC 4954 §4: SCRAM's last message is a challenge, answered by an empty line.
#[test]
fn scram() {
    let salted = scram::salted_password(b"secret", &[7; 16], 4096);
    let (client_key, server_key) = (scram::client_key(&salted), scram::server_key(&salted));
    let stored_key = scram::stored_key(&client_key);

    let (session, _) = Session::new(rules(Service::Submission), Some(TlsFacts::default()));
    let (session, _) = step(session, Event::Line(b"EHLO a.example"));
    let first = base64::encode(b"n,,n=you@home.test,r=abcdefgh");
    let (session, effects) = step(session, Event::Line(format!("AUTH SCRAM-SHA-256 {first}").as_bytes()));
    assert!(matches!(&effects[..], [Effect::FetchFields { name }] if name == "you@home.test"));
    let devices = vec![sasl::Verifier { device: 3, stored_key, server_key }];
    let fields = Fields { attempt: 9, salt: [7; 16], iterations: 4096, devices };
    let (session, effects) = step(session, Event::Fields(Ok(fields)));

    let server_first = challenge(&effects);
    let nonce = server_first.split(',').next().unwrap();
    let bare = format!("c=biws,{nonce}");
    let signed = format!("n=you@home.test,r=abcdefgh,{server_first},{bare}");
    let signature = scram::mac(&stored_key, signed.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    let answer = base64::encode(format!("{bare},p={}", base64::encode(&proof)).as_bytes());
    let (session, effects) = step(session, Event::Line(answer.as_bytes()));
    let [Effect::Prove { attempt: 9, device, check }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((device.0, *check), (3, scram::check(&client_key)));

    let owner = Owner { addresses: vec!["you@home.test".into()] };
    let (session, effects) = step(session, Event::Admitted(Ok(Some(owner))));
    let verifier = scram::mac(&server_key, signed.as_bytes());
    assert_eq!(challenge(&effects), format!("v={}", base64::encode(&verifier)));
    let (session, effects) = step(session, Event::Line(b""));
    assert!(matches!(&effects[..], [Effect::Reply(reply)] if reply.code == 235));
    let (_, effects) = step(session, Event::Line(b"MAIL FROM:<you@home.test>"));
    assert!(matches!(&effects[..], [Effect::Begin(_)]));
}

#[test]
fn commands_are_counted() {
    let (mut session, _) = Session::new(rules(Service::Mx), None);
    for _ in 0..limits::COMMANDS {
        let (next, effects) = step(session, Event::Line(b"NOOP"));
        assert!(matches!(&effects[..], [Effect::Reply(reply)] if *reply == reply::ok("nothing done")));
        session = next;
    }
    let (session, effects) = step(session, Event::Line(b"NOOP"));
    assert!(matches!(effects.last(), Some(Effect::Close)));
    assert_eq!(session.awaits(), Awaits::Nothing);
}

/// Behind an inbound proxy: no second greeting, and a sender that wanted another house is to come again.
#[test]
fn taken_up_from_a_proxy() {
    let (session, effects) = Session::taken_up(rules(Service::Mx), TlsFacts::default());
    assert!(effects.is_empty(), "the proxy has greeted");
    let (session, effects) = step(session, Event::Line(b"MAIL FROM:<a@b.example>"));
    assert!(matches!(&effects[..], [Effect::Reply(reply)] if reply.code == 503), "EHLO comes again: {effects:?}");
    let (session, effects) = step(session, Event::Line(b"EHLO a.example"));
    assert!(matches!(&effects[..], [Effect::Reply(reply)] if !reply.lines.contains(&"STARTTLS".into())));
    let (session, _) = step(session, Event::Line(b"MAIL FROM:<a@b.example>"));
    let (session, _) = step(session, Event::Begun(Ok(TransactionId([0; 16]))));
    let (session, _) = step(session, Event::Line(b"RCPT TO:<x@other.example>"));
    let (session, effects) = step(session, Event::Recipient(Ok(Recipient::NotLocal)));
    assert!(
        matches!(&effects[..], [Effect::WrongHome { domain }, Effect::Reply(reply)]
            if domain == "other.example" && reply.code == 451 && reply.status == "4.7.1"),
        "{effects:?}"
    );
    let (session, _) = step(session, Event::Line(b"RCPT TO:<nobody@home.test>"));
    let (_, effects) = step(session, Event::Recipient(Ok(Recipient::Unknown)));
    assert!(matches!(&effects[..], [Effect::Reply(reply)] if reply.code == 550), "who is ours is said as ever");
    // Without a proxy it is a relay attempt, and bounces.
    let (session, _) = Session::new(rules(Service::Mx), None);
    let (session, _) = step(session, Event::Line(b"EHLO a.example"));
    let (session, _) = step(session, Event::Line(b"MAIL FROM:<a@b.example>"));
    let (session, _) = step(session, Event::Begun(Ok(TransactionId([0; 16]))));
    let (session, _) = step(session, Event::Line(b"RCPT TO:<x@other.example>"));
    let (_, effects) = step(session, Event::Recipient(Ok(Recipient::NotLocal)));
    assert!(matches!(&effects[..], [Effect::Reply(reply)] if reply.code == 550));
}

/// The neighbour for whom it is may take more.
#[test]
fn nobody_who_was_brought_by_a_proxy_is_told_of_a_size_before_it_is_known_whose_letter_it_is() {
    let (session, _) = Session::taken_up(rules(Service::Mx), TlsFacts::default());
    let (session, effects) = step(session, Event::Line(b"EHLO a.example"));
    let Some(Effect::Reply(hello)) = effects.first() else { panic!("{effects:?}") };
    assert!(hello.lines.contains(&"SIZE".into()), "{hello:?}");
    let mail = format!("MAIL FROM:<a@b.example> SIZE={}", u64::MAX);
    let (session, effects) = step(session, Event::Line(mail.as_bytes()));
    assert!(matches!(&effects[..], [Effect::Begin(_)]), "{effects:?}");
    let (mut session, _) = step(session, Event::Begun(Ok(TransactionId([0; 16]))));
    for (answer, code) in [
        (Recipient::NotLocal, 451),
        (Recipient::Unknown, 550),
        (Recipient::NotNow, 451),
        (Recipient::OverQuota, 552),
        (Recipient::Known(Vec::new()), 552),
    ] {
        let (next, _) = step(session, Event::Line(b"RCPT TO:<you@home.test>"));
        let (next, effects) = step(next, Event::Recipient(Ok(answer.clone())));
        assert!(matches!(effects.last(), Some(Effect::Reply(reply)) if reply.code == code), "{answer:?}: {effects:?}");
        session = next;
    }
    // Who comes by himself is told at once, as is a login.
    for (service, tls) in [(Service::Mx, None), (Service::Submission, Some(TlsFacts::default()))] {
        let (session, _) = Session::new(rules(service), tls);
        let (_, effects) = step(session, Event::Line(b"EHLO a.example"));
        let Some(Effect::Reply(hello)) = effects.first() else { panic!("{effects:?}") };
        assert!(hello.lines.iter().any(|line| line.starts_with("SIZE ")), "{hello:?}");
    }
}

/// 465 behind a proxy: TLS came first, so the greeting is ours.
#[test]
fn submission_taken_up_from_a_proxy() {
    let (_, effects) = Session::taken_up(rules(Service::Submission), TlsFacts::default());
    assert!(matches!(&effects[..], [Effect::Reply(reply)] if reply.code == 220));
}
