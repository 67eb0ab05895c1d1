//! One plain function for every parser of the sealed formats; the fuzz targets call nothing else.

use wire::scram::sha256;

use crate::audit::{Line, check, read};
use crate::keys::{DevicePassword, HouseholdKey, Identities, Identity, PublicKey, Words};
use crate::letter::{Expect, Frame, Opened};
use crate::names::{LetterId, MailboxId};
use crate::slots::SlotsFile;
use crate::summary_seal::SummarySeal;

fn owner() -> Option<Identities> {
    Identity::from_bytes(&[7; 32]).ok().map(|identity| Identities::first(MailboxId(7), identity))
}

/// A slots file: as it is, and behind a true magic and hash, where the fields are.
pub fn slots(data: &[u8]) {
    let mut hashed = [b"PSTNSLOT\x01", data].concat();
    let hash = sha256(&hashed);
    hashed.extend_from_slice(&hash);
    for bytes in [data, &hashed] {
        if let Ok(file) = SlotsFile::decode(bytes) {
            assert_eq!(file.encode().ok().as_deref(), Some(bytes), "a file that is read is written the same");
        }
    }
}

/// A letter's file: as it is, and behind a true frame, where age begins.
pub fn letter(data: &[u8]) {
    let Some(owner) = owner() else { return };
    let (mailbox, letter) = (owner.mailbox(), LetterId([7; 16]));
    let _ = Frame::decode(data);
    let framed = [&Frame { mailbox, letter, generation: 1, arrived: 0, size: 0 }.encode(), data].concat();
    for size in [None, Some(u32::try_from(data.len()).unwrap_or(0))] {
        for file in [data, &framed] {
            if let Ok(mut opened) = Opened::open(file, &Expect { mailbox, letter, size }, &owner) {
                let _ = opened.verify();
                let _ = opened.read_range(1, 5);
            }
        }
    }
}

/// An audit log.
pub fn audit(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for line in text.split('\n') {
        if let Ok(parsed) = Line::parse(line) {
            assert_eq!(parsed.to_string(), line, "a line that is read is written the same");
        }
    }
    let _ = check(MailboxId(7), text.split('\n'));
    if let Some(owner) = owner() {
        let _ = read(&owner, text.split('\n'));
    }
}

/// Everything a person types, and keys from other processes.
pub fn secrets(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(password) = DevicePassword::parse(&text) {
        assert!(DevicePassword::parse(password.as_str()).is_ok_and(|again| again.as_str() == password.as_str()));
    }
    if let Ok(words) = Words::parse(&text) {
        assert!(Words::parse(&words.list().join(" ")).is_ok_and(|again| again.list() == words.list()));
    }
    let _ = HouseholdKey::parse(&text);
    let _ = text.parse::<PublicKey>();
    let _ = Identities::from_bytes(data);
}

/// A value of the cache.
pub fn summary(data: &[u8]) {
    if let Some(seal) = owner().and_then(|owner| SummarySeal::new(&owner).ok()) {
        assert!(seal.open(LetterId([7; 16]), data).is_none(), "opened what nobody has sealed");
    }
}

/// A local part that may be the way back to a sender: nobody but us makes one.
pub fn ways_back(data: &[u8]) {
    use crate::srs::Rewriter;
    let text = String::from_utf8_lossy(data);
    let rewriter = Rewriter::new(&[7; 32], "home.test");
    assert!(rewriter.back(&text, 20_000).is_err(), "made by a stranger");
    let (local, domain) = text.rsplit_once('@').unwrap_or((&text, "far.test"));
    if let Some(made) = rewriter.forward(local, domain, 20_000) {
        let ours = made.strip_suffix("@home.test").unwrap_or_default();
        assert!(!ours.is_empty() && ours.len() <= 64, "no local part: {made}");
        assert!(rewriter.back(ours, 20_001).is_ok(), "no way back from {made}");
    }
}

/// A journal's segment, behind a true header; and entries, as if their seals had held.
pub fn journal(data: &[u8]) {
    use crate::journal::record::{Record, decode};
    use crate::journal::segment::{Kind, Reader, header};
    let file = [&header(Kind::Log, 1, &[7; 32]), data].concat();
    if let Ok(reader) = Reader::new(&[7; 32], &file, Kind::Log, 1) {
        assert!(reader.count() <= data.len() + 1, "every step reads something");
    }
    let mut index = crate::index::Index::default();
    for (sequence, piece) in (1..).zip(data.split(|byte| *byte == 0xff)) {
        if let Ok(entry) = decode(piece) {
            entry.into_iter().for_each(|record: Record| index.apply(sequence, record, &mut ()));
        }
    }
    index.restored();
}
