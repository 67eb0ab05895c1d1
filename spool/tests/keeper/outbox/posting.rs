//! Who may hand in what, and that it is one transaction.

use std::os::fd::AsFd;

use spool::edges::admin;
use spool::edges::pipe::LetterPipe;
use spool::edges::{Delivered, Recipient};

use super::{DONE, MESSAGE, courier, lease, post, posted, queue};
use crate::house::{Folder, Running, files_below, new_letter, open, run, sealing, transaction};

#[test]
fn a_transaction_is_recognised_again() {
    run(async {
        let folder = Folder::new();
        let mut house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        let name = transaction();
        let first = queue(&house, &anna).await;
        let letter = posted("anna@home.test", &["ben@far.test"]);
        assert_eq!(post(&house, &first, name, letter.clone()).await.unwrap(), Delivered::Durable);
        assert!(house.stop());
        house = Running::start(&folder.0);
        let again = queue(&house, &anna).await;
        assert_eq!(post(&house, &again, name, letter).await.unwrap(), Delivered::Already);
        let (outbox, _news) = courier(&mut house);
        assert!(lease(&outbox).await.is_some());
        assert_eq!(lease(&outbox).await, None, "once");
        assert_eq!(files_below(&folder.0.join("outgoing")).len(), 1);
    });
}

#[test]
fn some_here_and_some_elsewhere_all_or_nobody() {
    run(async {
        let folder = Folder::new();
        let mut house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        let ben = house.add("ben@home.test");
        let queue = queue(&house, &anna).await;
        for whole in [false, true] {
            let name = transaction();
            let Recipient::Known(targets) = queue.recipient(name, "ben@home.test", 10).await.unwrap() else { panic!() };
            let (here, first) = sealing(&targets[0], MESSAGE);
            let (mut there, second) = sealing(&targets[0], MESSAGE);
            if !whole {
                // A pipe whose writer died.
                there = LetterPipe::new().unwrap().0;
            }
            let letters = vec![new_letter(&targets[0], MESSAGE)];
            let letter = posted("anna@home.test", &["x@far.test"]);
            let outcome = queue.post(name, letters, letter, &[here.as_fd(), there.as_fd()]).await.unwrap();
            drop((here, there));
            let _ = (first.await, second.await);
            assert_eq!(outcome, if whole { Delivered::Durable } else { Delivered::Failed });
            assert_eq!(files_below(&folder.0.join("outgoing")).len(), usize::from(whole));
            let (mailbox, _events) = house.login(&ben).await.unwrap();
            assert_eq!(open(&mailbox, "INBOX").await.1.len(), usize::from(whole));
        }
        let (outbox, _news) = courier(&mut house);
        assert_eq!(lease(&outbox).await.unwrap().destination, "far.test");
    });
}

#[test]
fn who_asks_for_what_he_may_not_is_dropped() {
    run(async {
        let folder = Folder::new();
        let mut house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        house.add("ben@home.test");
        for (sender, to) in [
            ("ben@home.test", &["x@far.test"][..]),
            ("anna@home.test", &["x@far.test", "ben@home.test"]),
            ("anna@home.test", &["nobody@home.test"]),
            ("anna@home.test", &["nodomain"]),
            ("anna@home.test", &[]),
        ] {
            let queue = queue(&house, &anna).await;
            assert!(post(&house, &queue, transaction(), posted(sender, to)).await.is_err(), "{sender} {to:?}");
        }
        assert!(files_below(&folder.0.join("outgoing")).is_empty());
        let queue = queue(&house, &anna).await;
        post(&house, &queue, transaction(), posted("anna@home.test", &["a@far.test", "b@third.test"])).await.unwrap();
        let (outbox, _news) = courier(&mut house);
        let leased = lease(&outbox).await.unwrap();
        let foreign = 1 - leased.recipients[0];
        assert!(outbox.report(leased.lease, vec![(foreign, DONE)]).await.is_err(), "not leased");
        outbox.closed().await;
        assert!(house.stop());
    });
}

#[test]
fn what_no_alias_leads_to_is_not_passed_on() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        house.add("anna@home.test");
        let add = |alias: &str, target: &str| {
            house.ask(admin::Request::AliasAdd { alias: alias.into(), target: target.into() })
        };
        assert!(matches!(add("us@home.test", "ben@far.test"), admin::Reply::Done));
        assert!(!matches!(add("ben@far.test", "ben@third.test"), admin::Reply::Done), "no alias of ours");
        for bad in ["b en@far.test", "ben@[192.0.2.1]", "ben@far..test", &format!("{}@far.test", "b".repeat(65))] {
            assert!(!matches!(add("us@home.test", bad), admin::Reply::Done), "{bad}");
        }
        for (to, taken) in [
            (&["us@home.test"][..], true),
            (&["anybody@far.test"], false),
            (&["us@home.test", "anybody@far.test"], false),
        ] {
            let target = house.target(transaction(), "anna@home.test", 10).await;
            let (end, writing) = sealing(&target, MESSAGE);
            let letter = posted("stranger@third.test", to);
            let outcome = house.deposit.pass_on(transaction(), Vec::new(), letter, &[end.as_fd()]).await.unwrap();
            drop(end);
            let _ = writing.await;
            assert_eq!(outcome == Delivered::Durable, taken, "{to:?}");
        }
        assert_eq!(files_below(&folder.0.join("outgoing")).len(), 1);
    });
}
