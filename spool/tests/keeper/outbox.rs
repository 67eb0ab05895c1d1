//! Mail out: from a login to the courier, and nothing lost on the way.

use std::os::fd::AsFd;
use std::time::Duration;

use filter_sandbox::edge::Edge;
use spool::disk::Disk;
use spool::edges::admin;
use spool::edges::notices::Notices;
use spool::edges::outbox::{Event, Leased, Outbox, Said, State};
use spool::edges::pipe::LetterPipe;
use spool::edges::queue::{Posted, PostedTo, Queue};
use spool::edges::{Delivered, Down, Recipient, Size, Target};
use spool::keeper::start::Outgoing;
use spool::names::TransactionId;
use tokio::sync::mpsc::Receiver;

use crate::house::{Folder, Person, Running, files_below, new_letter, open, prove, run, sealing, transaction};

const MESSAGE: &[u8] = b"Subject: out\r\n\r\nhello, world\r\n";

fn courier(house: &mut Running) -> (Outbox, Receiver<Event>) {
    let (news, heard) = tokio::sync::mpsc::channel(100);
    (Outbox::new(house.outbox.take().unwrap(), news).unwrap(), heard)
}

async fn queue(house: &Running, person: &Person) -> Queue {
    let (_, socket) = prove(&house.submission, &person.address, person.device, &person.password).await.unwrap();
    Queue::new(Edge::from(socket)).unwrap()
}

fn posted(sender: &str, to: &[&str]) -> Posted {
    Posted {
        sender: Some(sender.into()),
        size: MESSAGE.len() as u32,
        generation: 1,
        eight_bit: false,
        international: false,
        require_tls: false,
        full: None,
        envelope_id: Some("x".into()),
        recipients: to.iter().map(|to| PostedTo { address: (*to).into(), original: None, notify: None }).collect(),
    }
}

/// A house with its courier's edge, and Anna, who writes.
struct Annas {
    folder: Folder,
    house: Running,
    outbox: Outbox,
    news: Receiver<Event>,
    anna: Person,
    queue: Queue,
}

async fn annas() -> Annas {
    let folder = Folder::new();
    let mut house = Running::start(&folder.0);
    let (outbox, news) = courier(&mut house);
    let anna = house.add("anna@home.test");
    let queue = queue(&house, &anna).await;
    Annas { folder, house, outbox, news, anna, queue }
}

/// Sealed to the poster's own key: here it stands for the outgoing identity.
async fn post(house: &Running, queue: &Queue, name: TransactionId, posted: Posted) -> Result<Delivered, Down> {
    let target = house.target(transaction(), "anna@home.test", 10).await;
    let (end, writing) = sealing(&target, MESSAGE);
    let outcome = queue.post(name, Vec::new(), posted, &[end.as_fd()]).await;
    drop(end);
    let _ = writing.await;
    outcome
}

async fn lease(outbox: &Outbox) -> Option<Leased> {
    outbox.lease(None, 10).await.unwrap().map(|(leased, _)| leased)
}

fn said(words: &str) -> Said {
    Said { status: (4, 2, 0), by: Some(("mx.far.test".into(), 450)), words: words.into(), at: 1 }
}

fn later(due: i64) -> State {
    State::Waiting { failures: 1, due, delay_told: false, last: Some(said("greylisted")) }
}

const DONE: State = State::Done { delivered: true };

#[test]
fn a_letter_is_leased_reported_and_gone() {
    run(async {
        let Annas { folder, house, outbox, mut news, anna, queue } = annas().await;
        assert_eq!(lease(&outbox).await, None);
        let to = ["ben@far.test", "cleo@FAR.test", "dan@third.test"];
        assert_eq!(
            post(&house, &queue, transaction(), posted("Anna+x@home.test", &to)).await.unwrap(),
            Delivered::Durable
        );
        let heard = tokio::time::timeout(Duration::from_secs(10), news.recv()).await.unwrap();
        assert_eq!(heard, Some(Event::Due));

        let (first, file) = outbox.lease(None, 10).await.unwrap().unwrap();
        let expect = spool::letter::Expect { mailbox: anna.id, letter: first.letter, size: None };
        let mut opened = spool::letter::Opened::open(std::fs::File::from(file), &expect, &anna.identities).unwrap();
        let size = opened.size();
        assert_eq!(opened.read_range(0, size).unwrap(), MESSAGE);
        let second = lease(&outbox).await.unwrap();
        let shown = |leased: &Leased| (leased.destination.clone(), leased.recipients.clone());
        let mut both = [shown(&first), shown(&second)];
        both.sort();
        assert_eq!(both, [("far.test".into(), vec![0, 1]), ("third.test".into(), vec![2])]);
        assert_eq!(lease(&outbox).await, None, "all of it is leased");

        for leased in [&first, &second] {
            let states = leased.recipients.iter().map(|number| (*number, DONE)).collect();
            assert!(outbox.report(leased.lease, states).await.unwrap());
        }
        assert_eq!(lease(&outbox).await, None);
        assert!(house.stop());
        assert!(files_below(&folder.0.join("outgoing")).is_empty());
    });
}

#[test]
fn what_was_leased_by_a_courier_that_died_is_due_again() {
    run(async {
        let Annas { folder, mut house, outbox, news: _news, anna: _anna, queue } = annas().await;
        let to = ["ben@far.test", "cleo@far.test", "dan@far.test"];
        post(&house, &queue, transaction(), posted("anna@home.test", &to)).await.unwrap();
        let leased = lease(&outbox).await.unwrap();
        let untold = State::Untold { delivered: false, last: said("no") };
        assert!(outbox.report(leased.lease, vec![(0, DONE), (1, untold.clone())]).await.unwrap());
        let again = lease(&outbox).await.unwrap();
        assert_eq!((again.destination.as_str(), again.recipients), ("", vec![1]), "its sender is told first");
        drop(outbox);
        // With and without a checkpoint between, what is known is the same.
        for checkpoint in [false, true] {
            if checkpoint {
                house.checkpoint();
            }
            assert!(house.stop());
            house = Running::start(&folder.0);
            let (outbox, _news) = courier(&mut house);
            let (one, two) = (lease(&outbox).await.unwrap(), lease(&outbox).await.unwrap());
            assert_eq!((one.destination.as_str(), &one.recipients), ("", &vec![1]));
            assert_eq!((two.destination.as_str(), &two.recipients), ("far.test", &vec![2]));
            let states: Vec<_> = two.outgoing.recipients.into_iter().map(|one| one.state).collect();
            assert_eq!(states[..2], [DONE, State::Done { delivered: false }], "of the others no words");
            assert_eq!(lease(&outbox).await, None);
        }
        assert!(house.stop());
    });
}

#[test]
fn what_fails_together_is_told_together() {
    run(async {
        let Annas { folder: _folder, house, outbox, news: _news, anna: _anna, queue } = annas().await;
        let to = ["ben@far.test", "cleo@third.test", "dan@slow.test", "eva@resting.test"];
        post(&house, &queue, transaction(), posted("anna@home.test", &to)).await.unwrap();
        outbox.rest("resting.test".into(), wire::date::now() + 1_000).await.unwrap();
        let [far, third, slow] = [lease(&outbox).await, lease(&outbox).await, lease(&outbox).await].map(Option::unwrap);
        let never = |leased: &Leased| {
            let last = Said { at: wire::date::now(), ..said("no such person") };
            vec![(leased.recipients[0], State::Untold { delivered: false, last })]
        };
        assert!(outbox.report(far.lease, never(&far)).await.unwrap());
        assert_eq!(lease(&outbox).await, None, "others of it are being tried");
        assert!(outbox.report(third.lease, never(&third)).await.unwrap());
        assert_eq!(lease(&outbox).await, None);
        assert!(outbox.report(slow.lease, vec![(slow.recipients[0], later(wire::date::now() + 900))]).await.unwrap());
        let tell = lease(&outbox).await.unwrap();
        let mut both = [far.recipients[0], third.recipients[0]];
        both.sort_unstable();
        assert_eq!((tell.destination.as_str(), &tell.recipients[..]), ("", &both[..]), "one notice of both");
        assert!(house.stop());
    });
}

#[test]
fn later_is_not_now_and_rest_is_rest() {
    run(async {
        let Annas { folder: _folder, house, outbox, mut news, anna: _anna, queue } = annas().await;
        for to in ["ben@far.test", "ben@far.test", "cleo@third.test"] {
            post(&house, &queue, transaction(), posted("anna@home.test", &[to])).await.unwrap();
        }
        // One at a time for each destination.
        let one = async || outbox.lease(None, 1).await.unwrap().map(|(leased, _)| leased);
        let (far, other) = (one().await.unwrap(), one().await.unwrap());
        assert_eq!((far.destination.as_str(), other.destination.as_str()), ("far.test", "third.test"));
        assert_eq!(one().await, None);
        assert_eq!(outbox.lease(Some("far.test".into()), 1).await.unwrap().map(|(leased, _)| leased), None);
        let next = outbox.lease(Some("far.test".into()), 2).await.unwrap().unwrap().0;
        assert_ne!(next.letter, far.letter);

        assert!(outbox.report(far.lease, vec![(0, later(wire::date::now() + 2))]).await.unwrap());
        assert!(outbox.report(next.lease, Vec::new()).await.unwrap(), "given back as it was");
        outbox.rest("far.test".into(), wire::date::now() + 1_000).await.unwrap();
        assert_eq!(one().await, None, "it rests");
        outbox.rest("far.test".into(), 0).await.unwrap();
        assert_eq!(one().await.unwrap().letter, next.letter);
        assert_eq!(one().await, None);
        // When it is due again the courier hears of it.
        while news.try_recv().is_ok() {}
        tokio::time::timeout(Duration::from_secs(20), news.recv()).await.unwrap().unwrap();
        loop {
            match outbox.lease(None, 2).await.unwrap() {
                Some((leased, _)) => break assert_eq!(leased.letter, far.letter),
                None => drop(tokio::time::timeout(Duration::from_secs(20), news.recv()).await.unwrap()),
            }
        }
        assert!(house.stop());
    });
}

#[test]
fn a_transaction_is_recognised_again() {
    run(async {
        let folder = Folder::new();
        let mut house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        let name = transaction();
        let first = queue(&house, &anna).await;
        let letter = posted("anna@home.test", &["ben@far.test"]);
        assert_eq!(post(&house, &first, name, letter.clone()).await.unwrap(), Delivered::Durable);
        assert!(house.stop());
        house = Running::start(&folder.0);
        let again = queue(&house, &anna).await;
        assert_eq!(post(&house, &again, name, letter).await.unwrap(), Delivered::Already);
        let (outbox, _news) = courier(&mut house);
        assert!(lease(&outbox).await.is_some());
        assert_eq!(lease(&outbox).await, None, "once");
        assert_eq!(files_below(&folder.0.join("outgoing")).len(), 1);
    });
}

#[test]
fn some_here_and_some_elsewhere_all_or_nobody() {
    run(async {
        let folder = Folder::new();
        let mut house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        let ben = house.add("ben@home.test");
        let queue = queue(&house, &anna).await;
        for whole in [false, true] {
            let name = transaction();
            let Recipient::Known(targets) = queue.recipient(name, "ben@home.test", 10).await.unwrap() else { panic!() };
            let (here, first) = sealing(&targets[0], MESSAGE);
            let (mut there, second) = sealing(&targets[0], MESSAGE);
            if !whole {
                // A pipe whose writer died.
                there = LetterPipe::new().unwrap().0;
            }
            let letters = vec![new_letter(&targets[0], MESSAGE)];
            let letter = posted("anna@home.test", &["x@far.test"]);
            let outcome = queue.post(name, letters, letter, &[here.as_fd(), there.as_fd()]).await.unwrap();
            drop((here, there));
            let _ = (first.await, second.await);
            assert_eq!(outcome, if whole { Delivered::Durable } else { Delivered::Failed });
            assert_eq!(files_below(&folder.0.join("outgoing")).len(), usize::from(whole));
            let (mailbox, _events) = house.login(&ben).await.unwrap();
            assert_eq!(open(&mailbox, "INBOX").await.1.len(), usize::from(whole));
        }
        let (outbox, _news) = courier(&mut house);
        assert_eq!(lease(&outbox).await.unwrap().destination, "far.test");
    });
}

#[test]
fn who_asks_for_what_he_may_not_is_dropped() {
    run(async {
        let folder = Folder::new();
        let mut house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        house.add("ben@home.test");
        for (sender, to) in [
            ("ben@home.test", &["x@far.test"][..]),
            ("anna@home.test", &["x@far.test", "ben@home.test"]),
            ("anna@home.test", &["nobody@home.test"]),
            ("anna@home.test", &["nodomain"]),
            ("anna@home.test", &[]),
        ] {
            let queue = queue(&house, &anna).await;
            assert!(post(&house, &queue, transaction(), posted(sender, to)).await.is_err(), "{sender} {to:?}");
        }
        assert!(files_below(&folder.0.join("outgoing")).is_empty());
        let queue = queue(&house, &anna).await;
        post(&house, &queue, transaction(), posted("anna@home.test", &["a@far.test", "b@third.test"])).await.unwrap();
        let (outbox, _news) = courier(&mut house);
        let leased = lease(&outbox).await.unwrap();
        let foreign = 1 - leased.recipients[0];
        assert!(outbox.report(leased.lease, vec![(foreign, DONE)]).await.is_err(), "not leased");
        outbox.closed().await;
        assert!(house.stop());
    });
}

/// 64 octets before the @, 255 behind.
fn longest(number: usize) -> String {
    let labels = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(63));
    format!("{number:064}@{labels}")
}

/// First later, with the longest words; then never; then told.
fn next_state(leased: &Leased, number: u16) -> (u16, State) {
    let last = Said { by: Some(("h".repeat(320), 450)), ..said(&"w".repeat(1_024)) };
    let state = match leased.outgoing.recipients[usize::from(number)].state {
        State::Waiting { failures: 0, due, .. } => {
            State::Waiting { failures: 1, due, delay_told: true, last: Some(last) }
        }
        State::Waiting { .. } => State::Untold { delivered: false, last },
        State::Untold { .. } | State::Done { .. } => State::Done { delivered: false },
    };
    (number, state)
}

#[test]
fn what_fits_no_packet_goes_in_several() {
    run(async {
        let Annas { folder: _folder, house, outbox, news: _news, anna: _anna, queue } = annas().await;
        // As many of the longest as a packet of a login holds, then as many as there may be.
        for (count, original) in [(74, Some(format!("rfc822;{}", "x".repeat(493)))), (100, None)] {
            let to = (0..count).map(|n| PostedTo { address: longest(n), original: original.clone(), notify: None });
            let letter = Posted { recipients: to.collect(), ..posted("anna@home.test", &[]) };
            assert_eq!(post(&house, &queue, transaction(), letter).await.unwrap(), Delivered::Durable);
            let mut reported = 0;
            while let Some(leased) = lease(&outbox).await {
                assert!(!leased.recipients.is_empty());
                for number in &leased.recipients {
                    let one = &leased.outgoing.recipients[usize::from(*number)];
                    assert_eq!((&one.address, &one.original), (&longest(usize::from(*number)), &original));
                }
                reported += leased.recipients.len();
                let states = leased.recipients.iter().map(|number| next_state(&leased, *number));
                assert!(outbox.report(leased.lease, states.collect()).await.unwrap());
                let listed = house.ask_all(admin::Request::QueueList, |reply| {
                    matches!(reply, admin::Reply::Queue { more: true, .. })
                });
                assert!(matches!(listed[..], [admin::Reply::Queue { .. }]));
            }
            assert_eq!(reported, 3 * count, "each: later, never, told");
        }
        assert!(house.stop());
    });
}

#[test]
fn aliases_count_as_what_they_lead_to() {
    run(async {
        let folder = Folder::new();
        let mut start = crate::house::start(crate::house::EDGES.to_vec());
        start.outgoing = Some(Outgoing { generation: 1, public_key: "age1".into(), srs_key: [7; 32] });
        let house = Running::from(&folder.0, Disk::default(), start).unwrap();
        let anna = house.add("anna@home.test");
        for alias in 0..7 {
            for to in 0..16 {
                let (alias, target) = (format!("us{alias}@home.test"), format!("ben{alias}.{to}@far.test"));
                house.done(admin::Request::AliasAdd { alias, target });
            }
        }
        let queue = queue(&house, &anna).await;
        let name = transaction();
        let ask = async |to: &str| queue.recipient(name, to, 10).await.unwrap();
        for alias in 0..6 {
            assert!(matches!(ask(&format!("us{alias}@home.test")).await, Recipient::Forwarded { .. }));
        }
        assert_eq!(ask("us6@home.test").await, Recipient::Separately, "96 and 16");
        for to in 0..4 {
            assert!(matches!(ask(&format!("x{to}@far.test")).await, Recipient::Remote { .. }));
        }
        assert_eq!(ask("x@far.test").await, Recipient::Separately);
        queue.abandon(name).await.unwrap();
        assert!(matches!(ask("us6@home.test").await, Recipient::Forwarded { .. }));
    });
}

const FULL: &str = "POSTERN_TEST_FULL_OUTBOX";

#[test]
fn a_report_that_a_full_disk_takes_not_is_made_again() {
    if let Some(path) = std::env::var_os(FULL) {
        return run(report_on_a_full_disk(path.into()));
    }
    let folder = Folder::new();
    let name = "outbox::a_report_that_a_full_disk_takes_not_is_made_again";
    let script = format!("mount -t tmpfs -o size=6m none \"$1\" && exec \"$2\" --exact {name}");
    let status = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"])
        .arg(&folder.0)
        .arg(std::env::current_exe().unwrap())
        .env(FULL, &folder.0)
        .status()
        .expect("unshare(1) of util-linux");
    assert!(status.success());
}

async fn report_on_a_full_disk(root: std::path::PathBuf) {
    let mut house = Running::start(&root);
    let (outbox, _news) = courier(&mut house);
    let anna = house.add("anna@home.test");
    let queue = queue(&house, &anna).await;
    for _ in 0..2 {
        post(&house, &queue, transaction(), posted("anna@home.test", &["ben@far.test"])).await.unwrap();
    }
    let leased = lease(&outbox).await.unwrap();
    let rest = root.join("rest");
    let mut file = std::fs::File::create(&rest).unwrap();
    while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    let state = State::Waiting { failures: 1, due: 0, delay_told: false, last: Some(said(&"w".repeat(1_000))) };
    let note = async || outbox.note(leased.lease, vec![(0, state.clone())]).await.unwrap();
    let mut taken = 0;
    while note().await {
        taken += 1;
        assert!(taken < 20_000, "the disk is not full");
    }
    assert!(!outbox.report(leased.lease, vec![(0, state.clone())]).await.unwrap());
    assert_eq!(lease(&outbox).await, None, "what could not be written down is not begun");
    drop(file);
    std::fs::remove_file(rest).unwrap();
    assert!(outbox.report(leased.lease, vec![(0, DONE)]).await.unwrap(), "the lease went on");
    let other = lease(&outbox).await.unwrap();
    assert_ne!(other.letter, leased.letter);
    assert!(house.stop());
}

#[test]
fn a_long_report_is_one_report() {
    run(async {
        let Annas { folder: _folder, house, outbox, news: _news, anna: _anna, queue } = annas().await;
        let to: Vec<String> = (0..100).map(|n| format!("ben{n}@far.test")).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        post(&house, &queue, transaction(), posted("anna@home.test", &to)).await.unwrap();
        let leased = lease(&outbox).await.unwrap();
        assert_eq!(leased.recipients.len(), 100, "short ones go together");
        let states: Vec<_> = leased.recipients.iter().map(|number| next_state(&leased, *number)).collect();
        assert!(outbox.note(leased.lease, states.clone()).await.unwrap());
        assert_eq!(lease(&outbox).await, None, "the lease goes on");
        assert!(outbox.report(leased.lease, states).await.unwrap(), "the same again changes nothing");
        let again = lease(&outbox).await.unwrap();
        assert!(matches!(again.outgoing.recipients[0].state, State::Waiting { failures: 1, .. }));
        assert!(
            outbox.report(again.lease, again.recipients.iter().map(|number| (*number, DONE)).collect()).await.unwrap()
        );
        assert!(house.stop());
    });
}

#[test]
fn what_no_alias_leads_to_is_not_passed_on() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        house.add("anna@home.test");
        let add = |alias: &str, target: &str| {
            house.ask(admin::Request::AliasAdd { alias: alias.into(), target: target.into() })
        };
        assert!(matches!(add("us@home.test", "ben@far.test"), admin::Reply::Done));
        assert!(!matches!(add("ben@far.test", "ben@third.test"), admin::Reply::Done), "no alias of ours");
        for bad in ["b en@far.test", "ben@[192.0.2.1]", "ben@far..test", &format!("{}@far.test", "b".repeat(65))] {
            assert!(!matches!(add("us@home.test", bad), admin::Reply::Done), "{bad}");
        }
        for (to, taken) in [
            (&["us@home.test"][..], true),
            (&["anybody@far.test"], false),
            (&["us@home.test", "anybody@far.test"], false),
        ] {
            let target = house.target(transaction(), "anna@home.test", 10).await;
            let (end, writing) = sealing(&target, MESSAGE);
            let letter = posted("stranger@third.test", to);
            let outcome = house.deposit.pass_on(transaction(), Vec::new(), letter, &[end.as_fd()]).await.unwrap();
            drop(end);
            let _ = writing.await;
            assert_eq!(outcome == Delivered::Durable, taken, "{to:?}");
        }
        assert_eq!(files_below(&folder.0.join("outgoing")).len(), 1);
    });
}

/// The courier names letters, never mailboxes: it can reach nobody who did not send one of those that wait.
#[test]
fn notices_reach_who_sent_and_nobody_else() {
    run(async {
        let folder = Folder::new();
        let mut house = Running::start(&folder.0);
        let (outbox, _news) = courier(&mut house);
        let notices = Notices::new(house.notices.take().unwrap()).unwrap();
        let anna = house.add("anna@home.test");
        let ben = house.add("ben@home.test");
        let add = |alias: &str, target: &str| {
            house.ask(admin::Request::AliasAdd { alias: alias.into(), target: target.into() })
        };
        for (alias, target) in [("us@home.test", "anna@home.test"), ("us@home.test", "ben@home.test")] {
            assert!(matches!(add(alias, target), admin::Reply::Done));
        }
        assert!(matches!(add("us@home.test", "aunt@far.test"), admin::Reply::Done));
        let queue = queue(&house, &anna).await;
        let size = Size::Said(10);
        let post_as = async |sender: Option<&str>| {
            let letter = Posted { sender: sender.map(ToOwned::to_owned), ..posted("", &["ben@far.test"]) };
            assert_eq!(post(&house, &queue, transaction(), letter).await.unwrap(), Delivered::Durable);
            lease(&outbox).await.unwrap().letter
        };
        // Under a name that is several people's, and passes mail on besides: it was Anna's login.
        let shared = post_as(Some("us@home.test")).await;
        let name = transaction();
        let Recipient::Known(targets) = notices.listener(name, shared, size).await.unwrap() else { panic!() };
        assert_eq!(targets.iter().map(|target| target.mailbox).collect::<Vec<_>>(), [anna.id]);
        let (end, writing) = sealing(&targets[0], MESSAGE);
        let letters = vec![new_letter(&targets[0], MESSAGE)];
        assert_eq!(notices.deliver(name, letters, &[end.as_fd()]).await.unwrap(), Delivered::Durable);
        drop(end);
        let _ = writing.await;
        // Never to the null sender, nor about what nobody sent.
        let bounce = post_as(None).await;
        assert_eq!(notices.listener(transaction(), bounce, size).await.unwrap(), Recipient::Unknown);
        let nothing = spool::names::LetterId([9; 16]);
        assert_eq!(notices.listener(transaction(), nothing, size).await.unwrap(), Recipient::Unknown);
        // A mailbox that it was not told of is out of its reach.
        let bens = Target { mailbox: ben.id, ..targets[0].clone() };
        let (end, _writing) = sealing(&bens, MESSAGE);
        let letters = vec![new_letter(&bens, MESSAGE)];
        assert!(notices.deliver(transaction(), letters, &[end.as_fd()]).await.is_err());
        assert!(house.stop());
    });
}

#[test]
fn a_file_that_nobody_was_told_of_is_set_aside() {
    let folder = Folder::new();
    assert!(run(async { Running::start(&folder.0).stop() }));
    let name = "00112233445566778899aabbccddeeff";
    std::fs::write(folder.0.join("outgoing").join(name), b"half a letter").unwrap();
    assert!(run(async { Running::start(&folder.0).stop() }));
    assert!(folder.0.join("set-aside/outgoing").join(name).exists());
    assert!(files_below(&folder.0.join("outgoing")).is_empty());
}

#[test]
fn what_is_kept_back_is_not_tried_again() {
    run(async {
        let Annas { folder: _folder, house, outbox, news: _news, anna: _anna, queue } = annas().await;
        post(&house, &queue, transaction(), posted("anna@home.test", &["ben@far.test"])).await.unwrap();
        let leased = lease(&outbox).await.unwrap();
        let letter = leased.letter;
        assert!(outbox.report(leased.lease, vec![(0, later(wire::date::now() + 1_000))]).await.unwrap());
        house.ask(admin::Request::QueueHold { letter, on: true });
        let admin::Reply::Refused(why) = house.ask(admin::Request::QueueRetry { letter: Some(letter) }) else {
            panic!("tried")
        };
        assert!(why.contains("postern queue release"), "{why}");
        house.ask(admin::Request::QueueRetry { letter: None });
        house.ask(admin::Request::QueueHold { letter, on: false });
        assert_eq!(lease(&outbox).await, None, "its time has not changed");
        assert!(matches!(house.ask(admin::Request::QueueRetry { letter: Some(letter) }), admin::Reply::Done));
        assert_eq!(lease(&outbox).await.unwrap().letter, letter);
        assert!(house.stop());
    });
}

#[test]
fn what_a_suspended_mailbox_has_written_waits_with_it() {
    run(async {
        let Annas { folder: _folder, house, outbox, mut news, anna, queue } = annas().await;
        post(&house, &queue, transaction(), posted("anna@home.test", &["ben@far.test"])).await.unwrap();
        let suspend = |on| house.ask(admin::Request::MailboxSuspend { address: anna.address.clone(), on });
        suspend(true);
        assert_eq!(lease(&outbox).await, None);
        let admin::Reply::Queue { some, .. } = house.ask(admin::Request::QueueList) else { panic!("no list") };
        assert!(some[0].held);
        let retry = admin::Request::QueueRetry { letter: Some(some[0].letter) };
        let admin::Reply::Refused(why) = house.ask(retry) else { panic!("tried") };
        assert!(why.contains("suspend --lift anna@home.test"), "{why}");
        let release = admin::Request::QueueHold { letter: some[0].letter, on: false };
        assert!(matches!(house.ask(release), admin::Reply::Refused(why) if why.contains("--lift anna@home.test")));
        while news.try_recv().is_ok() {}
        assert_eq!(lease(&outbox).await, None);
        suspend(false);
        // Sooner than it would look again by itself.
        tokio::time::timeout(Duration::from_secs(20), news.recv()).await.unwrap().unwrap();
        let leased = lease(&outbox).await.unwrap();
        assert_eq!(leased.letter, some[0].letter);
        assert!(outbox.report(leased.lease, vec![(0, later(wire::date::now() + 1_000))]).await.unwrap());
        suspend(true);
        house.done(admin::Request::MailboxRemove { address: anna.address.clone() });
        let admin::Reply::Queue { some, .. } = house.ask(admin::Request::QueueList) else { panic!("no list") };
        assert!(some.is_empty(), "what was kept back goes with the mailbox");
        assert!(house.stop());
    });
}

#[test]
fn senders_who_cannot_be_told_now_keep_nobody_waiting() {
    run(async {
        let Annas { folder: _folder, house, outbox, news: _news, anna: _anna, queue } = annas().await;
        for to in ["ben@far.test", "cat@else.test"] {
            post(&house, &queue, transaction(), posted("anna@home.test", &[to])).await.unwrap();
        }
        let sent = [lease(&outbox).await.unwrap(), lease(&outbox).await.unwrap()];
        for sent in sent {
            let untold = State::Untold { delivered: false, last: said("no") };
            assert!(outbox.report(sent.lease, vec![(0, untold)]).await.unwrap());
        }
        let first = outbox.lease(None, 1).await.unwrap().unwrap().0;
        assert_eq!(first.destination, "");
        assert!(outbox.report(first.lease, Vec::new()).await.unwrap(), "not now");
        let second = outbox.lease(None, 1).await.unwrap().unwrap().0;
        assert!(second.destination.is_empty() && second.letter != first.letter, "the other has its turn");
        assert!(outbox.report(second.lease, Vec::new()).await.unwrap());
        assert_eq!(lease(&outbox).await, None);
        // "Now" is now.
        house.ask(admin::Request::QueueRetry { letter: None });
        assert!(lease(&outbox).await.is_some() && lease(&outbox).await.is_some());
        assert!(house.stop());
    });
}
