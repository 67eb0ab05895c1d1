//! kill -9 at random moments under load: everything acknowledged is there, nothing twice.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use filter_sandbox::edge::Edge;
use spool::disk::Disk;
use spool::edges::Delivered;
use spool::edges::mailbox::{Change, Reply, Request, flag};
use spool::keeper::{Keeper, Start};
use wire::control::Controls;

use crate::house::{EDGES, Folder, Person, Running, ends, new_letter, open, read, run, sealing, start, transaction};

const CHILD: &str = "POSTERN_TEST_KEEPER";
const ROUNDS: u64 = 20;

/// Not a test: the keeper's process, when the test starts this binary again. Its control edge is its stdin.
#[test]
fn child() {
    let Some(root) = std::env::var_os(CHILD) else { return };
    let control = Edge::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    let (start, descriptors) = wire::control::start::<Start>(&control).unwrap();
    let keeper = Keeper::open(Path::new(&root), Disk::default(), &start).unwrap();
    let edges = start.edges.iter().copied().zip(descriptors).collect();
    spool::keeper::runtime().unwrap().block_on(async {
        keeper.serve(edges, Some(Controls::new(control).unwrap())).await.unwrap();
    });
}

pub fn spawn(root: &Path) -> (Running, std::process::Child) {
    let (ours, theirs, control, told) = ends();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture", "--test-threads=1"])
        .env(CHILD, root)
        .stdin(std::process::Stdio::from(OwnedFd::from(told)))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let edges = EDGES.to_vec();
    let with: Vec<BorrowedFd<'_>> = theirs.iter().map(AsFd::as_fd).collect();
    control.send(&start(edges), &with).unwrap();
    (Running::clients(ours, control, None), child)
}

/// Delivers until the keeper is gone; the messages that were acknowledged.
async fn sender(house: &Running, who: u64, round: u64) -> Vec<Vec<u8>> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let message = format!("{round} {who} {number} {}", "x".repeat((number % 5) * 7_000)).into_bytes();
        let name = transaction();
        let Ok(found) = house.deposit.recipient(name, "anna@home.test", message.len() as u64).await else { break };
        let spool::edges::Recipient::Known(targets) = found else { panic!("{found:?}") };
        let (end, writing) = sealing(&targets[0], &message);
        let letters = vec![new_letter(&targets[0], &message)];
        let outcome = house.deposit.deliver(name, letters, &[end.as_fd()]).await;
        drop(end);
        let _ = writing.await;
        match outcome {
            Ok(Delivered::Durable) => acknowledged.push(message),
            Ok(other) => panic!("{other:?}"),
            Err(_) => break,
        }
    }
    acknowledged
}

/// Flags letters until the keeper is gone; the UIDs that were acknowledged.
async fn reader(house: &Running, anna: &Person) -> Vec<u32> {
    let mut flagged = Vec::new();
    let Some((mailbox, mut events)) = house.login(anna).await else { return flagged };
    let drain = tokio::spawn(async move { while events.recv().await.is_some() {} });
    let Ok((reply, _)) = mailbox.ask(Request::Open { name: "INBOX".into(), take_recent: true, known: None }, &[]).await
    else {
        return flagged;
    };
    let Reply::Opened { folder, .. } = reply else { panic!() };
    let first = folder.uid_next.saturating_sub(30).max(1);
    for uid in first.. {
        let store = Request::Store {
            folder: folder.id,
            uids: vec![(uid, uid)],
            change: Change::Add,
            flags: flag::FLAGGED,
            keywords: vec![],
        };
        match mailbox.ask(store, &[]).await {
            Ok((Reply::Done, _)) if uid < folder.uid_next => flagged.push(uid),
            Ok((Reply::Done, _)) => tokio::time::sleep(Duration::from_millis(1)).await,
            Ok((other, _)) => panic!("{other:?}"),
            Err(_) => break,
        }
    }
    drain.abort();
    flagged
}

#[test]
fn what_was_acknowledged_survives_kill_nine() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        assert!(house.stop());
        let mut acknowledged: Vec<Vec<u8>> = Vec::new();
        let mut flagged: HashSet<u32> = HashSet::new();
        for round in 0..ROUNDS {
            let (house, mut child) = spawn(&folder.0);
            // Killed while it opens, too.
            let moment = Duration::from_millis(20 + (round * 7_919) % 400);
            let kill = async {
                tokio::time::sleep(moment).await;
                child.kill().unwrap();
                child.wait().unwrap();
            };
            let (one, two, three, flags, ()) = tokio::join!(
                sender(&house, 1, round),
                sender(&house, 2, round),
                sender(&house, 3, round),
                reader(&house, &anna),
                kill,
            );
            acknowledged.extend([one, two, three].concat());
            flagged.extend(flags);
        }
        let house = Running::start(&folder.0);
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        let (_, facts) = open(&mailbox, "INBOX").await;
        let mut found = HashSet::new();
        for fact in &facts {
            let message = read(&anna, &mailbox, fact.letter).await.expect("whole");
            assert!(found.insert(message), "a transaction twice");
            if flagged.contains(&fact.uid) {
                assert_eq!(fact.flags & flag::FLAGGED, flag::FLAGGED, "uid {}", fact.uid);
            }
        }
        assert!(acknowledged.len() > 20, "only {} letters", acknowledged.len());
        for message in &acknowledged {
            assert!(found.contains(message), "lost: {}", String::from_utf8_lossy(&message[..20.min(message.len())]));
        }
        println!("{} letters acknowledged, {} found, {} flags", acknowledged.len(), facts.len(), flagged.len());
        let request = spool::edges::admin::Request::Check { repair: false };
        let more = |reply: &spool::edges::admin::Reply| matches!(reply, spool::edges::admin::Reply::Progress { .. });
        match house.ask_all(request, more).last().unwrap() {
            spool::edges::admin::Reply::Checked { some, .. } => assert!(some.is_empty(), "{some:?}"),
            other => panic!("{other:?}"),
        }
    });
}
