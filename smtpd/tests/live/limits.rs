//! What a stranger may not use up.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use wire::base64;

use crate::client::Client;
use crate::house::House;

pub fn connections_of_one_address() {
    let house = House::new(&["*"]);
    let mut held: Vec<Client> = (0..smtpd::limits::CONNECTIONS_PER_ADDRESS)
        .map(|_| {
            let mut client = Client::connect_from(house.smtp(), Ipv4Addr::new(127, 0, 0, 9));
            assert_eq!(client.reply().0, 220);
            client
        })
        .collect();
    let mut refused = Client::connect_from(house.smtp(), Ipv4Addr::new(127, 0, 0, 9));
    assert_eq!(refused.reply().0, 421);
    let mut neighbour = Client::connect_from(house.smtp(), Ipv4Addr::new(127, 0, 0, 8));
    assert_eq!(neighbour.reply().0, 220);
    let mut last = held.pop().unwrap();
    last.expect("QUIT", 221);
    drop(last);
    // It counts until its end has been noticed.
    let until = Instant::now() + Duration::from_secs(60);
    while Client::connect_from(house.smtp(), Ipv4Addr::new(127, 0, 0, 9)).reply().0 != 220 {
        assert!(Instant::now() < until, "its place is never given back");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn guessing_passwords() {
    let house = House::new(&[]);
    let attempt = |from: Ipv4Addr, secret: &str| {
        let mut client = Client::connect_from(house.submissions(), from);
        client.start_tls(&house.tls()).unwrap();
        client.hello();
        let began = Instant::now();
        let plain = base64::encode(format!("\0you@home.test\0{secret}").as_bytes());
        (client.say(&format!("AUTH PLAIN {plain}")).0, began.elapsed())
    };
    // Who waits, waits this long at least; who does not may be slow on a busy machine, but not each time.
    let least = Duration::from_secs(1);
    let guesser = |network: u8| Ipv4Addr::new(127, 0, network, 9);
    let quick = (0..5).position(|network| {
        let (code, took) = attempt(guesser(network), "wrong-one");
        assert_eq!(code, 535);
        took < least
    });
    let (code, took) = attempt(guesser(quick.unwrap() as u8), "wrong-two");
    assert!(code == 535 && took >= least, "{code} {took:?}");
    // Nobody else waits for that.
    let home = Ipv4Addr::new(127, 0, 0, 8);
    assert!((0..5).any(|_| {
        let (code, took) = attempt(home, house.people[0].password.as_str());
        assert_eq!(code, 235);
        took < least
    }));
}

pub fn starttls_injection() {
    let house = House::new(&[]);
    let mut client = Client::connect(house.smtp());
    client.hello();
    client.raw(b"STARTTLS\r\nEHLO evil.example\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<you@home.test>\r\n");
    assert_eq!(client.reply().0, 220);
    client.start_tls(&house.tls()).expect("what was injected is gone, so the handshake is clean");
    client.expect("NOOP", 250);
    assert_eq!(client.say("RCPT TO:<you@home.test>").0, 503);
}

/// SIZE is only a word: whoever says it and sends nothing takes no room from others.
pub fn announced_sizes_block_nobody() {
    let house = House::new(&["*"]);
    let size = crate::house::LARGEST;
    let idle: Vec<Client> = (0..smtpd::limits::CONNECTIONS_PER_ADDRESS - 1)
        .map(|n| {
            let mut client = Client::connect_from(house.smtp(), Ipv4Addr::new(127, 0, 0, 9));
            client.hello();
            let said = if n % 2 == 0 { format!(" SIZE={size}") } else { String::new() };
            client.expect(&format!("MAIL FROM:<a@example.org>{said}"), 250);
            client.expect("RCPT TO:<you@home.test>", 250);
            client.expect("DATA", 354);
            client
        })
        .collect();
    let mut client = Client::connect_from(house.smtp(), Ipv4Addr::new(127, 0, 0, 9));
    client.hello();
    assert_eq!(client.send("a@example.org", &["you@home.test"], "Subject: x\r\n\r\ntext\r\n").0, 250);
    drop(idle);
}
