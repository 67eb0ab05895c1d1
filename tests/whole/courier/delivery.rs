//! To servers as they are in the world: Postfix, Exim, OpenSMTPD, and one without TLS.

use tests::alone::{self, FAR, OTHER, SIX};
use tests::clock::Clock;
use tests::far::Far;
use tests::names::Names;
use tests::place::{LETTER, digest};
use tests::{Authority, Place, Scratch};

use crate::verified;

#[test]
fn to_postfix_with_dane() {
    if !alone::inside("delivery::to_postfix_with_dane") {
        return;
    }
    let names = Names::serve(true);
    let place = Place::new(true, "");
    names.host("far.test", FAR);
    names.mx("null.test", 0, ".");
    names.tlsa("mx.far.test", &digest(&place.certificate));
    let far = Far::start("postfix", FAR, "far.test", &place.certificate);
    place.submit(1, &["ben@far.test", "cleo@far.test", "nobody@far.test", "x@null.test"], LETTER);
    place.eventually("delivered", || far.mail("ben").contains("Good day") && far.mail("cleo").contains("Good day"));
    let mail = far.mail("ben");
    for part in ["DKIM-Signature: ", "d=home.test", "Message-ID: <", "Date: ", "using TLSv1.3", "\n.dot"] {
        assert!(mail.contains(part), "{part}: {mail}");
    }
    assert!(!mail.contains("Bcc") && !mail.contains("127.0.0.1"), "{mail}");
    place.eventually("told of both", || place.is_all_gone());
    let inbox = place.inbox();
    assert!(inbox.contains("nobody@far.test") && inbox.contains("mx.far.test says: 550"), "{inbox}");
    assert!(inbox.contains("null.test says that it takes no mail"), "{inbox}");
    assert!(inbox.contains("Content-Type: message/delivery-status"), "{inbox}");
}

#[test]
fn one_letter_to_two_domains() {
    if !alone::inside("delivery::one_letter_to_two_domains") {
        return;
    }
    let names = Names::serve(false);
    let place = Place::new(false, "");
    names.host("far.test", FAR);
    names.host("other.test", OTHER);
    verified::publish(&place, &names);
    // Nobody vouches for either certificate, and the second is for another name.
    let stranger = place.scratch.path().join("stranger");
    std::fs::create_dir(&stranger).unwrap();
    let stranger = Authority::make(&stranger, "somebody.else");
    let exim = Far::start("exim", FAR, "far.test", &place.certificate);
    let opensmtpd = Far::start("opensmtpd", OTHER, "other.test", &stranger);
    // The last line, of a blank, counts for no signature.
    let letter = format!("{LETTER} \n");
    place.submit(1, &["ben@far.test", "cleo@other.test", "nobody@far.test", "nobody@other.test"], &letter);
    place.eventually("delivered by both", || {
        exim.mail("ben").contains("Good day") && opensmtpd.mail("cleo").contains("Good day")
    });
    for mail in [exim.mail("ben"), opensmtpd.mail("cleo")] {
        assert!(mail.contains("TLS1.3") || mail.contains("TLSv1.3"), "{mail}");
        assert!(mail.contains("\n.dot\n") && !mail.contains("Bcc"), "{mail}");
        verified::verify(&place, &mail, "you@home.test");
    }
    place.eventually("told of both", || place.is_all_gone());
    let inbox = place.inbox();
    for words in ["mx.far.test says: 550 no such person here", "mx.other.test says: 550"] {
        assert!(inbox.contains(words), "{words}: {inbox}");
    }
    assert_eq!(inbox.matches("Action: failed").count(), 2, "{inbox}");
    assert_eq!(inbox.matches("Content-Type: message/delivery-status").count(), 1, "one notice of both: {inbox}");
}

#[test]
fn to_a_host_that_has_no_old_address() {
    if !alone::inside("delivery::to_a_host_that_has_no_old_address") {
        return;
    }
    let names = Names::serve(true);
    let place = Place::new(true, "");
    names.mx("far.test", 10, "mx.far.test");
    names.aaaa("mx.far.test", SIX);
    names.tlsa("mx.far.test", &digest(&place.certificate));
    let far = Far::start("postfix", SIX, "far.test", &place.certificate);
    place.submit(1, &["ben@far.test"], LETTER);
    place.eventually("delivered", || far.mail("ben").contains("Good day"));
    assert!(far.mail("ben").contains("using TLSv1.3"), "{}", far.mail("ben"));
    place.eventually("nothing waits", || place.is_all_gone());
}

/// Failed attempts by a clock that is right: more than a letter needs to come back once its days are over.
const ATTEMPTS: usize = 25;
const HOURS: i64 = 3_600;
const DAYS: i64 = 24 * HOURS;

#[test]
fn without_tls_only_where_that_is_allowed() {
    if !alone::inside("delivery::without_tls_only_where_that_is_allowed") {
        return;
    }
    let names = Names::serve(false);
    let scratch = Scratch::new("clock");
    let clock = Clock::make(scratch.path());
    let mut place = Place::with(false, "clear-text = [\"sink.test\"]\n", Some(clock.binary()));
    for domain in ["sink.test", "dark.test"] {
        names.host(domain, OTHER);
    }
    let sink = Far::start("smtp-sink", OTHER, "sink.test", &place.certificate);
    place.submit(1, &["ben@sink.test", "ben@dark.test"], LETTER);
    place.eventually("delivered in clear", || sink.mail("everybody").contains("Good day"));
    place.eventually("deferred", || place.waits("ben@dark.test", "4.7.4", "TLS"));
    let deferred = |place: &Place| place.house.log().matches("status=4.7.4").count();
    place.retried_until("tried again and again", || deferred(&place) >= ATTEMPTS);
    assert!(place.waits("ben@dark.test", "4.7.4", "TLS"), "days count, not attempts: {:?}", place.queue());
    assert!(!place.inbox().contains("dark.test"), "nobody is told yet: {}", place.inbox());

    later(&mut place, &clock, 5 * HOURS);
    place.retried_until("told that it waits", || place.inbox().contains("Action: delayed"));
    later(&mut place, &clock, 4 * DAYS + 23 * HOURS);
    let before = deferred(&place);
    place.retried_until("tried on the fifth day", || deferred(&place) > before);
    assert!(!place.inbox().contains("Action: failed"), "{}", place.inbox());

    later(&mut place, &clock, 5 * DAYS + HOURS);
    place.eventually("given up", || place.is_all_gone());
    let inbox = place.inbox();
    assert_eq!(inbox.matches("Action: delayed").count(), 1, "told once: {inbox}");
    assert!(inbox.contains("Action: failed") && inbox.contains("ben@dark.test"), "{inbox}");
    for words in ["Given up after 5 days", "offers no encryption (STARTTLS), and mail never goes in clear"] {
        // Lines of a notice are folded.
        assert!(inbox.split_whitespace().collect::<Vec<_>>().join(" ").contains(words), "{words}: {inbox}");
    }
    assert!(!sink.mail("everybody").contains("dark.test"), "{}", sink.mail("everybody"));
}

/// The house starts again with its clock that far ahead.
fn later(place: &mut Place, clock: &Clock, ahead: i64) {
    clock.set(ahead);
    place.house.stop();
    place.house.start_again();
}

#[test]
fn a_server_that_is_down_gets_it_later() {
    if !alone::inside("delivery::a_server_that_is_down_gets_it_later") {
        return;
    }
    let names = Names::serve(false);
    let mut place = Place::new(false, "");
    names.host("far.test", FAR);
    place.submit(6, &["ben@far.test"], LETTER);
    let all_wait = |place: &Place| {
        let queue = place.queue().unwrap_or_default();
        queue.len() == 6 && queue.iter().all(|letter| letter["recipients"][0]["status"] == "4.4.1")
    };
    // One attempt for all of them: one a minute would be long about it.
    place.retry();
    place.eventually("all deferred", || all_wait(&place));
    place.house.kill();
    place.house.start_again();
    assert_eq!(place.queue().unwrap().len(), 6, "what waits is durable");
    let far = Far::start("postfix", FAR, "far.test", &place.certificate);
    place.retry();
    place.eventually("delivered", || far.mail("ben").contains("Good day"));
    place.eventually("nothing waits", || place.is_all_gone());
}
