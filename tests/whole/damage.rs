//! What happens when the disk lies: a byte flipped in a letter, a slots copy, the journal or the cache; two
//! letters swapped; the cache gone; everything gone but `mailboxes/` and `letters/`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tests::{House, Imap, Mailbox, Setup, Smtp, smtp};

fn house_with(letters: usize) -> House {
    let house = House::start(Setup { arguments: vec!["--clear-text".into(), "*".into()], ..Setup::default() });
    let mut client = Smtp::connect(house.address("smtp")).unwrap();
    for number in 0..letters {
        let letter = smtp::letter(&format!("letter-{number}"), 6_000);
        assert_eq!(client.send("aunt@example.org", &["you@home.test"], &letter).unwrap().0, 250);
    }
    house
}

/// All files below a folder of the spool.
fn files(house: &House, below: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![house.data().join("spool").join(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() { folders.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found.sort();
    found
}

fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 0x20;
    fs::write(file, bytes).unwrap();
}

fn findings(house: &House, arguments: &[&str]) -> Vec<String> {
    let output = house.admin(&[&["spool", "check"], arguments].concat(), "");
    let value: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let list = value["findings"].as_array().unwrap_or_else(|| panic!("no findings in {value}"));
    list.iter().map(ToString::to_string).collect()
}

fn open(house: &House, mailbox: &Mailbox, folder: &str) -> Imap {
    let mut imap = Imap::login(house, &mailbox.address, &mailbox.password).unwrap();
    let answer = imap.ask(&format!("SELECT {folder}")).unwrap();
    assert!(answer.ok(), "{answer:?}");
    imap
}

#[test]
fn a_flipped_byte_in_a_letter_is_told_and_never_served() {
    let mut house = house_with(3);
    house.stop();
    let letters = files(&house, "letters");
    assert_eq!(letters.len(), 3);
    flip(&letters[1], 3_000);
    house.start_again();
    let found = findings(&house, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    let name = letters[1].file_name().unwrap().to_str().unwrap();
    assert!(found[0].contains(name), "{found:?}");
    let mut imap = open(&house, house.you(), "INBOX");
    let answer = imap.ask("FETCH 1:3 (BODY.PEEK[])").unwrap();
    let whole = answer.untagged.iter().filter(|line| String::from_utf8_lossy(line).contains("goes home again")).count();
    assert_eq!(whole, 2, "only the two whole letters are served: {}", answer.tagged);
}

#[test]
fn two_letters_swapped_are_noticed() {
    let mut house = house_with(2);
    house.stop();
    let letters = files(&house, "letters");
    let (one, two) = (fs::read(&letters[0]).unwrap(), fs::read(&letters[1]).unwrap());
    fs::write(&letters[0], two).unwrap();
    fs::write(&letters[1], one).unwrap();
    house.start_again();
    let mut imap = open(&house, house.you(), "INBOX");
    let answer = imap.ask("FETCH 1:2 (BODY.PEEK[])").unwrap();
    assert!(!answer.text().contains("goes home again"), "a swapped letter was served: {}", answer.tagged);
    assert_eq!(findings(&house, &[]).len(), 2);
}

#[test]
fn one_damaged_copy_of_the_slots_is_told_and_mended() {
    let mut house = house_with(1);
    house.stop();
    let slots = files(&house, "mailboxes").into_iter().find(|file| file.file_name().unwrap() == "slots").unwrap();
    flip(&slots, 200);
    house.start_again();
    assert!(open(&house, house.you(), "INBOX").ask("NOOP").unwrap().ok(), "the other copy still opens");
    house.logs("slots file is damaged");
    let _ = findings(&house, &["--repair"]);
    assert_eq!(findings(&house, &[]), Vec::<String>::new(), "not mended");
}

#[test]
fn a_damaged_journal_still_gives_every_letter_to_its_owner() {
    let mut house = house_with(4);
    house.stop();
    for segment in files(&house, "journal") {
        let length = fs::metadata(&segment).unwrap().len();
        flip(&segment, usize::try_from(length / 2).unwrap());
    }
    house.start_again();
    let mut imap = Imap::login(&house, &house.you().address, &house.you().password).unwrap();
    let mut found = 0;
    for folder in ["INBOX", "Recovered"] {
        if imap.ask(&format!("SELECT {folder}")).unwrap().ok() {
            let answer = imap.ask("FETCH 1:* (BODY.PEEK[])").unwrap();
            found += answer.untagged.iter().filter(|line| String::from_utf8_lossy(line).contains("goes home")).count();
        }
    }
    assert_eq!(found, 4, "{}", house.log());
    house.logs("journal");
}

/// What `doctor` says of what is stored.
fn stored(house: &House) -> Vec<String> {
    let output = house.admin(&["doctor"], "");
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = value["findings"].as_array().unwrap().iter();
    let told = list.filter(|found| found["about"] == "stored mail");
    told.filter(|found| found["state"] == "bad").map(|found| found["found"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn looking_at_a_stopped_box_changes_nothing_and_damage_is_told_until_it_is_acknowledged() {
    let mut house = house_with(4);
    house.stop();
    let segment = files(&house, "journal").remove(0);
    let length = fs::metadata(&segment).unwrap().len();
    flip(&segment, usize::try_from(length).unwrap() - 700);
    let all = |house: &House| -> Vec<_> {
        files(house, "").into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
    };
    let before = all(&house);
    let found = findings(&house, &[]);
    assert!(found.iter().any(|found| found.contains("journal/")), "{found:?}");
    assert_eq!(findings(&house, &[]), found);
    assert!(all(&house) == before, "a file was changed");
    let output = house.admin(&["spool", "check"], "");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "told twice");
    house.start_again();
    house.stop();
    house.start_again();
    assert!(stored(&house).iter().any(|told| told.contains("journal")), "doctor does not tell");
    assert!(!findings(&house, &["--repair"]).is_empty());
    assert_eq!(findings(&house, &[]), Vec::<String>::new());
    assert_eq!(stored(&house), Vec::<String>::new());
}

#[test]
fn doctor_tells_a_full_mailbox() {
    let house = house_with(1);
    assert_eq!(stored(&house), Vec::<String>::new());
    let _ = house.admin_json(&["quota", "you", "10KB"], "");
    let told = stored(&house);
    assert!(told.len() == 1 && told[0].contains("you@home.test is full"), "{told:?}");
}

/// As a backup puts it back, or an experiment leaves it behind.
#[test]
fn what_stands_open_is_closed_or_told() {
    let mut house = house_with(1);
    house.stop();
    let key = house.data().join("box.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(house.data(), fs::Permissions::from_mode(0o777)).unwrap();
    house.start_again();
    house.logs("could be read by other users of this machine: it is closed to them now");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    house.logs("`clear-text` permits mail without encryption");
    let doctor = String::from_utf8(house.admin(&["doctor"], "").stdout).unwrap();
    assert!(doctor.contains("chmod go-w") && doctor.contains("--clear-text"), "{doctor}");
}

#[test]
fn what_lies_in_place_of_a_folder_or_a_file_is_told_by_its_name() {
    let mut house = house_with(1);
    house.stop();
    let (letters, elsewhere) = (house.data().join("spool/letters"), house.data().join("elsewhere"));
    fs::rename(&letters, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &letters).unwrap();
    let refused = house.admin(&["mailbox", "list"], "");
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(78) && words.contains("spool/letters is no folder"), "{refused:?}");
    fs::remove_file(&letters).unwrap();
    fs::rename(&elsewhere, &letters).unwrap();
    let lock = house.data().join("spool/lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    let refused = house.admin(&["mailbox", "list"], "");
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(78) && words.contains("spool/lock is no file"), "{refused:?}");
    fs::remove_dir(&lock).unwrap();
    house.start_again();
    assert_eq!(findings(&house, &[]), Vec::<String>::new());
}

#[test]
fn the_cache_may_be_damaged_or_vanish() {
    let mut house = house_with(5);
    let list = "FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE)";
    // The first session alone sees \\Recent.
    assert!(open(&house, house.you(), "INBOX").ask(list).unwrap().ok());
    let before = open(&house, house.you(), "INBOX").ask(list).unwrap();
    assert!(before.ok());
    house.stop();
    for file in files(&house, "cache") {
        if fs::metadata(&file).unwrap().len() > 0 {
            flip(&file, 5_000);
        }
    }
    house.start_again();
    assert_eq!(open(&house, house.you(), "INBOX").ask(list).unwrap().untagged, before.untagged);
    house.logs("cache of summaries");
    house.stop();
    let _ = fs::remove_dir_all(house.data().join("spool/cache"));
    house.start_again();
    assert_eq!(open(&house, house.you(), "INBOX").ask(list).unwrap().untagged, before.untagged);
    assert_eq!(findings(&house, &[]), Vec::<String>::new());
}

/// The journal is gone, the box key is there: whose addresses there were nobody can say, so nobody is told that there are none.
#[test]
fn without_its_journal_a_house_asks_strangers_to_come_again() {
    let mut house = house_with(2);
    house.stop();
    for file in files(&house, "journal") {
        fs::remove_file(file).unwrap();
    }
    house.start_again();
    let send = |house: &House, to: &str| {
        let mut client = Smtp::connect(house.address("smtp")).unwrap();
        client.send("aunt@example.org", &[to], &smtp::letter("meanwhile", 1_000)).unwrap().0
    };
    assert_eq!(["you@home.test", "nobody@home.test"].map(|to| send(&house, to)), [451, 451]);
    let doctor = house.admin(&["doctor"], "");
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("the journal does not know 1 mailbox"), "{doctor:?}");
    let listed = house.admin(&["mailbox", "list"], "");
    assert!(listed.status.success(), "{listed:?}");
    // Whoever makes a new one in its place is told what to do.
    let _ = house.admin_json(&["mailbox", "add", "you"], "");
    let words = house.you().words.join(" ") + "\n";
    let output = house.admin(&["recover", "--words-stdin"], &words);
    assert!(String::from_utf8_lossy(&output.stderr).contains("postern mailbox remove you@home.test"), "{output:?}");
    let _ = house.admin_json(&["mailbox", "remove", "you", "--yes"], "");
    let output = house.admin(&["recover", "--words-stdin"], &words);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(["you@home.test", "nobody@home.test"].map(|to| send(&house, to)), [250, 550]);
}

#[test]
fn twelve_words_give_everything_back_from_mailboxes_and_letters_alone() {
    let mut house = house_with(6);
    let anna = house.add_mailbox("anna");
    let _ = house.admin_json(&["alias", "add", "parents", "you"], "");
    let mut client = Smtp::connect(house.address("smtp")).unwrap();
    let secret = smtp::letter("for-anna", 3_000);
    assert_eq!(client.send("aunt@example.org", &["anna@home.test"], &secret).unwrap().0, 250);
    drop(client);
    house.stop();
    let data = house.data().to_owned();
    for entry in fs::read_dir(&data).unwrap().flatten().filter(|entry| entry.file_name() != "spool") {
        if entry.path().is_dir() {
            fs::remove_dir_all(entry.path()).unwrap()
        } else {
            fs::remove_file(entry.path()).unwrap()
        }
    }
    for entry in fs::read_dir(data.join("spool")).unwrap().flatten() {
        if entry.file_name() != "mailboxes" && entry.file_name() != "letters" {
            if entry.path().is_dir() {
                fs::remove_dir_all(entry.path()).unwrap()
            } else {
                fs::remove_file(entry.path()).unwrap()
            }
        }
    }
    let nothing = house.admin(
        &["recover", "--words-stdin"],
        "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about\n",
    );
    assert!(!nothing.status.success(), "words of nobody recovered something: {nothing:?}");
    let words = house.you().words.join(" ") + "\n";
    let output = house.admin(&["recover", "--words-stdin"], &words);
    assert!(output.status.success(), "{output:?}");
    house.start_again();
    let mut imap = Imap::login(&house, &house.you().address, &house.you().password).unwrap();
    let mut found = 0;
    for folder in ["INBOX", "Recovered"] {
        if imap.ask(&format!("SELECT {folder}")).unwrap().ok() {
            let answer = imap.ask("FETCH 1:* (BODY.PEEK[])").unwrap();
            found += answer.untagged.iter().filter(|line| String::from_utf8_lossy(line).contains("goes home")).count();
        }
    }
    assert_eq!(found, 6);
    assert!(Imap::login(&house, &anna.address, &anna.password).is_err(), "anna's words were not given");
    let mut client = Smtp::connect(house.address("smtp")).unwrap();
    assert_eq!(client.send("aunt@example.org", &["you@home.test"], &smtp::letter("after", 3_000)).unwrap().0, 250);
    let output = house.admin(&["recover", "--words-stdin"], &(anna.words.join(" ") + "\n"));
    assert!(output.status.success(), "{output:?}");
    let mut imap = Imap::login(&house, &anna.address, &anna.password).unwrap();
    let found: usize =
        ["INBOX", "Recovered"].iter().filter(|folder| imap.ask(&format!("SELECT {folder}")).unwrap().ok()).count();
    assert!(found >= 1);
}
