//! What is on its way at this moment: what can be kept back still, what cannot, and who must wait.

use spool::edges::admin;
use spool::edges::outbox::Outbox;
use spool::edges::outbox::limits::{PASSED_ON, REST_WORDS, WAY_BACK};
use spool::edges::outbox::turns::Turn;
use spool::names::LetterId;

use super::{Annas, DONE, annas, later, lease, pass_on, pass_on_from, post, posted, rest};
use crate::house::{Running, run, transaction};

fn listed(house: &Running, letter: LetterId) -> admin::QueuedInfo {
    let admin::Reply::Queue { some, .. } = house.ask(admin::Request::QueueList) else { panic!("no list") };
    some.into_iter().find(|info| info.letter == letter).unwrap()
}

#[test]
fn what_has_not_begun_is_kept_back_and_what_has_is_named() {
    run(async {
        let Annas { folder: _folder, house, outbox, news: _news, anna: _anna, queue } = annas().await;
        let to = ["cleo@FAR.test", "dan@third.test"];
        post(&house, &queue, transaction(), posted("anna@home.test", &to)).await.unwrap();
        let leased = lease(&outbox).await.unwrap();
        let (letter, begun) = (leased.letter, &leased.recipients);
        assert_eq!(listed(&house, letter).under_way, *begun, "the other waits for its turn");
        assert!(outbox.begin(leased.lease).await.unwrap());
        let other = lease(&outbox).await.unwrap();
        assert_eq!(listed(&house, letter).under_way, [0, 1]);

        let admin::Reply::UnderWay(to) = house.ask(admin::Request::QueueHold { letter, on: true }) else {
            panic!("it was said that it is kept back")
        };
        assert_eq!(to, [leased.destination.as_str()]);
        assert!(!outbox.begin(other.lease).await.unwrap(), "it had not begun");
        assert_eq!(listed(&house, letter).under_way, *begun);
        assert!(outbox.report(other.lease, Vec::new()).await.unwrap());
        assert!(outbox.report(leased.lease, vec![(begun[0], DONE)]).await.unwrap());
        assert!(listed(&house, letter).under_way.is_empty());
        assert_eq!(lease(&outbox).await, None);
        house.done(admin::Request::QueueHold { letter, on: true });

        house.done(admin::Request::QueueHold { letter, on: false });
        let again = lease(&outbox).await.unwrap();
        assert_eq!(again.destination, other.destination);
        house.done(admin::Request::QueueDrop { letter });
        assert!(!outbox.begin(again.lease).await.unwrap(), "it was given up");
        assert!(outbox.report(again.lease, Vec::new()).await.unwrap());
        assert!(house.stop());
    });
}

#[test]
fn why_a_destination_rests_is_in_the_list() {
    run(async {
        let Annas { folder: _folder, house, outbox, news: _news, anna: _anna, queue } = annas().await;
        let to = ["ben@far.test", "cleo@third.test", "dan@FAR.test"];
        post(&house, &queue, transaction(), posted("anna@home.test", &to)).await.unwrap();
        let letter = lease(&outbox).await.unwrap().letter;
        let until = wire::date::now() + 1_000;
        let rests = |why: &str| admin::Rest { until, why: why.to_owned() };
        outbox.rest("far.test".into(), rests("mx.far.test is down")).await.unwrap();
        assert_eq!(listed(&house, letter).resting, [(vec![0, 2], rests("mx.far.test is down"))]);
        outbox.rest("far.test".into(), rest(0)).await.unwrap();
        assert_eq!(listed(&house, letter).resting, []);
        outbox.rest("far.test".into(), rests("mx.far.test is down")).await.unwrap();
        house.done(admin::Request::QueueRetry { letter: None });
        lease(&outbox).await.unwrap();
        assert_eq!(listed(&house, letter).resting, [], "the admin said \"now\"");
        let long = rests(&"x".repeat(REST_WORDS + 1));
        assert!(outbox.rest("far.test".into(), long).await.is_err(), "no courier says so much");
        assert!(house.stop());
    });
}

#[test]
fn what_begins_anew_elsewhere_is_kept_back_until_then() {
    run(async {
        let Annas { folder: _folder, house, outbox, news: _news, anna: _anna, queue } = annas().await;
        post(&house, &queue, transaction(), posted("anna@home.test", &["ben@far.test"])).await.unwrap();
        let leased = lease(&outbox).await.unwrap();
        let letter = leased.letter;
        assert!(outbox.begin(leased.lease).await.unwrap());
        outbox.over(leased.lease).await.unwrap();
        house.done(admin::Request::QueueHold { letter, on: true });
        assert!(!outbox.begin(leased.lease).await.unwrap(), "nor does it begin");
        assert!(listed(&house, letter).under_way.is_empty());
        assert!(house.stop());
    });
}

#[test]
fn what_a_suspended_mailbox_has_written_does_not_begin() {
    run(async {
        let Annas { folder: _folder, house, outbox, news: _news, anna, queue } = annas().await;
        post(&house, &queue, transaction(), posted("anna@home.test", &["ben@far.test"])).await.unwrap();
        let leased = lease(&outbox).await.unwrap();
        house.done(admin::Request::MailboxSuspend { address: anna.address.clone(), on: true });
        assert!(!outbox.begin(leased.lease).await.unwrap());
        assert!(house.stop());
    });
}

#[test]
fn a_courier_that_is_gone_has_nothing_under_way() {
    run(async {
        let Annas { folder: _folder, house, outbox, news: _news, anna: _anna, queue } = annas().await;
        post(&house, &queue, transaction(), posted("anna@home.test", &["ben@far.test"])).await.unwrap();
        let leased = lease(&outbox).await.unwrap();
        assert!(outbox.begin(leased.lease).await.unwrap());
        drop(outbox);
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !listed(&house, leased.letter).under_way.is_empty() {
            assert!(std::time::Instant::now() < until);
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert!(house.stop());
    });
}

async fn all(outbox: &Outbox) -> usize {
    let mut count = 0;
    while lease(outbox).await.is_some() {
        count += 1;
    }
    count
}

#[test]
fn what_strangers_send_takes_its_share_and_no_more() {
    run(async {
        let Annas { folder: _folder, house, outbox, news: _news, anna: _anna, queue } = annas().await;
        let first = pass_on(&house, "d0.test").await;
        let leased = lease(&outbox).await.unwrap();
        assert_eq!((leased.letter, leased.outgoing.passed_on), (first, true));
        for number in 1..PASSED_ON + 3 {
            pass_on(&house, &format!("d{number}.test")).await;
        }
        assert_eq!(all(&outbox).await, PASSED_ON - 1);
        post(&house, &queue, transaction(), posted("anna@home.test", &["ben@far.test"])).await.unwrap();
        assert_eq!(lease(&outbox).await.unwrap().destination, "far.test", "what is written here has room");
        assert!(listed(&house, first).passed_on && listed(&house, first).mailbox.is_none());
        // Who has ended makes room for the next.
        let put_off = later(wire::date::now() + 1_000);
        assert!(outbox.report(leased.lease, vec![(0, put_off)]).await.unwrap());
        assert_eq!(all(&outbox).await, 1);
        assert!(house.stop());
    });
}

#[test]
fn what_has_no_sender_leaves_room_for_what_else_is_passed_on() {
    run(async {
        let Annas { folder: _folder, house, outbox, news: _news, anna: _anna, queue: _queue } = annas().await;
        for number in 0..WAY_BACK + 2 {
            pass_on_from(&house, None, &format!("d{number}.test")).await;
        }
        let first = lease(&outbox).await.unwrap();
        assert_eq!((first.turn(), all(&outbox).await), (Turn::WayBack, WAY_BACK - 1));
        let other = pass_on(&house, "d99.test").await;
        assert_eq!(lease(&outbox).await.unwrap().letter, other, "it waits behind none of them");
        // Who only waits for an answer keeps nobody from his turn, and still has his lease.
        outbox.aside(first.lease).await.unwrap();
        assert_eq!(all(&outbox).await, 1);
        outbox.aside(first.lease).await.unwrap();
        assert_eq!(all(&outbox).await, 0, "once");
        assert!(outbox.report(first.lease, vec![(0, DONE)]).await.unwrap());
        assert_eq!(all(&outbox).await, 0, "its turn was over");
        assert!(house.stop());
    });
}

#[test]
fn what_is_passed_on_rests_alone() {
    run(async {
        let Annas { folder: _folder, house, outbox, news: _news, anna: _anna, queue } = annas().await;
        let strangers = pass_on(&house, "far.test").await;
        post(&house, &queue, transaction(), posted("anna@home.test", &["cleo@far.test"])).await.unwrap();
        let why = "mx.far.test broke the connection off";
        let rest = admin::Rest { until: wire::date::now() + 1_000, why: why.into() };
        outbox.rest_for_strangers("far.test".into(), rest).await.unwrap();
        let written = lease(&outbox).await.expect("who writes here waits for nobody");
        assert_ne!(written.letter, strangers);
        assert_eq!(lease(&outbox).await, None);
        assert_eq!(outbox.lease(Some("far.test".into()), 10).await.unwrap().map(|(leased, _)| leased), None);
        let said = |letter| listed(&house, letter).resting.first().map(|(_, rest)| rest.why.clone());
        assert_eq!((said(strangers).as_deref(), said(written.letter)), (Some(why), None));
        house.ask(admin::Request::QueueRetry { letter: None });
        assert_eq!(lease(&outbox).await.unwrap().letter, strangers);
        assert!(house.stop());
    });
}
