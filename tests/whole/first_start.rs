//! The README's first five minutes: start with nothing, receive, read, stop, start again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::programs::python_ok;
use tests::{House, Scratch, Setup};

const SEND: &str = r#"
import smtplib, ssl, sys
host, port, ca, sender, rcpt, text = sys.argv[1:7]
smtp = smtplib.SMTP('localhost', int(port), timeout=60)
smtp.starttls(context=ssl.create_default_context(cafile=ca))
smtp.sendmail(sender, [rcpt], text.replace('\n', '\r\n'))
smtp.quit()
"#;

const READ: &str = r#"
import imaplib, ssl, sys
port, ca, user, password = sys.argv[1:5]
imap = imaplib.IMAP4_SSL('localhost', int(port), ssl_context=ssl.create_default_context(cafile=ca))
imap.login(user, password)
print(imap.select('INBOX')[1][0].decode())
for number in imap.search(None, 'ALL')[1][0].split():
    print(imap.fetch(number, '(BODY.PEEK[])')[1][0][1].decode())
imap.logout()
"#;

/// Ctrl-C where a secret is asked for: the command ends, and the terminal shows again what is typed.
const CTRL_C: &str = r#"
import os, pty, sys, termios, time
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], sys.argv[1:])
shown = lambda: bool(termios.tcgetattr(terminal)[3] & termios.ECHO)
end = time.time() + 20
while shown():
    assert time.time() < end, 'nothing is hidden'
    time.sleep(0.05)
os.write(terminal, b'abc\x03')
while not shown():
    assert time.time() < end, 'nothing is shown again'
    time.sleep(0.05)
try:
    while os.read(terminal, 1000): pass
except OSError:
    pass
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

fn send(house: &House, to: &str, text: &str) {
    let (port, ca) = (house.port("smtp").to_string(), house.authority().authority());
    python_ok(SEND, &["localhost", &port, ca.to_str().unwrap(), "aunt@example.org", to, text]);
}

fn read(house: &House) -> String {
    let (port, ca, you) = (house.port("imaps").to_string(), house.authority().authority(), house.you());
    python_ok(READ, &[&port, ca.to_str().unwrap(), &you.address, &you.password])
}

fn a_letters_whole_way(unprivileged: bool) {
    let mut house = House::start(Setup { unprivileged, ..Setup::default() });
    assert_eq!(house.you().address, "you@home.test");
    assert_eq!(house.you().words.len(), 12);
    let text = "From: aunt@example.org\nTo: you@home.test\nSubject: Cake\nDate: Sat, 21 Nov 2026 09:30:00 +0000\nMessage-ID: <1@example.org>\n\nThere is cake.\n";
    send(&house, "you@home.test", text);
    let mail = read(&house);
    assert!(mail.starts_with("1\n"), "{mail}");
    assert!(mail.contains("There is cake."), "{mail}");
    assert!(mail.starts_with("1\nReturn-Path: <aunt@example.org>"), "{mail}");
    house.stop();
    house.start_again();
    assert!(house.took < Duration::from_secs(15), "a second start makes nothing anew: {:?}", house.took);
    assert!(read(&house).contains("There is cake."));
    house.kill();
    house.start_again();
    assert!(read(&house).contains("There is cake."));
}

/// On a kernel of before Linux 6.4, as Debian 12's: what the libraries of any role ask such a one for must have an answer.
#[test]
fn on_an_older_kernel() {
    // It is that for this thread, and for what it starts.
    let here = std::thread::spawn(|| {
        filter_sandbox::attacks::pretend_before_auxv().unwrap();
        a_letters_whole_way(false);
    });
    here.join().unwrap();
}

#[test]
fn as_root() {
    a_letters_whole_way(false);
}

#[test]
fn as_anybody() {
    a_letters_whole_way(true);
}

#[test]
fn ctrl_c_at_a_question() {
    let house = House::start(Setup::default());
    let (binary, data) = (tests::house::binary(), house.data());
    let words = [binary.to_str().unwrap(), "--data", data.to_str().unwrap(), "device", "add", "you", "phone"];
    assert_ne!(python_ok(CTRL_C, &words).trim(), "0");
}

/// Killed between the making of the first mailbox and the printing of its secrets, or a moment before or after.
#[test]
fn a_first_start_that_was_killed_is_a_first_start_again() {
    for wait in [0, 1, 3, 10, 30] {
        let scratch = Scratch::new("killed-first");
        let data = scratch.path().join("data");
        let offset = tests::house::free_offset().to_string();
        let mut up = Command::new(tests::house::binary())
            .args(["up", "--json", "--bind", "127.0.0.1", "--port-offset", &offset, "--data", data.to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // On a busy machine it may come and go between two looks.
        let until = Instant::now() + Duration::from_secs(5);
        while !data.join("first-unseen").exists() && Instant::now() < until {}
        std::thread::sleep(Duration::from_millis(wait));
        up.kill().unwrap();
        let printed = up.wait_with_output().unwrap().stdout;
        let mut house = House::start(Setup { data: Some(data.clone()), ..Setup::default() });
        assert!(house.first.is_some() || !printed.is_empty(), "after {wait} ms: {}", house.log());
        let all = house.admin_json(&["mailbox", "list"], "");
        assert_eq!(all.as_array().map(Vec::len), Some(1), "{all}");
        if let Some(you) = &house.first {
            tests::Imap::login(&house, &you.address, &you.password).unwrap();
        }
        assert!(!data.join("first-unseen").exists());
        let check = house.admin_json(&["spool", "check"], "");
        assert_eq!(check["findings"].as_array().map(Vec::len), Some(0), "{check}");
        house.stop();
        house.start_again();
        assert!(!house.log().contains("removed again"), "{}", house.log());
    }
}

/// The next start has nobody who could read its secrets: then there is no mailbox.
#[test]
fn a_first_start_that_was_killed_leaves_no_mailbox_to_nobody() {
    let scratch = Scratch::new("killed-unseen");
    let data = scratch.path().join("data");
    let offset = tests::house::free_offset().to_string();
    let mut first = House::start(Setup { data: Some(data.clone()), ..Setup::default() });
    first.stop();
    // As it is when `up` is killed before it prints.
    let mailbox = std::fs::read_dir(data.join("spool/mailboxes")).unwrap().next().unwrap().unwrap().file_name();
    std::fs::write(data.join("first-unseen"), mailbox.to_str().unwrap()).unwrap();
    let mut patience = Command::new("timeout");
    patience.arg("60").arg(tests::house::binary()).args([
        "up",
        "--bind",
        "127.0.0.1",
        "--port-offset",
        &offset,
        "--data",
    ]);
    patience.arg(&data).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut second = patience.spawn().unwrap();
    let mut lines = BufReader::new(second.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("postern mailbox add")), "nobody says what to do");
    let all = tests::house::admin(&data, false, &["mailbox", "list"], "").stdout;
    assert_eq!(String::from_utf8_lossy(&all).trim(), "[]");
    tests::house::signal(second.id(), "TERM");
    second.wait().unwrap();
}

/// A machine without any network but its own, on which the box is started; then the network comes.
const BEFORE_THE_NETWORK: &str = r#"
import json, os, socket, subprocess, sys, time
binary, data = sys.argv[1:3]
subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
words = ['up', '--json', '--data', data, '--bind', '10.9.8.7']
log = open(data + '.log', 'wb')
up = subprocess.Popen([binary, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)

def greeted(address, port):
    with socket.create_connection((address, port), timeout=30) as smtp:
        return smtp.recv(100)[:3].decode()

def advised():
    said = subprocess.run([binary, 'doctor', '--json', '--data', data], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    about = [finding for finding in json.loads(said.stdout)['findings'] if finding['about'] == 'ports']
    return [finding['state'] for finding in about if finding['state'] != 'good']

try:
    print(json.loads(up.stdout.readline())['smtp'], greeted('127.0.0.1', 10025), *advised())
    subprocess.run(['ip', 'address', 'add', '10.9.8.7/32', 'dev', 'lo'], check=True)
    print(greeted('10.9.8.7', 25), *advised())
    end = time.time() + 30
    while b'has 10.9.8.7 now' not in open(data + '.log', 'rb').read():
        assert time.time() < end, 'that it came is not said'
        time.sleep(0.1)
finally:
    up.terminate()
    up.wait()
print(open(data + '.log').read(), file=sys.stderr)
"#;

#[test]
fn an_address_that_comes_after_the_box_is_reached_without_another_start() {
    let scratch = Scratch::new("before-the-network");
    let data = scratch.path().join("data");
    let output = Command::new("unshare")
        .args(["--net", "python3", "-c", BEFORE_THE_NETWORK])
        .args([&tests::house::binary(), &data])
        .output()
        .unwrap();
    let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.lines().collect::<Vec<_>>(), ["127.0.0.1:10025 220 weak", "220"], "{log}");
    assert!(log.contains("`bind` names 10.9.8.7, which this machine does not have now"), "{log}");
}

/// There nothing can be made: that is said at once, and nothing is left half made.
#[test]
fn a_disk_without_room_for_a_box_is_told() {
    for (option, words) in [("nr_inodes=40", "more files fit"), ("size=2m", "needs 4 MB")] {
        let disk = Scratch::new("no-room");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", option, "tmpfs"]).arg(disk.path()).status();
        assert!(mounted.unwrap().success(), "mount: run as root");
        let data = disk.path().join("data");
        let output = Command::new("timeout")
            .arg("60")
            .arg(tests::house::binary())
            .args(["up", "--json", "--bind", "127.0.0.1", "--port-offset", &tests::house::free_offset().to_string()])
            .arg("--data")
            .arg(&data)
            .stdin(Stdio::null())
            .output();
        let is_made = data.exists();
        let _ = Command::new("umount").arg("-l").arg(disk.path()).status();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("no room for a mail server") && said.contains(words) && said.contains("--data"),
            "{said}"
        );
        assert!(!is_made, "{said}");
    }
}
