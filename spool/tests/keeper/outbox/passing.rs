//! What strangers have aliases pass on is bounded: one that leads to a dead house stops neither the others nor mail that
//! stays.

use std::os::fd::AsFd;

use spool::disk::Disk;
use spool::edges::outbox::limits;
use spool::edges::pipe::LetterPipe;
use spool::edges::queue::Posted;
use spool::edges::{Delivered, Recipient, Size, admin};
use spool::keeper::start::Outgoing;

use super::{DONE, MESSAGE, courier, lease, posted};
use crate::house::{Folder, Running, new_letter, run, sealing, transaction};

fn start(folder: &Folder) -> Running {
    let mut start = crate::house::start(crate::house::EDGES.to_vec());
    start.outgoing = Some(Outgoing { generation: 1, public_key: "age1".into(), srs_key: [7; 32] });
    Running::from(&folder.0, Disk::default(), start).unwrap()
}

fn alias(house: &Running, alias: &str, target: &str) {
    house.done(admin::Request::AliasAdd { alias: alias.into(), target: target.into() });
}

async fn pass_on(house: &Running, to: &[&str]) -> Delivered {
    let target = house.target(transaction(), "anna@home.test", 10).await;
    let (end, writing) = sealing(&target, MESSAGE);
    let letter = posted("stranger@third.test", to);
    let outcome = house.deposit.pass_on(transaction(), Vec::new(), letter, &[end.as_fd()]).await.unwrap();
    drop(end);
    let _ = writing.await;
    outcome
}

async fn ask(house: &Running, to: &str, size: impl std::convert::Into<Size>) -> Recipient {
    house.deposit.recipient(transaction(), to, size).await.unwrap()
}

#[test]
fn a_dead_house_stops_neither_others_nor_mail_that_stays() {
    run(async {
        let folder = Folder::new();
        let mut house = start(&folder);
        house.add("anna@home.test");
        let clubs: Vec<String> = (0..6).map(|club| format!("club{club}@home.test")).collect();
        let clubs: Vec<&str> = clubs.iter().map(String::as_str).collect();
        for club in 0..96 {
            alias(&house, clubs[club / 16], &format!("x{club}@gone.test"));
        }
        alias(&house, "ben@home.test", "ben@far.test");
        let mut taken = 0;
        let last = loop {
            match pass_on(&house, &clubs).await {
                Delivered::Durable => taken += 1,
                other => break other,
            }
        };
        // Those addresses together with one of them again are all that there may be.
        assert_eq!((last, taken), (Delivered::Waiting, limits::PASSED_ON_RECIPIENTS / 97));
        for restarted in [false, true] {
            if restarted {
                house.checkpoint();
                assert!(house.stop());
                house = start(&folder);
            }
            assert_eq!(ask(&house, clubs[0], 100).await, Recipient::Waiting, "{restarted}");
            assert!(matches!(ask(&house, "ben@home.test", 100).await, Recipient::Forwarded { .. }));
            assert_eq!(pass_on(&house, &["ben@home.test"]).await, Delivered::Durable, "{restarted}");
            assert_eq!(pass_on(&house, &[clubs[5]]).await, Delivered::Waiting, "{restarted}");
            assert_eq!(house.deliver("anna@home.test", MESSAGE).await, Delivered::Durable);
        }
        let (outbox, _news) = courier(&mut house);
        let mut leased = lease(&outbox).await.unwrap();
        while leased.destination != "gone.test" {
            leased = lease(&outbox).await.unwrap();
        }
        let done = leased.recipients.iter().map(|number| (*number, DONE));
        assert!(outbox.report(leased.lease, done.collect()).await.unwrap());
        assert!(matches!(ask(&house, clubs[0], 100).await, Recipient::Forwarded { .. }), "what has left makes room");
        assert!(house.stop());
    });
}

#[test]
fn two_that_come_at_once_do_not_both_get_the_last_room() {
    run(async {
        let folder = Folder::new();
        let house = start(&folder);
        house.add("anna@home.test");
        alias(&house, "club@home.test", "x@gone.test");
        // Its text is yet to come, and counts.
        let large = |part: u64| Posted {
            size: u32::try_from(room(&folder) / part).unwrap(),
            ..posted("stranger@third.test", &["club@home.test"])
        };
        let (end, pipe) = LetterPipe::new().unwrap();
        let (ends, name) = ([end.as_fd()], transaction());
        let first = house.deposit.pass_on(name, Vec::new(), large(3), &ends);
        let second = async {
            for _ in 0..500 {
                if ask(&house, "club@home.test", u64::from(large(3).size)).await == Recipient::Waiting {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            let (end, _pipe) = LetterPipe::new().unwrap();
            let refused = house.deposit.pass_on(transaction(), Vec::new(), large(3), &[end.as_fd()]).await.unwrap();
            drop(pipe);
            refused
        };
        let (first, second) = tokio::join!(first, second);
        assert_eq!((first.unwrap(), second), (Delivered::Failed, Delivered::Waiting), "the first was cut off");
        assert_eq!(pass_on(&house, &["club@home.test"]).await, Delivered::Durable, "and counts no more");
        assert!(house.stop());
    });
}

/// What may wait where the tests' disk is as full as it is.
fn room(folder: &Folder) -> u64 {
    limits::PASSED_ON_BYTES.min(Disk::default().free(&folder.0).unwrap() / limits::PASSED_ON_PART)
}

#[test]
fn what_may_be_too_large_goes_alone() {
    run(async {
        let folder = Folder::new();
        let house = start(&folder);
        house.add("anna@home.test");
        alias(&house, "club@home.test", "x@gone.test");
        let most = room(&folder);
        assert_eq!(ask(&house, "club@home.test", most).await, Recipient::Waiting);
        let (name, unsaid) = (transaction(), Size::AtMost(most));
        assert!(matches!(
            house.deposit.recipient(name, "club@home.test", unsaid).await,
            Ok(Recipient::Forwarded { .. })
        ));
        assert_eq!(house.deposit.recipient(name, "anna@home.test", 100).await.unwrap(), Recipient::Separately);
        let name = transaction();
        assert!(matches!(house.deposit.recipient(name, "anna@home.test", unsaid).await, Ok(Recipient::Known(_))));
        assert_eq!(house.deposit.recipient(name, "club@home.test", unsaid).await.unwrap(), Recipient::Separately);
        assert!(house.stop());
    });
}

#[test]
fn who_shares_an_address_with_a_dead_house_has_mail() {
    run(async {
        let folder = Folder::new();
        let house = start(&folder);
        house.add("anna@home.test");
        alias(&house, "club@home.test", "x@gone.test");
        alias(&house, "family@home.test", "anna@home.test");
        alias(&house, "family@home.test", "x@gone.test");
        let of = |to: &str, size| Posted { size, ..posted("stranger@third.test", &[to]) };
        let all = u32::try_from(room(&folder)).unwrap();
        let a_part = all / 32;
        // Both ask while there is room, and one of the others has it before them.
        let (early, earlier) = (transaction(), transaction());
        let mut found = Vec::new();
        for name in [early, earlier] {
            found.push(house.deposit.recipient(name, "family@home.test", u64::from(a_part)).await.unwrap());
        }
        let [Recipient::Forwarded { targets, .. }, Recipient::Forwarded { .. }] = found.as_slice() else {
            panic!("{found:?}")
        };
        let anna = &targets[0];
        let (end, pipe) = LetterPipe::new().unwrap();
        let ends = [end.as_fd()];
        let first = house.deposit.pass_on(transaction(), Vec::new(), of("club@home.test", all / 2 - 1_000), &ends);
        let others = async {
            while ask(&house, "club@home.test", u64::from(a_part)).await != Recipient::Waiting {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            let known = ask(&house, "family@home.test", u64::from(a_part)).await;
            assert!(matches!(&known, Recipient::Known(targets) if targets.len() == 1), "she alone: {known:?}");

            let ((here, writing), (far, passing)) = (sealing(anna, MESSAGE), sealing(anna, MESSAGE));
            let letters = vec![new_letter(anna, MESSAGE)];
            let (letter, ends) = (of("family@home.test", a_part), [here.as_fd(), far.as_fd()]);
            assert_eq!(house.deposit.pass_on(early, letters, letter, &ends).await.unwrap(), Delivered::Durable);
            assert!(writing.await.unwrap().is_ok() && passing.await.unwrap().is_ok(), "both are read to their ends");

            // With another that leads to nobody here it is not for her alone to take it.
            let ((here, _), (far, _)) = (sealing(anna, MESSAGE), sealing(anna, MESSAGE));
            let letter = posted("stranger@third.test", &["family@home.test", "club@home.test"]);
            let (letter, ends) = (Posted { size: a_part, ..letter }, [here.as_fd(), far.as_fd()]);
            let letters = vec![new_letter(anna, MESSAGE)];
            assert_eq!(house.deposit.pass_on(earlier, letters, letter, &ends).await.unwrap(), Delivered::Waiting);
            drop(pipe);
        };
        let (first, ()) = tokio::join!(first, others);
        assert_eq!(first.unwrap(), Delivered::Failed, "it was cut off");
        assert!(house.stop());
    });
}
