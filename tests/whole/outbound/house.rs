//! A whole house behind a router, paired by a code: its mail leaves through the proxy, and no other way.

use std::process::Command;

use serde_json::Value;
use tests::hosts::{self, HERE, Host};
use tests::outbound::AWAY;
use tests::programs::python_ok;
use tests::proxies::{Home, eventually};
use tests::{House, Setup};

use crate::place::{PROXY, Place};

const SUBMIT: &str = r#"
import smtplib, ssl, sys
port, ca, host, user, password, text = sys.argv[1:7]
smtp = smtplib.SMTP('localhost', int(port), timeout=60)
context = ssl.create_default_context(cafile=ca)
context.check_hostname = False
smtp.starttls(context=context)
smtp.login(user, password)
smtp.sendmail(user, sys.argv[7:], text.replace('\n', '\r\n'))
smtp.quit()
"#;

const PHRASES: [&str; 4] = ["xylophone-subject-phrase", "quixotic-body-phrase", "anna.phrase", "ben@far.test"];

fn submit(home: &Home, password: &str, to: &[&str]) {
    let port = home.house.port("submission").to_string();
    let ca = home.house.authority().authority();
    let text = format!(
        "From: {p}@alice.test\nTo: {to}\nSubject: {s}\n\n{b}\n",
        p = PHRASES[2],
        to = to.join(", "),
        s = PHRASES[0],
        b = PHRASES[1]
    );
    let user = format!("{}@alice.test", PHRASES[2]);
    let fixed = ["-c", SUBMIT, &port, ca.to_str().unwrap(), &home.name, &user, password, &text];
    let output = home.host.command("python3").args([&fixed[..], to].concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Whether the memory of a process has it, read as root does.
fn remembers(pid: u32, phrase: &str) -> bool {
    let script = r"
import sys
pid, phrase = sys.argv[1], sys.argv[2].encode()
memory = open(f'/proc/{pid}/mem', 'rb', 0)
for line in open(f'/proc/{pid}/maps'):
    start, end = (int(part, 16) for part in line.split()[0].split('-'))
    if line.split()[1][0] != 'r' or '[v' in line:
        continue
    memory.seek(start)
    try:
        if phrase in memory.read(end - start):
            print('found', line)
    except OSError:
        pass
";
    python_ok(script, &[&pid.to_string(), phrase]).contains("found")
}

#[test]
fn mail_leaves_through_a_paired_proxy() {
    if !hosts::inside("house::mail_leaves_through_a_paired_proxy") {
        return;
    }
    let mut place = Place::new();
    let postfix = place.far("postfix", 0, "far.test");
    let exim = place.far("exim", 1, "exim.test");
    let opensmtpd = place.far("opensmtpd", 2, "open.test");
    let home = Home::start("alice", "44.0.0.71");
    let anna = home.house.add_mailbox(PHRASES[2]);
    let output = home.try_pair(&place.proxy.invite("alice", &[]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    eventually("the link is up", || place.proxy.metric("homes_connected") == 1);
    submit(&home, &anna.password, &["ben@far.test", "cleo@exim.test", "ben@open.test"]);
    let everywhere = || [postfix.mail("ben"), exim.mail("cleo"), opensmtpd.mail("ben")];
    eventually("delivered everywhere", || everywhere().iter().all(|mail| mail.contains(PHRASES[1])));
    for mail in everywhere() {
        assert!(mail.contains(AWAY) && mail.contains(PROXY), "it comes from the proxy's name and address: {mail}");
        assert!(!mail.contains("44.0.0.71") && !mail.contains("192.168.7"), "and says nothing of the home's: {mail}");
        assert!(mail.contains("TLS1.3") || mail.contains("TLSv1.3"), "{mail}");
    }
    assert!(place.proxy.status("alice", "today") >= 3 * 20);
    assert_eq!(place.proxy.status("alice", "sessions"), 3);
    let doctor = String::from_utf8(home.postern(&["doctor"]).stdout).unwrap();
    assert!(doctor.contains("through away.test: ") && doctor.contains("of 750 units are left"), "{doctor}");
    // The proxy is gone: nothing leaves in another way.
    place.proxy.kill();
    submit(&home, &anna.password, &["cleo@far.test"]);
    let waits = || {
        let queue: Value = home.house.admin_json(&["queue", "list"], "");
        queue.to_string().contains("outbound proxy")
    };
    eventually("it waits, and says for whom", waits);
    assert!(!postfix.mail("cleo").contains(PHRASES[1]));
    place.proxy.start_again();
    eventually("delivered once the proxy is back", || {
        let _ = home.house.admin(&["queue", "retry"], "");
        postfix.mail("cleo").contains(PHRASES[1])
    });
    for phrase in PHRASES {
        for pid in place.proxy.processes() {
            assert!(!remembers(pid, phrase), "{phrase} in the memory of {pid}");
        }
        let found = Command::new("grep").args(["-r", phrase]).arg(place.proxy.folder()).output().unwrap();
        assert!(found.stdout.is_empty(), "{phrase}: {}", String::from_utf8_lossy(&found.stdout));
    }
    assert!(remembers(*place.proxy.processes().last().unwrap(), AWAY), "the search finds what is there");
}

#[test]
fn past_the_proxy_only_when_told() {
    if !hosts::inside("house::past_the_proxy_only_when_told") {
        return;
    }
    let mut place = Place::new();
    let far = place.far("postfix", 0, "far.test");
    let host = Host::behind_nat("bob", "44.0.0.72");
    let config = format!(
        "domains = [\"alice.test\"]\nhostname = \"mail.alice.test\"\nbind = [\"127.0.0.1\"]\nport-offset = 2000\n\
         dns = [\"{HERE}:53\"]\nsend-past-proxy = true\n"
    );
    let name = "mail.alice.test".to_owned();
    let setup = Setup { config: Some(config), host: Some(name.clone()), on: Some(host.clone()), ..Setup::default() };
    let home = Home { house: House::start(setup), host, name };
    let anna = home.house.add_mailbox(PHRASES[2]);
    assert!(home.try_pair(&place.proxy.invite("alice", &[])).status.success());
    eventually("the link is up", || place.proxy.metric("homes_connected") == 1);
    place.proxy.kill();
    submit(&home, &anna.password, &["ben@far.test"]);
    eventually("it leaves from the house's own address", || far.mail("ben").contains("44.0.0.72"));
}
