//! The cache of summaries may vanish, and may not lie.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use spool::cache::{Cache, discard};
use spool::keys::{Identities, Identity};
use spool::names::{LetterId, MailboxId};
use spool::summary_seal::SummarySeal;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("postern-cache-{name}-{}", std::process::id()));
    discard(&folder).unwrap();
    folder
}

fn letter(number: u32) -> LetterId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    LetterId(id)
}

fn fill(cache: &Cache, values: u32) {
    let value = |n: u32| vec![n as u8; 500 + n as usize % 3000];
    for chunk in (0..values).collect::<Vec<_>>().chunks(100) {
        let values: Vec<_> = chunk.iter().map(|n| (letter(*n), value(*n))).collect();
        cache.put(values.iter().map(|(letter, value)| (*letter, value.as_slice())));
    }
}

#[test]
fn a_clean_close_keeps_it() {
    let folder = folder("clean");
    let cache = Cache::open(&folder).unwrap();
    fill(&cache, 1_000);
    cache.remove([letter(7)]);
    assert_eq!(cache.len(), 999);
    cache.close().unwrap();
    for _ in 0..5 {
        let cache = Cache::open(&folder).unwrap();
        assert_eq!(cache.len(), 999);
        let got = cache.get(&[letter(3), letter(7), letter(999), letter(1_000)], usize::MAX);
        assert_eq!(got[0].as_deref(), Some([3; 503].as_slice()));
        assert_eq!((got[1].is_none(), got[2].is_some(), got[3].is_none()), (true, true, true));
        cache.close().unwrap();
    }
    discard(&folder).unwrap();
}

#[test]
fn the_longest_summaries_fit_and_longer_values_are_left_out() {
    let folder = folder("long");
    let value = |n: u32| vec![n as u8; spool::limits::CACHE_VALUE - n as usize];
    let cache = Cache::open(&folder).unwrap();
    for n in 0..6 {
        cache.put([(letter(n), value(n).as_slice())]);
    }
    cache.put([(letter(9), vec![0; spool::limits::CACHE_VALUE + 1].as_slice())]);
    cache.remove([letter(5)]);
    cache.close().unwrap();
    let cache = Cache::open(&folder).unwrap();
    assert_eq!(cache.len(), 5);
    for n in 0..5 {
        assert!(cache.get(&[letter(n)], usize::MAX)[0].as_deref() == Some(value(n).as_slice()), "{n}");
    }
    cache.close().unwrap();
    discard(&folder).unwrap();
}

#[test]
fn forgotten_values_give_their_room_back() {
    let folder = folder("room");
    let size = || std::fs::metadata(folder.join("values")).unwrap().len();
    let cache = Cache::open(&folder).unwrap();
    for _ in 0..2 {
        fill(&cache, 3_000); // The second time every one of them is replaced.
    }
    cache.remove((0..2_900).map(letter));
    cache.close().unwrap();
    assert!(size() < 400_000, "{}", size());
    let cache = Cache::open(&folder).unwrap();
    assert_eq!(cache.len(), 100);
    for n in 2_900..3_000 {
        assert_eq!(
            cache.get(&[letter(n)], usize::MAX)[0].as_deref(),
            Some(vec![n as u8; 500 + n as usize % 3000].as_slice())
        );
    }
    cache.close().unwrap();
    discard(&folder).unwrap();
}

#[test]
fn letters_are_answered_in_the_order_they_are_asked_for() {
    let folder = folder("order");
    let cache = Cache::open(&folder).unwrap();
    fill(&cache, 700);
    let asked: Vec<u32> = (0..2_000).map(|n| n * 7919 % 900).collect();
    let got = cache.get(&asked.iter().map(|n| letter(*n)).collect::<Vec<_>>(), usize::MAX);
    for (n, value) in asked.iter().zip(got) {
        assert_eq!(value.is_some(), *n < 700);
        assert!(value.is_none_or(|value| value == vec![*n as u8; 500 + *n as usize % 3000]), "{n}");
    }
    drop(cache);
    discard(&folder).unwrap();
}

#[test]
fn what_was_not_closed_is_thrown_away_and_fills_again() {
    let folder = folder("unclean");
    let cache = Cache::open(&folder).unwrap();
    fill(&cache, 100);
    drop(cache);
    let cache = Cache::open(&folder).unwrap();
    assert!(cache.is_empty());
    fill(&cache, 50);
    cache.close().unwrap();
    assert_eq!(Cache::open(&folder).unwrap().len(), 50);
    // That one was open for a moment and not closed.
    assert!(Cache::open(&folder).unwrap().is_empty());
    discard(&folder).unwrap();
}

#[test]
fn the_mark_is_gone_while_it_is_open() {
    let folder = folder("mark");
    let cache = Cache::open(&folder).unwrap();
    assert!(!folder.join("clean").exists());
    cache.close().unwrap();
    assert!(folder.join("clean").exists());
    let cache = Cache::open(&folder).unwrap();
    assert!(!folder.join("clean").exists());
    drop(cache);
    discard(&folder).unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { out.extend(files(&path)) } else { out.push(path) }
    }
    out
}

#[test]
fn whatever_happens_to_its_files_no_value_is_wrong_and_nothing_panics() {
    let (folder, owner) = (folder("damage"), owner());
    let seal = SummarySeal::new(&owner).unwrap();
    let text = |n: u32| format!("summary of {n} ").repeat(60).into_bytes();
    for round in 0..40_usize {
        discard(&folder).unwrap();
        let cache = Cache::open(&folder).unwrap();
        for n in 0..200 {
            cache.put([(letter(n), seal.seal(letter(n), &text(n)).unwrap().as_slice())]);
        }
        cache.close().unwrap();
        let files = files(&folder);
        let path = &files[round % files.len()];
        let mut bytes = std::fs::read(path).unwrap();
        if round % 4 == 3 {
            bytes.truncate(bytes.len() / 2);
        } else if !bytes.is_empty() {
            let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
            let place = round * 7919 % used;
            bytes[place] ^= 1 << (round % 8);
        }
        std::fs::write(path, bytes).unwrap();

        let cache = Cache::open(&folder).unwrap();
        for n in 0..200 {
            if let Some(value) = cache.get(&[letter(n)], usize::MAX).remove(0)
                && let Some(plain) = seal.open(letter(n), &value)
            {
                assert_eq!(*plain, text(n));
            }
        }
        let _ = cache.close();
        // However that ended, there is a cache that works.
        let cache = Cache::open(&folder).unwrap();
        cache.put([(letter(1), b"value".as_slice())]);
        let works = cache.get(&[letter(1)], usize::MAX)[0].is_some();
        drop(cache);
        let cache = Cache::open(&folder).unwrap();
        cache.put([(letter(1), b"value".as_slice())]);
        assert!(works || cache.get(&[letter(1)], usize::MAX)[0].is_some());
    }
    discard(&folder).unwrap();
}

fn owner() -> Identities {
    Identities::first(MailboxId(42), Identity::generate().unwrap())
}

#[test]
fn every_flipped_bit_of_a_value_is_found() {
    let seal = SummarySeal::new(&owner()).unwrap();
    let value = seal.seal(letter(1), b"a summary of some length").unwrap();
    for place in 0..value.len() {
        for bit in 0..8 {
            let mut flipped = value.clone();
            flipped[place] ^= 1 << bit;
            assert!(seal.open(letter(1), &flipped).is_none(), "bit {bit} of byte {place}");
        }
        assert!(seal.open(letter(1), &value[..place]).is_none());
    }
}

#[test]
fn a_value_belongs_to_its_letter_and_its_owner() {
    let (ours, other) = (owner(), owner());
    let seal = SummarySeal::new(&ours).unwrap();
    let value = seal.seal(letter(1), b"summary").unwrap();
    assert!(seal.open(letter(2), &value).is_none());
    assert!(SummarySeal::new(&other).unwrap().open(letter(1), &value).is_none());
    let elsewhere = Identities::first(MailboxId(1), Identity::from_bytes(ours.newest().to_bytes()).unwrap());
    assert!(SummarySeal::new(&elsewhere).unwrap().open(letter(1), &value).is_none());
}

#[test]
fn after_a_rekey_old_values_still_open() {
    let new = spool::slots::NewMailbox { address: "a@home.test", display_name: "", quota: None, device: "phone" };
    let mut made = spool::slots::SlotsFile::new_mailbox(MailboxId(42), &new, 0).unwrap();
    let value = SummarySeal::new(&made.identities).unwrap().seal(letter(1), b"old").unwrap();
    made.slots.rekey(&mut made.identities).unwrap();
    let seal = SummarySeal::new(&made.identities).unwrap();
    assert_eq!(seal.open(letter(1), &value).unwrap().as_slice(), b"old");
    let newer = seal.seal(letter(1), b"new").unwrap();
    assert_ne!(newer[1..5], value[1..5]);
    assert_eq!(seal.open(letter(1), &newer).unwrap().as_slice(), b"new");
}

proptest! {
    #[test]
    fn summaries_there_and_back(summary in proptest::collection::vec(any::<u8>(), 0..5_000), id: [u8; 16]) {
        let seal = SummarySeal::new(&owner()).unwrap();
        let value = seal.seal(LetterId(id), &summary).unwrap();
        let opened = seal.open(LetterId(id), &value).unwrap();
        prop_assert_eq!(opened.as_slice(), summary.as_slice());
    }
}
