//! Peers that ask for much and take little: what they may use up has a bound.

use std::os::fd::AsFd;
use std::time::Duration;

use filter_sandbox::edge::{Answer, Edge, Numbered};
use spool::edges::limits::{COPIED_LETTERS, MAILBOX_LETTERS, OPEN_LETTERS, RANGES, SUMMARIES_BYTES};
use spool::edges::mailbox::{Change, Event, Mailbox, Refusal, Reply, Request, flag};
use spool::edges::pipe::LetterPipe;
use spool::edges::{Delivered, Into, NewLetter, Recipient, admin};
use spool::names::LetterId;

use crate::house::{Folder, Running, ask, attached, files_below, open, prove, run, sealing, transaction};

const FILES: rustix::process::Resource = rustix::process::Resource::Nofile;

#[test]
fn a_peer_that_takes_no_answers_gets_only_so_many() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        house.deliver("anna@home.test", b"hello").await;
        let (_, socket) = prove(&house.login, &anna.address, anna.device, &anna.password).await.unwrap();
        rustix::io::ioctl_fionbio(&socket, true).unwrap();
        let edge = Edge::from(socket);
        let mut sent = 0;
        // Asks until the keeper has not listened for half a second.
        let mut quiet = 0;
        while quiet < 50 {
            match edge.send(&Numbered { number: sent, body: Request::Folders }, &[]) {
                Ok(()) => (sent, quiet) = (sent + 1, 0),
                Err(_) => {
                    quiet += 1;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            assert!(sent < 3_000, "the keeper takes more and more");
        }
        // Nobody else is kept waiting, and what was asked is answered, in order, to who takes it.
        assert!(house.login(&anna).await.is_some());
        let answered = tokio::task::spawn_blocking(move || {
            rustix::io::ioctl_fionbio(&edge, false).unwrap();
            (0..sent).all(|number| {
                let (answer, with) = edge.recv::<Answer<Reply, Event>>().unwrap();
                matches!(answer, Answer::Reply(known, Reply::Folders) if known == number) && with.len() == 1
            })
        });
        assert!(answered.await.unwrap());
    });
}

async fn put(mailbox: &Mailbox, values: &[(LetterId, Vec<u8>)]) -> bool {
    let memory = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut file = std::fs::File::from(memory);
    std::io::Write::write_all(&mut file, &postcard::to_stdvec(&values).unwrap()).unwrap();
    mailbox.ask(Request::PutSummaries, &[file.as_fd()]).await.is_ok()
}

#[test]
fn an_answer_of_summaries_has_a_bound_and_the_rest_is_asked_for() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        let letters: Vec<LetterId> = (0..20).map(|number| LetterId([number; 16])).collect();
        for letter in &letters {
            assert!(put(&mailbox, &[(*letter, vec![letter.0[0]; 1_000_000])]).await);
        }
        let mut got = Vec::new();
        while got.len() < letters.len() {
            let rest = letters[got.len()..].to_vec();
            let (_, with) = mailbox.ask(Request::Summaries { letters: rest }, &[]).await.unwrap();
            assert!(rustix::fs::fstat(&with[0]).unwrap().st_size as usize <= SUMMARIES_BYTES);
            let some: Vec<Option<Vec<u8>>> = attached(with);
            assert!(!some.is_empty());
            got.extend(some);
        }
        assert!(got.iter().zip(&letters).all(|(value, letter)| value.as_deref() == Some(&[letter.0[0]; 1_000_000])));
        let large: Vec<_> = letters.iter().map(|letter| (*letter, vec![1; 1_000_000])).collect();
        assert!(!put(&mailbox, &large).await, "too much at once is a breach");
    });
}

#[test]
fn summaries_go_with_their_letters_and_their_mailbox() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        house.deliver("anna@home.test", b"hello").await;
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        let (inbox, facts) = open(&mailbox, "INBOX").await;
        assert!(put(&mailbox, &[(facts[0].letter, b"sealed".to_vec())]).await);
        let delete = Request::Store {
            folder: inbox.id,
            uids: vec![(1, 1)],
            change: Change::Add,
            flags: flag::DELETED,
            keywords: vec![],
        };
        assert!(matches!(ask(&mailbox, delete).await, Reply::Done));
        assert!(matches!(ask(&mailbox, Request::Expunge { folder: inbox.id, uids: None }).await, Reply::Done));
        let mut left = true;
        for _ in 0..3_000 {
            let get = Request::Summaries { letters: vec![facts[0].letter] };
            let (_, with) = mailbox.ask(get, &[]).await.unwrap();
            left = attached::<Vec<Option<Vec<u8>>>>(with)[0].is_some();
            if !left {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(!left);
        house.done(admin::Request::MailboxRemove { address: "anna@home.test".into() });
        mailbox.closed().await;
        assert!(!folder.0.join("cache").join(anna.id.to_string()).exists());
    });
}

#[test]
fn letters_with_many_gaps_between_them_are_moved_at_once() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        house.deliver("anna@home.test", b"hello").await;
        let (mailbox, mut events) = house.login(&anna).await.unwrap();
        let _hearing = tokio::spawn(async move { while events.recv().await.is_some() {} });
        let (inbox, _) = open(&mailbox, "INBOX").await;
        let everything = || vec![(1, u32::MAX)];
        let copy =
            |to: &str, and_remove| Request::Copy { folder: inbox.id, uids: everything(), to: to.into(), and_remove };
        for _ in 0..14 {
            assert!(matches!(ask(&mailbox, copy("INBOX", false)).await, Reply::Copied { .. }));
        }
        let odd: Vec<_> = (1..=1 << 14).step_by(2).map(|uid| (uid, uid)).collect();
        for uids in odd.chunks(RANGES) {
            let (folder, uids) = (inbox.id, uids.to_vec());
            let store = Request::Store { folder, uids, change: Change::Add, flags: flag::DELETED, keywords: vec![] };
            assert!(matches!(ask(&mailbox, store).await, Reply::Done));
        }
        assert!(matches!(ask(&mailbox, Request::Expunge { folder: inbox.id, uids: None }).await, Reply::Done));
        for (to, and_remove) in [("Trash", false), ("Archive", true)] {
            let reply = ask(&mailbox, copy(to, and_remove)).await;
            // Too many ranges for COPYUID: the letters are there all the same.
            assert!(matches!(&reply, Reply::Copied { from, to, .. } if from.is_empty() && to.is_empty()), "{reply:?}");
            assert_eq!(open(&mailbox, to).await.1.len(), 1 << 13);
        }
        assert_eq!(open(&mailbox, "INBOX").await.1.len(), 0);
        drop(mailbox);
        assert!(house.stop());
        let house = Running::start(&folder.0);
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        assert_eq!(open(&mailbox, "Archive").await.1.len(), 1 << 13);
        assert_eq!(files_below(&folder.0.join("letters")).len(), 1);
    });
}

#[test]
fn appends_at_once_do_not_get_past_the_quota_together() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add_with("anna@home.test", Some(1_500));
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        let append = || Request::Append {
            name: "INBOX".into(),
            letter: NewLetter { mailbox: anna.id, generation: 1, size: 600, into: Into::Inbox },
            flags: 0,
            keywords: vec![],
            arrived: None,
        };
        let ((one, _first), (two, _second)) = (LetterPipe::new().unwrap(), LetterPipe::new().unwrap());
        let ends = ([one.as_fd()], [two.as_fd()]);
        // Whichever came first has begun and does not end.
        let answered = tokio::select! {
            answered = mailbox.ask(append(), &ends.0) => answered,
            answered = mailbox.ask(append(), &ends.1) => answered,
        };
        let (reply, _) = answered.unwrap();
        assert!(matches!(reply, Reply::Refused(Refusal::OverQuota)), "{reply:?}");
    });
}

#[test]
fn letters_without_weight_do_not_make_a_mailbox_without_end() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add_with("anna@home.test", Some(u64::MAX));
        house.deliver("anna@home.test", b"tiny").await;
        let (mailbox, mut events) = house.login(&anna).await.unwrap();
        let (inbox, _) = open(&mailbox, "INBOX").await;
        let hearing = tokio::spawn(async move {
            let mut told = 1;
            while let Some(event) = events.recv().await {
                told += if let Event::Added(facts) = event { facts.len() } else { 0 };
            }
            told
        });
        let copy = |most: u32| Request::Copy {
            folder: inbox.id,
            uids: vec![(1, most)],
            to: "INBOX".into(),
            and_remove: false,
        };
        let mut letters: usize = 1;
        while letters < MAILBOX_LETTERS {
            let more = letters.min(COPIED_LETTERS).min(MAILBOX_LETTERS - letters);
            let reply = ask(&mailbox, copy(u32::try_from(more).unwrap())).await;
            assert!(matches!(reply, Reply::Copied { .. }), "{letters}: {reply:?}");
            letters += more;
        }
        assert!(matches!(ask(&mailbox, copy(1)).await, Reply::Refused(Refusal::OverQuota)));
        assert!(matches!(ask(&mailbox, copy(u32::MAX)).await, Reply::Refused(Refusal::Limit)));
        let full = house.deposit.recipient(transaction(), "anna@home.test", 4).await.unwrap();
        assert_eq!(full, Recipient::OverQuota);
        let (end, _writing) = LetterPipe::new().unwrap();
        let letter = NewLetter { mailbox: anna.id, generation: 1, size: 4, into: Into::Inbox };
        let append = Request::Append { name: "INBOX".into(), letter, flags: 0, keywords: vec![], arrived: None };
        let (reply, _) = mailbox.ask(append, &[end.as_fd()]).await.unwrap();
        assert!(matches!(reply, Reply::Refused(Refusal::OverQuota)), "{reply:?}");
        let Reply::Quota { used, .. } = ask(&mailbox, Request::Quota).await else { panic!() };
        assert_eq!(used, (4 + 1024) * letters as u64);
        // Its own session was told of all that, and is still there.
        drop(mailbox);
        assert_eq!(hearing.await.unwrap(), letters);
    });
}

/// What `/proc` says a process has open.
fn open_in(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

#[test]
fn letters_nobody_takes_are_not_kept_open_and_no_descriptor_left_is_no_breach() {
    run(async {
        let folder = Folder::new();
        let (house, mut keeper) = crate::kill::spawn(&folder.0);
        let anna = house.add("anna@home.test");
        house.deliver("anna@home.test", b"hello").await;
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        let letter = open(&mailbox, "INBOX").await.1[0].letter;
        let mut sessions = Vec::new();
        for _ in 0..20 {
            let (_, socket) = prove(&house.login, &anna.address, anna.device, &anna.password).await.unwrap();
            let edge = Edge::from(socket);
            for number in 0..16 {
                let body = Request::Letters { letters: vec![letter; OPEN_LETTERS] };
                edge.send(&Numbered { number, body }, &[]).unwrap();
            }
            sessions.push(edge);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let held = open_in(keeper.id());
        assert!(held < 400, "{held} descriptors for sessions that take no answers");
        // Who takes them gets them all.
        let last = sessions.pop().unwrap();
        drop(sessions);
        let answered = tokio::task::spawn_blocking(move || {
            (0..16).all(|_| last.recv::<Answer<Reply, Event>>().unwrap().1.len() == OPEN_LETTERS)
        });
        assert!(answered.await.unwrap());
        // A keeper without a free descriptor refuses what comes, and takes it later: on the same edge.
        let id = rustix::process::Pid::from_raw(keeper.id().cast_signed()).unwrap();
        let limit = |soft| {
            let new = rustix::process::Rlimit { current: soft, maximum: rustix::process::getrlimit(FILES).maximum };
            rustix::process::prlimit(Some(id), FILES, new).unwrap().current
        };
        let before = limit(Some(3));
        assert_eq!(house.deliver("anna@home.test", b"not now").await, Delivered::Failed);
        limit(before);
        assert_eq!(house.deliver("anna@home.test", b"now").await, Delivered::Durable);
        keeper.kill().unwrap();
        keeper.wait().unwrap();
    });
}

#[test]
fn one_mailbox_has_only_so_many_hands() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let (anna, ben) = (house.add("anna@home.test"), house.add("ben@home.test"));
        let (hers, _events) = house.login(&anna).await.unwrap();
        let (his, _news) = house.login(&ben).await.unwrap();
        let request = |id| Request::Append {
            name: "INBOX".into(),
            letter: NewLetter { mailbox: id, generation: 1, size: 4, into: Into::Inbox },
            flags: 0,
            keywords: vec![],
            arrived: None,
        };
        // Letters that have begun and do not end.
        let pipes: Vec<_> = (0..12).map(|_| LetterPipe::new().unwrap()).collect();
        let waiting: Vec<_> = pipes.iter().map(|(end, _)| [end.as_fd()]).collect();
        let dripping = waiting.iter().map(|end| Box::pin(hers.ask(request(anna.id), end)));
        let mut dripping: Vec<_> = dripping.collect();
        for one in &mut dripping {
            let _ = tokio::time::timeout(Duration::from_millis(20), one).await;
        }
        let target = house.target(transaction(), "ben@home.test", 4).await;
        let (end, writing) = sealing(&target, b"mine");
        let ends = [end.as_fd()];
        let answer = tokio::time::timeout(Duration::from_secs(60), his.ask(request(ben.id), &ends)).await;
        assert!(matches!(answer.expect("an answer").unwrap().0, Reply::Appended { .. }));
        drop(dripping);
        drop(end);
        let _ = writing.await;
    });
}
