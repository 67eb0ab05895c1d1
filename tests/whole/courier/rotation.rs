//! New DKIM keys, while mail goes out.

use tests::Place;
use tests::alone::{self, FAR};
use tests::far::Far;
use tests::place::LETTER;
use tests::zone::Zone;

use crate::verified;

#[test]
fn every_letter_verifies_while_keys_change() {
    if !alone::inside("rotation::every_letter_verifies_while_keys_change") {
        return;
    }
    let zone = Zone::serve("");
    let place = Place::new(true, "");
    let theirs = format!("far.test. 1 IN MX 10 mx.far.test.\nmx.far.test. 1 IN A {FAR}\n");
    let publish = || zone.change(&(verified::printed(&place) + &theirs));
    publish();
    let far = Far::start("opensmtpd", FAR, "far.test", &place.certificate);
    let rotate = || place.house.admin(&["dkim", "rotate"], "");
    let made = place.house.admin_json(&["dkim", "rotate"], "");
    let names = made["add"].as_array().unwrap().iter().map(|record| record["name"].as_str().unwrap());
    let selectors: Vec<&str> = names.map(|name| name.split('.').next().unwrap()).collect();
    assert_eq!(selectors.len(), 2, "{made}");
    assert!(!rotate().status.success(), "DNS does not have them yet");
    publish();
    let done = place.house.admin_json(&["dkim", "rotate"], "");
    std::thread::sleep(std::time::Duration::from_secs(done["seconds"].as_u64().expect("when they sign")));
    let of_new = |mail: &str| selectors.iter().all(|one| mail.contains(&format!("s={one};")));
    for number in 0..2 {
        let text = LETTER.replace("NUMBER", &format!("after {number}"));
        place.submit(1, &["ben@far.test"], &text);
        place.eventually("delivered", || far.letters("ben").len() > number);
        assert!(of_new(&far.mail("ben")), "the first letter after the words is signed as they say");
    }
    for letter in far.letters("ben") {
        verified::verify(&place, &letter, "you@home.test");
    }
}
