use super::*;
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;

const STREET: &str = "lane";
const DAY: u64 = 86_400;

fn group(number: u8) -> Group {
    Group::Network4([192, 0, number])
}

fn anywhere(_: &str) -> bool {
    true
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("inbound-memory-{name}-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn what_was_told_is_used_once_then_what_worked_last() {
    let mut memory = Memory::default();
    assert_eq!(memory.take(STREET, &group(1), 0, anywhere), None);
    memory.learn(Some(STREET), &group(1), &[], "alice", 0);
    assert_eq!(memory.take(STREET, &group(2), 10, anywhere), None, "another group");
    assert_eq!(memory.take("road", &group(1), 10, anywhere), None, "another street");
    assert_eq!(memory.take(STREET, &group(1), 10, anywhere).as_deref(), Some("alice"));
    assert_eq!(memory.take(STREET, &group(1), 20, anywhere).as_deref(), Some("alice"), "steady");
    assert_eq!(memory.take(STREET, &group(1), 30, |_| false), None, "the home has moved away");
}

/// The hardest order for a sender without SNI: mail to B, then at once mail to A, no tickets.
#[test]
fn a_sender_with_mail_for_two_homes_is_told_apart_by_asking() {
    let mut memory = Memory::default();
    let one = &group(1);
    memory.learn(Some(STREET), one, &[], "bob", 0);
    // The retry for bob has not come; that for alice comes first and is sent to bob, who says so.
    assert_eq!(memory.take(STREET, one, 10, anywhere).as_deref(), Some("bob"));
    memory.wrong_home(STREET, one, "bob", 10);
    assert_eq!(memory.take(STREET, one, 20, anywhere), None, "back to learning");
    memory.learn(Some(STREET), one, &[], "alice", 20);
    memory.learn(Some(STREET), one, &[], "bob", 20);
    assert_eq!(memory.take(STREET, one, 30, anywhere).as_deref(), Some("alice"));
    assert_eq!(memory.take(STREET, one, 40, anywhere).as_deref(), Some("bob"));
    // It writes to both: its last home says nothing about the next mail.
    assert_eq!(memory.take(STREET, one, 50, anywhere), None);
    memory.learn(Some(STREET), one, &[], "alice", 60);
    assert_eq!(memory.take(STREET, one, 70, anywhere).as_deref(), Some("alice"));
}

/// Sendmail: each time one connection for alice, and right after it one for bob. What the first was told is not the second's.
#[test]
fn two_connections_in_a_row_are_not_taken_for_each_other() {
    let (mut memory, one) = (Memory::default(), &group(1));
    let mut delivered = [false; 2];
    for round in 1..=3 {
        for (home, delivered) in ["alice", "bob"].iter().zip(&mut delivered).filter(|(_, delivered)| !**delivered) {
            let now = round * 600;
            match memory.take(STREET, one, now, anywhere) {
                Some(taken) if taken == *home => *delivered = true,
                Some(taken) => {
                    memory.wrong_home(STREET, one, &taken, now);
                    memory.learn(Some(STREET), one, &[], home, now);
                }
                None => memory.learn(Some(STREET), one, &[], home, now),
            }
        }
    }
    assert_eq!(delivered, [true, true]);
}

#[test]
fn tickets_are_proof_for_five_days_or_until_they_mislead() {
    let mut memory = Memory::default();
    let (ticket, other) = ([7; 32], [8; 32]);
    memory.learn(None, &group(1), &[crate::tickets::digest(&ticket)], "alice", 0);
    let home = |memory: &Memory, now| memory.by_ticket(&ticket, now).map(|given| given.home.clone());
    assert_eq!(home(&memory, 5 * DAY).as_deref(), Some("alice"));
    assert_eq!(home(&memory, 5 * DAY + 1), None);
    memory.ticket_used(&ticket, 5 * DAY - 600);
    assert_eq!(home(&memory, 10 * DAY - 600).as_deref(), Some("alice"), "five days after its last use");
    assert_eq!(home(&memory, 10 * DAY - 599), None);
    memory.ticket_used(&other, 0);
    assert_eq!(memory.by_ticket(&other, 0), None);
    assert_eq!(memory.take(STREET, &group(1), 0, anywhere), None, "between streets nothing is learnt of the group");
    memory.wrong_ticket(&ticket);
    assert_eq!(memory.by_ticket(&ticket, 0), None);
}

#[test]
fn a_home_that_is_gone_is_nowhere() {
    let mut memory = Memory::default();
    let ticket = [7; 32];
    memory.learn(Some(STREET), &group(1), &[crate::tickets::digest(&ticket)], "alice", 0);
    memory.take(STREET, &group(1), 10, anywhere);
    memory.learn(Some(STREET), &group(1), &[], "alice", 10);
    memory.learn(Some(STREET), &group(2), &[], "bob", 10);
    memory.follow(|home| ["bob"].into_iter().find(|known| *known == home));
    assert_eq!(memory.take(STREET, &group(2), 20, anywhere).as_deref(), Some("bob"), "others stay");
    assert_eq!(memory.take(STREET, &group(1), 20, anywhere), None);
    assert_eq!(memory.by_ticket(&ticket, 0), None);
}

/// It gives up the name by which it was called, and keeps another.
#[test]
fn a_home_that_is_called_otherwise_keeps_what_was_learnt() {
    let scratch = Scratch::new("called");
    let mut memory = Memory::open(&scratch.0, 0).unwrap();
    let ticket = [7; 32];
    memory.learn(Some(STREET), &group(1), &[crate::tickets::digest(&ticket)], "club", 0);
    assert_eq!(memory.take(STREET, &group(1), 10, anywhere).as_deref(), Some("club"));
    memory.learn(Some(STREET), &group(2), &[], "club", 10);
    memory.learn(Some(STREET), &group(3), &[], "bob", 10);
    memory.follow(|home| Some(if home == "club" { "two" } else { "bob" }));
    drop(memory);
    let mut memory = Memory::open(&scratch.0, 20).unwrap();
    assert_eq!(memory.by_ticket(&ticket, 20).map(|given| given.home.as_str()), Some("two"));
    for (of, home) in [(1, "two"), (1, "two"), (2, "two"), (3, "bob")] {
        assert_eq!(memory.take(STREET, &group(of), 20, anywhere).as_deref(), Some(home), "{of}");
    }
}

#[test]
fn use_refreshes_and_age_forgets() {
    let mut memory = Memory::default();
    memory.learn(Some(STREET), &group(1), &[], "alice", 0);
    for day in 1..20 {
        assert!(memory.take(STREET, &group(1), day * 4 * DAY, anywhere).is_some());
    }
    assert_eq!(memory.take(STREET, &group(1), 100 * DAY, anywhere), None);
    memory.forget_old(100 * DAY);
    assert_eq!(memory.len(), (0, 0));
}

#[test]
fn it_is_bounded() {
    let mut memory = Memory::default();
    let count = u32::try_from(limits::GROUPS).unwrap() + 5;
    for number in 0..count {
        let [_, a, b, c] = number.to_be_bytes();
        let ticket = crate::tickets::digest(&number.to_be_bytes());
        memory.learn(Some(STREET), &Group::Network4([a, b, c]), &[ticket], "alice", number.into());
    }
    assert!(memory.len().0 <= limits::GROUPS && memory.len().0 > limits::GROUPS / 2);
    let [_, a, b, c] = (count - 1).to_be_bytes();
    let newest = Group::Network4([a, b, c]);
    assert!(memory.take(STREET, &newest, u64::from(count) + 10, anywhere).is_some(), "the newest is there");
    for home in 0..40 {
        memory.learn(Some(STREET), &newest, &[], &home.to_string(), count.into());
    }
    let known = memory.groups.get(&(STREET.to_owned(), newest)).unwrap();
    assert_eq!(known.pending.len(), limits::PENDING);
}

/// One address asks for tickets all day, and calls itself by as many names as it likes: each is an organisation's, by DNS.
#[test]
fn a_flood_from_one_network_erases_nothing_of_others() {
    let scratch = Scratch::new("flood");
    let mut memory = Memory::default();
    let flood = Network::of("203.0.113.9".parse().unwrap());
    let ticket = crate::tickets::digest(b"alice's");
    memory.learn(Some(STREET), &group(1), &[ticket], "alice", 0);
    memory.learn_from(Network::of("198.51.100.1".parse().unwrap()), Some(STREET), &org(0), &[], ("alice", 0));
    for number in 1..u64::try_from(limits::TICKETS + limits::TICKETS / 5).unwrap() {
        let now = number / 300;
        let ticket = crate::tickets::digest(&number.to_be_bytes());
        memory.learn_from(flood, Some(STREET), &org(number), &[ticket], ("bob", now));
        if number == 30_000 {
            // What is written down says whose it is.
            memory.log = Some(Log::open(&scratch.0, |_| {}).unwrap());
            memory.rewrite().unwrap();
            memory = Memory::open(&scratch.0, now).unwrap();
            memory.log = None;
        }
    }
    let (groups, tickets) = memory.len();
    assert!(groups <= limits::GROUPS && tickets <= limits::TICKETS);
    assert_eq!(memory.by_ticket(b"alice's", 1_000).map(|given| given.home.as_str()), Some("alice"));
    for one in [group(1), org(0)] {
        assert_eq!(memory.take(STREET, &one, 1_000, anywhere).as_deref(), Some("alice"), "{one:?}");
    }
}

fn org(number: u64) -> Group {
    Group::Organisation(format!("x{number}.example"))
}

/// What an older version wrote is read, and is proof inside a street as before.
#[test]
fn tickets_of_an_older_version() {
    let mut memory = Memory::default();
    let ticket = crate::tickets::digest(&[7; 32]);
    memory.apply(Record::Ticket { ticket, home: "alice".to_owned(), now: 0 });
    assert_eq!(
        memory.by_ticket(&[7; 32], 0),
        Some(&Given { home: "alice".to_owned(), group: None, used: 0, network: Network::default() })
    );
}

/// What can happen, for the tests of the file.
#[derive(Debug, Clone)]
enum Step {
    Learn(u8, u8),
    Take(u8),
    Wrong(u8, u8),
    Void(u8),
    Shown(u8),
    Gone(u8),
    Called(u8, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..4u8, 0..4u8).prop_map(|(group, home)| Step::Learn(group, home)),
        3 => (0..4u8).prop_map(Step::Take),
        1 => (0..4u8, 0..4u8).prop_map(|(group, home)| Step::Wrong(group, home)),
        1 => (0..16u8).prop_map(Step::Void),
        1 => (0..16u8).prop_map(Step::Shown),
        1 => (0..4u8).prop_map(Step::Gone),
        1 => (0..4u8, 0..6u8).prop_map(|(home, to)| Step::Called(home, to)),
    ];
    prop::collection::vec(step, 0..60)
}

const NAMES: [&str; 6] = ["0", "1", "2", "3", "4", "5"];

fn perform(memory: &mut Memory, steps: &[Step], start: u64) {
    for (now, step) in (start..).zip(steps) {
        match step {
            Step::Learn(of, home) => {
                let ticket = crate::tickets::digest(&[of * 4 + home]);
                memory.learn(Some(STREET), &group(*of), &[ticket], &home.to_string(), now);
            }
            Step::Take(of) => drop(memory.take(STREET, &group(*of), now, anywhere)),
            Step::Wrong(of, home) => memory.wrong_home(STREET, &group(*of), &home.to_string(), now),
            Step::Shown(ticket) => memory.ticket_used(&[*ticket], now),
            Step::Void(ticket) => memory.wrong_ticket(&[*ticket]),
            Step::Gone(home) => {
                memory.follow(|known| NAMES.into_iter().find(|it| *it == known && **it != *home.to_string()))
            }
            Step::Called(home, to) => memory.follow(|known| {
                let known = if *known == *home.to_string() { to.to_string() } else { known.to_owned() };
                NAMES.into_iter().find(|it| **it == *known)
            }),
        }
    }
}

fn same(one: &Memory, other: &Memory) -> bool {
    one.tickets == other.tickets && one.groups == other.groups
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// kill -9 at any instant: what was recorded is there again, also after the file was written anew at each start.
    #[test]
    fn a_restart_forgets_nothing(first in steps(), second in steps()) {
        let scratch = Scratch::new("restart");
        let mut memory = Memory::open(&scratch.0, 0).unwrap();
        perform(&mut memory, &first, 1);
        let mut again = Memory::open(&scratch.0, 0).unwrap();
        prop_assert!(same(&memory, &again), "{memory:?}\n{again:?}");
        perform(&mut again, &second, 1_000);
        let third = Memory::open(&scratch.0, 0).unwrap();
        prop_assert!(same(&again, &third));
    }

    /// A torn or damaged end costs the records from there on, and no start.
    #[test]
    fn damage_costs_only_what_follows(first in steps(), cut in 0usize..4_000, flip: bool) {
        let scratch = Scratch::new("damage");
        let mut memory = Memory::open(&scratch.0, 0).unwrap();
        perform(&mut memory, &first, 1);
        let mut bytes = fs::read(&scratch.0).unwrap();
        prop_assume!(!bytes.is_empty());
        let at = cut % bytes.len();
        if flip {
            bytes[at] ^= 0x10;
        } else {
            bytes.truncate(at);
        }
        let mut expected = Memory::default();
        let mut rest = bytes.as_slice();
        while let Some((record, after)) = file::decode(rest) {
            expected.apply(record);
            rest = after;
        }
        fs::write(&scratch.0, &bytes).unwrap();
        let damaged = Memory::open(&scratch.0, 0).unwrap();
        prop_assert!(same(&expected, &damaged));
        prop_assert!(same(&damaged, &Memory::open(&scratch.0, 0).unwrap()), "and is whole again");
    }
}
