//! A power cut: the spool on ext4 on a loop file, the box writing. The file system is stopped between two writes and
//! flushes nothing any more; then the box is killed, the backing file copied, the copy mounted and opened. What got a
//! 250 is there. (It models no write cache in the device, so it is kinder than a real cut: what the kernel had not
//! sent to the file is what is lost.)

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tests::{House, Imap, Scratch, Setup, Smtp, smtp};

/// Rounds here; `tests/long/power-cut` asks for more.
fn rounds() -> usize {
    std::env::var("POSTERN_CUT_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// A mounted ext4 in a file.
struct Disk {
    at: PathBuf,
}

impl Disk {
    fn mount(file: &Path, at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        run("mount", &["-o", "loop", file.to_str().unwrap(), at.to_str().unwrap()]);
        Self { at: at.to_owned() }
    }
}

impl Disk {
    /// Cuts the power: from now on nothing reaches the file, and every sync fails. Without this a copy would hold bytes
    /// of many instants: the kernel goes on writing back while it is made.
    fn cut(&self) {
        // EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH.
        let shutdown = "import fcntl, os, struct, sys; \
            fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        run("python3", &["-c", shutdown, self.at.to_str().unwrap()]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

fn write_until(stop: &AtomicBool, to: std::net::SocketAddr, accepted: &Mutex<Vec<String>>) {
    static TOKEN: AtomicU32 = AtomicU32::new(0);
    let Ok(mut client) = Smtp::connect(to) else { return };
    while !stop.load(Ordering::Relaxed) {
        let token = format!("token{:06}", TOKEN.fetch_add(1, Ordering::Relaxed));
        match client.send("aunt@example.org", &["you@home.test"], &smtp::letter(&token, 12_000)) {
            Ok((250, _)) => accepted.lock().unwrap().push(token),
            _ => return,
        }
    }
}

/// Writes for a moment from the first promise on, cuts, and gives the tokens that were promised.
fn write_and_cut(house: &mut House, disk: &Disk, moment: Duration) -> Vec<String> {
    let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let writers: Vec<_> = (0..3)
        .map(|_| {
            let (stop, accepted, to) = (stop.clone(), accepted.clone(), house.address("smtp"));
            thread::spawn(move || write_until(&stop, to, &accepted))
        })
        .collect();
    let until = Instant::now() + Duration::from_secs(60);
    while accepted.lock().unwrap().is_empty() {
        assert!(Instant::now() < until, "nothing was promised before the cut");
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(moment);
    disk.cut();
    house.kill();
    stop.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    std::mem::take(&mut *accepted.lock().unwrap())
}

#[test]
fn what_got_a_250_survives() {
    let scratch = Scratch::new("power-cut");
    for round in 0..rounds() {
        // A disk of its own for every round: one mounted before may live on in a namespace that was made meanwhile.
        let named = |what: &str| scratch.path().join(format!("{what}-{round}"));
        let (file, copy) = (named("disk"), named("copy"));
        run("truncate", &["-s", "192M", file.to_str().unwrap()]);
        run("mkfs.ext4", &["-q", "-F", file.to_str().unwrap()]);
        let (disk, arguments) = (Disk::mount(&file, &named("a")), vec!["--clear-text".into(), "*".into()]);
        let data = disk.at.join("data");
        let mut house = House::start(Setup { arguments: arguments.clone(), data: Some(data), ..Setup::default() });
        let you = house.you().clone();
        let accepted = write_and_cut(&mut house, &disk, Duration::from_millis(300 + 170 * (round as u64 % 7)));
        fs::copy(&file, &copy).unwrap();
        drop(house);
        drop(disk);
        let disk = Disk::mount(&copy, &named("b"));
        let house = House::start(Setup { arguments, data: Some(disk.at.join("data")), ..Setup::default() });
        let mut imap = Imap::login(&house, &you.address, &you.password).unwrap();
        assert!(imap.ask("SELECT INBOX").unwrap().ok());
        let there = imap.ask("FETCH 1:* (BODY.PEEK[])").unwrap().text();
        eprintln!("round {round}: {} promised", accepted.len());
        for token in &accepted {
            assert!(there.contains(&format!("Subject: {token}")), "{token} got a 250 and is lost");
        }
        let check = house.admin_json(&["spool", "check"], "");
        assert_eq!(check["findings"].as_array().map(Vec::len), Some(0), "{check}");
        drop(house);
        drop(disk);
        [file, copy].iter().for_each(|disk| fs::remove_file(disk).unwrap());
    }
}
