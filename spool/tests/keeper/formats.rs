//! Spools of other formats: a newer one is refused and stays as it is, an older one is brought forward while it is served.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use spool::disk::{Disk, Faults};
use spool::edges::Delivered;
use spool::edges::admin::Fate;
use spool::format::{self, Format};
use spool::journal::files;
use spool::journal::segment::{self, Chain, Kind, Reader, Step};
use spool::keeper::Manner;
use spool::keeper::house::House;
use spool::migrate::{self, Piece};

use crate::check::check;
use crate::house::{Folder, KEY, Person, Running, files_below, open, read, run};

/// Every file and what is in it.
fn picture(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files_below(root).into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// A spool with Anna, who has one letter.
async fn spool() -> (Folder, Person) {
    let folder = Folder::new();
    let house = Running::start(&folder.0);
    let anna = house.add("anna@home.test");
    house.deliver("anna@home.test", b"first").await;
    assert!(house.stop());
    (folder, anna)
}

/// The same as it was before there were formats: no file that says so, a journal without marks.
async fn first_format() -> (Folder, Person) {
    let (folder, anna) = spool().await;
    let dir = folder.0.join("journal");
    let listing = files::list_only(&dir).unwrap();
    assert_eq!((listing.segments.as_slice(), listing.checkpoints.len()), ([1].as_slice(), 0));
    let path = files::segment_path(&dir, 1);
    let file = std::fs::read(&path).unwrap();
    let mut old = segment::header(Kind::Log, 1, file[..segment::HEADER].last_chunk().unwrap()).to_vec();
    old[8] = 1;
    let mut chain = Chain::begin(&KEY, &old, Kind::Log, 1).unwrap();
    for step in Reader::new(&KEY, &file, Kind::Log, 1).unwrap() {
        let Step::Entry(_, plain) = step else { panic!("{step:?}") };
        chain.seal(&plain, false, &mut old).unwrap();
    }
    std::fs::write(path, old).unwrap();
    std::fs::remove_file(dir.join("closed")).unwrap();
    std::fs::remove_file(folder.0.join("format")).unwrap();
    assert!(files::some_without_marks(&dir).unwrap());
    (folder, anna)
}

async fn letters(house: &Running, anna: &Person) -> Vec<Vec<u8>> {
    let (mailbox, _events) = house.login(anna).await.unwrap();
    let mut found = Vec::new();
    for fact in open(&mailbox, "INBOX").await.1 {
        found.push(read(anna, &mailbox, fact.letter).await.unwrap());
    }
    found
}

/// Soon.
async fn migrated(root: &Path) {
    tokio::time::timeout(Duration::from_secs(120), async {
        while format::look(root).unwrap() != Format::NEWEST {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
}

#[test]
fn a_new_spool_says_what_it_is() {
    run(async {
        let (folder, _) = spool().await;
        let text = std::fs::read_to_string(folder.0.join("format")).unwrap();
        assert_eq!(text, "postern spool, format 2\nneeds postern 0.1.0 or later\n");
    });
}

#[test]
fn a_newer_spool_is_refused_and_stays_byte_for_byte() {
    run(async {
        let (folder, _) = spool().await;
        for (text, words) in [
            ("postern spool, format 3\nneeds postern 0.9.0 or later\nand more\n", "version 0.9.0 or later"),
            ("postern spool, format 2\n", "cannot be understood"),
            ("", "cannot be understood"),
        ] {
            std::fs::write(folder.0.join("format"), text).unwrap();
            std::fs::write(folder.0.join("incoming/half"), "a letter").unwrap();
            let before = picture(&folder.0);
            for manner in [Manner::Serve, Manner::Repair, Manner::Look] {
                let refused = Running::with(&folder.0, Disk::default(), manner).err().unwrap();
                assert!(refused.contains(words) && refused.contains("nothing was changed"), "{refused}");
                assert!(picture(&folder.0) == before, "{manner:?}");
            }
        }
    });
}

#[test]
fn what_a_newer_one_wrote_into_the_journal_is_refused_not_cut_off() {
    run(async {
        let (folder, _) = spool().await;
        let dir = folder.0.join("journal");
        std::fs::remove_file(dir.join("closed")).unwrap();
        let (next, salt) = (files::segment_path(&dir, 2), [5; 32]);
        // An entry that our key has sealed, and that says nothing we know; then a segment of a version to come.
        let mut strange = segment::header(Kind::Log, 2, &salt).to_vec();
        Chain::begin(&KEY, &strange, Kind::Log, 2).unwrap().seal(&[1, 250, 1, 2, 3], true, &mut strange).unwrap();
        let mut later = segment::header(Kind::Log, 2, &salt);
        later[8] = 9;
        for (bytes, words) in [(strange, "does not know"), ([&later[..], &[7; 300]].concat(), "version 9")] {
            std::fs::write(&next, bytes).unwrap();
            let before = picture(&folder.0);
            for manner in [Manner::Serve, Manner::Repair, Manner::Look] {
                let refused = Running::with(&folder.0, Disk::default(), manner).err().unwrap();
                assert!(refused.contains(words) && refused.contains("newer Postern"), "{refused}");
                assert!(picture(&folder.0) == before, "{manner:?}");
            }
        }
        // With what only the newer one understands out of the way, all is as it was.
        std::fs::remove_file(next).unwrap();
        assert_eq!(check(&Running::start(&folder.0), false), (vec![], 1));
    });
}

#[test]
fn a_letter_of_a_newer_one_stays_where_it_is() {
    run(async {
        let (folder, _) = spool().await;
        let path = files_below(&folder.0.join("letters")).pop().unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut later = whole.clone();
        (later[8], later[60]) = (2, !later[60]);
        std::fs::write(&path, &later).unwrap();
        let house = Running::start(&folder.0);
        for repair in [false, true] {
            let (findings, _) = check(&house, repair);
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert!(findings[0].what.contains("newer Postern") && findings[0].fate == Fate::Open, "{findings:?}");
            assert_eq!(std::fs::read(&path).unwrap(), later);
        }
        // A bit of ours that flipped is damage like any other.
        let mut flipped = whole;
        flipped[8] = 3;
        std::fs::write(&path, flipped).unwrap();
        assert!(check(&house, false).0[0].what.contains("damaged"));
    });
}

#[test]
fn a_slots_file_of_a_newer_one_is_not_written_over() {
    run(async {
        let (folder, anna) = spool().await;
        let mailbox = spool::store::mailbox_path(&folder.0, anna.id);
        let mut later = std::fs::read(mailbox.join("slots.2")).unwrap();
        later[8] = 2;
        later.push(0);
        std::fs::write(mailbox.join("slots.2"), &later).unwrap();
        let before = picture(&mailbox);
        let house = Running::start(&folder.0);
        let (findings, _) = check(&house, true);
        assert!(findings.iter().any(|found| found.what.contains("newer Postern")), "{findings:?}");
        assert!(house.stop());
        assert!(picture(&mailbox) == before);
    });
}

#[test]
fn an_older_spool_is_brought_forward_while_mail_comes() {
    run(async {
        let (folder, anna) = first_format().await;
        let house = Running::start(&folder.0);
        assert_eq!(house.deliver("anna@home.test", b"second").await, Delivered::Durable);
        migrated(&folder.0).await;
        assert!(!files::some_without_marks(&folder.0.join("journal")).unwrap());
        assert_eq!(letters(&house, &anna).await, [b"first".to_vec(), b"second".to_vec()]);
        assert!(house.stop());
        let house = Running::start(&folder.0);
        assert_eq!(check(&house, false), (vec![], 2));
        assert_eq!(letters(&house, &anna).await.len(), 2);
    });
}

/// A command without a running box raises the format (it writes in the newest) and leaves the rest to the box.
#[test]
fn who_only_looks_changes_no_format() {
    run(async {
        let (folder, _) = first_format().await;
        let before = picture(&folder.0);
        drop(spool::keeper::Keeper::open(&folder.0, Disk::default(), &looking()).unwrap());
        assert!(picture(&folder.0) == before);
    });
}

fn looking() -> spool::keeper::Start {
    let mut start = crate::house::start(vec![]);
    start.manner = Manner::Look;
    start
}

/// From every step of the disk on nothing reaches it any more, as after a kill; then a sound disk.
#[test]
fn a_migration_that_is_killed_at_any_step_comes_to_its_end() {
    run(async {
        let (folder, anna) = first_format().await;
        for step in 1.. {
            let copy = Folder::new();
            crate::house::copy(&folder.0, &copy.0);
            let faults = Faults::crash(step);
            let mut reached = false;
            if let Ok(house) = Running::on(&copy.0, Disk::faulty(faults.clone())) {
                let until = tokio::time::Instant::now() + Duration::from_secs(120);
                // Its end, or the step from which nothing happens.
                while faults.steps() < step && !reached {
                    reached = format::look(&copy.0).unwrap() == Format::NEWEST;
                    assert!(tokio::time::Instant::now() < until, "step {step}");
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                house.stop();
            }
            let format = format::look(&copy.0).unwrap();
            let segments = files::list_only(&copy.0.join("journal")).unwrap().segments.len();
            assert!(segments == 1 || format.newest == Format::NEWEST.newest, "step {step}: written before it was said");
            let marked = !files::some_without_marks(&copy.0.join("journal")).unwrap();
            assert!(marked || format.oldest == 1, "step {step}: said before it was done");
            let house = Running::start(&copy.0);
            migrated(&copy.0).await;
            assert_eq!(letters(&house, &anna).await, [b"first".to_vec()], "step {step}");
            assert_eq!(check(&house, false), (vec![], 1), "step {step}");
            assert!(house.stop());
            if reached {
                return assert!(step > 10, "{step}");
            }
        }
    });
}

static PIECES: AtomicU32 = AtomicU32::new(0);
static ENOUGH: AtomicBool = AtomicBool::new(false);

fn piece(house: &House) -> std::io::Result<Piece> {
    assert_eq!(format::look(&house.root).unwrap().oldest, 1, "said before it was done");
    PIECES.fetch_add(1, Ordering::SeqCst);
    Ok(if ENOUGH.load(Ordering::SeqCst) { Piece::Last } else { Piece::More })
}

#[test]
fn mail_comes_between_the_pieces_of_a_long_step() {
    run(async {
        let (folder, anna) = spool().await;
        let behind = Format { newest: format::KNOWN, oldest: 1 };
        behind.write(&Disk::default(), &folder.0).unwrap();
        // An offline keeper's: no migration of its own beside the test's.
        let keeper = spool::keeper::Keeper::open(&folder.0, Disk::default(), &crate::house::start(vec![])).unwrap();
        let steps: &'static [migrate::Step] = &[migrate::Step { from: 1, piece }];
        let house = keeper.house().clone();
        let migration = tokio::spawn(migrate::run(house, behind, steps));
        while PIECES.load(Ordering::SeqCst) < 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let entry = vec![spool::journal::Record::Subscribed { mailbox: anna.id, name: "Between".to_owned(), on: true }];
        let committer = &keeper.house().committer;
        let number = committer.take(&mut committer.lock(), entry, &spool::commit::With::default()).unwrap();
        assert!(committer.wait(number));
        assert_eq!(format::look(&folder.0).unwrap(), behind);
        ENOUGH.store(true, Ordering::SeqCst);
        migration.await.unwrap();
        assert_eq!(format::look(&folder.0).unwrap(), Format::NEWEST);
    });
}
