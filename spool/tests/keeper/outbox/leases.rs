//! What the courier is given, and when.

use std::time::Duration;

use spool::edges::Delivered;
use spool::edges::admin;
use spool::edges::outbox::{Event, Leased, State};

use super::{Annas, DONE, MESSAGE, annas, courier, later, lease, post, posted, rest, said};
use crate::house::{Folder, Running, files_below, run, transaction};

#[test]
fn a_letter_is_leased_reported_and_gone() {
    run(async {
        let Annas { folder, house, outbox, mut news, anna, queue } = annas().await;
        assert_eq!(lease(&outbox).await, None);
        let to = ["ben@far.test", "cleo@FAR.test", "dan@third.test"];
        assert_eq!(
            post(&house, &queue, transaction(), posted("Anna+x@home.test", &to)).await.unwrap(),
            Delivered::Durable
        );
        let heard = tokio::time::timeout(Duration::from_secs(60), news.recv()).await.unwrap();
        assert_eq!(heard, Some(Event::Due));

        let (first, file) = outbox.lease(None, 10).await.unwrap().unwrap();
        let expect = spool::letter::Expect { mailbox: anna.id, letter: first.letter, size: None };
        let mut opened = spool::letter::Opened::open(std::fs::File::from(file), &expect, &anna.identities).unwrap();
        let size = opened.size();
        assert_eq!(opened.read_range(0, size).unwrap(), MESSAGE);
        let second = lease(&outbox).await.unwrap();
        let shown = |leased: &Leased| (leased.destination.clone(), leased.recipients.clone());
        let mut both = [shown(&first), shown(&second)];
        both.sort();
        assert_eq!(both, [("far.test".into(), vec![0, 1]), ("third.test".into(), vec![2])]);
        assert_eq!(lease(&outbox).await, None, "all of it is leased");

        for leased in [&first, &second] {
            let states = leased.recipients.iter().map(|number| (*number, DONE)).collect();
            assert!(outbox.report(leased.lease, states).await.unwrap());
        }
        assert_eq!(lease(&outbox).await, None);
        assert!(house.stop());
        assert!(files_below(&folder.0.join("outgoing")).is_empty());
    });
}

#[test]
fn with_the_last_that_is_due_comes_that_it_is() {
    run(async {
        let Annas { folder: _folder, house, outbox, mut news, anna: _anna, queue } = annas().await;
        let write = async |to: &str| {
            post(&house, &queue, transaction(), posted("anna@home.test", &[to])).await.unwrap();
        };
        for to in ["ben@far.test", "ben@far.test", "cleo@third.test"] {
            write(to).await;
        }
        let one = async || outbox.lease(None, 1).await.unwrap().map(|(leased, _)| leased);
        let there = async || outbox.lease(Some("far.test".into()), 9).await.unwrap().unwrap().0;
        let (first, other) = (one().await.unwrap(), one().await.unwrap());
        assert!(first.more && other.more, "what no connection may have now is due all the same");
        let second = there().await;
        assert_eq!((second.destination.as_str(), second.more), ("far.test", false));
        for leased in [&first, &other, &second] {
            assert!(outbox.report(leased.lease, vec![(0, DONE)]).await.unwrap());
        }
        write("dan@far.test").await;
        let last = one().await.unwrap();
        assert!(!last.more);
        while news.try_recv().is_ok() {}
        // Nobody has asked again, and what comes is told.
        write("eve@far.test").await;
        let heard = tokio::time::timeout(Duration::from_secs(60), news.recv()).await.unwrap();
        assert_eq!(heard, Some(Event::Due));
        assert!(house.stop());
    });
}

#[test]
fn what_was_leased_by_a_courier_that_died_is_due_again() {
    run(async {
        let Annas { folder, mut house, outbox, news: _news, anna: _anna, queue } = annas().await;
        let to = ["ben@far.test", "cleo@far.test", "dan@far.test"];
        post(&house, &queue, transaction(), posted("anna@home.test", &to)).await.unwrap();
        let leased = lease(&outbox).await.unwrap();
        let untold = State::Untold { delivered: false, last: said("no") };
        assert!(outbox.report(leased.lease, vec![(0, DONE), (1, untold.clone())]).await.unwrap());
        let again = lease(&outbox).await.unwrap();
        assert_eq!((again.destination.as_str(), again.recipients), ("", vec![1]), "its sender is told first");
        drop(outbox);
        // With and without a checkpoint between, what is known is the same.
        for checkpoint in [false, true] {
            if checkpoint {
                house.checkpoint();
            }
            assert!(house.stop());
            house = Running::start(&folder.0);
            let (outbox, _news) = courier(&mut house);
            let (one, two) = (lease(&outbox).await.unwrap(), lease(&outbox).await.unwrap());
            assert_eq!((one.destination.as_str(), &one.recipients), ("", &vec![1]));
            assert_eq!((two.destination.as_str(), &two.recipients), ("far.test", &vec![2]));
            let states: Vec<_> = two.outgoing.recipients.into_iter().map(|one| one.state).collect();
            assert_eq!(states[..2], [DONE, State::Done { delivered: false }], "of the others no words");
            assert_eq!(lease(&outbox).await, None);
        }
        assert!(house.stop());
    });
}

#[test]
fn later_is_not_now_and_rest_is_rest() {
    run(async {
        let Annas { folder: _folder, house, outbox, mut news, anna: _anna, queue } = annas().await;
        for to in ["ben@far.test", "ben@far.test", "cleo@third.test"] {
            post(&house, &queue, transaction(), posted("anna@home.test", &[to])).await.unwrap();
        }
        // One at a time for each destination.
        let one = async || outbox.lease(None, 1).await.unwrap().map(|(leased, _)| leased);
        let (far, other) = (one().await.unwrap(), one().await.unwrap());
        assert_eq!((far.destination.as_str(), other.destination.as_str()), ("far.test", "third.test"));
        assert_eq!(one().await, None);
        assert_eq!(outbox.lease(Some("far.test".into()), 1).await.unwrap().map(|(leased, _)| leased), None);
        let next = outbox.lease(Some("far.test".into()), 2).await.unwrap().unwrap().0;
        assert_ne!(next.letter, far.letter);

        assert!(outbox.report(far.lease, vec![(0, later(wire::date::now() + 2))]).await.unwrap());
        assert!(outbox.report(next.lease, Vec::new()).await.unwrap(), "given back as it was");
        outbox.rest("far.test".into(), rest(wire::date::now() + 1_000)).await.unwrap();
        assert_eq!(one().await, None, "it rests");
        outbox.rest("far.test".into(), rest(0)).await.unwrap();
        assert_eq!(one().await.unwrap().letter, next.letter);
        assert_eq!(one().await, None);
        // When it is due again the courier hears of it.
        while news.try_recv().is_ok() {}
        tokio::time::timeout(Duration::from_secs(60), news.recv()).await.unwrap().unwrap();
        loop {
            match outbox.lease(None, 2).await.unwrap() {
                Some((leased, _)) => break assert_eq!(leased.letter, far.letter),
                None => drop(tokio::time::timeout(Duration::from_secs(60), news.recv()).await.unwrap()),
            }
        }
        assert!(house.stop());
    });
}

#[test]
fn what_is_kept_back_is_not_tried_again() {
    run(async {
        let Annas { folder: _folder, house, outbox, news: _news, anna: _anna, queue } = annas().await;
        post(&house, &queue, transaction(), posted("anna@home.test", &["ben@far.test"])).await.unwrap();
        let leased = lease(&outbox).await.unwrap();
        let letter = leased.letter;
        assert!(outbox.report(leased.lease, vec![(0, later(wire::date::now() + 1_000))]).await.unwrap());
        house.ask(admin::Request::QueueHold { letter, on: true });
        let admin::Reply::Refused(why) = house.ask(admin::Request::QueueRetry { letter: Some(letter) }) else {
            panic!("tried")
        };
        assert!(why.contains("postern queue release"), "{why}");
        house.ask(admin::Request::QueueRetry { letter: None });
        house.ask(admin::Request::QueueHold { letter, on: false });
        assert_eq!(lease(&outbox).await, None, "its time has not changed");
        assert!(matches!(house.ask(admin::Request::QueueRetry { letter: Some(letter) }), admin::Reply::Done));
        assert_eq!(lease(&outbox).await.unwrap().letter, letter);
        assert!(house.stop());
    });
}

#[test]
fn what_a_suspended_mailbox_has_written_waits_with_it() {
    run(async {
        let Annas { folder: _folder, house, outbox, mut news, anna, queue } = annas().await;
        post(&house, &queue, transaction(), posted("anna@home.test", &["ben@far.test"])).await.unwrap();
        let suspend = |on| house.ask(admin::Request::MailboxSuspend { address: anna.address.clone(), on });
        suspend(true);
        assert_eq!(lease(&outbox).await, None);
        let admin::Reply::Queue { some, .. } = house.ask(admin::Request::QueueList) else { panic!("no list") };
        assert!(some[0].held);
        let retry = admin::Request::QueueRetry { letter: Some(some[0].letter) };
        let admin::Reply::Refused(why) = house.ask(retry) else { panic!("tried") };
        assert!(why.contains("suspend --lift anna@home.test"), "{why}");
        let release = admin::Request::QueueHold { letter: some[0].letter, on: false };
        assert!(matches!(house.ask(release), admin::Reply::Refused(why) if why.contains("--lift anna@home.test")));
        while news.try_recv().is_ok() {}
        assert_eq!(lease(&outbox).await, None);
        suspend(false);
        // Sooner than it would look again by itself.
        tokio::time::timeout(Duration::from_secs(60), news.recv()).await.unwrap().unwrap();
        let leased = lease(&outbox).await.unwrap();
        assert_eq!(leased.letter, some[0].letter);
        assert!(outbox.report(leased.lease, vec![(0, later(wire::date::now() + 1_000))]).await.unwrap());
        suspend(true);
        house.done(admin::Request::MailboxRemove { address: anna.address.clone() });
        let admin::Reply::Queue { some, .. } = house.ask(admin::Request::QueueList) else { panic!("no list") };
        assert!(some.is_empty(), "what was kept back goes with the mailbox");
        assert!(house.stop());
    });
}

#[test]
fn a_file_that_nobody_was_told_of_is_set_aside() {
    let folder = Folder::new();
    assert!(run(async { Running::start(&folder.0).stop() }));
    let name = "00112233445566778899aabbccddeeff";
    std::fs::write(folder.0.join("outgoing").join(name), b"half a letter").unwrap();
    assert!(run(async { Running::start(&folder.0).stop() }));
    assert!(folder.0.join("set-aside/outgoing").join(name).exists());
    assert!(files_below(&folder.0.join("outgoing")).is_empty());
}
