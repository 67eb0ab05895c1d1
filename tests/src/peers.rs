//! Real mail servers that deliver to a house over verified STARTTLS.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::House;
use crate::house::HOST;

/// Where `tests/run` has unpacked them.
#[must_use]
pub fn folder() -> PathBuf {
    let folder = std::env::var_os("POSTERN_PEERS").map(PathBuf::from);
    folder.expect("POSTERN_PEERS is not set: use tests/run, which unpacks the real mail servers")
}

/// Has `peer` (postfix, exim, opensmtpd) deliver a message; its log is in the output.
///
/// One peer's root serves one test at a time: callers in one test binary share a lock.
#[must_use]
pub fn deliver(peer: &str, house: &House, from: &str, to: &[&str], message: &str) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/deliver");
    let mut child = Command::new(script)
        .args([peer])
        .arg(folder().join(peer))
        .args([HOST, &house.port("smtp").to_string()])
        .arg(house.authority().authority())
        .arg(from)
        .args(to)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(message.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}
