//! Bytes nobody meant well: whatever the letter, `examine` and `matches` come back, and what they report passes its
//! own check, travels within its bounds, and slices only the message.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use filter_sandbox::{
    letter,
    report::{Action, BadReport, Facts, Feature, Inside, Part, Query, Report, Span, limits},
};
use proptest::{collection::vec, prelude::*, sample::select};

/// Pieces that, put together at random, are nearly MIME.
const PIECES: [&[u8]; 44] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"--a",
    b"--a--",
    b"--b",
    b"--b--",
    b"\r\n--a\r\n",
    b"\r\n--b\r\n",
    b"\r\n--a--\r\n",
    b"Content-Type: multipart/mixed; boundary=a\r\n",
    b"Content-Type: multipart/digest; boundary=\"b\"\r\n",
    b"Content-Type: message/rfc822\r\n\r\n",
    b"Content-Type: text/plain; charset=utf-8\r\n",
    b"Content-Type: text/html\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Transfer-Encoding: quoted-printable\r\n",
    b"From: ",
    b"To: ",
    b"Date: ",
    b"Subject: ",
    b"a@b.example",
    b"<",
    b">",
    b"(",
    b")",
    b"\"",
    b"\\",
    b"@",
    b":",
    b";",
    b",",
    b"=?utf-8?Q?",
    b"?=",
    b"=",
    b"=C3",
    b"PGEgaHJlZj0i",
    b"<a href=\"http://1.2.3.4/\">http://x.example</a>",
    b"<!--",
    b"\x00",
    b"\xff\xfe",
    b"\xe2\x80\xae",
    b" ",
];

fn nearly_mime() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![8 => select(&PIECES[..]).prop_map(<[u8]>::to_vec), 1 => vec(any::<u8>(), 0..40)];
    vec(piece, 0..120).prop_map(|pieces| pieces.concat())
}

fn holds(message: &[u8]) -> Report {
    let facts = Facts { sender_domain: "b.example".into(), script: Vec::new() };
    let report = letter::examine(message, &facts).expect("within the bounds");
    assert_eq!(report.check(message.len(), &facts), Ok(()));
    let bytes = postcard::to_stdvec(&report).unwrap();
    assert!(bytes.len() <= limits::REPORT_BYTES, "{}", bytes.len());
    assert_eq!(postcard::from_bytes::<Report>(&bytes).unwrap(), report);
    slices(message, &report.summary.root);
    report
}

/// Touches every span as an IMAP owner would.
fn slices(message: &[u8], part: &Part) {
    let body = &message[part.body.range()];
    assert_eq!(message[part.header.range()].len(), part.header.len() as usize);
    assert_eq!(body.iter().filter(|b| **b == b'\n').count(), part.lines as usize);
    match &part.inside {
        Inside::Leaf => {}
        Inside::Parts(parts) => parts.iter().for_each(|part| slices(message, part)),
        Inside::Message(enclosed) => {
            for field in &enclosed.fields {
                assert!(!message[field.start as usize..field.end as usize].is_empty());
            }
            slices(message, &enclosed.root);
        }
    }
}

fn everything() -> Query {
    Query::Or(vec![
        Query::And(vec![Query::Known(3), Query::Known(200), Query::Text("nowhere".into())]),
        Query::Header("Subject".into(), "a".into()),
        Query::Body("Käse  x".into()),
        Query::Not(Box::new(Query::Text("ß".into()))),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(message in vec(any::<u8>(), 0..2_000)) {
        holds(&message);
        letter::matches(&message, 5, &everything());
    }

    #[test]
    fn nearly_mime_bytes(message in nearly_mime()) {
        holds(&message);
        letter::matches(&message, 5, &everything());
    }

    #[test]
    fn headers_then_anything(head in nearly_mime(), body in nearly_mime()) {
        let message = [&b"Content-Type: multipart/mixed; boundary=a\r\n"[..], &head, b"\r\n\r\n--a\r\n", &body].concat();
        holds(&message);
        letter::matches(&message, 0, &everything());
    }

    #[test]
    fn address_lists_are_total(value in nearly_mime(), most in 0usize..20) {
        let found = letter::addresses(&value, most);
        prop_assert!(found.len() <= most);
        let text = found.iter().flat_map(|a| [&a.name, &a.mailbox, &a.host]).flatten();
        prop_assert!(text.flatten().all(|b| !matches!(b, b'\r' | b'\n' | 0)));
        let (mut starts, mut ends) = (0, 0);
        for address in &found {
            starts += usize::from(address.mailbox.is_some() && address.host.is_none());
            ends += usize::from(address.mailbox.is_none() && address.host.is_none());
            prop_assert!(ends == starts || ends + 1 == starts);
        }
        prop_assert_eq!(starts, ends);
    }

    /// A report with any byte changed either is refused or says nothing that is outside the message.
    #[test]
    fn changed_reports_are_refused_or_harmless(message in nearly_mime(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let message = [b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n", &message[..]].concat();
        let report = letter::examine(&message, &Facts::default()).unwrap();
        let mut bytes = postcard::to_stdvec(&report).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(changed) = postcard::from_bytes::<Report>(&bytes)
            && changed.check(message.len(), &Facts::default()).is_ok()
        {
            within(&message, &changed.summary.root);
        }
    }

    #[test]
    fn random_reports_are_total(bytes in vec(any::<u8>(), 0..400), length in 0usize..1_000) {
        if let Ok(report) = postcard::from_bytes::<Report>(&bytes) {
            let _ = report.check(length, &Facts::default());
        }
    }

    /// Every offset moved, one at a time, by any amount: never accepted where it leaves its place.
    #[test]
    fn moved_offsets_are_refused(which in 0usize..12, by in prop_oneof![1u32..200, Just(u32::MAX), Just(1 << 31)]) {
        let message = b"From: a@b.example\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\none\r\n--a\r\n\
            Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ntwo\r\n--a--\r\n";
        let mut report = letter::examine(message, &Facts::default()).unwrap();
        move_offset(&mut report, which, by);
        prop_assert!(report.check(message.len(), &Facts::default()).is_err());
    }
}

fn within(message: &[u8], part: &Part) {
    assert!(message.get(part.header.range()).is_some() && message.get(part.body.range()).is_some());
    match &part.inside {
        Inside::Leaf => {}
        Inside::Parts(parts) => parts.iter().for_each(|part| within(message, part)),
        Inside::Message(enclosed) => {
            assert!(enclosed.fields.iter().all(|f| message.get(f.start as usize..f.end as usize).is_some()));
            within(message, &enclosed.root);
        }
    }
}

/// Moves one offset out of its place: starts and ends forward, past what they must not pass.
fn move_offset(report: &mut Report, which: usize, by: u32) {
    let summary = &mut report.summary;
    let Inside::Parts(parts) = &mut summary.root.inside else { panic!("a multipart") };
    let moved = |offset: &mut u32| *offset = offset.wrapping_add(by);
    match which {
        0 => moved(&mut summary.size),
        1 => moved(&mut summary.root.header.start),
        2 => moved(&mut summary.root.header.end),
        3 => moved(&mut summary.root.body.start),
        4 => moved(&mut summary.root.body.end),
        5 => moved(&mut parts[0].header.end),
        6 => moved(&mut parts[0].body.start),
        // One byte back is nothing a check can see; over what comes next is.
        7 => parts[0].body.end = parts[0].body.end.wrapping_add(by.clamp(20, 1 << 31)),
        8 => moved(&mut parts[1].body.end),
        9 => summary.fields[1].start = summary.fields[1].start.wrapping_add(by.max(50)),
        10 => summary.fields[0].end = summary.fields[0].end.wrapping_add(by.min(1 << 31)),
        _ => {
            let Inside::Message(enclosed) = &mut parts[1].inside else { panic!("a message") };
            moved(&mut enclosed.root.header.start);
        }
    }
}

#[test]
fn a_report_nested_without_end_is_not_followed() {
    let report =
        letter::examine(b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nx", &Facts::default()).unwrap();
    let Inside::Parts(parts) = &report.summary.root.inside else { panic!("a multipart") };
    let leaf = postcard::to_stdvec(&parts[0]).unwrap();
    let around = postcard::to_stdvec(&report.summary.root).unwrap();
    let level = &around[..around.len() - leaf.len()];
    for (levels, good) in [(3, true), (limits::DEPTH, true), (limits::DEPTH + 1, false), (200_000, false)] {
        let nested = [level.repeat(levels), leaf.clone()].concat();
        assert_eq!(postcard::from_bytes::<Part>(&nested).is_ok(), good, "{levels}");
    }
    // The budget is given back after a refusal.
    assert!(postcard::from_bytes::<Part>(&around).is_ok());
    let deep = [vec![6u8; 100_000], vec![0, 0]].concat();
    assert!(postcard::from_bytes::<Query>(&deep).is_err());
}

fn multipart_of(parts: usize) -> Vec<u8> {
    let mut message = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n".to_vec();
    (0..parts).for_each(|_| message.extend_from_slice(b"--a\r\n\r\nx\r\n"));
    message
}

#[test]
fn too_many_parts_or_fields_are_not_described() {
    holds(&multipart_of(limits::PARTS - 1));
    assert_eq!(letter::examine(&multipart_of(limits::PARTS), &Facts::default()), None);
    assert_eq!(letter::examine(&multipart_of(200_000), &Facts::default()), None);
    holds("X: y\r\n".repeat(limits::FIELDS).as_bytes());
    assert_eq!(letter::examine("X: y\r\n".repeat(limits::FIELDS + 1).as_bytes(), &Facts::default()), None);
}

#[test]
fn a_summary_that_has_not_all_says_so() {
    let is_cut = |message: &str| holds(message.as_bytes()).summary.is_cut();
    let many = |count: usize, one: &str| vec![one; count].join(",\r\n ");
    let ordinary = "From: a@b.example\r\nTo: c@b.example\r\nSubject: short\r\nDate: x\r\n\r\nbody";
    assert!(!is_cut(ordinary) && !is_cut("") && !is_cut(&format!("X-Long: {}\r\n{ordinary}", "x".repeat(100_000))));
    let long = "x".repeat(limits::TEXT + 1);
    for (field, value) in [
        ("Subject", long.as_str()),
        ("To", &many(400, "Somebody With A Name <somebody.with.a.name@b.example>")),
        ("Cc", &many(limits::ADDRESSES + 1, "a@b")),
        ("Bcc", &format!("\"{}\": a@b;, c@d", ",".repeat(limits::TEXT))),
        ("From", &format!("\"{long}\" <a@b>")),
        ("Message-ID", &format!("<{long}@b>")),
    ] {
        assert!(is_cut(&format!("{field}: {value}\r\n{ordinary}")), "{field}");
    }
    // The room of all texts together was spent by its parts before.
    let part = format!("--a\r\nContent-Type: x/y; a=\"{0}\"; b=\"{0}\"\r\n\r\n", "x".repeat(limits::TEXT / 2 - 100));
    let parts = part.repeat(limits::TEXTS / limits::TEXT + 2);
    assert!(is_cut(&format!("Content-Type: multipart/mixed; boundary=a\r\n{ordinary}\r\n{parts}")));
}

#[test]
fn nesting_stops_and_loses_no_bytes() {
    let multiparts: String =
        (0..300).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n")).collect::<String>()
            + "\r\ndeepest words\r\n";
    let messages = "Content-Type: message/rfc822\r\n\r\n".repeat(300) + "Subject: x\r\n\r\ndeepest words\r\n";
    for message in [multiparts, messages] {
        let report = holds(message.as_bytes());
        assert!(report.features.iter().any(|feature| feature.name == "PARTS_TOO_DEEP"));
        assert_eq!(report.summary.root.body.end as usize, message.len());
    }
}

#[test]
fn reports_stay_within_their_bound() {
    let addresses = "a@b,".repeat(3_000);
    let message: String = (0..300).map(|n| format!("--a\r\nContent-Type: message/rfc822\r\n\r\nFrom: {addresses}\r\nTo: {addresses}\r\nX-{n}: y\r\n\r\nz\r\n")).collect();
    holds(format!("Content-Type: multipart/mixed; boundary=a\r\n\r\n{message}").as_bytes());
    let parameters: String = (0..200).map(|n| format!("; p{n}={}", "v".repeat(9_000))).collect();
    let message =
        format!("--a\r\nContent-Type: text/plain{parameters}\r\nContent-Language: {}\r\n\r\nz\r\n", "en,".repeat(500));
    holds(format!("Content-Type: multipart/mixed; boundary=a\r\n\r\n{}", message.repeat(3)).as_bytes());
    let small = format!("--a\r\nContent-Type: a/b{}\r\n\r\nz\r\n", ";c=d".repeat(64)).repeat(999);
    holds(format!("Content-Type: multipart/mixed; boundary=a\r\n\r\n{small}").as_bytes());
}

#[test]
fn lies_beside_offsets_are_refused() {
    let message = b"From: a@b.example\r\nSubject: x\r\n\r\nbody\r\n";
    let good = letter::examine(message, &Facts::default()).unwrap();
    let lie = |change: &dyn Fn(&mut Report), expected: BadReport| {
        let mut report = good.clone();
        change(&mut report);
        assert_eq!(report.check(message.len(), &Facts::default()), Err(expected));
    };
    lie(&|r| r.summary.root.lines = 1_000, BadReport::Number);
    lie(&|r| r.summary.sent_day = Some(5), BadReport::Number);
    lie(&|r| r.summary.sent_day = Some(i64::MIN), BadReport::Number);
    lie(&|r| r.summary.envelope.subject = Some(b"x\r\n* BYE".to_vec()), BadReport::Text);
    lie(&|r| r.summary.envelope.subject = Some(vec![b'x'; limits::TEXT + 1]), BadReport::Text);
    lie(&|r| r.summary.envelope.from[0].host = Some(b"a\0".to_vec()), BadReport::Text);
    lie(&|r| r.summary.envelope.from[0].host = None, BadReport::Kind);
    lie(&|r| r.summary.envelope.to = vec![r.summary.envelope.from[0].clone(); limits::ADDRESSES + 1], BadReport::Count);
    lie(&|r| r.summary.root.kind = b"TEXT\" \"".to_vec(), BadReport::Text);
    lie(&|r| r.summary.root.kind = Vec::new(), BadReport::Text);
    lie(&|r| r.summary.root.kind = b"Multipart".to_vec(), BadReport::Kind);
    lie(&|r| r.summary.root.inside = Inside::Parts(Vec::new()), BadReport::Kind);
    lie(&|r| r.summary.root.parameters = vec![(b"a".to_vec(), Vec::new()); limits::PARAMETERS + 1], BadReport::Count);
    lie(&|r| r.summary.preview = "x".repeat(limits::PREVIEW + 1), BadReport::Text);
    lie(&|r| r.summary.subject_text = "\u{1b}[2J".into(), BadReport::Text);
    let feature = |name: &str, value| Feature { name: name.into(), value };
    lie(&|r| r.features.push(feature("NEW", f32::NAN)), BadReport::Number);
    lie(&|r| r.features.push(feature("NEW", f32::INFINITY)), BadReport::Number);
    lie(&|r| r.features.push(feature("new", 1.0)), BadReport::Text);
    lie(&|r| r.features.push(feature("", 1.0)), BadReport::Text);
    lie(&|r| r.features = vec![feature("A", 1.0), feature("A", 1.0)], BadReport::Count);
    lie(&|r| r.actions = vec![Action::FileInto(Span { start: 0, end: 1 })], BadReport::Action);
}

#[test]
fn an_action_names_only_what_the_script_says() {
    let script = br#"require ["fileinto"]; # "Not this"
/* "nor this" */ if header :is "Subject" "x" { fileinto "Family/Anna"; }
if true { fileinto text:
"Inside"
.
; fileinto "a\"b"; fileinto "last"; }"#;
    let facts = Facts { sender_domain: String::new(), script: script.to_vec() };
    let message = b"\r\nx";
    let says = |text: &str, from: usize| {
        let at = script.windows(text.len()).skip(from).position(|w| w == text.as_bytes()).unwrap() + from;
        let mut report = letter::examine(message, &facts).unwrap();
        report.actions = vec![Action::FileInto(Span { start: at as u32, end: (at + text.len()) as u32 })];
        report.check(message.len(), &facts).is_ok()
    };
    assert!(says("Family/Anna", 0) && says("last", 0) && says("fileinto", 0));
    assert!(!says("Not this", 0) && !says("nor this", 0) && !says("Inside", 0) && !says("Family", 0));
    assert!(!says("Anna", 0) && !says(" ", 0) && !says("b", 0) && !says("a\\\"b", 0) && !says("; fileinto ", 0));
    let mut report = letter::examine(message, &facts).unwrap();
    for (start, end) in
        [(0, 0), (5, 4), (0, u32::MAX), (u32::MAX, u32::MAX), (script.len() as u32, script.len() as u32 + 1)]
    {
        report.actions = vec![Action::FileInto(Span { start, end })];
        assert_eq!(report.check(message.len(), &facts), Err(BadReport::Action));
    }
}
