//! One owner's folders and letters, as the owner process asks for them.

use std::os::fd::AsFd;

use spool::edges::mailbox::{
    Change, Event, Fact, Folder as Shown, Listed, Mailbox, Refusal, Reply, Request, SpecialUse, flag,
};
use spool::edges::{Into, NewLetter, Target};
use spool::names::FolderId;
use tokio::sync::mpsc::Receiver;

use crate::house::{Folder, Person, Running, ask, attached, event, files_below, open, read, run, sealing};

async fn with_letters(count: usize) -> (Folder, Running, Person, Mailbox, Receiver<Event>) {
    let folder = Folder::new();
    let house = Running::start(&folder.0);
    let anna = house.add("anna@home.test");
    for number in 0..count {
        house.deliver("anna@home.test", format!("letter {number}").as_bytes()).await;
    }
    let (mailbox, events) = house.login(&anna).await.unwrap();
    (folder, house, anna, mailbox, events)
}

async fn folders(mailbox: &Mailbox) -> Vec<Shown> {
    let (reply, with) = mailbox.ask(Request::Folders, &[]).await.unwrap();
    assert!(matches!(reply, Reply::Folders));
    attached(with)
}

async fn names(mailbox: &Mailbox) -> Vec<String> {
    folders(mailbox).await.into_iter().map(|folder| folder.name).collect()
}

async fn status(mailbox: &Mailbox, name: &str) -> Shown {
    match ask(mailbox, Request::Status { name: name.into() }).await {
        Reply::Status(folder) => folder,
        other => panic!("{other:?}"),
    }
}

async fn done(mailbox: &Mailbox, request: Request) {
    let reply = ask(mailbox, request).await;
    assert!(matches!(reply, Reply::Done), "{reply:?}");
}

async fn refused(mailbox: &Mailbox, request: Request, why: Refusal) {
    let reply = ask(mailbox, request).await;
    assert!(matches!(reply, Reply::Refused(found) if found == why), "{reply:?}");
}

#[test]
fn a_new_mailbox_has_its_six_folders() {
    run(async {
        let (_folder, _house, _anna, mailbox, _events) = with_letters(0).await;
        let found: Vec<_> = folders(&mailbox).await.into_iter().map(|f| (f.name, f.special_use)).collect();
        let expected = [
            ("INBOX", None),
            ("Drafts", Some(SpecialUse::Drafts)),
            ("Sent", Some(SpecialUse::Sent)),
            ("Junk", Some(SpecialUse::Junk)),
            ("Trash", Some(SpecialUse::Trash)),
            ("Archive", Some(SpecialUse::Archive)),
        ];
        assert_eq!(found, expected.map(|(name, special)| (name.to_owned(), special)));
        let (_, with) = mailbox.ask(Request::Subscriptions, &[]).await.unwrap();
        assert_eq!(attached::<Vec<String>>(with).len(), 6);
    });
}

#[test]
fn folders_are_made_renamed_and_deleted() {
    run(async {
        let (_folder, _house, _anna, mailbox, _events) = with_letters(2).await;
        let create = |name: &str| Request::Create { name: name.into(), special_use: None };
        let rename = |from: &str, to: &str| Request::Rename { from: from.into(), to: to.into() };
        done(&mailbox, create("a/b/c/")).await;
        assert!(["a", "a/b", "a/b/c"].iter().all(|name| futures_names(&mailbox, name)));
        refused(&mailbox, create("a/b"), Refusal::Exists).await;
        refused(&mailbox, create("inbox"), Refusal::Exists).await;
        for bad in ["", "/a", "a//b", "a\nb", "a*", &"x".repeat(1_001)] {
            refused(&mailbox, create(bad), Refusal::Cannot).await;
        }
        done(&mailbox, rename("a", "x/y")).await;
        let found = names(&mailbox).await;
        assert!(["x", "x/y", "x/y/b", "x/y/b/c"].iter().all(|name| found.iter().any(|known| known == name)));
        refused(&mailbox, rename("x", "x/y/z"), Refusal::Cannot).await;
        refused(&mailbox, rename("none", "other"), Refusal::NoSuchFolder).await;
        refused(&mailbox, Request::Delete { name: "INBOX".into() }, Refusal::Cannot).await;
        let before = status(&mailbox, "x/y").await;
        done(&mailbox, Request::Delete { name: "x/y".into() }).await;
        // What lies below stays, and can be renamed with its name; a folder of that name looks new.
        done(&mailbox, rename("x/y", "z")).await;
        let found = names(&mailbox).await;
        assert!(["z/b", "z/b/c"].iter().all(|name| found.iter().any(|known| known == name)), "{found:?}");
        assert!(!found.iter().any(|known| known == "z" || known.starts_with("x/y")), "{found:?}");
        done(&mailbox, create("x/y")).await;
        assert!(status(&mailbox, "x/y").await.uid_validity > before.uid_validity);
        // RENAME of INBOX moves its letters.
        done(&mailbox, rename("INBOX", "old/mail")).await;
        assert_eq!((status(&mailbox, "INBOX").await.messages, status(&mailbox, "old/mail").await.messages), (0, 2));
        let special = Request::Create { name: "spam".into(), special_use: Some(SpecialUse::Junk) };
        refused(&mailbox, special, Refusal::UseTaken).await;
        // A folder of the house that was deleted is what it was when it comes back, unless another is that now.
        done(&mailbox, Request::Delete { name: "Junk".into() }).await;
        done(&mailbox, create("Junk")).await;
        assert_eq!(status(&mailbox, "Junk").await.special_use, Some(SpecialUse::Junk));
        done(&mailbox, Request::Delete { name: "Sent".into() }).await;
        done(&mailbox, Request::Create { name: "mine".into(), special_use: Some(SpecialUse::Sent) }).await;
        done(&mailbox, create("Sent")).await;
        assert_eq!(status(&mailbox, "Sent").await.special_use, None);
    });
}

fn futures_names(mailbox: &Mailbox, name: &str) -> bool {
    tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(async { names(mailbox).await.iter().any(|known| known == name) })
    })
}

#[test]
fn flags_are_stored_and_told() {
    run(async {
        let (folder, house, anna, mailbox, mut events) = with_letters(3).await;
        let (inbox, facts) = open(&mailbox, "INBOX").await;
        assert_eq!((inbox.unseen, inbox.recent), (3, 3));
        let store = |uids, change, flags, keywords: &[&str]| Request::Store {
            folder: inbox.id,
            uids,
            change,
            flags,
            keywords: keywords.iter().map(|word| (*word).to_owned()).collect(),
        };
        done(&mailbox, store(vec![(1, 2)], Change::Add, flag::SEEN, &["$Work"])).await;
        assert_eq!(event(&mut events).await, Event::Keyword(0, "$Work".into()));
        let Event::Flags(told) = event(&mut events).await else { panic!() };
        assert_eq!(
            told.iter().map(|(uid, flags, words, _)| (*uid, *flags, *words)).collect::<Vec<_>>(),
            [(1, flag::SEEN, 1), (2, flag::SEEN, 1)]
        );
        assert!(told[0].3 > facts[0].modseq);
        done(&mailbox, store(vec![(2, 9)], Change::Replace, flag::DELETED, &[])).await;
        done(&mailbox, store(vec![(1, 1)], Change::Remove, 0, &["$WORK", "unknown"])).await;
        refused(&mailbox, store(vec![(2, 1)], Change::Add, 0, &[]), Refusal::Limit).await;
        let words: Vec<String> = (0..64).map(|n| format!("w{n}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        refused(&mailbox, store(vec![(1, 1)], Change::Add, 0, &words), Refusal::Limit).await;
        drop((mailbox, events));
        assert!(house.stop());
        let house = Running::start(&folder.0);
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        let (inbox, facts) = open(&mailbox, "INBOX").await;
        let flags: Vec<_> = facts.iter().map(|fact| (fact.flags, fact.keywords)).collect();
        assert_eq!(flags, [(flag::SEEN, 0), (flag::DELETED, 0), (flag::DELETED, 0)]);
        assert_eq!((inbox.unseen, inbox.deleted, inbox.recent), (2, 2, 0));
    });
}

// RFC 3501 §2.3.2: what a session was told of while it had the folder open is recent for no later one; what only EXAMINE
// saw still is.
#[test]
fn what_came_to_an_open_folder_is_not_recent_again() {
    run(async {
        let (_folder, house, anna, mailbox, mut events) = with_letters(1).await;
        let looking = |take_recent| Request::Open { name: "INBOX".into(), take_recent, known: None };
        let recent = async |mailbox: &Mailbox, take_recent| match ask(mailbox, looking(take_recent)).await {
            Reply::Opened { folder, recent_from, .. } => (folder.recent, recent_from),
            other => panic!("{other:?}"),
        };
        assert_eq!(recent(&mailbox, true).await, (1, 1));
        house.deliver("anna@home.test", b"letter 2").await;
        assert!(matches!(event(&mut events).await, Event::Added(_)));
        let (other, mut others) = house.login(&anna).await.unwrap();
        assert_eq!(status(&other, "INBOX").await.recent, 0);
        assert_eq!(recent(&other, false).await, (0, 3));
        drop((mailbox, events));
        assert_eq!(recent(&other, false).await, (0, 3), "nor when that session is gone");
        while status(&other, "INBOX").await.recent == 0 {
            // Until the first session's end has been noticed its folder takes them.
            house.deliver("anna@home.test", b"letter 3").await;
            while !matches!(event(&mut others).await, Event::Added(_)) {}
        }
        assert_eq!(recent(&other, true).await.0, 1);
        assert_eq!(recent(&other, false).await.0, 0);
    });
}

#[test]
fn letters_are_copied_moved_and_expunged() {
    run(async {
        let (folder, _house, anna, mailbox, mut events) = with_letters(3).await;
        let (inbox, _) = open(&mailbox, "INBOX").await;
        let copy = |uids, to: &str, and_remove| Request::Copy { folder: inbox.id, uids, to: to.into(), and_remove };
        let Reply::Copied { from, to, .. } = ask(&mailbox, copy(vec![(1, 2)], "Archive", false)).await else {
            panic!()
        };
        assert_eq!((from, to), (vec![(1, 2)], vec![(1, 2)]));
        let Reply::Copied { to, .. } = ask(&mailbox, copy(vec![(2, 9)], "Trash", true)).await else { panic!() };
        assert_eq!(to, [(1, 2)]);
        assert_eq!(event(&mut events).await, Event::Expunged(vec![(2, 3)]));
        refused(&mailbox, copy(vec![(1, 1)], "None", false), Refusal::NoSuchFolder).await;
        // Letter 1 and 2 are held twice, 3 once: three files.
        assert_eq!(files_below(&folder.0.join("letters")).len(), 3);
        let store = Request::Store {
            folder: inbox.id,
            uids: vec![(1, 1)],
            change: Change::Add,
            flags: flag::DELETED,
            keywords: vec![],
        };
        done(&mailbox, store).await;
        done(&mailbox, Request::Expunge { folder: inbox.id, uids: Some(vec![(2, 5)]) }).await;
        done(&mailbox, Request::Expunge { folder: inbox.id, uids: None }).await;
        assert!(matches!(event(&mut events).await, Event::Flags(_)));
        assert_eq!(event(&mut events).await, Event::Expunged(vec![(1, 1)]));
        assert_eq!(files_below(&folder.0.join("letters")).len(), 3);
        // A deleted folder's letters go, but those that another folder holds.
        done(&mailbox, Request::Delete { name: "Trash".into() }).await;
        let (_, facts) = open(&mailbox, "Archive").await;
        assert_eq!(read(&anna, &mailbox, facts[1].letter).await.unwrap(), b"letter 1");
        drop(read(&anna, &mailbox, facts[0].letter).await.unwrap());
        let left = || files_below(&folder.0.join("letters")).len();
        for _ in 0..3_000 {
            if left() == 2 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(left(), 2);
        let Reply::Quota { used, .. } = ask(&mailbox, Request::Quota).await else { panic!() };
        // Two letters of eight bytes each, with what lies round them: none counts less than a kilobyte.
        assert_eq!(used, 2 * (8 + 1024));
    });
}

async fn append(mailbox: &Mailbox, anna: &Person, name: &str, message: &[u8]) -> Reply {
    let public_key = anna.identities.newest().public().to_string();
    let target = Target { mailbox: anna.id, generation: 1, public_key };
    let (end, writing) = sealing(&target, message);
    let size = u32::try_from(message.len()).unwrap();
    let letter = NewLetter { mailbox: anna.id, generation: 1, size, into: Into::Inbox };
    let request = Request::Append {
        name: name.into(),
        letter,
        flags: flag::SEEN | flag::DRAFT,
        keywords: vec!["k".into()],
        arrived: Some(1_000_000_000),
    };
    let (reply, _) = mailbox.ask(request, &[end.as_fd()]).await.unwrap();
    drop(end);
    let _ = writing.await;
    reply
}

#[test]
fn append_puts_a_letter_where_it_belongs() {
    run(async {
        let (_folder, house, anna, mailbox, mut events) = with_letters(0).await;
        open(&mailbox, "Drafts").await;
        let Reply::Appended { uid, .. } = append(&mailbox, &anna, "Drafts", b"draft").await else { panic!() };
        assert_eq!(uid, 1);
        assert!(matches!(event(&mut events).await, Event::Keyword(..)));
        let Event::Added(facts) = event(&mut events).await else { panic!() };
        let Fact { flags, keywords, arrived, size, .. } = facts[0];
        assert_eq!((flags, keywords, arrived, size), (flag::SEEN | flag::DRAFT, 1, 1_000_000_000, 5));
        let reply = append(&mailbox, &anna, "None", b"draft").await;
        assert!(matches!(reply, Reply::Refused(Refusal::NoSuchFolder)));
        let quota = spool::edges::admin::Request::Quota { address: "anna@home.test".into(), bytes: Some(1_500) };
        house.ask(quota);
        let reply = append(&mailbox, &anna, "Drafts", b"draft").await;
        assert!(matches!(reply, Reply::Refused(Refusal::OverQuota)));
        let copy = Request::Copy {
            folder: spool::names::FolderId(2),
            uids: vec![(1, 1)],
            to: "Sent".into(),
            and_remove: false,
        };
        refused(&mailbox, copy, Refusal::OverQuota).await;
    });
}

#[test]
fn what_the_owner_has_is_not_sent_again() {
    run(async {
        let (_folder, house, _anna, mailbox, _events) = with_letters(1).await;
        let (inbox, _) = open(&mailbox, "INBOX").await;
        let again = async |known| {
            let request = Request::Open { name: "INBOX".into(), take_recent: false, known: Some(known) };
            let Reply::Opened { letters, .. } = ask(&mailbox, request).await else { panic!("not opened") };
            letters
        };
        assert_eq!(again((inbox.id, inbox.modseq)).await, Listed::Known);
        for other in [(inbox.id, inbox.modseq - 1), (inbox.id, inbox.modseq + 1), (FolderId(0), inbox.modseq)] {
            assert!(matches!(again(other).await, Listed::Here(facts) if !facts.is_empty()));
        }
        house.deliver("anna@home.test", &[b'x'; 300]).await;
        assert!(matches!(again((inbox.id, inbox.modseq)).await, Listed::Here(_)));
        let now = open(&mailbox, "INBOX").await.0;
        let away = Request::Copy { folder: inbox.id, uids: vec![(1, 1)], to: "Trash".into(), and_remove: true };
        assert!(matches!(ask(&mailbox, away).await, Reply::Copied { .. }));
        assert!(matches!(again((now.id, now.modseq)).await, Listed::Here(_)));
    });
}

#[test]
fn a_closed_folder_and_another_are_quiet() {
    run(async {
        let (_folder, house, anna, mailbox, mut events) = with_letters(1).await;
        let (other, mut others) = house.login(&anna).await.unwrap();
        open(&other, "Sent").await;
        open(&mailbox, "INBOX").await;
        done(&mailbox, Request::Close).await;
        house.deliver("anna@home.test", b"quiet").await;
        refused(&mailbox, Request::Open { name: "None".into(), take_recent: true, known: None }, Refusal::NoSuchFolder)
            .await;
        for heard in [&mut events, &mut others] {
            assert!(heard.try_recv() == Ok(Event::Opened) && heard.try_recv().is_err());
        }
        // A deleted folder says so to who has it open.
        done(&mailbox, Request::Delete { name: "Sent".into() }).await;
        assert_eq!(event(&mut others).await, Event::FolderGone);
    });
}

#[test]
fn a_descriptor_is_read_only_and_a_swapped_letter_is_not_given_out() {
    run(async {
        let (folder, _house, anna, mailbox, _events) = with_letters(2).await;
        let (_, facts) = open(&mailbox, "INBOX").await;
        let (_, with) = mailbox.ask(Request::Letters { letters: vec![facts[0].letter] }, &[]).await.unwrap();
        let mode = rustix::fs::fcntl_getfl(&with[0]).unwrap();
        assert_eq!(mode & rustix::fs::OFlags::RWMODE, rustix::fs::OFlags::RDONLY);
        let files = files_below(&folder.0.join("letters"));
        let beside = folder.0.join("beside");
        std::fs::rename(&files[0], &beside).unwrap();
        std::fs::rename(&files[1], &files[0]).unwrap();
        std::fs::rename(&beside, &files[1]).unwrap();
        for fact in &facts {
            assert_eq!(read(&anna, &mailbox, fact.letter).await, None);
        }
        let missing = spool::names::LetterId([3; 16]);
        assert_eq!(read(&anna, &mailbox, missing).await, None);
    });
}

#[test]
fn summaries_are_cached_and_closed_with_the_last_session() {
    run(async {
        let (folder, house, anna, mailbox, _events) = with_letters(1).await;
        let (_, facts) = open(&mailbox, "INBOX").await;
        let letter = facts[0].letter;
        let bytes = postcard::to_stdvec(&vec![(letter, b"sealed".to_vec())]).unwrap();
        let memory = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::io::write(&memory, &bytes).unwrap();
        let (reply, _) = mailbox.ask(Request::PutSummaries, &[memory.as_fd()]).await.unwrap();
        assert!(matches!(reply, Reply::Done));
        let get = || Request::Summaries { letters: vec![letter, spool::names::LetterId([1; 16])] };
        let (_, with) = mailbox.ask(get(), &[]).await.unwrap();
        assert_eq!(attached::<Vec<Option<Vec<u8>>>>(with), [Some(b"sealed".to_vec()), None]);
        drop(mailbox);
        let clean = folder.0.join("cache").join(anna.id.to_string()).join("clean");
        for _ in 0..3_000 {
            if clean.exists() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert!(clean.exists());
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        let (_, with) = mailbox.ask(get(), &[]).await.unwrap();
        assert_eq!(attached::<Vec<Option<Vec<u8>>>>(with)[0], Some(b"sealed".to_vec()));
    });
}

/// Whoever waits behind a closing cache must open it where the next one looks for it.
#[test]
fn a_session_that_comes_while_its_cache_closes_finds_it_and_leaves_it_whole() {
    run(async {
        let (_folder, house, anna, mut mailbox, mut events) = with_letters(1).await;
        let (_, facts) = open(&mailbox, "INBOX").await;
        let value = (facts[0].letter, b"sealed".to_vec());
        let memory = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::io::write(&memory, &postcard::to_stdvec(&vec![value.clone()]).unwrap()).unwrap();
        assert!(matches!(mailbox.ask(Request::PutSummaries, &[memory.as_fd()]).await.unwrap().0, Reply::Done));
        for round in 0..100 {
            drop((mailbox, events));
            (mailbox, events) = house.login(&anna).await.unwrap();
            for _ in 0..2 {
                let (_, with) = mailbox.ask(Request::Summaries { letters: vec![value.0] }, &[]).await.unwrap();
                assert_eq!(attached::<Vec<Option<Vec<u8>>>>(with), [Some(value.1.clone())], "round {round}");
            }
        }
    });
}

#[test]
fn who_asks_for_what_the_table_does_not_allow_is_dropped() {
    run(async {
        let (_folder, house, anna, mailbox, _events) = with_letters(1).await;
        let too_many = vec![spool::names::LetterId([1; 16]); 33];
        assert!(mailbox.ask(Request::Letters { letters: too_many }, &[]).await.is_err());
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        let ours = std::fs::File::open("/dev/null").unwrap();
        assert!(mailbox.ask(Request::Quota, &[ours.as_fd()]).await.is_err());
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        let letter = NewLetter { mailbox: spool::names::MailboxId(999), generation: 1, size: 1, into: Into::Inbox };
        let append = Request::Append { name: "INBOX".into(), letter, flags: 0, keywords: vec![], arrived: None };
        assert!(mailbox.ask(append, &[ours.as_fd()]).await.is_err());
    });
}
