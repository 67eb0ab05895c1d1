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
    assert!(sent.elapsed() < Duration::from_secs(5), "nobody was connected, and it took {:?}", sent.elapsed());
    assert!(!house.data().join("admin.sock").exists());
    house.again();
    assert!(house.said.get("first").is_none(), "{}", house.said);
    assert!(house.letter_goes_through(secret));
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
