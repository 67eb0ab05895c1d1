//! A real full disk: a small tmpfs in a mount namespace of the test's own.

use spool::edges::Delivered;
use spool::edges::mailbox::{Change, Reply, Request, flag};

use crate::house::{Folder, Running, ask, files_below, open, read, run};

const CHILD: &str = "POSTERN_TEST_FULL_DISK";

#[test]
fn a_full_disk_refuses_mail_and_lets_go_of_it_again() {
    if let Some(path) = std::env::var_os(CHILD) {
        return run(fill(path.into()));
    }
    let folder = Folder::new();
    let script = "mount -t tmpfs -o size=6m none \"$1\" && exec \"$2\" --exact full::a_full_disk_refuses_mail_and_lets_go_of_it_again";
    let status = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(&folder.0)
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, &folder.0)
        .status()
        .expect("unshare(1) of util-linux");
    assert!(status.success());
}

async fn fill(root: std::path::PathBuf) {
    let mut house = Running::start(&root);
    let anna = house.add("anna@home.test");
    let message = vec![b'x'; 100_000];
    let mut kept = 0;
    for round in 0..3 {
        let mut outcome = Delivered::Durable;
        while outcome == Delivered::Durable {
            outcome = house.deliver("anna@home.test", &message).await;
            kept += u32::from(outcome == Delivered::Durable);
        }
        assert_eq!(outcome, Delivered::Full);
        // Small letters fill what the large ones left; then the journal has its kept-back room.
        while house.deliver("anna@home.test", b"small").await == Delivered::Durable {
            kept += 1;
        }
        assert!(files_below(&root.join("incoming")).is_empty());
        no_mailbox_is_half_made(&house, &root);
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        let (inbox, facts) = open(&mailbox, "INBOX").await;
        assert_eq!((facts.len() as u32, inbox.messages), (kept, kept));
        assert!(read(&anna, &mailbox, facts[0].letter).await.is_some());
        drop(mailbox);
        // Restarted on a full disk it still serves.
        assert!(house.stop());
        if round == 0 {
            // As one of the first format that is upgraded now: that it was needs room to be said, too.
            std::fs::remove_file(root.join("format")).unwrap();
            std::fs::write(root.join("filler"), vec![1; 8 << 20]).expect_err("a full disk");
        }
        house = Running::start(&root);
        let _ = std::fs::remove_file(root.join("filler"));
        let (mailbox, _events) = house.login(&anna).await.unwrap();
        let (inbox, facts) = open(&mailbox, "INBOX").await;
        let half = facts[facts.len() / 2].uid;
        let store = Request::Store {
            folder: inbox.id,
            uids: vec![(1, half)],
            change: Change::Add,
            flags: flag::DELETED,
            keywords: vec![],
        };
        assert!(matches!(ask(&mailbox, store).await, Reply::Done), "round {round}");
        let expunge = Request::Expunge { folder: inbox.id, uids: None };
        assert!(matches!(ask(&mailbox, expunge).await, Reply::Done), "round {round}");
        kept = open(&mailbox, "INBOX").await.1.len() as u32;
        drop(mailbox);
        for _ in 0..6_000 {
            if files_below(&root.join("letters")).len() as u32 == kept {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(house.deliver("anna@home.test", &message).await, Delivered::Durable);
        kept += 1;
    }
    assert!(house.stop());
}

fn no_mailbox_is_half_made(house: &Running, root: &std::path::Path) {
    use std::io::Write;
    let rest = root.join("rest");
    let mut file = std::fs::File::create(&rest).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    let there = || ["mailboxes", "letters"].map(|folder| std::fs::read_dir(root.join(folder)).unwrap().count());
    let before = there();
    let made = crate::house::new_mailbox("full@home.test", None);
    let reply = house.ask(made.0);
    assert!(matches!(reply, spool::edges::admin::Reply::Refused(_)), "{reply:?}");
    assert_eq!(there(), before);
    std::fs::remove_file(rest).unwrap();
}
