//! Slots files: every way in opens, nothing else does, and nothing that happens to a file goes unnoticed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use spool::disk::{Disk, Faults};
use spool::keys::{ChosenPassword, DevicePassword, HouseholdKey, Identities, Kind};
use spool::names::{MailboxId, SlotId};
use spool::slots::{
    COPIES, Facts, Made, NewMailbox, Purpose, SlotsError, SlotsFile, fake_fields, load, open_admitted, store,
};
use wire::scram;

const MAILBOX: MailboxId = MailboxId(0x0123_4567_89ab_cdef);
const NOW: i64 = 1_700_000_000;

fn made() -> Made {
    let new = NewMailbox {
        address: "anna@home.test",
        display_name: "Anna Aardvark",
        quota: Some(5_000_000_000),
        device: "Anna's phone",
    };
    SlotsFile::new_mailbox(MAILBOX, &new, NOW).unwrap()
}

fn again(slots: &SlotsFile) -> SlotsFile {
    SlotsFile::decode(&slots.encode().unwrap()).unwrap()
}

fn newest(identities: &Identities) -> String {
    identities.newest().public().to_string()
}

/// What a SASL side does with fields, then what the keeper and the login process do.
fn log_in(slots: &SlotsFile, purpose: Purpose, password: &DevicePassword) -> Option<(SlotId, Option<Identities>)> {
    let fields = slots.login_fields(purpose);
    let salted = scram::salted_password(password.as_str().as_bytes(), &fields.salt, fields.iterations);
    let client = scram::client_key(&salted);
    let device = fields.devices.iter().find(|device| device.stored_key == scram::stored_key(&client))?;
    assert_eq!(device.server_key, scram::server_key(&salted));
    let admitted = slots.admit(purpose, device.device, &scram::check(&client))?;
    let identities = admitted.wrapped.is_some().then(|| open_admitted(&admitted, &scram::wrap(&client)).unwrap());
    Some((device.device, identities))
}

#[test]
fn every_way_in_opens() {
    let mut made = made();
    let house = HouseholdKey::generate().unwrap();
    made.slots.enable_household_key(&made.identities, house.public(), NOW).unwrap();
    let chosen = ChosenPassword::new("correct horse battery").unwrap();
    made.slots.set_chosen_password(&made.identities, &chosen, NOW).unwrap();
    let file = again(&made.slots);
    assert!(file.has_household_key());

    for (secret, kind) in [
        (made.device_password.as_str().to_owned(), Kind::Device),
        (made.device_password.as_str().to_uppercase().replace('-', ""), Kind::Device),
        (made.words.list().join(" "), Kind::Words),
        (made.words.list().join(", ").to_uppercase(), Kind::Words),
        (house.to_text().to_string(), Kind::Household),
        (house.to_text().to_lowercase(), Kind::Household),
        ("  correct horse battery\n".to_owned(), Kind::Chosen),
    ] {
        let unlocked = file.unlock(&secret).unwrap();
        assert_eq!(unlocked.kind, kind, "{secret}");
        assert_eq!(newest(&unlocked.identities), file.public().to_string());
        assert!(unlocked.strangers.is_empty());
    }
}

#[test]
fn what_opens_nothing_says_so() {
    let (file, other) = (made().slots, made());
    for secret in ["", "x", "correct horse battery", &"a".repeat(100_000), other.device_password.as_str()] {
        assert!(matches!(file.unlock(secret), Err(SlotsError::OpensNothing)), "{secret:.40}");
    }
    assert!(matches!(file.unlock(&other.words.list().join(" ")), Err(SlotsError::OpensNothing)));
    let house = HouseholdKey::generate().unwrap();
    assert!(matches!(file.unlock(&house.to_text()), Err(SlotsError::OpensNothing)));
    assert!(matches!(file.unlock("AGE-SECRET-KEY-1QQQQ"), Err(SlotsError::Mistyped(_))));
    assert!(matches!(file.unlock("abcde-fghjk-mnpqr-stuvw-xyzab"), Err(SlotsError::Mistyped(_))));
    let swapped = "winner legal thank year wave sausage worth useful legal winner thank yellow";
    assert!(matches!(file.unlock(swapped), Err(SlotsError::Mistyped(_))));
}

#[test]
fn a_device_logs_in_for_both_purposes_and_only_imap_opens() {
    let made = made();
    let file = again(&made.slots);
    let (device, identities) = log_in(&file, Purpose::Imap, &made.device_password).unwrap();
    assert_eq!(device, made.device);
    assert_eq!(newest(&identities.unwrap()), file.public().to_string());
    let (device, identities) = log_in(&file, Purpose::Submission, &made.device_password).unwrap();
    assert_eq!((device, identities.is_none()), (made.device, true));

    let stranger = DevicePassword::generate().unwrap();
    assert!(log_in(&file, Purpose::Imap, &stranger).is_none());
    assert!(file.admit(Purpose::Imap, device, &[0; 32]).is_none());
    assert!(file.admit(Purpose::Imap, SlotId(99), &[0; 32]).is_none());
    // The words' slot is no device.
    assert!(file.admit(Purpose::Imap, SlotId(2), &[0; 32]).is_none());
}

#[test]
fn what_submission_sees_opens_nothing() {
    let made = made();
    let (imap, submission) = (made.slots.login_fields(Purpose::Imap), made.slots.login_fields(Purpose::Submission));
    assert_ne!(imap.salt, submission.salt);
    let client = |salt: &[u8; 16]| {
        scram::client_key(&scram::salted_password(made.device_password.as_str().as_bytes(), salt, imap.iterations))
    };
    let seen = client(&submission.salt);
    assert!(made.slots.admit(Purpose::Imap, made.device, &scram::check(&seen)).is_none());
    let admitted = made.slots.admit(Purpose::Imap, made.device, &scram::check(&client(&imap.salt))).unwrap();
    assert!(open_admitted(&admitted, &scram::wrap(&seen)).is_err());
    let none = made.slots.admit(Purpose::Submission, made.device, &scram::check(&seen)).unwrap();
    assert!(none.wrapped.is_none() && none.earlier.is_empty());
}

#[test]
fn a_dropped_device_opens_nothing_and_the_last_way_in_stays() {
    let mut made = made();
    let (second, password) = made.slots.add_device(&made.identities, NOW).unwrap();
    let mut file = again(&made.slots);
    file.drop_slot(made.device).unwrap();
    assert!(log_in(&file, Purpose::Imap, &made.device_password).is_none());
    assert!(matches!(file.unlock(made.device_password.as_str()), Err(SlotsError::OpensNothing)));
    assert!(log_in(&file, Purpose::Imap, &password).is_some());
    assert!(matches!(file.drop_slot(made.device), Err(SlotsError::NoSuchSlot)));
    file.drop_slot(second).unwrap();
    assert!(matches!(file.drop_slot(SlotId(2)), Err(SlotsError::LastSlot)));
    // Numbers are not used again.
    let unlocked = file.unlock(&made.words.list().join(" ")).unwrap();
    assert_eq!(file.add_device(&unlocked.identities, NOW).unwrap().0, SlotId(4));
}

#[test]
fn a_rekey_keeps_every_way_in_and_every_old_identity() {
    let mut made = made();
    let (_, second) = made.slots.add_device(&made.identities, NOW).unwrap();
    let house = HouseholdKey::generate().unwrap();
    made.slots.enable_household_key(&made.identities, house.public(), NOW).unwrap();
    let old = made.slots.clone();
    let firsts = [newest(&made.identities)];

    let mut file = again(&made.slots);
    file.drop_slot(made.device).unwrap();
    let mut unlocked = file.unlock(&made.words.list().join(" ")).unwrap();
    let mut all = firsts.to_vec();
    for generation in 2..=4 {
        assert!(file.rekey(&mut unlocked.identities).unwrap().is_empty());
        assert_eq!(file.generation(), generation);
        all.insert(0, newest(&unlocked.identities));
    }
    let file = again(&file);
    let facts = file.facts(&unlocked.identities).unwrap();
    assert_eq!((facts.display_name.as_str(), facts.quota), ("Anna Aardvark", Some(5_000_000_000)));

    for secret in [second.as_str(), &made.words.list().join(" "), &house.to_text()] {
        let opened = file.unlock(secret).unwrap().identities;
        let publics: Vec<_> = opened.iter().map(|(_, identity)| identity.public().to_string()).collect();
        assert_eq!(publics, all);
        assert_eq!(opened.of(1).unwrap().public().to_string(), firsts[0]);
        assert!(opened.of(0).is_none() && opened.of(5).is_none());
        let carried = Identities::from_bytes(&opened.to_bytes()).unwrap();
        assert_eq!(newest(&carried), all[0]);
        assert_eq!((carried.generation(), carried.mailbox()), (4, MAILBOX));
    }
    let (_, opened) = log_in(&file, Purpose::Imap, &second).unwrap();
    assert_eq!(opened.unwrap().iter().count(), 4);

    // The lost device with an old copy of the file has the old identity, and nothing that leads to the new one.
    let thief = old.unlock(made.device_password.as_str()).unwrap();
    assert_eq!(newest(&thief.identities), firsts[0]);
    assert!(matches!(file.clone().add_device(&thief.identities, NOW), Err(SlotsError::NotOpen)));
    assert!(matches!(file.facts(&thief.identities), Err(SlotsError::NotOpen)));
}

#[test]
fn a_slot_that_a_thief_has_written_is_told_and_never_gets_a_newer_identity() {
    // The thief can make a whole file for this mailbox's number, with a slot of his own, but not the tags.
    let (made, thief) = (made(), made());
    let (ours, his) = (made.slots.encode().unwrap(), thief.slots.encode().unwrap());
    // The device's slot begins behind 8+1+8+8+4+4+32+4+16+16 fields, 32 tag, 1 count.
    let from = 134;
    let length = |file: &[u8]| {
        let wrapped = usize::from(u16::from_le_bytes([file[from + 45], file[from + 46]]));
        from..from + 47 + wrapped + 192 + 32
    };
    let mut forged = ours[..from].to_vec();
    forged.extend_from_slice(&his[length(&his)]);
    forged.extend_from_slice(&ours[length(&ours).end..ours.len() - 32]);
    let hash = scram::sha256(&forged);
    forged.extend_from_slice(&hash);
    let mut file = SlotsFile::decode(&forged).unwrap();

    let mut unlocked = file.unlock(&made.words.list().join(" ")).unwrap();
    assert_eq!(unlocked.strangers, [made.device]);
    assert_eq!(file.rekey(&mut unlocked.identities).unwrap(), [made.device]);
    assert!(matches!(file.unlock(thief.device_password.as_str()), Err(SlotsError::OpensNothing)));
    assert!(file.unlock(&made.words.list().join(" ")).unwrap().strangers.is_empty());
}

#[test]
fn nothing_speaks_in_clear() {
    let made = made();
    let bytes = made.slots.encode().unwrap();
    let words = made.words.list();
    let secret = made.identities.newest().to_bytes();
    for phrase in [b"anna".as_slice(), b"Anna", b"home.test", b"Aardvark", b"phone", secret, words[0].as_bytes()] {
        assert!(!bytes.windows(phrase.len()).any(|window| window == phrase), "{phrase:?}");
    }
    assert!(!bytes.windows(5).any(|window| window == &made.device_password.as_str().as_bytes()[..5]));
    assert!(!format!("{made:?}").contains(made.device_password.as_str()));
}

#[test]
fn every_flipped_bit_is_found_without_a_secret() {
    let bytes = made().slots.encode().unwrap();
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << bit;
            assert!(SlotsFile::decode(&flipped).is_err(), "bit {bit} of byte {place}");
        }
        assert!(SlotsFile::decode(&bytes[..place]).is_err());
    }
}

#[test]
fn facts_are_remade_with_the_public_key_alone() {
    let made = made();
    let mut file = again(&made.slots);
    let facts = Facts {
        addresses: (0..30).map(|n| format!("{n}-{}@home.test", "x".repeat(200))).collect(),
        display_name: "Ännå".to_owned(),
        quota: None,
        devices: vec![(made.device, "new phone".to_owned())],
    };
    file.set_facts(&facts).unwrap();
    assert_eq!(file.revision(), made.slots.revision() + 1);
    file.set_facts(&facts).unwrap();
    assert_eq!(file.revision(), made.slots.revision() + 1, "one more than what was read, not one a call");
    assert_eq!(again(&file).facts(&made.identities).unwrap(), facts);
    let too_many = Facts { addresses: vec!["a@b".to_owned(); 65], ..facts.clone() };
    assert!(matches!(file.set_facts(&too_many), Err(SlotsError::TooMany(_))));
    let too_long = Facts { addresses: vec!["a".repeat(320); 64], ..facts };
    assert!(matches!(file.set_facts(&too_long), Err(SlotsError::TooMany(_))));
}

#[test]
fn who_has_all_devices_that_may_be_is_told_what_to_do() {
    let made = made();
    let mut file = made.slots;
    let mut more = (1..40).map(|_| file.add_device(&made.identities, 0));
    let refused = more.find_map(Result::err).unwrap().to_string();
    assert!(refused.contains("32 devices") && refused.contains("revoke"), "{refused}");
}

#[test]
fn the_fullest_file_fits_a_packet() {
    let mut made = made();
    let mut names = vec![(made.device, "n".repeat(64))];
    while let Ok((device, _)) = made.slots.add_device(&made.identities, NOW) {
        names.push((device, "n".repeat(64)));
    }
    assert_eq!(names.len(), 32);
    let house = HouseholdKey::generate().unwrap();
    made.slots.enable_household_key(&made.identities, house.public(), NOW).unwrap();
    let addresses = vec!["a".repeat(320); 33];
    let facts = Facts { addresses, display_name: "d".repeat(256), quota: Some(1), devices: names };
    made.slots.set_facts(&facts).unwrap();
    while made.slots.rekey(&mut made.identities).is_ok() {}
    assert_eq!(made.slots.generation(), 100);
    let bytes = made.slots.encode().unwrap();
    assert!(bytes.len() < 56 * 1024, "{}", bytes.len());
    let opened = again(&made.slots).unlock(&made.words.list().join(" ")).unwrap();
    assert_eq!(opened.identities.iter().count(), 100);
}

#[test]
fn unknown_names_look_like_known_ones() {
    let secret = [9; 32];
    let known = made().slots.login_fields(Purpose::Imap);
    let fake = fake_fields(&secret, Purpose::Imap, "nobody@home.test");
    assert_eq!(fake, fake_fields(&secret, Purpose::Imap, "NOBODY@home.test"));
    assert_eq!(fake.iterations, known.iterations);
    assert!((1..=3).contains(&fake.devices.len()));
    assert_eq!(fake.devices[0].device, SlotId(1));
    assert_ne!(fake.salt, fake_fields(&secret, Purpose::Submission, "nobody@home.test").salt);
    assert_ne!(fake.salt, fake_fields(&[8; 32], Purpose::Imap, "nobody@home.test").salt);
    assert_ne!(fake.salt, fake_fields(&secret, Purpose::Imap, "anybody@home.test").salt);
}

#[test]
fn at_every_instant_one_whole_copy_lies_on_disk() {
    let folder = std::env::temp_dir().join(format!("postern-slots-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let mut made = made();
    let counter = Faults::none();
    store(&Disk::faulty(counter.clone()), &folder, &mut made.slots).unwrap();
    assert!(counter.steps() >= 10, "{}", counter.steps());
    for failing in 1..=counter.steps() {
        for crash in [true, false] {
            let faults = if crash { Faults::crash(failing) } else { Faults::once(failing, rustix::io::Errno::NOSPC) };
            let mut file = load(&folder, MAILBOX).unwrap().slots;
            let (before, mark) = (file.revision(), format!("{failing} {crash}"));
            file.set_facts(&Facts { display_name: mark.clone(), ..Facts::default() }).unwrap();
            store(&Disk::faulty(faults), &folder, &mut file).unwrap_err();
            let mut loaded = load(&folder, MAILBOX).unwrap();
            let now = loaded.slots.revision();
            assert!(now == before || now == before + 1, "step {failing}: {before} became {now}");
            let unlocked = loaded.slots.unlock(made.device_password.as_str()).unwrap();
            let name = loaded.slots.facts(&unlocked.identities).unwrap().display_name;
            assert_eq!(name == mark, now == before + 1, "step {failing}: what was written is what the revision says");
            loaded.repair(&Disk::default(), &folder).unwrap();
            assert!(load(&folder, MAILBOX).unwrap().faults.is_empty());
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_damaged_copy_is_told_and_mended_from_the_other() {
    let folder = std::env::temp_dir().join(format!("postern-copies-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (disk, mut made) = (Disk::default(), made());
    store(&disk, &folder, &mut made.slots).unwrap();
    for name in COPIES {
        let path = folder.join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[200] ^= 4;
        std::fs::write(&path, &bytes).unwrap();
        let mut loaded = load(&folder, MAILBOX).unwrap();
        assert_eq!(loaded.faults.len(), 1);
        assert_eq!(loaded.faults[0].0, name);
        loaded.repair(&disk, &folder).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(load(&folder, MAILBOX).unwrap().faults[0].0, name);
        loaded.repair(&disk, &folder).unwrap();
        assert!(load(&folder, MAILBOX).unwrap().faults.is_empty());
    }
    assert!(matches!(load(&folder, MailboxId(1)), Err(SlotsError::Damaged(_))));
    COPIES.iter().for_each(|name| std::fs::write(folder.join(name), b"").unwrap());
    assert!(matches!(load(&folder, MAILBOX), Err(SlotsError::Damaged(_))));
    COPIES.iter().for_each(|name| std::fs::remove_file(folder.join(name)).unwrap());
    assert!(matches!(load(&folder, MAILBOX), Err(SlotsError::Io(_))));
    std::fs::remove_dir_all(&folder).unwrap();
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert!(SlotsFile::decode(&bytes).is_err());
        prop_assert!(Identities::from_bytes(&bytes).is_err());
        // With its hash right, parsing goes on behind it.
        let mut hashed = b"PSTNSLOT\x01".to_vec();
        hashed.extend_from_slice(&bytes);
        hashed.extend_from_slice(&scram::sha256(&hashed.clone()));
        let _ = SlotsFile::decode(&hashed);
    }

    #[test]
    fn arbitrary_secrets_never_panic(secret in ".{0,60}") {
        thread_local!(static FILE: SlotsFile = made().slots);
        prop_assert!(FILE.with(|file| file.unlock(&secret)).is_err());
    }
}

/// Any one byte of a real file changed and the hash made right again: never a panic, and if it still reads and
/// opens, then either nothing that matters changed or the change is told.
#[test]
fn a_thief_who_mends_the_hash_is_told_by_the_tags() {
    let made = made();
    let bytes = made.slots.encode().unwrap();
    let (words, sealed_from) = (made.words.list().join(" "), bytes.len() - 32);
    let mut noticed = 0;
    for place in (0..sealed_from).step_by(3) {
        let mut forged = bytes[..sealed_from].to_vec();
        forged[place] ^= 0x10;
        forged.extend_from_slice(&scram::sha256(&forged.clone()));
        let Ok(file) = SlotsFile::decode(&forged) else {
            noticed += 1;
            continue;
        };
        match file.unlock(&words) {
            Ok(unlocked) if unlocked.strangers.is_empty() => {
                // Only the revision and the sealed part are open to the keeper, so to a thief.
                let revision = (17..25).contains(&place);
                assert!(revision || file.facts(&unlocked.identities).is_err(), "byte {place}");
            }
            _ => noticed += 1,
        }
    }
    assert!(noticed > 300, "{noticed}");
}
