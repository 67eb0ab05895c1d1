//! Mail in: one transaction, whole or not at all.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use filter_sandbox::edge::Caller;
use spool::edges::admin::Request as Admin;
use spool::edges::mailbox::{Event, Mailbox, Reply, Request};
use spool::edges::pipe::LetterPipe;
use spool::edges::{Delivered, Into, Moment, Recipient, Size, limits, queue};

use crate::house::{
    Folder, Person, Running, ask, event, files_below, new_letter, open, prove, read, run, sealing, transaction,
};

#[test]
fn a_letter_comes_to_its_owner_and_to_every_session() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        let (first, mut events) = house.login(&anna).await.unwrap();
        let (second, mut other) = house.login(&anna).await.unwrap();
        open(&first, "INBOX").await;
        open(&second, "inbox").await;
        assert_eq!(house.deliver("anna@home.test", b"Subject: one\r\n\r\nhello\r\n").await, Delivered::Durable);
        for events in [&mut events, &mut other] {
            let Event::Added(facts) = event(events).await else { panic!() };
            assert_eq!((facts.len(), facts[0].uid, facts[0].size), (1, 1, 23));
            assert_eq!(read(&anna, &first, facts[0].letter).await.unwrap(), b"Subject: one\r\n\r\nhello\r\n");
        }
        assert!(house.stop());
        assert!(files_below(&folder.0.join("incoming")).is_empty());
        let house = Running::start(&folder.0);
        let (again, _events) = house.login(&anna).await.unwrap();
        let (shown, facts) = open(&again, "INBOX").await;
        assert_eq!((shown.messages, facts.len(), shown.uid_next), (1, 1, 2));
    });
}

#[test]
fn postmaster_is_somebody_whose_mailbox_can_be_read() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let (anna, ben) = (house.add("anna@home.test"), house.add("ben@home.test"));
        assert!(house.stop());
        for file in files_below(&folder.0.join("mailboxes").join(anna.id.to_string())) {
            std::fs::write(file, b"nothing").unwrap();
        }
        let house = Running::start(&folder.0);
        let found = house.deposit.recipient(transaction(), "postmaster", 10).await.unwrap();
        assert!(matches!(found, Recipient::Known(targets) if targets[0].mailbox == ben.id));
        assert_eq!(house.deposit.recipient(transaction(), "anna@home.test", 10).await.unwrap(), Recipient::NotNow);
    });
}

#[test]
fn addresses_are_found_as_people_write_them() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let recipient = async |address: &str| house.deposit.recipient(transaction(), address, 10).await.unwrap();
        assert_eq!(recipient("postmaster@home.test").await, Recipient::NotNow);
        let anna = house.add("anna@home.test");
        let ben = house.add_with("ben@home.test", Some(1_000));
        house.done(Admin::AliasAdd { alias: "us@home.test".into(), target: "anna@home.test".into() });
        house.done(Admin::AliasAdd { alias: "us@home.test".into(), target: "ben@home.test".into() });
        let ids = |found| match found {
            Recipient::Known(targets) => targets.into_iter().map(|target| target.mailbox).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(ids(recipient("ANNA@Home.Test").await), [anna.id]);
        assert_eq!(ids(recipient("anna+shop@home.test").await), [anna.id]);
        assert_eq!(ids(recipient("us@home.test").await), [anna.id, ben.id]);
        assert_eq!(ids(recipient("postmaster@home.test").await), [anna.id]);
        assert_eq!(ids(recipient("Postmaster").await), [anna.id]);
        // Whoever was there first, when somebody else would read it.
        house.done(Admin::MailboxSuspend { address: "anna@home.test".into(), on: true });
        assert_eq!(ids(recipient("postmaster@home.test").await), [ben.id]);
        let large = house.deposit.recipient(transaction(), "postmaster", 2_000).await.unwrap();
        assert_eq!(ids(large), [anna.id]);
        house.done(Admin::MailboxSuspend { address: "anna@home.test".into(), on: false });
        house.done(Admin::AliasAdd { alias: "postmaster@home.test".into(), target: "ben@home.test".into() });
        assert_eq!(ids(recipient("postmaster@home.test").await), [ben.id]);
        let large = house.deposit.recipient(transaction(), "postmaster@home.test", 2_000).await.unwrap();
        assert_eq!(ids(large), [anna.id], "never refused while anybody has room");
        assert_eq!(recipient("nobody@home.test").await, Recipient::Unknown);
        assert_eq!(recipient("anna@elsewhere.test").await, Recipient::NotLocal);
        assert_eq!(recipient("anna").await, Recipient::Unknown);
        assert_eq!(house.deposit.recipient(transaction(), "ben@home.test", 2_000).await.unwrap(), Recipient::OverQuota);
    });
}

#[test]
fn room_is_reserved_until_the_transaction_ends() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        house.add_with("ben@home.test", Some(3_500));
        let asks = async |transaction| house.deposit.recipient(transaction, "ben@home.test", 2_000).await.unwrap();
        let (first, second) = (transaction(), transaction());
        assert!(matches!(asks(first).await, Recipient::Known(_)));
        // There is room, but for those who asked before.
        assert_eq!(asks(second).await, Recipient::NotNow);
        house.deposit.abandon(first).await.unwrap();
        assert!(matches!(asks(second).await, Recipient::Known(_)));
        house.deposit.abandon(second).await.unwrap();
        assert_eq!(house.deliver("ben@home.test", &[b'x'; 2_000]).await, Delivered::Durable);
        assert_eq!(asks(transaction()).await, Recipient::OverQuota);
        // A size that was a lie does not get past the quota either.
        let transaction = transaction();
        let target = house.target(transaction, "ben@home.test", 1).await;
        let (end, writing) = sealing(&target, &[b'x'; 2_000]);
        let letters = vec![new_letter(&target, &[b'x'; 2_000])];
        assert_eq!(house.deposit.deliver(transaction, letters, &[end.as_fd()]).await.unwrap(), Delivered::MailboxFull);
        drop(end);
        let _ = writing.await;
    });
}

#[test]
fn a_mailbox_has_one_room_and_one_copy_however_many_of_its_addresses_are_named() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let ben = house.add_with("ben@home.test", Some(1_000));
        house.done(Admin::AliasAdd { alias: "us@home.test".into(), target: "ben@home.test".into() });
        let name = transaction();
        for address in ["ben@home.test", "us@home.test", "ben+x@home.test"] {
            let answer = house.deposit.recipient(name, address, 600).await.unwrap();
            assert!(matches!(answer, Recipient::Known(_)), "{address}: {answer:?}");
        }
        let other = house.deposit.recipient(transaction(), "us@home.test", 600).await.unwrap();
        assert_eq!(other, Recipient::NotNow);
        let target = house.target(name, "us@home.test", 600).await;
        let ((one, first), (two, second)) = (sealing(&target, b"hello"), sealing(&target, b"hello"));
        let letters = vec![new_letter(&target, b"hello"), new_letter(&target, b"hello")];
        assert!(house.deposit.deliver(name, letters, &[one.as_fd(), two.as_fd()]).await.is_err());
        house.deposit.closed().await;
        drop((one, two));
        let _ = (first.await, second.await);
        let (mailbox, _events) = house.login(&ben).await.unwrap();
        assert_eq!(open(&mailbox, "INBOX").await.1.len(), 0);
    });
}

#[test]
fn a_suspended_mailbox_still_takes_mail_and_so_does_an_alias_with_it() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let (anna, ben) = (house.add("anna@home.test"), house.add("ben@home.test"));
        for target in ["anna@home.test", "ben@home.test"] {
            house.done(Admin::AliasAdd { alias: "us@home.test".into(), target: target.into() });
        }
        house.done(Admin::MailboxSuspend { address: "anna@home.test".into(), on: true });
        assert_eq!(house.deliver("anna@home.test", b"alone").await, Delivered::Durable);
        let answer = house.deposit.recipient(transaction(), "us@home.test", 10).await.unwrap();
        let Recipient::Known(targets) = answer else { panic!("{answer:?}") };
        assert_eq!(targets.iter().map(|target| target.mailbox).collect::<Vec<_>>(), [anna.id, ben.id]);
        assert!(house.login(&anna).await.is_none());
        house.done(Admin::MailboxSuspend { address: "anna@home.test".into(), on: false });
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        assert_eq!(open(&mailbox, "INBOX").await.1.len(), 1);
    });
}

/// A submission session's own end, to ask what its client type would not.
async fn queue(house: &Running, anna: &Person) -> Caller<queue::Request, queue::Reply, queue::Event> {
    let (_, socket) = prove(&house.submission, &anna.address, anna.device, &anna.password).await.unwrap();
    Caller::start(socket.into(), tokio::sync::mpsc::channel(1).0).unwrap()
}

#[test]
fn nothing_is_committed_once_its_sender_may_have_given_up() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        let queue = queue(&house, &anna).await;
        let latest = limits::DELIVERY - limits::DELIVERY_MARGIN;
        let second = Duration::from_secs(1);
        for (age, late, expected) in [
            (latest + second, Duration::ZERO, Delivered::Failed),
            (latest - second, second * 2, Delivered::Failed),
            (latest - second * 9, second, Delivered::Durable),
        ] {
            let name = transaction();
            let ask =
                queue::Request::Recipient { transaction: name, address: anna.address.clone(), size: Size::Said(4) };
            let (queue::Reply::Recipient(Recipient::Known(targets)), _) = queue.call(ask, &[]).await.unwrap() else {
                panic!()
            };
            let (end, mut pipe) = LetterPipe::new().unwrap();
            let key = targets[0].public_key.parse().unwrap();
            let writing = tokio::task::spawn_blocking(move || {
                spool::letter::seal(&key, b"s", [&b"late"[..]], &mut pipe).map_err(std::io::Error::other)?;
                std::thread::sleep(late);
                pipe.finish()
            });
            let letters = vec![new_letter(&targets[0], b"late")];
            let deliver = queue::Request::Deliver { transaction: name, begun: Moment::now().before(age), letters };
            let (reply, _) = queue.call(deliver, &[end.as_fd()]).await.unwrap();
            assert!(matches!(reply, queue::Reply::Delivered(outcome) if outcome == expected), "{age:?}: {reply:?}");
            drop(end);
            let _ = writing.await;
        }
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        assert_eq!(open(&mailbox, "INBOX").await.1.len(), 1);
        assert_eq!(files_below(&folder.0.join("letters")).len(), 1);
    });
}

#[test]
fn a_transaction_is_delivered_once() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        let name = transaction();
        assert_eq!(house.deliver_as(name, "anna@home.test", b"once").await, Delivered::Durable);
        assert_eq!(house.deliver_as(name, "anna@home.test", b"once").await, Delivered::Already);
        assert!(house.stop());
        let house = Running::start(&folder.0);
        assert_eq!(house.deliver_as(name, "anna@home.test", b"once").await, Delivered::Already);
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        assert_eq!(open(&mailbox, "INBOX").await.1.len(), 1);
    });
}

#[test]
fn junk_goes_to_the_junk_folder_and_one_record_serves_all() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let (anna, ben) = (house.add("anna@home.test"), house.add("ben@home.test"));
        let transaction = transaction();
        let (to_anna, to_ben) =
            (house.target(transaction, "anna@home.test", 5).await, house.target(transaction, "ben@home.test", 5).await);
        let ((one, first), (two, second)) = (sealing(&to_anna, b"hello"), sealing(&to_ben, b"hello"));
        let mut letters = vec![new_letter(&to_anna, b"hello"), new_letter(&to_ben, b"hello")];
        letters[1].into = Into::Junk;
        let outcome = house.deposit.deliver(transaction, letters, &[one.as_fd(), two.as_fd()]).await.unwrap();
        assert_eq!(outcome, Delivered::Durable);
        first.await.unwrap().unwrap();
        second.await.unwrap().unwrap();
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        assert_eq!(open(&mailbox, "INBOX").await.1.len(), 1);
        let (mailbox, _events) = house.login(&ben).await.unwrap();
        assert_eq!(open(&mailbox, "Junk").await.1.len(), 1);
        assert_eq!(open(&mailbox, "INBOX").await.1.len(), 0);
    });
}

/// Delivers what `write` puts into the pipe.
async fn raw(house: &Running, size: u32, write: impl FnOnce(LetterPipe) + Send + 'static) -> Delivered {
    let transaction = transaction();
    let target = house.target(transaction, "anna@home.test", 10).await;
    let mut letter = new_letter(&target, b"");
    letter.size = size;
    let (end, pipe) = LetterPipe::new().unwrap();
    let writing = tokio::task::spawn_blocking(move || write(pipe));
    let outcome = house.deposit.deliver(transaction, vec![letter], &[end.as_fd()]).await.unwrap();
    drop(end);
    writing.await.unwrap();
    outcome
}

#[test]
fn a_sender_that_dies_half_way_leaves_nothing() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        house.add("anna@home.test");
        let cut = raw(&house, 10_000, |mut pipe| drop(pipe.write_all(&[7; 20_000]))).await;
        assert_eq!(cut, Delivered::Failed);
        assert_eq!(raw(&house, 0, drop).await, Delivered::Failed);
        let long = raw(&house, 10, |mut pipe| {
            let _ = pipe.write_all(&vec![7; 3_000_000]);
            let _ = pipe.finish();
        });
        assert_eq!(long.await, Delivered::Failed);
        let short = raw(&house, 10_000, |mut pipe| {
            pipe.write_all(&[7; 500]).unwrap();
            pipe.finish().unwrap();
        });
        assert_eq!(short.await, Delivered::Failed);
        assert!(files_below(&folder.0.join("incoming")).is_empty());
        assert!(files_below(&folder.0.join("letters")).is_empty());
        assert_eq!(house.deliver("anna@home.test", b"whole").await, Delivered::Durable);
    });
}

#[test]
fn nothing_but_a_pipe_is_read() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        house.add("anna@home.test");
        let file: OwnedFd = std::fs::File::open("/dev/zero").unwrap().into();
        let transaction = transaction();
        let target = house.target(transaction, "anna@home.test", 10).await;
        let letters = vec![new_letter(&target, b"x")];
        assert_eq!(house.deposit.deliver(transaction, letters, &[file.as_fd()]).await.unwrap(), Delivered::Failed);
    });
}

#[test]
fn who_delivers_to_whom_it_did_not_ask_for_is_dropped() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        let target = house.target(transaction(), "anna@home.test", 10).await;
        let (end, _pipe) = LetterPipe::new().unwrap();
        let letters = vec![new_letter(&target, b"x")];
        // Another transaction never asked.
        assert!(house.deposit.deliver(transaction(), letters, &[end.as_fd()]).await.is_err());
        house.deposit.closed().await;
        // Nobody else is affected.
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        assert!(matches!(
            ask(&mailbox, spool::edges::mailbox::Request::Quota).await,
            spool::edges::mailbox::Reply::Quota { .. }
        ));
    });
}

#[test]
fn the_same_age_file_twice_never_overwrites_a_letter() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        let target = house.target(transaction(), "anna@home.test", 10).await;
        let mut age = Vec::new();
        spool::letter::seal(&target.public_key.parse().unwrap(), b"s", [&b"0123456789"[..]], &mut age).unwrap();
        let mut changed = age.clone();
        *changed.last_mut().unwrap() ^= 1;
        // Shorter than what names a letter, the copy has a name of its own; the same bytes have not.
        for (bytes, outcome) in
            [(age.clone(), Delivered::Durable), (age, Delivered::Failed), (changed, Delivered::Durable)]
        {
            let write = move |mut pipe: LetterPipe| {
                pipe.write_all(&bytes).unwrap();
                pipe.finish().unwrap();
            };
            assert_eq!(raw(&house, 10, write).await, outcome);
        }
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        let (_, facts) = open(&mailbox, "INBOX").await;
        assert_eq!(read(&anna, &mailbox, facts[0].letter).await.unwrap(), b"0123456789");
        assert_eq!(read(&anna, &mailbox, facts[1].letter).await, None);
    });
}

#[test]
fn what_somebody_says_they_will_send_closes_no_mailbox() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        house.add_with("ben@home.test", Some(60_000_000));
        let asks = async |size: u64| house.deposit.recipient(transaction(), "ben@home.test", size).await.unwrap();
        for size in [49_000_000, 10_900_000] {
            assert!(matches!(asks(size).await, Recipient::Known(_)));
        }
        assert!(matches!(asks(20_000).await, Recipient::Known(_)));
        assert!(matches!(asks(50_000_000).await, Recipient::Known(_)));
        assert_eq!(asks(60_000_001).await, Recipient::OverQuota);
    });
}

#[test]
fn a_letter_is_charged_what_it_takes_on_the_disk() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let quota = 2_000_000;
        let ben = house.add_with("ben@home.test", Some(quota));
        let mut taken = 0;
        for _ in 0..5 {
            let name = transaction();
            let target = house.target(name, "ben@home.test", 1).await;
            let (end, mut pipe) = LetterPipe::new().unwrap();
            let key = target.public_key.parse().unwrap();
            let writing = tokio::task::spawn_blocking(move || {
                spool::letter::seal(&key, &[7; 900_000], [b"x".as_slice()], &mut pipe)?;
                pipe.finish()
            });
            let letters = vec![new_letter(&target, b"x")];
            let outcome = house.deposit.deliver(name, letters, &[end.as_fd()]).await.unwrap();
            drop(end);
            let _ = writing.await;
            match outcome {
                Delivered::Durable => taken += 1,
                other => assert_eq!(other, Delivered::MailboxFull),
            }
        }
        assert_eq!(taken, 2);
        let (mailbox, _events) = house.login(&ben).await.unwrap();
        let used = async |mailbox: &Mailbox| match ask(mailbox, Request::Quota).await {
            Reply::Quota { used, .. } => used,
            other => panic!("{other:?}"),
        };
        let before = used(&mailbox).await;
        let lies: u64 = files_below(&folder.0.join("letters")).iter().map(|file| file.metadata().unwrap().len()).sum();
        assert!((lies..lies + 2 * 1024 + 2).contains(&before), "{before} for {lies}");
        drop(mailbox);
        assert!(house.stop());
        let house = Running::start(&folder.0);
        house.checkpoint();
        assert!(house.stop());
        let house = Running::start(&folder.0);
        let (mailbox, _events) = house.login(&ben).await.unwrap();
        assert_eq!(used(&mailbox).await, before);
    });
}

#[test]
fn a_letter_sealed_to_an_identity_nobody_has_is_a_breach() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        let name = transaction();
        let target = house.target(name, "anna@home.test", 5).await;
        let (end, _writing) = sealing(&target, b"hello");
        let letter = spool::edges::NewLetter { generation: 99, ..new_letter(&target, b"hello") };
        let append =
            Request::Append { name: "INBOX".into(), letter: letter.clone(), flags: 0, keywords: vec![], arrived: None };
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        assert!(mailbox.ask(append, &[end.as_fd()]).await.is_err());
        assert!(house.deposit.deliver(name, vec![letter], &[end.as_fd()]).await.is_err());
    });
}
