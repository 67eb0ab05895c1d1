//! What a crash leaves of the journal, however the disk orders its writes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use spool::commit::{Committer, With};
use spool::disk::{Disk, Faults};
use spool::index::Index;
use spool::journal::files::{self, segment_path};
use spool::journal::limits;
use spool::journal::open::{Opened, open};
use spool::journal::record::Record;
use spool::journal::segment::{HEADER, Kind, header};
use spool::names::MailboxId;

use crate::check::check;
use crate::house::{Folder, KEY, Running, copy, run};

const PAGE: usize = 4096;

type Journal = (Arc<Committer<()>>, std::thread::JoinHandle<()>);

fn start(root: &Path, disk: Disk) -> Journal {
    let opened = open(&disk, &root.join("journal"), &KEY).unwrap();
    Committer::start(disk, root, KEY, opened, ()).unwrap()
}

fn reopened(root: &Path) -> Opened {
    open(&Disk::default(), &root.join("journal"), &KEY).unwrap()
}

fn end((committer, thread): Journal) {
    committer.stop();
    thread.join().unwrap();
}

/// Entries of one batch: their names, and one long one so that the batch has some pages.
fn batch(journal: &Journal, names: &[&str]) {
    let mut core = journal.0.lock();
    let mut number = 0;
    for name in names {
        let alias = format!("{name}@{}", "x".repeat(if *name == "long" { 3 * PAGE } else { 9 }));
        let entry = vec![Record::AliasAdded { alias, target: MailboxId(1) }];
        number = journal.0.take(&mut core, entry, &With::default()).unwrap();
    }
    drop(core);
    assert!(journal.0.wait(number));
}

fn aliases(index: &Index) -> Vec<String> {
    index.aliases().map(|(alias, _)| alias.split('@').next().unwrap().to_owned()).collect()
}

/// Some batches, and the spool as a power cut after the last one leaves it.
fn cut_off(batches: &[&[&str]]) -> Folder {
    let (folder, cut) = (Folder::new(), Folder::new());
    let journal = start(&folder.0, Disk::default());
    batches.iter().for_each(|names| batch(&journal, names));
    copy(&folder.0, &cut.0);
    end(journal);
    cut
}

/// Puts zeros over a page behind what `find` finds in the first segment.
fn lose_a_page(root: &Path, nth: usize) {
    let path = segment_path(&root.join("journal"), 1);
    let mut file = std::fs::read(&path).unwrap();
    file[nth * PAGE..(nth + 1) * PAGE].fill(0);
    std::fs::write(&path, file).unwrap();
}

#[test]
fn a_page_of_the_last_batch_that_never_came_is_a_torn_tail() {
    let cut = cut_off(&[&["a"], &["b", "long", "c", "d"]]);
    // The long entry has lost a page; those behind it are there.
    lose_a_page(&cut.0, 1);
    for round in 0..3 {
        let opened = reopened(&cut.0);
        assert!(!opened.damaged, "{:?}", opened.findings);
        assert_eq!(aliases(&opened.index), ["a", "b"], "round {round}");
        assert_eq!(opened.findings.len(), usize::from(round == 0), "{:?}", opened.findings);
        end(Committer::start(Disk::default(), &cut.0, KEY, opened, ()).unwrap());
    }
}

#[test]
fn a_page_of_an_earlier_batch_that_is_gone_is_damage() {
    for batches in [&[&["a"][..], &["b", "long", "c"], &["d"]][..], &[&["a", "long"], &["b", "c"]]] {
        let cut = cut_off(batches);
        lose_a_page(&cut.0, 1);
        let opened = reopened(&cut.0);
        assert!(opened.damaged, "{:?}", opened.findings);
        assert_eq!(
            aliases(&opened.index).last(),
            batches.last().unwrap().last().map(|last| (*last).to_owned()).as_ref()
        );
    }
}

#[test]
fn a_torn_tail_before_a_segment_that_never_began_is_cut() {
    let made = header(Kind::Log, 2, &[7; 32]);
    for next in [&[][..], &[0; 10_000], &made] {
        let cut = cut_off(&[&["a"], &["b", "long", "c"]]);
        lose_a_page(&cut.0, 1);
        std::fs::write(segment_path(&cut.0.join("journal"), 2), next).unwrap();
        for round in 0..3 {
            let opened = reopened(&cut.0);
            assert!(!opened.damaged, "{:?}", opened.findings);
            assert_eq!(
                (opened.findings.len(), aliases(&opened.index)),
                (usize::from(round == 0), vec!["a".to_owned(), "b".to_owned()])
            );
            let journal = Committer::start(Disk::default(), &cut.0, KEY, opened, ()).unwrap();
            batch(&journal, &["a"]);
            end(journal);
        }
    }
}

#[test]
fn a_durable_end_that_is_gone_is_damage_though_segments_between_are_empty() {
    let cut = cut_off(&[&["a"], &["b"]]);
    std::fs::write(segment_path(&cut.0.join("journal"), 2), []).unwrap();
    end(start(&cut.0, Disk::default()));
    let path = segment_path(&cut.0.join("journal"), 1);
    let file = std::fs::read(&path).unwrap();
    std::fs::write(&path, &file[..HEADER + 100]).unwrap();
    assert!(reopened(&cut.0).damaged);
}

#[test]
fn a_crash_while_a_segment_is_made_leaves_nothing_to_mend() {
    run(async {
        let made = header(Kind::Log, 1, &[7; 32]);
        let torn = [&made[..], &[40, 0, 0, 0, 0, 0, 0, 0, 5, 5, 5]].concat();
        for left in [&[][..], &[0; 100], &[0; 200_000], &made, &torn] {
            let folder = Folder::new();
            let house = Running::start(&folder.0);
            let anna = house.add("anna@home.test");
            assert!(house.stop());
            for round in 0..4 {
                if round < 2 {
                    let dir = folder.0.join("journal");
                    let next = files::list_only(&dir).unwrap().segments.last().unwrap() + 1;
                    let mut left = left.to_vec();
                    if left.starts_with(&made[..8]) {
                        left[16] = u8::try_from(next).unwrap();
                    }
                    std::fs::write(segment_path(&dir, next), left).unwrap();
                }
                let house = Running::start(&folder.0);
                assert_eq!(check(&house, false).0, vec![], "round {round}");
                house.deliver("anna@home.test", b"letter").await;
                assert_eq!(check(&house, true).0, vec![], "round {round}");
                let (mailbox, _events) = house.login(&anna).await.unwrap();
                assert_eq!(crate::house::open(&mailbox, "INBOX").await.1.len(), round + 1);
                drop(mailbox);
                assert!(house.stop());
            }
        }
    });
}

/// `act` in a thread; it must come to an end.
fn ends<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(act()));
    ended.recv_timeout(Duration::from_secs(120)).expect("it hangs")
}

#[test]
fn a_checkpoint_ends_whatever_the_disk_does() {
    let mut step = 1;
    loop {
        let folder = Folder::new();
        let faults = Faults::once(step, Errno::IO);
        let disk = Disk::faulty(faults.clone());
        if let Ok(opened) = open(&disk, &folder.0.join("journal"), &KEY) {
            let journal = Committer::start(disk, &folder.0, KEY, opened, ()).unwrap();
            let number = {
                let entry = vec![Record::AliasAdded { alias: "a@b".into(), target: MailboxId(1) }];
                journal.0.take(&mut journal.0.lock(), entry, &With::default()).unwrap()
            };
            let committer = journal.0.clone();
            let written = ends(move || committer.checkpoint(false).is_ok());
            let durable = journal.0.wait(number);
            end(journal);
            let opened = reopened(&folder.0);
            assert!(!opened.damaged && (!durable || aliases(&opened.index) == ["a"]), "step {step}");
            if written && faults.steps() < step {
                break;
            }
        }
        step += 1;
    }
    assert!(step > 15, "only {step} steps");
}

#[test]
fn no_checkpoint_outlives_the_keeper() {
    for round in 0..20 {
        let folder = Folder::new();
        let journal = start(&folder.0, Disk::default());
        batch(&journal, &["a"]);
        let committer = journal.0.clone();
        let checkpoints = std::thread::spawn(move || while committer.checkpoint(false).is_ok() {});
        std::thread::sleep(Duration::from_millis(round));
        let committer = journal.0.clone();
        end(journal);
        committer.settle();
        let names = || {
            let mut names: Vec<_> =
                std::fs::read_dir(folder.0.join("journal")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let before = names();
        ends(move || checkpoints.join().unwrap());
        assert_eq!(before, names());
        let refused = ends(move || committer.checkpoint(false).is_err());
        assert!(refused && !reopened(&folder.0).damaged);
    }
}

#[test]
fn an_end_cut_off_after_a_stop_in_order_is_told_until_it_is_mended() {
    let folder = Folder::new();
    let journal = start(&folder.0, Disk::default());
    batch(&journal, &["one"]);
    let (number, before) = journal.0.durable_bytes();
    batch(&journal, &["two"]);
    end(journal);
    let cut = |folder: &Folder, bytes| {
        let path = segment_path(&folder.0.join("journal"), number);
        std::fs::File::options().write(true).open(path).unwrap().set_len(bytes).unwrap();
    };
    let (whole, killed) = (Folder::new(), Folder::new());
    copy(&folder.0, &whole.0);
    copy(&folder.0, &killed.0);
    assert!(!reopened(&whole.0).damaged);
    // The same cut where nobody has closed it is what a power cut leaves.
    std::fs::remove_file(killed.0.join("journal/closed")).unwrap();
    cut(&killed, before);
    assert!(!reopened(&killed.0).damaged);
    // Twice: a start may die before it has mended that.
    cut(&folder, before);
    assert!(reopened(&folder.0).damaged);
    let told = reopened(&folder.0);
    assert!(told.damaged && told.findings.iter().any(|found| found.place == "journal/closed"), "{:?}", told.findings);
    assert_eq!(aliases(&told.index), ["one"]);
    let journal = start(&folder.0, Disk::default());
    journal.0.checkpoint(true).unwrap();
    batch(&journal, &["three"]);
    end(journal);
    let after = reopened(&folder.0);
    assert!(!after.damaged && after.findings.is_empty(), "{:?}", after.findings);
    assert_eq!(aliases(&after.index), ["one", "three"]);
}

#[test]
fn letters_whose_entries_were_cut_off_are_given_back() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        house.deliver("anna@home.test", b"first").await;
        let (number, before) = house.durable_bytes();
        house.deliver("anna@home.test", b"second").await;
        assert!(house.stop());
        let path = segment_path(&folder.0.join("journal"), number);
        std::fs::File::options().write(true).open(path).unwrap().set_len(before).unwrap();
        let house = Running::start(&folder.0);
        assert!(check(&house, false).0.iter().any(|found| found.place == "journal/closed"));
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        let (_, facts) = crate::house::open(&mailbox, "Recovered").await;
        assert_eq!(facts.len(), 1);
        let letter = crate::house::read(&anna, &mailbox, facts[0].letter).await;
        assert_eq!(letter.unwrap(), b"second");
    });
}

/// Who is killed cuts nothing off; on a full disk the next start has no other room.
#[test]
fn a_start_takes_back_the_room_that_was_written_ahead() {
    let cut = cut_off(&[&["a"], &["b"]]);
    let dir = cut.0.join("journal");
    let last = *files::list_only(&dir).unwrap().segments.last().unwrap();
    let length = || std::fs::metadata(segment_path(&dir, last)).unwrap().len();
    assert!(length() > limits::AHEAD);
    let journal = start(&cut.0, Disk::default());
    assert!(length() < PAGE as u64, "{}", length());
    assert_eq!(aliases(&journal.0.lock().index), ["a", "b"]);
    end(journal);
    let again = reopened(&cut.0);
    assert!(!again.damaged && again.findings.is_empty(), "{:?}", again.findings);
    assert_eq!(aliases(&again.index), ["a", "b"]);
}

/// What a stop gives back on a full disk, others take.
#[test]
fn a_stop_without_a_reserve_keeps_its_room() {
    for reserve in [true, false] {
        let cut = cut_off(&[&["a"]]);
        let dir = cut.0.join("journal");
        let journal = start(&cut.0, Disk::default());
        batch(&journal, &["b"]);
        if !reserve {
            std::fs::remove_file(dir.join("reserve")).unwrap();
        }
        end(journal);
        let last = *files::list_only(&dir).unwrap().segments.last().unwrap();
        let length = std::fs::metadata(segment_path(&dir, last)).unwrap().len();
        assert_eq!(length > limits::AHEAD, !reserve, "{length}");
        let again = reopened(&cut.0);
        assert!(!again.damaged && again.findings.is_empty(), "{:?}", again.findings);
        assert_eq!(aliases(&again.index), ["a", "b"]);
    }
}

/// The key is known to be the right one: what was closed with it says so.
#[test]
fn the_first_byte_of_the_only_segment_is_damage_like_any_other() {
    let folder = Folder::new();
    let journal = start(&folder.0, Disk::default());
    batch(&journal, &["a"]);
    end(journal);
    let path = segment_path(&folder.0.join("journal"), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[10] ^= 0x20;
    std::fs::write(&path, bytes).unwrap();
    let again = reopened(&folder.0);
    assert!(again.damaged && !again.findings.is_empty());
    assert_eq!(aliases(&again.index), Vec::<String>::new());
}
