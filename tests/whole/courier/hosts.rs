//! Which hosts take a domain's mail, as real name servers tell it.

use tests::Place;
use tests::alone::{self, FAR, HOME, OTHER};
use tests::far::Far;
use tests::place::LETTER;
use tests::zone::Zone;

/// Nobody listens at [`OTHER`].
fn records() -> String {
    format!(
        "mx.far.test. 1 IN A {FAR}\ndown.far.test. 1 IN A {OTHER}\nmail.home.test. 1 IN A {HOME}\n\
         hidden.far.test. 1 IN A 192.168.1.1\n\
         second.test. 1 IN MX 10 down.far.test.\nsecond.test. 1 IN MX 20 mx.far.test.\n\
         implicit.test. 1 IN A {FAR}\n\
         called.test. 1 IN CNAME second.test.\n\
         round.test. 1 IN CNAME again.test.\nagain.test. 1 IN CNAME round.test.\n\
         ours.test. 1 IN MX 10 mail.home.test.\n\
         inside.test. 1 IN MX 10 hidden.far.test.\n\
         backup.test. 1 IN MX 10 down.far.test.\nbackup.test. 1 IN MX 20 mail.home.test.\n\
         null.test. 1 IN MX 0 .\n"
    )
}

#[test]
fn as_dns_says() {
    if !alone::inside("hosts::as_dns_says") {
        return;
    }
    let _zone = Zone::serve(&records());
    let place = Place::new(true, "clear-text = [\"*\"]\n");
    let sink = Far::start("smtp-sink", FAR, "far.test", &place.certificate);
    let domains = ["second", "implicit", "called", "round", "ours", "inside", "backup", "null", "nowhere"];
    let to: Vec<String> = domains.iter().map(|domain| format!("ben@{domain}.test")).collect();
    place.submit(1, &to.iter().map(String::as_str).collect::<Vec<_>>(), LETTER);
    let delivered = |domain: &str| sink.mail("everybody").contains(&format!("X-Rcpt-Args: <ben@{domain}.test>"));
    // Now, and not in a minute and a half, when a busy machine's name server was late.
    place.retried_until("the next host, no MX at all, another name", || {
        ["second", "implicit", "called"].into_iter().all(delivered)
    });
    place.retried_until("names in a circle", || place.waits("ben@round.test", "4.4.3", "DNS"));
    // Where we stand behind others, we wait for them.
    place.retried_until("before us", || place.waits("ben@backup.test", "4.4.1", "down.far.test"));
    place.retried_until("all others told", || {
        let inbox = place.inbox();
        [
            "DNS sends mail for ours.test to this server, which does not serve it",
            "hidden.far.test has only addresses that are not of the Internet",
            "null.test says that it takes no mail",
            "there is no domain nowhere.test",
        ]
        .iter()
        .all(|words| inbox.contains(words))
            && inbox.matches("Action: failed").count() == 4
    });
    assert_eq!(sink.mail("everybody").matches("X-Rcpt-Args").count(), 3, "{}", sink.mail("everybody"));
}
