//! Every step to the disk fails once, in turn: what was acknowledged is there afterwards, what was not is
//! nowhere half, whoever asked is answered, and the keeper goes on or ends and begins anew.

use std::sync::Arc;

use rustix::io::Errno;
use spool::disk::{Disk, Faults};
use spool::edges::Delivered;

use crate::house::{Folder, Running, files_below, open, read, run};

/// How the disk fails, from the step on which it does.
pub type Plan = fn(u64) -> Arc<Faults>;

pub const PLANS: [(&str, Plan); 3] = [
    ("full", |step| Faults::once(step, Errno::NOSPC)),
    ("broken", |step| Faults::once(step, Errno::IO)),
    ("dead", Faults::crash),
];

#[test]
fn any_step_may_fail() {
    run(async {
        for (name, plan) in PLANS {
            let mut step = 1;
            while one(plan(step), &format!("step {step} {name}"), step).await {
                step += 1;
            }
            assert!(step > 15, "only {step} steps");
        }
    });
}

/// Delivers three letters with step number `step` failing; `false` when there are not so many steps.
async fn one(faults: Arc<Faults>, what: &str, step: u64) -> bool {
    let folder = Folder::new();
    let first = Running::start(&folder.0);
    let anna = first.add("anna@home.test");
    assert_eq!(first.deliver("anna@home.test", b"before").await, Delivered::Durable);
    assert!(first.stop());
    let mut acknowledged = vec![b"before".to_vec()];
    // A keeper that does not open is begun again by `up`.
    if let Ok(house) = Running::on(&folder.0, Disk::faulty(faults.clone())) {
        let mut refused = false;
        for message in [b"one", b"two", b"six"] {
            match deliver(&house, message).await {
                Some(Delivered::Durable) => acknowledged.push(message.to_vec()),
                Some(Delivered::Full | Delivered::MailboxFull | Delivered::Failed | Delivered::Waiting) => {
                    refused = true
                }
                Some(Delivered::Already) => panic!("{what}: never sent before"),
                Some(Delivered::Spent { .. }) => panic!("nothing was to leave"),
                None => assert!(refused, "{what}: the edge closed without an answer"),
            }
        }
        house.stop();
    }
    let house = Running::start(&folder.0);
    let (mailbox, _events) = house.login(&anna).await.unwrap();
    let (_, facts) = open(&mailbox, "INBOX").await;
    let mut found = Vec::new();
    for fact in &facts {
        found.push(read(&anna, &mailbox, fact.letter).await.expect("every letter that is shown is whole"));
    }
    for message in &acknowledged {
        let times = found.iter().filter(|known| *known == message).count();
        assert_eq!(times, 1, "{what}: {}", String::from_utf8_lossy(message));
    }
    assert!(found.len() <= 4);
    assert!(files_below(&folder.0.join("incoming")).is_empty());
    assert_eq!(files_below(&folder.0.join("letters")).len(), facts.len(), "{what}");
    faults.steps() >= step
}

/// `None` when the keeper ended meanwhile.
pub async fn deliver(house: &Running, message: &[u8]) -> Option<Delivered> {
    use std::os::fd::AsFd;
    let name = crate::house::transaction();
    let found = house.deposit.recipient(name, "anna@home.test", message.len() as u64).await.ok()?;
    let targets = match found {
        spool::edges::Recipient::Known(targets) => targets,
        // It was met at the start: then this keeper only reads.
        spool::edges::Recipient::OnlyReads => return Some(Delivered::Failed),
        other => panic!("{other:?}"),
    };
    let (end, writing) = crate::house::sealing(&targets[0], message);
    let letters = vec![crate::house::new_letter(&targets[0], message)];
    let outcome = house.deposit.deliver(name, letters, &[end.as_fd()]).await;
    drop(end);
    let _ = writing.await;
    outcome.ok()
}
