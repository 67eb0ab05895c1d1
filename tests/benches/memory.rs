//! Idle memory of the whole box, proportional set size of all its processes: with no letters, with many,
//! and what a logged-in owner adds. The limits are the design's. `POSTERN_LETTERS=100000` for the real thing
//! (about ten minutes to fill).
//!
//! `cargo bench --profile release -p tests --bench memory`

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot go on must stop")]

use std::time::Duration;

use tests::measure::pss;
use tests::{House, Imap, Setup, Smtp, smtp};

fn settled(house: &House) -> f64 {
    std::thread::sleep(Duration::from_secs(3));
    pss(house.pid()) as f64 / 1024.0
}

fn main() {
    let letters: usize = std::env::var("POSTERN_LETTERS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let mut house = House::start(Setup { arguments: vec!["--clear-text".into(), "*".into()], ..Setup::default() });
    let _ = house.admin_json(&["quota", "you", "8G"], "");
    println!("idle, no letters:                    {:6.1} MB   goal <= 40", settled(&house));
    let other = house.add_mailbox("anna");
    let before = settled(&house);
    let mut imap = Imap::login(&house, &other.address, &other.password).unwrap();
    assert!(imap.ask("SELECT Archive").unwrap().ok());
    println!("one owner logged in, empty folder:  +{:6.1} MB   goal <= 5", settled(&house) - before);
    drop(imap);
    let text = smtp::letter("bench", 1_000);
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let mut client = Smtp::connect(house.address("smtp")).unwrap();
                let mut left = letters / 10;
                while left > 0 {
                    // A connection takes so many letters and no more: then another.
                    match client.send("aunt@example.org", &["you@home.test"], &text) {
                        Ok((250, _)) => left -= 1,
                        Ok((421, _)) | Err(_) => client = Smtp::connect(house.address("smtp")).unwrap(),
                        Ok(other) => panic!("{other:?}"),
                    }
                }
            });
        }
    });
    println!("idle, {letters} letters, running on:  {:6.1} MB", settled(&house));
    house.stop();
    house.start_again();
    println!("idle, {letters} letters, fresh start: {:6.1} MB   goal <= 64 with 100,000", settled(&house));
}
