//! `kill -9` of every role in turn, at random moments under load. Every letter that got a 250 is there,
//! no transaction twice, every flag whose STORE got OK is there, `spool check` is clean.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tests::house::signal;
use tests::{House, Imap, Mailbox, Setup, Smtp, smtp};

/// Rounds here; `tests/long/crash` asks for more.
fn rounds() -> usize {
    std::env::var("POSTERN_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// What the load knows to be promised.
#[derive(Debug, Default)]
struct Promised {
    /// Tokens that got a 250.
    accepted: Vec<String>,
    /// Tokens sent again after no reply: a second copy is the sender's doing.
    unanswered: Vec<String>,
    /// UIDs whose STORE +FLAGS (\Flagged) got OK.
    flagged: Vec<u32>,
}

struct Load {
    stop: Arc<AtomicBool>,
    promised: Arc<Mutex<Promised>>,
    threads: Vec<thread::JoinHandle<()>>,
}

static TOKEN: AtomicU32 = AtomicU32::new(0);

fn sender(to: std::net::SocketAddr, rcpt: &str, stop: &AtomicBool, promised: &Mutex<Promised>) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut client) = Smtp::connect(to) else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        while !stop.load(Ordering::Relaxed) {
            let token = format!("token{:06}", TOKEN.fetch_add(1, Ordering::Relaxed));
            let size = 2_000 + (TOKEN.load(Ordering::Relaxed) as usize * 37) % 20_000;
            match client.send("aunt@example.org", &[rcpt], &smtp::letter(&token, size)) {
                Ok((250, _)) => promised.lock().unwrap().accepted.push(token),
                Ok((421, _)) => break,
                Ok(_) => {}
                Err(_) => {
                    promised.lock().unwrap().unanswered.push(token);
                    break;
                }
            }
        }
    }
}

fn flagger(house: &House, you: &Mailbox, stop: &AtomicBool, promised: &Mutex<Promised>) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut imap) = Imap::login(house, &you.address, &you.password) else {
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        let Ok(answer) = imap.ask("SELECT INBOX") else { continue };
        if !answer.ok() {
            continue;
        }
        let mut number = 1;
        while !stop.load(Ordering::Relaxed) {
            let exists = imap.ask("UID SEARCH UNFLAGGED");
            let Ok(answer) = exists else { break };
            let uids: Vec<u32> = answer.text().split_whitespace().filter_map(|word| word.parse().ok()).collect();
            let Some(uid) = uids.get(number % uids.len().max(1)) else {
                thread::sleep(Duration::from_millis(20));
                continue;
            };
            match imap.ask(&format!("UID STORE {uid} +FLAGS.SILENT (\\Flagged)")) {
                Ok(answer) if answer.ok() => promised.lock().unwrap().flagged.push(*uid),
                Ok(_) => {}
                Err(_) => break,
            }
            number += 7;
        }
    }
}

fn load(house: &Arc<House>, you: &Mailbox) -> Load {
    let (stop, promised) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Promised::default())));
    let mut threads = Vec::new();
    for _ in 0..4 {
        let (to, rcpt) = (house.address("smtp"), you.address.clone());
        let (stop, promised) = (stop.clone(), promised.clone());
        threads.push(thread::spawn(move || sender(to, &rcpt, &stop, &promised)));
    }
    let (house, you, stopped, kept) = (house.clone(), you.clone(), stop.clone(), promised.clone());
    threads.push(thread::spawn(move || flagger(&house, &you, &stopped, &kept)));
    Load { stop, promised, threads }
}

/// A moment that is not the same in each round: 30 to 430 ms.
fn random_moment() -> Duration {
    let random = std::collections::hash_map::RandomState::new();
    Duration::from_millis(30 + std::hash::BuildHasher::hash_one(&random, 0) % 400)
}

fn wait_serving(house: &House, you: &Mailbox) -> Imap {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let delivered = Smtp::connect(house.address("smtp")).is_ok();
        // A login that is handed to an owner just killed ends without an answer: serving is more than that.
        let opened =
            Imap::login(house, &you.address, &you.password).and_then(|mut imap| imap.ask("NOOP").map(|_| imap));
        match opened {
            Ok(imap) if delivered => return imap,
            other => assert!(Instant::now() < until, "does not serve again after two minutes: {other:?}"),
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Compares what is there with what was promised.
fn verify(house: &House, you: &Mailbox, promised: &Promised) {
    let mut imap = wait_serving(house, you);
    assert!(imap.ask("SELECT INBOX").unwrap().ok());
    let mut copies: HashMap<String, u32> = HashMap::new();
    for line in imap.ask("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])").unwrap().untagged {
        let text = String::from_utf8_lossy(&line).into_owned();
        if let Some(at) = text.find("token") {
            *copies.entry(text[at..at + 11].to_owned()).or_default() += 1;
        }
    }
    for token in &promised.accepted {
        let found = copies.get(token).copied().unwrap_or(0);
        assert!(found >= 1, "{token} got a 250 and is lost");
        assert!(found == 1, "{token} was sent once and is there {found} times");
    }
    for token in &promised.unanswered {
        let found = copies.get(token).copied().unwrap_or(0);
        assert!(found <= 1, "{token} was sent once and is there {found} times");
    }
    let answer = imap.ask("UID SEARCH FLAGGED").unwrap();
    let flagged: Vec<u32> = answer.text().split_whitespace().filter_map(|word| word.parse().ok()).collect();
    for uid in &promised.flagged {
        assert!(flagged.contains(uid), "the flag of {uid} got an OK and is lost");
    }
}

fn clean(house: &House) {
    let check = house.admin_json(&["spool", "check"], "");
    assert_eq!(check["findings"].as_array().map(Vec::len), Some(0), "{check}");
}

#[test]
fn kill_9_of_every_role_loses_nothing_promised() {
    let setup = Setup { arguments: vec!["--clear-text".into(), "*".into()], ..Setup::default() };
    let house = Arc::new(House::start(setup));
    let you = house.you().clone();
    let load = load(&house, &you);
    thread::sleep(Duration::from_millis(500));
    for round in 0..rounds() {
        let roles = house.roles();
        assert!(!roles.is_empty(), "no roles below up");
        let (name, pid) = roles[round % roles.len()].clone();
        thread::sleep(random_moment());
        eprintln!("round {round}: kill -9 {name}");
        signal(pid, "KILL");
        thread::sleep(Duration::from_millis(100));
        drop(wait_serving(&house, &you));
    }
    load.stop.store(true, Ordering::Relaxed);
    for thread in load.threads {
        thread.join().unwrap();
    }
    let promised = std::mem::take(&mut *load.promised.lock().unwrap());
    eprintln!("{} letters and {} flags promised", promised.accepted.len(), promised.flagged.len());
    assert!(promised.accepted.len() > 50, "the load hardly ran");
    assert!(promised.flagged.len() > 5, "the flags hardly ran");
    verify(&house, &you, &promised);
    clean(&house);
    let mut house = Arc::into_inner(house).unwrap();
    house.kill();
    house.start_again();
    verify(&house, &you, &promised);
    clean(&house);
}
