//! Domains with several addresses: who has nothing now, or loses a letter, is not the only one.

use tests::Place;
use tests::alone::{self, FAR, OTHER};
use tests::far::Far;
use tests::faulty::Faulty;
use tests::names::Names;
use tests::place::LETTER;

#[test]
fn the_next_address_is_asked_in_the_same_attempt() {
    if !alone::inside("addresses::the_next_address_is_asked_in_the_same_attempt") {
        return;
    }
    let names = Names::serve(false);
    let place = Place::new(false, "");
    names.host("fault.test", OTHER);
    names.a("mx.fault.test", FAR);
    let puts_off = Faulty::start("never", OTHER, &place.certificate, place.scratch.path());
    let good = Far::start("exim", FAR, "fault.test", &place.certificate);
    place.submit(3, &["ben@fault.test"], LETTER);
    place.eventually("nothing waits", || place.is_all_gone());
    place.eventually("delivered", || good.mail("ben").matches("Subject: Hello").count() == 3);
    assert!(puts_off.log().contains("RCPT TO") && puts_off.mail().is_empty(), "{}", puts_off.log());
}

#[test]
fn a_lost_letter_goes_elsewhere_next_and_others_meanwhile() {
    if !alone::inside("addresses::a_lost_letter_goes_elsewhere_next_and_others_meanwhile") {
        return;
    }
    let names = Names::serve(false);
    let place = Place::new(false, "");
    names.host("fault.test", OTHER);
    names.mx("fault.test", 20, "second.fault.test");
    names.a("second.fault.test", FAR);
    let drops = Faulty::start("drop", OTHER, &place.certificate, place.scratch.path());
    let good = Far::start("exim", FAR, "fault.test", &place.certificate);
    place.submit(1, &["ben@fault.test"], LETTER);
    place.eventually("nobody knows whether it was taken", || place.waits("ben@fault.test", "4.4.2", ""));
    assert_eq!(good.mail("ben"), "", "so nobody else is asked");
    place.submit(1, &["ben@fault.test"], &LETTER.replace("NUMBER", "meanwhile"));
    place.eventually("others go on", || drops.mail().contains("Hello meanwhile"));
    place.retried_until("nothing waits", || place.is_all_gone());
    place.eventually("elsewhere", || good.mail("ben").contains("Subject: Hello 0"));
    assert_eq!(drops.mail().matches("Subject: Hello 0").count(), 1, "{}", drops.mail());
}

#[test]
fn a_yes_is_a_yes_however_it_is_written() {
    if !alone::inside("addresses::a_yes_is_a_yes_however_it_is_written") {
        return;
    }
    let names = Names::serve(false);
    let place = Place::new(false, "");
    names.host("fault.test", OTHER);
    let odd = Faulty::start("odd", OTHER, &place.certificate, place.scratch.path());
    place.submit(5, &["ben@fault.test"], LETTER);
    place.eventually("nothing waits", || place.is_all_gone());
    assert_eq!(odd.mail().matches("Subject: Hello").count(), 5, "{}", odd.mail());
    assert!(!place.inbox().contains("Action:"), "{}", place.inbox());
}

#[test]
fn why_a_letter_waits_behind_another_is_told() {
    if !alone::inside("addresses::why_a_letter_waits_behind_another_is_told") {
        return;
    }
    let names = Names::serve(false);
    let place = Place::new(false, "");
    names.host("fault.test", OTHER);
    place.submit(1, &["ben@fault.test"], LETTER);
    place.eventually("nobody is there", || place.waits("ben@fault.test", "4.4.1", OTHER));
    place.submit(1, &["cleo@fault.test"], LETTER);
    let rests = || {
        let queue = place.queue()?;
        let mut all = queue.iter().map(|letter| letter["recipients"][0].clone());
        let cleo = all.find(|one| one["to"] == "cleo@fault.test")?;
        let until = cleo["rests_until"].as_i64()?;
        Some((until, cleo["rests_because"].as_str()?.to_owned()))
    };
    place.eventually("it says why", || rests().is_some_and(|(_, why)| why.contains(OTHER)));
    let (until, _) = rests().unwrap();
    assert!((1..=120).contains(&(until - wire::date::now())), "{until}");
}
