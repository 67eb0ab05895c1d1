//! Homes that sleep and move, a proxy that is killed.

use std::time::{Duration, Instant};

use tests::proxies::eventually;

use crate::place::{PROXY, Place, count};

pub fn a_home_that_sleeps_wakes_and_moves() {
    let place = Place::new();
    let mut alice = place.home("alice", "44.0.0.71", &[]);
    let anna = alice.house.add_mailbox("anna");
    // It wakes while its mail waits at the proxy.
    alice.house.kill();
    let sending = place.send("postfix", &[&alice], &["anna@alice.test"], "while-waking");
    eventually("the sender waits", || place.proxy.metric("connections_total") >= 1);
    alice.house.start_again();
    let log = sending.log();
    assert!(!log.contains("status=deferred"), "held, not deferred: {log}");
    // It sleeps on: its mail waits at the sender, and never leaves in clear.
    alice.house.kill();
    let sending = place.send("postfix", &[&alice], &["anna@alice.test"], "while-asleep");
    eventually("the sender was told", || place.proxy.metric("home_away_total") >= 1);
    alice.house.start_again();
    let log = sending.log();
    assert!(log.contains("451 4.4.1 the home is not connected"), "{log}");
    // It has another address: the old link is dead without a word.
    alice.host.moves("44.0.0.71", "44.0.0.81");
    let log = place.send("postfix", &[&alice], &["anna@alice.test"], "after-moving").log();
    assert!(!log.contains("status=deferred"), "held until it had dialled from there: {log}");
    eventually("the link is up", || place.proxy.metric("homes_connected") == 1);
    let mail = alice.mail_of(&anna, PROXY);
    for phrase in ["while-waking", "while-asleep", "after-moving"] {
        assert_eq!(count(&mail, phrase), 1, "{phrase}");
    }
}

/// A plug that was out for a minute, a line that was dead for as long, a proxy that was: nobody waits for a minute more.
pub fn a_home_is_back_within_seconds() {
    let mut place = Place::new();
    let alice = place.home("alice", "44.0.0.71", &[]);
    let away = |seconds| std::thread::sleep(Duration::from_secs(seconds));
    let back = |place: &Place, what: &str| {
        let since = Instant::now();
        eventually(what, || place.proxy.metric("homes_connected") == 1);
        assert!(
            since.elapsed() < Duration::from_secs(15),
            "{what}: after {:?}\n{}",
            since.elapsed(),
            alice.house.log()
        );
    };
    alice.host.run("ip link set eth0 down");
    away(70);
    assert_eq!(place.proxy.metric("homes_connected"), 0);
    alice.host.run("ip link set eth0 up && ip route add default via 192.168.7.1");
    back(&place, "the plug is in again");
    let dead = "chain in { type filter hook prerouting priority 0; iifname eth0 drop; };";
    alice.host.run(&format!("nft 'table ip dead {{ {dead} }}'"));
    away(70);
    assert_eq!(place.proxy.metric("homes_connected"), 0);
    alice.host.run("nft delete table ip dead");
    back(&place, "the line is well again");
    place.proxy.kill();
    away(40);
    place.proxy.start_again();
    back(&place, "the proxy is there again");
}

/// kill -9 between the lesson and the retry, and in the middle of a letter.
pub fn a_proxy_that_is_killed() {
    let mut place = Place::new();
    let street = ["--street", "lane"];
    let (alice, bob) = (place.home("alice", "44.0.0.71", &street), place.home("bob", "44.0.0.72", &street));
    let (anna, ben) = (alice.house.add_mailbox("anna"), bob.house.add_mailbox("ben"));
    let sending = place.send("postfix", &[&alice, &bob], &["anna@alice.test"], "lesson-phrase");
    eventually("it has learnt", || place.proxy.metric("tickets_known") >= 1);
    place.proxy.kill();
    place.proxy.start_again();
    sending.log();
    assert_eq!(place.proxy.metric("learning_sessions_total"), 0, "what was learnt is known after a restart");
    // Slow enough to be met in the middle.
    place.sender.run("tc qdisc add dev wan root tbf rate 8mbit burst 64kb latency 500ms");
    let large = "a line of a large letter\n".repeat(320_000);
    let sending = place.send("postfix", &[&alice, &bob], &["ben@bob.test"], &large);
    eventually("it flows", || bob.house.log().matches("came through a proxy").count() >= 1);
    place.proxy.kill();
    place.proxy.start_again();
    let log = sending.log();
    assert!(log.contains("lost connection with mail.bob.test"), "in the middle of it: {log}");
    eventually("both links are up again", || place.proxy.metric("homes_connected") == 2);
    assert_eq!(count(&alice.mail_of(&anna, PROXY), "lesson-phrase"), 1);
    assert_eq!(bob.mail_of(&ben, PROXY).len(), 1, "whole, and once");
    // Homes that are revoked leave nothing behind.
    assert!(place.proxy.metric("tickets_known") >= 1);
    for home in [&alice, &bob] {
        place.proxy.operator(&["revoke", &home.name]);
    }
    eventually("what was learnt of them is forgotten", || place.proxy.metric("tickets_known") == 0);
}
