//! `/proc` of every role compared with the table.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::time::{Duration, Instant};

use filter_sandbox::role::Role;
use postern::edges::{NAMESPACES, RoleRow, rows};

use super::house::{eventually, field};
use super::{House, User};

pub fn roles_are_what_the_table_says(user: User) {
    compare(user, House::start(user, "walls"), false);
}

pub fn roles_are_what_the_table_says_with_a_scanner(user: User) {
    let house = House::start_with(user, "scanner-walls", |folder| {
        let config = folder.join("postern.toml");
        fs::write(&config, "[scanner]\nprofile = \"spamassassin\"\n").unwrap();
        fs::set_permissions(&config, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        vec!["--config".to_owned(), config.display().to_string()]
    });
    compare(user, house, true);
}

fn compare(user: User, house: House, scanner: bool) {
    // The pool of ready workers fills in a moment; until then a descriptor may be under way.
    eventually("the pool is full", || ready_workers(&house) == expected_workers());
    let roles = house.roles();
    assert_eq!(roles.len(), rows(scanner).count(), "{roles:?}");
    let mut seen = BTreeMap::<&str, HashSet<String>>::new();
    for row in rows(scanner) {
        let pid = roles[row.role.name()];
        locked(row, pid, user);
        namespaces(row, pid, &mut seen);
        let until = Instant::now() + Duration::from_secs(60);
        while let Err(wrong) = descriptors(row, pid, scanner) {
            // A role that has just been locked still begins, and one that looks something up has a socket for it.
            assert!(Instant::now() < until, "{wrong}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn expected_workers() -> usize {
    if postern::config::small_board() { 1 } else { 4 }
}

fn ready_workers(house: &House) -> usize {
    let Some(mx) = house.roles().get(Role::Mx.name()).copied() else { return 0 };
    open(mx).iter().filter(|link| link.starts_with("/memfd:")).count()
}

fn locked(row: &RoleRow, pid: u32, user: User) {
    let role = row.role;
    let uid: u32 = field(pid, "Uid").unwrap().parse().unwrap();
    match user {
        User::Root => assert_eq!(uid, role.host_uid(), "{role}"),
        User::Anybody => assert_ne!(uid, 0, "{role}"),
    }
    assert_eq!(field(pid, "NoNewPrivs").unwrap(), "1", "{role}");
    assert_eq!(field(pid, "Seccomp").unwrap(), "2", "{role}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(pid, set).unwrap(), "0000000000000000", "{role}: {set}");
    }
    // Not dumpable: its entries belong to root, whoever it is.
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(format!("/proc/{pid}/mem")).unwrap());
    assert_ne!(owner, uid, "{role} is dumpable");
}

fn namespaces(row: &RoleRow, pid: u32, seen: &mut BTreeMap<&'static str, HashSet<String>>) {
    let link = |pid: &str, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display().to_string();
    let kinds = NAMESPACES.iter().chain(row.own_network().then_some(&"net"));
    for kind in kinds {
        let own = link(&pid.to_string(), kind);
        assert_ne!(own, link("self", kind), "{} has the host's {kind}", row.role);
        assert!(seen.entry(kind).or_default().insert(own), "{} shares its {kind}", row.role);
    }
    if !row.own_network() {
        assert_eq!(link(&pid.to_string(), "net"), link("self", "net"), "{}", row.role);
    }
}

/// What `/proc/PID/fd` leads to.
fn open(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    entries.filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.display().to_string())).collect()
}

/// What it has open beside what the table says, or less than that.
fn descriptors(row: &RoleRow, pid: u32, scanner: bool) -> Result<(), String> {
    let role = row.role;
    let open = open(pid);
    let count = |prefix: &str| open.iter().filter(|link| link.starts_with(prefix)).count();
    // A ready worker is a memory file, a socket and a number to its maker's client; the last two also to its maker.
    let workers = count("anon_inode:[pidfd]");
    let expected = match role {
        Role::Mx | Role::MxZygote => expected_workers(),
        _ => 0,
    };
    let files = match role {
        Role::Mx => workers,
        // What it leaves to the next.
        Role::Keeper => 1,
        _ => 0,
    };
    let runtime = if row.runtime { 3 } else { 0 };
    let rest: Vec<_> = open.iter().filter(|link| link.starts_with('/') && !link.starts_with("/memfd:")).collect();
    let rest: Vec<_> = rest.into_iter().filter(|link| *link != "/dev/null").collect();
    let allowed = match role {
        // Only files of the spool.
        Role::Keeper => rest.iter().all(|link| link.starts_with("/spool/")),
        // `/proc` of its own pid namespace, mounted nowhere.
        _ if row.makes_workers() || role == Role::OwnerZygote => rest == ["/"],
        _ => rest.is_empty(),
    };
    let known = workers + files + count("socket:") + 2 + 1 + runtime + rest.len();
    let checks = [
        ("its workers", workers == expected),
        ("its memory files", count("/memfd:") == files),
        ("its sockets", count("socket:") == row.sockets(1, scanner) + workers),
        ("its null devices", count("/dev/null") == 2),
        ("its pipes", count("pipe:") == 1),
        ("its runtime's", count("anon_inode:[event") == runtime),
        ("its files", allowed),
        ("nothing else", open.len() == known),
    ];
    match checks.iter().find(|(_, holds)| !holds) {
        Some((what, _)) => Err(format!("{role}: {what}: {open:?}")),
        None => Ok(()),
    }
}
