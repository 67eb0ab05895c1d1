//! What a home can spend, whatever it tries; and that it is written down.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::PathBuf;

use outbound_proxy::account::Account;
use outbound_proxy::grant::Allowance;
use outbound_proxy::ledger::{self, Ledger};
use outbound_proxy::limits;
use proptest::prelude::*;
use relay_link::outbound::Refusal;

const NOON: u64 = 20_000 * 86_400 + 43_200;
const HERE: [u8; 7] = [4, 192, 0, 2, 0, 0, 0];

fn network(number: u16) -> [u8; 7] {
    let [a, b] = number.to_be_bytes();
    [4, a, b, 0, 0, 0, 0]
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("outbound-{name}-{}", std::process::id()));
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
fn a_bucket_is_spent_and_fills_again() {
    let allowance = Allowance { sessions: 1_000, concurrent: 1_000, burst: 100, ..Allowance::default() };
    let mut account = Account::new(&allowance, NOON);
    let sessions = (0..1_000).take_while(|_| account.open(&allowance, 0, HERE, NOON).is_ok()).count();
    assert_eq!(sessions, 75, "1500 units in sessions of 20");
    // 200 units an hour: 20 of them in six minutes.
    assert_eq!(account.open(&allowance, 0, HERE, NOON), Err(Refusal::Spent(360)));
    assert!(account.open(&allowance, 0, HERE, NOON + 359).is_err());
    account.open(&allowance, 0, HERE, NOON + 360).unwrap();
    let full = account.budget(&allowance, NOON + 8 * 3_600);
    assert_eq!((full.left, full.bucket), (1_500, 1_500), "never more than full");
}

#[test]
fn days_sessions_networks_and_what_runs_at_once() {
    let allowance =
        Allowance { bucket: 100_000, sessions: 5, networks: 3, concurrent: 2, daily: 1_000, ..Allowance::default() };
    let mut account = Account::new(&allowance, NOON);
    assert_eq!(account.open(&allowance, 2, HERE, NOON), Err(Refusal::Concurrent));
    for number in 0..3 {
        account.open(&allowance, 0, network(number), NOON + u64::from(number)).unwrap();
    }
    assert_eq!(account.open(&allowance, 0, network(9), NOON + 10), Err(Refusal::Networks(3_590)));
    account.open(&allowance, 0, network(1), NOON + 10).unwrap();
    account.open(&allowance, 0, network(9), NOON + 3_600).unwrap();
    let midnight = NOON + 43_200;
    assert_eq!(account.open(&allowance, 0, network(9), midnight - 5), Err(Refusal::Sessions(5)));
    account.open(&allowance, 0, network(9), midnight).unwrap();
    account.charge(&allowance, 980, midnight);
    assert_eq!(account.open(&allowance, 0, network(9), midnight + 1), Err(Refusal::Spent(86_399)));
    let budget = account.budget(&allowance, midnight + 1);
    assert_eq!((budget.today, budget.sessions, budget.networks), ((1_000, 1_000), (1, 5), (1, 3)));
}

/// A host with two addresses: one in a network that is paid for, beside one that would be too many.
#[test]
fn a_network_of_this_hour_is_open_still() {
    let allowance = Allowance { networks: 2, ..Allowance::default() };
    let mut account = Account::new(&allowance, NOON);
    for number in 0..2 {
        assert!(account.may_visit(&allowance, network(number), NOON) && !account.knows(network(number), NOON));
        account.open(&allowance, 0, network(number), NOON).unwrap();
    }
    let open = |number, now| (account.knows(network(number), now), account.may_visit(&allowance, network(number), now));
    assert_eq!([open(0, NOON + 3_599), open(9, NOON + 3_599)], [(true, true), (false, false)]);
    assert_eq!([open(0, NOON + 3_600), open(9, NOON + 3_600)], [(false, true), (false, true)], "an hour is over");
    assert_eq!(open(9, NOON - 60), (false, false), "a clock set back a little gives nothing");
    assert_eq!(open(9, NOON - 200_000), (false, true), "it was wrong before");
}

/// A new connection for each mail: not only paid for, but no more of them than so many in any minute.
#[test]
fn sessions_of_a_minute() {
    let allowance = Allowance { bucket: 100_000, burst: 3, ..Allowance::default() };
    let mut account = Account::new(&allowance, NOON);
    for second in [0, 10, 50] {
        account.open(&allowance, 0, HERE, NOON + second).unwrap();
    }
    assert_eq!(account.open(&allowance, 0, HERE, NOON + 51), Err(Refusal::Sessions(9)));
    assert_eq!(account.open(&allowance, 0, HERE, NOON - 3_600), Err(Refusal::Sessions(3_660)), "a clock set back");
    assert!(account.open(&allowance, 0, HERE, NOON + 59).is_err());
    account.open(&allowance, 0, HERE, NOON + 60).unwrap();
    assert_eq!(account.open(&allowance, 0, HERE, NOON + 61), Err(Refusal::Sessions(9)), "any minute, not each");
    let none = Allowance { burst: 0, ..allowance };
    assert_eq!(account.open(&none, 0, HERE, NOON + 500), Err(Refusal::Sessions(60)));
}

/// Many short sessions, dropped after RCPT.
#[test]
fn sessions_without_a_letter() {
    let allowance = Allowance { bucket: 100_000, empty: 2, ..Allowance::default() };
    let mut account = Account::new(&allowance, NOON);
    for number in 0..2 {
        account.open(&allowance, 0, HERE, NOON + number).unwrap();
        account.was_empty(&allowance, NOON + number);
    }
    assert_eq!((account.empty_today(NOON + 9), account.empty_today(NOON + 86_400)), (2, 0));
    assert_eq!(account.open(&allowance, 0, HERE, NOON + 9), Err(Refusal::Sessions(43_191)));
    account.open(&allowance, 0, HERE, NOON + 43_200).unwrap();
}

#[test]
fn a_refusal_costs_nothing() {
    let allowance = Allowance { networks: 1, ..Allowance::default() };
    let mut account = Account::new(&allowance, NOON);
    account.open(&allowance, 0, network(1), NOON).unwrap();
    let before = account.clone();
    for _ in 0..100 {
        assert!(account.open(&allowance, 0, network(2), NOON).is_err());
    }
    assert_eq!(account, before);
}

#[test]
fn a_clock_that_is_set_back_gives_nothing() {
    let allowance = Allowance::default();
    let mut account = Account::new(&allowance, NOON);
    account.charge(&allowance, 1_500, NOON);
    for _ in 0..1_000 {
        account.charge(&allowance, 0, NOON - 3_600);
        account.charge(&allowance, 0, NOON);
    }
    assert_eq!(account.budget(&allowance, NOON).left, 0);
}

/// The machine's clock was wrong as it began, and somebody sent in that moment.
#[test]
fn a_clock_that_was_years_ahead_stops_nobody_for_years() {
    let allowance = Allowance { networks: 1, burst: 1, sessions: 3, bucket: 100, hourly: 100, ..Allowance::default() };
    let (mut account, ahead) = (Account::new(&allowance, NOON), NOON + 5 * 365 * 86_400);
    account.open(&allowance, 0, network(1), ahead).unwrap();
    account.charge(&allowance, 80, ahead);
    assert_eq!(account.open(&allowance, 0, network(2), NOON), Err(Refusal::Spent(720)), "it is given nothing for it");
    let spent = account.budget(&allowance, NOON);
    assert_eq!((spent.left, spent.today, spent.sessions.0), (0, (100, allowance.daily.into()), 1));
    account.open(&allowance, 0, network(2), NOON + 720).unwrap();
}

proptest! {
    /// A spam run: as many sessions as are let in, each with as many recipients as fit, for hours. Waiting as long as it
    /// is told to, it gets no more than a bucket, what came back meanwhile, and one last flight of replies each session.
    #[test]
    fn a_spam_run_stays_within_its_budget(flights in prop::collection::vec(1u64..1_100, 1..400), hours in 1u64..30, running in 1u64..10) {
        let allowance = Allowance { daily: u32::MAX, sessions: u32::MAX, networks: 200, ..Allowance::default() };
        let mut account = Account::new(&allowance, NOON);
        let (mut now, mut spent, mut largest) = (NOON, 0, 0);
        for flight in flights.iter().cycle().take(2_000) {
            if account.open(&allowance, 0, HERE, now).is_ok() {
                spent += limits::SESSION_UNITS;
            }
            now += account.pace(&allowance, now).as_secs().max(1);
            if now > NOON + hours * 3_600 {
                break;
            }
            account.charge(&allowance, *flight, now);
            spent += flight;
            largest = largest.max(*flight);
        }
        let most = 1_500 + 200 * hours + running * (largest + limits::SESSION_UNITS);
        prop_assert!(spent <= most, "{spent} of {most}");
    }

    /// kill -9 after any write, and within it: at worst the write under way is missing.
    #[test]
    fn what_was_spent_stays_spent(charges in prop::collection::vec(0u64..50, 1..30), cut in 0usize..limits::LEDGER_HALF) {
        let scratch = Scratch::new("ledger");
        let allowance = Allowance::default();
        let (mut ledger, mut account) = Ledger::open(&scratch.0, || Account::new(&allowance, NOON), || Account::empty(NOON)).unwrap();
        let mut before = account.clone();
        for units in charges {
            before = account.clone();
            account.charge(&allowance, units, NOON);
            ledger.write(&account).unwrap();
        }
        drop(ledger);
        prop_assert_eq!(ledger::read(&scratch.0).unwrap(), Some(account.clone()));
        let reopen = || Ledger::open(&scratch.0, || panic!("not new"), || panic!("not damaged")).unwrap().1;
        let whole = fs::read(&scratch.0).unwrap();
        prop_assert_eq!(reopen(), account.clone());
        // The last write was cut short: bytes from some point on are still the older ones (here: none that fit).
        let mut torn = whole;
        let newer = (0..2).max_by_key(|half| number(&torn, *half)).unwrap();
        let start = newer * limits::LEDGER_HALF;
        let end = torn.len().min(start + limits::LEDGER_HALF);
        let length = 26 + body_length(&torn, newer);
        torn[start + cut % length..end].fill(0xff);
        fs::write(&scratch.0, &torn).unwrap();
        prop_assert_eq!(reopen(), before);
    }
}

fn number(file: &[u8], half: usize) -> u64 {
    let at = half * limits::LEDGER_HALF + 16;
    file.get(at..at + 8).map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
}

fn body_length(file: &[u8], half: usize) -> usize {
    let at = half * limits::LEDGER_HALF + 24;
    usize::from(u16::from_be_bytes(file[at..at + 2].try_into().unwrap()))
}

#[test]
fn a_damaged_ledger_is_an_empty_bucket() {
    let scratch = Scratch::new("damaged");
    fs::write(&scratch.0, vec![0x55; 10_000]).unwrap();
    let allowance = Allowance::default();
    let opened = Ledger::open(&scratch.0, || Account::new(&allowance, NOON), || Account::empty(NOON)).unwrap();
    assert_eq!(opened.1.budget(&allowance, NOON).left, 0);
    let longest = Allowance { networks: 200, sessions: 1_000, bucket: 1_000_000, daily: 1_000_000, ..allowance };
    let longest = Allowance { burst: 1_000, ..longest };
    let (mut ledger, mut account) = (opened.0, Account::new(&longest, NOON));
    for number in 0..200 {
        let opened = account.open(&longest, 0, network(number), NOON);
        assert_eq!(opened.is_ok(), usize::from(number) < limits::BURST, "{opened:?}");
        let _ = account.visit(&longest, network(number), NOON);
    }
    let networks = account.budget(&longest, NOON).networks;
    assert_eq!(networks, (200, 200));
    ledger.write(&account).expect("the longest account fits its half");
}
