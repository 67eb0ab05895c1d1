//! A network of a test's own: the real ports, addresses that look public, and no way to the real ones.

use std::process::Command;

/// Where the house is, as far servers see it.
pub const HOME: &str = "44.0.0.1";
/// Where the test's name server is.
pub const DNS: &str = "44.0.0.53";
/// Where the far mail server is.
pub const FAR: &str = "44.0.0.25";
/// A second one.
pub const OTHER: &str = "44.0.0.26";
/// A third one, of the new kind.
pub const SIX: &str = "2a00:44::25";

const INSIDE: &str = "POSTERN_TEST_ALONE";

/// Runs the test of that name again in a network namespace where only the loopback is, with these addresses on it, and
/// returns false; in there, returns true.
#[must_use]
pub fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let addresses: String =
        [HOME, DNS, FAR, OTHER].iter().map(|address| format!("ip address add {address}/32 dev lo; ")).collect();
    // Who connects to a far server comes from the house's address, not from that server's own.
    let routes: String = [FAR, OTHER]
        .iter()
        .map(|address| format!("ip route replace local {address}/32 dev lo src {HOME} table local; "))
        .collect();
    let script = format!(
        "set -e; ip link set lo up; ip -6 address add {SIX}/128 dev lo nodad; {addresses} {routes} exec \"$0\" \"$1\" --exact --nocapture"
    );
    let status = Command::new("unshare")
        .args(["--net", "--", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed in its own network");
    false
}
