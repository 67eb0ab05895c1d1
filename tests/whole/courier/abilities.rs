//! What far servers can take differs: seven bits, a size, notices of success, addresses beyond ASCII.

use tests::Place;
use tests::alone::{self, FAR, HOME, OTHER};
use tests::far::Far;
use tests::names::Names;
use tests::place::digest;
use tests::programs::python_ok;

use crate::verified;

const SUBMIT: &str = r"
import smtplib, ssl, sys
port, ca, user, password, options, rcpt_options, text = sys.argv[1:8]
smtp = smtplib.SMTP('localhost', int(port), timeout=60)
smtp.starttls(context=ssl.create_default_context(cafile=ca))
smtp.login(user, password)
smtp.sendmail(user, sys.argv[8:], text.replace('\n', '\r\n').encode(), options.split(), rcpt_options.split())
smtp.quit()
";

/// Submits with parameters of MAIL and of each RCPT.
fn submit(place: &Place, (mail, rcpt): (&str, &str), to: &[&str], text: &str) {
    let (port, ca) = (place.house.port("submission").to_string(), place.house.authority().authority());
    let you = place.house.you();
    let fixed = [port.as_str(), ca.to_str().unwrap(), &you.address, &you.password, mail, rcpt, text];
    python_ok(SUBMIT, &[&fixed[..], to].concat());
}

const UMLAUTS: &str = "From: You <you@home.test>\nTo: ben@sink.test\nSubject: Hello\nMIME-Version: 1.0\n\
    Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nViele Gr\u{fc}\u{df}e\n";

#[test]
fn seven_bits_where_there_are_no_more() {
    if !alone::inside("abilities::seven_bits_where_there_are_no_more") {
        return;
    }
    let names = Names::serve(false);
    let place = Place::new(false, "clear-text = [\"sink.test\"]\n");
    names.host("sink.test", FAR);
    verified::publish(&place, &names);
    let sink = Far::start("smtp-sink", FAR, "sink.test", &place.certificate);
    let to = ["ben@sink.test", "j\u{fc}rgen@sink.test"];
    submit(&place, ("SMTPUTF8 BODY=8BITMIME", ""), &to, UMLAUTS);
    place.eventually("delivered", || place.is_all_gone() && sink.mail("everybody").contains("Viele"));
    let mail = sink.mail("everybody");
    assert!(mail.is_ascii() && mail.contains("Viele Gr=C3=BC=C3=9Fe"), "{mail}");
    assert!(mail.contains("Content-Transfer-Encoding: quoted-printable"), "{mail}");
    // It was signed as it went.
    verified::verify(&place, &mail, "you@home.test");
    let inbox = place.inbox();
    assert!(inbox.contains("SMTPUTF8") && inbox.contains("Status: 5.6.7"), "{inbox}");
    assert_eq!(inbox.matches("Action: failed").count(), 1, "the other got it: {inbox}");
}

#[test]
fn what_is_too_large_is_not_sent() {
    if !alone::inside("abilities::what_is_too_large_is_not_sent") {
        return;
    }
    let names = Names::serve(false);
    let place = Place::new(false, "");
    names.host("far.test", FAR);
    // It says that it takes 64 KiB.
    let exim = Far::start("exim", FAR, "far.test", &place.certificate);
    let text = format!("From: you@home.test\nSubject: Much\n\n{}", "A long story, told again.\n".repeat(4_000));
    submit(&place, ("", ""), &["ben@far.test"], &text);
    place.eventually("nothing waits", || place.is_all_gone());
    let inbox = place.inbox();
    assert!(inbox.contains("Action: failed") && inbox.contains("Status: 5.3.4"), "{inbox}");
    assert_eq!(exim.mail("ben"), "");
}

#[test]
fn who_asks_hears_of_success() {
    if !alone::inside("abilities::who_asks_hears_of_success") {
        return;
    }
    let names = Names::serve(false);
    let place = Place::new(false, "");
    names.host("far.test", FAR);
    names.host("other.test", OTHER);
    names.mx("home.test", 10, "mail.home.test");
    names.a("mail.home.test", HOME);
    let postfix = Far::start("postfix", FAR, "far.test", &place.certificate);
    let exim = Far::start("exim", OTHER, "other.test", &place.certificate);
    let text = "From: you@home.test\nSubject: Tell me\n\nGood day.\n";
    submit(&place, ("RET=HDRS ENVID=first", "NOTIFY=SUCCESS"), &["ben@far.test", "cleo@other.test"], text);
    place.eventually("taken", || {
        [postfix.mail("ben"), exim.mail("cleo")].iter().all(|mail| mail.contains("Subject: Tell me"))
    });
    // Postfix tells it itself, by a letter of its own; Exim does not know how, so that we say how far it came.
    place.eventually("both told", || {
        let inbox = place.inbox();
        inbox.contains("Action: delivered") && inbox.contains("Action: relayed")
    });
    let inbox = place.inbox();
    assert!(inbox.contains("Reporting-MTA: dns; mx.far.test"), "{inbox}");
    assert_eq!(inbox.matches("Original-Envelope-Id: first").count(), 2, "{inbox}");
}

#[test]
fn who_insists_on_tls_all_the_way_is_kept_to() {
    if !alone::inside("abilities::who_insists_on_tls_all_the_way_is_kept_to") {
        return;
    }
    let names = Names::serve(true);
    let place = Place::new(true, "");
    names.host("far.test", FAR);
    names.tlsa("mx.far.test", &digest(&place.certificate));
    // It proves who it is, but promises nothing of what comes after it.
    let exim = Far::start("exim", FAR, "far.test", &place.certificate);
    let letter = |subject: &str| format!("From: you@home.test\nSubject: {subject}\n\nGood day.\n");
    submit(&place, ("REQUIRETLS", ""), &["ben@far.test"], &letter("secret"));
    submit(&place, ("", ""), &["ben@far.test"], &letter("open"));
    place.eventually("nothing waits", || place.is_all_gone());
    place.eventually("the other came", || exim.mail("ben").contains("Subject: open"));
    assert!(!exim.mail("ben").contains("Subject: secret"), "{}", exim.mail("ben"));
    let inbox = place.inbox();
    assert!(inbox.contains("Status: 5.7.30") && inbox.contains("Subject: secret"), "{inbox}");
}
