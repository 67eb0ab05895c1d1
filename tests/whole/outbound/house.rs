//! A whole house behind a router, paired by a code: its mail leaves through the proxy, and no other way.

use serde_json::Value;
use tests::hosts::{HERE, Host};
use tests::operated::contains;
use tests::outbound::AWAY;
use tests::proxies::{Home, eventually};
use tests::{House, Setup};

use crate::place::{PROXY, Place};

const PHRASES: [&str; 4] = ["xylophone-subject-phrase", "quixotic-body-phrase", "anna.phrase", "ben@far.test"];

fn letter(to: &[&str]) -> String {
    let (to, [subject, body, person, _]) = (to.join(", "), PHRASES);
    format!("From: {person}@alice.test\nTo: {to}\nSubject: {subject}\n\n{body}\n")
}

pub fn mail_leaves_through_a_paired_proxy() {
    let mut place = Place::new();
    let postfix = place.far("postfix", 0, "far.test");
    let exim = place.far("exim", 1, "exim.test");
    let opensmtpd = place.far("opensmtpd", 2, "open.test");
    let mut home = Home::start("alice", "44.0.0.71");
    let anna = home.house.add_mailbox(PHRASES[2]);
    let output = home.try_pair(&place.proxy.invite("alice", &[]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // At once: whoever was told that mail leaves through the proxy may write.
    home.submit(
        &anna,
        &["ben@far.test", "cleo@exim.test", "ben@open.test"],
        &letter(&["ben@far.test", "cleo@exim.test", "ben@open.test"]),
    );
    let everywhere = || [postfix.mail("ben"), exim.mail("cleo"), opensmtpd.mail("ben")];
    eventually("delivered everywhere", || everywhere().iter().all(|mail| mail.contains(PHRASES[1])));
    for mail in everywhere() {
        assert!(mail.contains(AWAY) && mail.contains(PROXY), "it comes from the proxy's name and address: {mail}");
        assert!(!mail.contains("44.0.0.71") && !mail.contains("192.168.7"), "and says nothing of the home's: {mail}");
        assert!(mail.contains("TLS1.3") || mail.contains("TLSv1.3"), "{mail}");
    }
    assert!(place.proxy.status("alice", "today") >= 3 * 20);
    assert_eq!(place.proxy.status("alice", "sessions"), 3);
    let doctor = String::from_utf8(home.postern(&["doctor"]).stdout).unwrap();
    assert!(doctor.contains("through away.test: ") && doctor.contains("of 750 units are left"), "{doctor}");
    // The proxy is gone: nothing leaves in another way.
    place.proxy.kill();
    home.submit(&anna, &["cleo@far.test"], &letter(&["cleo@far.test"]));
    let waits = |home: &Home| {
        let queue: Value = home.house.admin_json(&["queue", "list"], "");
        queue.to_string().contains("outbound proxy")
    };
    eventually("it waits, and says for whom", || waits(&home));
    assert!(!postfix.mail("cleo").contains(PHRASES[1]));
    // Nor where nobody can read any more which proxy it is.
    let pairings = home.house.data().join("pairings");
    let whole = std::fs::read(&pairings).unwrap();
    let mut damaged = whole.clone();
    damaged[40] ^= 1;
    std::fs::write(&pairings, damaged).unwrap();
    home.house.stop();
    home.house.start_again();
    let _ = home.house.admin(&["queue", "retry"], "");
    eventually("it waits still, and says for whom", || waits(&home));
    assert!(home.house.log().contains("mail that leaves waits"), "{}", home.house.log());
    assert!(!postfix.mail("cleo").contains(PHRASES[1]));
    std::fs::write(&pairings, whole).unwrap();
    place.proxy.start_again();
    eventually("delivered once the proxy is back", || {
        let _ = home.house.admin(&["queue", "retry"], "");
        postfix.mail("cleo").contains(PHRASES[1])
    });
    let (memory, files) = (place.proxy.memory(), place.proxy.files());
    assert!(contains(&memory, AWAY) && contains(&files, "alice"), "the search finds what is there");
    for phrase in PHRASES {
        assert!(!contains(&memory, phrase), "{phrase} in its memory");
        assert!(!contains(&files, phrase), "{phrase} on its disk");
    }
}

/// What the home may spend is spent by one of two letters: the other's sender can see until when it waits, and then it goes.
pub fn a_spent_budget_is_waited_for() {
    let place = Place::new();
    let postfix = place.far("postfix", 0, "far.test");
    let exim = place.far("exim", 1, "exim.test");
    let home = Home::start("alice", "44.0.0.71");
    let anna = home.house.add_mailbox(PHRASES[2]);
    // For a new home 30 units at once and one in two seconds: a session's 20, and not another's.
    let code = place.proxy.invite("alice", &["--bucket", "60", "--hourly", "3600"]);
    assert!(home.try_pair(&code).status.success());
    eventually("the link is up", || place.proxy.metric("homes_connected") == 1);
    home.submit(&anna, &["ben@far.test", "cleo@exim.test"], &letter(&["ben@far.test", "cleo@exim.test"]));
    let arrived = || [postfix.mail("ben"), exim.mail("cleo")].map(|mail| mail.contains(PHRASES[1]));
    let told = || {
        let queue: Value = home.house.admin_json(&["queue", "list"], "");
        let recipients = queue[0]["recipients"].as_array().cloned().unwrap_or_default();
        recipients.into_iter().find(|one| one.to_string().contains("budget is spent; there is more in"))
    };
    eventually("the queue says why one of them waits", || told().is_some());
    assert!(arrived().iter().filter(|arrived| **arrived).count() <= 1, "one waits");
    let due = told().map(|one| one["due"].as_i64().expect("when"));
    // 36 seconds at most, and the half minute over which those who were told the same come back. The ordinary first
    // step would be 79 seconds at least.
    assert!(due.is_none_or(|due| due - wire::date::now() < 75), "{due:?} is not as told");
    eventually("it goes by itself", || arrived() == [true, true]);
}

pub fn past_the_proxy_only_when_told() {
    let mut place = Place::new();
    let far = place.far("postfix", 0, "far.test");
    let host = Host::behind_nat("bob", "44.0.0.72");
    let config = format!(
        "domains = [\"alice.test\"]\nhostname = \"mail.alice.test\"\nbind = [\"127.0.0.1\"]\nport-offset = 2000\n\
         dns = [\"{HERE}:53\"]\nsend-past-proxy = true\n"
    );
    let name = "mail.alice.test".to_owned();
    let setup = Setup { config: Some(config), host: Some(name.clone()), on: Some(host.clone()), ..Setup::default() };
    let home = Home { house: House::start(setup), host, name };
    let anna = home.house.add_mailbox(PHRASES[2]);
    assert!(home.try_pair(&place.proxy.invite("alice", &[])).status.success());
    eventually("the link is up", || place.proxy.metric("homes_connected") == 1);
    place.proxy.kill();
    home.submit(&anna, &["ben@far.test"], &letter(&["ben@far.test"]));
    eventually("it leaves from the house's own address", || far.mail("ben").contains("44.0.0.72"));
}
