//! Hosts of which some addresses are silent or lead nowhere, and one answers.

use std::time::Duration;

use tests::outbound::Stranger;
use tests::proxies::{Home, eventually};

use crate::place::{FAR, PROXY, PROXY6, Place};

/// Addresses whose packets go to a machine that is not there: nobody says so.
const SILENT6: [&str; 2] = ["2a00:44::98", "2a00:44::99"];
const SILENT4: [&str; 2] = ["44.0.0.98", "44.0.0.99"];

const LETTER: &str = "From: anna@alice.test\nTo: ben@far.test\nSubject: hello\n\nbehind-two-silent-ones\n";

pub fn no_address_hides_the_one_that_answers() {
    let place = Place::new();
    place.proxy.host().run(&format!("ip -6 address add {PROXY6}/64 dev wan nodad"));
    for silent in SILENT6.into_iter().chain(SILENT4) {
        place.proxy.host().run(&format!("ip neigh add {silent} lladdr 02:00:00:00:00:99 dev wan nud permanent"));
    }
    let far = place.far("postfix", 0, "far.test");
    // The usual fault: a host whose IPv6 nobody has tried.
    SILENT6.iter().for_each(|silent| place.names.aaaa("mx.far.test", silent));
    // More addresses than are tried, of a kind to which there is no way.
    (1..=8).for_each(|last| place.names.aaaa("mx.eight.test", &format!("2a00:45::{last}")));
    place.names.a("mx.eight.test", FAR[0]);
    // Its one that answers is the last of five.
    SILENT6.iter().for_each(|silent| place.names.aaaa("mx.last.test", silent));
    SILENT4.into_iter().chain([FAR[0]]).for_each(|address| place.names.a("mx.last.test", address));
    let mut stranger = Stranger::pair(&place.proxy.invite("stranger", &[]));
    for host in ["mx.far.test", "mx.eight.test", "mx.last.test"] {
        let reached = stranger.connect(host).map(|stream| stream.peer_addr().is_ok());
        assert_eq!(reached, Ok(true), "{host}: at the first attempt");
    }
    // A whole house, whose letter must not wait for days.
    let home = Home::start("alice", "44.0.0.71");
    let anna = home.house.add_mailbox("anna");
    assert!(home.try_pair(&place.proxy.invite("alice", &[])).status.success());
    eventually("both links are up", || place.proxy.metric("homes_connected") == 2);
    home.submit(&anna, &["ben@far.test"], LETTER);
    eventually("it is delivered", || far.mail("ben").contains("behind-two-silent-ones"));
    assert!(far.mail("ben").contains(PROXY), "through the proxy");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(place.proxy.status("alice", "sessions"), 1, "at the first attempt");
    // Who has used up his networks reaches a host where it has an address in one of them.
    place.names.a("mx.near.test", FAR[0]);
    SILENT6.iter().for_each(|silent| place.names.aaaa("mx.both.test", silent));
    place.names.a("mx.both.test", FAR[0]);
    let mut near = Stranger::pair(&place.proxy.invite("near", &["--networks", "2"]));
    for host in ["mx.near.test", "mx.both.test"] {
        assert_eq!(near.connect(host).map(|stream| stream.peer_addr().is_ok()), Ok(true), "{host}");
    }
    assert_eq!(place.proxy.status("near", "networks"), 1);
}
