//! The house on a board as families own it: 32-bit ARM, 256 MB of memory, no Landlock. It is switched on, serves, loses its
//! power in the middle of deliveries, is switched on again, and has every letter that it has promised to keep. And it serves on
//! the other kernels that such boards have.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tests::board::{Board, Card, Kernel, PATIENCE};
use tests::house::{HOST, Mailbox};
use tests::talk::Talk;
use tests::{Imap, Smtp, smtp};

/// What the house may take of the board's memory when nothing happens, in KiB.
const IDLE: u64 = 40 * 1024;
/// A photo album.
const LARGE: usize = 25_000_000;
/// Letters that are promised before the power goes.
const PROMISED: usize = 12;
/// A letter that no record names: a start sets it aside, and gives it that day's time.
const STRAY: &str = "set -- /house/spool/letters/*/*/*; cp -p $1 ${1%????????}deadbeef";

#[test]
fn a_board_loses_its_power_and_no_letter() {
    let card = Card::make(HOST);
    let mut board = Board::switch_on(&card, Kernel::WithoutLandlock);
    let started = board.start_house();
    let you = Mailbox::read(&started["first"]);
    its_walls_hold(&mut board, Kernel::WithoutLandlock);
    four_mailboxes_fit(&mut board, &card, &you);
    a_letter_comes_by_chacha(&board, &card, &you);
    a_large_letter_passes(&board, &card, &you);
    let promised = cut_while_letters_come(board, &you);

    let mut board = Board::switch_on(&card, Kernel::WithoutLandlock);
    board.ask(STRAY);
    live_in_2039(&mut board, Kernel::WithoutLandlock);
    everything_is_there(&board, &card, &you, &promised);
    a_letter_comes_in_2039(&board, &card, &you);
    let aside = board.ask("ls -l /house/spool/set-aside/*/*deadbeef");
    assert!(aside.contains(" 2039 ") || aside.contains("Feb  1 09:"), "it is kept for 30 days from when? {aside}");
    let check = board.ask_json("postern spool check --json --data /house");
    assert_eq!(check["findings"].as_array().map(Vec::len), Some(0), "{check}");
}

/// What a 64-bit kernel does otherwise for 32-bit programs, and what one of before Linux 6.4 does not do at all.
#[test]
fn a_board_with_an_older_kernel_of_64_bits_serves() {
    serves_on(Kernel::SixtyFour);
}

#[test]
#[ignore = "one more boot: tests/long/board"]
fn a_board_with_a_newer_kernel_of_64_bits_serves() {
    serves_on(Kernel::SixtyFourNewer);
}

#[test]
fn a_board_with_an_older_kernel_serves() {
    serves_on(Kernel::Older);
}

fn serves_on(kernel: Kernel) {
    let card = Card::make(HOST);
    let mut board = Board::switch_on(&card, kernel);
    let you = Mailbox::read(&board.start_house()["first"]);
    its_walls_hold(&mut board, kernel);
    a_letter_comes_by_chacha(&board, &card, &you);
    board.ask("kill $(cat /house/lock); while pidof postern > /dev/null; do sleep 0.2; done");
    let log = board.ask("cat /run/log");
    assert!(!log.contains("signal"), "a role died: {log}");
    let check = board.ask_json("postern spool check --json --data /house");
    assert_eq!(check["findings"].as_array().map(Vec::len), Some(0), "{check}");
}

/// The kernel compares files with Landlock's rules, which are made by looking at files.
#[test]
#[ignore = "one more boot: tests/long/board"]
fn a_board_with_landlock_is_there_in_2039() {
    let card = Card::make(HOST);
    let mut board = Board::switch_on(&card, Kernel::Whole);
    let you = Mailbox::read(&board.start_house()["first"]);
    its_walls_hold(&mut board, Kernel::Whole);
    board.cut();
    let mut board = Board::switch_on(&card, Kernel::Whole);
    live_in_2039(&mut board, Kernel::Whole);
    a_letter_comes_in_2039(&board, &card, &you);
}

/// Counted as 32 bits can count them, there are no seconds left then.
fn live_in_2039(board: &mut Board, kernel: Kernel) {
    board.ask("date -u -s '2039-02-01 09:00:00'");
    let _ = board.start_house();
    its_walls_hold(board, kernel);
}

fn its_walls_hold(board: &mut Board, kernel: Kernel) {
    let log = board.ask("cat /run/log");
    assert!(log.contains("attacks on a worker's walls tried, all in vain"), "{log}");
    let without = log.contains("this kernel has no Landlock");
    assert_eq!(without, kernel.lacks_landlock(), "{log}");
    for line in log.lines().filter(|line| line.contains("walls") || line.contains("WARNING")) {
        eprintln!("{line}");
    }
}

fn four_mailboxes_fit(board: &mut Board, card: &Card, you: &Mailbox) {
    let mut all = vec![you.clone()];
    for name in ["anna", "ben", "cleo"] {
        let made = board.ask_json(&format!("postern mailbox add {name} --json --data /house"));
        all.push(Mailbox::read(&made));
    }
    let alone = board.memory();
    let phones: Vec<Imap> = all.iter().map(|mailbox| waiting(board, card, mailbox)).collect();
    let waited_for = board.memory();
    eprintln!(
        "memory of the idle house with four mailboxes: {alone} KiB; with a phone waiting at each: {waited_for} KiB"
    );
    assert!(alone > 4 * 1024, "nothing was measured: {alone} KiB");
    assert!(alone < IDLE, "the idle house takes {alone} KiB");
    drop(phones);
}

fn login(board: &Board, card: &Card, who: &Mailbox) -> Imap {
    let mut imap = Imap::connect_to(board.address("imaps"), card.authority()).unwrap();
    let answer = imap.ask(&format!("LOGIN {} {}", who.address, who.password)).unwrap();
    assert!(answer.ok(), "{answer:?}");
    assert!(imap.ask("SELECT INBOX").unwrap().ok());
    imap
}

fn waiting(board: &Board, card: &Card, who: &Mailbox) -> Imap {
    let mut imap = login(board, card, who);
    imap.say("IDLE").unwrap();
    assert!(imap.line().unwrap().starts_with(b"+"));
    imap
}

/// A stranger's letter over STARTTLS; what came of it.
fn deliver(board: &Board, card: &Card, to: &str, letter: &str) -> String {
    let mut talk = Talk::to(board.address("smtp"), card.authority()).unwrap();
    talk.be_patient(PATIENCE).unwrap();
    reply(&mut talk);
    say(&mut talk, "EHLO client.example.org");
    say(&mut talk, "STARTTLS");
    talk.handshake().unwrap();
    say(&mut talk, "EHLO client.example.org");
    say(&mut talk, "MAIL FROM:<aunt@example.org>");
    say(&mut talk, &format!("RCPT TO:<{to}>"));
    say(&mut talk, "DATA");
    talk.send(letter.replace('\n', "\r\n").as_bytes()).unwrap();
    say(&mut talk, ".")
}

fn say(talk: &mut Talk, line: &str) -> String {
    talk.send(format!("{line}\r\n").as_bytes()).unwrap();
    reply(talk)
}

fn reply(talk: &mut Talk) -> String {
    loop {
        let line = talk.line().unwrap();
        if line.as_bytes().get(3) != Some(&b'-') {
            return line;
        }
    }
}

/// The client, on a processor with AES, would rather have had that.
fn a_letter_comes_by_chacha(board: &Board, card: &Card, you: &Mailbox) {
    let said = deliver(board, card, &you.address, &smtp::letter("the-first", 2_000));
    assert!(said.starts_with("250 "), "{said}");
    let mut imap = login(board, card, you);
    let there = imap.ask("FETCH 1 (BODY.PEEK[])").unwrap().text();
    assert!(there.contains("Subject: the-first"), "{there}");
    assert!(there.contains("TLS13_CHACHA20_POLY1305_SHA256"), "{there}");
}

fn a_large_letter_passes(board: &Board, card: &Card, you: &Mailbox) {
    let letter = smtp::letter("large", LARGE);
    let began = Instant::now();
    let said = deliver(board, card, &you.address, &letter);
    assert!(said.starts_with("250 "), "{said}");
    let came = began.elapsed();
    let mut imap = login(board, card, you);
    let there = imap.ask("FETCH 2 (BODY.PEEK[])").unwrap();
    let whole = there.untagged.iter().find(|line| line.len() > LARGE).expect("the large letter");
    let sent = letter.replace('\n', "\r\n");
    assert!(whole.windows(sent.len()).any(|part| part == sent.as_bytes()), "it is not the letter that was sent");
    eprintln!("25 MB came in {came:?} and were read in {:?}", began.elapsed() - came);
}

/// Letters are sent until the power goes, which is while some are on their way; those that got a 250.
fn cut_while_letters_come(board: Board, you: &Mailbox) -> Vec<String> {
    let (to, promised) = (board.address("smtp"), Arc::new(Mutex::new(Vec::new())));
    let senders: Vec<_> = (0..2)
        .map(|sender| {
            let (promised, to_whom) = (promised.clone(), you.address.clone());
            thread::spawn(move || {
                let Ok(mut client) = Smtp::connect(to) else { return };
                for number in 0.. {
                    let token = format!("promised-{sender}-{number}.");
                    match client.send("aunt@example.org", &[&to_whom], &smtp::letter(&token, 12_000)) {
                        Ok((250, _)) => promised.lock().unwrap().push(token),
                        _ => return,
                    }
                }
            })
        })
        .collect();
    let until = Instant::now() + PATIENCE;
    while promised.lock().unwrap().len() < PROMISED {
        assert!(Instant::now() < until && !senders.iter().all(|sender| sender.is_finished()), "no letters come");
        thread::sleep(Duration::from_millis(5));
    }
    board.cut();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    std::mem::take(&mut *promised.lock().unwrap())
}

fn everything_is_there(board: &Board, card: &Card, you: &Mailbox, promised: &[String]) {
    let mut imap = login(board, card, you);
    let subjects = imap.ask("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)] RFC822.SIZE)").unwrap().text();
    eprintln!("{} letters were promised before the cut", promised.len());
    for token in promised.iter().map(String::as_str).chain(["the-first", "large"]) {
        assert!(subjects.contains(&format!("Subject: {token}\r\n")), "{token} got a 250 and is lost: {subjects}");
    }
    let bodies = imap.ask("FETCH 3:* (BODY.PEEK[TEXT])").unwrap().text();
    for token in promised {
        assert!(bodies.contains(token.as_str()), "{token} cannot be read");
    }
}

fn a_letter_comes_in_2039(board: &Board, card: &Card, you: &Mailbox) {
    let said = deliver(board, card, &you.address, &smtp::letter("the-latest", 2_000));
    assert!(said.starts_with("250 "), "{said}");
    let mut imap = login(board, card, you);
    let there = imap.ask("FETCH * (INTERNALDATE BODY.PEEK[HEADER.FIELDS (SUBJECT RECEIVED)])").unwrap().text();
    assert!(there.contains("Subject: the-latest\r\n"), "{there}");
    assert!(there.contains("INTERNALDATE \" 1-Feb-2039 09:"), "{there}");
    assert!(there.contains(" 1 Feb 2039 09:"), "no Received of that day: {there}");
}
