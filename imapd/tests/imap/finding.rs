//! Searching through what no summary has whole, and what is no message at all.

use crate::house::House;
use crate::story::Story;

/// Name and story.
pub const ALL: &[(&str, Story)] = &[
    ("what_a_summary_leaves_out_is_found", what_a_summary_leaves_out_is_found),
    ("a_message_with_nul_is_refused", a_message_with_nul_is_refused),
];

fn what_a_summary_leaves_out_is_found(house: &House) {
    let mailbox = house.mailbox("finding", None);
    let mut client = house.session(&mailbox);
    let many: Vec<String> = (0..1_000).map(|n| format!("Number {n} <number{n}@far.test>")).collect();
    let letters = [
        format!("To: {}\r\nSubject: many\r\n\r\nwords\r\n", many.join(",\r\n ")),
        format!("To: ben@home.test\r\nSubject: {}the end\r\n\r\nwords\r\n", "long ".repeat(4_000)),
        "To: \r\nSubject: nobody\r\n\r\nwords\r\n".to_owned(),
        "Subject: no field\r\n\r\nother words\r\n".to_owned(),
    ];
    for letter in letters {
        let answer = client.append("INBOX", letter.as_bytes());
        assert!(answer.contains("APPENDUID"), "{answer}");
    }
    client.ask("SELECT INBOX");
    // The second time all comes from the cache.
    for _ in 0..2 {
        for (program, found) in [
            ("TO number999@far.test", "1"),
            ("TO \"number 7 <number7@\"", "1"),
            ("HEADER To number998", "1"),
            ("NOT TO number999@", "2 3 4"),
            ("SUBJECT \"the end\"", "2"),
            ("TO far.test BODY words", "1"),
            ("OR SUBJECT end BODY other", "2 4"),
            ("HEADER To \"\"", "1 2 3"),
            ("NOT HEADER To \"\"", "4"),
        ] {
            let told = client.ask(&format!("SEARCH {program}"));
            assert_eq!(told, [format!("* SEARCH {found}")], "{program}");
        }
    }
}

fn a_message_with_nul_is_refused(house: &House) {
    let mailbox = house.mailbox("nul", None);
    let mut client = house.session(&mailbox);
    for nul in [b"Subject: x\r\n\r\nwords\0\r\n".as_slice(), b"\0Subject: x\r\n\r\n"] {
        let answer = client.append("INBOX", nul);
        assert!(answer.starts_with("x NO [CANNOT]"), "{answer}");
    }
    let answer = client.append("INBOX", b"Subject: x\r\n\r\nwords\r\n");
    assert!(answer.contains("APPENDUID"), "and the session goes on: {answer}");
}
