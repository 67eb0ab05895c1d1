//! The whole of it: out by mutt, over TLS that a signed zone proves, and the answer back in.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

use tests::Place;
use tests::alone::{self, FAR, HOME};
use tests::far::Far;
use tests::place::hexadecimal;
use tests::zone::Zone;

use crate::verified;

/// The settings that README gives for mutt; Debian 12's cannot finish SCRAM-SHA-256-PLUS over TLS 1.3.
fn mutt(place: &Place, subject: &str, to: &[&str], text: &str) {
    let (you, rc) = (place.house.you(), place.scratch.path().join("muttrc"));
    let settings = format!(
        "set from=\"{address}\"\nset smtp_url=\"smtps://{address}@localhost:{port}/\"\nset smtp_pass=\"{password}\"\n\
         set smtp_authenticators=\"plain\"\nset certificate_file=\"{ca}\"\nset ssl_ca_certificates_file=\"{ca}\"\n\
         set copy=no\n",
        address = you.address,
        password = you.password,
        port = place.house.port("submissions"),
        ca = place.house.authority().authority().display()
    );
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&rc).unwrap();
    file.write_all(settings.as_bytes()).unwrap();
    let mut mutt = Command::new("mutt");
    mutt.args(["-n", "-F"]).arg(&rc).args(["-s", subject]).args(to).env("HOME", place.scratch.path());
    let mut child = mutt.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{}", place.house.log());
}

#[test]
fn a_letter_and_its_answer() {
    if !alone::inside("answer::a_letter_and_its_answer") {
        return;
    }
    let zone = Zone::serve("");
    let place = Place::new(true, "");
    let theirs = format!(
        "far.test. 1 IN MX 10 mx.far.test.\nmx.far.test. 1 IN A {FAR}\n\
         far.test. 1 IN TXT \"v=spf1 mx -all\"\n_25._tcp.mx.far.test. 1 IN TLSA 3 1 1 {}\n",
        hexadecimal(&place.certificate)
    );
    zone.change(&(verified::printed(&place) + &theirs));
    let check = place.house.admin(&["dns", "check"], "");
    assert!(check.status.success(), "`postern dns check` of what `postern dns` printed: {check:?}");
    let far = Far::start("postfix", FAR, "far.test", &place.certificate);

    mutt(&place, "a question", &["ben@far.test", "nobody@far.test"], "When do you come?\n");
    place.eventually("delivered", || far.mail("ben").contains("When do you come?"));
    let mail = far.mail("ben");
    assert!(mail.contains("Subject: a question") && mail.contains("using TLSv1.3"), "{mail}");
    verified::verify(&place, &mail, "you@home.test");
    place.eventually("nothing waits", || place.is_all_gone());

    let id = mail.split("Message-ID: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    let answer =
        format!("From: ben@far.test\nTo: you@home.test\nSubject: Re: a question\nIn-Reply-To: {id}\n\nOn Sunday.\n");
    far.write("ben@far.test", "you@home.test", &answer);
    place.eventually("the answer", || place.inbox().contains("On Sunday."));
    // Over TLS that our own printed record proves.
    let verified = format!("Verified TLS connection established to mail.home.test[{HOME}]:25");
    place.eventually(&verified, || far.log().contains(&verified));
    let inbox = place.inbox();
    for words in ["Subject: Re: a question", "spf=pass", "TLS1.3"] {
        assert!(inbox.contains(words), "{words}: {inbox}");
    }
    // And what was refused, in words and for programs.
    for words in [
        "nobody@far.test",
        "mx.far.test says: 550",
        "Nobody will try again",
        "Content-Type: message/delivery-status",
        "Action: failed",
        "Diagnostic-Code: smtp; 550",
    ] {
        assert!(inbox.contains(words), "{words}: {inbox}");
    }
}
