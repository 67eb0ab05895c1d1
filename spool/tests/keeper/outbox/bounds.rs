//! Long addresses, long words, many recipients, a full disk.

use spool::disk::Disk;
use spool::edges::admin;
use spool::edges::outbox::{Leased, Said, State};
use spool::edges::queue::{Posted, PostedTo};
use spool::edges::{Delivered, Recipient};
use spool::keeper::start::Outgoing;

use super::{Annas, DONE, annas, courier, lease, post, posted, queue, said};
use crate::house::{Folder, Running, run, transaction};

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
    let name = "outbox::bounds::a_report_that_a_full_disk_takes_not_is_made_again";
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
