//! Real mail servers and several homes at one address.

use tests::proxies::Home;

use crate::place::{OWN, PROXY, Place, count};

/// In one street: one letter for two homes at the same moment, and its hardest order, from a server that
/// sends no SNI (Postfix, Exim, Sendmail), or does. Then one more for both, when much is known.
fn two_homes(peer: &str) {
    let mut place = Place::new();
    let street = ["--street", "lane"];
    let (alice, bob) = (place.home("alice", "44.0.0.71", &street), place.home("bob", "44.0.0.72", &street));
    let (anna, ben) = (alice.house.add_mailbox("anna"), bob.house.add_mailbox("ben"));
    let together = ["anna@alice.test", "ben@bob.test"];
    // A letter each, half a second apart: the first connection for the second letter meets what was learnt of the first.
    let hardest = ["ben@bob.test", "--", "anna@alice.test"];
    for (round, to) in [("first-quince", &together[..]), ("second-quince", &hardest), ("third-quince", &together)] {
        if round.starts_with("second") {
            place.forget_what_was_learnt();
        }
        let log = place.send(peer, &[&alice, &bob], to, round).log();
        let bounced = ["status=bounced", " ** ", "Permanent", "result=\"PermFail\"", "dsn=5"];
        assert!(!bounced.iter().any(|word| log.contains(word)), "{log}");
        for (home, mailbox) in [(&alice, &anna), (&bob, &ben)] {
            let own = home.mail_of(mailbox, PROXY);
            assert_eq!(count(&own, round), 1, "{peer}, {round}, {}: {log}", home.name);
            assert!(!own.iter().any(|letter| letter.contains("Undelivered")), "{own:?}");
        }
    }
    let learnt = place.proxy.metric("learning_sessions_total");
    match peer {
        "opensmtpd" | "chasquid" => assert_eq!(learnt, 0, "it says whom it wants"),
        _ => assert!(learnt >= 1, "it was asked"),
    }
}

pub fn two_homes_by_postfix() {
    two_homes("postfix");
}

pub fn two_homes_by_exim() {
    two_homes("exim");
}

pub fn two_homes_by_opensmtpd() {
    two_homes("opensmtpd");
}

pub fn two_homes_by_sendmail() {
    two_homes("sendmail");
}

pub fn two_homes_by_chasquid() {
    two_homes("chasquid");
}

/// Homes of different streets: senders that say whom they want, one that shows its ticket, and an address of one's own, which
/// serves those that do neither.
pub fn homes_of_different_streets() {
    let place = Place::new();
    let alice = place.home("alice", "44.0.0.71", &["--street", "lane"]);
    let bob = place.home("bob", "44.0.0.72", &["--street", "road"]);
    let [carol, dora] = [("carol", "44.0.0.73", OWN[0]), ("dora", "44.0.0.74", OWN[1])].map(|(name, router, own)| {
        place.proxy.host().run(&format!("ip address add {own}/24 dev wan"));
        let home = place.home(name, router, &["--address", own]);
        place.names.forget(&home.name);
        place.names.a(&home.name, own);
        home
    });
    let homes = [(&alice, PROXY), (&bob, PROXY), (&carol, OWN[0]), (&dora, OWN[1])];
    let mailboxes = homes.map(|(home, _)| home.house.add_mailbox("anna"));
    let all: Vec<&Home> = homes.iter().map(|(home, _)| *home).collect();
    for (peer, from) in [("opensmtpd", 0), ("chasquid", 0), ("postfix", 0), ("exim", 2), ("sendmail", 2)] {
        let to = ["anna@alice.test", "anna@bob.test", "anna@carol.test", "anna@dora.test"];
        let log = place.send(peer, &all, &to[from..], &format!("by-{peer}")).log();
        for ((home, proxy), mailbox) in homes.iter().zip(&mailboxes).skip(from) {
            assert_eq!(count(&home.mail_of(mailbox, proxy), &format!("by-{peer}")), 1, "{}: {log}", home.name);
        }
        let deferred = |name: &str| log.lines().any(|line| line.contains(name) && line.contains("status=deferred"));
        assert!(!deferred("mail.carol.test") && !deferred("mail.dora.test"), "it is never asked whom it wants: {log}");
    }
    let metrics = place.proxy.metrics();
    for how in ["sni", "ticket", "own_address"] {
        assert!(!metrics.contains(&format!("{{how=\"{how}\"}} 0\n")), "{how}: {metrics}");
    }
    for how in ["only", "table", "learnt"] {
        assert!(metrics.contains(&format!("{{how=\"{how}\"}} 0\n")), "{how}: {metrics}");
    }
}
