//! Far servers that put off, refuse late, hang, or break off.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use tests::Place;
use tests::alone::{self, FAR, OTHER};
use tests::far::Far;
use tests::faulty::Faulty;
use tests::house::signal;
use tests::names::Names;
use tests::place::LETTER;

const GOOD: &str = "Subject: Hello 0";

/// A house, and a server with that fault for `fault.test`.
fn beside(fault: &str) -> (Place, Names, Faulty) {
    let names = Names::serve(false);
    let place = Place::new(false, "");
    names.host("fault.test", OTHER);
    let faulty = Faulty::start(fault, OTHER, &place.certificate, place.scratch.path());
    (place, names, faulty)
}

#[test]
fn greylisting_is_waited_out() {
    if !alone::inside("faults::greylisting_is_waited_out") {
        return;
    }
    let (place, _names, far) = beside("greylisting");
    place.submit(1, &["ben@fault.test"], LETTER);
    place.eventually("put off", || place.waits("ben@fault.test", "4.7.1", "greylisted, come back"));
    assert_eq!(far.mail(), "");
    place.retried_until("taken", || place.is_all_gone());
    assert_eq!(far.mail().matches(GOOD).count(), 1, "{}", far.mail());
    assert!(!place.inbox().contains("Action:"), "{}", place.inbox());
}

#[test]
fn what_is_refused_at_its_end_comes_back() {
    if !alone::inside("faults::what_is_refused_at_its_end_comes_back") {
        return;
    }
    let (place, _names, far) = beside("full");
    place.submit(1, &["ben@fault.test"], LETTER);
    place.eventually("nothing waits", || place.is_all_gone());
    let inbox = place.inbox();
    for words in ["mx.fault.test says: 552", "no room for it", "Status: 5.2.2", "Action: failed"] {
        assert!(inbox.contains(words), "{words}: {inbox}");
    }
    assert_eq!(far.mail().matches(GOOD).count(), 1, "it is not tried again: {}", far.mail());
}

#[test]
fn a_server_that_hangs_keeps_nobody_else_waiting() {
    if !alone::inside("faults::a_server_that_hangs_keeps_nobody_else_waiting") {
        return;
    }
    let (place, names, far) = beside("hang");
    names.host("far.test", FAR);
    let good = Far::start("opensmtpd", FAR, "far.test", &place.certificate);
    place.submit(1, &["ben@fault.test"], LETTER);
    place.eventually("it has all of it", || far.mail().contains(GOOD));
    place.submit(1, &["ben@far.test"], &LETTER.replace("NUMBER", "meanwhile"));
    place.eventually("others are served", || good.mail("ben").contains("Hello meanwhile"));
    assert_eq!(far.log().matches("EHLO").count(), 2, "once in clear, once in TLS: nobody tried again meanwhile");
    drop(far);
    place.eventually("deferred", || place.waits("ben@fault.test", "4.4.2", ""));
    drop(good);
    // A good one in its place.
    let good = Far::start("exim", OTHER, "fault.test", &place.certificate);
    place.retried_until("nothing waits", || place.is_all_gone());
    place.eventually("delivered", || good.mail("ben").contains(GOOD));
    assert_eq!(good.mail("ben").matches(GOOD).count(), 1, "{}", good.mail("ben"));
    assert!(!place.inbox().contains("Action:"), "{}", place.inbox());
}

#[test]
fn a_server_that_drops_after_the_end_gets_it_again() {
    if !alone::inside("faults::a_server_that_drops_after_the_end_gets_it_again") {
        return;
    }
    let (place, _names, far) = beside("drop");
    place.submit(1, &["ben@fault.test"], LETTER);
    place.eventually("deferred", || place.waits("ben@fault.test", "4.4.2", ""));
    assert_eq!(far.mail().matches(GOOD).count(), 1, "{}", far.mail());
    place.retried_until("nothing waits", || place.is_all_gone());
    assert_eq!(far.mail().matches(GOOD).count(), 2, "{}", far.mail());
    assert!(!place.inbox().contains("Action:"), "{}", place.inbox());
}

#[test]
fn a_stop_waits_for_an_answer() {
    if !alone::inside("faults::a_stop_waits_for_an_answer") {
        return;
    }
    let (mut place, _names, far) = beside("slow");
    place.submit(1, &["ben@fault.test"], LETTER);
    place.eventually("it has all of it", || far.mail().contains(GOOD));
    signal(place.house.pid(), "TERM");
    let port = place.house.address("submission");
    place.eventually("the stop has begun", || TcpStream::connect(port).is_err());
    // As long as many servers look at a letter; sessions of one's own have less.
    std::thread::sleep(Duration::from_secs(12));
    far.go();
    place.house.wait();
    place.house.start_again();
    assert!(place.is_all_gone(), "{:?}", place.queue());
    assert_eq!(far.mail().matches(GOOD).count(), 1, "{}", far.mail());
}

#[test]
fn a_stop_begins_no_text() {
    if !alone::inside("faults::a_stop_begins_no_text") {
        return;
    }
    let (mut place, _names, far) = beside("pause");
    place.submit(1, &["ben@fault.test"], LETTER);
    place.eventually("it is begun", || far.log().contains("MAIL FROM"));
    signal(place.house.pid(), "TERM");
    let port = place.house.address("submission");
    place.eventually("the stop has begun", || TcpStream::connect(port).is_err());
    std::thread::sleep(Duration::from_secs(1));
    far.go();
    place.house.wait();
    assert_eq!(far.mail(), "", "its answer could come too late");
    place.house.start_again();
    place.retried_until("delivered", || place.is_all_gone());
    assert_eq!(far.mail().matches(GOOD).count(), 1, "{}", far.mail());
}

/// Beyond all that `up` grants to its roles together.
const STOPPED: Duration = Duration::from_secs(60);

#[test]
fn a_stop_does_not_wait_for_ever() {
    if !alone::inside("faults::a_stop_does_not_wait_for_ever") {
        return;
    }
    let (mut place, _names, far) = beside("slow");
    place.submit(1, &["ben@fault.test"], LETTER);
    place.eventually("it has all of it", || far.mail().contains(GOOD));
    let began = Instant::now();
    place.house.stop();
    assert!(began.elapsed() < STOPPED, "{:?}", began.elapsed());
    far.go();
    place.house.start_again();
    place.retried_until("nothing waits", || place.is_all_gone());
    // Nobody knows what became of the first.
    assert_eq!(far.mail().matches(GOOD).count(), 2, "{}", far.mail());
}

/// Whether a recipient of the only letter is on its way.
fn is_under_way(place: &Place) -> bool {
    place.queue().is_some_and(|queue| queue[0]["recipients"][0]["under_way"] == true)
}

#[test]
fn what_is_kept_back_before_its_text_goes_out_does_not_go() {
    if !alone::inside("faults::what_is_kept_back_before_its_text_goes_out_does_not_go") {
        return;
    }
    let (place, _names, far) = beside("pause");
    place.submit(1, &["ben@fault.test"], LETTER);
    place.eventually("it is begun", || far.log().contains("MAIL FROM"));
    assert!(is_under_way(&place));
    let letter = place.queue().unwrap()[0]["letter"].as_str().unwrap().to_owned();
    let kept = place.house.admin_json(&["queue", "hold", &letter], "");
    assert_eq!(kept["under_way"].as_array().map(Vec::len), Some(0), "{kept}");
    assert!(!is_under_way(&place), "what it is not is not said");
    far.go();
    place.eventually("it was called back", || far.log().contains("cut off"));
    assert_eq!(far.mail(), "");
    assert_eq!(place.house.admin_json(&["queue", "release", &letter], "")["release"], letter.as_str());
    place.retried_until("delivered", || place.is_all_gone());
    assert_eq!(far.mail().matches(GOOD).count(), 1, "{}", far.mail());
    assert_eq!(far.log().matches("MAIL FROM").count(), 2, "it was called back once: {}", far.log());
}

#[test]
fn what_cannot_be_called_back_is_named() {
    if !alone::inside("faults::what_cannot_be_called_back_is_named") {
        return;
    }
    let (place, _names, far) = beside("slow");
    place.submit(1, &["ben@fault.test"], LETTER);
    place.eventually("it has all of it", || far.mail().contains(GOOD));
    let letter = place.queue().unwrap()[0]["letter"].as_str().unwrap().to_owned();
    let dropped = place.house.admin_json(&["queue", "drop", &letter], "");
    assert_eq!(dropped["under_way"][0], "fault.test", "{dropped}");
    assert!(place.is_all_gone());
    far.go();
}

#[test]
fn a_server_that_takes_no_mail_at_all_is_believed_at_once() {
    if !alone::inside("faults::a_server_that_takes_no_mail_at_all_is_believed_at_once") {
        return;
    }
    let (place, _names, _far) = beside("closed");
    place.submit(1, &["ben@fault.test"], LETTER);
    place.eventually("nothing waits", || place.is_all_gone());
    let inbox = place.inbox();
    for words in [
        "mx.fault.test says: 554 No service for you.",
        "Status: 5.7.1",
        "Diagnostic-Code: smtp; 554 5.7.1 No service for you. Ask",
    ] {
        assert!(inbox.contains(words), "{words}: {inbox}");
    }
}
