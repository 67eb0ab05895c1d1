//! What `up` was told on its command line counts for the other commands, too.

use std::fs;

use serde_json::Value;

use super::{House, User};

/// A certificate, a name and a domain that no configuration knows.
fn started(user: User, name: &str) -> House {
    House::start_with(user, name, |folder| {
        let made = rcgen::generate_simple_self_signed(vec!["mail.family.test".to_owned()]).unwrap();
        fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
        // So that the first start does not write the domain down.
        fs::create_dir(folder.join("data")).unwrap();
        fs::write(folder.join("data/postern.toml"), "").unwrap();
        if user == User::Anybody {
            for path in [folder.join("data"), folder.join("data/postern.toml")] {
                std::os::unix::fs::chown(path, Some(65_534), Some(65_534)).unwrap();
            }
        }
        let file = |name: &str| folder.join(name).display().to_string();
        let options = ["--domain", "family.test", "--hostname", "mail.family.test", "--tls-cert"].map(str::to_owned);
        options.into_iter().chain([file("cert.pem"), "--tls-key".to_owned(), file("key.pem")]).collect()
    })
}

pub fn the_doctor_knows_what_up_was_told(user: User) {
    let house = started(user, "doctor");
    let secret = format!("{}\n", house.said["first"]["device_password"].as_str().unwrap());
    let output = house.admin(&["doctor", "--mailbox", "you", "--unlock-stdin"], &secret);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = answer["findings"].as_array().unwrap();
    let about = |about: &str| findings.iter().filter(|one| one["about"] == about).cloned().collect::<Vec<_>>();
    for finding in [about("certificate"), about("letter")].concat() {
        assert_eq!(finding["state"], "good", "{finding}");
    }
    assert!(about("certificate").iter().any(|one| one["found"] == "it names mail.family.test"), "{answer}");
    assert!(about("letter").iter().any(|one| one["found"] == "a letter to you@family.test was taken"), "{answer}");
}

pub fn what_is_printed_to_type_is_what_is_served(user: User) {
    let house = started(user, "type");
    let secret = format!("{}\n", house.said["first"]["device_password"].as_str().unwrap());
    let printed = [
        house.admin_in_words(&["mailbox", "add", "anna"], ""),
        house.admin_in_words(&["device", "add", "you", "tablet", "--unlock-stdin"], &secret),
    ];
    for (text, login) in printed.iter().zip(["anna@family.test", "you@family.test"]) {
        let lines: Vec<_> =
            text.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let port = |service: &str| house.address(service).port();
        for line in [
            format!("incoming mail (IMAP) server localhost, port {}, SSL/TLS", port("imaps")),
            format!("outgoing mail (SMTP) server localhost, port {}, SSL/TLS", port("submissions")),
            format!("or server localhost, port {}, STARTTLS", port("submission")),
            format!("login name {login}"),
        ] {
            assert!(lines.contains(&line), "{line}:\n{text}");
        }
    }
}
