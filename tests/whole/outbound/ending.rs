//! The operator ends the proxy, as every upgrade does: who waits for the word on a letter hears it, and nobody begins anew.

use std::io::Read;
use std::time::Duration;

use relay_link::outbound::Refusal;
use tests::faulty::Faulty;
use tests::outbound::{Session, Stranger};

use crate::place::{FAR, Place};

const HOST: &str = "mx.far.test";

pub fn who_waits_for_the_word_on_a_letter_hears_it() {
    let mut place = Place::new();
    place.names.host("far.test", FAR[0]);
    let far = Faulty::start_on(
        &tests::hosts::Host::public("far", &[FAR[0]]),
        "slow",
        FAR[0],
        &place.certificate,
        place.scratch.path(),
    );
    let mut home = Stranger::pair(&place.proxy.invite("alice", &[]));
    let letter = |home: &mut Stranger, text: &str| {
        let mut session = Session::open(home.connect(HOST).unwrap(), HOST, &place.certificate).unwrap();
        session.ask("MAIL FROM:<you@home.test>", "2").unwrap();
        session.ask("RCPT TO:<ben@far.test>", "2").unwrap();
        session.ask("DATA", "3").unwrap();
        session.say(&format!("Subject: {text}\r\n\r\n{text}\r\n.\r\n")).unwrap();
        session
    };
    let mut session = letter(&mut home, "once-and-no-more");
    let mut in_clear = home.connect(HOST).unwrap();
    place.proxy.ask_to_end();
    in_clear.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(home.connect(HOST).unwrap_err(), Refusal::Busy, "nothing begins");
    assert_eq!(place.proxy.ended(Duration::from_secs(15)), None, "the letter is waited for");
    far.go();
    session.reply("250").unwrap();
    session.ask("QUIT", "221").unwrap();
    let ended = place.proxy.ended(Duration::from_secs(10)).expect("nothing is left to wait for");
    assert!(ended.success(), "{ended}");
    assert_eq!(far.mail().matches("Subject: once-and-no-more").count(), 1);
    // Who asks twice means at once.
    far.wait_again();
    place.proxy.start_again();
    let _session = letter(&mut Stranger::pair(&place.proxy.invite("bob", &[])), "twice-asked");
    for patience in [2, 10] {
        place.proxy.ask_to_end();
        let ended = place.proxy.ended(Duration::from_secs(patience)).is_some();
        assert_eq!(ended, patience == 10);
    }
}
