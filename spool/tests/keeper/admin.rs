//! The family admin's commands.

use std::os::fd::AsFd;
use std::time::Duration;

use spool::audit::{Entry, Line, What};
use spool::edges::Delivered;
use spool::edges::admin::{AliasInfo, Reply, Request};
use spool::slots::SlotsFile;

use crate::house::{Folder, Person, Running, files_below, new_letter, prove, run, sealing, transaction};

fn slots(house: &Running) -> SlotsFile {
    match house.ask(Request::Slots { address: "anna@home.test".into() }) {
        Reply::Slots(bytes) => SlotsFile::decode(&bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn audit(house: &Running) -> Vec<String> {
    match house.ask(Request::Audit { address: "anna@home.test".into() }) {
        Reply::Audit { some, more: false } => some,
        other => panic!("{other:?}"),
    }
}

/// `device add`, as the command does it.
fn add_device(house: &Running, anna: &Person, name: &str) -> spool::keys::DevicePassword {
    let mut file = slots(house);
    let unlocked = file.unlock(&anna.words.list().join(" ")).unwrap();
    let (slot, password) = file.add_device(&unlocked.identities, 5).unwrap();
    let mut facts = file.facts(&unlocked.identities).unwrap();
    facts.devices.push((slot, name.into()));
    file.set_facts(&facts).unwrap();
    let lines = audit(house);
    let last = spool::audit::last(lines.iter().map(String::as_str));
    let entry = Entry { at: 5, what: What::DeviceAdded, slot: Some(slot), text: name.into() };
    let line = Line::make(last.as_ref(), anna.id, 1, file.public(), &entry).unwrap();
    house.done(Request::SlotsReplace {
        address: "anna@home.test".into(),
        slots: file.encode().unwrap(),
        device_names: facts.devices,
        audit: line.to_string(),
    });
    password
}

/// `mailbox rekey`, as the command does it.
fn rekey(house: &Running, anna: &Person) {
    let mut file = slots(house);
    let mut unlocked = file.unlock(&anna.words.list().join(" ")).unwrap();
    file.rekey(&mut unlocked.identities).unwrap();
    let lines = audit(house);
    let last = spool::audit::last(lines.iter().map(String::as_str));
    let entry = Entry { at: 5, what: What::Rekeyed, slot: None, text: String::new() };
    let line = Line::make(last.as_ref(), anna.id, file.generation(), file.public(), &entry).unwrap();
    house.done(Request::SlotsReplace {
        address: "anna@home.test".into(),
        slots: file.encode().unwrap(),
        device_names: file.facts(&unlocked.identities).unwrap().devices,
        audit: line.to_string(),
    });
}

/// What comes after a rekey is sealed to the new key, also of a sender that named its recipient before.
#[test]
fn a_letter_under_way_during_a_rekey_comes_again() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        let name = transaction();
        let before = house.target(name, "anna@home.test", 5).await;
        rekey(&house, &anna);
        let (end, _writing) = sealing(&before, b"hello");
        let outcome = house.deposit.deliver(name, vec![new_letter(&before, b"hello")], &[end.as_fd()]).await;
        assert!(matches!(outcome, Ok(Delivered::Failed)), "{outcome:?}");
        assert_eq!(house.deliver("anna@home.test", b"hello").await, Delivered::Durable);
    });
}

/// What a session may write as it was told at its beginning.
#[test]
fn who_loses_an_alias_logs_in_anew() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let (anna, ben) = (house.add("anna@home.test"), house.add("ben@home.test"));
        house.done(Request::AliasAdd { alias: "chef@home.test".into(), target: "anna@home.test".into() });
        let (annas, _) = house.login(&anna).await.unwrap();
        let (bens, _) = house.login(&ben).await.unwrap();
        house.done(Request::AliasRemove { alias: "chef@home.test".into(), target: None });
        tokio::time::timeout(Duration::from_secs(20), annas.closed()).await.expect("its sessions end");
        assert!(bens.ask(spool::edges::mailbox::Request::Quota, &[]).await.is_ok());
    });
}

#[test]
fn devices_come_and_go_and_their_sessions_with_them() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        let password = add_device(&house, &anna, "laptop");
        let fields = house.login.fields("anna@home.test").await.unwrap();
        assert_eq!(fields.devices.len(), 2);
        let laptop = prove(&house.login, "anna@home.test", fields.devices[1].device, &password).await.unwrap();
        let (laptop, _) = spool::edges::mailbox::Mailbox::new(laptop.1.into()).unwrap();
        let (phone, _events) = house.login(&anna).await.unwrap();
        let Reply::Devices(devices) = house.ask(Request::DeviceList { address: "anna@home.test".into() }) else {
            panic!()
        };
        assert_eq!(devices.iter().map(|device| device.name.as_str()).collect::<Vec<_>>(), ["phone", "laptop"]);
        assert!(devices.iter().all(|device| device.last_login.is_some()));
        house.done(Request::DeviceRevoke { address: "anna@home.test".into(), name: "laptop".into() });
        laptop.closed().await;
        assert!(prove(&house.login, "anna@home.test", fields.devices[1].device, &password).await.is_none());
        assert!(phone.ask(spool::edges::mailbox::Request::Quota, &[]).await.is_ok());
        let file = slots(&house);
        let unlocked = file.unlock(&anna.words.list().join(" ")).unwrap();
        assert_eq!(file.facts(&unlocked.identities).unwrap().devices.len(), 1);
        let lines = audit(&house);
        let read = spool::audit::read(&unlocked.identities, lines.iter().map(String::as_str));
        let what: Vec<_> = read.entries.iter().map(|(_, entry)| entry.what).collect();
        assert_eq!(what, [What::Made, What::DeviceAdded, What::DeviceDropped]);
        drop((laptop, phone));
        assert!(house.stop());
        let house = Running::start(&folder.0);
        assert!(prove(&house.login, "anna@home.test", fields.devices[1].device, &password).await.is_none());
        assert!(house.login(&anna).await.is_some());
    });
}

#[test]
fn stale_or_foreign_slots_are_refused() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        house.add("ben@home.test");
        let stale = slots(&house);
        add_device(&house, &anna, "laptop");
        let replace = |address: &str, bytes| Request::SlotsReplace {
            address: address.into(),
            slots: bytes,
            device_names: vec![(anna.device, "phone".into())],
            audit: String::new(),
        };
        for (address, bytes) in [
            ("anna@home.test", stale.encode().unwrap()),
            ("ben@home.test", slots(&house).encode().unwrap()),
            ("anna@home.test", b"nonsense".to_vec()),
        ] {
            let reply = house.ask(replace(address, bytes));
            assert!(matches!(reply, Reply::Refused(_) | Reply::Outdated), "{reply:?}");
        }
    });
}

#[test]
fn a_change_that_came_second_is_told_so_and_made_anew() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        let before = (slots(&house), audit(&house));
        house.done(Request::AliasAdd { alias: "mum@home.test".into(), target: "anna@home.test".into() });
        let mut late = before.0;
        let facts = late.facts(&anna.identities).unwrap();
        late.set_facts(&facts).unwrap();
        let last = spool::audit::last(before.1.iter().map(String::as_str));
        let entry = Entry { at: 5, what: What::WordsUsed, slot: None, text: String::new() };
        let line = Line::make(last.as_ref(), anna.id, 1, late.public(), &entry).unwrap();
        let request = Request::SlotsReplace {
            address: "anna@home.test".into(),
            slots: late.encode().unwrap(),
            device_names: facts.devices,
            audit: line.to_string(),
        };
        let reply = house.ask(request);
        assert!(matches!(reply, Reply::Outdated), "{reply:?}");
        assert_eq!(audit(&house), before.1, "a change refused leaves no line");
        assert_eq!(slots(&house).facts(&anna.identities).unwrap().addresses.len(), 2);
    });
}

#[test]
fn mailboxes_aliases_and_quotas() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        house.add("ben@other.test");
        let Reply::Domains(domains) = house.ask(Request::Domains) else { panic!() };
        assert_eq!(domains, ["home.test", "other.test"]);
        house.done(Request::AliasAdd { alias: "Us@home.test".into(), target: "anna@home.test".into() });
        house.done(Request::AliasAdd { alias: "us@home.test".into(), target: "ben@other.test".into() });
        for (alias, target) in [
            ("anna@home.test", "ben@other.test"),
            ("x@home.test", "none@home.test"),
            ("x", "anna@home.test"),
            ("x@foreign.test", "anna@home.test"),
        ] {
            let add = Request::AliasAdd { alias: alias.into(), target: target.into() };
            assert!(matches!(house.ask(add), Reply::Refused(_)));
        }
        let Reply::Aliases { some, more: false } = house.ask(Request::AliasList) else { panic!() };
        let us = vec!["anna@home.test".to_owned(), "ben@other.test".to_owned()];
        assert_eq!(some, [AliasInfo { alias: "us@home.test".to_owned(), to: us, dead: vec![] }]);
        // `recover` would find them.
        let file = slots(&house);
        let unlocked = file.unlock(&anna.words.list().join(" ")).unwrap();
        assert_eq!(file.facts(&unlocked.identities).unwrap().addresses, ["anna@home.test", "us@home.test"]);
        house.done(Request::AliasRemove { alias: "us@home.test".into(), target: Some("ben@other.test".into()) });
        let quota = Request::Quota { address: "anna@home.test".into(), bytes: Some(77) };
        assert!(matches!(house.ask(quota), Reply::Quota { used: 0, limit: 77 }));
        let Reply::Mailboxes { some, more: false } = house.ask(Request::MailboxList) else { panic!() };
        assert_eq!(some[0].addresses, ["anna@home.test", "us@home.test"]);
        assert_eq!((some[0].quota, some[0].letters, some[0].generation), (77, 0, 1));
        house.ask(Request::Quota { address: "anna@home.test".into(), bytes: Some(1 << 20) });
        house.deliver("anna@home.test", b"bye").await;
        house.done(Request::MailboxRemove { address: "anna@home.test".into() });
        let left: Vec<_> = ["mailboxes", "letters", "cache"].iter().map(|name| folder.0.join(name)).collect();
        let left: Vec<_> = left.iter().flat_map(|folder| files_below(folder)).collect();
        assert!(left.iter().all(|path| !path.display().to_string().contains(&anna.id.to_string())), "{left:?}");
        let Reply::Aliases { some, .. } = house.ask(Request::AliasList) else { panic!() };
        assert!(some.is_empty());
        assert!(house.stop());
        let house = Running::start(&folder.0);
        let Reply::Mailboxes { some, .. } = house.ask(Request::MailboxList) else { panic!() };
        assert_eq!(some.len(), 1);
        // The address is free again.
        house.add("anna@home.test");
    });
}

/// A mail app would take the new mailbox's letters for the old one's.
#[test]
fn a_mailbox_that_follows_another_at_once_is_another() {
    run(async {
        let folder = Folder::new();
        let mut seen = std::collections::HashSet::new();
        for round in 0..4 {
            let house = Running::start(&folder.0);
            let anna = house.add("anna@home.test");
            let (mailbox, _events) = house.login(&anna).await.unwrap();
            let (inbox, _) = crate::house::open(&mailbox, "INBOX").await;
            assert!(seen.insert(inbox.uid_validity), "round {round}: {seen:?}");
            house.done(Request::MailboxRemove { address: "anna@home.test".into() });
            assert!(house.stop());
        }
    });
}
