//! Aliases that lead outside.

use tests::Place;
use tests::alone::{self, FAR, HOME, OTHER};
use tests::far::Far;
use tests::faulty::Faulty;
use tests::house::{admin, signal};
use tests::names::Names;
use tests::place::LETTER;

use crate::verified;

#[test]
fn an_alias_passes_mail_on() {
    if !alone::inside("alias::an_alias_passes_mail_on") {
        return;
    }
    let names = Names::serve(false);
    let place = Place::new(false, "");
    names.host("far.test", FAR);
    verified::publish(&place, &names);
    let far = Far::start("postfix", FAR, "far.test", &place.certificate);
    let output = admin(place.house.data(), false, &["alias", "add", "grandma", "ben@far.test"], "");
    assert!(output.status.success(), "{output:?}");
    let text = "From: aunt@example.org\nTo: grandma@home.test\nSubject: Cake\n\nThere is cake.\n \n";
    assert_eq!(place.stranger(&["aunt@example.org", "grandma@home.test", text]), "250\n250\n");
    place.eventually("passed on", || far.mail("ben").contains("There is cake."));
    let mail = far.mail("ben");
    let sender = mail.split("Return-Path: <").nth(1).and_then(|rest| rest.split('>').next()).unwrap();
    assert!(sender.starts_with("SRS0=") && sender.ends_with("=example.org=aunt@home.test"), "{mail}");
    assert!(mail.contains("Authentication-Results: mail.home.test"), "{mail}");
    verified::verify_seal(&place, &mail);
    // The way back is for bounces, and for nobody who made it up.
    assert_eq!(place.stranger(&["", sender]), "250\n");
    assert_eq!(place.stranger(&["spam@example.org", sender]), "550\n");
    assert_eq!(place.stranger(&["", &sender.replace("=aunt@", "=uncle@")]), "550\n");
    // Who writes our name into a stranger's letter does not get our signature under it.
    let forged = "From: you@home.test\nTo: grandma@home.test\nSubject: Money\n\nSend some.\n";
    assert_eq!(place.stranger(&["aunt@example.org", "grandma@home.test", forged]), "250\n250\n");
    place.eventually("passed on", || far.mail("ben").contains("Send some."));
    assert!(!far.mail("ben").contains("DKIM-Signature"), "{}", far.mail("ben"));
    // And where our address would vouch for it, it does not go at all.
    let worse = forged.replace("some", "all");
    for sender in ["", "you@home.test"] {
        assert_eq!(place.stranger(&[sender, "grandma@home.test", &worse]), "250\n250\n");
    }
    place.eventually("nothing waits", || place.is_all_gone());
    assert!(!far.mail("ben").contains("Send all."), "{}", far.mail("ben"));
    // One of ours writes to it, too.
    place.submit(1, &["grandma@home.test"], LETTER);
    place.eventually("sent", || far.mail("ben").contains("Good day."));
    place.eventually("nothing waits", || place.is_all_gone());
    let list = admin(place.house.data(), false, &["alias", "list"], "");
    assert!(String::from_utf8_lossy(&list.stdout).contains("ben@far.test"), "{list:?}");
    assert!(admin(place.house.data(), false, &["alias", "remove", "grandma"], "").status.success());
    assert_eq!(place.stranger(&["aunt@example.org", "grandma@home.test"]), "550\n");
}

#[test]
fn what_could_not_be_passed_on_the_postmaster_hears() {
    if !alone::inside("alias::what_could_not_be_passed_on_the_postmaster_hears") {
        return;
    }
    let names = Names::serve(false);
    let place = Place::new(false, "");
    names.host("fault.test", OTHER);
    let _far = Faulty::start("full", OTHER, &place.certificate, place.scratch.path());
    let output = admin(place.house.data(), false, &["alias", "add", "grandma", "ben@fault.test"], "");
    assert!(output.status.success(), "{output:?}");
    let text = "From: aunt@example.org\nTo: grandma@home.test\nSubject: Cake\n\nThere is cake.\n";
    assert_eq!(place.stranger(&["aunt@example.org", "grandma@home.test", text]), "250\n250\n");
    place.eventually("nothing waits", || place.is_all_gone());
    let inbox: Vec<String> = place.inbox().split_whitespace().map(String::from).collect();
    let inbox = inbox.join(" ");
    assert!(inbox.contains("A letter from aunt@example.org came for grandma@home.test, and an alias here"), "{inbox}");
    assert!(inbox.contains("could not be delivered to the addresses below"), "{inbox}");
    assert!(!inbox.contains("Your message"), "{inbox}");
    // How many there are is a stranger's affair; how many notices is ours.
    for _ in 0..3 {
        assert_eq!(place.stranger(&["aunt@example.org", "grandma@home.test", text]), "250\n250\n");
    }
    let untold = || {
        let queue = place.queue().unwrap_or_default();
        queue.iter().filter(|letter| letter["recipients"][0]["state"] == "failed").count()
    };
    place.eventually("the others wait to be told", || untold() == 3);
    place.house.logs("the postmaster hears of it with others");
    let told = || place.inbox().matches("Content-Type: message/delivery-status").count();
    assert_eq!(told(), 1, "{}", place.inbox());
    // The next courier knows of them, too, though not that one like them was told.
    signal(place.role("courier"), "KILL");
    place.eventually("one of them is told by itself", || told() == 2);
    place.eventually("the others wait to be told", || untold() == 2);
    let others = || place.inbox().matches("From aunt@example.org, for grandma@home.test, ").count();
    place.retried_until("they are told with each other", || others() == 2);
    place.eventually("nothing waits, though nobody asks again", || place.is_all_gone());
    assert_eq!((told(), others()), (2, 2), "{}", place.inbox());
}

/// A letter to `round@`, of which a mail server elsewhere brings back whatever it gets.
const ROUND: &str = "From: aunt@example.org\nTo: round@home.test\nSubject: Round\n\nAnd round.\n";

/// That server: `round@` and `twice@` lead back to us there.
fn sends_back(names: &Names, place: &Place) -> Far {
    names.host("far.test", FAR);
    names.mx("home.test", 10, "mail.home.test");
    names.a("mail.home.test", HOME);
    Far::start("postfix", FAR, "far.test", &place.certificate)
}

/// Far more than a loop may turn: each turn adds two Received fields, and fifty are too many.
const TURNS: usize = 40;

#[test]
fn a_loop_ends() {
    if !alone::inside("alias::a_loop_ends") {
        return;
    }
    let names = Names::serve(false);
    let place = Place::new(false, "");
    let far = sends_back(&names, &place);
    let output = admin(place.house.data(), false, &["alias", "add", "round", "round@far.test"], "");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(place.stranger(&["aunt@example.org", "round@home.test", ROUND]), "250\n250\n");
    place.eventually("it is seen", || far.log().contains("too many Received fields: a mail loop"));
    place.eventually("nothing waits", || place.is_all_gone());
    let turns = far.log().matches("status=sent").count();
    assert!((10..TURNS).contains(&turns), "{turns}: {}", far.log());
}

#[test]
fn what_comes_back_does_not_pile_up_here() {
    if !alone::inside("alias::what_comes_back_does_not_pile_up_here") {
        return;
    }
    let names = Names::serve(false);
    let place = Place::new(false, "");
    let _far = sends_back(&names, &place);
    for to in ["you", "round@far.test"] {
        let _ = place.house.admin_json(&["alias", "add", "round", to], "");
    }
    assert_eq!(place.stranger(&["aunt@example.org", "round@home.test", ROUND]), "250\n250\n");
    place.house.logs("a letter came back that an alias had passed on");
    place.eventually("nothing waits", || place.is_all_gone());
    let inbox = place.inbox();
    assert_eq!(inbox.matches("And round.").count(), 1, "{inbox}");
}

#[test]
fn nor_what_comes_back_for_several_at_once() {
    if !alone::inside("alias::nor_what_comes_back_for_several_at_once") {
        return;
    }
    let names = Names::serve(false);
    let place = Place::new(false, "");
    let _far = sends_back(&names, &place);
    // There, twice@ leads back to both.
    for (alias, to) in [("round", "you"), ("around", "you"), ("round", "twice@far.test"), ("around", "twice@far.test")]
    {
        let _ = place.house.admin_json(&["alias", "add", alias, to], "");
    }
    let both = "round@home.test,around@home.test";
    assert_eq!(place.stranger(&["aunt@example.org", both, ROUND]), "250\n250\n250\n");
    place.house.logs("a letter came back that an alias had passed on");
    place.eventually("nothing waits", || place.is_all_gone());
    let inbox = place.inbox();
    assert_eq!(inbox.matches("And round.").count(), 1, "{inbox}");
    // Who resends by hand what came through an alias is no house that sends it back.
    let first = inbox.find("Received: ").unwrap();
    let came = inbox[first..].split("And round.").next().unwrap().replace("\r\n", "\n");
    let resent = format!("Resent-From: ben@example.org\nResent-To: round@home.test\n{came}And again.\n");
    assert_eq!(place.stranger(&["ben@example.org", both, &resent]), "250\n250\n250\n");
    place.eventually("it is there, once", || place.inbox().matches("And again.").count() == 1);
}
