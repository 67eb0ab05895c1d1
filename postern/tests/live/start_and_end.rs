//! The first start, the end, the second start.

use std::time::{Duration, Instant};

use super::house::{children, eventually};
use super::{House, User};

pub fn starts_drains_and_starts_again(user: User) {
    let mut house = House::start(user, "drain");
    for service in ["smtp", "submission", "submissions", "imaps"] {
        assert!(std::net::TcpStream::connect(house.address(service)).is_ok(), "{service}");
    }
    let first = house.said["first"].clone();
    assert_eq!(first["address"], "you@home.test");
    assert_eq!(first["recovery_words"].as_array().unwrap().len(), 12);
    let secret = first["device_password"].as_str().unwrap();
    let sent = Instant::now();
    house.signal("TERM");
    assert!(house.up.wait().unwrap().success(), "{}", house.log());
    // Whoever does not end has ten.
    assert!(sent.elapsed() < Duration::from_secs(9), "nobody was connected, and it took {:?}", sent.elapsed());
    assert!(!house.data().join("admin.sock").exists());
    house.again();
    assert!(house.said.get("first").is_none(), "{}", house.said);
    assert!(house.letter_goes_through(secret));
}

pub fn a_second_one_is_told_at_once(user: User) {
    let house = House::start(user, "second");
    let began = Instant::now();
    let second = house.admin(&["up", "--bind", "127.0.0.1", "--port-offset", "18000"], "");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && said.contains(&format!("another postern (process {}) runs on", house.up.id())));
    // The end of a box that is ending is waited for ten.
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
}

pub fn roles_die_with_up(user: User) {
    let mut house = House::start(user, "die");
    let roles = house.roles();
    house.up.kill().unwrap();
    house.up.wait().unwrap();
    let gone = |pid: u32| !std::path::Path::new(&format!("/proc/{pid}")).exists();
    eventually("all roles are gone", || roles.values().all(|pid| gone(*pid)));
    assert!(children(house.up.id()).is_empty());
    // The lock went with it.
    house.again();
    assert_eq!(house.roles().len(), roles.len());
}

/// A role that cannot lock itself says why, and its words reach the admin although the box does not start. As in many a
/// container, part of `/proc` is hidden: the kernel then refuses a fresh one, which zygotes need.
#[test]
fn a_role_that_cannot_lock_itself_is_heard() {
    let folder = std::env::temp_dir().join(format!("postern-live-heard-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    let output = std::process::Command::new("timeout")
        .args(["--signal=TERM", "180", "unshare", "--mount", "sh", "-c"])
        .arg("mount -t tmpfs none /proc/fs && exec \"$0\" up --json --bind 127.0.0.1 --port-offset 19000 --data \"$1\"")
        .arg(super::house::binary())
        .arg(folder.join("data"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("-zygote: cannot confine this role: "), "{said}");
    std::fs::remove_dir_all(&folder).unwrap();
}
