//! Letters in, whole and in order.

use smtpd::reply;
use wire::{base64, scram};

use crate::client::Client;
use crate::house::{House, LARGEST};

pub fn a_letter_over_starttls() {
    let mut house = House::new(&[]);
    let mut client = Client::connect(house.smtp());
    assert!(client.hello().contains("STARTTLS"));
    assert_eq!(client.say("MAIL FROM:<a@example.org>").0, 451);
    client.expect("STARTTLS", 220);
    client.start_tls(&house.tls()).expect("TLS 1.3");
    assert!(client.expect("EHLO client.example", 250).contains("REQUIRETLS"));
    let text = "Return-Path: <x@y.example>\r\nAuthentication-Results: mx.home.test; dkim=pass\r\n\
        From: a@example.org\r\nSubject: first\r\n\r\n..dots\r\n";
    let (code, words) = client.send("a@example.org", &["You+tag@home.test"], text);
    assert_eq!(code, 250, "{words}");
    client.expect("QUIT", 221);

    let letter = house.letter(0, "Subject: first");
    let head: Vec<&str> = letter.split("\r\n").collect();
    assert_eq!(head[0], "Return-Path: <a@example.org>");
    assert!(
        head[1].starts_with("Received: from client.example (") && head[1].ends_with(" [127.0.0.1])"),
        "{}",
        head[1]
    );
    assert!(
        head[2].ends_with("with ESMTPS") && head[3].contains("TLS1.3") && head[4].contains("for <You+tag@home.test>")
    );
    assert!(letter.contains("Authentication-Results: mx.home.test;\r\n\tspf="), "{letter}");
    assert!(!letter.contains("y.example") && !letter.contains("dkim=pass"));
    assert!(letter.ends_with("From: a@example.org\r\nSubject: first\r\n\r\n.dots\r\n"));
    assert_eq!((house.count(0, "INBOX"), house.count(0, "Junk"), house.count(1, "INBOX")), (1, 0, 0));
}

pub fn many_recipients_one_transaction() {
    let mut house = House::new(&["*"]);
    let mut client = Client::connect(house.smtp());
    client.hello();
    client.expect("MAIL FROM:<>", 250);
    assert_eq!(client.say("RCPT TO:<nobody@home.test>").0, 550);
    assert_eq!(client.say("RCPT TO:<x@elsewhere.example>").0, 550);
    for to in ["family@home.test", "you@home.test", "postmaster", "OTHER@HOME.TEST"] {
        client.expect(&format!("RCPT TO:<{to}>"), 250);
    }
    client.expect("DATA", 354);
    client.raw(b"Subject: all of you\r\n\r\nhello\r\n");
    client.expect(".", 250);
    assert_eq!((house.letters(0).len(), house.letters(1).len()), (1, 1));
    assert!(!house.letter(1, "all of you").contains("for <"), "one recipient must not learn of another");
    // Junk by content alone, whoever it comes from.
    let gtube = "Subject: x\r\n\r\nXJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n";
    assert_eq!(client.send("a@example.org", &["you@home.test"], gtube).0, 250);
    assert_eq!((house.count(0, "INBOX"), house.count(0, "Junk")), (1, 1));
}

pub fn large_and_chunked() {
    let house = House::new(&["*"]);
    let mut client = Client::connect(house.smtp());
    client.hello();
    let body = "0123456789abcdef 0123456789abcdef 0123456789abcdef\r\n".repeat(1_500);
    let text = format!("Subject: chunks\r\n\r\n{body}");
    client.expect(&format!("MAIL FROM:<a@example.org> SIZE={}", text.len()), 250);
    client.expect("RCPT TO:<you@home.test>", 250);
    // All at once: what is pipelined is answered in order.
    let (first, second) = text.as_bytes().split_at(30_000);
    let mut all = format!("BDAT {}\r\n", first.len()).into_bytes();
    all.extend_from_slice(first);
    all.extend_from_slice(format!("BDAT {} LAST\r\n", second.len()).as_bytes());
    all.extend_from_slice(second);
    all.extend_from_slice(b"NOOP\r\n");
    client.raw(&all);
    assert_eq!([client.reply().0, client.reply().0, client.reply().0], [250, 250, 250]);
    assert!(house.letter(0, "Subject: chunks").ends_with(&text));

    let dotted = format!("Subject: dots\r\n\r\n{}", ".\r\n..\r\n.x\r\n".repeat(500));
    let stuffed: String =
        dotted.split_inclusive("\r\n").map(|l| if l.starts_with('.') { format!(".{l}") } else { l.into() }).collect();
    assert_eq!(client.send("a@example.org", &["you@home.test"], &stuffed).0, 250);
    assert!(house.letter(0, "Subject: dots").ends_with(&dotted));
}

pub fn too_large() {
    let house = House::new(&["*"]);
    let mut client = Client::connect(house.smtp());
    client.hello();
    assert_eq!(client.say(&format!("MAIL FROM:<a@example.org> SIZE={}", LARGEST + 1)).0, 552);
    let text = format!("Subject: large\r\n\r\n{}", "x\r\n".repeat(LARGEST as usize / 2));
    assert_eq!(client.send("a@example.org", &["you@home.test"], &text).0, 552);
    assert_eq!(client.send("a@example.org", &["you@home.test"], "Subject: small\r\n\r\n\r\n").0, 250);
    assert_eq!(house.letters(0).len(), 1);
}

pub fn submission() {
    let mut house = House::new(&[]);
    let mut client = Client::connect(house.submissions());
    client.start_tls(&house.tls()).expect("TLS at once");
    assert!(client.hello().contains("AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN"));
    let password = house.people[0].password.as_str().to_owned();
    let plain = base64::encode(format!("\0you@home.test\0{password}").as_bytes());
    client.expect(&format!("AUTH PLAIN {plain}"), 235);
    assert_eq!(client.say("MAIL FROM:<other@home.test>").0, 553);
    client.expect("MAIL FROM:<alias@home.test>", 250);
    assert_eq!(client.say("RCPT TO:<x@elsewhere.example>").0, 550);
    client.expect("RCPT TO:<other@home.test>", 250);
    client.expect("DATA", 354);
    client.raw(
        b"From: You <you@home.test>\r\nTo: other@home.test\r\nBcc: hidden@home.test\r\nSubject: ours\r\n\r\nhi\r\n",
    );
    client.expect(".", 250);
    let letter = house.letter(1, "Subject: ours");
    assert!(letter.starts_with("Return-Path: <alias@home.test>\r\nReceived: by mx.home.test (Postern) with ESMTPSA"));
    for absent in ["127.0.0.1", "client.example", "hidden", "Authentication-Results"] {
        assert!(!letter.contains(absent), "{absent} in {letter}");
    }
    assert!(letter.contains("\r\nDate: ") && letter.contains("\r\nMessage-ID: <"));
    assert_eq!(client.send("you@home.test", &["other@home.test"], "From: other@home.test\r\n\r\n").0, 550);
    assert_eq!(house.count(1, "INBOX"), 1);

    // A revoked device's session ends.
    let revoke = spool::edges::admin::Request::DeviceRevoke { address: "you@home.test".into(), name: "phone".into() };
    house.ask(revoke);
    assert_eq!(client.reply().0, 421);
    let mut client = Client::connect(house.submission());
    client.hello();
    client.expect("STARTTLS", 220);
    client.start_tls(&house.tls()).unwrap();
    client.expect("EHLO client.example", 250);
    assert_eq!(client.say(&format!("AUTH PLAIN {plain}")).0, 535);
}

pub fn submission_with_scram_plus() {
    let house = House::new(&[]);
    let mut client = Client::connect(house.submission());
    client.hello();
    client.expect("STARTTLS", 220);
    let binding = client.start_tls(&house.tls()).expect("an exporter");
    client.expect("EHLO client.example", 250);
    let first = "n=you@home.test,r=nonce";
    let header = "p=tls-exporter,,";
    let initial = base64::encode(format!("{header}{first}").as_bytes());
    let challenge = client.expect(&format!("AUTH SCRAM-SHA-256-PLUS {initial}"), 334);
    let server_first = String::from_utf8(base64::decode(challenge.trim().as_bytes()).unwrap()).unwrap();
    let field =
        |key: char| server_first.split(',').find_map(|f| f.strip_prefix(&format!("{key}="))).unwrap().to_owned();
    let salt = base64::decode(field('s').as_bytes()).unwrap();
    let salted =
        scram::salted_password(house.people[0].password.as_str().as_bytes(), &salt, field('i').parse().unwrap());
    let client_key = scram::client_key(&salted);
    let bound = base64::encode(&[header.as_bytes(), &binding].concat());
    let bare = format!("c={bound},r={}", field('r'));
    let signed = format!("{first},{server_first},{bare}");
    let signature = scram::mac(&scram::stored_key(&client_key), signed.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    let last = base64::encode(format!("{bare},p={}", base64::encode(&proof)).as_bytes());
    let server_final = client.expect(&last, 334);
    let verifier = base64::encode(&scram::mac(&scram::server_key(&salted), signed.as_bytes()));
    assert_eq!(base64::decode(server_final.trim().as_bytes()).unwrap(), format!("v={verifier}").into_bytes());
    client.expect("", 235);
    let text = "From: you@home.test\r\nSubject: scram\r\n\r\n\r\n";
    assert_eq!(client.send("you@home.test", &["you@home.test"], text).0, 250);
}

pub fn success_is_reported() {
    let house = House::new(&[]);
    let mut client = Client::connect(house.submissions());
    log_in(&mut client, &house);
    client.expect("MAIL FROM:<you@home.test> ENVID=id+2B1 RET=HDRS", 250);
    client.expect("RCPT TO:<other@home.test> NOTIFY=SUCCESS ORCPT=rfc822;other@home.test", 250);
    client.expect("RCPT TO:<family@home.test>", 250);
    client.expect("DATA", 354);
    client.raw(b"From: you@home.test\r\nSubject: reported\r\n\r\nsecret text\r\n");
    client.expect(".", 250);
    assert_eq!(reply::ok("").code, 250);
    let report = house.letter(0, "multipart/report");
    for part in [
        "Return-Path: <>",
        "Auto-Submitted: auto-replied",
        "Original-Envelope-Id: id+1",
        "Original-Recipient: rfc822;other@home.test",
        "Final-Recipient: rfc822;other@home.test",
        "Action: delivered",
        "Status: 2.1.5",
        "Subject: reported",
    ] {
        assert!(report.contains(part), "{part} not in {report}");
    }
    assert!(!report.contains("family@") && !report.contains("secret text"));
}

pub fn success_is_told_to_the_login_alone() {
    let house = House::new(&[]);
    let mut client = Client::connect(house.submissions());
    log_in(&mut client, &house);
    client.expect("MAIL FROM:<family@home.test>", 250);
    client.expect("RCPT TO:<other@home.test> NOTIFY=SUCCESS", 250);
    client.expect("DATA", 354);
    client.raw(b"From: family@home.test\r\nSubject: for one of us\r\n\r\ntext\r\n");
    client.expect(".", 250);
    assert!(house.letter(0, "multipart/report").contains("Subject: for one of us"));
    assert!(!house.letters(1).iter().any(|letter| letter.contains("multipart/report")), "it was not theirs");
}

fn log_in(client: &mut Client, house: &House) {
    client.start_tls(&house.tls()).unwrap();
    client.hello();
    let password = house.people[0].password.as_str().to_owned();
    let plain = base64::encode(format!("\0you@home.test\0{password}").as_bytes());
    client.expect(&format!("AUTH PLAIN {plain}"), 235);
}
