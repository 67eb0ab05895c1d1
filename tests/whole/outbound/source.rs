//! Letters leave from an address that the EHLO name has, whichever the kernel would take.

use std::net::IpAddr;
use std::process::Stdio;

use tests::hosts::Host;
use tests::outbound::{AWAY, Outbound, Stranger};
use tests::proxies::eventually;

use crate::place::{FAR, PROXY, PROXY6, Place};

/// A second address of its machine, in the network of the first; and one that is younger than [`PROXY6`].
const SECOND: &str = "44.0.0.130";
const YOUNGER6: &str = "2a00:44::31";
/// The far server's.
const FAR6: &str = "2a00:44::41";

const LISTENS: &str = "
import socket
listener = socket.create_server(('::', 25), family=socket.AF_INET6, dualstack_ipv6=True)
print('up', flush=True)
while True:
    print(listener.accept()[1][0].replace('::ffff:', ''), flush=True)
";

pub fn letters_leave_from_an_address_of_the_proxys_name() {
    let mut place = Place::new();
    let on = place.proxy.host().clone();
    on.run(&format!(
        "ip address add {SECOND}/24 dev wan; ip -6 address add {PROXY6}/64 dev wan nodad; \
         ip -6 address add {YOUNGER6}/64 dev wan nodad; ip route add default dev wan; ip -6 route add default dev wan"
    ));
    let far = Host::public("far", &[FAR[0]]);
    far.run(&format!("ip -6 address add {FAR6}/64 dev wan nodad"));
    place.names.a("four.test", FAR[0]);
    place.names.aaaa("six.test", FAR6);
    let said = place.scratch.path().join("said");
    let mut listening = far.command("python3");
    let file = std::fs::File::create(&said).unwrap();
    let mut child = listening.args(["-c", LISTENS]).stdout(file).stdin(Stdio::null()).spawn().unwrap();
    let read = || std::fs::read_to_string(&said).unwrap();
    eventually("the far server listens", || read().contains("up"));
    let leaves = |proxy: &Outbound, home: &str, host: &str| {
        let before = read().lines().count();
        let made = Stranger::pair(&proxy.invite(home, &[])).connect(host);
        made.ok().map(|_| {
            eventually("it was seen", || read().lines().count() > before);
            read().lines().last().unwrap().parse::<IpAddr>().unwrap()
        })
    };
    let address = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    assert_eq!(leaves(&place.proxy, "a", "four.test"), address(PROXY));
    assert_eq!(leaves(&place.proxy, "b", "six.test"), address(PROXY6), "the kernel takes the younger one");

    // A second address that was rented for it; no AAAA record.
    place.proxy.kill();
    place.names.forget(AWAY);
    place.names.a(AWAY, SECOND);
    place.proxy.start_again();
    assert_eq!(leaves(&place.proxy, "c", "four.test"), address(SECOND), "the kernel takes the first");
    assert_eq!(leaves(&place.proxy, "d", "six.test"), None, "nobody there knows the name by such an address");
    let doctor = String::from_utf8(place.proxy.try_operator(&["doctor"]).stdout).unwrap();
    assert!(doctor.contains(&format!("good  IPv4: letters leave from {SECOND}, an address of {AWAY}")), "{doctor}");
    assert!(doctor.contains("weak  IPv6: no letter leaves by it"), "{doctor}");

    // A name that nobody can look up, or that leads elsewhere, stops nothing.
    place.proxy.kill();
    place.names.forget(AWAY);
    place.proxy.start_again();
    assert_eq!(leaves(&place.proxy, "e", "four.test"), address(PROXY));
    let doctor = String::from_utf8(place.proxy.try_operator(&["doctor"]).stdout).unwrap();
    assert!(
        doctor.contains(&format!("BAD   IPv4: letters leave from {PROXY}, which is no address of {AWAY}")),
        "{doctor}"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}
