//! The external scanner, end to end: Debian's real SpamAssassin behind `postern up`. Its own walls are attacked in
//! `filter-sandbox/tests/walls`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;

use tests::{House, Imap, Setup, Smtp};

const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

fn house(unprivileged: bool) -> House {
    let config = std::env::temp_dir().join(format!("postern-scanner-{}-{unprivileged}.toml", std::process::id()));
    fs::write(&config, "[scanner]\nprofile = \"spamassassin\"\n").unwrap();
    let arguments = ["--clear-text", "*", "--config", config.to_str().unwrap()].map(str::to_owned).to_vec();
    let house = House::start(Setup { arguments, unprivileged, ..Setup::default() });
    fs::remove_file(&config).unwrap();
    house
}

fn send(house: &House, subject: &str, text: &str) {
    let letter = format!(
        "From: Ann <ann@example.org>\nTo: you@home.test\nSubject: {subject}\nDate: Sat, 21 Nov 2026 09:30:00 +0000\nMessage-ID: <{subject}@example.org>\n\n{text}\n"
    );
    let mut client = Smtp::connect(house.address("smtp")).unwrap();
    let reply = client.send("ann@example.org", &["you@home.test"], &letter).unwrap();
    assert_eq!(reply.0, 250, "{reply:?}\n{}", house.log());
}

fn subjects(house: &House, folder: &str) -> String {
    let mut imap = Imap::login(house, &house.you().address, &house.you().password).unwrap();
    assert!(imap.ask(&format!("SELECT {folder}")).unwrap().ok());
    let answer = imap.ask("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])").unwrap();
    answer.untagged.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}

fn files_spam_in_junk(unprivileged: bool) {
    let house = house(unprivileged);
    send(&house, "ordinary", "Shall we bring the cake, or will you?\n\nAnn");
    send(&house, "gtube", GTUBE);
    let (inbox, junk) = (subjects(&house, "INBOX"), subjects(&house, "Junk"));
    assert!(inbox.contains("ordinary") && !inbox.contains("gtube"), "{inbox}");
    assert!(junk.contains("gtube") && !junk.contains("ordinary"), "{junk}");
    // Our own scorer knows that string, too: it must have been SpamAssassin that read both.
    let log = house.log_with("SCANNER=", 2);
    let scanned: Vec<f32> = log
        .split("SCANNER=")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| c != '-' && c != '.' && !c.is_ascii_digit()).next()?.parse().ok())
        .collect();
    assert!(matches!(scanned[..], [ordinary, gtube] if ordinary < 5.0 && gtube > 900.0), "{scanned:?}\n{log}");
}

#[test]
fn spamassassin_files_spam_in_junk() {
    files_spam_in_junk(false);
}

#[test]
fn spamassassin_files_spam_in_junk_for_an_ordinary_user() {
    files_spam_in_junk(true);
}
