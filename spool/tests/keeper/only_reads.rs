//! A disk that takes no writes: what is there is read, what would be written is refused, and nothing is believed that a
//! sync has failed for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use spool::disk::{Disk, Faults};
use spool::edges::mailbox::{Change, Refusal, Reply, Request, flag};
use spool::edges::{Delivered, Recipient, Size, admin};
use spool::journal::sure::Left;
use spool::keeper::{Manner, Start};

use crate::faults::deliver;
use crate::house::{
    EDGES, Folder, Person, Running, ask, files_below, new_mailbox, open, read, run, start, transaction,
};

fn everything(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files_below(root).into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

async fn messages(house: &Running, person: &Person) -> Vec<Vec<u8>> {
    let (mailbox, _events) = house.login(person).await.unwrap();
    let (_, facts) = open(&mailbox, "INBOX").await;
    let mut found = Vec::new();
    for fact in facts {
        found.push(read(person, &mailbox, fact.letter).await.unwrap());
    }
    found
}

async fn recipient(house: &Running, address: &str) -> Recipient {
    house.deposit.recipient(transaction(), address, Size::Said(100)).await.unwrap()
}

#[test]
fn what_is_there_is_read_and_nothing_is_written_until_it_can_be() {
    run(async {
        for errno in [Errno::ROFS, Errno::IO, Errno::NOSPC] {
            let folder = Folder::new();
            let first = Running::start(&folder.0);
            let anna = first.add("anna@home.test");
            assert_eq!(first.deliver("anna@home.test", b"before").await, Delivered::Durable);
            assert!(first.stop());
            let before = everything(&folder.0);
            let faults = Faults::none();
            faults.refuse(Some(errno));
            let house = Running::on(&folder.0, Disk::faulty(faults.clone())).unwrap();
            only_read(&house, &anna).await;
            // The journal, the letters, the cache: as they were.
            assert_eq!(everything(&folder.0), before, "{errno}");
            faults.refuse(None);
            let until = Instant::now() + Duration::from_secs(60);
            while house.try_ask(admin::Request::Domains).is_some() {
                assert!(Instant::now() < until, "{errno}: it goes on refusing");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert!(house.stop(), "{errno}");
            let house = Running::start(&folder.0);
            assert_eq!(house.deliver("anna@home.test", b"after").await, Delivered::Durable);
            assert_eq!(messages(&house, &anna).await, [b"before".to_vec(), b"after".to_vec()]);
            assert!(crate::check::check(&house, false).0.is_empty(), "{errno}");
            assert!(house.stop());
        }
    });
}

async fn only_read(house: &Running, anna: &Person) {
    assert_eq!(messages(house, anna).await, [b"before".to_vec()]);
    let (mailbox, _events) = house.login(anna).await.unwrap();
    let (inbox, facts) = open(&mailbox, "INBOX").await;
    let uids = vec![(1, 1)];
    let store = Request::Store { folder: inbox.id, uids, change: Change::Add, flags: flag::SEEN, keywords: Vec::new() };
    assert!(matches!(ask(&mailbox, store).await, Reply::Refused(Refusal::OnlyReads)));
    let create = Request::Create { name: "New".into(), special_use: None };
    assert!(matches!(ask(&mailbox, create).await, Reply::Refused(Refusal::OnlyReads)));
    assert!(matches!(ask(&mailbox, Request::Summaries { letters: vec![facts[0].letter] }).await, Reply::Summaries));
    assert_eq!(recipient(house, "anna@home.test").await, Recipient::OnlyReads);
    assert_eq!(recipient(house, "nobody@home.test").await, Recipient::Unknown);
    for request in [new_mailbox("eve@home.test", None).0, admin::Request::Writes] {
        let reply = house.ask(request);
        assert!(matches!(&reply, admin::Reply::Refused(why) if why.contains("can only be read")), "{reply:?}");
    }
    assert!(matches!(house.ask(admin::Request::Domains), admin::Reply::Domains(_)));
}

fn leaving(left: &Arc<Left>, manner: Manner) -> Start {
    let mut start = start(EDGES.to_vec());
    (start.left, start.manner) = (Some(left.clone()), manner);
    start
}

/// The kernel takes for written what it could not write, and goes on showing it.
#[test]
fn what_a_failed_sync_has_left_is_not_believed() {
    run(async {
        let (mut step, mut failed) = (1, 0);
        loop {
            let folder = Folder::new();
            let first = Running::start(&folder.0);
            let anna = first.add("anna@home.test");
            assert_eq!(first.deliver("anna@home.test", b"before").await, Delivered::Durable);
            assert!(first.stop());
            let (faults, left) = (Faults::once(step, Errno::IO), Arc::new(Left::new().unwrap()));
            let house = Running::from(&folder.0, Disk::faulty(faults.clone()), leaving(&left, Manner::Serve)).unwrap();
            let mut promised = vec![b"before".to_vec()];
            for message in [b"one", b"two"] {
                if deliver(&house, message).await == Some(Delivered::Durable) {
                    promised.push(message.to_vec());
                }
            }
            house.stop();
            failed += usize::from(left.read().is_some());
            for manner in [Manner::Read, Manner::Serve, Manner::Serve] {
                let house = Running::from(&folder.0, Disk::default(), leaving(&left, manner)).unwrap();
                assert_eq!(messages(&house, &anna).await, promised, "step {step}, {manner:?}");
                assert_eq!(house.deliver_unless_read(manner, b"next").await, manner == Manner::Serve);
                promised.extend((manner == Manner::Serve).then(|| b"next".to_vec()));
                assert!(house.stop());
            }
            assert_eq!(left.read(), None, "what a start has settled is the disk's");
            let house = Running::start(&folder.0);
            assert_eq!(messages(&house, &anna).await, promised, "step {step}");
            let (found, _) = crate::check::check(&house, false);
            assert!(found.iter().all(|found| found.settled()), "step {step}: {found:?}");
            if faults.steps() < step {
                break;
            }
            step += 1;
        }
        assert!(failed > 2, "{failed} of {step} steps were the journal's");
    });
}

/// Its first batch, in a first segment.
#[test]
fn a_journal_that_never_came_to_the_disk_is_an_empty_one() {
    run(async {
        let mut kept = Vec::new();
        for step in 1.. {
            let folder = Folder::new();
            let (faults, left) = (Faults::once(step, Errno::IO), Arc::new(Left::new().unwrap()));
            let opened = Running::from(&folder.0, Disk::faulty(faults.clone()), leaving(&left, Manner::Serve));
            let added = opened.map(|house| {
                let added = house.try_ask(new_mailbox("anna@home.test", None).0);
                house.stop();
                matches!(added, Some(admin::Reply::Done))
            });
            let house = Running::from(&folder.0, Disk::default(), leaving(&left, Manner::Serve)).unwrap();
            let known = recipient(&house, "anna@home.test").await;
            assert_eq!(added == Ok(true), matches!(known, Recipient::Known(_)), "step {step}: {added:?}");
            kept.extend(added);
            assert!(house.stop());
            if faults.steps() < step {
                break;
            }
        }
        assert!(kept.contains(&false) && kept.contains(&true), "{kept:?}");
    });
}
