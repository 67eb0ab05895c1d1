//! Getting everything back: from a damaged journal, and from letters, slots and twelve words alone.

use std::path::PathBuf;

use spool::edges::admin::{RecoveredLetter, Reply, Request};
use spool::edges::mailbox::{Change, Request as Ask, flag};
use spool::keeper::Keeper;
use spool::letter::{Expect, Opened};
use spool::slots::SlotsFile;

use crate::house::{Folder, Person, Running, files_below, open, read, run, start};

pub fn segments(folder: &Folder) -> Vec<PathBuf> {
    let mut found = files_below(&folder.0.join("journal"));
    found.retain(|path| path.extension().is_none() && !path.ends_with("reserve"));
    found.sort();
    found
}

#[test]
fn a_damaged_middle_is_told_and_every_letter_still_comes_to_its_owner() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        for number in 0..10 {
            house.deliver("anna@home.test", format!("letter {number}").as_bytes()).await;
        }
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        let (before, _) = open(&mailbox, "INBOX").await;
        drop(mailbox);
        assert!(house.stop());
        let journal = &segments(&folder)[0];
        let mut bytes = std::fs::read(journal).unwrap();
        // Behind the mailbox's own entry, before the last letters'.
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(journal, bytes).unwrap();
        for round in 0..2 {
            let house = Running::start(&folder.0);
            let (mailbox, _events) = house.login(&anna).await.unwrap();
            let (inbox, mut facts) = open(&mailbox, "INBOX").await;
            let (_, recovered) = open(&mailbox, "Recovered").await;
            assert!(!recovered.is_empty() && inbox.uid_validity > before.uid_validity, "round {round}");
            facts.extend(recovered);
            let mut messages = Vec::new();
            for fact in &facts {
                let message = read(&anna, &mailbox, fact.letter).await.unwrap();
                assert_eq!(message.len() as u32, fact.size);
                messages.push(message);
            }
            messages.sort();
            messages.dedup();
            assert_eq!((messages.len(), facts.len()), (10, 10));
            drop(mailbox);
            assert!(house.stop());
        }
        assert!(files_below(&folder.0.join("journal")).iter().any(|path| path.to_string_lossy().ends_with(".damaged")));
    });
}

/// What `postern recover` asks for with the twelve words of a mailbox that the journal does not know, or that
/// was not given back to the end.
pub fn found(folder: &Folder, house: &Running, person: &Person) -> Request {
    let Reply::Unknown { some, more: false } = house.ask(Request::Unknown) else { panic!() };
    let [(mailbox, bytes)] = some.try_into().unwrap();
    let slots = SlotsFile::decode(&bytes).unwrap();
    let unlocked = slots.unlock(&person.words.list().join(" ")).unwrap();
    let facts = slots.facts(&unlocked.identities).unwrap();
    let mut letters = Vec::new();
    for path in files_below(&folder.0.join("letters")) {
        let letter = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let opened = Opened::open(file, &Expect { mailbox, letter, size: None }, &unlocked.identities).unwrap();
        letters.push(RecoveredLetter { letter, size: opened.size() as u32 });
    }
    Request::Recover {
        mailbox,
        addresses: facts.addresses,
        display_name: facts.display_name,
        quota: facts.quota,
        device_names: facts.devices,
        letters,
        last: true,
    }
}

#[test]
fn words_alone_bring_a_mailbox_back_under_a_new_key() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add_with("anna@home.test", Some(5_000_000));
        house.done(Request::AliasAdd { alias: "mum@home.test".into(), target: "anna@home.test".into() });
        for number in 0..7 {
            house.deliver("anna@home.test", format!("letter {number}").as_bytes()).await;
        }
        assert!(house.stop());
        for gone in ["journal", "cache"] {
            std::fs::remove_dir_all(folder.0.join(gone)).unwrap();
        }
        let house = Running::start(&folder.0);
        assert!(house.login(&anna).await.is_none());
        let mut request = found(&folder, &house, &anna);
        let Request::Recover { letters, last, .. } = &mut request else { panic!() };
        let rest = letters.split_off(3);
        *last = false;
        house.done(request);
        let mut request = found(&folder, &house, &anna);
        let Request::Recover { letters, .. } = &mut request else { panic!() };
        *letters = rest;
        house.done(request);
        for round in 0..2 {
            let Reply::Unknown { some, .. } = house.ask(Request::Unknown) else { panic!() };
            assert!(some.is_empty(), "round {round}");
            let Reply::Mailboxes { some, .. } = house.ask(Request::MailboxList) else { panic!() };
            assert_eq!(
                (&some[0].addresses[..], some[0].quota),
                (&["anna@home.test".into(), "mum@home.test".into()][..], 5_000_000)
            );
        }
        assert!(house.stop());
        let house = Running::start(&folder.0);
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        let (_, facts) = open(&mailbox, "Recovered").await;
        assert_eq!(facts.len(), 7);
        for fact in facts {
            assert!(read(&anna, &mailbox, fact.letter).await.unwrap().starts_with(b"letter "));
        }
    });
}

#[test]
fn another_box_key_opens_nothing_and_harms_nothing() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        house.deliver("anna@home.test", b"kept").await;
        assert!(house.stop());
        let mut other = start(vec![]);
        other.index_key = [1; 32];
        let refused = Keeper::open(&folder.0, spool::disk::Disk::default(), &other).unwrap_err();
        assert!(refused.to_string().contains("recover"), "{refused}");
        let house = Running::start(&folder.0);
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        assert_eq!(open(&mailbox, "INBOX").await.1.len(), 1);
        drop(mailbox);
        assert!(house.stop());
        // Only `recover` begins anew; the old journal is kept beside.
        other.new_journal = true;
        drop(Keeper::open(&folder.0, spool::disk::Disk::default(), &other).unwrap());
        assert!(folder.0.join("journal.old-1").is_dir());
        assert_eq!(files_below(&folder.0.join("letters")).len(), 1);
    });
}

#[test]
fn checkpoints_keep_everything_and_two_are_kept() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        let mut known = 0;
        for _ in 0..4 {
            for _ in 0..3 {
                house.deliver("anna@home.test", b"letter").await;
                known += 1;
            }
            let (mailbox, _events) = house.login(&anna).await.unwrap();
            let (inbox, _) = open(&mailbox, "INBOX").await;
            let store = Ask::Store {
                folder: inbox.id,
                uids: vec![(known, known)],
                change: Change::Add,
                flags: flag::SEEN,
                keywords: vec![],
            };
            mailbox.ask(store, &[]).await.unwrap();
            drop(mailbox);
            house.checkpoint();
        }
        let listing = spool::journal::files::list_only(&folder.0.join("journal")).unwrap();
        assert_eq!(listing.checkpoints.len(), 2);
        assert!(listing.segments.iter().all(|number| *number >= listing.checkpoints[0]));
        assert!(house.stop());
        // The newest damaged: the one before and the segments since give the same.
        let newest = spool::journal::files::checkpoint_path(&folder.0.join("journal"), listing.checkpoints[1]);
        let mut bytes = std::fs::read(&newest).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&newest, bytes).unwrap();
        let house = Running::start(&folder.0);
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        let (inbox, facts) = open(&mailbox, "INBOX").await;
        assert_eq!((facts.len(), inbox.unseen), (12, 8));
        // It is none of the two that are kept.
        assert!(newest.with_extension("checkpoint.damaged").exists());
        house.checkpoint();
        let now = spool::journal::files::list_only(&folder.0.join("journal")).unwrap();
        assert_eq!((now.checkpoints.len(), now.checkpoints[0]), (2, listing.checkpoints[0]));
        assert_eq!(now.segments[0], listing.segments[0]);
    });
}

#[test]
fn who_was_kept_out_stays_out() {
    run(async {
        let folder = Folder::new();
        for on in [true, false] {
            let house = Running::start(&folder.0);
            let who = if on { "anna@home.test" } else { "bert@home.test" };
            let person = house.add(who);
            house.done(Request::MailboxSuspend { address: who.into(), on: true });
            if !on {
                house.done(Request::MailboxSuspend { address: who.into(), on });
            }
            assert!(house.stop());
            std::fs::remove_dir_all(folder.0.join("journal")).unwrap();
            let house = Running::start(&folder.0);
            house.done(found(&folder, &house, &person));
            assert_eq!(house.login(&person).await.is_none(), on);
            house.done(Request::MailboxSuspend { address: who.into(), on: false });
            assert!(house.login(&person).await.is_some());
            house.done(Request::MailboxRemove { address: who.into() });
            assert!(house.stop());
        }
    });
}

/// As one that was suspended by a version without marks.
#[test]
fn a_start_marks_who_is_suspended() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        house.done(Request::MailboxSuspend { address: "anna@home.test".into(), on: true });
        assert!(house.stop());
        let mark = folder.0.join("mailboxes").join(anna.id.to_string()).join("suspended");
        std::fs::remove_file(&mark).unwrap();
        assert!(Running::start(&folder.0).stop());
        assert!(mark.exists());
    });
}
