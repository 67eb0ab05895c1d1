//! `spool check` finds what was changed on disk, and mends what can be.

use spool::edges::admin::{Finding, Reply, Request};

use crate::house::{Folder, Running, files_below, open, read, run};

fn check(house: &Running, repair: bool) -> (Vec<Finding>, u64) {
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

fn flip(path: &std::path::Path, at: impl Fn(usize) -> usize) {
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
        assert!(findings.iter().all(|finding| !finding.mended && finding.what.contains("damaged")));
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        let (_, facts) = open(&mailbox, "INBOX").await;
        let mut whole = 0;
        for fact in &facts {
            whole += usize::from(read(&anna, &mailbox, fact.letter).await.is_some());
        }
        assert_eq!(whole, 1);
        assert!(check(&house, true).0.iter().all(|finding| finding.mended));
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
        assert!(findings.iter().all(|finding| finding.mended), "{findings:?}");
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
        assert!(findings.len() == 1 && findings[0].mended, "{findings:?}");
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
    });
}
