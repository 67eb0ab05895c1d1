//! Changes of one mailbox's slots by several commands at once.

use std::thread;

use serde_json::Value;

use super::{House, User};

pub fn all_of_several_changes_at_once_are_made(user: User) {
    let house = House::start(user, "changes");
    let secret = format!("{}\n", house.said["first"]["device_password"].as_str().unwrap());
    let names = ["phone", "laptop", "tablet"];
    thread::scope(|scope| {
        for name in names {
            let (house, secret) = (&house, &secret);
            scope.spawn(move || {
                let added = house.admin(&["device", "add", "you", name, "--unlock-stdin"], secret);
                assert!(added.status.success(), "{name}: {added:?}");
            });
        }
    });
    let listed: Value = serde_json::from_slice(&house.admin(&["device", "list", "you"], "").stdout).unwrap();
    let listed = listed.to_string();
    assert!(names.iter().all(|name| listed.contains(&format!("\"{name}\""))), "{listed}");
    // Each with its line, and the log whole.
    let audit = house.admin(&["mailbox", "audit", "you", "--unlock-stdin"], &secret);
    assert!(audit.status.success(), "{audit:?}");
    let audit = String::from_utf8(audit.stdout).unwrap();
    assert!(names.iter().all(|name| audit.contains(&format!("\"{name}\""))), "{audit}");
}
