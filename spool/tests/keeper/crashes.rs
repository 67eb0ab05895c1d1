//! Admin commands that a crash or a failing disk interrupts, at every step in turn: afterwards they are done or not,
//! and can be done again.

use std::sync::Arc;

use rustix::io::Errno;
use spool::disk::{Disk, Faults};
use spool::edges::admin::{Reply, Request};
use spool::names::MailboxId;
use spool::slots::SlotsFile;

use crate::check::check;
use crate::house::{Folder, Person, Running, files_below, new_mailbox, open, prove, run};

/// What a keeper leaves that is told `command` and whose disk fails at step `step` from then on. `None` when the
/// command needs fewer steps.
struct Interrupted {
    folder: Folder,
    anna: Person,
    reply: Option<Reply>,
}

/// A house with Anna (one letter) and Ben, then the command on a disk that fails.
async fn interrupt(step: u64, faults: fn(u64) -> Arc<Faults>, command: Request) -> Option<Interrupted> {
    let folder = Folder::new();
    let house = Running::start(&folder.0);
    let anna = house.add("anna@home.test");
    house.add("ben@home.test");
    house.deliver("anna@home.test", b"hello").await;
    assert!(house.stop());
    let started = Faults::none();
    assert!(Running::on(&folder.0, Disk::faulty(started.clone())).unwrap().stop());
    // Starting takes as many steps each time; stopping takes a few of those counted.
    let before = started.steps().saturating_sub(6) + step;
    let plan = faults(before);
    let house = Running::on(&folder.0, Disk::faulty(plan.clone())).ok()?;
    let reply = house.try_ask(command);
    let whole = plan.steps() < before;
    house.stop();
    (!whole).then_some(Interrupted { folder, anna, reply })
}

fn crash(step: u64) -> Arc<Faults> {
    Faults::crash(step)
}

fn once(step: u64) -> Arc<Faults> {
    Faults::once(step, Errno::IO)
}

fn mailboxes(house: &Running) -> Vec<MailboxId> {
    match house.ask(Request::MailboxList) {
        Reply::Mailboxes { some, more: false } => some.into_iter().map(|info| info.id).collect(),
        other => panic!("{other:?}"),
    }
}

fn anna() -> String {
    "anna@home.test".to_owned()
}

#[test]
fn a_removal_is_done_or_not_and_nothing_is_lost_for_recover_to_find() {
    run(async {
        let mut steps = 0;
        for faults in [crash as fn(u64) -> Arc<Faults>, once] {
            for step in 1.. {
                let command = Request::MailboxRemove { address: anna() };
                let Some(left) = interrupt(step, faults, command).await else { break };
                steps += 1;
                let house = Running::start(&left.folder.0);
                let Reply::Unknown { some, .. } = house.ask(Request::Unknown) else { panic!() };
                assert!(some.is_empty(), "step {step}: recover would bring a mailbox back");
                if mailboxes(&house).contains(&left.anna.id) {
                    assert!(!matches!(left.reply, Some(Reply::Done)));
                    let (mailbox, _events) = house.login(&left.anna).await.unwrap();
                    assert_eq!(open(&mailbox, "INBOX").await.1.len(), 1, "step {step}");
                } else {
                    let id = left.anna.id.to_string();
                    let files = files_below(&left.folder.0);
                    let rest: Vec<_> = files.iter().filter(|path| path.display().to_string().contains(&id)).collect();
                    assert!(rest.is_empty(), "step {step}: {rest:?}");
                }
            }
        }
        assert!(steps > 8, "only {steps} steps");
    });
}

#[test]
fn a_mailbox_is_made_or_there_is_nothing_of_it() {
    run(async {
        let mut steps = 0;
        for faults in [crash as fn(u64) -> Arc<Faults>, once] {
            for step in 1.. {
                let (command, carl) = new_mailbox("carl@home.test", None);
                let Some(left) = interrupt(step, faults, command).await else { break };
                steps += 1;
                let house = Running::start(&left.folder.0);
                let Reply::Unknown { some, .. } = house.ask(Request::Unknown) else { panic!() };
                assert!(some.is_empty(), "step {step}: it looks like a lost one");
                let damage: Vec<_> = check(&house, false).0.into_iter().filter(|found| !found.settled()).collect();
                assert_eq!(damage, [], "step {step}");
                let id = carl.id.to_string();
                if mailboxes(&house).contains(&carl.id) {
                    assert!(house.login(&carl).await.is_some(), "step {step}");
                } else {
                    assert!(!matches!(left.reply, Some(Reply::Done)), "step {step}");
                    let entries = std::fs::read_dir(left.folder.0.join("mailboxes")).unwrap();
                    let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
                    assert!(names.iter().all(|name| !name.to_str().unwrap().contains(&id)), "step {step}: {names:?}");
                    house.add("carl@home.test");
                }
            }
        }
        assert!(steps > 8, "only {steps} steps");
    });
}

#[test]
fn a_revocation_can_be_done_again_after_any_failure() {
    run(async {
        let mut steps = 0;
        for faults in [crash as fn(u64) -> Arc<Faults>, once] {
            for step in 1.. {
                let revoke = || Request::DeviceRevoke { address: anna(), name: "phone".into() };
                let Some(left) = interrupt(step, faults, revoke()).await else { break };
                steps += 1;
                let house = Running::start(&left.folder.0);
                let (findings, _) = check(&house, false);
                let damage: Vec<_> = findings.into_iter().filter(|finding| !finding.settled()).collect();
                assert_eq!(damage, [], "step {step}: a line of a change that was not made is none");
                match house.ask(revoke()) {
                    Reply::Done => {}
                    Reply::Refused(words) if words.contains("no device") => {}
                    other => panic!("step {step}: {other:?}"),
                }
                let Reply::Devices(devices) = house.ask(Request::DeviceList { address: anna() }) else { panic!() };
                assert!(devices.is_empty(), "step {step}: {devices:?}");
                let person = &left.anna;
                assert!(prove(&house.login, &person.address, person.device, &person.password).await.is_none());
                let Reply::Slots(bytes) = house.ask(Request::Slots { address: anna() }) else { panic!() };
                assert_eq!(SlotsFile::decode(&bytes).unwrap().slots().len(), 1, "step {step}: the words are left");
            }
        }
        assert!(steps > 15, "only {steps} steps");
    });
}

#[test]
fn a_revocation_that_fails_half_way_is_done_again_without_a_restart() {
    run(async {
        let mut tried = 0;
        for step in 1..12 {
            let folder = Folder::new();
            let first = Running::start(&folder.0);
            let anna = first.add("anna@home.test");
            assert!(first.stop());
            let started = Faults::none();
            assert!(Running::on(&folder.0, Disk::faulty(started.clone())).unwrap().stop());
            let faults = Faults::once(started.steps().saturating_sub(3) + step, Errno::IO);
            let Ok(house) = Running::on(&folder.0, Disk::faulty(faults)) else { continue };
            let (mailbox, _events) = house.login(&anna).await.unwrap();
            let revoke = || Request::DeviceRevoke { address: "anna@home.test".into(), name: "phone".into() };
            // The journal's own failure ends the keeper: that is a crash, tried elsewhere.
            if let Some(Reply::Refused(_)) = house.try_ask(revoke()) {
                tried += 1;
                let Some(reply) = house.try_ask(revoke()) else { continue };
                let gone = matches!(&reply, Reply::Refused(words) if words.contains("no device"));
                assert!(gone || matches!(reply, Reply::Done), "step {step}: {reply:?}");
                mailbox.closed().await;
            }
        }
        assert!(tried > 4, "only {tried} failures");
    });
}

#[test]
fn what_recover_would_find_is_what_the_journal_says() {
    run(async {
        let mut steps = 0;
        for faults in [crash as fn(u64) -> Arc<Faults>, once] {
            for step in 1.. {
                let add = Request::AliasAdd { alias: "mum@home.test".into(), target: anna() };
                let Some(left) = interrupt(step, faults, add).await else { break };
                steps += 1;
                let house = Running::start(&left.folder.0);
                let Reply::Mailboxes { some, .. } = house.ask(Request::MailboxList) else { panic!() };
                let known = some.iter().find(|info| info.id == left.anna.id).unwrap();
                let Reply::Slots(bytes) = house.ask(Request::Slots { address: anna() }) else { panic!() };
                let file = SlotsFile::decode(&bytes).unwrap();
                assert_eq!(file.facts(&left.anna.identities).unwrap().addresses, known.addresses, "step {step}");
                let added = known.addresses.len() == 2;
                assert!(added || !matches!(left.reply, Some(Reply::Done)));
            }
        }
        assert!(steps > 10, "only {steps} steps");
    });
}
