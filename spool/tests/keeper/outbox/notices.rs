//! Whom the courier can tell that a letter failed.

use std::os::fd::AsFd;

use spool::edges::admin;
use spool::edges::notices::Notices;
use spool::edges::outbox::{Leased, Said, State};
use spool::edges::queue::Posted;
use spool::edges::{Delivered, Recipient, Size, Target};

use super::{Annas, MESSAGE, annas, courier, later, lease, post, posted, queue, rest, said};
use crate::house::{Folder, Running, new_letter, run, sealing, transaction};

#[test]
fn what_fails_together_is_told_together() {
    run(async {
        let Annas { folder: _folder, house, outbox, news: _news, anna: _anna, queue } = annas().await;
        let to = ["ben@far.test", "cleo@third.test", "dan@slow.test", "eva@resting.test"];
        post(&house, &queue, transaction(), posted("anna@home.test", &to)).await.unwrap();
        outbox.rest("resting.test".into(), rest(wire::date::now() + 1_000)).await.unwrap();
        let [far, third, slow] = [lease(&outbox).await, lease(&outbox).await, lease(&outbox).await].map(Option::unwrap);
        let never = |leased: &Leased| {
            let last = Said { at: wire::date::now(), ..said("no such person") };
            vec![(leased.recipients[0], State::Untold { delivered: false, last })]
        };
        assert!(outbox.report(far.lease, never(&far)).await.unwrap());
        assert_eq!(lease(&outbox).await, None, "others of it are being tried");
        assert!(outbox.report(third.lease, never(&third)).await.unwrap());
        assert_eq!(lease(&outbox).await, None);
        assert!(outbox.report(slow.lease, vec![(slow.recipients[0], later(wire::date::now() + 900))]).await.unwrap());
        let tell = lease(&outbox).await.unwrap();
        let mut both = [far.recipients[0], third.recipients[0]];
        both.sort_unstable();
        assert_eq!((tell.destination.as_str(), &tell.recipients[..]), ("", &both[..]), "one notice of both");
        assert!(house.stop());
    });
}

/// The courier names letters, never mailboxes: it can reach nobody who did not send one of those that wait.
#[test]
fn notices_reach_who_sent_and_nobody_else() {
    run(async {
        let folder = Folder::new();
        let mut house = Running::start(&folder.0);
        let (outbox, _news) = courier(&mut house);
        let notices = Notices::new(house.notices.take().unwrap()).unwrap();
        let anna = house.add("anna@home.test");
        let ben = house.add("ben@home.test");
        let add = |alias: &str, target: &str| {
            house.ask(admin::Request::AliasAdd { alias: alias.into(), target: target.into() })
        };
        for (alias, target) in [("us@home.test", "anna@home.test"), ("us@home.test", "ben@home.test")] {
            assert!(matches!(add(alias, target), admin::Reply::Done));
        }
        assert!(matches!(add("us@home.test", "aunt@far.test"), admin::Reply::Done));
        let queue = queue(&house, &anna).await;
        let size = Size::Said(10);
        let post_as = async |sender: Option<&str>| {
            let letter = Posted { sender: sender.map(ToOwned::to_owned), ..posted("", &["ben@far.test"]) };
            assert_eq!(post(&house, &queue, transaction(), letter).await.unwrap(), Delivered::Durable);
            lease(&outbox).await.unwrap().letter
        };
        // Under a name that is several people's, and passes mail on besides: it was Anna's login.
        let shared = post_as(Some("us@home.test")).await;
        let name = transaction();
        let Recipient::Known(targets) = notices.listener(name, shared, size).await.unwrap() else { panic!() };
        assert_eq!(targets.iter().map(|target| target.mailbox).collect::<Vec<_>>(), [anna.id]);
        let (end, writing) = sealing(&targets[0], MESSAGE);
        let letters = vec![new_letter(&targets[0], MESSAGE)];
        assert_eq!(notices.deliver(name, letters, &[end.as_fd()]).await.unwrap(), Delivered::Durable);
        drop(end);
        let _ = writing.await;
        // Never to the null sender, nor about what nobody sent.
        let bounce = post_as(None).await;
        assert_eq!(notices.listener(transaction(), bounce, size).await.unwrap(), Recipient::Unknown);
        let nothing = spool::names::LetterId([9; 16]);
        assert_eq!(notices.listener(transaction(), nothing, size).await.unwrap(), Recipient::Unknown);
        // A mailbox that it was not told of is out of its reach.
        let bens = Target { mailbox: ben.id, ..targets[0].clone() };
        let (end, _writing) = sealing(&bens, MESSAGE);
        let letters = vec![new_letter(&bens, MESSAGE)];
        assert!(notices.deliver(transaction(), letters, &[end.as_fd()]).await.is_err());
        assert!(house.stop());
    });
}

#[test]
fn senders_who_cannot_be_told_now_keep_nobody_waiting() {
    run(async {
        let Annas { folder: _folder, house, outbox, news: _news, anna: _anna, queue } = annas().await;
        for to in ["ben@far.test", "cat@else.test"] {
            post(&house, &queue, transaction(), posted("anna@home.test", &[to])).await.unwrap();
        }
        let sent = [lease(&outbox).await.unwrap(), lease(&outbox).await.unwrap()];
        for sent in sent {
            let untold = State::Untold { delivered: false, last: said("no") };
            assert!(outbox.report(sent.lease, vec![(0, untold)]).await.unwrap());
        }
        let first = outbox.lease(None, 1).await.unwrap().unwrap().0;
        assert_eq!(first.destination, "");
        assert!(outbox.report(first.lease, Vec::new()).await.unwrap(), "not now");
        let second = outbox.lease(None, 1).await.unwrap().unwrap().0;
        assert!(second.destination.is_empty() && second.letter != first.letter, "the other has its turn");
        assert!(outbox.report(second.lease, Vec::new()).await.unwrap());
        assert_eq!(lease(&outbox).await, None);
        // What told of one told of all of them, and that is to be written down.
        outbox.wake().await.unwrap();
        for _ in 0..2 {
            let again = lease(&outbox).await.expect("it waits no longer");
            assert!(outbox.report(again.lease, Vec::new()).await.unwrap());
        }
        assert_eq!(lease(&outbox).await, None);
        // "Now" is now.
        house.ask(admin::Request::QueueRetry { letter: None });
        assert!(lease(&outbox).await.is_some() && lease(&outbox).await.is_some());
        assert!(house.stop());
    });
}
