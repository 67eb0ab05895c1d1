//! Giving letters back is interrupted at every step: no letter is lost, none comes twice, and it can be gone
//! on with.

use spool::disk::{Disk, Faults};
use spool::edges::admin::{Reply, Request};

use crate::faults::PLANS;
use crate::house::{Folder, Person, Running, copy, files_below, open, read, run};
use crate::recover::{found, segments};

const LETTERS: usize = 5;

async fn delivered(folder: &Folder) -> Person {
    let house = Running::start(&folder.0);
    let anna = house.add("anna@home.test");
    for number in 0..LETTERS {
        house.deliver("anna@home.test", format!("letter {number}").as_bytes()).await;
    }
    assert!(house.stop());
    anna
}

/// Every letter is there, once.
async fn whole(house: &Running, anna: &Person, what: &str) {
    let (mailbox, _events) = house.login(anna).await.expect(what);
    let mut facts = open(&mailbox, "INBOX").await.1;
    facts.extend(open(&mailbox, "Recovered").await.1);
    let mut messages = Vec::new();
    for fact in &facts {
        messages.push(read(anna, &mailbox, fact.letter).await.expect(what));
    }
    messages.sort();
    messages.dedup();
    assert_eq!((messages.len(), facts.len()), (LETTERS, LETTERS), "{what}");
}

fn unknown(house: &Running) -> usize {
    let Reply::Unknown { some, .. } = house.ask(Request::Unknown) else { panic!() };
    some.len()
}

#[test]
fn a_recovery_that_ends_at_any_step_loses_nothing_and_can_be_gone_on_with() {
    run(async {
        let lost = Folder::new();
        let anna = delivered(&lost).await;
        for gone in ["journal", "cache"] {
            std::fs::remove_dir_all(lost.0.join(gone)).unwrap();
        }
        let (mut step, mut again, mut on_with) = (1, true, 0);
        while again {
            let what = format!("step {step}");
            let folder = Folder::new();
            copy(&lost.0, &folder.0);
            let faults = Faults::crash(step);
            if let Ok(house) = Running::on(&folder.0, Disk::faulty(faults.clone())) {
                let request = found(&folder, &house, &anna);
                let reply = house.try_ask(request).expect("an answer");
                again = !matches!(reply, Reply::Done);
                house.stop();
            }
            let house = Running::start(&folder.0);
            if unknown(&house) > 0 {
                on_with += u32::from(folder.0.join(format!("mailboxes/{}/recovering", anna.id)).exists());
                house.done(found(&folder, &house, &anna));
            }
            for _ in 0..2 {
                assert_eq!(unknown(&house), 0, "{what}");
            }
            whole(&house, &anna, &what).await;
            assert!(house.stop());
            // Now a letter without a record is a stranger again.
            let stranger = folder.0.join(format!("letters/{}/0f", anna.id));
            std::fs::create_dir_all(&stranger).unwrap();
            std::fs::write(stranger.join("0f".repeat(16)), b"never acknowledged").unwrap();
            let house = Running::start(&folder.0);
            whole(&house, &anna, &what).await;
            assert!(house.stop());
            assert_eq!(files_below(&folder.0.join("set-aside")).len(), 1, "{what}");
            step += 1;
        }
        assert!(on_with > 3, "gone on with {on_with} times in {step} steps");
    });
}

#[test]
fn a_recovery_without_room_is_refused_until_there_is_some() {
    run(async {
        let folder = Folder::new();
        let anna = delivered(&folder).await;
        std::fs::remove_dir_all(folder.0.join("journal")).unwrap();
        let faults = Faults::none();
        let house = Running::on(&folder.0, Disk::faulty(faults.clone())).unwrap();
        faults.set_full(true);
        let Reply::Refused(_) = house.ask(found(&folder, &house, &anna)) else { panic!() };
        faults.set_full(false);
        house.done(found(&folder, &house, &anna));
        whole(&house, &anna, "with room").await;
    });
}

#[test]
fn mending_a_damaged_journal_may_fail_at_any_step() {
    run(async {
        let damaged = Folder::new();
        let anna = delivered(&damaged).await;
        let journal = &segments(&damaged)[0];
        let mut bytes = std::fs::read(journal).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(journal, bytes).unwrap();
        for (name, plan) in PLANS {
            let (mut step, mut again) = (1, true);
            while again {
                let what = format!("step {step} {name}");
                let folder = Folder::new();
                copy(&damaged.0, &folder.0);
                let faults = plan(step);
                let house = Running::on(&folder.0, Disk::faulty(faults.clone()));
                again = faults.steps() >= step;
                drop(house.map(Running::stop));
                for _ in 0..2 {
                    let house = Running::start(&folder.0);
                    whole(&house, &anna, &what).await;
                    assert!(house.stop());
                }
                assert!(files_below(&folder.0.join("set-aside")).is_empty(), "{what}");
                step += 1;
            }
            assert!(step > 25, "only {step} steps");
        }
    });
}

#[test]
fn one_bad_letter_keeps_nobody_from_their_mail() {
    run(async {
        let folder = Folder::new();
        let anna = delivered(&folder).await;
        let journal = &segments(&folder)[0];
        let mut bytes = std::fs::read(journal).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(journal, bytes).unwrap();
        // Under a letter's name, what cannot be read; and where only folders should be, a file.
        std::fs::create_dir_all(folder.0.join(format!("letters/{}/0e/{}", anna.id, "0e".repeat(16)))).unwrap();
        std::fs::create_dir_all(folder.0.join("set-aside")).unwrap();
        std::fs::write(folder.0.join("set-aside").join("file"), b"").unwrap();
        std::fs::create_dir(folder.0.join("incoming").join("folder")).unwrap();
        let house = Running::start(&folder.0);
        whole(&house, &anna, "started").await;
        let (findings, _) = crate::check::check(&house, false);
        assert!(findings.iter().any(|finding| finding.place.ends_with(&"0e".repeat(16))), "{findings:?}");
    });
}

/// A letter has its name before its bytes are on the disk.
#[test]
fn what_a_power_cut_leaves_of_a_letter_is_given_for_none() {
    run(async {
        let (later, cut) = (Folder::new(), Folder::new());
        let anna = delivered(&later).await;
        copy(&later.0, &cut.0);
        let house = Running::start(&later.0);
        house.deliver("anna@home.test", &[b'x'; 4_000]).await;
        assert!(house.stop());
        let name = |path: &std::path::PathBuf| path.strip_prefix(&later.0).unwrap().to_owned();
        let more = files_below(&later.0.join("letters")).iter().map(name).find(|name| !cut.0.join(name).exists());
        let more = more.unwrap();
        let bytes = std::fs::read(later.0.join(&more)).unwrap();
        std::fs::create_dir_all(cut.0.join(&more).parent().unwrap()).unwrap();
        std::fs::write(cut.0.join(&more), &bytes[..spool::letter::Frame::BYTES + spool::names::HEAD + 1]).unwrap();
        std::fs::write(cut.0.join(format!("mailboxes/{}/recovering", anna.id)), b"letters\n").unwrap();
        let house = Running::start(&cut.0);
        whole(&house, &anna, "after the cut").await;
        assert_eq!(files_below(&cut.0.join("set-aside")).len(), 1);
    });
}
