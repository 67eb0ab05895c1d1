//! A keeper that does not answer, and a disk that takes nothing.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::house::{binary, free_offset, signal};
use super::{House, User};

/// Stopped it is as one whose disk hangs: `up` listens for it, and nobody comes.
pub fn commands_give_a_silent_keeper_up(user: User) {
    let house = House::start(user, "silent");
    let keeper = house.roles()["keeper"];
    signal(keeper, "STOP");
    let began = Instant::now();
    let (list, add, doctor) = std::thread::scope(|scope| {
        let run = |words: &'static [&'static str]| scope.spawn(|| house.admin(words, ""));
        let (list, add) = (run(&["mailbox", "list"]), run(&["mailbox", "add", "anna"]));
        let doctor = run(&["doctor"]);
        (list.join().unwrap(), add.join().unwrap(), doctor.join().unwrap())
    });
    let took = began.elapsed();
    signal(keeper, "CONT");
    assert!(took < Duration::from_secs(90), "{took:?}");
    for output in [list, add] {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        for words in ["its keeper does not answer", "nothing was asked of it", "log of `postern up`", "disk"] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
    let findings: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let findings = findings["findings"].as_array().unwrap();
    let silent = |found: &Value| found["found"].as_str().unwrap().contains("its keeper does not answer");
    assert!(findings.iter().any(|found| found["state"] == "bad" && silent(found)), "{findings:?}");
    let has = |about: &str| findings.iter().any(|found| found["about"] == about);
    assert!(["disk", "roles", "ports"].into_iter().all(has), "{findings:?}");
    // What was given up is not done after all.
    let list = house.admin(&["mailbox", "list"], "");
    let all: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
}

/// In a mount namespace of its own: the same folder, first writable, then not.
#[test]
fn a_stopped_box_on_a_read_only_disk_can_be_looked_at() {
    let script = r#"
        set -e; P="$2"; run() { timeout 60 "$P" --data d "$@" < /dev/null; }
        mount -t tmpfs -o mode=755 none "$1"; cd "$1"
        mkdir d; run mailbox add anna --json > anna.json; run alias add family anna
        mount -o remount,ro none "$1"
        run mailbox list; run alias list; run device list anna; run quota anna; run queue list; run spool check
        if run mailbox add eve --json; then exit 90; fi
        if run spool check --repair; then exit 91; fi
        if run quota anna 1G; then exit 92; fi
        run doctor || true
    "#;
    let folder = std::env::temp_dir().join(format!("postern-live-read-only-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .args([folder.as_os_str(), binary().as_os_str()])
        .output()
        .unwrap();
    std::fs::remove_dir(&folder).unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    for words in ["anna@home.test", "family@home.test", "everything is as it was written", "is read-only"] {
        assert!(out.contains(words), "{words}: {out}");
    }
    assert_eq!(err.matches("the spool can only be read now").count(), 3, "{err}");
}

/// What a first start makes is not there, and cannot be made: neither configuration nor certificate nor DKIM keys.
#[test]
fn a_box_that_never_ran_starts_on_a_read_only_disk() {
    let script = r#"
        set -e; mount -t tmpfs -o mode=755 none "$1"; cd "$1"
        mkdir d; "$2" --data d mailbox add anna --json < /dev/null > anna.json
        mount -o remount,ro none "$1"
        exec timeout 60 "$2" up --data d --json --bind 127.0.0.1 --port-offset "$3" < /dev/null
    "#;
    let folder = std::env::temp_dir().join(format!("postern-live-never-ran-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut up = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .args([folder.as_os_str(), binary().as_os_str()])
        .arg(free_offset().to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(up.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    signal(up.id(), "TERM");
    let ended = up.wait_with_output().unwrap();
    std::fs::remove_dir(&folder).unwrap();
    let log = String::from_utf8_lossy(&ended.stderr).into_owned();
    let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}\n{log}"));
    assert_eq!((said["read_only"].as_bool(), said["first"].is_null()), (Some(true), true), "{said}");
    assert!(said["imaps"].is_string(), "{said}");
    assert!(log.contains("is read-only: `dmesg` says why"), "{log}");
}
