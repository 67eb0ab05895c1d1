//! Parts of the box that die, and one that is told to end.

use std::time::Duration;

use crate::client::Client;
use crate::house::House;

const LETTER: &str = "Subject: x\r\n\r\ntext\r\n";

pub fn the_keeper_dies() {
    let mut house = House::new(&["*"]);
    let mut idle = Client::connect(house.smtp());
    idle.hello();
    let mut sending = Client::connect(house.smtp());
    sending.hello();
    sending.expect("MAIL FROM:<a@example.org>", 250);
    sending.expect("RCPT TO:<you@home.test>", 250);
    sending.expect("DATA", 354);
    house.kill_keeper();
    assert_eq!(idle.reply().0, 421, "sessions on the dead edge end");
    sending.raw(LETTER.as_bytes());
    assert_eq!(sending.say(".").0, 421, "and a letter that may not be on disk gets no 250");
}

pub fn the_zygote_dies() {
    let mut house = House::new(&["*"]);
    let mut client = Client::connect(house.smtp());
    client.hello();
    assert_eq!(client.send("a@example.org", &["you@home.test"], LETTER).0, 250);
    house.kill_zygote();
    std::thread::sleep(Duration::from_millis(50));
    house.replace_zygote();
    assert_eq!(client.send("a@example.org", &["you@home.test"], LETTER).0, 250, "the session goes on");
    house.restart_keeper(true);
    assert_eq!(client.reply().0, 421);
    let mut client = Client::connect(house.smtp());
    client.hello();
    assert_eq!(client.send("a@example.org", &["you@home.test"], LETTER).0, 250, "with the new keeper");
    assert_eq!(house.letters(0).len(), 3);
}

pub fn a_client_dies() {
    let house = House::new(&["*"]);
    for _ in 0..20 {
        let mut client = Client::connect(house.smtp());
        client.hello();
        client.expect("MAIL FROM:<a@example.org>", 250);
        client.expect("RCPT TO:<you@home.test>", 250);
        client.expect("DATA", 354);
        client.raw(b"Subject: half");
    }
    std::thread::sleep(Duration::from_millis(200));
    let mut client = Client::connect(house.smtp());
    client.hello();
    assert_eq!(client.send("a@example.org", &["you@home.test"], LETTER).0, 250);
    assert_eq!(house.letters(0).len(), 1, "no half letter");
}

pub fn drain() {
    let mut house = House::new(&["*"]);
    let mut idle = Client::connect(house.smtp());
    idle.hello();
    let mut sending = Client::connect(house.smtp());
    sending.hello();
    sending.expect("MAIL FROM:<a@example.org>", 250);
    sending.expect("RCPT TO:<you@home.test>", 250);
    house.drain();
    assert_eq!(idle.reply().0, 421);
    sending.expect("DATA", 354);
    sending.raw(LETTER.as_bytes());
    assert_eq!(sending.say(".").0, 250, "what was begun is finished");
    assert_eq!(sending.reply().0, 421);
    drop((idle, sending));
    assert!(house.wait_for_mx() < smtpd::limits::DRAIN / 2);
    assert_eq!(house.letters(0).len(), 1);
}
