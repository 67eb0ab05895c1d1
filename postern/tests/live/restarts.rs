//! A role that dies is started again; the others go on.

use postern::edges::{RoleRow, rows};

use super::house::{eventually, signal};
use super::{House, User};

pub fn every_role_comes_back(user: User) {
    let house = House::start(user, "restarts");
    let secret = house.said["first"]["device_password"].as_str().unwrap().to_owned();
    assert!(house.letter_goes_through(&secret), "before anything died");
    for row in rows(false) {
        let before = house.roles();
        signal(before[row.role.name()], "KILL");
        eventually(row.role.name(), || {
            let now = house.roles();
            now.len() == rows(false).count() && now[row.role.name()] != before[row.role.name()]
        });
        // Those that end with it come back, too, a moment later.
        eventually("a letter's way", || house.letter_goes_through(&secret));
        others_went_on(row, &before, &house);
    }
}

fn others_went_on(row: &RoleRow, before: &std::collections::BTreeMap<String, u32>, house: &House) {
    let gone: Vec<_> = row.dependants().chain([row.role]).map(|role| role.name()).collect();
    let after = house.roles();
    for (name, pid) in before.iter().filter(|(name, _)| !gone.contains(&name.as_str())) {
        assert_eq!(after.get(name), Some(pid), "{name} did not live through the death of {}", row.role);
    }
}
