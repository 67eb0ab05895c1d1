//! SPF, DKIM, DMARC, iprev against zones of our own.

use std::time::Instant;

use mail_auth::common::crypto::Ed25519Key;
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::DkimSigner;
use ring::signature::{Ed25519KeyPair, KeyPair};
use wire::base64;

use crate::client::Client;
use crate::house::House;
use crate::zone::Zone;

fn zone() -> Zone {
    Zone::default()
        .txt("good.example", "v=spf1 ip4:127.0.0.1 -all")
        .txt("_dmarc.good.example", "v=DMARC1; p=reject")
        .txt("strict.example", "v=spf1 -all")
        .txt("_dmarc.strict.example", "v=DMARC1; p=reject")
        .txt("careful.example", "v=spf1 -all")
        .txt("_dmarc.careful.example", "v=DMARC1; p=quarantine")
        .txt("lax.example", "v=spf1 -all")
        .txt("_dmarc.lax.example", "v=DMARC1; p=none")
        .txt("slow-spf.example", "v=spf1 include:silent.example -all")
        .txt("_dmarc.slow-spf.example", "v=DMARC1; p=reject")
        .ptr("1.0.0.127.in-addr.arpa", "client.good.example")
        .a("client.good.example", [127, 0, 0, 1])
}

fn letter(domain: &str, subject: &str) -> String {
    format!(
        "From: a@{domain}\r\nTo: you@home.test\r\nDate: Sat, 21 Nov 2026 09:30:00 +0000\r\n\
         Message-ID: <1@{domain}>\r\nSubject: {subject}\r\n\r\nHello.\r\n"
    )
}

fn connect(house: &House) -> Client {
    let mut client = Client::connect(house.smtp());
    client.hello();
    client
}

pub fn everything_passes() {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
    let public = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let record = format!("v=DKIM1; k=ed25519; p={}", base64::encode(public.public_key().as_ref()));
    let mut house = House::with_dns(&["*"], zone().txt("sel._domainkey.good.example", &record));
    let text = letter("good.example", "signed");
    let key = Ed25519Key::from_pkcs8_der(pkcs8.as_ref()).unwrap();
    let signer = DkimSigner::from_key(key).domain("good.example").selector("sel").headers(["From", "Subject"]);
    let signature = signer.sign(text.as_bytes()).unwrap().to_header();
    let mut client = connect(&house);
    assert_eq!(client.send("a@good.example", &["you@home.test"], &format!("{signature}{text}")).0, 250);
    let stored = house.letter(0, "Subject: signed");
    for result in
        ["spf=pass", "dkim=pass", "dmarc=pass", "iprev=pass", "smtp.mailfrom=a@good.example", "header.d=good.example"]
    {
        assert!(stored.contains(result), "{result} not in {stored}");
    }
    assert!(stored.contains(" [127.0.0.1])"), "{stored}");
    assert!(stored.ends_with(&format!("{signature}{text}")), "what was signed is as it came");
    // Changed on the way.
    let forged = format!("{signature}{}", letter("good.example", "changed"));
    assert_eq!(client.send("a@good.example", &["you@home.test"], &forged).0, 250);
    let stored = house.letter(0, "Subject: changed");
    assert!(stored.contains("dkim=fail") && stored.contains("dmarc=pass"), "{stored}");
    assert_eq!(house.count(0, "INBOX"), 2);
    // A second subject on top: the signature still fits the lower one, and people read the upper.
    let topped = format!("Subject: on top\r\n{signature}{text}");
    assert_eq!(client.send("a@good.example", &["you@home.test"], &topped).0, 250);
    let stored = house.letter(0, "Subject: on top");
    assert!(!stored.contains("dkim=pass") && stored.contains("dmarc=pass"), "{stored}");
}

pub fn policies() {
    let mut house = House::with_dns(&["*"], zone());
    let mut client = connect(&house);
    let (code, words) = client.send("a@strict.example", &["you@home.test"], &letter("strict.example", "one"));
    assert!(code == 550 && words.contains("DMARC"), "{code} {words}");
    // Another's envelope does not help From.
    assert_eq!(client.send("a@good.example", &["you@home.test"], &letter("strict.example", "two")).0, 550);
    assert_eq!(client.send("a@careful.example", &["you@home.test"], &letter("careful.example", "three")).0, 250);
    assert_eq!((house.count(0, "INBOX"), house.count(0, "Junk")), (0, 1));
    assert_eq!(client.send("a@lax.example", &["you@home.test"], &letter("lax.example", "four")).0, 250);
    assert!(house.letter(0, "Subject: four").contains("dmarc=fail"));
    assert_eq!(client.send("", &["you@home.test"], &letter("unknown.example", "five")).0, 250);
    assert!(house.letter(0, "Subject: five").contains("spf=none"));
}

pub fn dns_in_trouble() {
    let house = House::with_dns(&["*"], zone());
    let mut client = connect(&house);
    let began = Instant::now();
    assert_eq!(client.send("a@broken.example", &["you@home.test"], &letter("broken.example", "servfail")).0, 250);
    assert!(began.elapsed() < smtpd::limits::LOOKUP, "an answer is not waited for: {:?}", began.elapsed());
    let stored = house.letter(0, "Subject: servfail");
    assert!(stored.contains("spf=temperror") && stored.contains("dmarc=temperror"), "{stored}");
    // Asked once; then not again for a while.
    let asked = house.zone.asked();
    assert_eq!(client.send("a@broken.example", &["you@home.test"], &letter("broken.example", "again")).0, 250);
    assert_eq!(house.zone.asked(), asked);
    let began = Instant::now();
    assert_eq!(client.send("a@silent.example", &["you@home.test"], &letter("silent.example", "silence")).0, 250);
    assert!(began.elapsed() < smtpd::limits::AUTHENTICATION * 2, "{:?}", began.elapsed());
    assert!(house.letter(0, "Subject: silence").contains("spf=temperror"));
}

/// Signatures by the thousand, each with a body length of its own, must not keep a core busy.
pub fn many_signatures() {
    let house = House::with_dns(&["*"], zone());
    let mut client = connect(&house);
    let signature = |n: usize| {
        format!(
            "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=good.example; s=sel; l={n}; h=From; bh=AAAA; b=AAAA\r\n"
        )
    };
    let signatures: String = (0..600).map(signature).collect();
    let text = format!("{signatures}{}", letter("good.example", "signatures"));
    let began = Instant::now();
    assert_eq!(client.send("a@good.example", &["you@home.test"], &text).0, 250);
    assert!(began.elapsed() < smtpd::limits::AUTHENTICATION, "{:?}", began.elapsed());
    assert!(house.letter(0, "Subject: signatures").contains("dmarc=pass"), "SPF alone is enough");
}

fn signature(domain: &str, selector: &str) -> String {
    let body = base64::encode(&wire::scram::sha256(b"Hello.\r\n"));
    format!(
        "DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d={domain}; s={selector}; h=From; bh={body}; b=AAAA\r\n"
    )
}

/// A forger's own name servers may be as slow as they like: what a domain asks for holds all the same.
pub fn slow_keys_switch_no_policy_off() {
    let house = House::with_dns(&["*"], zone());
    let mut client = connect(&house);
    let mut send = |signature: &str, envelope: &str, from: &str, subject: &str| {
        client.send(envelope, &["you@home.test"], &format!("{signature}{}", letter(from, subject)))
    };
    let slow = signature("silent.example", "sel");
    let (code, words) = send(&slow, "a@good.example", "strict.example", "not aligned");
    assert!(code == 550 && words.contains("DMARC"), "{code} {words}");
    // One that could be the domain's own: nobody knows yet.
    let (code, words) = send(&signature("strict.example", "silent"), "a@good.example", "strict.example", "aligned");
    assert!(code == 451 && words.starts_with("4.7.1"), "{code} {words}");
    let (code, words) = send("", "a@slow-spf.example", "slow-spf.example", "its SPF");
    assert!(code == 451 && words.starts_with("4.7.1"), "{code} {words}");
    // Where nothing is asked for, nothing is undecided.
    let began = Instant::now();
    assert_eq!(send(&slow, "a@good.example", "lax.example", "lax").0, 250);
    assert!(began.elapsed() < smtpd::limits::LOOKUP, "that key is not asked for again: {:?}", began.elapsed());
}

/// RFC 7489 §6.6.1: of several domains in From the strictest that is not met decides.
pub fn several_authors() {
    let house = House::with_dns(&["*"], zone());
    let mut client = connect(&house);
    let mut send = |from: &str| {
        let text = format!("From: {from}\r\nTo: you@home.test\r\nSubject: several\r\n\r\nHello.\r\n");
        client.send("a@good.example", &["you@home.test"], &text).0
    };
    assert_eq!(send("a@good.example, b@strict.example"), 550);
    assert_eq!(send("B <b@strict.example>, a@good.example"), 550);
    assert_eq!(send("a@good.example\r\nFrom: b@strict.example"), 554);
    assert_eq!(send(&format!("b@{}.strict.example", "x".repeat(70))), 550, "no name of DNS, but under one");
    let many: Vec<String> = (0..20).map(|n| format!("a@d{n}.example")).collect();
    assert_eq!(send(&many.join(", ")), 554);
    assert_eq!(send("a@good.example, b@lax.example"), 250);
    let stored = house.letter(0, "Subject: several");
    assert!(stored.contains("header.from=good.example") && stored.contains("header.from=lax.example"), "{stored}");
}

/// The second letter of a sender asks DNS nothing, also about what does not exist.
pub fn answers_are_kept() {
    let house = House::with_dns(&["*"], zone());
    let mut client = connect(&house);
    let signed = format!("{}{}", signature("good.example", "none"), letter("good.example", "kept"));
    assert_eq!(client.send("a@good.example", &["you@home.test"], &signed).0, 250);
    let asked = house.zone.asked();
    assert!(asked >= 4, "SPF, two names for DMARC, and a key that is not there: {asked}");
    assert_eq!(client.send("a@good.example", &["you@home.test"], &signed).0, 250);
    assert_eq!(house.zone.asked(), asked);
}
