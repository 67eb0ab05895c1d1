//! `kill -9` of those who bring mail out, while it goes out.

use std::time::{Duration, Instant};

use tests::alone::{self, FAR, OTHER};
use tests::far::Far;
use tests::house::signal;
use tests::names::Names;
use tests::programs::python_ok;
use tests::{Mailbox, Place};

/// Letters of each of two people, to two domains: what one may send in a day is bounded, and so is what one server is sent
/// in a minute.
const LETTERS: usize = 250;

/// Submits each letter until it is acknowledged, over a new connection where the old one ended. Prints how often a letter
/// had to be submitted again.
const SUBMIT: &str = r#"
import smtplib, ssl, sys, time
port, ca, user, password, count, to = sys.argv[1:7]
until, smtp, again = time.monotonic() + 240, None, 0
def connect():
    smtp = smtplib.SMTP('localhost', int(port), timeout=60)
    smtp.starttls(context=ssl.create_default_context(cafile=ca))
    smtp.login(user, password)
    return smtp
for number in range(int(count)):
    text = f'From: {user}\r\nTo: {to}\r\nSubject: Number {number}\r\n\r\nGood day.\r\n'
    while True:
        try:
            smtp = smtp or connect()
            smtp.sendmail(user, [to], text)
            break
        except (OSError, smtplib.SMTPException) as error:
            assert time.monotonic() < until, error
            smtp, again = None, again + 1
            time.sleep(0.1)
print(again)
"#;

fn submit(place: &Place, who: &Mailbox, to: &str) -> usize {
    let (port, ca) = (place.house.port("submission").to_string(), place.house.authority().authority());
    let count = LETTERS.to_string();
    let words = [port.as_str(), ca.to_str().unwrap(), &who.address, &who.password, &count, to];
    python_ok(SUBMIT, &words).trim().parse().unwrap()
}

fn arrived(mail: &str) -> usize {
    (0..LETTERS).filter(|number| mail.contains(&format!("Subject: Number {number}\n"))).count()
}

/// Kills the courier, and each third time the keeper, at another moment each time, as long as letters are coming in.
fn kill_meanwhile(place: &Place, is_over: impl Fn() -> bool) -> usize {
    let (mut round, began) = (0, Instant::now());
    while !is_over() {
        std::thread::sleep(Duration::from_millis(700 + began.elapsed().subsec_millis() as u64 % 400));
        let role = place.role(if round % 3 == 2 { "keeper" } else { "courier" });
        if role != 0 {
            signal(role, "KILL");
            round += 1;
        }
    }
    round
}

#[test]
fn killed_again_and_again_nothing_is_lost() {
    if !alone::inside("kill::killed_again_and_again_nothing_is_lost") {
        return;
    }
    let names = Names::serve(false);
    let place = Place::new(false, "");
    names.host("far.test", FAR);
    names.host("other.test", OTHER);
    let postfix = Far::start("postfix", FAR, "far.test", &place.certificate);
    let exim = Far::start("exim", OTHER, "other.test", &place.certificate);
    let (you, anna) = (place.house.you(), place.house.add_mailbox("anna"));
    let (kills, again) = std::thread::scope(|scope| {
        let one = scope.spawn(|| submit(&place, you, "ben@far.test"));
        let other = scope.spawn(|| submit(&place, &anna, "ben@other.test"));
        let kills = kill_meanwhile(&place, || one.is_finished() && other.is_finished());
        (kills, one.join().unwrap() + other.join().unwrap())
    });
    place.eventually("its keeper is back", || place.queue().is_some());
    place.retried_until("nothing waits", || place.is_all_gone());
    place.eventually("all delivered", || {
        arrived(&postfix.mail("ben")) == LETTERS && arrived(&exim.mail("ben")) == LETTERS
    });
    let all = [postfix.mail("ben"), exim.mail("ben")].concat().matches("Subject: Number ").count();
    println!("{kills} kills: {again} letters submitted again, {} came twice", all - 2 * LETTERS);
    assert!(kills >= 3, "{kills}");
    assert!(!place.inbox().contains("Action:"), "nothing came back");
}
