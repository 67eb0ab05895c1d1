//! A role that dies is started again; the others go on.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use filter_sandbox::listener::is_deaf;
use postern::edges::{RoleRow, rows};
use rustix::fd::AsFd;
use rustix::net::{Shutdown, SocketType, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::house::{eventually, signal};
use super::{House, User};

pub fn every_role_comes_back(user: User) {
    let house = House::start(user, "restarts");
    let secret = house.said["first"]["device_password"].as_str().unwrap().to_owned();
    assert!(house.letter_goes_through(&secret), "before anything died");
    for row in rows(false) {
        let before = settled(&house);
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

/// However often it dies, and however long it is away then.
pub fn the_others_outlive_a_keeper_that_dies_again_and_again(user: User) {
    let house = House::start(user, "again");
    let secret = house.said["first"]["device_password"].as_str().unwrap().to_owned();
    let before = house.roles();
    let keepers = rows(false).find(|row| row.role.name() == "keeper").unwrap();
    let mut last = before["keeper"];
    for _ in 0..9 {
        signal(last, "KILL");
        eventually("the keeper", || house.roles().get("keeper").is_some_and(|pid| *pid != last));
        last = house.roles()["keeper"];
    }
    eventually("a letter's way", || house.letter_goes_through(&secret));
    others_went_on(keepers, &before, &house);
}

/// Its roles, once all are there and none is about to follow another.
fn settled(house: &House) -> BTreeMap<String, u32> {
    let mut roles = BTreeMap::new();
    eventually("all roles", || {
        let before = std::mem::replace(&mut roles, house.roles());
        std::thread::sleep(Duration::from_millis(200));
        roles.len() == rows(false).count() && roles == before
    });
    roles
}

fn others_went_on(row: &RoleRow, before: &BTreeMap<String, u32>, house: &House) {
    let gone: Vec<_> = row.dependants().chain([row.role]).map(|role| role.name()).collect();
    let after = house.roles();
    for (name, pid) in before.iter().filter(|(name, _)| !gone.contains(&name.as_str())) {
        assert_eq!(after.get(name), Some(pid), "{name} did not live through the death of {}", row.role);
    }
}

/// The keeper, or whoever is at the other end, drops an edge and lives on: nothing has died, so `up` has nothing to do.
pub fn a_role_without_its_edges_comes_back(user: User) {
    let house = House::start(user, "edges");
    let secret = house.said["first"]["device_password"].as_str().unwrap().to_owned();
    assert!(house.letter_goes_through(&secret), "before an edge was closed");
    for name in ["mx", "submission", "imapd-login", "imapd-owner", "courier"] {
        let before = settled(&house);
        let edges = sockets(before[name]).into_iter().filter(|(number, _)| *number > CONTROL);
        for (_, edge) in edges.filter(|(_, socket)| sockopt::socket_type(socket) == Ok(SocketType::SEQPACKET)) {
            rustix::net::shutdown(&edge, Shutdown::Both).unwrap();
        }
        came_back(name, &house, before[name], &secret);
        assert_eq!(house.roles()["keeper"], before["keeper"], "the keeper has nothing to do with it");
    }
}

/// A role shuts its listeners down, as one that was taken over can.
pub fn a_listener_that_was_shut_down_listens_again(user: User) {
    let house = House::start(user, "listeners");
    let secret = house.said["first"]["device_password"].as_str().unwrap().to_owned();
    for row in rows(false).filter(|row| !row.serves.is_empty()) {
        let name = row.role.name();
        let before = settled(&house)[name];
        let sockets = sockets(before).into_iter().map(|(_, socket)| socket);
        let listeners: Vec<_> = sockets.filter(|socket| sockopt::socket_acceptconn(socket) == Ok(true)).collect();
        assert!(!listeners.is_empty(), "{name}");
        for listener in &listeners {
            assert!(is_deaf(listener.as_fd()) || user == User::Anybody, "{name}'s listener could connect out");
            rustix::net::shutdown(listener, Shutdown::Both).unwrap();
        }
        drop(listeners);
        came_back(name, &house, before, &secret);
    }
}

fn came_back(name: &str, house: &House, before: u32, secret: &str) {
    eventually(name, || house.roles().get(name).is_some_and(|pid| *pid != before));
    eventually("a letter's way", || house.letter_goes_through(secret));
}

/// A role's control edge, from `up`.
const CONTROL: i32 = 3;

/// Copies of a process's sockets, by number: what is done to them is done to its own.
fn sockets(pid: u32) -> Vec<(i32, OwnedFd)> {
    let process = pidfd_open(Pid::from_raw(pid.cast_signed()).unwrap(), PidfdFlags::empty()).unwrap();
    let numbers = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let copies =
        numbers.filter_map(|number| Some((number, pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok()?)));
    copies.filter(|(_, fd)| sockopt::socket_type(fd).is_ok()).collect()
}
