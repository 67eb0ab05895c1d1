//! The operator ends the proxy, as every upgrade does: a letter that is on its way arrives, once, and its sender hears so.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use tests::proxies::eventually;

use crate::place::{PROXY, Place, count};

/// Half a letter; the rest of it when it is told to. Argv is the proxy.
const SENDS: &str = "
import smtplib, ssl, sys
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
smtp = smtplib.SMTP(sys.argv[1], 25, 'sender.example.org', timeout=60)
smtp._host = 'mail.alice.test'
smtp.starttls(context=context)
smtp.ehlo()
smtp.mail('aunt@sender.example.org'); smtp.rcpt('anna@alice.test')
assert smtp.docmd('DATA')[0] == 354
smtp.send(b'From: aunt@sender.example.org\\r\\nTo: anna@alice.test\\r\\nSubject: x\\r\\n\\r\\n')
print('half', flush=True)
sys.stdin.readline()
smtp.send(b'in-an-upgrade\\r\\n.\\r\\n')
print(smtp.getreply()[0], flush=True)
smtp.quit()
";

pub fn a_letter_that_is_on_its_way_arrives_once() {
    let mut place = Place::new();
    let alice = place.home("alice", "44.0.0.71", &[]);
    let anna = alice.house.add_mailbox("anna");
    let piped =
        |mut command: std::process::Command| command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut command = place.sender.command("python3");
    command.args(["-c", SENDS, PROXY]);
    let mut sender = piped(command);
    let mut said = BufReader::new(sender.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(said.next().as_deref(), Some("half"));
    place.proxy.ask_to_end();
    let comes = "import socket, sys; socket.create_connection((sys.argv[1], 25), 10)";
    eventually("nobody new comes in", || {
        !place.sender.command("python3").args(["-c", comes, PROXY]).stderr(Stdio::null()).status().unwrap().success()
    });
    assert_eq!(place.proxy.ended(Duration::from_secs(6)), None, "the letter is waited for");
    writeln!(sender.stdin.take().unwrap(), "go on").unwrap();
    assert_eq!(said.next().as_deref(), Some("250"), "{}", place.proxy.log());
    let ended = place.proxy.ended(Duration::from_secs(10)).expect("nothing is left to wait for");
    assert!(ended.success() && sender.wait().unwrap().success(), "{ended}");
    place.proxy.start_again();
    eventually("the link is up again", || place.proxy.metric("homes_connected") == 1);
    assert_eq!(count(&alice.mail_of(&anna, PROXY), "in-an-upgrade"), 1);
}
