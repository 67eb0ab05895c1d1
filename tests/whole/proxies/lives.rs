//! Where a home's names are to lead: its family and the proxy's operator are told the same.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tests::operated::contains;
use tests::proxies::{CLEAN, Home, eventually};

use crate::place::{OWN, PROXY, Place};

/// Whose certificate a sender is shown that is asked whom it wants.
const PROXYS: &str = "rcgen self signed cert";
const SIX: &str = "2a00:44::25";

/// What a family is told to write down for its host.
fn told(home: &Home) -> Vec<String> {
    let print: Value = serde_json::from_slice(&home.postern(&["dns", "--json"]).stdout).unwrap();
    assert_eq!(print["unknown"].as_array().map(Vec::len), Some(0), "{print}");
    let records = print["records"].as_array().unwrap();
    let addresses = records.iter().filter(|record| record["type"] == "A" || record["type"] == "AAAA");
    addresses.map(|record| record["content"].as_str().unwrap().to_owned()).collect()
}

/// What its `dns check` says of the address: verdict and words.
fn checked(home: &Home) -> (String, String) {
    let verdicts: Value = serde_json::from_slice(&home.postern(&["dns", "check", "--json"]).stdout).unwrap();
    let found = verdicts.as_array().unwrap().iter().find(|one| one["type"] == "A").unwrap().clone();
    (found["verdict"].as_str().unwrap().to_owned(), found["words"].to_string())
}

pub fn the_family_and_the_operator_are_told_the_same() {
    let mut place = Place::new();
    place.names.aaaa(CLEAN, SIX);
    for own in OWN {
        place.proxy.host().run(&format!("ip address add {own}/24 dev wan"));
    }
    // Both names lead to the proxy's own address, which is one of them alone to whom it is right.
    let alice = place.home("alice", "44.0.0.71", &["--address", OWN[0]]);
    let bob = place.home("bob", "44.0.0.72", &["--street", "lane"]);
    let doctor = |place: &Place| String::from_utf8(place.proxy.try_operator(&["doctor"]).stdout).unwrap();
    assert_eq!(told(&alice), [OWN[0]], "and no AAAA: she has none");
    assert_eq!(told(&bob), [PROXY, SIX]);
    let (verdict, words) = checked(&alice);
    assert!(verdict == "wrong" && words.contains(&format!("it should be {}", OWN[0])), "{verdict}: {words}");
    let said = doctor(&place);
    let bad = format!(
        "BAD   {name}: {name} leads to {PROXY}\n      -> its family must point it at {}",
        OWN[0],
        name = alice.name
    );
    assert!(said.contains(&bad), "{said}");
    assert!(said.contains(&format!("weak  PTR: {PROXY} has no name")), "{said}");
    // To have both is no better: who comes to the other without a word is nobody's.
    place.names.a(&alice.name, OWN[0]);
    assert_eq!(checked(&alice).0, "wrong", "{:?}", checked(&alice));
    let both = format!("BAD   {name}: {name} leads to {PROXY} or {}", OWN[0], name = alice.name);
    assert!(doctor(&place).contains(&both), "{}", doctor(&place));
    place.names.forget(&alice.name);
    place.names.a(&alice.name, OWN[0]);
    place.names.aaaa(&bob.name, SIX);
    for home in [&alice, &bob] {
        assert_eq!(checked(home).0, "ok", "{:?}", checked(home));
        assert!(
            doctor(&place).contains(&format!("good  {name}: {name} leads here", name = home.name)),
            "{}",
            doctor(&place)
        );
    }
    // A street of its own, from one day to the next: the house that is linked hears of it.
    let config = place.proxy.folder().join("inbound-proxy.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    place.proxy.kill();
    std::fs::write(config, format!("{text}streets = {{ \"{}\" = \"lane\" }}\n", OWN[1])).unwrap();
    place.proxy.start_again();
    eventually("both links are up", || place.proxy.metric("homes_connected") == 2);
    assert_eq!(told(&bob), [OWN[1]]);
    assert_eq!(checked(&bob).0, "wrong");
    assert!(doctor(&place).contains(&format!("must point it at {}", OWN[1])), "{}", doctor(&place));
    // What was said last is known without the proxy.
    place.proxy.kill();
    assert_eq!((told(&alice), told(&bob)), (vec![OWN[0].to_owned()], vec![OWN[1].to_owned()]));
}

/// A family may point its MX record at the proxy before its box has come: its letters are nobody else's.
pub fn a_home_that_is_expected_and_has_mail() {
    let place = Place::new();
    let _alice = place.home("alice", "44.0.0.71", &[]);
    place.names.mx("dora.test", 10, CLEAN);
    place.names.mx("eve.test", 10, "mail.alice.test");
    let leads = || std::fs::read(place.proxy.folder().join("state/leads")).unwrap_or_default();
    let doctor = || String::from_utf8(place.proxy.try_operator(&["doctor"]).stdout).unwrap();
    for (name, own) in [("mail.eve.test", "mail.alice.test"), ("mail.dora.test", PROXYS)] {
        assert_eq!(certificate(&place, None), "mail.alice.test", "she is alone");
        place.proxy.operator(&["invite", "--name", name]);
        eventually("it is known where its mail goes", || contains(&leads(), name));
        eventually(name, || certificate(&place, None) == own);
    }
    // Not only until somebody has answered.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(certificate(&place, None), PROXYS);
    assert!(
        doctor().contains("weak  mail.dora.test: mail.dora.test leads nowhere yet, and mail of its domain comes"),
        "{}",
        doctor()
    );
    assert!(doctor().contains("good  mail.eve.test: mail.eve.test leads nowhere yet"), "{}", doctor());
    place.proxy.operator(&["forget", "mail.dora.test"]);
    eventually("nobody else is expected", || certificate(&place, None) == "mail.alice.test");
    // Nobody answers for it, and that for ten minutes in all.
    place.names.fail("mail.lame.test");
    place.proxy.operator(&["invite", "--name", "mail.lame.test"]);
    eventually("it may lead anywhere", || certificate(&place, None) == PROXYS);
    eventually("since when is on the disk", || contains(&leads(), "mail.lame.test"));
    assert!(doctor().contains("ten minutes after it was invited"), "{}", doctor());
}

/// Whose certificate a sender is shown that asks for this name, or for none.
fn certificate(place: &Place, name: Option<&str>) -> String {
    let at = format!("{PROXY}:25");
    let asks = name.map_or(vec!["-noservername"], |name| vec!["-servername", name]);
    let mut command = place.sender.command("openssl");
    let fixed = ["s_client", "-starttls", "smtp", "-name", "sender.example.org", "-connect", &at];
    let said = command.args(fixed).args(asks).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let subject = said.lines().find_map(|line| line.trim().strip_prefix("subject=")).unwrap_or_default();
    subject.rsplit('=').next().unwrap_or_default().trim().to_owned()
}

/// A second name at the same proxy is no stranger to the first: senders that say neither go on being served, before its box has come
/// and after.
pub fn one_house_with_two_names() {
    let place = Place::new();
    let alice = place.home("alice", "44.0.0.71", &[]);
    let mail = alice.house.add_mailbox("anna");
    let served = |text: &str| {
        place.send("postfix", &[&alice], &["anna@alice.test"], text).log();
        assert_eq!(place.proxy.metric("learning_sessions_total"), 0, "nobody was asked: {text}");
        assert!(alice.mail_of(&mail, PROXY).iter().any(|one| one.contains(text)));
    };
    served("alone");
    let code = place.proxy.operator(&["invite", "--name", "mail.club.test"]);
    let leads = || std::fs::read(place.proxy.folder().join("state/leads")).unwrap_or_default();
    eventually("it is known that its name leads nowhere", || leads().windows(14).any(|name| name == b"mail.club.test"));
    served("beside-an-invitation");
    assert!(alice.try_pair(code.trim()).status.success());
    let list = || String::from_utf8(alice.postern(&["pair", "list"]).stdout).unwrap();
    let connected = || list().matches("connected for").count();
    eventually("both names are served", || connected() == 2);
    assert!(list().contains("mail.alice.test") && list().contains("mail.club.test"), "{}", list());
    assert_eq!(place.proxy.metric("homes_connected"), 1, "by one link");
    assert_eq!(told(&alice), [PROXY, PROXY], "where each name must lead");
    place.names.a("mail.club.test", PROXY);
    served("with-two-names");
    let said = place.proxy.operator(&["list"]);
    assert!(said.contains("names mail.alice.test, mail.club.test"), "{said}");
    for several in [CLEAN, "clean.test:7025"] {
        let refused = alice.postern(&["pair", "revoke", several]);
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && words.contains("mail.club.test@clean.test:7025"), "{words}");
    }
    assert!(!alice.postern(&["pair", "revoke", "clean.test:7026"]).status.success());
    let ended = alice.postern(&["pair", "revoke", "Mail.Club.Test@clean.test.:7025"]);
    assert!(String::from_utf8_lossy(&ended.stdout).contains("`inbound-proxy forget mail.club.test`"), "{ended:?}");
    assert!(!place.proxy.try_operator(&["revoke", "mail.club.test"]).status.success(), "it is the same box");
    place.proxy.operator(&["forget", "mail.club.test"]);
    assert_eq!((connected(), told(&alice)), (1, vec![PROXY.to_owned()]), "the other goes on");
    served("with-one-name");
    // The name by which its operator calls it is given up as any other.
    let code = place.proxy.operator(&["invite", "--name", "mail.club.test"]);
    assert!(alice.try_pair(code.trim()).status.success());
    let ended = alice.postern(&["pair", "revoke", "mail.alice.test"]);
    let words = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(words.contains("`inbound-proxy forget mail.alice.test`), and change"), "{words}");
    let said = place.proxy.operator(&["forget", "mail.alice.test"]);
    assert!(said.contains("mail.club.test stays with its home, which is called mail.club.test"), "{said}");
    eventually("its box has dialled as that", || connected() == 1 && place.proxy.metric("homes_connected") == 1);
    let said = place.proxy.operator(&["list"]);
    assert!(said.starts_with("mail.club.test: paired") && !said.contains("mail.alice.test"), "{said}");
    assert_eq!(certificate(&place, Some("mail.club.test")), "mail.alice.test", "its mail comes");
    let said = place.proxy.operator(&["revoke", "mail.club.test"]);
    assert!(said.contains("mail for mail.club.test waits"), "{said}");
    let print: Value = serde_json::from_slice(&alice.postern(&["dns", "--json"]).stdout).unwrap();
    assert!(print["unknown"].to_string().contains("does not know this house any more"), "{print}");
    assert!(alice.postern(&["pair", "revoke", "CLEAN.test."]).status.success(), "one alone needs no name");
    eventually("none is left", || place.proxy.metric("homes_connected") == 0);
}
