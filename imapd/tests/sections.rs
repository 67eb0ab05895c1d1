//! BODY[...], BODYSTRUCTURE and SEARCH over real letters, described as the worker describes them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::LazyLock;

use filter_sandbox::letter;
use filter_sandbox::report::{Facts, Summary};
use imapd::command::{Command, Form, Item, Section, SectionItem, SectionText};
use imapd::render::{self, Slices, Wanted};
use imapd::search::{Digest, Plan, Verdict, View};
use proptest::prelude::*;
use spool::edges::mailbox::{Fact, flag};
use spool::names::LetterId;
use zeroize::Zeroizing;

/// RFC 3501 §6.4.5's example of part numbers, with something in every part.
const NESTED: &str = include_str!("letters/nested.eml");

fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

fn summary(message: &[u8]) -> Summary {
    letter::examine(message, &Facts::default()).unwrap().summary
}

fn item(section: &str) -> SectionItem {
    let parsed = imapd::grammar::parse(format!("a FETCH 1 BODY[{section}]").as_bytes()).unwrap().command;
    let Command::Fetch { items, .. } = parsed else { panic!("{parsed:?}") };
    let Some(Item::Section(item)) = items.into_iter().next() else { panic!("{section}") };
    item
}

fn bytes(message: &[u8], slices: &Slices) -> Vec<u8> {
    let mut bytes = Vec::new();
    for span in &slices.spans {
        bytes.extend_from_slice(&message[span.start as usize..span.end as usize]);
    }
    bytes.extend_from_slice(slices.tail);
    assert_eq!(bytes.len() as u64, slices.len());
    bytes
}

// As the owner does it.
fn slices(message: &[u8], summary: &Summary, section: &Section) -> Option<Slices> {
    match render::resolve(summary, section) {
        Wanted::Bytes(slices) => Some(slices),
        Wanted::Nothing => None,
        Wanted::Fields { header, index } => {
            let SectionText::Fields { names, not } = &section.text else { panic!("fields of {section:?}") };
            let read = &message[header.start as usize..header.end as usize];
            Some(render::fields(header, read, index, names, *not))
        }
    }
}

fn section(message: &[u8], wanted: &str) -> Option<String> {
    let found = slices(message, &summary(message), &item(wanted).section)?;
    Some(String::from_utf8(bytes(message, &found)).unwrap())
}

#[test]
fn part_numbers() {
    let message = crlf(NESTED);
    let get = |wanted| section(&message, wanted);
    let starts = |wanted, with: &str| {
        let got = get(wanted).unwrap_or_else(|| panic!("BODY[{wanted}] is NIL"));
        assert!(got.starts_with(with), "BODY[{wanted}]: {got}");
        got
    };
    assert_eq!(get("").unwrap().into_bytes(), message);
    let header = starts("HEADER", "From: outer@example.org\r\n");
    assert_eq!(header + &get("TEXT").unwrap(), get("").unwrap());
    assert_eq!(get("1").unwrap(), "part 1");
    assert_eq!(get("1.MIME").unwrap(), "Content-Type: text/plain\r\n\r\n");
    assert_eq!(get("2").unwrap(), "AAECAw==");
    let enclosed = starts("3", "Subject: enclosed\r\n");
    assert_eq!(get("3.HEADER").unwrap() + &get("3.TEXT").unwrap(), enclosed);
    assert_eq!(get("3.MIME").unwrap(), "Content-Type: message/rfc822\r\n\r\n");
    assert_eq!(get("3.1").unwrap(), "part 3.1");
    assert_eq!(get("3.2").unwrap(), "AAEC");
    starts("4.2", "Subject: deep\r\n");
    starts("4.2.HEADER", "Subject: deep\r\n");
    assert_eq!(get("4.1.MIME").unwrap(), "Content-Type: image/gif\r\nContent-Transfer-Encoding: base64\r\n\r\n");
    assert_eq!(get("4.2.1").unwrap(), "part 4.2.1");
    assert_eq!(get("4.2.2.1").unwrap(), "part 4.2.2.1");
    assert_eq!(get("4.2.2.2").unwrap(), "part 4.2.2.2");
    assert_eq!(get("4.2.HEADER.FIELDS (SUBJECT)").unwrap(), "Subject: deep\r\n\r\n");
    for nothing in ["5", "1.1", "1.HEADER", "1.TEXT", "4.HEADER", "4.2.2.3", "4.2.2.2.1", "1.HEADER.FIELDS (X)"] {
        assert_eq!(get(nothing), None, "{nothing}");
    }
}

#[test]
fn a_letter_without_parts_has_part_one() {
    let message = crlf("Subject: x\nContent-Type: text/plain\n\nhello\n");
    let get = |wanted| section(&message, wanted);
    assert_eq!(get("1").as_deref(), Some("hello\r\n"));
    assert_eq!(get("TEXT").as_deref(), Some("hello\r\n"));
    assert_eq!(get("1.MIME"), get("HEADER"));
    assert_eq!((get("2"), get("1.1"), get("1.TEXT")), (None, None, None));
}

#[test]
fn header_fields() {
    let message = crlf("From: a@b\nSubject: long\n folded\nX-A: 1\nfrom: c@d\n\nbody\n");
    let get = |wanted| section(&message, wanted).unwrap();
    assert_eq!(get("HEADER.FIELDS (FROM subject)"), "From: a@b\r\nSubject: long\r\n folded\r\nfrom: c@d\r\n\r\n");
    assert_eq!(get("HEADER.FIELDS.NOT (From)"), "Subject: long\r\n folded\r\nX-A: 1\r\n\r\n");
    assert_eq!(get("HEADER.FIELDS (Date)"), "\r\n");
    assert_eq!(section(b"Subject: no end", "HEADER.FIELDS (Date)").unwrap(), "\r\n");
}

#[test]
fn partial_fetches() {
    let message = crlf("From: a@b\nX-A: 1\nSubject: s\n\nbody\n");
    let summary = summary(&message);
    let whole = slices(&message, &summary, &item("HEADER.FIELDS (From Subject)").section).unwrap();
    let all = bytes(&message, &whole);
    for start in 0..all.len() + 3 {
        for length in 1..all.len() + 3 {
            let cut = render::cut(&whole, Some((start as u32, length as u32)));
            let from = start.min(all.len());
            assert_eq!(bytes(&message, &cut), all[from..(from + length).min(all.len())]);
        }
    }
    assert_eq!(render::cut(&whole, Some((u32::MAX, u32::MAX))).len(), 0);
}

#[test]
fn labels() {
    for label in ["", "TEXT", "1.2.MIME", "HEADER.FIELDS (Date X-A)", "3.HEADER.FIELDS.NOT (From)", "1"] {
        let mut out = Vec::new();
        render::label(&mut out, &item(label));
        assert_eq!(String::from_utf8(out).unwrap(), format!("BODY[{label}]"));
    }
    let mut out = Vec::new();
    render::label(&mut out, &SectionItem { partial: Some((512, 9)), form: Form::Rfc822Text, ..item("TEXT") });
    assert_eq!(out, b"RFC822.TEXT<512>");
}

fn structures(message: &[u8]) -> [String; 2] {
    let root = summary(message).root;
    [render::body, render::body_structure].map(|write| {
        let mut out = Vec::new();
        write(&mut out, &root);
        String::from_utf8(out).unwrap()
    })
}

#[test]
fn body_structures() {
    // RFC 3501 §7.4.2's example of a one-part letter.
    let body = "x".repeat(3026);
    let message = crlf(&format!("Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\n\n{body}\n"));
    let [short, long] = structures(&message);
    assert_eq!(short, r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3028 1)"#);
    assert_eq!(long, r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3028 1 NIL NIL NIL NIL)"#);
    let message = crlf(concat!(
        "Content-Type: multipart/mixed; boundary=b\nContent-Language: en, de\n\n--b\n\nhi\n--b\n",
        "Content-Type: application/pdf; name=\"a b.pdf\"\nContent-Disposition: attachment; filename=\"a b.pdf\"\n",
        "Content-ID: <1@x>\nContent-Description: a paper\nContent-MD5: Q2hlY2s=\nContent-Language: en\n",
        "Content-Location: http://x/\nContent-Transfer-Encoding: base64\n\nAAAA\n--b--\n",
    ));
    let [short, long] = structures(&message);
    let pdf = r#""application" "pdf" ("name" "a b.pdf") "<1@x>" "a paper" "base64" 4"#;
    let extension = r#""Q2hlY2s=" ("attachment" ("filename" "a b.pdf")) "en" "http://x/""#;
    assert_eq!(
        short.to_lowercase(),
        format!(r#"(("text" "plain" ("charset" "us-ascii") nil nil "7bit" 2 0)({pdf}) "mixed")"#)
    );
    let text = r#""text" "plain" ("charset" "us-ascii") nil nil "7bit" 2 0 nil nil nil nil"#;
    let tail = r#""mixed" ("boundary" "b") nil ("en" "de") nil"#;
    assert_eq!(long.to_lowercase(), format!("(({text})({pdf} {extension}) {tail})").to_lowercase());
}

#[test]
fn enclosed_messages_have_an_envelope() {
    let [short, _] = structures(&crlf(NESTED));
    assert!(short.contains(r#"("MESSAGE" "RFC822" NIL NIL NIL "7BIT""#), "{short}");
    assert!(short.contains(r#"(NIL "enclosed" "#), "{short}");
    let open = short.matches('(').count();
    assert_eq!(open, short.matches(')').count());
}

// What claims to be compound and is not, must not be shown in a form that apps fail on.
#[test]
fn false_claims() {
    for (claim, shown) in [("multipart/mixed", r#"("text" "plain""#), ("message/rfc822", "(\"")] {
        let [short, _] = structures(format!("Content-Type: {claim}\r\n\r\n").as_bytes());
        assert!(short.to_lowercase().starts_with(shown), "{claim}: {short}");
        assert!(!short.to_lowercase().contains("multipart"), "{short}");
    }
}

/// Whole lines that make and unmake structure.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("--b".to_owned()),
        Just("--b--".to_owned()),
        Just("--c".to_owned()),
        Just(String::new()),
        Just("Content-Type: multipart/mixed; boundary=b".to_owned()),
        Just("Content-Type: multipart/alternative; boundary=c".to_owned()),
        Just("Content-Type: message/rfc822".to_owned()),
        Just("Subject: =?utf-8?Q?gr=C3=BC=C3=9Fe?= \"x\"".to_owned()),
        Just("From: \"A \\\" B\" <a@b>, g: c@d;".to_owned()),
        "[ -~]{0,30}",
        "\\PC{0,10}",
    ]
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(line(), 0..30).prop_map(|lines| lines.join("\r\n").into_bytes())
}

fn path() -> impl Strategy<Value = String> {
    let part = prop::collection::vec(1u32..4, 1..5)
        .prop_map(|part| part.iter().map(u32::to_string).collect::<Vec<_>>().join("."));
    let text = prop::sample::select(vec!["HEADER", "TEXT", "HEADER.FIELDS (From)", "HEADER.FIELDS.NOT (From)"]);
    prop_oneof![
        part.clone(),
        text.clone().prop_map(str::to_owned),
        (part.clone(), text).prop_map(|(part, text)| format!("{part}.{text}")),
        part.prop_map(|part| format!("{part}.MIME")),
    ]
}

proptest! {
    #[test]
    fn spans_never_leave_the_message(message in message(), path in path(), start: u32, length in 1u32.., lie: u32) {
        let mut summary = summary(&message);
        let section = item(&path).section;
        let check = |summary: &Summary| {
            if let Wanted::Bytes(slices) = render::resolve(summary, &section) {
                let cut = render::cut(&slices, Some((start, length)));
                for span in slices.spans.iter().chain(&cut.spans) {
                    assert!(span.start < span.end && span.end <= summary.size);
                }
                assert!(cut.len() <= u64::from(length));
            }
        };
        check(&summary);
        if let Some(slices) = slices(&message, &summary, &section) {
            bytes(&message, &slices);
        }
        // A summary that lies about its size must not lead beyond it either.
        summary.size = lie % (message.len() as u32 + 1);
        check(&summary);
    }

    #[test]
    fn header_and_text_are_the_message(message in message()) {
        let summary = summary(&message);
        let get = |wanted: &str| bytes(&message, &slices(&message, &summary, &item(wanted).section).unwrap());
        prop_assert_eq!([get("HEADER"), get("TEXT")].concat(), message.clone());
        let kept = [get("HEADER.FIELDS (From)"), get("HEADER.FIELDS.NOT (From)")].concat();
        prop_assert!(kept.len() <= get("HEADER").len() + 4);
    }

    #[test]
    fn what_is_rendered_can_be_read(message in message()) {
        use imap_codec::decode::Decoder;
        let summary = summary(&message);
        let mut out = Vec::new();
        let mut line = render::FetchLine::begin(&mut out, 1);
        line.uid(&mut out, 7);
        line.flags(&mut out, 3, 1, &["$Junk".to_owned()], true);
        line.internal_date(&mut out, 837_596_665);
        line.size(&mut out, summary.size);
        line.envelope(&mut out, &summary.envelope);
        line.section(&mut out, &item("TEXT"), Some(2));
        out.extend_from_slice(b"xy");
        line.section(&mut out, &item("9"), None);
        line.body(&mut out, &summary.root);
        line.body_structure(&mut out, &summary.root);
        line.end(&mut out);
        let decoded = imap_codec::ResponseCodec::default().decode(&out);
        prop_assert!(decoded.is_ok_and(|(rest, _)| rest.is_empty()), "{}", String::from_utf8_lossy(&out));
    }
}

const VIEW: View<'_> = View { exists: 10, last_uid: 20, recent: &[], keywords: &[] };

fn fact(message: &[u8]) -> Fact {
    Fact {
        uid: 7,
        letter: LetterId([0; 16]),
        flags: flag::SEEN | flag::FLAGGED,
        keywords: 1,
        modseq: 1,
        arrived: 86_400 * 10 + 5,
        size: message.len() as u32,
    }
}

// As the owner has it of a letter whose header is not too long.
fn digest(message: &[u8]) -> Digest {
    let summary = Box::new(summary(message));
    let header = Some(Zeroizing::new(message[summary.root.header.range()].to_vec()));
    Digest { summary, header }
}

fn plan(program: &str, keywords: &[String]) -> Plan {
    let parsed = imapd::grammar::parse(format!("a SEARCH {program}").as_bytes()).expect(program).command;
    let Command::Search { key, .. } = parsed else { panic!("{parsed:?}") };
    Plan::new(&key, &View { keywords, ..VIEW })
}

const LETTER: &str = "From: Jo <jo@a.example>\nTo: =?utf-8?Q?M=C3=BCller?= <m@b.example>\nCc: c@c.example\nBcc:\n\
    Subject: Hello =?utf-8?Q?W=C3=B6rld?=\nDate: Tue, 5 Jan 2021 23:30:00 -0800\nMessage-ID: <id@a.example>\n\
    List-Id: <list.example>\n\nThe quick brown fox\n";

#[test]
fn facts_decide_what_they_can() {
    let message = crlf(LETTER);
    let table = ["$Junk".to_owned(), "Work".to_owned()];
    for (program, matches) in [
        ("ALL", true),
        ("SEEN", true),
        ("UNSEEN", false),
        ("FLAGGED UNDELETED", true),
        ("ANSWERED", false),
        ("KEYWORD $junk", true),
        ("UNKEYWORD Work", true),
        ("KEYWORD nobody", false),
        ("UNKEYWORD nobody", true),
        ("OLD", true),
        ("RECENT", false),
        ("NEW", false),
        ("UID 7", true),
        ("UID 8:*", false),
        ("3", true),
        ("4:*", false),
        ("ON 11-Jan-1970", true),
        ("BEFORE 11-Jan-1970", false),
        ("SINCE 11-Jan-1970", true),
        ("BEFORE 12-Jan-1970", true),
        ("LARGER 10", true),
        ("SMALLER 10", false),
        ("OR SEEN TEXT zzz", true),
        ("UNSEEN TEXT zzz", false),
        ("NOT (SEEN FLAGGED)", false),
        ("TEXT \"\"", true),
        ("OR (SEEN DRAFT) UNSEEN", false),
    ] {
        assert_eq!(plan(program, &table).by_fact(3, &fact(&message)), Verdict::from(matches), "{program}");
    }
    assert_eq!(plan("SUBJECT x", &[]).by_fact(3, &fact(&message)), Verdict::Unknown);
    assert!(plan("SUBJECT x", &[]).needs_summary());
    assert!(!plan("BODY x", &[]).needs_summary());
}

#[test]
fn summaries_decide_what_they_can() {
    let message = crlf(LETTER);
    let digest = digest(&message);
    for (program, verdict) in [
        ("SUBJECT \"hello wörld\"", Verdict::Yes),
        ("SUBJECT x", Verdict::No),
        ("FROM jo@A", Verdict::Yes),
        ("TO \"müller\"", Verdict::Yes),
        ("CC c.example", Verdict::Yes),
        ("BCC \"\"", Verdict::No),
        ("CC \"\"", Verdict::Yes),
        ("HEADER Bcc \"\"", Verdict::Yes),
        ("HEADER List-Id \"\"", Verdict::Yes),
        ("HEADER Reply-To \"\"", Verdict::No),
        ("HEADER Message-Id id@a", Verdict::Yes),
        ("SENTON 5-Jan-2021", Verdict::Yes),
        ("SENTBEFORE 5-Jan-2021", Verdict::No),
        ("SENTSINCE 6-Jan-2021", Verdict::No),
        ("TEXT \"wörld\"", Verdict::Yes),
        ("TEXT fox", Verdict::Unknown),
        ("BODY fox", Verdict::Unknown),
        ("BODY fox SUBJECT x", Verdict::No),
        ("OR BODY fox SUBJECT hello", Verdict::Yes),
        ("NOT TEXT \"wörld\"", Verdict::No),
        ("HEADER List-Id list", Verdict::Unknown),
    ] {
        assert_eq!(plan(program, &[]).by_summary(3, &fact(&message), &digest), verdict, "{program}");
    }
    // A header that is too long to be kept beside the summary.
    let digest = Digest { header: None, ..digest };
    assert_eq!(plan("HEADER Bcc \"\"", &[]).by_summary(3, &fact(&message), &digest), Verdict::Unknown);
}

/// A letter to so many that its summary has not all of them.
fn to_many() -> Vec<u8> {
    let names: Vec<String> = (0..1_000).map(|n| format!("\"Number, {n}\" <number{n}@b.example>")).collect();
    let subject = "words ".repeat(4_000);
    crlf(
        &LETTER
            .replace("To: ", &format!("To: {},\n ", names.join(",\n ")))
            .replace("Hello", &format!("{subject}Hello")),
    )
}

#[test]
fn what_a_summary_has_not_all_of_the_letter_decides() {
    let message = to_many();
    let (digest, fact) = (digest(&message), fact(&message));
    for (program, by_summary, matches) in [
        ("TO number3@", Verdict::Yes, true),
        ("TO number999@b.example", Verdict::Unknown, true),
        ("TO \"number, 999\"", Verdict::Unknown, true),
        ("TO \"Number, 999 <number999@\"", Verdict::Unknown, true),
        ("HEADER to number999@", Verdict::Unknown, true),
        ("NOT TO number999@", Verdict::Unknown, false),
        ("TO number1000@", Verdict::Unknown, false),
        ("SUBJECT \"hello wörld\"", Verdict::Unknown, true),
        ("OR SUBJECT nothing TO number999@", Verdict::Unknown, true),
        ("SEEN TO number999@ BODY fox", Verdict::Unknown, true),
        ("UNSEEN TO number999@", Verdict::No, false),
        ("CC c@c.example", Verdict::Yes, true),
    ] {
        let plan = plan(program, &[]);
        assert_eq!(plan.by_summary(3, &fact, &digest), by_summary, "{program}");
        let query = plan.query().unwrap().expect(program);
        assert_eq!(letter::matches(&message, plan.known(3, &fact, Some(&digest)), query), matches, "{program}");
    }
}

#[test]
fn any_number_of_conditions_that_need_no_letter() {
    let many = |key: &str| (0..80).map(|n| format!("(OR ({key} LARGER {n}) DRAFT)")).collect::<Vec<_>>().join(" ");
    let message = crlf(LETTER);
    assert_eq!(plan(&many("FROM jo"), &[]).by_summary(3, &fact(&message), &digest(&message)), Verdict::Yes);
    assert!(plan(&many("BODY fox"), &[]).query().is_err());
}

fn program() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "SEEN",
        "UNSEEN",
        "DRAFT",
        "UID 7",
        "SUBJECT hello",
        "SUBJECT nothing",
        "FROM jo",
        "TEXT fox",
        "TEXT hello",
        "TEXT zzz",
        "BODY brown",
        "BODY hello",
        "HEADER List-Id example",
        "HEADER Subject hello",
        "HEADER X-None \"\"",
        "HEADER Bcc \"\"",
        "TO number999@",
        "SUBJECT \"wörld\"",
        "SENTON 5-Jan-2021",
        "LARGER 100",
        "BODY \"\"",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("NOT {a}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("OR {a} {b}")),
            prop::collection::vec(inner, 1..4).prop_map(|all| format!("({})", all.join(" "))),
        ]
    })
}

// Each stage may only decide what the worker would have decided: whichever goes first, the answer is one.
fn stages_agree_on(message: &[u8], digest: &Digest, program: &str) -> Result<(), TestCaseError> {
    let (plan, fact) = (plan(program, &[]), fact(message));
    let (first, second) = (plan.by_fact(3, &fact), plan.by_summary(3, &fact, digest));
    if first != Verdict::Unknown {
        prop_assert_eq!(first, second);
    }
    match plan.query().unwrap() {
        None => prop_assert_ne!(second, Verdict::Unknown),
        Some(query) if second != Verdict::Unknown => {
            let last = letter::matches(message, plan.known(3, &fact, Some(digest)), query);
            prop_assert_eq!(second, Verdict::from(last));
        }
        Some(_) => {}
    }
    Ok(())
}

proptest! {
    #[test]
    fn stages_agree(program in program()) {
        let message = crlf(LETTER);
        stages_agree_on(&message, &digest(&message), &program)?;
    }

    #[test]
    fn stages_agree_where_the_summary_was_cut(program in program()) {
        static CUT: LazyLock<(Vec<u8>, Digest)> = LazyLock::new(|| {
            let message = to_many();
            let digest = digest(&message);
            (message, digest)
        });
        stages_agree_on(&CUT.0, &CUT.1, &program)?;
    }
}
