//! The audit log: its owner reads it, and nobody takes a line out of it, changes it or moves it unnoticed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;

use proptest::prelude::*;
use spool::audit::{AuditError, Entry, Line, What, append, check, last, load, read};
use spool::disk::{Disk, Faults};
use spool::keys::{Identities, Identity};
use spool::names::{MailboxId, SlotId};

const MAILBOX: MailboxId = MailboxId(42);

fn owner() -> Identities {
    Identities::first(MAILBOX, Identity::generate().unwrap())
}

fn entry(number: u32) -> Entry {
    let text = format!("Anna's device {number}");
    Entry { at: 1_700_000_000, what: What::DeviceAdded, slot: Some(SlotId(number)), text }
}

fn log(owner: &Identities, lines: u32) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for number in 1..=lines {
        let previous = last(out.iter().map(String::as_str));
        let public = owner.newest().public();
        out.push(Line::make(previous.as_ref(), MAILBOX, 1, public, &entry(number)).unwrap().to_string());
    }
    out
}

fn is_whole(lines: &[String]) -> bool {
    check(MAILBOX, lines.iter().map(String::as_str)).is_ok()
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("postern-audit-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_owner_reads_it_and_nobody_else() {
    let (ours, other) = (owner(), owner());
    let lines = log(&ours, 5);
    assert!(is_whole(&lines));
    assert!(!lines.concat().contains("Anna"));
    let got = read(&ours, lines.iter().map(String::as_str));
    assert!(got.faults.is_empty());
    let expected: Vec<_> = (1..=5).map(|n| (u64::from(n), entry(n))).collect();
    assert_eq!(got.entries, expected);
    let got = read(&other, lines.iter().map(String::as_str));
    assert_eq!((got.entries.len(), got.faults.len()), (0, 5));
    assert!(check(MailboxId(1), lines.iter().map(String::as_str)).is_err(), "of another mailbox");
}

#[test]
fn every_flipped_bit_is_found_without_a_key() {
    let lines = log(&owner(), 2);
    for number in 0..2 {
        for place in 0..lines[number].len() {
            for bit in 0..8 {
                let mut bytes = lines[number].clone().into_bytes();
                bytes[place] ^= 1 << bit;
                let mut flipped = lines.clone();
                flipped[number] = String::from_utf8_lossy(&bytes).into_owned();
                assert!(!is_whole(&flipped), "line {number}, byte {place}, bit {bit}");
            }
        }
    }
}

#[test]
fn lines_cut_swapped_or_doubled_are_found_and_the_rest_is_read() {
    let ours = owner();
    let lines = log(&ours, 6);
    let told = |lines: &[String]| {
        let got = read(&ours, lines.iter().map(String::as_str));
        !is_whole(lines) && !got.faults.is_empty() && got.entries.len() == lines.len()
    };
    let mut cut = lines.clone();
    cut.remove(2);
    assert!(told(&cut));
    cut.remove(0);
    assert!(told(&cut));
    let mut swapped = lines.clone();
    swapped.swap(3, 4);
    assert!(told(&swapped));
    let mut doubled = lines.clone();
    doubled.insert(3, lines[3].clone());
    assert!(told(&doubled));
    // A cut at the end leaves a whole log; its last chain, which the keeper remembers, differs.
    assert!(is_whole(&lines[..5]));
    let chain = |lines: &[String]| *check(MAILBOX, lines.iter().map(String::as_str)).unwrap().unwrap().chain();
    assert_ne!(chain(&lines), chain(&lines[..5]));
}

#[test]
fn a_chain_made_anew_round_a_missing_line_is_found_by_the_owner() {
    let ours = owner();
    let lines = log(&ours, 4);
    // The thief takes line 2 out, numbers the rest anew and computes the clear chain as anybody can.
    let mut forged = vec![lines[0].clone()];
    for (number, text) in [(2_u64, &lines[2]), (3, &lines[3])] {
        let before = *Line::parse(forged.last().unwrap()).unwrap().chain();
        let sealed = wire::base64::decode(text.rsplit(' ').next().unwrap().as_bytes()).unwrap();
        let mut all = b"postern audit v1".to_vec();
        all.extend_from_slice(&MAILBOX.0.to_le_bytes());
        all.extend_from_slice(&before);
        all.extend_from_slice(&number.to_le_bytes());
        all.extend_from_slice(&1_u32.to_le_bytes());
        all.extend_from_slice(&sealed);
        let chain: String = wire::scram::sha256(&all).iter().map(|byte| format!("{byte:02x}")).collect();
        forged.push(format!("1 {number} 1 {chain} {}", wire::base64::encode(&sealed)));
    }
    assert!(is_whole(&forged), "nobody without a key can tell");
    let got = read(&ours, forged.iter().map(String::as_str));
    assert_eq!((got.entries.len(), got.faults.len()), (3, 2));
}

#[test]
fn on_disk_it_grows_line_by_line() {
    let (ours, folder, disk) = (owner(), folder("grow"), Disk::default());
    let lines = log(&ours, 3);
    assert!(load(&folder).unwrap().is_empty());
    assert!(matches!(append(&disk, &folder, MAILBOX, &lines[1]), Err(AuditError::Outdated)));
    for line in &lines {
        append(&disk, &folder, MAILBOX, line).unwrap();
    }
    assert_eq!(load(&folder).unwrap(), lines);
    assert!(matches!(append(&disk, &folder, MAILBOX, &lines[2]), Err(AuditError::Outdated)));
    assert!(matches!(append(&disk, &folder, MAILBOX, "1 4 1"), Err(AuditError::Broken(4, _))));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn an_unfinished_line_is_cut_off_and_a_damaged_one_stays_told() {
    let (ours, folder, disk) = (owner(), folder("torn"), Disk::default());
    let path = folder.join("audit");
    let lines = log(&ours, 2);
    for line in &lines {
        append(&disk, &folder, MAILBOX, line).unwrap();
    }
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [whole.as_slice(), b"1 3 1 0000"].concat()).unwrap();
    assert_eq!(load(&folder).unwrap(), lines);
    let public = ours.newest().public();
    let next = |entry: &Entry| {
        let previous = last(load(&folder).unwrap().iter().map(String::as_str));
        Line::make(previous.as_ref(), MAILBOX, 1, public, entry).unwrap().to_string()
    };
    append(&disk, &folder, MAILBOX, &next(&entry(3))).unwrap();
    assert!(is_whole(&load(&folder).unwrap()));

    let mut damaged = std::fs::read(&path).unwrap();
    let end = damaged.len() - 3;
    damaged[end] = 0xff;
    std::fs::write(&path, &damaged).unwrap();
    append(&disk, &folder, MAILBOX, &next(&entry(4))).unwrap();
    assert!(std::fs::read(&path).unwrap().starts_with(&damaged), "nothing was cut");
    let lines = load(&folder).unwrap();
    assert!(matches!(check(MAILBOX, lines.iter().map(String::as_str)), Err(AuditError::Broken(3, _))));
    assert_eq!(read(&ours, lines.iter().map(String::as_str)).entries.len(), 3);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_disk_that_fails_leaves_whole_lines() {
    let (ours, folder) = (owner(), folder("fail"));
    let disk = Disk::default();
    for step in 1..8 {
        for crash in [true, false] {
            let before = load(&folder).unwrap();
            let previous = last(before.iter().map(String::as_str));
            let line = Line::make(previous.as_ref(), MAILBOX, 1, ours.newest().public(), &entry(step)).unwrap();
            let failing = u64::from(step);
            let faults = if crash { Faults::crash(failing) } else { Faults::once(failing, rustix::io::Errno::NOSPC) };
            let outcome = append(&Disk::faulty(faults), &folder, MAILBOX, &line.to_string());
            let after = load(&folder).unwrap();
            assert!(is_whole(&after), "step {step}");
            assert!(after.len() >= before.len());
            if outcome.is_ok() {
                assert_eq!(after.len(), before.len() + 1);
            }
            let line = Line::make(
                last(after.iter().map(String::as_str)).as_ref(),
                MAILBOX,
                1,
                ours.newest().public(),
                &entry(step),
            );
            append(&disk, &folder, MAILBOX, &line.unwrap().to_string()).unwrap();
            assert!(is_whole(&load(&folder).unwrap()));
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..500)) {
        spool::fuzz::audit(&data);
        spool::fuzz::secrets(&data);
        spool::fuzz::summary(&data);
        spool::fuzz::slots(&data);
    }

    #[test]
    fn lines_that_are_read_are_written_the_same(
        number in 0_u64..20, generation in 0_u32..20, sealed in "[A-Za-z0-9+/]{0,8}={0,2}", chain in "[0-9a-f]{64}",
    ) {
        spool::fuzz::audit(format!("1 {number} {generation} {chain} {sealed}").as_bytes());
    }

    #[test]
    fn entries_there_and_back(at: i64, slot in 1_u32.., text in ".{0,100}") {
        let ours = owner();
        let entry = Entry { at, what: What::Rekeyed, slot: Some(SlotId(slot)), text };
        let line = Line::make(None, MAILBOX, 1, ours.newest().public(), &entry).unwrap();
        prop_assert_eq!(Line::parse(&line.to_string()).unwrap().open(None, &ours).unwrap(), entry);
    }
}
