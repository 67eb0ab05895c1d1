//! The description of each sample letter, against what is written beside it. The `.txt` files were compared part by
//! part with another MIME parser's view of the same bytes; a changed one needs the same care. To write them anew:
//! `POSTERN_WRITE=1 cargo test --release -p filter-sandbox --test letter_structure`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use filter_sandbox::{
    letter,
    report::{Address, Envelope, Facts, Field, Inside, Part, Report, Span},
};
use std::{fmt::Write, fs, path::PathBuf};

fn samples() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/letters");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut letters: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "eml")).collect();
    letters.sort();
    letters
}

#[test]
fn samples_are_described_as_written() {
    let mut wrong = Vec::new();
    for path in samples() {
        let message = fs::read(&path).unwrap();
        let report = letter::examine(&message, &Facts::default()).unwrap();
        assert_eq!(report.check(message.len(), &Facts::default()), Ok(()), "{}", path.display());
        let described = describe(&message, &report);
        let expected = path.with_extension("txt");
        if std::env::var_os("POSTERN_WRITE").is_some() {
            fs::write(&expected, &described).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != described {
            wrong.push(format!("{}:\n{described}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "not as written:\n{}", wrong.join("\n"));
    assert!(samples().len() >= 20);
}

#[test]
fn spans_slice_back_to_the_message() {
    for path in samples() {
        let message = fs::read(&path).unwrap();
        let summary = letter::examine(&message, &Facts::default()).unwrap().summary;
        let root = &summary.root;
        assert_eq!([&message[root.header.range()], &message[root.body.range()]].concat(), message);
        every(root, &mut |part| {
            let body = &message[part.body.range()];
            assert_eq!(part.lines as usize, body.iter().filter(|b| **b == b'\n').count(), "{}", path.display());
        });
        for field in &summary.fields {
            let name = &message[field.start as usize..field.start as usize + usize::from(field.name)];
            assert!(name.iter().all(u8::is_ascii_graphic));
            assert!(message[field.start as usize..field.end as usize].contains(&b':'));
        }
    }
}

#[test]
fn reports_travel_and_stay_small() {
    for path in samples() {
        let message = fs::read(&path).unwrap();
        let report = letter::examine(&message, &Facts::default()).unwrap();
        let bytes = postcard::to_stdvec(&report).unwrap();
        assert!(bytes.len() < 128 * 1024, "{}: {}", path.display(), bytes.len());
        assert_eq!(postcard::from_bytes::<Report>(&bytes).unwrap(), report);
    }
}

fn every(part: &Part, see: &mut impl FnMut(&Part)) {
    see(part);
    match &part.inside {
        Inside::Leaf => {}
        Inside::Parts(parts) => parts.iter().for_each(|part| every(part, see)),
        Inside::Message(message) => every(&message.root, see),
    }
}

fn describe(message: &[u8], report: &Report) -> String {
    let summary = &report.summary;
    let mut out = String::new();
    writeln!(out, "size {} sent_day {:?}", summary.size, summary.sent_day).unwrap();
    writeln!(out, "subject {}", short(summary.subject_text.as_bytes())).unwrap();
    for (name, text) in ["from", "to", "cc", "bcc"].iter().zip(&summary.address_texts) {
        writeln!(out, "{name} {}", short(text.as_bytes())).unwrap();
    }
    writeln!(out, "preview {}", summary.preview).unwrap();
    envelope(&mut out, "", &summary.envelope);
    fields(&mut out, "", message, &summary.fields);
    part(&mut out, message, &summary.root, "", true);
    for feature in &report.features {
        writeln!(out, "feature {} {}", feature.name, feature.value).unwrap();
    }
    out
}

fn envelope(out: &mut String, indent: &str, envelope: &Envelope) {
    let texts = [
        ("date", &envelope.date),
        ("subject", &envelope.subject),
        ("in-reply-to", &envelope.in_reply_to),
        ("message-id", &envelope.message_id),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            writeln!(out, "{indent}envelope {name} {}", short(text)).unwrap();
        }
    }
    let lists = [
        ("from", &envelope.from),
        ("sender", &envelope.sender),
        ("reply-to", &envelope.reply_to),
        ("to", &envelope.to),
        ("cc", &envelope.cc),
        ("bcc", &envelope.bcc),
    ];
    for (name, list) in lists {
        let listed: Vec<String> = list.iter().take(8).map(address).collect();
        if !listed.is_empty() {
            writeln!(out, "{indent}envelope {name} [{}] {}", list.len(), listed.join(" ")).unwrap();
        }
    }
}

fn address(address: &Address) -> String {
    let text = |text: &Option<Vec<u8>>| text.as_ref().map_or("NIL".into(), |text| format!("\"{}\"", short(text)));
    format!("({} {} {})", text(&address.name), text(&address.mailbox), text(&address.host))
}

fn fields(out: &mut String, indent: &str, message: &[u8], fields: &[Field]) {
    let name = |f: &Field| String::from_utf8_lossy(&message[f.start as usize..][..usize::from(f.name)]).into_owned();
    let listed: Vec<String> = fields.iter().map(|f| format!("{}@{}..{}", name(f), f.start, f.end)).collect();
    writeln!(out, "{indent}fields {}", listed.join(" ")).unwrap();
}

fn part(out: &mut String, message: &[u8], part_: &Part, number: &str, is_root: bool) {
    let indent = "  ".repeat(number.split('.').filter(|n| !n.is_empty()).count());
    let parameters = |list: &[(Vec<u8>, Vec<u8>)]| {
        list.iter().map(|(name, value)| format!("; {}={}", short(name), short(value))).collect::<String>()
    };
    let name = if is_root { format!("{number}(root)") } else { number.to_string() };
    write!(out, "{indent}part {name} {}/{}", short(&part_.kind), short(&part_.subtype)).unwrap();
    writeln!(out, "{} [{}]", parameters(&part_.parameters), short(&part_.encoding)).unwrap();
    let span = |what: &str, span: Span| {
        format!("{indent} {what} {}..{} {}\n", span.start, span.end, short(&message[span.range()]))
    };
    out.push_str(&span("header", part_.header));
    out.push_str(&span("body", part_.body));
    writeln!(out, "{indent} lines {}", part_.lines).unwrap();
    let texts =
        [("id", &part_.id), ("description", &part_.description), ("md5", &part_.md5), ("location", &part_.location)];
    for (name, text) in texts {
        if let Some(text) = text {
            writeln!(out, "{indent} {name} {}", short(text)).unwrap();
        }
    }
    if let Some((how, list)) = &part_.disposition {
        writeln!(out, "{indent} disposition {}{}", short(how), parameters(list)).unwrap();
    }
    for language in &part_.language {
        writeln!(out, "{indent} language {}", short(language)).unwrap();
    }
    let under =
        |index: usize| if number.is_empty() { format!("{}", index + 1) } else { format!("{number}.{}", index + 1) };
    match &part_.inside {
        Inside::Leaf => {}
        Inside::Parts(parts) => {
            parts.iter().enumerate().for_each(|(n, child)| part(out, message, child, &under(n), false))
        }
        Inside::Message(enclosed) => {
            envelope(out, &format!("{indent} "), &enclosed.envelope);
            fields(out, &format!("{indent} "), message, &enclosed.fields);
            part(out, message, &enclosed.root, number, true);
        }
    }
}

/// Both ends of a text, its bytes readable.
fn short(text: &[u8]) -> String {
    let show = |bytes: &[u8]| bytes.escape_ascii().to_string();
    if text.len() <= 100 {
        return show(text);
    }
    format!("{} ...{}... {}", show(&text[..45]), text.len() - 90, show(&text[text.len() - 45..]))
}
