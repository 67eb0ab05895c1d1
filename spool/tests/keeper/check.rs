//! `spool check` finds what was changed on disk, and mends what can be.

use spool::edges::admin::{Fate, Finding, Reply, Request};
use spool::journal::files;
use spool::journal::segment::{self, Chain, Kind};

use crate::house::{Folder, KEY, Running, files_below, open, read, run};

pub fn check(house: &Running, repair: bool) -> (Vec<Finding>, u64) {
    let more = |reply: &Reply| matches!(reply, Reply::Progress { .. } | Reply::Checked { more: true, .. });
    let mut findings = Vec::new();
    let mut count = 0;
    for reply in house.ask_all(Request::Check { repair }, more) {
        match reply {
            Reply::Checked { some, letters, .. } => {
                findings.extend(some);
                count = letters;
            }
            Reply::Progress { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    (findings, count)
}

pub fn flip(path: &std::path::Path, at: impl Fn(usize) -> usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_sound_spool_has_no_findings() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        house.add("anna@home.test");
        for _ in 0..5 {
            house.deliver("anna@home.test", b"fine").await;
        }
        assert_eq!(check(&house, false), (vec![], 5));
        assert!(house.stop());
        assert_eq!(check(&Running::start(&folder.0), true), (vec![], 5));
    });
}

#[test]
fn slots_that_are_older_than_the_journal_are_told() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        house.add("anna@home.test");
        let old: Vec<_> = files_below(&folder.0.join("mailboxes"))
            .into_iter()
            .map(|path| (std::fs::read(&path).unwrap(), path))
            .collect();
        house.done(Request::AliasAdd { alias: "us@home.test".into(), target: "anna@home.test".into() });
        assert!(house.stop());
        let slots = |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap().starts_with("slots");
        old.iter().filter(|(_, path)| slots(path)).for_each(|(bytes, path)| std::fs::write(path, bytes).unwrap());
        let (findings, _) = check(&Running::start(&folder.0), false);
        let told = |found: &Finding| found.fate == Fate::Open && found.what.starts_with("older than the journal");
        assert!(findings.iter().any(told), "{findings:?}");
    });
}

#[test]
fn a_pipe_in_place_of_a_letter_is_told_and_waited_for_by_nobody() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        house.add("anna@home.test");
        house.deliver("anna@home.test", b"fine").await;
        let letter = files_below(&folder.0.join("letters")).remove(0);
        std::fs::remove_file(&letter).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &letter, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for repair in [false, true] {
            let (findings, _) = check(&house, repair);
            assert!(matches!(&findings[..], [one] if one.fate == Fate::Open && one.what.contains("something else")));
        }
    });
}

#[test]
fn a_flipped_byte_anywhere_in_a_letter_is_told_and_repair_sets_it_aside() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        for _ in 0..3 {
            house.deliver("anna@home.test", &[b'x'; 5_000]).await;
        }
        let files = files_below(&folder.0.join("letters"));
        flip(&files[0], |_| 3);
        flip(&files[1], |length| length - 1);
        let (findings, _) = check(&house, false);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings.iter().all(|finding| !finding.settled() && finding.what.contains("damaged")));
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        let (_, facts) = open(&mailbox, "INBOX").await;
        let mut whole = 0;
        for fact in &facts {
            whole += usize::from(read(&anna, &mailbox, fact.letter).await.is_some());
        }
        assert_eq!(whole, 1);
        for finding in check(&house, true).0 {
            let Fate::SetAside(path) = &finding.fate else { panic!("{finding:?}") };
            assert!(folder.0.join(path).is_file(), "{finding:?}");
        }
        assert_eq!(open(&mailbox, "INBOX").await.1.len(), 1);
        assert_eq!(files_below(&folder.0.join("set-aside")).len(), 2);
        assert_eq!(check(&house, false).0, vec![]);
    });
}

#[test]
fn two_swapped_letters_go_back_and_a_lost_one_leaves_its_folder() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        for _ in 0..3 {
            house.deliver("anna@home.test", b"letter").await;
        }
        let files = files_below(&folder.0.join("letters"));
        let beside = folder.0.join("beside");
        std::fs::rename(&files[0], &beside).unwrap();
        std::fs::rename(&files[1], &files[0]).unwrap();
        std::fs::rename(&beside, &files[1]).unwrap();
        std::fs::remove_file(&files[2]).unwrap();
        let (findings, _) = check(&house, true);
        assert_eq!(findings.len(), 3, "{findings:?}");
        let count = |fate| findings.iter().filter(|finding| finding.fate == fate).count();
        assert_eq!((count(Fate::Mended), count(Fate::Gone)), (2, 1), "{findings:?}");
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        let (_, facts) = open(&mailbox, "INBOX").await;
        assert_eq!(facts.len(), 2);
        for fact in facts {
            assert_eq!(read(&anna, &mailbox, fact.letter).await.unwrap(), b"letter");
        }
        assert_eq!(check(&house, false).0, vec![]);
    });
}

#[test]
fn a_damaged_copy_of_the_slots_and_a_cut_audit_log_are_told() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        let own = folder.0.join("mailboxes").join(anna.id.to_string());
        flip(&own.join("slots"), |length| length / 2);
        let (findings, _) = check(&house, true);
        assert!(findings.len() == 1 && findings[0].settled(), "{findings:?}");
        house.done(Request::AliasAdd { alias: "us@home.test".into(), target: "anna@home.test".into() });
        std::fs::write(own.join("audit"), b"").unwrap();
        let (findings, _) = check(&house, false);
        assert!(findings.len() == 1 && findings[0].place.ends_with("audit"), "{findings:?}");
        assert!(house.login(&anna).await.is_some());
    });
}

#[test]
fn a_letter_nobody_was_told_of_is_set_aside_at_the_start() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        house.deliver("anna@home.test", b"told").await;
        assert!(house.stop());
        let files = files_below(&folder.0.join("letters"));
        let shard = files[0].parent().unwrap().with_file_name("0f");
        std::fs::create_dir_all(&shard).unwrap();
        let stranger = shard.join("0f".repeat(16));
        std::fs::copy(&files[0], &stranger).unwrap();
        let house = Running::start(&folder.0);
        assert_eq!(files_below(&folder.0.join("set-aside")).len(), 1);
        assert_eq!(files_below(&folder.0.join("letters")), files);
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        assert_eq!(open(&mailbox, "INBOX").await.1.len(), 1);
        drop(mailbox);
        assert!(house.stop());
        let aside = &files_below(&folder.0.join("set-aside"))[0];
        for (days, left) in [(29, 1), (31, 0)] {
            let then = std::time::SystemTime::now() - std::time::Duration::from_secs(days * 86_400);
            std::fs::File::open(aside).unwrap().set_modified(then).unwrap();
            assert!(Running::start(&folder.0).stop());
            assert_eq!(files_below(&folder.0.join("set-aside")).len(), left, "after {days} days");
        }
    });
}

#[test]
fn a_commit_under_way_is_no_damage() {
    run(async {
        use std::os::unix::fs::FileExt;
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        house.add("anna@home.test");
        house.deliver("anna@home.test", b"letter").await;
        let (number, durable) = house.durable_bytes();
        let path = files::segment_path(&folder.0.join("journal"), number);
        // What reading half of a batch may meet: a hole, then a whole entry.
        let file = std::fs::read(&path).unwrap();
        let mut chain = Chain::begin(&KEY, &file, Kind::Log, number).unwrap();
        let mut sealed = Vec::new();
        for _ in 0..50 {
            assert!(chain.seal(&[0], true, &mut sealed).is_some());
        }
        let entry = &sealed[sealed.len() - segment::FRAMING - 1 - segment::TAG..];
        std::fs::File::options().write(true).open(&path).unwrap().write_all_at(entry, durable + 10).unwrap();
        assert_eq!(check(&house, true), (vec![], 1));
        assert!(!files_below(&folder.0).iter().any(|path| path.to_string_lossy().ends_with(".damaged")));
    });
}

#[test]
fn a_segment_or_checkpoint_cut_at_an_entry_is_told() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        house.add("anna@home.test");
        house.checkpoint();
        house.deliver("anna@home.test", b"letter").await;
        let (cut, _) = house.durable_bytes();
        house.checkpoint();
        house.deliver("anna@home.test", b"letter").await;
        assert_eq!(check(&house, false).0, vec![]);
        for path in [files::segment_path, files::checkpoint_path].map(|path| path(&folder.0.join("journal"), cut)) {
            let bytes = std::fs::read(&path).unwrap();
            // Without its last entry, which is whole.
            let mut ends = vec![segment::HEADER];
            while let Some(length) = bytes.get(ends[ends.len() - 1]..ends[ends.len() - 1] + 4) {
                let length = u32::from_le_bytes(length.try_into().unwrap()) & (u32::MAX >> 1);
                ends.push(ends[ends.len() - 1] + 8 + length as usize);
            }
            std::fs::write(&path, &bytes[..ends[ends.len() - 2]]).unwrap();
            let (findings, _) = check(&house, false);
            assert_eq!(findings.len(), 1, "{findings:?}");
            std::fs::write(&path, bytes).unwrap();
        }
        assert_eq!(check(&house, false).0, vec![]);
    });
}

#[test]
fn a_letter_a_repair_was_moving_is_put_back_at_the_start() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        house.add("anna@home.test");
        house.deliver("anna@home.test", b"letter").await;
        assert!(house.stop());
        let files = files_below(&folder.0.join("letters"));
        let name = files[0].file_name().unwrap().to_str().unwrap();
        std::fs::rename(&files[0], folder.0.join("incoming").join(format!("astray-{name}"))).unwrap();
        std::fs::write(folder.0.join("incoming").join("half"), b"half").unwrap();
        let house = Running::start(&folder.0);
        assert_eq!(files_below(&folder.0.join("letters")), files);
        assert!(files_below(&folder.0.join("incoming")).is_empty());
        assert_eq!(check(&house, false), (vec![], 1));
    });
}

#[test]
fn what_a_mailbox_that_was_never_made_leaves_is_no_finding() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        house.deliver("anna@home.test", b"letter").await;
        let (own, other) =
            (folder.0.join("letters").join(anna.id.to_string()), folder.0.join("letters/00000000000000ff"));
        std::fs::create_dir(&other).unwrap();
        assert_eq!(check(&house, false).0, vec![]);
        // With letters in it, it is; but no secret brings them back.
        crate::house::copy(&own, &other);
        let (findings, _) = check(&house, false);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(!findings[0].what.contains("recover"), "{findings:?}");
    });
}
