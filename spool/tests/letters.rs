//! Letters: what goes in comes out, whole or in ranges, and nothing that happens to a file is served as mail.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::io::Write;

use proptest::prelude::*;
use spool::keys::{Identities, Identity};
use spool::letter::{Digesting, Expect, Frame, LetterError, Opened, ReadAt, Sealer, digest, largest_sealed, seal};
use spool::names::{LetterId, MailboxId};

const MAILBOX: MailboxId = MailboxId(42);
const LETTER: LetterId = LetterId(*b"0123456789abcdef");
const PIECE: usize = 64 * 1024;

fn owner() -> Identities {
    Identities::first(MAILBOX, Identity::generate().unwrap())
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 + n / 251) as u8).collect()
}

fn sealed(owner: &Identities, summary: &[u8], message: &[u8]) -> Vec<u8> {
    let frame =
        Frame { mailbox: MAILBOX, letter: LETTER, generation: owner.generation(), arrived: 1_700_000_000, size: 0 };
    seal(owner.newest().public(), summary, message.chunks(1000), frame.encode().to_vec()).unwrap()
}

fn expect(size: Option<usize>) -> Expect {
    Expect { mailbox: MAILBOX, letter: LETTER, size: size.map(|size| size as u32) }
}

/// Whether anybody who reads the whole of it is told that something is wrong.
fn is_told(file: &[u8], size: Option<usize>, owner: &Identities) -> bool {
    match Opened::open(file, &expect(size), owner) {
        Ok(mut opened) => opened.verify().is_err(),
        Err(_) => true,
    }
}

#[test]
fn sizes_round_the_edges_of_pieces() {
    let owner = owner();
    for size in [0, 1, PIECE - 5, PIECE - 4, PIECE - 3, PIECE, 2 * PIECE - 4, 2 * PIECE, 3 * PIECE + 7] {
        for summary in [0, 100, PIECE - 4, PIECE] {
            let (message, summary) = (text(size), text(summary));
            let file = sealed(&owner, &summary, &message);
            assert!(file.len() as u64 <= Frame::BYTES as u64 + largest_sealed(summary.len() as u64, size as u64));
            for expected in [Some(size), None] {
                let mut opened = Opened::open(file.as_slice(), &expect(expected), &owner).unwrap();
                assert_eq!(opened.summary(), summary);
                assert_eq!(opened.size(), size as u64);
                assert_eq!(opened.read_range(0, size as u64).unwrap(), message);
                let mut copied = Vec::new();
                opened.copy_range(0, size as u64, &mut copied).unwrap();
                assert_eq!(copied, message);
                opened.verify().unwrap();
                assert!(matches!(opened.read_range(size as u64, 1), Err(LetterError::OutOfRange)));
                assert!(matches!(opened.read_range(u64::MAX, 1), Err(LetterError::OutOfRange)));
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let owner = owner();
    let message = text(300);
    let file = sealed(&owner, b"summary", &message);
    for place in 0..file.len() {
        for bit in 0..8 {
            let mut flipped = file.clone();
            flipped[place] ^= 1 << bit;
            assert!(is_told(&flipped, Some(300), &owner), "bit {bit} of byte {place}");
            assert!(is_told(&flipped, None, &owner), "bit {bit} of byte {place}, size unknown");
        }
    }
    let long = sealed(&owner, b"summary", &text(3 * PIECE));
    for place in (0..long.len()).step_by(997) {
        let mut flipped = long.clone();
        flipped[place] ^= 1;
        assert!(is_told(&flipped, None, &owner), "byte {place}");
    }
}

#[test]
fn a_letter_cut_short_or_grown_is_never_a_shorter_letter() {
    let owner = owner();
    // The last piece ends exactly where a piece ends: the hardest to tell from a cut between two pieces.
    for size in [500, 2 * PIECE - 11, 2 * PIECE + 30] {
        let file = sealed(&owner, b"summary", &text(size));
        let pieces = (0..=file.len()).rev().step_by(if size < 1000 { 1 } else { 1003 });
        let whole_pieces = (0..4).map(|n| file.len() - (file.len() % (PIECE + 16)) + n * 16);
        for length in pieces.chain(whole_pieces).filter(|length| *length < file.len()) {
            assert!(Opened::open(&file[..length], &expect(Some(size)), &owner).is_err(), "{length} of {}", file.len());
            assert!(Opened::open(&file[..length], &expect(None), &owner).is_err(), "{length} of {}", file.len());
        }
        for more in [1, 15, 16, 17, 100, PIECE + 16] {
            let grown = [file.as_slice(), &vec![0; more]].concat();
            assert!(Opened::open(grown.as_slice(), &expect(Some(size)), &owner).is_err(), "{more}");
            assert!(Opened::open(grown.as_slice(), &expect(None), &owner).is_err(), "{more}");
        }
    }
}

#[test]
fn a_whole_number_of_pieces_cut_off_is_told() {
    let owner = owner();
    let file = sealed(&owner, b"", &text(4 * PIECE - 4));
    for pieces in 1..4 {
        let short = &file[..file.len() - pieces * (PIECE + 16)];
        let shorter = 4 * PIECE - 4 - pieces * PIECE;
        // Even a journal that was changed with it does not help: the last piece has no mark.
        assert!(is_told(short, Some(shorter), &owner));
        assert!(Opened::open(short, &expect(None), &owner).is_err());
    }
}

#[test]
fn a_letter_in_the_wrong_place_or_of_another_owner_is_told() {
    let (ours, other) = (owner(), owner());
    let file = sealed(&ours, b"summary", b"message");
    let elsewhere = Expect { letter: LetterId([9; 16]), ..expect(None) };
    assert!(matches!(Opened::open(file.as_slice(), &elsewhere, &ours), Err(LetterError::Misplaced)));
    let elsewhere = Expect { mailbox: MailboxId(9), ..expect(None) };
    assert!(matches!(Opened::open(file.as_slice(), &elsewhere, &ours), Err(LetterError::Misplaced)));
    assert!(matches!(Opened::open(file.as_slice(), &expect(None), &other), Err(LetterError::Damaged(_))));
    let frame = Frame { mailbox: MAILBOX, letter: LETTER, generation: 2, arrived: 0, size: 0 };
    let newer = [frame.encode().as_slice(), &file[Frame::BYTES..]].concat();
    assert!(matches!(Opened::open(newer.as_slice(), &expect(None), &ours), Err(LetterError::NoIdentity(2))));
}

#[test]
fn nothing_speaks_in_clear_and_no_two_letters_are_alike() {
    let owner = owner();
    let message = b"Subject: the secret plan\r\n\r\nmeet me at noon\r\n".repeat(50);
    let (one, two) = (sealed(&owner, b"the summary", &message), sealed(&owner, b"the summary", &message));
    for phrase in [b"secret".as_slice(), b"noon", b"Subject", b"summary"] {
        assert!(!one.windows(phrase.len()).any(|window| window == phrase));
    }
    assert_ne!(one[Frame::BYTES..], two[Frame::BYTES..]);
    // Who it is for does not stand in it either, but in the frame.
    let key = owner.newest().public().to_string();
    assert!(!one.windows(20).any(|window| window == &key.as_bytes()[4..24]));
}

#[test]
fn any_age_tool_opens_it() {
    let owner = owner();
    let file = sealed(&owner, b"summary", b"message");
    let identity: age::x25519::Identity = owner.newest().to_text().parse().unwrap();
    let plain = age::decrypt(&identity, &file[Frame::BYTES..]).unwrap();
    assert_eq!(plain, b"\x07\0\0\0summarymessage");
}

#[test]
fn a_file_is_read_in_place_and_its_digest_is_that_of_what_was_written() {
    let owner = owner();
    let path = std::env::temp_dir().join(format!("postern-letter-{}", std::process::id()));
    let message = text(200_000);
    let mut out = Digesting::new(File::create(&path).unwrap());
    out.write_all(&Frame { mailbox: MAILBOX, letter: LETTER, generation: 1, arrived: 5, size: 0 }.encode()).unwrap();
    let mut sealer = Sealer::start(owner.newest().public(), b"summary", out).unwrap();
    sealer.write_all(&message).unwrap();
    let (_, written, length) = sealer.finish().unwrap().finish();

    let file = File::open(&path).unwrap();
    assert_eq!((digest(&file).unwrap(), file.length().unwrap()), (written, length));
    let mut opened = Opened::open(file.try_clone().unwrap(), &expect(Some(200_000)), &owner).unwrap();
    let mut twin = Opened::open(file, &expect(Some(200_000)), &owner).unwrap();
    assert_eq!(opened.frame().arrived, 5);
    // Two sessions with one file description do not disturb each other.
    assert_eq!(opened.read_range(150_000, 9).unwrap(), &message[150_000..150_009]);
    assert_eq!(twin.read_range(3, 9).unwrap(), &message[3..12]);
    assert_eq!(opened.read_range(150_009, 9).unwrap(), &message[150_009..150_018]);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn an_unfinished_letter_does_not_open() {
    let owner = owner();
    let mut file = Frame { mailbox: MAILBOX, letter: LETTER, generation: 1, arrived: 5, size: 0 }.encode().to_vec();
    let mut sealer = Sealer::start(owner.newest().public(), b"summary", &mut file).unwrap();
    sealer.write_all(&text(3 * PIECE)).unwrap();
    drop(sealer);
    assert!(Opened::open(file.as_slice(), &expect(None), &owner).is_err());
}

#[test]
fn a_header_without_end_is_not_read_to_the_end_of_a_huge_file() {
    struct Huge;
    impl ReadAt for Huge {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
            assert!(offset < 8 * 1024, "read on and on");
            let start = [
                Frame { mailbox: MAILBOX, letter: LETTER, generation: 1, arrived: 5, size: 0 }.encode().as_slice(),
                b"age-encryption.org/v1\n-> X25519 ",
                &[b'A'; 8 * 1024],
            ]
            .concat();
            start.as_slice().read_at(buffer, offset)
        }
        fn length(&self) -> std::io::Result<u64> {
            Ok(1 << 40)
        }
    }
    assert!(matches!(Opened::open(Huge, &expect(None), &owner()), Err(LetterError::Damaged(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_ranges_in_any_order(
        size in 0_usize..250_000,
        summary in 0_usize..3_000,
        ranges in proptest::collection::vec((0_usize..250_000, 0_usize..100_000), 1..12),
    ) {
        let owner = owner();
        let message = text(size);
        let file = sealed(&owner, &text(summary), &message);
        let mut opened = Opened::open(file.as_slice(), &expect(Some(size)), &owner).unwrap();
        for (start, length) in ranges {
            let got = opened.read_range(start as u64, length as u64);
            match message.get(start..start + length) {
                Some(part) => prop_assert_eq!(got.unwrap(), part),
                None => prop_assert!(matches!(got, Err(LetterError::OutOfRange))),
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..3_000)) {
        spool::fuzz::letter(&data);
        let age = [b"age-encryption.org/v1\n-> X25519 ".as_slice(), &data, b"\n--- "].concat();
        spool::fuzz::letter(&age);
    }

    #[test]
    fn frames_there_and_back(mailbox: u64, letter: [u8; 16], generation: u32, arrived: i64) {
        let frame = Frame { mailbox: MailboxId(mailbox), letter: LetterId(letter), generation, arrived, size: 0 };
        prop_assert_eq!(Frame::decode(&frame.encode()).unwrap(), frame);
    }
}
