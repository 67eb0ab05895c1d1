//! The admin's commands without a running box: the shapes of their JSON, and their exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("postern-commands-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn run(&self, words: &[&str], input: &str) -> Output {
        self.run_into(Stdio::piped(), &[words, &["--json"]].concat(), input)
    }

    fn run_into(&self, out: Stdio, words: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_postern"))
            .args(words)
            .arg("--data")
            .arg(&self.0)
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that refuses reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn json(&self, words: &[&str], input: &str) -> Value {
        let output = self.run(words, input);
        assert!(output.status.success(), "{words:?}: {output:?}");
        assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 1, "one line: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn refused(&self, words: &[&str], input: &str, code: i32) -> String {
        let output = self.run(words, input);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn words_of(mailbox: &Value) -> String {
    let words = mailbox["recovery_words"].as_array().unwrap();
    words.iter().map(|word| word.as_str().unwrap()).collect::<Vec<_>>().join(" ") + "\n"
}

#[test]
fn what_goes_with_a_mailbox_is_told() {
    let house = Folder::new("goes-with");
    for name in ["anna", "bob"] {
        house.json(&["mailbox", "add", name], "");
    }
    for (alias, to) in [("postmaster", "anna"), ("family", "anna"), ("family", "bob"), ("club", "anna")] {
        house.json(&["alias", "add", alias, to], "");
    }
    house.json(&["alias", "add", "club", "chair@club.example"], "");
    let said = house.json(&["mailbox", "remove", "anna"], "");
    assert_eq!(said, json!({"address": "anna@home.test", "aliases": ["postmaster@home.test"]}));
    let left = house.json(&["alias", "list"], "");
    let left: Vec<_> = left.as_array().unwrap().iter().map(|one| one["alias"].as_str().unwrap()).collect();
    assert_eq!(left, ["club@home.test", "family@home.test"]);
    house.json(&["alias", "add", "postmaster", "bob"], "");
    let output = house.run_into(Stdio::piped(), &["mailbox", "remove", "bob"], "");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("family@home.test, postmaster@home.test") && said.contains("oldest mailbox"), "{said}");
}

#[test]
fn others_may_write_nothing_whatever_the_shell_permits() {
    let house = Folder::new("umask");
    let commands = r#"umask 0; "$1" mailbox add anna --data . --json"#;
    let shell = Command::new("sh")
        .args(["-c", commands, "sh", env!("CARGO_BIN_EXE_postern")])
        .current_dir(&house.0)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&shell.stdout).contains("recovery_words"), "{shell:?}");
    let mut folders = vec![house.0.clone()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let (path, what) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
            assert!(what.is_symlink() || what.permissions().mode() & 0o022 == 0, "{path:?}: {what:?}");
            seen += 1;
            folders.extend(what.is_dir().then_some(path));
        }
    }
    assert!(seen > 10, "{seen}");
}

/// Where nothing can be said, the exit code says it.
#[test]
fn a_failure_that_nobody_can_be_told_is_no_bug() {
    let house = Folder::new("unheard");
    let full = || Stdio::from(fs::File::options().write(true).open("/dev/full").unwrap());
    let postern = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
        let status =
            command.args(words).args(["--data", "."]).current_dir(&house.0).stdout(full()).stderr(full()).status();
        status.unwrap().code()
    };
    assert_eq!(postern(&["mailbox", "list"]), Some(1));
    assert_eq!(postern(&["up", "--bind", "224.0.0.1"]), Some(1));
}

/// A shell with a terminal of its own (of `bsdutils`, which every Debian has), and what it typed once nothing is shown.
fn at_a_terminal(house: &Folder, commands: &str, variable: &str, typed: &str) -> String {
    let commands = format!(
        r#"hidden() {{ stty -a < /dev/tty | tr ' ;' '\n\n' | grep -qx -- -echo; }}
        told() {{ if hidden; then echo "hidden it is"; else echo "shown it is"; fi; }}
        when_hidden() {{ until hidden; do sleep 0.05; done; "$@"; }}
        {commands}"#
    );
    let mut terminal = Command::new("timeout")
        .args(["60", "script", "-qec", &commands, "/dev/null"])
        .env("SHELL", "/bin/sh")
        .env("SIGNAL", variable)
        .env("POSTERN", env!("CARGO_BIN_EXE_postern"))
        .current_dir(&house.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // An end of it would be typed.
    let mut keys = terminal.stdin.take().unwrap();
    while !typed.is_empty() && !house.0.join("ready").exists() && terminal.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    keys.write_all(typed.as_bytes()).unwrap();
    let output = terminal.wait_with_output().unwrap();
    drop(keys);
    let _ = std::fs::remove_file(house.0.join("ready"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_signal_at_a_prompt_leaves_a_terminal_that_shows_what_is_typed() {
    let house = Folder::new("prompt");
    house.json(&["mailbox", "add", "anna"], "");
    let commands = r#"
        (when_hidden; kill -s "$SIGNAL" "$(cat pid)") &
        sh -c 'echo $$ > pid; exec "$POSTERN" mailbox audit anna --data .'
        echo "it ended with $?"
        told
    "#;
    for (signal, code) in [("TERM", 143), ("HUP", 129), ("INT", 130), ("USR1", 138), ("ALRM", 142), ("RTMIN", 162)] {
        let said = at_a_terminal(&house, commands, signal, "");
        assert!(said.contains("A device password of anna@home.test"), "{said}");
        assert!(said.contains(&format!("it ended with {code}")) && said.contains("shown it is"), "{signal}: {said}");
    }
}

#[test]
fn a_prompt_that_is_stopped_shows_what_is_typed_and_hides_it_when_it_goes_on() {
    let house = Folder::new("stopped");
    house.json(&["mailbox", "add", "anna"], "");
    let commands = r#"
        set -m
        (when_hidden; kill -s TSTP "$(cat pid)") &
        sh -c 'echo $$ > pid; exec "$POSTERN" mailbox audit anna --data .'
        echo "it stopped with $?"
        told
        (when_hidden; kill -s TERM "$(cat pid)") &
        fg %2
        echo "it ended with $?"
        told
    "#;
    let said = at_a_terminal(&house, commands, "", "");
    assert_eq!(said.matches("A device password of anna@home.test").count(), 2, "{said}");
    assert!(said.contains("it stopped with 148") && said.contains("it ended with 143"), "{said}");
    assert_eq!(said.matches("shown it is").count(), 2, "{said}");
}

/// As a paper's reader pastes them: what a shell gets of them it shows, runs, and writes down.
#[test]
fn recovery_words_are_taken_in_the_rows_they_are_printed_in() {
    let house = Folder::new("rows");
    let mailbox = house.json(&["mailbox", "add", "anna"], "");
    let words: Vec<&str> =
        mailbox["recovery_words"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let numbered: Vec<String> = words.iter().enumerate().map(|(n, word)| format!("{:2}. {word:8}", n + 1)).collect();
    let rows: Vec<String> = numbered.chunks(4).map(|row| row.join("  ")).collect();
    let audit = r#"
        (when_hidden; : > ready) &
        "$POSTERN" mailbox audit anna --data .
        echo "it ended with $?"
        timeout --foreground 1 cat
    "#;
    let headed = format!("\nRecovery words:\n\n{}", rows.join("\n"));
    let listed = words.chunks(5).map(|row| row.join(", ")).collect::<Vec<_>>().join(",\n");
    for typed in [rows.join("\n"), rows.join("\n\n"), words.join("\n"), words.join(" "), headed, listed] {
        let said = at_a_terminal(&house, audit, "", &format!("{typed}\necho left over\n"));
        assert!(said.contains("it ended with 0"), "{said}");
        assert!(!said.contains("left over"), "{said}");
    }
    // Of what opens nothing no more is asked for, and nothing of it is left, either.
    let said = at_a_terminal(&house, audit, "", &format!("not-a-secret\n{}\n", rows.join("\n")));
    assert!(said.contains("it ended with 2") && !said.contains(words[11]), "{said}");
    // In rows also where it is no terminal; one word alone is waited upon no longer.
    let printed = rows.join("\n") + "\n";
    house.json(&["device", "add", "anna", "tablet", "--unlock-stdin"], &printed);
    // A device password that is written with blanks is no row of words: nothing more is waited for.
    let blanks = mailbox["device_password"].as_str().unwrap().replace('-', " ");
    house.json(&["device", "add", "anna", "laptop", "--unlock-stdin"], &format!("{blanks}\nnext line\n"));
}

#[test]
fn what_cannot_be_listened_on_is_told_with_what_can() {
    let house = Folder::new("bind");
    for (bind, code, words) in [
        ("localhost", 64, "127.0.0.1"),
        ("127.0.0.1:25", 64, "--port-offset"),
        ("[::1]:25", 64, "--port-offset"),
        ("*", 64, "no --bind"),
        ("mail.example", 64, "in digits"),
        ("224.0.0.1", 1, "a group's address"),
        ("255.255.255.255", 1, "everybody's address"),
        ("0.0.0.1", 1, "no machine can have"),
        ("240.0.0.1", 1, "no machine can have"),
        ("fe80::1", 1, "in one network only"),
        ("192.0.2.7", 1, "this machine has no such address"),
    ] {
        let said = house.refused(&["up", "--port-offset", "31000", "--bind", bind], "", code);
        assert!(said.contains(words), "{bind}: {said}");
    }
}

#[test]
fn a_mailboxs_life() {
    let house = Folder::new("life");
    let anna = house.json(&["mailbox", "add", "Anna", "--name", "Anna Meier", "--quota", "5 GB"], "");
    assert_eq!(anna["address"], "anna@home.test");
    assert_eq!(anna["recovery_words"].as_array().unwrap().len(), 12);
    assert!(house.refused(&["mailbox", "add", "anna"], "", 1).contains("anna@home.test"));

    let list = house.json(&["mailbox", "list"], "");
    assert_eq!(list[0]["address"], "anna@home.test");
    assert_eq!(list[0]["name"], "Anna Meier");
    assert_eq!(list[0]["quota"], 5_000_000_000_u64);
    assert_eq!(list[0]["suspended"], false);

    assert_eq!(
        house.json(&["quota", "anna", "2 GB"], ""),
        json!({"address": "anna@home.test", "used": 0, "limit": 2_000_000_000})
    );
    // As it is typed without quotes.
    assert_eq!(house.json(&["quota", "anna", "1.5", "GB"], "")["limit"], 1_500_000_000_u64);
    assert!(house.refused(&["quota", "anna", "much"], "", 1).contains("is no size"));
    house.json(&["mailbox", "suspend", "anna"], "");
    assert_eq!(house.json(&["mailbox", "list"], "")[0]["suspended"], true);
    house.json(&["mailbox", "suspend", "anna", "--lift"], "");
    assert_eq!(house.json(&["mailbox", "remove", "anna"], ""), json!({"address": "anna@home.test"}));
    assert_eq!(house.json(&["mailbox", "list"], ""), json!([]));
}

#[test]
fn ways_in_need_a_secret_of_the_mailbox() {
    let house = Folder::new("ways");
    let anna = house.json(&["mailbox", "add", "anna", "--device", "phone"], "");
    let eve = house.json(&["mailbox", "add", "eve"], "");
    let password = format!("{}\n", anna["device_password"].as_str().unwrap());

    let tablet = house.json(&["device", "add", "anna", "tablet", "--unlock-stdin"], &password);
    assert_eq!((&tablet["address"], &tablet["device"]), (&json!("anna@home.test"), &json!("tablet")));
    house.json(&["device", "add", "anna", "laptop", "--unlock-stdin"], &words_of(&anna));
    for secret in [words_of(&eve), "wrong\n".to_owned(), "aaaaa-aaaaa-aaaaa-aaaaa-aaaab\n".to_owned()] {
        let why = house.refused(&["device", "add", "anna", "x", "--unlock-stdin"], &secret, 2);
        assert!(why.contains("opens nothing"), "{why}");
    }
    assert!(house.refused(&["device", "add", "anna", "tablet", "--unlock-stdin"], &password, 1).contains("already"));
    assert!(house.refused(&["device", "add", "anna", "x"], "", 1).contains("--unlock-stdin"));

    let names =
        |list: Value| -> Vec<Value> { list.as_array().unwrap().iter().map(|one| one["device"].clone()).collect() };
    assert_eq!(names(house.json(&["device", "list", "anna"], "")), ["phone", "tablet", "laptop"]);
    house.json(&["device", "revoke", "anna", "tablet"], "");
    assert_eq!(names(house.json(&["device", "list", "anna"], "")), ["phone", "laptop"]);

    assert_eq!(house.json(&["mailbox", "rekey", "anna", "--unlock-stdin"], &password)["generation"], 2);
    let audit = house.json(&["mailbox", "audit", "anna", "--unlock-stdin"], &password);
    let what: Vec<_> =
        audit["entries"].as_array().unwrap().iter().map(|entry| entry["what"].as_str().unwrap()).collect();
    let expected =
        ["mailbox made", "device added", "recovery words used", "device added", "device dropped", "new key made"];
    assert_eq!(what, expected);
    assert_eq!(audit["wrong"], json!([]));
}

/// DESIGN: secrets are printed to a terminal, or into `--json`; into a pipe or a file they would go unseen.
#[test]
fn what_nobody_would_see_is_not_made() {
    let house = Folder::new("unseen");
    let anna = house.json(&["mailbox", "add", "anna", "--device", "phone"], "");
    let password = format!("{}\n", anna["device_password"].as_str().unwrap());
    let before = house.json(&["mailbox", "audit", "anna", "--unlock-stdin"], &password);
    for words in [&["mailbox", "add", "ben"][..], &["device", "add", "anna", "tablet", "--unlock-stdin"]] {
        for out in [Stdio::piped(), fs::File::create(house.0.join("out")).unwrap().into()] {
            let output = house.run_into(out, words, &password);
            assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
            let why = String::from_utf8_lossy(&output.stderr);
            assert!(why.contains("terminal") && why.contains("--json") && output.stdout.is_empty(), "{output:?}");
        }
    }
    assert_eq!(fs::read(house.0.join("out")).unwrap(), b"");
    // An output that was closed is the null device to a program.
    let output = house.run_into(Stdio::null(), &["mailbox", "add", "ben", "--json"], "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(house.json(&["mailbox", "audit", "anna", "--unlock-stdin"], &password), before);
    assert_eq!(house.json(&["mailbox", "list"], "").as_array().unwrap().len(), 1);
    // These print none: they go anywhere.
    for words in
        [&["mailbox", "list"][..], &["mailbox", "rekey", "anna", "--unlock-stdin"], &["device", "list", "anna"]]
    {
        let output = house.run_into(Stdio::piped(), words, &password);
        assert!(output.status.success(), "{words:?}: {output:?}");
    }
}

#[test]
fn what_nobody_has_seen_is_taken_back() {
    let house = Folder::new("full");
    let anna = house.json(&["mailbox", "add", "anna", "--device", "phone"], "");
    let password = format!("{}\n", anna["device_password"].as_str().unwrap());
    let full = || Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let closed = || {
        let (read, write) = std::io::pipe().unwrap();
        drop(read);
        Stdio::from(write)
    };
    for words in
        [&["mailbox", "add", "ben", "--json"][..], &["device", "add", "anna", "tablet", "--unlock-stdin", "--json"]]
    {
        for out in [full(), closed()] {
            let output = house.run_into(out, words, &password);
            assert_eq!(output.status.code(), Some(1), "{words:?}: {output:?}");
            let why = String::from_utf8_lossy(&output.stderr);
            assert!(why.contains("cannot write to standard output") && why.contains("taken back"), "{why}");
        }
    }
    assert_eq!(house.json(&["mailbox", "list"], "").as_array().unwrap().len(), 1);
    assert_eq!(house.json(&["device", "list", "anna"], "").as_array().unwrap().len(), 1);
    // It can be had again, under the same name.
    house.json(&["mailbox", "add", "ben"], "");
    house.json(&["device", "add", "anna", "tablet", "--unlock-stdin"], &password);
    // A key change has no secret to lose: it is done, and says what it could not say.
    let rekey = house.run_into(full(), &["mailbox", "rekey", "anna", "--unlock-stdin"], &password);
    assert_eq!(rekey.status.code(), Some(1), "{rekey:?}");
    let list = house.json(&["mailbox", "list"], "");
    let found = list.as_array().unwrap().iter().find(|mailbox| mailbox["address"] == anna["address"]).unwrap();
    assert_eq!(found["generation"], 2);
}

#[test]
fn aliases() {
    let house = Folder::new("aliases");
    house.json(&["mailbox", "add", "anna"], "");
    house.json(&["mailbox", "add", "ben"], "");
    house.json(&["alias", "add", "family", "anna"], "");
    house.json(&["alias", "add", "family", "ben"], "");
    let both = json!([{"alias": "family@home.test", "mailboxes": ["anna@home.test", "ben@home.test"], "nobody": []}]);
    assert_eq!(house.json(&["alias", "list"], ""), both);
    house.json(&["alias", "remove", "family", "anna"], "");
    house.json(&["alias", "remove", "family"], "");
    assert_eq!(house.json(&["alias", "list"], ""), json!([]));
    assert!(house.refused(&["alias", "add", "x", "nobody"], "", 1).contains("nobody@home.test"));
    // Another house may tell its people apart by their case.
    house.json(&["alias", "add", "kin", "Ben@One.example"], "");
    let kin = json!([{"alias": "kin@home.test", "mailboxes": ["Ben@one.example"], "nobody": []}]);
    assert_eq!(house.json(&["alias", "list"], ""), kin);
    house.json(&["alias", "remove", "kin", "ben@one.example"], "");
    house.json(&["alias", "add", "ring", "anna"], "");
    assert!(house.refused(&["mailbox", "remove", "ring"], "", 1).contains("alias remove"));
    // Without a word of the twelve: there is nothing to give back.
    assert!(house.refused(&["recover"], "", 1).contains("nothing is lost"));
}

#[test]
fn addresses_of_foreign_domains_are_refused() {
    let house = Folder::new("foreign");
    house.json(&["mailbox", "add", "anna"], "");
    for words in [["mailbox", "add", "z@gmail.com", "--name=z"], ["alias", "add", "foo@gmail.com", "anna"]] {
        let why = house.refused(&words, "", 1);
        for part in ["gmail.com is not a domain of this box", "home.test", "domains = "] {
            assert!(why.contains(part), "{why}");
        }
    }
    fs::write(house.0.join("postern.toml"), "domains = [\"home.test\", \"gmail.com\"]\n").unwrap();
    assert_eq!(house.json(&["mailbox", "add", "z@gmail.com"], "")["address"], "z@gmail.com");
}

#[test]
fn a_completion_that_nobody_can_take_is_a_failure_in_words() {
    let script = |to: Stdio| {
        Command::new(env!("CARGO_BIN_EXE_postern")).args(["completion", "bash"]).stdout(to).output().unwrap()
    };
    let full = script(fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into());
    assert_eq!(full.status.code(), Some(1), "{full:?}");
    assert!(String::from_utf8_lossy(&full.stderr).contains("standard output"), "{full:?}");
    assert!(String::from_utf8_lossy(&script(Stdio::piped()).stdout).contains("postern"));
}

#[test]
fn what_leaves() {
    let house = Folder::new("leaves");
    house.json(&["mailbox", "add", "anna"], "");
    assert_eq!(house.json(&["queue", "list"], ""), json!([]));
    assert_eq!(house.json(&["queue", "retry"], ""), json!({"retry": "all"}));
    assert!(house.refused(&["queue", "drop", "12ab"], "", 1).contains("postern queue list"));
    assert_eq!(house.json(&["dkim", "list"], ""), json!([]), "`up` makes the first keys");
    // New keys wait for their records; then they sign.
    let made = house.json(&["dkim", "rotate"], "");
    let records = made["add"].as_array().unwrap();
    assert_eq!(records.len(), 2, "{made}");
    assert!(records.iter().any(|record| record["content"].as_str().unwrap().contains("k=rsa")));
    let stages = |house: &Folder| -> Vec<String> {
        let list = house.json(&["dkim", "list"], "");
        list.as_array().unwrap().iter().map(|key| key["stage"].as_str().unwrap().to_owned()).collect()
    };
    assert!(stages(&house).iter().all(|stage| stage.contains("waits")));
    assert_eq!(house.json(&["dkim", "rotate", "--force"], ""), json!({"rotated": true, "seconds": 5}));
    assert_eq!(stages(&house), ["signs", "signs"]);
    let dns = house.json(&["dns"], "");
    let kinds: Vec<&str> =
        dns["records"].as_array().unwrap().iter().map(|record| record["type"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"MX") && kinds.contains(&"SRV"), "{dns}");
    assert!(kinds.iter().filter(|kind| **kind == "TXT").count() >= 4, "SPF, DMARC and two keys: {dns}");
}

#[test]
fn what_is_lost_comes_back_with_the_words() {
    let house = Folder::new("lost");
    let anna = house.json(&["mailbox", "add", "anna"], "");
    house.json(&["alias", "add", "mum", "anna"], "");
    let ben = house.json(&["mailbox", "add", "ben"], "");
    for entry in fs::read_dir(&house.0).unwrap().flatten().filter(|entry| entry.file_name() != "spool") {
        fs::remove_file(entry.path()).unwrap();
    }
    for entry in fs::read_dir(house.0.join("spool")).unwrap().flatten() {
        if !["mailboxes", "letters"].iter().any(|kept| entry.file_name() == *kept) {
            let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
        }
    }
    let why = house.refused(&["mailbox", "list"], "", 1);
    assert!(why.contains("postern recover"), "{why}");
    let doctor = house.run(&["doctor"], "");
    assert_eq!(doctor.status.code(), Some(1), "{doctor:?}");
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("postern recover"), "{doctor:?}");
    assert!(house.refused(&["mailbox", "add", "x", "--name", "a\nb"], "", 1).contains("control characters"));
    let nobody = "legal winner thank year wave sausage worth useful legal winner thank yellow\n";
    house.refused(&["recover", "--words-stdin"], nobody, 2);
    let answer = house.json(&["recover", "--words-stdin"], &(words_of(&anna) + nobody));
    assert_eq!(answer["recovered"][0]["address"], "anna@home.test");
    assert_eq!(answer["recovered"][0]["aliases"], json!(["mum@home.test"]));
    assert_eq!(answer["still_lost"].as_array().unwrap().len(), 1);
    let password = format!("{}\n", ben["device_password"].as_str().unwrap());
    assert_eq!(house.json(&["recover", "--words-stdin"], &password)["recovered"][0]["address"], "ben@home.test");
    assert_eq!(house.json(&["mailbox", "list"], "").as_array().unwrap().len(), 2);
    assert_eq!(house.json(&["spool", "check"], "")["findings"], json!([]));
}

#[test]
fn a_box_key_from_a_passphrase() {
    let house = Folder::new("passphrase");
    let add = ["mailbox", "add", "anna", "--box-passphrase-stdin"];
    house.json(&add, "correct horse battery staple\n");
    assert!(!house.0.join("box.key").exists());
    assert!(house.refused(&["mailbox", "list"], "", 1).contains("--box-passphrase-stdin"));
    house.refused(&["mailbox", "list", "--box-passphrase-stdin"], "wrong horse battery\n", 2);
    let list = house.json(&["mailbox", "list", "--box-passphrase-stdin"], "correct horse battery staple\n");
    assert_eq!(list.as_array().unwrap().len(), 1);
}

#[test]
fn a_command_that_cannot_be_understood() {
    let house = Folder::new("usage");
    assert!(house.refused(&["mailbox", "ad", "anna"], "", 64).contains("Usage"));
    assert!(house.refused(&["mailbox", "add", "a b"], "", 1).contains("no mail address"));
    let help = house.run(&["--help"], "");
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("postern mailbox add anna"));
    let missing =
        Command::new(env!("CARGO_BIN_EXE_postern")).args(["mailbox", "list", "--data", "/nonexistent"]).output();
    assert!(String::from_utf8_lossy(&missing.unwrap().stderr).contains("--data"));
}
