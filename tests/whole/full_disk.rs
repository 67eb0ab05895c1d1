//! A full disk: 452, service goes on, nothing half-written; with room again, mail flows again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use tests::{House, Imap, Scratch, Setup, Smtp, smtp};

/// A small file system of its own, unmounted when dropped.
struct SmallDisk(Scratch);

impl SmallDisk {
    fn mount(megabytes: u32) -> Self {
        let scratch = Scratch::new("small-disk");
        let size = format!("size={megabytes}m");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(scratch.path()).status();
        assert!(status.unwrap().success(), "mount: run as root");
        Self(scratch)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn mail_is_deferred_and_nothing_lost() {
    let disk = SmallDisk::mount(16);
    let arguments = vec!["--clear-text".into(), "*".into()];
    let mut house = House::start(Setup { arguments, data: Some(disk.0.path().join("data")), ..Setup::default() });
    let mut client = Smtp::connect(house.address("smtp")).unwrap();
    let mut accepted = 0;
    let refusal = loop {
        let (code, text) = client
            .send("aunt@example.org", &["you@home.test"], &smtp::letter(&format!("n{accepted}"), 500_000))
            .unwrap();
        if code != 250 {
            break (code, text);
        }
        accepted += 1;
        assert!(accepted < 60, "the disk never fills");
    };
    assert!(refusal.0 == 452, "{refusal:?}");
    assert!(accepted > 5);
    // Still full, still served: reading and refusing go on.
    assert_eq!(client.send("aunt@example.org", &["you@home.test"], &smtp::letter("again", 500_000)).unwrap().0, 452);
    let mut imap = Imap::login(&house, "you@home.test", &house.you().password).unwrap();
    assert!(imap.ask("SELECT INBOX").unwrap().ok());
    let whole = imap.ask("FETCH 1:* (RFC822.SIZE)").unwrap();
    assert_eq!(whole.untagged.len(), accepted, "{whole:?}");
    let answer = imap.append("INBOX", &smtp::letter("appended", 500_000)).unwrap();
    assert!(answer.tagged.starts_with("NO"), "{answer:?}");
    assert_eq!(fs::read_dir(house.data().join("spool/incoming")).unwrap().count(), 0, "half-written letters are left");
    // And it is told to who asks, with what to do.
    let doctor: serde_json::Value = serde_json::from_slice(&house.admin(&["doctor"], "").stdout).unwrap();
    let disk = doctor["findings"].as_array().unwrap().iter().find(|finding| finding["about"] == "disk").unwrap();
    assert_eq!(disk["state"], "bad", "{disk}");
    assert!(disk["advice"].as_str().unwrap().contains("make room"), "{disk}");
    // Room again: the owner deletes two letters.
    assert!(imap.ask("STORE 1:2 +FLAGS (\\Deleted)").unwrap().ok());
    assert!(imap.ask("EXPUNGE").unwrap().ok());
    // What is deleted goes from the disk a moment later.
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let after = client.send("aunt@example.org", &["you@home.test"], &smtp::letter("after", 300_000)).unwrap();
        if after.0 == 250 {
            break;
        }
        assert!(after.0 == 452 && Instant::now() < until, "{after:?}\n{}", house.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    house.stop();
    house.start_again();
    let mut imap = Imap::login(&house, "you@home.test", &house.you().password).unwrap();
    assert!(imap.ask("SELECT INBOX").unwrap().ok());
    assert_eq!(imap.ask("FETCH 1:* (RFC822.SIZE)").unwrap().untagged.len(), accepted - 2 + 1);
    let check = house.admin_json(&["spool", "check"], "");
    assert_eq!(check["findings"].as_array().map(Vec::len), Some(0), "{check}");
    house.stop();
}
