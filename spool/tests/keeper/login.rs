//! Logins: what a name shows, what a proof opens, and how a session is ended from outside.

use spool::edges::admin::Request as Admin;
use spool::edges::login::Unanswered;
use spool::edges::queue::Queue;
use spool::edges::{Delivered, Recipient};
use spool::names::SlotId;

use crate::house::{Folder, Running, new_letter, prove, run, sealing, transaction};

#[test]
fn only_the_right_proof_gets_a_socket_and_one_try_an_attempt() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        let fields = house.login.fields("Anna@Home.Test").await.unwrap();
        assert_eq!((fields.devices.len(), fields.devices[0].device), (1, anna.device));
        assert!(house.login.prove(fields.attempt, anna.device, [0; 32]).await.unwrap().is_none());
        let salted = wire::scram::salted_password(anna.password.as_str().as_bytes(), &fields.salt, fields.iterations);
        let check = wire::scram::check(&wire::scram::client_key(&salted));
        // The attempt is used up.
        assert!(house.login.prove(fields.attempt, anna.device, check).await.unwrap().is_none());
        let fields = house.login.fields("anna@home.test").await.unwrap();
        assert!(house.login.prove(fields.attempt + 1, anna.device, check).await.unwrap().is_none());
        let (admitted, _socket) = house.login.prove(fields.attempt, anna.device, check).await.unwrap().unwrap();
        let wrap = wire::scram::wrap(&wire::scram::client_key(&salted));
        let opened = spool::slots::open_admitted(&admitted, &wrap).unwrap();
        assert_eq!(opened.newest().public(), anna.identities.newest().public());
        // What IMAP's proof is worth at submission: nothing.
        let fields = house.submission.fields("anna@home.test").await.unwrap();
        assert!(house.submission.prove(fields.attempt, anna.device, check).await.unwrap().is_none());
    });
}

#[test]
fn a_mailbox_with_too_many_sessions_is_not_told_that_its_password_is_wrong() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        let fields = house.login.fields("anna@home.test").await.unwrap();
        let salted = wire::scram::salted_password(anna.password.as_str().as_bytes(), &fields.salt, fields.iterations);
        let check = wire::scram::check(&wire::scram::client_key(&salted));
        let login = async || {
            let attempt = house.login.fields("anna@home.test").await.unwrap().attempt;
            house.login.prove(attempt, anna.device, check).await
        };
        let mut sessions = Vec::new();
        for _ in 0..40 {
            sessions.push(login().await.unwrap().unwrap());
        }
        assert_eq!(login().await.unwrap_err(), Unanswered::Full);
        let wrong = house.login.fields("anna@home.test").await.unwrap().attempt;
        assert!(
            house.login.prove(wrong, anna.device, [0; 32]).await.unwrap().is_none(),
            "who proves nothing learns nothing"
        );
        assert!(
            prove(&house.submission, "anna@home.test", anna.device, &anna.password).await.is_some(),
            "reading does not keep from writing"
        );
        drop(sessions.pop());
        for _ in 0..500 {
            if login().await.is_ok() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the place that was given up is not given again");
    });
}

#[test]
fn an_unknown_name_looks_like_a_known_one() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        house.add("anna@home.test");
        for name in ["nobody@home.test", "nobody", "", &"x".repeat(5_000)] {
            let first = house.login.fields(name).await.unwrap();
            let second = house.login.fields(name).await.unwrap();
            assert_eq!(
                (first.salt, &first.devices, first.iterations),
                (second.salt, &second.devices, second.iterations)
            );
            assert!(!first.devices.is_empty() && first.attempt != second.attempt);
            assert_ne!(house.submission.fields(name).await.unwrap().salt, first.salt);
            assert!(house.login.prove(first.attempt, first.devices[0].device, [0; 32]).await.unwrap().is_none());
        }
        // One salt for all spellings, as of a name that somebody has; and devices of numbers that devices have.
        for somebody in ["anna", "nobody", "else", "other", "more", "yet"] {
            let plain = house.login.fields(&format!("{somebody}@home.test")).await.unwrap();
            for spelled in [format!("{somebody}+x@home.test"), format!("{}@Home.Test", somebody.to_uppercase())] {
                assert_eq!(house.login.fields(&spelled).await.unwrap().salt, plain.salt, "{spelled}");
            }
            assert!(
                plain.devices[0].device == SlotId(1) && plain.devices.iter().all(|known| known.device != SlotId(2))
            );
        }
        // The same after a restart: a change would tell.
        let before = house.login.fields("nobody@home.test").await.unwrap();
        assert!(house.stop());
        let house = Running::start(&folder.0);
        assert_eq!(house.login.fields("nobody@home.test").await.unwrap().salt, before.salt);
    });
}

#[test]
fn a_suspended_mailbox_has_no_login_and_its_sessions_end() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        let ben = house.add("ben@home.test");
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        let (others, _events) = house.login(&ben).await.unwrap();
        house.done(Admin::MailboxSuspend { address: "anna@home.test".into(), on: true });
        mailbox.closed().await;
        assert!(house.login(&anna).await.is_none());
        house.done(Admin::MailboxSuspend { address: "anna@home.test".into(), on: false });
        assert!(house.login(&anna).await.is_some());
        assert!(others.ask(spool::edges::mailbox::Request::Quota, &[]).await.is_ok());
    });
}

#[test]
fn submission_sends_as_its_mailbox_and_reads_nothing() {
    run(async {
        let folder = Folder::new();
        let house = Running::start(&folder.0);
        let anna = house.add("anna@home.test");
        house.add("ben@home.test");
        house.done(Admin::AliasAdd { alias: "mum@home.test".into(), target: "anna@home.test".into() });
        let (admitted, socket) = prove(&house.submission, "anna@home.test", SlotId(0), &anna.password).await.unwrap();
        assert!(admitted.wrapped.is_none() && admitted.earlier.is_empty());
        let queue = Queue::new(socket.into()).unwrap();
        assert_eq!(queue.addresses().await.unwrap(), ["anna@home.test", "mum@home.test"]);
        assert_eq!(queue.recipient(transaction(), "x@far.test", 5).await.unwrap(), Recipient::NotLocal);
        let name = transaction();
        let Recipient::Known(targets) = queue.recipient(name, "ben@home.test", 5).await.unwrap() else { panic!() };
        let (end, writing) = sealing(&targets[0], b"hello");
        let letters = vec![new_letter(&targets[0], b"hello")];
        let outcome = queue.deliver(name, letters, &[std::os::fd::AsFd::as_fd(&end)]).await.unwrap();
        assert_eq!(outcome, Delivered::Durable);
        writing.await.unwrap().unwrap();
        house.done(Admin::MailboxSuspend { address: "anna@home.test".into(), on: true });
        queue.closed().await;
    });
}
