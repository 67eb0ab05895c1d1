//! Conversations with far servers, well and badly behaved; and any conversation at all.

use super::*;
use crate::courier::fate::Fate;
use crate::session::path::Address;
use proptest::prelude::*;

fn rules(tls: Tls) -> Rules {
    Rules { hello: "mx.home.test".into(), far: "mx.far.test".into(), tls, proves: false }
}

fn to(names: &[&str]) -> Letter {
    let recipients = names.iter().map(|name| Recipient {
        address: Address::parse(format!("{name}@far.test").as_bytes()).unwrap(),
        notify: None,
        original: None,
    });
    Letter {
        sender: Some(Address::parse(b"anna@home.test").unwrap()),
        recipients: recipients.collect(),
        size: 100,
        eight_bit: false,
        international: false,
        require_tls: false,
        ret: None,
        envelope_id: None,
    }
}

/// A session and everything it said.
struct Talk {
    session: Option<Session>,
    effects: Vec<Effect>,
}

impl Talk {
    fn new(tls: Tls) -> Self {
        Self::of(rules(tls))
    }

    fn of(rules: Rules) -> Self {
        Self { session: Some(Session::new(rules)), effects: Vec::new() }
    }

    /// Hands in one event; its effects, `Send` as the text sent.
    fn event(&mut self, event: Event<'_>) -> String {
        let (session, effects) = self.session.take().unwrap().handle(event);
        self.session = Some(session);
        let shown = effects.iter().map(shown).collect();
        self.effects.extend(effects);
        shown
    }

    fn lines(&mut self, lines: &[&str]) -> String {
        lines.iter().map(|line| self.event(Event::Line(line.as_bytes()))).collect()
    }

    /// Up to Ready over TLS, with these extensions.
    fn ready(extensions: &[&str]) -> Self {
        let mut talk = Self::new(Tls::Required);
        assert_eq!(talk.lines(&["220 mx.far.test ESMTP"]), "EHLO mx.home.test\r\n");
        assert_eq!(talk.lines(&["250-mx.far.test", "250 STARTTLS"]), "STARTTLS\r\n");
        assert_eq!(talk.lines(&["220 go"]), "<tls>");
        assert_eq!(talk.event(Event::TlsStarted), "EHLO mx.home.test\r\n");
        let mut answer = vec!["250-mx.far.test".to_owned()];
        answer.extend(extensions.iter().map(|extension| format!("250-{extension}")));
        answer.push("250 HELP".to_owned());
        assert_eq!(talk.lines(&answer.iter().map(String::as_str).collect::<Vec<_>>()), "<ready>");
        talk
    }

    /// The fates told last.
    fn fates(&self) -> &[Fate] {
        let last = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Fates(fates) => Some(fates.as_slice()),
            _ => None,
        });
        last.unwrap_or_default()
    }

    fn unusable(&self) -> Option<&Why> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Unusable(why) => Some(why),
            _ => None,
        })
    }
}

fn shown(effect: &Effect) -> String {
    match effect {
        Effect::Send(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Effect::StartTls => "<tls>".into(),
        Effect::WriteText => "<text>".into(),
        Effect::WriteBytes => "<bytes>".into(),
        Effect::Ready => "<ready>".into(),
        Effect::Unusable(why) => format!("<unusable {}>", why.status),
        Effect::Fates(fates) => fates.iter().map(|fate| format!("<{}>", letter_of(fate))).collect(),
        Effect::Close => "<close>".into(),
    }
}

fn letter_of(fate: &Fate) -> String {
    let kind = match fate {
        Fate::Delivered(_) => "delivered",
        Fate::Deferred(_) => "deferred",
        Fate::Failed(_) => "failed",
    };
    format!("{kind} {}", fate.why().status)
}

#[test]
fn each_answer_has_the_time_that_the_standard_names() {
    // RFC 5321 §4.5.3.2, in seconds.
    fn waits(talk: &Talk, seconds: u64) {
        let awaits = talk.session.as_ref().unwrap().awaits();
        assert_eq!(awaits, Awaits::Reply(std::time::Duration::from_secs(seconds)), "{:?}", talk.session);
    }
    let mut talk = Talk::new(Tls::Without);
    waits(&talk, 300);
    talk.lines(&["220 mx.far.test ESMTP"]);
    waits(&talk, 300);
    talk.lines(&["250 mx.far.test"]);
    assert_eq!(talk.event(Event::Letter(to(&["ben"]))), "MAIL FROM:<anna@home.test>\r\n");
    waits(&talk, 300);
    assert_eq!(talk.lines(&["250 ok"]), "RCPT TO:<ben@far.test>\r\n");
    waits(&talk, 300);
    assert_eq!(talk.lines(&["250 ok"]), "DATA\r\n");
    waits(&talk, 120);
    talk.lines(&["354 go"]);
    talk.event(Event::Written);
    waits(&talk, 600);
    // Silence after all of that is no refusal: it is tried again.
    talk.event(Event::Silent);
    assert!(matches!(talk.fates(), [Fate::Deferred(why)] if why.status == Status::new(4, 4, 2)), "{:?}", talk.fates());
    assert_eq!(talk.session.unwrap().awaits(), Awaits::Nothing);
}

#[test]
fn one_by_one_without_pipelining() {
    let mut talk = Talk::ready(&[]);
    assert_eq!(talk.event(Event::Letter(to(&["a", "b"]))), "MAIL FROM:<anna@home.test>\r\n");
    assert_eq!(talk.lines(&["250 ok"]), "RCPT TO:<a@far.test>\r\n");
    assert_eq!(talk.lines(&["550 5.1.1 who?"]), "RCPT TO:<b@far.test>\r\n");
    assert_eq!(talk.lines(&["250 ok"]), "DATA\r\n");
    assert_eq!(talk.lines(&["354 go"]), "<text>");
    assert_eq!(talk.event(Event::Written), "");
    assert_eq!(talk.lines(&["250 2.0.0 queued as 1"]), "<failed 5.1.1><delivered 2.0.0><ready>");
    assert_eq!(talk.fates()[0].why().to_string(), "mx.far.test says: 550 who?");
    assert_eq!(talk.event(Event::NoMore), "QUIT\r\n");
    assert_eq!(talk.lines(&["221 bye"]), "<close>");
}

#[test]
fn all_at_once_with_pipelining() {
    let mut talk = Talk::ready(&["PIPELINING", "SIZE 1000"]);
    let sent = "MAIL FROM:<anna@home.test> SIZE=100\r\nRCPT TO:<a@far.test>\r\nRCPT TO:<b@far.test>\r\nDATA\r\n";
    assert_eq!(talk.event(Event::Letter(to(&["a", "b"]))), sent);
    assert_eq!(talk.lines(&["250 ok", "250 ok", "451 4.7.1 greylisted", "354 go"]), "<text>");
    talk.event(Event::Written);
    assert_eq!(talk.lines(&["250 ok"]), "<delivered 2.6.0><deferred 4.7.1><ready>");
}

#[test]
fn nobody_accepted_and_yet_it_wants_the_text() {
    let mut talk = Talk::ready(&["PIPELINING"]);
    talk.event(Event::Letter(to(&["a"])));
    assert_eq!(talk.lines(&["250 ok", "550 no", "354 go"]), ".\r\n");
    assert_eq!(talk.lines(&["554 no valid recipients"]), "<failed 5.1.0><ready>");
    talk.event(Event::Letter(to(&["a"])));
    assert_eq!(talk.lines(&["250 ok", "550 no", "503 nobody"]), "<failed 5.1.0>RSET\r\n");
    assert_eq!(talk.lines(&["250 ok"]), "<ready>");
}

#[test]
fn a_refused_sender_and_what_was_sent_ahead() {
    let mut talk = Talk::ready(&["PIPELINING"]);
    talk.event(Event::Letter(to(&["a", "b"])));
    let all = talk.lines(&["553 5.1.8 not you", "503 no MAIL", "503 no MAIL", "503 no MAIL"]);
    assert_eq!(all, "<failed 5.1.8><failed 5.1.8>RSET\r\n");
    let mut talk = Talk::ready(&[]);
    talk.event(Event::Letter(to(&["a", "b"])));
    assert_eq!(talk.lines(&["450 later"]), "<deferred 4.1.0><deferred 4.1.0>RSET\r\n");
}

#[test]
fn chunking_sends_no_byte_for_nobody() {
    let mut talk = Talk::ready(&["PIPELINING", "CHUNKING"]);
    let sent = "MAIL FROM:<anna@home.test>\r\nRCPT TO:<a@far.test>\r\n";
    assert_eq!(talk.event(Event::Letter(to(&["a"]))), sent);
    assert_eq!(talk.lines(&["250 ok", "550 no"]), "<failed 5.1.0>RSET\r\n");
    talk.lines(&["250 ok"]);
    talk.event(Event::Letter(to(&["a"])));
    assert_eq!(talk.lines(&["250 ok", "250 ok"]), "BDAT 100 LAST\r\n<bytes>");
    talk.event(Event::Written);
    assert_eq!(talk.lines(&["552 5.3.4 too large"]), "<failed 5.3.4><ready>");
}

#[test]
fn never_in_clear() {
    let mut talk = Talk::new(Tls::Required);
    talk.lines(&["220 hi"]);
    assert_eq!(talk.lines(&["250-mx", "250 8BITMIME"]), "<unusable 4.7.4><close>");
    let mut talk = Talk::new(Tls::Required);
    talk.lines(&["220 hi"]);
    assert_eq!(talk.lines(&["502 EHLO?"]), "<unusable 4.7.4><close>");
    let mut talk = Talk::new(Tls::Required);
    talk.lines(&["220 hi", "250-mx", "250 STARTTLS"]);
    assert_eq!(talk.lines(&["454 4.7.0 TLS not available"]), "<unusable 4.7.0><close>");
    let mut talk = Talk::new(Tls::Required);
    talk.lines(&["220 hi", "250-mx", "250 STARTTLS", "220 go"]);
    let why = Why::ours(Status::new(4, 7, 5), "certificate of another");
    assert_eq!(talk.event(Event::TlsFailed(why)), "<unusable 4.7.5><close>");
}

#[test]
fn in_clear_where_it_is_allowed() {
    let mut talk = Talk::new(Tls::IfOffered);
    talk.lines(&["220 hi"]);
    assert_eq!(talk.lines(&["502 EHLO?"]), "HELO mx.home.test\r\n");
    assert_eq!(talk.lines(&["250 mx"]), "<ready>");
    let mut talk = Talk::new(Tls::IfOffered);
    assert_eq!(talk.lines(&["220 hi", "250-mx", "250 STARTTLS"]), "EHLO mx.home.test\r\nSTARTTLS\r\n");
    let mut talk = Talk::new(Tls::Without);
    assert_eq!(talk.lines(&["220 hi", "250-mx", "250 STARTTLS"]), "EHLO mx.home.test\r\n<ready>");
}

#[test]
fn what_was_announced_in_clear_is_forgotten() {
    let mut talk = Talk::new(Tls::Required);
    talk.lines(&["220 hi", "250-mx", "250-CHUNKING", "250-PIPELINING", "250 STARTTLS", "220 go"]);
    talk.event(Event::TlsStarted);
    assert_eq!(talk.lines(&["250 mx"]), "<ready>");
    assert_eq!(talk.session.as_ref().unwrap().extensions(), &Extensions::default());
}

#[test]
fn what_a_server_cannot_have() {
    let mut talk = Talk::ready(&["SIZE 99"]);
    assert_eq!(talk.event(Event::Letter(to(&["a"]))), "<failed 5.3.4><ready>");
    let mut talk = Talk::ready(&[]);
    for (change, status) in [
        ((|letter| letter.eight_bit = true) as fn(&mut Letter), "5.6.3"),
        (|letter| letter.international = true, "5.6.7"),
        (|letter| letter.require_tls = true, "5.7.30"),
    ] {
        let mut letter = to(&["a"]);
        change(&mut letter);
        assert_eq!(talk.event(Event::Letter(letter)), format!("<failed {status}><ready>"));
    }
}

#[test]
fn parameters_the_server_knows() {
    let all = ["SIZE", "8BITMIME", "SMTPUTF8", "REQUIRETLS", "DSN", "CHUNKING"];
    let mut letter = to(&["a"]);
    letter.eight_bit = true;
    letter.international = true;
    letter.require_tls = true;
    letter.ret = Some(Return::Headers);
    letter.envelope_id = Some("x+2B".into());
    letter.recipients[0].notify = Some(Notify { success: true, failure: true, delay: false });
    letter.recipients[0].original = Some("rfc822;b@far.test".into());
    let mut talk = Talk::ready(&all);
    let mail = talk.event(Event::Letter(letter.clone()));
    let expected = "MAIL FROM:<anna@home.test> SIZE=100 BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=HDRS ENVID=x+2B\r\n";
    assert_eq!(mail, expected);
    assert_eq!(talk.lines(&["250 ok"]), "RCPT TO:<a@far.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b@far.test\r\n");
    letter.sender = None;
    letter.recipients[0].notify = Some(Notify::default());
    let mut talk = Talk::ready(&all);
    assert!(talk.event(Event::Letter(letter)).starts_with("MAIL FROM:<> "));
    assert!(talk.lines(&["250 ok"]).contains(" NOTIFY=NEVER "));
}

#[test]
fn more_recipients_than_it_takes() {
    let mut talk = Talk::ready(&["PIPELINING", "CHUNKING", "LIMITS RCPTMAX=2"]);
    let sent = talk.event(Event::Letter(to(&["a", "b", "c"])));
    assert_eq!(sent.matches("RCPT TO").count(), 2);
    talk.lines(&["250 ok", "250 ok", "552 too many"]);
    talk.event(Event::Written);
    assert_eq!(talk.lines(&["250 ok"]), "<delivered 2.6.0><deferred 4.5.3><deferred 4.5.3><ready>");
    assert!(talk.fates()[1].why().is_too_many_recipients() && talk.fates()[2].why().is_too_many_recipients());
    // A full mailbox is a full mailbox.
    talk.event(Event::Letter(to(&["a", "b"])));
    assert_eq!(talk.lines(&["250 ok", "250 ok", "552 5.2.2 full"]), "BDAT 100 LAST\r\n<bytes>");
    talk.event(Event::Written);
    assert_eq!(talk.lines(&["250 ok"]), "<delivered 2.6.0><failed 5.2.2><ready>");
}

#[test]
fn it_goes_away() {
    let mut talk = Talk::ready(&["PIPELINING"]);
    talk.event(Event::Letter(to(&["a", "b"])));
    assert_eq!(talk.lines(&["250 ok", "550 5.1.1 no", "421 4.3.2 going"]), "<failed 5.1.1><deferred 4.3.2><close>");
    let mut talk = Talk::ready(&["CHUNKING"]);
    talk.event(Event::Letter(to(&["a"])));
    talk.lines(&["250 ok", "250 ok"]);
    talk.event(Event::Written);
    assert_eq!(talk.event(Event::Lost("reset".into())), "<deferred 4.4.2><close>");
    let mut talk = Talk::ready(&[]);
    assert_eq!(talk.lines(&["421 idle"]), "<close>");
    assert_eq!(talk.unusable(), None);
    let mut talk = Talk::new(Tls::Required);
    assert_eq!(talk.event(Event::Silent), "<unusable 4.4.2><close>");
    let mut talk = Talk::new(Tls::Required);
    talk.lines(&["220 hi", "250-mx", "250 STARTTLS"]);
    assert_eq!(talk.lines(&["554 5.7.1 no"]), "<unusable 4.7.1><close>", "encryption may come another day");
}

#[test]
fn a_host_that_takes_no_mail_from_us_says_whether_for_good() {
    let said = |proves, lines: &[&str]| {
        let mut talk = Talk::of(Rules { proves, ..rules(Tls::Required) });
        talk.lines(lines)
    };
    for (proves, lines, outcome) in [
        (false, &["554 5.7.1 no mail here"][..], "<unusable 5.7.1>"),
        (false, &["450 later"], "<unusable 4.3.2>"),
        (false, &["220 hi", "550 who are you?"], "<unusable 5.5.0>"),
        (false, &["220 hi", "451 later"], "<unusable 4.5.0>"),
        // No EHLO means no encryption, which a host may offer another day.
        (false, &["220 hi", "502 what?"], "<unusable 4.7.4>"),
        (true, &["554 5.7.1 no mail here"], "<unusable 4.7.1>"),
    ] {
        assert!(said(proves, lines).ends_with(&format!("{outcome}<close>")), "{lines:?}: {}", said(proves, lines));
    }
    let mut talk = Talk::of(Rules { proves: true, ..rules(Tls::Required) });
    talk.lines(&["220 hi", "250-mx", "250 STARTTLS", "220 go"]);
    talk.event(Event::TlsStarted);
    assert_eq!(talk.lines(&["550 5.7.1 no"]), "<unusable 5.7.1><close>", "it has proven who says so");
}

#[test]
fn a_refusal_in_the_middle_of_the_text() {
    let mut talk = Talk::ready(&[]);
    talk.event(Event::Letter(to(&["a"])));
    talk.lines(&["250 ok", "250 ok", "354 go"]);
    assert_eq!(talk.lines(&["552 5.3.4 too large"]), "<failed 5.3.4><close>");
}

#[test]
fn nonsense() {
    let mut talk = Talk::ready(&[]);
    talk.event(Event::Letter(to(&["a"])));
    assert_eq!(talk.lines(&["rubbish"]), "<deferred 4.5.0><close>");
    let mut talk = Talk::ready(&[]);
    talk.event(Event::Letter(to(&["a"])));
    talk.lines(&["250 ok", "250 ok"]);
    assert_eq!(talk.lines(&["250 ok"]), "<deferred 4.5.0><close>");
    let mut talk = Talk::ready(&[]);
    assert_eq!(talk.lines(&["250 hello?"]), "<close>");
}

fn any_event() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let lines = prop::sample::select(vec![
        "220 hi",
        "250 ok",
        "250-more",
        "250-STARTTLS",
        "250-PIPELINING",
        "250-CHUNKING",
        "250 STARTTLS",
        "354 go",
        "421 bye",
        "450 4.2.0 later",
        "550 5.1.1 no",
        "552 full",
        "rubbish",
        "221 bye",
        "250 LIMITS RCPTMAX=1",
    ]);
    let line = prop_oneof![9 => lines.prop_map(|line| line.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..20)];
    (prop_oneof![12 => 20u8..21, 6 => 0u8..9], line)
}

#[test]
fn an_attempt_that_fails_as_a_whole_was_everybody_s() {
    let talk = |last: Event<'_>, said: &[&str]| {
        let mut talk = Talk::ready(&["LIMITS RCPTMAX=1"]);
        talk.event(Event::Letter(to(&["ben", "cleo", "dan"])));
        talk.lines(said);
        talk.event(last);
        talk.fates().iter().map(|fate| (letter_of(fate), fate.why().is_too_many_recipients())).collect::<Vec<_>>()
    };
    let lost = || Event::Lost("it closed".into());
    let everybody = vec![("deferred 4.4.2".to_owned(), false); 3];
    assert_eq!(talk(lost(), &[]), everybody, "at MAIL");
    assert_eq!(talk(lost(), &["250 ok"]), everybody, "at RCPT");
    assert_eq!(talk(Event::Silent, &["250 ok", "250 ok"]), everybody, "at DATA");
    let later = talk(Event::Line(b"451 4.3.0 later"), &[]);
    assert_eq!(later, vec![("deferred 4.3.0".to_owned(), false); 3], "MAIL refused");
    // What is said of one is not said of the others: they have their turn at once.
    let mut one = talk(Event::Line(b"451 4.2.0 later"), &["250 ok"]);
    assert_eq!(one.remove(0), ("deferred 4.2.0".to_owned(), false));
    assert_eq!(one, vec![("deferred 4.5.3".to_owned(), true); 2]);
}

/// Up to the answer to the whole letter.
fn sent() -> Talk {
    let mut talk = Talk::ready(&[]);
    talk.event(Event::Letter(to(&["ben"])));
    talk.lines(&["250 ok", "250 ok", "354 go"]);
    talk.event(Event::Written);
    talk
}

#[test]
fn a_yes_after_the_letter_is_a_yes_however_it_is_said() {
    for yes in
        [&["250\ttaken"][..], &["250taken"], &["250-a", "251 b"], &["250-a", "250\tb"], &["299=="], &["250-a", "b"]]
    {
        let mut talk = sent();
        assert!(talk.lines(yes).ends_with("<close>"), "{yes:?}");
        assert!(matches!(talk.fates(), [Fate::Delivered(why)] if why.said.is_some()), "{yes:?}: {:?}", talk.fates());
    }
    for event in [Event::Silent, Event::Lost("it closed".into())] {
        let mut talk = sent();
        talk.lines(&["250-taken"]);
        talk.event(event);
        assert!(matches!(talk.fates(), [Fate::Delivered(_)]), "{:?}", talk.fates());
    }
    for no in [&["450\tlater"][..], &["550-a", "250 b"], &["250-a", "550 b"], &["250-a", "452 b"], &[" 450 later"]] {
        let mut talk = sent();
        talk.lines(no);
        assert!(matches!(talk.fates(), [Fate::Deferred(_)]), "{no:?}: {:?}", talk.fates());
    }
    for odd in ["25 taken", "taken", "150 wait", "354 go ahead", "\0", ""] {
        let (mut before, mut never) = (sent(), sent());
        assert_eq!(before.lines(&[odd, odd]), "", "{odd:?}: it is no answer");
        for (mut answered, line, taken) in
            [(sent(), " \u{0}250 taken", true), (sent(), "250 taken", true), (sent(), "550 no", false)]
        {
            answered.lines(&[odd, line]);
            let is_taken = matches!(answered.fates(), [Fate::Delivered(_)]);
            assert_eq!((is_taken, answered.fates().len()), (taken, 1), "{odd:?}, {line:?}: {:?}", answered.fates());
        }
        never.lines(&[odd; limits::BEFORE_ANSWER + 1]);
        assert!(matches!(never.fates(), [Fate::Deferred(_)]), "{odd:?} without end");
    }
    // Before it, nothing but a reply counts.
    let mut talk = Talk::ready(&[]);
    talk.event(Event::Letter(to(&["ben"])));
    talk.lines(&["250 ok", "250\tok"]);
    assert!(matches!(talk.fates(), [Fate::Deferred(_)]), "{:?}", talk.fates());
}

proptest! {
    #[test]
    fn every_letter_gets_its_fates_once(events in prop::collection::vec(any_event(), 0..60), tls in 0usize..3) {
        let tls = [Tls::Required, Tls::IfOffered, Tls::Without][tls];
        let mut session = Session::new(rules(tls));
        let (mut letters, mut told, mut ready, mut unusable, mut closed) = (0, 0, 0, 0, 0);
        let mut in_clear = true;
        for (kind, line) in events {
            let before = session.awaits();
            let event = match kind {
                0 => Event::BadLine,
                1 => Event::Silent,
                2 => Event::Lost("x".into()),
                3 | 4 if before == Awaits::Outcome => Event::Written,
                5 => Event::TlsFailed(Why::ours(Status::new(4, 7, 5), "x")),
                6 | 7 if before == Awaits::Outcome => Event::TlsStarted,
                _ if before == Awaits::Letter => Event::Letter(to(&["a", "b"])),
                8 => Event::NoMore,
                _ => Event::Line(&line),
            };
            let handed = matches!(event, Event::Letter(_));
            letters += u32::from(handed);
            in_clear &= !matches!(event, Event::TlsStarted);
            let (next, effects) = session.handle(event);
            session = next;
            for effect in &effects {
                match effect {
                    Effect::Fates(fates) => {
                        told += 1;
                        prop_assert_eq!(fates.len(), 2);
                    }
                    Effect::Ready => ready += 1,
                    Effect::Unusable(why) => {
                        unusable += 1;
                        prop_assert!(matches!(why.status.class, 4 | 5));
                    }
                    Effect::Close => closed += 1,
                    Effect::Send(bytes) => {
                        prop_assert!(bytes.ends_with(b"\r\n"));
                        prop_assert!(!(in_clear && tls == Tls::Required && bytes.starts_with(b"MAIL")));
                    }
                    _ => {}
                }
            }
            prop_assert!(told <= letters && unusable <= 1 && closed <= 1);
            prop_assert!(unusable == 0 || ready == 0);
            if matches!(session.awaits(), Awaits::Nothing | Awaits::Letter) {
                prop_assert_eq!(told, letters);
            }
        }
    }
}
