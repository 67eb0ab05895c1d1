//! A domain moves into the house: aliases that named its addresses, and letters that wait for them, find them here.

use tests::alone::{self, FAR, OTHER};
use tests::far::Far;
use tests::house::Mailbox;
use tests::house::signal;
use tests::names::Names;
use tests::place::LETTER;
use tests::programs::python_ok;
use tests::{Imap, Place};

/// Longer than a notice may be, with words at its end.
const LARGE: &str = r#"
import smtplib, ssl, sys
port, ca, user, password, to = sys.argv[1:]
smtp = smtplib.SMTP('localhost', int(port), timeout=60)
smtp.starttls(context=ssl.create_default_context(cafile=ca))
smtp.login(user, password)
text = f'From: {user}\r\nTo: {to}\r\nSubject: Photos\r\n\r\n' + ('photo ' * 11 + '\r\n') * 50_000 + 'the last photo\r\n'
smtp.sendmail(user, to, text, rcpt_options=['NOTIFY=SUCCESS'])
smtp.quit()
"#;

fn submit_large(place: &Place, to: &str) {
    let (port, ca) = (place.house.port("submission").to_string(), place.house.authority().authority());
    let you = place.house.you();
    python_ok(LARGE, &[&port, ca.to_str().unwrap(), &you.address, &you.password, to]);
}

/// `two.test` is this house's from now on.
fn moves_in(place: &mut Place) {
    let config = place.house.data().join("postern.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[\"home.test\"]", "[\"home.test\", \"two.test\"]")).unwrap();
    place.house.stop();
    place.house.start_again();
}

/// Everything in somebody's mailbox.
fn inbox(place: &Place, who: &Mailbox) -> String {
    folder(place, who, "INBOX")
}

fn folder(place: &Place, who: &Mailbox, name: &str) -> String {
    let mut imap = Imap::login(&place.house, &who.address, &who.password).unwrap();
    assert!(imap.ask(&format!("SELECT {name}")).unwrap().ok());
    imap.ask("FETCH 1:* (BODY.PEEK[])").unwrap().text()
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn what_named_it_and_what_waits_for_it_finds_it_here() {
    if !alone::inside("moving::what_named_it_and_what_waits_for_it_finds_it_here") {
        return;
    }
    let names = Names::serve(false);
    let mut place = Place::new(false, "domains = [\"home.test\"]\n");
    // Nobody listens there.
    names.host("two.test", OTHER);
    for (alias, to) in [("family", "you"), ("family", "Ben@two.test"), ("lost", "gone@two.test")] {
        let _ = place.house.admin_json(&["alias", "add", alias, to], "");
    }
    let refused = place.house.admin(&["alias", "add", "selfy", "ben@mail.home.test"], "");
    assert!(!refused.status.success() && said(&refused).contains("is the name of this server"), "{refused:?}");
    let stranger = |number: usize| {
        format!("From: aunt@example.org\nTo: family@home.test\nSubject: Cake {number}\n\nThere is cake {number}.\n")
    };
    assert_eq!(place.stranger(&["aunt@example.org", "family@home.test", &stranger(1)]), "250\n250\n");
    place.submit(1, &["carl@two.test", "dora@two.test"], LETTER);
    place.eventually("they wait", || {
        ["carl@two.test", "Ben@two.test"].iter().all(|to| place.waits(to, "4.4.1", "two.test"))
    });

    moves_in(&mut place);
    // Nobody there has a mailbox yet: the others have theirs, and who asks is told.
    assert_eq!(place.stranger(&["aunt@example.org", "family@home.test", &stranger(2)]), "250\n250\n");
    assert_eq!(place.stranger(&["aunt@example.org", "lost@home.test"]), "550\n");
    place.retried_until("it waits", || place.waits("carl@two.test", "4.1.1", "nobody here has that address yet"));
    let dead = place.house.admin_json(&["alias", "list"], "").to_string();
    assert!(
        dead.contains("\"nobody\":[\"gone@two.test\"]") && dead.contains("\"nobody\":[\"ben@two.test\"]"),
        "{dead}"
    );
    let doctor = said(&place.house.admin(&["doctor"], ""));
    assert!(doctor.contains("lost@home.test leads to gone@two.test, which is an address of this box now"), "{doctor}");

    let [ben, carl] = ["ben@two.test", "carl@two.test"].map(|name| place.house.add_mailbox(name));
    place.retried_until("they have theirs", || {
        inbox(&place, &carl).contains("Good day.") && inbox(&place, &ben).contains("There is cake 1.")
    });
    place.eventually("she waits still", || place.waits("dora@two.test", "4.1.1", "nobody here"));
    let mail = inbox(&place, &ben);
    assert!(mail.contains("Return-Path: <aunt@example.org>\r\nReceived: "), "{mail}");
    assert!(inbox(&place, &carl).contains("Return-Path: <you@home.test>\r\nReceived: "), "{}", inbox(&place, &carl));
    // And what comes from now on.
    assert_eq!(place.stranger(&["aunt@example.org", "family@home.test", &stranger(3)]), "250\n250\n");
    place.submit(1, &["family@home.test"], &LETTER.replace("Good day", "Good night"));
    for text in ["There is cake 3.", "Good night."] {
        assert!(inbox(&place, &ben).contains(text) && place.inbox().contains(text), "{text}");
    }
    for text in ["There is cake 1.", "Good day."] {
        let times = |who| inbox(&place, who).matches(text).count();
        assert_eq!(times(&ben) + times(&carl), 1, "{text}: once");
    }
    let dead = place.house.admin_json(&["alias", "list"], "").to_string();
    assert_eq!(dead.matches("\"nobody\":[]").count(), 1, "{dead}");
}

#[test]
fn large_letters_junk_and_what_is_shared_with_others_find_it_too() {
    if !alone::inside("moving::large_letters_junk_and_what_is_shared_with_others_find_it_too") {
        return;
    }
    let names = Names::serve(false);
    let mut place = Place::new(false, "domains = [\"home.test\"]\n");
    names.host("two.test", OTHER);
    names.host("far.test", FAR);
    let far = Far::start("postfix", FAR, "far.test", &place.certificate);
    names.txt("_dmarc.bank.test", "v=DMARC1; p=quarantine");
    for to in ["you", "ben@two.test"] {
        let _ = place.house.admin_json(&["alias", "add", "family", to], "");
    }
    let forged = "From: ceo@bank.test\nTo: family@home.test\nSubject: Account\n\nYour account is closed.\n";
    assert_eq!(place.stranger(&["ceo@bank.test", "family@home.test", forged]), "250\n250\n");
    submit_large(&place, "carl@two.test");
    place.submit(1, &["team@two.test"], LETTER);
    place.eventually("they wait", || {
        ["carl@two.test", "team@two.test", "ben@two.test"].iter().all(|to| place.waits(to, "4.4.1", "two.test"))
    });

    moves_in(&mut place);
    place.retried_until("it waits", || place.waits("carl@two.test", "4.1.1", "nobody here has that address yet"));
    let [ben, carl] = ["ben@two.test", "carl@two.test"].map(|name| place.house.add_mailbox(name));
    for to in ["carl@two.test", "ben@far.test"] {
        let _ = place.house.admin_json(&["alias", "add", "team@two.test", to], "");
    }
    place.retried_until("they have theirs", || {
        let mail = inbox(&place, &carl);
        mail.contains("the last photo") && mail.contains("Good day.")
    });
    place.retried_until("nothing waits", || place.is_all_gone());
    assert!(far.mail("ben").contains("Good day."), "who shares the address elsewhere: {}", far.mail("ben"));
    for (who, what) in [(place.house.you(), "you"), (&ben, "ben")] {
        assert!(folder(&place, who, "Junk").contains("Your account is closed."), "{what}");
    }
    place.eventually("who asked is told", || place.inbox().contains("Action: delivered\r\nStatus: 2.1.5"));
    let mail = place.inbox();
    assert!(!mail.contains("Action: failed") && !mail.contains("Action: relayed"), "{mail}");
}

/// Letters that wait for two addresses of one mailbox each.
const LETTERS: usize = 40;

#[test]
fn each_lies_there_once_whoever_is_killed_meanwhile() {
    if !alone::inside("moving::each_lies_there_once_whoever_is_killed_meanwhile") {
        return;
    }
    let names = Names::serve(false);
    let mut place = Place::new(false, "domains = [\"home.test\"]\n");
    names.host("two.test", OTHER);
    place.submit(LETTERS, &["carl@two.test", "info@two.test"], LETTER);
    place.eventually("they wait", || place.waits("info@two.test", "4.4.1", "two.test"));
    moves_in(&mut place);
    let carl = place.house.add_mailbox("carl@two.test");
    let _ = place.house.admin_json(&["alias", "add", "info@two.test", "carl@two.test"], "");
    let there = |place: &Place| inbox(place, &carl).matches("Good day.").count();
    for before in 0..4 {
        let kills = if before == 2 { "keeper" } else { "courier" };
        place.eventually("the keeper is there", || place.queue().is_some());
        let had = there(&place);
        place.retry();
        // While they come in.
        place.eventually("some have come", || had == LETTERS || there(&place) > had);
        match place.role(kills) {
            0 => {}
            role => signal(role, "KILL"),
        }
    }
    place.retried_until("nothing waits", || place.is_all_gone());
    let mail = inbox(&place, &carl);
    for number in 0..LETTERS {
        assert_eq!(mail.matches(&format!("Subject: Hello {number}\r\n")).count(), 1, "{number}");
    }
    assert!(!place.inbox().contains("Action:"), "nothing came back");
}
