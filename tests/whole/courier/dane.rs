//! DANE, proved by a zone that is really signed.

use tests::Place;
use tests::alone::{self, FAR, OTHER};
use tests::far::Far;
use tests::faulty::Faulty;
use tests::place::{LETTER, hexadecimal};
use tests::zone::Zone;

/// `far.test` and `dark.test`, with those digests.
fn records(far: &str, dark: &str) -> String {
    let host = |domain: &str, address: &str, digest: &str| {
        format!(
            "{domain}. 1 IN MX 10 mx.{domain}.\nmx.{domain}. 1 IN A {address}\n_25._tcp.mx.{domain}. 1 IN TLSA 3 1 1 {digest}\n"
        )
    };
    host("far.test", FAR, far) + &host("dark.test", OTHER, dark)
}

#[test]
fn without_its_proof_nothing_goes() {
    if !alone::inside("dane::without_its_proof_nothing_goes") {
        return;
    }
    let zone = Zone::serve(&records(&"07".repeat(32), &"07".repeat(32)));
    let place = Place::new(true, "clear-text = [\"dark.test\"]\n");
    let far = Far::start("exim", FAR, "far.test", &place.certificate);
    let dark = Far::start("smtp-sink", OTHER, "dark.test", &place.certificate);
    place.submit(1, &["ben@far.test", "ben@dark.test"], LETTER);
    place.eventually("no such certificate", || place.waits("ben@far.test", "4.7.5", ""));
    // Its TLS is gone, and no setting is stronger than what it has published.
    place.eventually("no TLS at all", || place.waits("ben@dark.test", "4.7.4", "STARTTLS"));
    assert_eq!(far.mail("ben") + &dark.mail("everybody"), "", "{}", far.log());
    zone.change(&records(&hexadecimal(&place.certificate), &"07".repeat(32)));
    place.retried_until("delivered", || far.mail("ben").contains("Good day"));
    assert_eq!(dark.mail("everybody"), "");
    drop(dark);
    // TLS that breaks in its handshake is no reason to do without.
    let broken = Faulty::start("garbage", OTHER, &place.certificate, place.scratch.path());
    place.retried_until("no handshake", || place.waits("ben@dark.test", "4.7.5", "no encrypted connection"));
    assert!(!broken.log().contains("MAIL"), "{}", broken.log());
}

#[test]
fn where_signatures_are_taken_away_nothing_goes() {
    if !alone::inside("dane::where_signatures_are_taken_away_nothing_goes") {
        return;
    }
    let place = Place::new(true, "");
    let records = records(&hexadecimal(&place.certificate), &"07".repeat(32));
    let zone = Zone::serve(&records);
    let far = Far::start("opensmtpd", FAR, "far.test", &place.certificate);
    zone.spoil();
    place.submit(1, &["ben@far.test"], LETTER);
    place.eventually("nobody knows where to", || place.waits("ben@far.test", "4.4.3", ""));
    assert_eq!(far.mail("ben"), "", "{}", far.log());
    zone.mend();
    place.retried_until("delivered", || far.mail("ben").contains("Good day"));
}
