//! What others make of a letter of ours: dkimpy, pyspf and authheaders, with the records that `postern dns` prints.

use tests::Place;
use tests::alone::{DNS, HOME};
use tests::names::Names;
use tests::programs::debian_python_ok;

/// Asks the test's name server, and has the letter.
const BEGIN: &str = r"
import sys, dns.resolver, dkim
path, server, *more = sys.argv[1:]
resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers = [server]
dns.resolver.default_resolver = resolver
message = open(path, 'rb').read()
";

const VERIFY: &str = r"
import spf, authheaders
address, sender = more
signed = dkim.DKIM(message)
for number in range(2):
    assert signed.verify(number), number
    print(signed.signature_fields[b'a'].decode(), signed.domain.decode())
print('spf', spf.check2(i=address, s=sender, h='mail.home.test')[0])
print(authheaders.authenticate_message(message, 'far.test', ip=address, mail_from=sender, helo='mail.home.test'))
";

const VERIFY_SEAL: &str = r"
print(*dkim.arc_verify(message))
";

/// The zone file that `postern dns` prints, once both of its signatures' keys are made.
pub fn printed(place: &Place) -> String {
    let rsa = |zone: &str| zone.contains("k=rsa");
    place.eventually("both keys", || rsa(&zone(place)));
    zone(place)
}

fn zone(place: &Place) -> String {
    let output = std::process::Command::new(tests::house::binary())
        .args(["dns", "--zone", "--data"])
        .arg(place.house.data())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Puts what it prints of text into names that are served without a zone file.
pub fn publish(place: &Place, names: &Names) {
    printed(place);
    let records = place.house.admin_json(&["dns"], "");
    for record in records["records"].as_array().unwrap() {
        let (name, content) = (record["name"].as_str().unwrap(), record["content"].as_str().unwrap());
        if record["type"] == "TXT" {
            // "..." "...": strings of at most 255 bytes.
            names.txt(name, &content.trim_matches('"').replace("\" \"", ""));
        }
    }
    names.mx("home.test", 10, "mail.home.test");
    names.a("mail.home.test", HOME);
}

/// A letter as it lies in a far mailbox: signed by both keys for its author's domain, from an address that may send for
/// it, and so what its domain's policy asks.
pub fn verify(place: &Place, mail: &str, sender: &str) {
    let said = asked(place, mail, VERIFY, &[HOME, sender]);
    for words in ["rsa-sha256 home.test", "ed25519-sha256 home.test", "spf pass", "dmarc=pass"] {
        assert!(said.contains(words), "{words}: {said}\n{mail}");
    }
}

/// A letter that an alias passed on: sealed, so that who trusts us need not ask where it came from.
pub fn verify_seal(place: &Place, mail: &str) {
    let said = asked(place, mail, VERIFY_SEAL, &[]);
    assert!(said.starts_with("b'pass'"), "{said}\n{mail}");
}

fn asked(place: &Place, mail: &str, script: &str, more: &[&str]) -> String {
    let path = place.scratch.path().join("letter");
    // Without mbox's line.
    let letter = if mail.starts_with("From ") { mail.split_once('\n').unwrap().1 } else { mail };
    std::fs::write(&path, letter).unwrap();
    debian_python_ok(&[BEGIN, script].concat(), &[&[path.to_str().unwrap(), DNS], more].concat())
}
