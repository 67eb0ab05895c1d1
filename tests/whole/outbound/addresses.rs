//! Whom a home may not reach through the proxy: whatever is not the public Internet, and the proxy itself.

use std::process::{Child, Stdio};
use std::time::Duration;

use relay_link::outbound::Refusal;
use tests::outbound::Stranger;

use crate::place::{PROXY, Place};

/// Further addresses of the proxy's machine, beside its first in the same network and in another.
const SECONDS: [&str; 3] = ["44.0.0.130", "44.0.9.30", "44.0.9.31"];

const LISTENS: &str = "
import socket, sys
listener = socket.create_server(('0.0.0.0', 25))
print('up', flush=True)
while True:
    print('from', listener.accept()[1], flush=True)
";

/// Something that listens on port 25 of all addresses the proxy's machine has.
struct Listening(Child);

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn nobody_but_the_public_internet() {
    let place = Place::new();
    let said = place.scratch.path().join("said");
    let file = std::fs::File::create(&said).unwrap();
    place.proxy.host().run("ip address add 10.1.2.3/24 dev wan");
    // To a second address of a network packets leave from the first.
    for own in SECONDS {
        place.proxy.host().run(&format!("ip address add {own}/24 dev wan"));
    }
    let mut command = place.proxy.host().command("python3");
    let child = command.args(["-c", LISTENS]).stdout(file).stdin(Stdio::null()).spawn().unwrap();
    let _listening = Listening(child);
    let read = || std::fs::read_to_string(&said).unwrap();
    while !read().contains("up") {
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut home = Stranger::pair(&place.proxy.invite("alice", &[]));
    let inner = ["127.0.0.1", "127.9.9.9", "10.1.2.3", "192.168.7.2", "169.254.169.254", "0.0.0.0", PROXY, "224.0.0.1"];
    for (number, address) in inner.into_iter().chain(SECONDS).enumerate() {
        let name = format!("inner{number}.test");
        place.names.a(&name, address);
        for host in [address, &name] {
            assert_eq!(home.connect(host).unwrap_err(), Refusal::NotPublic, "{host}");
        }
    }
    for address in ["::1", "::ffff:127.0.0.1", "fe80::1", "fd00::1", "ff02::1", "64:ff9b::7f00:1"] {
        assert_eq!(home.connect(address).unwrap_err(), Refusal::NotPublic, "{address}");
    }
    assert_eq!(home.connect("nowhere.test").unwrap_err(), Refusal::NoSuchHost);
    assert_eq!(home.budget().today.0, 0, "a refusal costs nothing");
    assert_eq!(read(), "up\n", "nobody was connected with");
    // One that is public among others is the one that is dialled.
    place.names.a("both.test", "127.0.0.1");
    place.names.a("both.test", "44.0.0.99");
    assert_eq!(home.connect("both.test").unwrap_err(), Refusal::Unreachable);
    assert_eq!(home.budget().today.0, 20, "whoever was looked for is paid for");
    assert_eq!(read(), "up\n");
}
