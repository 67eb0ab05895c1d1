//! An older program on a newer one's mail: every command refuses in words, and no byte of the data folder changes. The
//! older one is this one; the newer is simulated by a format that this one does not know.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Exit code of a program that is not the one for this mail.
const CONFIGURATION: i32 = 78;

struct Folder(PathBuf);

impl Folder {
    /// With a mailbox in it.
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("postern-newer-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        let folder = Self(path);
        let made = folder.run(&["mailbox", "add", "anna"]);
        assert!(made.status.success(), "{made:?}");
        folder
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
        command.args(words).args(["--json", "--data"]).arg(&self.0).stdin(Stdio::null()).output().unwrap()
    }

    /// Every entry: whose it is, when it was last written, what is in it.
    fn picture(&self) -> BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)> {
        let mut picture = BTreeMap::new();
        below(&self.0, &mut picture);
        picture
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn below(folder: &Path, picture: &mut BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let facts = fs::symlink_metadata(&path).unwrap();
        let bytes = if facts.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        picture.insert(path.clone(), (facts.uid(), facts.mtime(), facts.mtime_nsec(), bytes));
        if facts.is_dir() {
            below(&path, picture);
        }
    }
}

const COMMANDS: [&[&str]; 9] = [
    &["up", "--bind", "127.0.0.1", "--port-offset", "23000"],
    &["mailbox", "list"],
    &["mailbox", "add", "ben"],
    &["device", "list", "anna"],
    &["queue", "list"],
    &["spool", "check"],
    &["spool", "check", "--repair"],
    &["recover", "--words-stdin"],
    &["doctor"],
];

#[test]
fn every_command_refuses_and_changes_nothing() {
    let folder = Folder::new("format");
    let format = folder.0.join("spool/format");
    fs::write(&format, "postern spool, format 7\nneeds postern 3.1.0 or later\n").unwrap();
    let before = folder.picture();
    for command in COMMANDS {
        let refused = folder.run(command);
        let words = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(CONFIGURATION), "{command:?}: {words}");
        assert!(refused.stdout.is_empty(), "{command:?}: {refused:?}");
        for part in ["newer Postern", "version 3.1.0 or later", "nothing was changed"] {
            assert!(words.contains(part), "{command:?}: {words}");
        }
        assert!(folder.picture() == before, "{command:?} changed something");
    }
    fs::write(format, "postern spool, format 2\nneeds postern 0.1.0 or later\n").unwrap();
    assert!(folder.run(&["mailbox", "list"]).status.success());
}

/// A newer one that did not say so where it should: the keeper meets what it wrote. `up` does not try again and again.
#[test]
fn up_ends_when_its_keeper_refuses() {
    let folder = Folder::new("journal");
    let journal = folder.0.join("spool/journal");
    let mut numbers: Vec<_> = fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    numbers.retain(|name| name.len() == 16);
    let last = numbers.iter().max().unwrap();
    let number = u64::from_str_radix(last.to_str().unwrap(), 16).unwrap() + 1;
    let later = spool::journal::segment::header(spool::journal::segment::Kind::Log, number, &[3; 32]);
    let path = journal.join(format!("{number:016x}"));
    fs::write(&path, later).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 200;
    fs::write(&path, &bytes).unwrap();
    // It binds first, and the other test may be about to.
    let up: &[&str] = &["up", "--bind", "127.0.0.1", "--port-offset", "24000"];
    for command in [up, COMMANDS[1], COMMANDS[5]] {
        let refused = folder.run(command);
        let words = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(CONFIGURATION), "{command:?}: {words}");
        assert!(words.contains("version 200") && words.contains("newer Postern"), "{command:?}: {words}");
    }
    assert_eq!(fs::read(path).unwrap(), bytes);
}
