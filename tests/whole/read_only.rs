//! A disk that takes no writes any more, as ext4 makes it after an error: what is there is read, what would be written is
//! refused in words, and once the disk takes writes again all goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tests::{House, Imap, Mailbox, Scratch, Setup, Smtp, smtp};

const PATIENCE: Duration = Duration::from_secs(60);

fn runs(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().unwrap().status.success()
}

/// A mounted ext4 in a file.
struct Disk {
    file: PathBuf,
    at: PathBuf,
}

impl Disk {
    fn make(scratch: &Scratch, at: PathBuf) -> Self {
        let file = scratch.path().join("disk");
        assert!(runs("truncate", &["-s", "96M", file.to_str().unwrap()]));
        assert!(runs("mkfs.ext4", &["-q", "-F", file.to_str().unwrap()]));
        Self::mount(file, at)
    }

    fn mount(file: PathBuf, at: PathBuf) -> Self {
        fs::create_dir_all(&at).unwrap();
        let options = "loop,errors=remount-ro";
        assert!(runs("mount", &["-o", options, file.to_str().unwrap(), at.to_str().unwrap()]), "run as root");
        Self { file, at }
    }

    fn remount(&self, how: &str) -> bool {
        runs("mount", &["-o", &format!("remount,{how}"), self.at.to_str().unwrap()])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

fn start(data: &Path) -> House {
    let arguments = vec!["--clear-text".into(), "*".into()];
    House::start(Setup { arguments, data: Some(data.to_owned()), ..Setup::default() })
}

/// Sends until the answer is that one, over new connections: sessions end with their keeper.
fn send_until(house: &House, code: u16, token: &str) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let said = Smtp::connect(house.address("smtp"))
            .and_then(|mut client| client.send("aunt@example.org", &["you@home.test"], &smtp::letter(token, 20_000)));
        match said {
            Ok((found, text)) if found == code => return text,
            Ok((250, text)) => panic!("{text}: nothing can be stored now"),
            other => assert!(Instant::now() < until, "{other:?}\n{}", house.log()),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn login(house: &House, you: &Mailbox) -> Imap {
    let until = Instant::now() + PATIENCE;
    loop {
        match Imap::login(house, &you.address, &you.password) {
            Ok(imap) => return imap,
            Err(error) => assert!(Instant::now() < until, "{error}\n{}", house.log()),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn subjects(imap: &mut Imap) -> String {
    assert!(imap.ask("SELECT INBOX").unwrap().ok());
    imap.ask("FETCH 1:* (BODY.PEEK[HEADER])").unwrap().text()
}

fn no_findings(house: &House) {
    let check = house.admin_json(&["spool", "check"], "");
    assert_eq!(check["findings"].as_array().map(Vec::len), Some(0), "{check}");
}

/// Reading, and what is said to whoever would write.
fn reads_on(house: &House, you: &Mailbox, promised: &[&str]) {
    let text = send_until(house, 452, "refused");
    assert!(text.contains("takes no writes"), "{text}");
    let mut imap = login(house, you);
    let listed = subjects(&mut imap);
    assert!(promised.iter().all(|token| listed.contains(&format!("Subject: {token}"))), "{listed}");
    // It would set \Seen, and keep a summary.
    let whole = imap.ask("FETCH 1 (ENVELOPE BODYSTRUCTURE BODY[])").unwrap();
    assert!(whole.ok() && whole.text().contains(&format!("Subject: {}", promised[0])), "{whole:?}");
    assert!(imap.ask("SEARCH SUBJECT token").unwrap().ok());
    for change in ["STORE 1 +FLAGS (\\Flagged)", "COPY 1 Archive", "CREATE New", "EXPUNGE"] {
        let answer = imap.ask(change).unwrap();
        let expunges_nothing = change == "EXPUNGE" && answer.ok();
        assert!(expunges_nothing || answer.tagged.contains("takes no writes"), "{change}: {answer:?}");
    }
    let answer = imap.append("INBOX", &smtp::letter("appended", 20_000)).unwrap();
    assert!(answer.tagged.starts_with("NO") && answer.tagged.contains("takes no writes"), "{answer:?}");
    assert!(subjects(&mut imap).contains(promised[0]), "the session goes on");
    let doctor: serde_json::Value = serde_json::from_slice(&house.admin(&["doctor"], "").stdout).unwrap();
    assert!(!doctor.to_string().contains("nothing was changed"), "it was asked for no change: {doctor}");
    let disk = doctor["findings"].as_array().unwrap().iter().find(|finding| finding["about"] == "disk").unwrap();
    assert_eq!(disk["state"], "bad", "{disk}");
    assert!(disk["advice"].as_str().unwrap().contains("stop the box"), "{disk}");
    assert_eq!(house.admin_json(&["mailbox", "list"], "").as_array().map(Vec::len), Some(1));
    let refused = house.admin(&["mailbox", "add", "eve"], "");
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("can only be read now"), "{words}");
    // The use of the words would be a line in the log.
    let audit = |secret: &str| house.admin(&["mailbox", "audit", "you", "--unlock-stdin"], &format!("{secret}\n"));
    let noted = String::from_utf8_lossy(&audit(&you.words.join(" ")).stderr).into_owned();
    assert!(noted.contains("A device password needs no note"), "{noted}");
    assert!(audit(&you.password).status.success());
}

/// Started where nothing can be written, as after a boot that found the disk broken.
fn is_read_there(data: &Path, you: &Mailbox, promised: &[&str]) {
    let mut house = start(data);
    house.logs("is read-only: `dmesg` says why");
    reads_on(&house, you, promised);
    let holder = house.pid().to_string();
    let second = refused(&["up", "--data", data.to_str().unwrap()]);
    assert!(second.contains("another postern") && second.contains(&holder), "{second}");
    for command in [&["dkim", "rotate"][..], &["pair", "clean.example:7025/g0v1-8hwk"]] {
        let words = refused(&[command, &["--data", data.to_str().unwrap()]].concat());
        assert!(words.contains("is read-only") && words.contains("Mount it writable"), "{words}");
    }
    house.stop();
}

/// What a command says that fails.
fn refused(arguments: &[&str]) -> String {
    let ended = Command::new(tests::house::binary()).args(arguments).output().unwrap();
    assert!(!ended.status.success(), "{ended:?}");
    String::from_utf8_lossy(&ended.stderr).into_owned()
}

#[test]
fn an_error_of_the_disk_leaves_the_mail_readable() {
    let scratch = Scratch::new("read-only");
    let disk = Disk::make(&scratch, scratch.path().join("at"));
    let mut house = start(&disk.at.join("data"));
    let you = house.you().clone();
    let promised = ["token1", "token2"];
    promised.iter().for_each(|token| drop(send_until(&house, 250, token)));
    // As after an error: what was written since is in memory alone, and cannot be told from what is on the disk.
    assert!(disk.remount("abort"));
    reads_on(&house, &you, &promised);
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(house.log().matches("the disk takes no writes: mail can be read").count(), 1, "{}", house.log());
    house.kill();
    is_read_there(&disk.at.join("data"), &you, &promised);
    // What `fsck` makes of it, elsewhere: the mount lives on in whatever namespace was made meanwhile.
    let copy = scratch.path().join("copy");
    fs::copy(&disk.file, &copy).unwrap();
    runs("e2fsck", &["-p", copy.to_str().unwrap()]);
    drop(house);
    drop(disk);
    let disk = Disk::mount(copy, scratch.path().join("mended"));
    let mut house = start(&disk.at.join("data"));
    send_until(&house, 250, "token3");
    let listed = subjects(&mut login(&house, &you));
    assert!(["token1", "token2", "token3"].iter().all(|token| listed.contains(token)), "{listed}");
    assert!(!listed.contains("refused") && !listed.contains("appended"), "{listed}");
    no_findings(&house);
    house.stop();
}

/// A keeper that starts there; and the disk takes writes again while it serves.
#[test]
fn writing_comes_back_by_itself() {
    let scratch = Scratch::new("read-only-spool");
    let data = scratch.path().join("data");
    let disk = Disk::make(&scratch, data.join("spool"));
    let mut house = start(&data);
    let you = house.you().clone();
    send_until(&house, 250, "token1");
    // Nobody but the keeper has a file of it open to write, and each wait for the next one is longer.
    let until = Instant::now() + PATIENCE;
    while !disk.remount("ro") {
        assert!(Instant::now() < until, "{}", house.log());
        let keeper = house.roles().into_iter().find(|(name, _)| name == "keeper");
        keeper.iter().for_each(|(_, pid)| tests::house::signal(*pid, "KILL"));
        std::thread::sleep(Duration::from_millis(20));
    }
    reads_on(&house, &you, &["token1"]);
    assert!(disk.remount("rw"));
    send_until(&house, 250, "token2");
    let mut imap = login(&house, &you);
    let listed = subjects(&mut imap);
    assert!(["token1", "token2"].iter().all(|token| listed.contains(token)), "{listed}");
    assert!(imap.ask("STORE 1:2 +FLAGS (\\Seen)").unwrap().ok());
    no_findings(&house);
    house.stop();
}

/// The disk as a box leaves it, mounted read-only elsewhere: the first mount lives on in whatever namespace was made meanwhile.
fn mounted_read_only(scratch: &Scratch, disk: Disk) -> Disk {
    assert!(runs("sync", &["-f", disk.at.to_str().unwrap()]));
    let copy = scratch.path().join("copy");
    fs::copy(&disk.file, &copy).unwrap();
    drop(disk);
    let disk = Disk::mount(copy, scratch.path().join("again"));
    assert!(disk.remount("ro"));
    disk
}

/// The kernel mounted it read-only at boot; later somebody mends it, and mounts it writable.
#[test]
fn a_box_that_is_started_there_is_read_and_writes_once_it_can() {
    let scratch = Scratch::new("read-only-start");
    let disk = Disk::make(&scratch, scratch.path().join("at"));
    let mut house = start(&disk.at.join("data"));
    let you = house.you().clone();
    send_until(&house, 250, "token1");
    house.stop();
    let disk = mounted_read_only(&scratch, disk);
    let data = disk.at.join("data");
    is_read_there(&data, &you, &["token1"]);
    let mut house = start(&data);
    reads_on(&house, &you, &["token1"]);
    assert!(!data.join("admin.sock").exists());
    assert!(disk.remount("rw"));
    send_until(&house, 250, "token2");
    let listed = subjects(&mut login(&house, &you));
    assert!(["token1", "token2"].iter().all(|token| listed.contains(token)), "{listed}");
    no_findings(&house);
    assert!(data.join("admin.sock").exists(), "commands reach it where they always do");
    let added = house.add_mailbox("eve");
    assert!(added.address.starts_with("eve@"));
    house.stop();
    let left = fs::read_dir("/run").unwrap().flatten().filter(|entry| {
        let (name, own) = (entry.file_name().into_string().unwrap_or_default(), device(&data));
        name.starts_with(&format!("postern-{own:x}-"))
    });
    assert_eq!(left.count(), 0, "nothing is left in /run");
}

fn device(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::dev(&fs::metadata(path).unwrap())
}

/// Its user has no folder in /run: mail is read all the same, and whoever gives a command hears why it reaches nobody.
#[test]
fn a_box_without_a_place_for_its_socket_is_read() {
    let scratch = Scratch::new("read-only-user");
    let disk = Disk::make(&scratch, scratch.path().join("at"));
    let data = disk.at.join("data");
    fs::create_dir(&data).unwrap();
    std::os::unix::fs::chown(&data, Some(65_534), Some(65_534)).unwrap();
    let start = |data: &Path| {
        let arguments = vec!["--clear-text".into(), "*".into()];
        House::start(Setup { arguments, data: Some(data.to_owned()), unprivileged: true, ..Setup::default() })
    };
    let mut house = start(&data);
    let you = house.you().clone();
    send_until(&house, 250, "token1");
    house.stop();
    let disk = mounted_read_only(&scratch, disk);
    let data = disk.at.join("data");
    let mut house = start(&data);
    house.logs("its admin socket has no place");
    assert!(subjects(&mut login(&house, &you)).contains("token1"));
    let list = house.admin(&["mailbox", "list"], "");
    let words = String::from_utf8_lossy(&list.stderr).into_owned();
    assert!(!list.status.success() && words.contains("its admin socket has no place"), "{words}");
    assert!(words.contains(&format!("process {}", house.pid())), "{words}");
    let doctor = String::from_utf8(house.admin(&["doctor"], "").stdout).unwrap();
    assert!(doctor.contains("its admin socket has no place") && doctor.contains("alive"), "{doctor}");
    assert!(disk.remount("rw"));
    send_until(&house, 250, "token2");
    assert_eq!(house.admin_json(&["mailbox", "list"], "").as_array().map(Vec::len), Some(1));
    house.stop();
}

#[test]
fn where_there_is_no_mail_yet_nothing_can_be_begun() {
    let scratch = Scratch::new("read-only-new");
    let disk = Disk::make(&scratch, scratch.path().join("at"));
    fs::create_dir(disk.at.join("data")).unwrap();
    assert!(disk.remount("ro"));
    let words = refused(&["up", "--data", disk.at.join("data").to_str().unwrap()]);
    assert!(words.contains("there is no mailbox") && words.contains("Mount it writable"), "{words}");
}
