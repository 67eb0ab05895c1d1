//! SEARCH's text keys over decoded letters.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use filter_sandbox::{letter::matches, report::Query};
use proptest::prelude::*;

fn sample(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/letters/{name}.eml", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

fn text(what: &str) -> Query {
    Query::Text(what.into())
}

fn body(what: &str) -> Query {
    Query::Body(what.into())
}

fn header(name: &str, what: &str) -> Query {
    Query::Header(name.into(), what.into())
}

#[test]
fn bodies_are_decoded() {
    let plain = sample("plain");
    assert!(matches(&plain, 0, &body("GRÜßE")));
    assert!(matches(&plain, 0, &body("a line that goes on")), "a soft break inside a word");
    assert!(matches(&plain, 0, &body("SUNDAY? grüße from  the\r\nwhole")), "white space is one space");
    assert!(!matches(&plain, 0, &body("Sunday lunch")), "the subject is no body");
    assert!(matches(&plain, 0, &text("Sunday LUNCH")));
    let alternative = sample("alternative");
    assert!(matches(&alternative, 0, &body("KÄSE UND BRÖTCHEN")), "8 bit in Latin-1");
    assert!(matches(&alternative, 0, &body("Käse & Brötchen")), "base64 HTML with an entity");
    assert!(!matches(&alternative, 0, &body("href")), "tags are not text");
    let eight_bit = sample("eight-bit");
    for words in ["привет, МИР", "ハロー・ワールド", "文致出版社", "naïve café"] {
        assert!(matches(&eight_bit, 0, &body(words)), "{words}");
    }
    assert!(
        matches(&sample("forwarded"), 0, &body("deep"))
            && matches(&sample("forwarded"), 0, &body("subject: innermost"))
    );
}

#[test]
fn headers_are_decoded() {
    let words = sample("encoded-words");
    assert!(matches(&words, 0, &header("From", "jürgen müller")));
    assert!(matches(&words, 0, &header("subject", "split ü and plain は =?bad?= end")));
    assert!(matches(&words, 0, &header("SENDER", "")) && !matches(&words, 0, &header("X-None", "")));
    assert!(matches(&words, 0, &text("müller, EVA")));
    assert!(matches(&sample("nested"), 0, &text("attachment")), "headers of parts belong to the body");
    assert!(!matches(&sample("forwarded"), 0, &header("Subject", "innermost")), "only the letter's own header");
}

/// A page as a body of HTML.
fn page(html: &str) -> Vec<u8> {
    format!("Content-Type: text/html; charset=utf-8\r\n\r\n<html><body>{html}</body></html>").into_bytes()
}

#[test]
fn pages_are_searched_as_they_are_read() {
    for (html, words) in [
        ("an im<b>por</b>tant<!-- x --> day", "important day"),
        ("<p>one</p><p>two</p>", "one two"),
        ("<s>o</s>ne<del>t</del>wo<mark>three</mark>", "onetwothree"),
        ("Sm&oslash;rrebr&oslash;d &Aring;rhus &laquo;3&deg;&raquo;", "smørrebrød århus «3°»"),
        ("don&#146;t &#x80;5", "don’t €5"),
        ("in&shy;voi&#8203;ce", "INVOICE"),
        ("in\u{ad}voice", "invoice"),
        ("AT&T &unknown; 1 < 2", "at&t &unknown; 1 < 2"),
        ("a&nbsp;b &amp;lt;", "a b &lt;"),
    ] {
        assert!(matches(&page(html), 0, &body(words)), "{html}");
        assert!(!matches(&page(html), 0, &body(&format!("{words}x"))), "{html}");
    }
}

#[test]
fn files_are_found_by_their_names() {
    let attached = |disposition: &str| {
        format!(
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: application/pdf\r\n\
             Content-Disposition: attachment; {disposition}\r\n\r\nx\r\n--b--\r\n"
        )
    };
    for disposition in [
        "filename=\"Résumé März.pdf\"",
        "filename*=utf-8''R%C3%A9sum%C3%A9%20M%C3%A4rz.pdf",
        "filename*0*=utf-8''R%C3%A9sum%C3%A9;\r\n filename*1*=%20M%C3%A4rz.pdf",
        "filename=\"=?utf-8?Q?R=C3=A9sum=C3=A9_M=C3=A4rz.pdf?=\"",
    ] {
        assert!(matches(attached(disposition).as_bytes(), 0, &text("résumé märz.PDF")), "{disposition}");
    }
}

#[test]
fn addresses_are_found_as_written_and_as_listed() {
    let message = b"To: \"Number, 1\" <one@b.example>,\r\n two@b.example (Number Two)\r\n\r\n";
    for words in ["\"number, 1\"", "Number, 1 <one@b.example>", "number two <two@"] {
        assert!(matches(message, 0, &header("to", words)), "{words}");
    }
    assert!(!matches(message, 0, &header("to", "number two <one@")));
}

#[test]
fn keys_combine() {
    let plain = sample("plain");
    let yes = || text("anna");
    let no = || text("nobody at all");
    assert!(matches(&plain, 0, &Query::And(vec![])) && !matches(&plain, 0, &Query::Or(vec![])));
    assert!(matches(&plain, 0, &Query::Or(vec![no(), yes()])) && !matches(&plain, 0, &Query::And(vec![no(), yes()])));
    assert!(matches(&plain, 0, &Query::Not(Box::new(no()))) && !matches(&plain, 0, &Query::Not(Box::new(yes()))));
    assert!(matches(&plain, 0b100, &Query::Known(2)) && !matches(&plain, 0b100, &Query::Known(1)));
    assert!(!matches(&plain, u64::MAX, &Query::Known(64)) && matches(&plain, 0, &body("")));
}

#[test]
fn long_texts_are_searched_to_their_end() {
    let line = "nothing to see on this line, which is repeated\r\n".repeat(20_000);
    for needle in ["the needle", "x"] {
        let message = format!("Subject: long\r\n\r\n{line}the needle x{line}");
        assert!(matches(message.as_bytes(), 0, &body(needle)), "{needle}");
    }
    assert!(!matches(format!("Subject: long\r\n\r\n{line}").as_bytes(), 0, &body("the needle")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// A phrase is found wherever it stands, also across the pieces in which texts are decoded.
    #[test]
    fn a_phrase_is_found_anywhere(before in 0usize..40_000, phrase in "[a-zäöß]{1,12}( [a-zéñ]{1,12}){0,3}") {
        let filler: String = "0123456789".chars().cycle().take(before).collect();
        let message = format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{filler}{phrase}{filler}");
        prop_assert!(matches(message.as_bytes(), 0, &body(&phrase)));
    }
}
