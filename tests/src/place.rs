//! A house that sends mail, in a network of the test's own ([`crate::alone`]).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::alone::{DNS, HOME};
use crate::house::Mailbox;
use crate::programs::{descendants, python_ok};
use crate::{Authority, House, Imap, Scratch, Setup};

/// How long anything is waited for: two busy cores make everything slow.
const PATIENCE: Duration = Duration::from_secs(300);

const SUBMIT: &str = r#"
import smtplib, ssl, sys
port, ca, user, password, count, text = sys.argv[1:7]
smtp = smtplib.SMTP('localhost', int(port), timeout=60)
smtp.starttls(context=ssl.create_default_context(cafile=ca))
smtp.login(user, password)
for number in range(int(count)):
    smtp.sendmail(user, sys.argv[7:], text.replace('NUMBER', str(number)).replace('\n', '\r\n'))
smtp.quit()
"#;

const STRANGER: &str = r#"
import smtplib, ssl, sys
smtp = smtplib.SMTP('localhost', int(sys.argv[1]), timeout=60)
smtp.starttls(context=ssl.create_default_context(cafile=sys.argv[2]))
smtp.ehlo()
smtp.mail(sys.argv[3])
for to in sys.argv[4].split(','):
    print(smtp.rcpt(to)[0])
if len(sys.argv) > 5:
    print(smtp.data(sys.argv[5].replace('\n', '\r\n'))[0])
smtp.quit()
"#;

/// A letter to submit; each is numbered.
pub const LETTER: &str =
    "From: You <you@home.test>\nTo: ben@far.test\nBcc: cleo@far.test\nSubject: Hello NUMBER\n\nGood day.\n.dot\n";

/// The house and what far servers show it.
#[derive(Debug)]
pub struct Place {
    /// On the real ports, at [`HOME`] and on the loopback.
    pub house: House,
    /// For `mx.far.test`; its authority is believed where a policy asks for one.
    pub certificate: Authority,
    /// The test's own files; `authorities.pem` is what the house believes.
    pub scratch: Scratch,
}

impl Place {
    /// A house that asks [`DNS`]; `secure`: and believes that it validates. `config`: more lines of `postern.toml`.
    #[must_use]
    pub fn new(secure: bool, config: &str) -> Self {
        Self::with(secure, config, None)
    }

    /// The same, of another server than the one that was built.
    #[must_use]
    pub fn with(secure: bool, config: &str, binary: Option<PathBuf>) -> Self {
        let scratch = Scratch::new("courier");
        let certificate = Authority::make(scratch.path(), "mx.far.test");
        let bundle = scratch.path().join("authorities.pem");
        std::fs::copy(certificate.authority(), &bundle).unwrap();
        let text = format!(
            "bind = [\"127.0.0.1\", \"{HOME}\"]\nport-offset = 0\nhostname = \"mail.home.test\"\ndns = [\"{DNS}\"]\n\
             dns-validates = {secure}\nauthorities = {bundle:?}\n{config}"
        );
        let house = House::start(Setup { config: Some(text), binary, ..Setup::default() });
        Self { house, certificate, scratch }
    }

    /// One more authority that is believed, once the courier begins anew.
    pub fn believe(&self, authority: &Path) {
        let bundle = self.scratch.path().join("authorities.pem");
        let both = [std::fs::read(&bundle).unwrap(), std::fs::read(authority).unwrap()].concat();
        std::fs::write(&bundle, both).unwrap();
    }

    /// Submits that many letters.
    pub fn submit(&self, count: usize, to: &[&str], text: &str) {
        self.submit_as(self.house.you(), count, to, text);
    }

    /// The same by somebody else.
    pub fn submit_as(&self, who: &Mailbox, count: usize, to: &[&str], text: &str) {
        let (port, ca) = (self.house.port("submission").to_string(), self.house.authority().authority());
        let count = count.to_string();
        let fixed = [port.as_str(), ca.to_str().unwrap(), &who.address, &who.password, &count, text];
        python_ok(SUBMIT, &[&fixed[..], to].concat());
    }

    /// What a stranger gets for RCPT (several have commas between them), and for his letter when there is one, a line each.
    #[must_use]
    pub fn stranger(&self, words: &[&str]) -> String {
        let (port, ca) = (self.house.port("smtp").to_string(), self.house.authority().authority());
        python_ok(STRANGER, &[&[port.as_str(), ca.to_str().unwrap()], words].concat())
    }

    /// What waits to leave; nothing while the keeper is away.
    #[must_use]
    pub fn queue(&self) -> Option<Vec<Value>> {
        let output = self.house.admin(&["queue", "list"], "");
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_all_gone(&self) -> bool {
        self.queue().is_some_and(|queue| queue.is_empty())
    }

    /// Whether somebody there waits, for a reason with that status and those words.
    #[must_use]
    pub fn waits(&self, address: &str, status: &str, words: &str) -> bool {
        let queue = self.queue().unwrap_or_default();
        let mut recipients = queue.iter().filter_map(|letter| letter["recipients"].as_array()).flatten();
        let said = |one: &Value| one["words"].as_str().is_some_and(|text| text.contains(words));
        recipients.any(|one| one["to"] == address && one["status"] == status && said(one))
    }

    /// The admin's "now".
    pub fn retry(&self) {
        let output = self.house.admin(&["queue", "retry"], "");
        assert!(output.status.success(), "{output:?}");
    }

    /// Everything in the first mailbox.
    #[must_use]
    pub fn inbox(&self) -> String {
        let you = self.house.you();
        let mut imap = Imap::login(&self.house, &you.address, &you.password).unwrap();
        assert!(imap.ask("SELECT INBOX").unwrap().ok());
        imap.ask("FETCH 1:* (BODY.PEEK[])").unwrap().text()
    }

    /// The process of that role; 0 when there is none now.
    #[must_use]
    pub fn role(&self, name: &str) -> u32 {
        let is = |pid: &u32| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words == format!("postern\0role\0{name}\0").as_bytes()
        };
        descendants(self.house.pid()).into_iter().find(is).unwrap_or(0)
    }

    /// Waits until it holds.
    pub fn eventually(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < until, "never: {what}\n{:?}\n{}", self.queue(), self.house.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The same, with the admin's "now" each time.
    pub fn retried_until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        self.eventually(what, || {
            let held = holds();
            if !held {
                self.retry();
            }
            held
        });
    }
}

/// SHA-256 of a certificate's public key, as TLSA 3 1 1 has it.
#[must_use]
pub fn digest(certificate: &Authority) -> Vec<u8> {
    let script = format!(
        "openssl x509 -in {} -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary",
        certificate.certificate().display()
    );
    Command::new("sh").args(["-c", &script]).output().unwrap().stdout
}

/// The same in hexadecimal, for a zone file.
#[must_use]
pub fn hexadecimal(certificate: &Authority) -> String {
    digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect()
}
