//! A mailbox without room keeps nobody else's mail waiting.

use std::os::fd::AsFd;

use spool::edges::admin::Request as Admin;
use spool::edges::{Delivered, Recipient, Size, Target};
use spool::names::TransactionId;

use crate::house::{Folder, Person, Running, new_letter, open, run, sealing, transaction};

const UNSAID: Size = Size::AtMost(1_000_000);

async fn asks(house: &Running, name: TransactionId, address: &str, size: Size) -> Recipient {
    house.deposit.recipient(name, address, size).await.unwrap()
}

async fn targets(house: &Running, name: TransactionId, address: &str, size: Size) -> Vec<Target> {
    match asks(house, name, address, size).await {
        Recipient::Known(targets) => targets,
        other => panic!("{address}: {other:?}"),
    }
}

/// One message to each.
async fn deliver(house: &Running, name: TransactionId, to: &[Target], message: &[u8]) -> Delivered {
    let (ends, writing): (Vec<_>, Vec<_>) = to.iter().map(|target| sealing(target, message)).unzip();
    let letters = to.iter().map(|target| new_letter(target, message)).collect();
    let pipes: Vec<_> = ends.iter().map(AsFd::as_fd).collect();
    let outcome = house.deposit.deliver(name, letters, &pipes).await.unwrap();
    drop(ends);
    for writing in writing {
        let _ = writing.await;
    }
    outcome
}

async fn holds(house: &Running, person: &Person) -> usize {
    let (mailbox, _events) = house.login(person).await.unwrap();
    open(&mailbox, "INBOX").await.1.len()
}

#[test]
fn without_a_size_a_full_mailbox_is_refused_and_a_tight_one_goes_alone() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        house.add("anna@home.test");
        house.add_with("ben@home.test", Some(100_000));
        house.add_with("carl@home.test", Some(200_000));
        assert_eq!(house.deliver("ben@home.test", &[b'x'; 40_000]).await, Delivered::Durable);
        let name = transaction();
        assert_eq!(asks(&house, name, "ben@home.test", UNSAID).await, Recipient::OverQuota);
        let anna = targets(&house, name, "anna@home.test", UNSAID).await;
        assert_eq!(asks(&house, name, "carl@home.test", UNSAID).await, Recipient::Separately);
        assert_eq!(deliver(&house, name, &anna, &[b'x'; 150_000]).await, Delivered::Durable);
        // Alone it may try; nobody waits for it.
        let name = transaction();
        let carl = targets(&house, name, "carl@home.test", UNSAID).await;
        assert_eq!(asks(&house, name, "anna@home.test", UNSAID).await, Recipient::Separately);
        assert_eq!(deliver(&house, name, &carl, &[b'x'; 250_000]).await, Delivered::MailboxFull);
        let name = transaction();
        let carl = targets(&house, name, "carl@home.test", UNSAID).await;
        assert_eq!(deliver(&house, name, &carl, &[b'x'; 150_000]).await, Delivered::Durable);
    });
}

#[test]
fn a_sender_mistaken_in_the_size_makes_the_others_wait_only_once() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        house.add_with("ben@home.test", Some(200_000));
        let name = transaction();
        let mut both = targets(&house, name, "anna@home.test", Size::Said(1_000)).await;
        both.extend(targets(&house, name, "ben@home.test", Size::Said(1_000)).await);
        assert_eq!(deliver(&house, name, &both, &[b'x'; 250_000]).await, Delivered::MailboxFull);
        assert_eq!(holds(&house, &anna).await, 0);
        let name = transaction();
        let one = targets(&house, name, "anna@home.test", Size::Said(1_000)).await;
        assert_eq!(asks(&house, name, "ben@home.test", Size::Said(1_000)).await, Recipient::Separately);
        assert_eq!(deliver(&house, name, &one, &[b'x'; 250_000]).await, Delivered::Durable);
        assert_eq!(holds(&house, &anna).await, 1);
    });
}

#[test]
fn an_alias_serves_those_with_room() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let (anna, ben) = (house.add("anna@home.test"), house.add_with("ben@home.test", Some(200_000)));
        for target in ["ben@home.test", "anna@home.test"] {
            house.done(Admin::AliasAdd { alias: "us@home.test".into(), target: target.into() });
        }
        // It comes to light only when the message is here; ben's copy, which comes first, is passed by.
        let name = transaction();
        let us = targets(&house, name, "us@home.test", UNSAID).await;
        assert_eq!(us.len(), 2);
        assert_eq!(deliver(&house, name, &us, &[b'x'; 250_000]).await, Delivered::Durable);
        assert_eq!((holds(&house, &anna).await, holds(&house, &ben).await), (1, 0));
        // Full already.
        assert_eq!(house.deliver("ben@home.test", &[b'x'; 199_000]).await, Delivered::Durable);
        let name = transaction();
        let us = targets(&house, name, "us@home.test", Size::Said(5_000)).await;
        assert_eq!(us.iter().map(|target| target.mailbox).collect::<Vec<_>>(), [anna.id]);
        assert_eq!(deliver(&house, name, &us, b"small").await, Delivered::Durable);
        assert_eq!((holds(&house, &anna).await, holds(&house, &ben).await), (2, 1));
        // All full.
        house.ask(Admin::Quota { address: "anna@home.test".into(), bytes: Some(1) });
        assert_eq!(asks(&house, transaction(), "us@home.test", UNSAID).await, Recipient::OverQuota);
    });
}
