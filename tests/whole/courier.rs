//! Mail that leaves: a house writes to real servers, in a network of the test's own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::alone::{self, DNS, FAR, OTHER};
use tests::far::Far;
use tests::house::{admin, signal};
use tests::names::Names;
use tests::programs::{descendants, python_ok};
use tests::{Authority, House, Imap, Scratch, Setup};

const SUBMIT: &str = r#"
import smtplib, ssl, sys
port, ca, user, password, count, text = sys.argv[1:7]
smtp = smtplib.SMTP('localhost', int(port), timeout=20)
smtp.starttls(context=ssl.create_default_context(cafile=ca))
smtp.login(user, password)
for number in range(int(count)):
    smtp.sendmail(user, sys.argv[7:], text.replace('NUMBER', str(number)).replace('\n', '\r\n'))
smtp.quit()
"#;

/// A house in that network, with Postfix as `far.test` beside it.
struct Place {
    house: House,
    far: Option<Far>,
    names: Names,
    certificate: Authority,
    scratch: Scratch,
}

impl Place {
    fn new(secure: bool) -> Self {
        let scratch = Scratch::new("courier");
        let certificate = Authority::make(scratch.path(), "mx.far.test");
        let names = Names::serve(secure);
        names.mx("far.test", 10, "mx.far.test");
        names.a("mx.far.test", FAR);
        names.mx("null.test", 0, ".");
        let config = scratch.path().join("postern.toml");
        let bundle = scratch.path().join("authorities.pem");
        std::fs::copy(certificate.authority(), &bundle).unwrap();
        let text = format!(
            "dns = [\"{DNS}\"]\ndns-validates = {secure}\nhostname = \"mail.home.test\"\nauthorities = {bundle:?}\n"
        );
        std::fs::write(&config, text).unwrap();
        let arguments = vec!["--config".to_owned(), config.display().to_string()];
        let house = House::start(Setup { arguments, ..Setup::default() });
        Self { house, far: None, names, certificate, scratch }
    }

    fn start_far(&mut self) {
        self.far = Some(Far::start("postfix", FAR, "far.test", &self.certificate));
    }

    fn submit(&self, count: usize, to: &[&str], text: &str) {
        let (port, ca, you) =
            (self.house.port("submission").to_string(), self.house.authority().authority(), self.house.you());
        let count = count.to_string();
        let fixed = [port.as_str(), ca.to_str().unwrap(), &you.address, &you.password, &count, text];
        python_ok(SUBMIT, &[&fixed[..], to].concat());
    }

    fn queue(&self) -> Vec<Value> {
        let output = admin(self.house.data(), false, &["queue", "list"], "");
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn retry(&self) {
        assert!(admin(self.house.data(), false, &["queue", "retry"], "").status.success());
    }

    fn mail(&self, person: &str) -> String {
        self.far.as_ref().map(|far| far.mail(person)).unwrap_or_default()
    }

    /// Everything in the sender's own mailbox.
    fn inbox(&self) -> String {
        let you = self.house.you();
        let mut imap = Imap::login(&self.house, &you.address, &you.password).unwrap();
        assert!(imap.ask("SELECT INBOX").unwrap().ok());
        imap.ask("FETCH 1:* (BODY.PEEK[])").unwrap().text()
    }

    /// SHA-256 of the far server's public key.
    fn digest(&self) -> Vec<u8> {
        let script = format!(
            "openssl x509 -in {} -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary",
            self.certificate.certificate().display()
        );
        Command::new("sh").args(["-c", &script]).output().unwrap().stdout
    }

    fn role(&self, name: &str) -> u32 {
        let is = |pid: &u32| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words == format!("postern\0role\0{name}\0").as_bytes()
        };
        descendants(self.house.pid()).into_iter().find(is).unwrap_or(0)
    }
}

fn eventually(what: &str, place: &Place, holds: impl Fn(&Place) -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !holds(place) {
        assert!(Instant::now() < until, "never: {what}\n{:?}\n{}", place.queue(), place.house.log());
        std::thread::sleep(Duration::from_millis(200));
    }
}

const LETTER: &str =
    "From: You <you@home.test>\nTo: ben@far.test\nBcc: cleo@far.test\nSubject: Hello NUMBER\n\nGood day.\n.dot\n";

#[test]
fn to_postfix_with_dane() {
    if !alone::inside("to_postfix_with_dane") {
        return;
    }
    let mut place = Place::new(true);
    place.start_far();
    place.names.tlsa("mx.far.test", &place.digest());
    place.submit(1, &["ben@far.test", "cleo@far.test", "nobody@far.test", "x@null.test"], LETTER);
    eventually("delivered", &place, |place| {
        place.mail("ben").contains("Good day") && place.mail("cleo").contains("Good day")
    });
    let mail = place.mail("ben");
    for part in ["DKIM-Signature: ", "d=home.test", "Message-ID: <", "Date: ", "using TLSv1.3", "\n.dot"] {
        assert!(mail.contains(part), "{part}: {mail}");
    }
    assert!(!mail.contains("Bcc") && !mail.contains("127.0.0.1"), "{mail}");
    eventually("told of both", &place, |place| place.queue().is_empty());
    let inbox = place.inbox();
    assert!(inbox.contains("nobody@far.test") && inbox.contains("mx.far.test says: 550"), "{inbox}");
    assert!(inbox.contains("null.test says that it takes no mail"), "{inbox}");
    assert!(inbox.contains("Content-Type: message/delivery-status"), "{inbox}");
}

#[test]
fn a_wrong_certificate_gets_nothing_under_dane() {
    if !alone::inside("a_wrong_certificate_gets_nothing_under_dane") {
        return;
    }
    let mut place = Place::new(true);
    place.start_far();
    place.names.tlsa("mx.far.test", &[7; 32]);
    place.submit(1, &["ben@far.test"], LETTER);
    let waits = |place: &Place| place.queue().iter().any(|letter| letter["recipients"][0]["status"] == "4.7.5");
    eventually("deferred", &place, waits);
    assert_eq!(place.mail("ben"), "");
    // The right one, and the admin's "now".
    place.names.forget("_25._tcp.mx.far.test");
    place.names.tlsa("mx.far.test", &place.digest());
    eventually("delivered", &place, |place| {
        place.retry();
        std::thread::sleep(Duration::from_secs(1));
        place.mail("ben").contains("Good day")
    });
}

#[test]
fn a_server_that_is_down_gets_it_later() {
    if !alone::inside("a_server_that_is_down_gets_it_later") {
        return;
    }
    let mut place = Place::new(false);
    place.submit(6, &["ben@far.test"], LETTER);
    let of_all = |place: &Place| place.queue().iter().all(|letter| letter["recipients"][0]["status"] == "4.4.1");
    // One attempt for all of them: one a minute would be long about it.
    place.retry();
    eventually("all deferred", &place, |place| place.queue().len() == 6 && of_all(place));
    place.house.kill();
    place.house.start_again();
    assert_eq!(place.queue().len(), 6, "what waits is durable");
    place.start_far();
    place.retry();
    eventually("delivered", &place, |place| place.mail("ben").contains("Good day"));
    eventually("nothing waits", &place, |place| place.queue().is_empty());
}

const POLICY: &str = r#"
import http.server, ssl, sys
address, certificate, key, policy = sys.argv[1:5]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = open(policy, 'rb').read()
        self.send_response(200 if self.path == '/.well-known/mta-sts.txt' else 404)
        self.send_header('Content-Type', 'text/plain')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.HTTPServer((address, 443), Handler)
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

/// A web server with `far.test`'s policy, whose authority is believed.
fn serve_policy(place: &Place) -> (std::process::Child, std::path::PathBuf) {
    let folder = place.scratch.path().join("web");
    std::fs::create_dir(&folder).unwrap();
    let web = Authority::make(&folder, "mta-sts.far.test");
    let bundle = place.scratch.path().join("authorities.pem");
    let both = [std::fs::read(&bundle).unwrap(), std::fs::read(web.authority()).unwrap()].concat();
    std::fs::write(&bundle, both).unwrap();
    place.names.a("mta-sts.far.test", OTHER);
    let policy = folder.join("policy");
    let child = Command::new("python3")
        .args(["-c", POLICY, OTHER])
        .args([web.certificate(), web.key(), policy.clone()])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    (child, policy)
}

#[test]
fn a_policy_is_kept_to() {
    if !alone::inside("a_policy_is_kept_to") {
        return;
    }
    let mut place = Place::new(false);
    let (mut web, policy) = serve_policy(&place);
    // The authorities are read when the courier begins.
    signal(place.role("courier"), "KILL");
    place.start_far();
    let write = |host: &str| {
        std::fs::write(&policy, format!("version: STSv1\nmode: enforce\nmx: {host}\nmax_age: 86400\n")).unwrap();
    };
    write("other.far.test");
    place.names.txt("_mta-sts.far.test", "v=STSv1; id=1;");
    place.submit(1, &["ben@far.test"], LETTER);
    let waits = |place: &Place| {
        let words = place.queue().first().map(|letter| letter["recipients"][0]["words"].to_string());
        words.is_some_and(|words| words.contains("MTA-STS"))
    };
    eventually("deferred", &place, waits);
    assert_eq!(place.mail("ben"), "");
    // Its domain names the host, under a new id; its certificate is one for that name.
    write("mx.far.test");
    place.names.forget("_mta-sts.far.test");
    place.names.txt("_mta-sts.far.test", "v=STSv1; id=2;");
    eventually("delivered", &place, |place| {
        place.retry();
        std::thread::sleep(Duration::from_secs(1));
        place.mail("ben").contains("Good day")
    });
    let _ = web.kill();
    let _ = web.wait();
}

const STRANGER: &str = r#"
import smtplib, ssl, sys
smtp = smtplib.SMTP('localhost', int(sys.argv[1]), timeout=20)
smtp.starttls(context=ssl.create_default_context(cafile=sys.argv[2]))
smtp.ehlo()
smtp.mail(sys.argv[3])
print(smtp.rcpt(sys.argv[4])[0])
if len(sys.argv) > 5:
    print(smtp.data(sys.argv[5].replace('\n', '\r\n'))[0])
smtp.quit()
"#;

#[test]
fn an_alias_passes_mail_on() {
    if !alone::inside("an_alias_passes_mail_on") {
        return;
    }
    let mut place = Place::new(false);
    place.start_far();
    let output = admin(place.house.data(), false, &["alias", "add", "grandma", "ben@far.test"], "");
    assert!(output.status.success(), "{output:?}");
    let (port, ca) = (place.house.port("smtp").to_string(), place.house.authority().authority());
    let stranger = |words: &[&str]| python_ok(STRANGER, &[&[port.as_str(), ca.to_str().unwrap()], words].concat());
    let text = "From: aunt@example.org\nTo: grandma@home.test\nSubject: Cake\n\nThere is cake.\n";
    assert_eq!(stranger(&["aunt@example.org", "grandma@home.test", text]), "250\n250\n");
    eventually("passed on", &place, |place| place.mail("ben").contains("There is cake."));
    let mail = place.mail("ben");
    let sender = mail.split("Return-Path: <").nth(1).and_then(|rest| rest.split('>').next()).unwrap();
    assert!(sender.starts_with("SRS0=") && sender.ends_with("=example.org=aunt@home.test"), "{mail}");
    assert!(mail.contains("Authentication-Results: mail.home.test"), "{mail}");
    // The way back is for bounces, and for nobody who made it up.
    assert_eq!(stranger(&["", sender]), "250\n");
    assert_eq!(stranger(&["spam@example.org", sender]), "550\n");
    assert_eq!(stranger(&["", &sender.replace("=aunt@", "=uncle@")]), "550\n");
    // Who writes our name into a stranger's letter does not get our signature under it.
    let forged = "From: you@home.test\nTo: grandma@home.test\nSubject: Money\n\nSend some.\n";
    assert_eq!(stranger(&["aunt@example.org", "grandma@home.test", forged]), "250\n250\n");
    eventually("passed on", &place, |place| place.mail("ben").contains("Send some."));
    assert!(!place.mail("ben").contains("DKIM-Signature"), "{}", place.mail("ben"));
    // One of ours writes to it, too.
    place.submit(1, &["grandma@home.test"], LETTER);
    eventually("sent", &place, |place| place.mail("ben").contains("Good day."));
    eventually("nothing waits", &place, |place| place.queue().is_empty());
    let list = admin(place.house.data(), false, &["alias", "list"], "");
    assert!(String::from_utf8_lossy(&list.stdout).contains("ben@far.test"), "{list:?}");
    assert!(admin(place.house.data(), false, &["alias", "remove", "grandma"], "").status.success());
    assert_eq!(stranger(&["aunt@example.org", "grandma@home.test"]), "550\n");
}

#[test]
fn killed_again_and_again_nothing_is_lost() {
    if !alone::inside("killed_again_and_again_nothing_is_lost") {
        return;
    }
    const LETTERS: usize = 200;
    let mut place = Place::new(false);
    place.start_far();
    std::thread::scope(|scope| {
        let place = &place;
        let submitting = scope.spawn(|| place.submit(LETTERS, &["ben@far.test"], LETTER));
        for round in 0..6 {
            std::thread::sleep(Duration::from_millis(400));
            let role = place.role(if round < 5 { "courier" } else { "keeper" });
            // The keeper only once all is submitted: a session does not outlive it.
            if round == 5 {
                std::thread::sleep(Duration::from_secs(1));
            }
            if role != 0 && (round < 5 || submitting.is_finished()) {
                signal(role, "KILL");
            }
        }
    });
    eventually("all delivered", &place, |place| {
        place.retry();
        let mail = place.mail("ben");
        (0..LETTERS).all(|number| mail.contains(&format!("Subject: Hello {number}\n")))
    });
    let twice = place.mail("ben").matches("Subject: Hello ").count() - LETTERS;
    println!("{twice} letters came twice");
    assert!(twice <= 60, "a delivery is repeated only when somebody died before it was written down");
}
