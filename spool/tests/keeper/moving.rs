//! A domain that was another house's comes into this one: aliases that name addresses in it lead here from then on.

use std::os::fd::AsFd;

use spool::disk::Disk;
use spool::edges::admin::{AliasInfo, Reply, Request};
use spool::edges::notices::{Notices, Others};
use spool::edges::outbox::{Event, Leased, Outbox};
use spool::edges::{Delivered, Recipient, Size};
use spool::keeper::start::Outgoing;
use spool::names::{LetterId, MailboxId};
use tokio::sync::mpsc::Receiver;

use crate::house::{Folder, Person, Running, new_letter, open, run, sealing, transaction};
use crate::outbox::{DONE, MESSAGE, courier, lease, post, posted, queue};

/// The house, with these domains beside its own.
fn start(folder: &Folder, more: &[&str]) -> Running {
    let mut start = crate::house::start(crate::house::EDGES.to_vec());
    start.outgoing = Some(Outgoing { generation: 1, public_key: "age1".into(), srs_key: [7; 32] });
    start.domains.extend(more.iter().map(|domain| (*domain).to_owned()));
    Running::from(&folder.0, Disk::default(), start).unwrap()
}

fn alias(house: &Running, alias: &str, target: &str) {
    house.done(Request::AliasAdd { alias: alias.into(), target: target.into() });
}

fn aliases(house: &Running) -> Vec<AliasInfo> {
    let Reply::Aliases { some, more: false } = house.ask(Request::AliasList) else { panic!("no list") };
    some
}

/// In whose mailboxes a copy goes, and whether one leaves.
async fn ask(house: &Running, to: &str) -> Option<(Vec<MailboxId>, bool)> {
    let (targets, leaves) = match house.deposit.recipient(transaction(), to, 10).await.unwrap() {
        Recipient::Known(targets) => (targets, false),
        Recipient::Forwarded { targets, .. } => (targets, true),
        _ => return None,
    };
    Some((targets.iter().map(|target| target.mailbox).collect(), leaves))
}

#[test]
fn an_alias_leads_where_its_addresses_are_now() {
    run(async {
        let folder = Folder::new();
        let house = start(&folder, &[]);
        let anna = house.add("anna@home.test");
        for to in ["anna@home.test", "Ben@one.test", "carl@two.test"] {
            alias(&house, "family@home.test", to);
        }
        alias(&house, "ben@home.test", "ben@one.test");
        assert_eq!(ask(&house, "family@home.test").await, Some((vec![anna.id], true)));
        assert_eq!(ask(&house, "ben@home.test").await, Some((vec![], true)));
        assert!(aliases(&house).iter().all(|one| one.dead.is_empty()));
        assert!(house.stop());

        // Nobody is there yet: the others have theirs, and who has nobody is told.
        let mut house = start(&folder, &["one.test"]);
        assert_eq!(ask(&house, "family@home.test").await, Some((vec![anna.id], true)));
        assert_eq!(ask(&house, "ben@home.test").await, None);
        let dead: Vec<_> = aliases(&house).into_iter().map(|one| one.dead).collect();
        assert_eq!(dead, [["ben@one.test"], ["ben@one.test"]]);
        let target = house.target(transaction(), "anna@home.test", 10).await;
        let (far, passing) = sealing(&target, MESSAGE);
        let letter = posted("stranger@third.test", &["family@home.test"]);
        let taken = house.deposit.pass_on(transaction(), Vec::new(), letter, &[far.as_fd()]).await.unwrap();
        drop(far);
        let _ = passing.await;
        assert_eq!(taken, Delivered::Durable);
        let login = queue(&house, &anna).await;
        let letter = posted("anna@home.test", &["family@home.test", "x@third.test"]);
        assert_eq!(post(&house, &login, transaction(), letter).await.unwrap(), Delivered::Durable);
        let (outbox, _news) = courier(&mut house);
        let mut went = Vec::new();
        while let Some(leased) = lease(&outbox).await {
            went.push(leased.destination);
        }
        went.sort_unstable();
        assert_eq!(went, ["third.test", "two.test", "two.test"]);

        // And then he is.
        let ben = house.add("ben@one.test");
        assert_eq!(ask(&house, "family@home.test").await, Some((vec![anna.id, ben.id], true)));
        assert_eq!(ask(&house, "ben@home.test").await, Some((vec![ben.id], false)));
        assert!(aliases(&house).iter().all(|one| one.dead.is_empty()));
        alias(&house, "family@home.test", "ben@one.test");
        assert_eq!(aliases(&house)[1].to, ["anna@home.test", "ben@one.test", "carl@two.test"]);
        house.done(Request::AliasRemove { alias: "family@home.test".into(), target: Some("ben@one.test".into()) });
        assert_eq!(ask(&house, "family@home.test").await, Some((vec![anna.id], true)));
        assert!(house.stop());
        let house = start(&folder, &["one.test", "two.test"]);
        assert_eq!(ask(&house, "family@home.test").await, Some((vec![anna.id], false)));
        assert!(house.stop());
    });
}

#[test]
fn who_comes_while_a_letter_is_written_is_not_left_out_and_no_session_ends_by_it() {
    run(async {
        let folder = Folder::new();
        let house = start(&folder, &["one.test"]);
        let anna = house.add("anna@home.test");
        alias(&house, "family@home.test", "x@third.test");
        let login = queue(&house, &anna).await;
        let name = transaction();
        assert!(matches!(login.recipient(name, "family@home.test", 10).await, Ok(Recipient::Forwarded { .. })));
        let (strangers, target) = (transaction(), house.target(transaction(), "anna@home.test", 10).await);
        let found = house.deposit.recipient(strangers, "family@home.test", 10).await;
        assert!(matches!(found, Ok(Recipient::Forwarded { .. })));
        alias(&house, "family@home.test", "anna@home.test");
        let letter = || posted("anna@home.test", &["family@home.test"]);
        assert_eq!(post(&house, &login, name, letter()).await.unwrap(), Delivered::Failed);
        let (far, _passing) = sealing(&target, MESSAGE);
        let outcome = house.deposit.pass_on(strangers, Vec::new(), letter(), &[far.as_fd()]).await.unwrap();
        assert_eq!(outcome, Delivered::Failed);
        // Again, and she has hers.
        let name = transaction();
        let Ok(Recipient::Forwarded { targets, .. }) = login.recipient(name, "family@home.test", 10).await else {
            panic!("not passed on")
        };
        let ((here, _writing), (far, _passing)) = (sealing(&targets[0], MESSAGE), sealing(&targets[0], MESSAGE));
        let letters = vec![new_letter(&targets[0], MESSAGE)];
        assert_eq!(
            login.post(name, letters, letter(), &[here.as_fd(), far.as_fd()]).await.unwrap(),
            Delivered::Durable
        );
        assert!(house.stop());
    });
}

#[test]
fn what_is_before_the_at_of_another_house_s_address_keeps_its_case() {
    run(async {
        let folder = Folder::new();
        let mut house = start(&folder, &[]);
        let anna = house.add("anna@home.test");
        alias(&house, "kin@home.test", "ben@one.test");
        alias(&house, "kin@home.test", "Ben@one.test");
        assert_eq!(aliases(&house)[0].to, ["Ben@one.test"], "as it was written last, and once");
        let login = queue(&house, &anna).await;
        let letter = posted("anna@home.test", &["kin@home.test"]);
        assert_eq!(post(&house, &login, transaction(), letter).await.unwrap(), Delivered::Durable);
        let (outbox, _news) = courier(&mut house);
        let leased = lease(&outbox).await.unwrap();
        assert_eq!(leased.outgoing.recipients[0].address, "Ben@one.test");
        house.done(Request::AliasRemove { alias: "kin@home.test".into(), target: Some("BEN@one.test".into()) });
        assert!(aliases(&house).is_empty());
    });
}

#[test]
fn a_courier_reaches_whom_a_letter_waits_for_once_the_domain_is_ours_and_nobody_else() {
    run(async {
        let folder = Folder::new();
        let mut house = start(&folder, &[]);
        let anna = house.add("anna@home.test");
        let login = queue(&house, &anna).await;
        let letter = posted("anna@home.test", &["ben@one.test", "x@third.test", "nobody@one.test"]);
        assert_eq!(post(&house, &login, transaction(), letter).await.unwrap(), Delivered::Durable);
        for ours in [false, true] {
            let size = Size::Said(10);
            let (outbox, _news) = courier(&mut house);
            let notices = Notices::new(house.notices.take().unwrap()).unwrap();
            let leased = [lease(&outbox).await.unwrap(), lease(&outbox).await.unwrap()];
            let one = leased.iter().find(|leased| leased.destination == "one.test").unwrap();
            assert_eq!(one.is_ours, ours);
            assert!(leased.iter().all(|leased| leased.destination == "one.test" || !leased.is_ours));
            let here = async |recipient| notices.here(transaction(), (one.letter, recipient), size).await.unwrap().0;
            match here(0).await {
                Recipient::Known(targets) if ours => {
                    let name = transaction();
                    let again = notices.here(name, (one.letter, 0), size).await;
                    assert!(matches!(again, Ok((Recipient::Known(_), Others::Nobody))));
                    let (end, _writing) = sealing(&targets[0], MESSAGE);
                    let letters = vec![new_letter(&targets[0], MESSAGE)];
                    assert_eq!(notices.deliver(name, letters, &[end.as_fd()]).await.unwrap(), Delivered::Durable);
                }
                other => assert_eq!((ours, other), (false, Recipient::NotLocal)),
            }
            assert_eq!(here(1).await, Recipient::NotLocal, "another house's");
            assert_eq!(here(2).await == Recipient::Unknown, ours);
            assert_eq!(here(3).await, Recipient::NotLocal, "there is no such recipient");
            if ours {
                assert!(outbox.report(one.lease, vec![(0, DONE)]).await.unwrap());
                assert_eq!(here(0).await, Recipient::NotLocal, "nothing waits for him any more");
                break;
            }
            assert!(house.stop());
            house = start(&folder, &["one.test"]);
            house.add("ben@one.test");
        }
        assert!(house.stop());
    });
}

/// What lies in somebody's INBOX.
async fn uids(house: &Running, who: &Person) -> Vec<u32> {
    let (mailbox, _events) = house.login(who).await.unwrap();
    open(&mailbox, "INBOX").await.1.iter().map(|fact| fact.uid).collect()
}

/// A courier of its own, with what is leased for that domain.
async fn leased_for(house: &mut Running, domain: &str) -> (Outbox, Receiver<Event>, Notices, Leased) {
    let (outbox, news) = courier(house);
    let notices = Notices::new(house.notices.take().unwrap()).unwrap();
    let mut leased = lease(&outbox).await;
    while leased.as_ref().is_some_and(|leased| leased.destination != domain) {
        leased = lease(&outbox).await;
    }
    (outbox, news, notices, leased.unwrap())
}

/// Brings it where the keeper says; to how many.
async fn bring(notices: &Notices, waits: (LetterId, u16)) -> (Option<Delivered>, Others) {
    let name = transaction();
    let (found, others) = notices.here(name, waits, Size::Said(10)).await.unwrap();
    let (Recipient::Known(targets) | Recipient::Forwarded { targets, .. }) = found else { panic!("{found:?}") };
    if targets.is_empty() {
        return (None, others);
    }
    let pipes: Vec<_> = targets.iter().map(|target| sealing(target, MESSAGE)).collect();
    let letters = targets.iter().map(|target| new_letter(target, MESSAGE)).collect();
    let ends: Vec<_> = pipes.iter().map(|(end, _)| end.as_fd()).collect();
    (Some(notices.arrive(name, waits.0, letters, &ends).await.unwrap()), others)
}

#[test]
fn one_letter_lies_once_in_a_mailbox_whose_addresses_it_waited_for() {
    run(async {
        let folder = Folder::new();
        let house = start(&folder, &[]);
        let anna = house.add("anna@home.test");
        let login = queue(&house, &anna).await;
        let letter = posted("anna@home.test", &["ben@one.test", "info@one.test", "team@one.test", "me@one.test"]);
        let name = transaction();
        let target = house.target(transaction(), "anna@home.test", 10).await;
        assert!(matches!(login.recipient(name, "anna@home.test", 10).await, Ok(Recipient::Known(_))));
        let ((here, _writing), (far, _passing)) = (sealing(&target, MESSAGE), sealing(&target, MESSAGE));
        let letters = vec![new_letter(&target, MESSAGE)];
        let taken = login.post(name, letters, letter, &[here.as_fd(), far.as_fd()]).await.unwrap();
        assert_eq!(taken, Delivered::Durable);
        assert!(house.stop());

        let mut house = start(&folder, &["one.test"]);
        let [ben, carl] = ["ben@one.test", "carl@one.test"].map(|name| house.add(name));
        for (from, to) in
            [("info", "ben@one.test"), ("team", "ben@one.test"), ("team", "carl@one.test"), ("me", "anna@home.test")]
        {
            alias(&house, &format!("{from}@one.test"), to);
        }
        let (_outbox, _news, notices, leased) = leased_for(&mut house, "one.test").await;
        let waits = |recipient| (leased.letter, recipient);
        // Two that ask before either has it.
        let (one, other) = (transaction(), transaction());
        for (name, recipient) in [(one, 0), (other, 1)] {
            assert!(matches!(notices.here(name, waits(recipient), Size::Said(10)).await, Ok((Recipient::Known(_), _))));
        }
        let target = house.target(transaction(), "ben@one.test", 10).await;
        for (name, outcome) in [(one, Delivered::Durable), (other, Delivered::Already)] {
            let (end, _writing) = sealing(&target, MESSAGE);
            let letters = vec![new_letter(&target, MESSAGE)];
            assert_eq!(notices.arrive(name, leased.letter, letters, &[end.as_fd()]).await.unwrap(), outcome);
        }
        assert_eq!(bring(&notices, waits(0)).await, (None, Others::Nobody), "he has it");
        // The courier dies before it can say so, and the keeper, too.
        drop(notices);
        assert!(house.stop());
        let mut house = start(&folder, &["one.test"]);
        let (_outbox, _news, notices, leased) = leased_for(&mut house, "one.test").await;
        let waits = |recipient| (leased.letter, recipient);
        for recipient in [0, 1, 3] {
            assert_eq!(bring(&notices, waits(recipient)).await, (None, Others::Nobody), "{recipient}");
        }
        assert_eq!(bring(&notices, waits(2)).await, (Some(Delivered::Durable), Others::Nobody));
        assert_eq!(bring(&notices, waits(2)).await, (None, Others::Nobody));
        for who in [&anna, &ben, &carl] {
            assert_eq!(uids(&house, who).await, [1]);
        }
        assert!(house.stop());
    });
}

#[test]
fn whom_an_address_leads_to_elsewhere_the_letter_waits_for_from_then_on() {
    run(async {
        let folder = Folder::new();
        let house = start(&folder, &[]);
        let anna = house.add("anna@home.test");
        let login = queue(&house, &anna).await;
        let letter = posted("anna@home.test", &["team@one.test", "x@third.test", "away@one.test"]);
        assert_eq!(post(&house, &login, transaction(), letter).await.unwrap(), Delivered::Durable);
        assert!(house.stop());
        let mut house = start(&folder, &["one.test"]);
        house.add("ben@one.test");
        for (from, to) in
            [("team", "ben@one.test"), ("team", "X@third.test"), ("team", "y@third.test"), ("away", "z@third.test")]
        {
            alias(&house, &format!("{from}@one.test"), to);
        }
        let (outbox, _news, notices, leased) = leased_for(&mut house, "one.test").await;
        let waits = |recipient| (leased.letter, recipient);
        assert_eq!(bring(&notices, waits(0)).await, (Some(Delivered::Durable), Others::Wait));
        assert_eq!(bring(&notices, waits(0)).await, (None, Others::Wait));
        assert_eq!(bring(&notices, waits(2)).await, (None, Others::Wait));
        assert!(outbox.report(leased.lease, vec![(0, DONE), (2, DONE)]).await.unwrap());
        drop((outbox, notices));
        assert!(house.stop());
        let mut house = start(&folder, &["one.test"]);
        let (outbox, _news, _notices, leased) = leased_for(&mut house, "third.test").await;
        let to: Vec<_> =
            leased.recipients.iter().map(|n| &leased.outgoing.recipients[usize::from(*n)].address).collect();
        assert_eq!(to, ["x@third.test", "y@third.test", "z@third.test"]);
        assert_eq!(lease(&outbox).await, None);
        assert!(house.stop());
    });
}
