//! Whether the DNS servers answer, and what they say of our domains.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::Finding;
use crate::config::Config;
use crate::up::upstreams;

const ABOUT: &str = "DNS";
/// How long one server gets.
const PATIENCE: Duration = Duration::from_secs(3);
/// RFC 1035 §3.2.2.
const NS: u16 = 2;
/// RFC 1035 §3.2.2.
const MX: u16 = 15;
/// RFC 6761 and RFC 6762: nobody outside can ask for these.
const PRIVATE: [&str; 6] = ["test", "local", "localhost", "invalid", "example", "internal"];

/// Servers and domains.
pub fn look(config: &Config) -> Vec<Finding> {
    let servers = upstreams(config);
    if servers.is_empty() {
        let advice = "name some with `dns = [...]` in the configuration; without DNS no sender can be verified";
        return vec![Finding::bad(ABOUT, "no DNS servers are known", advice)];
    }
    let mut findings: Vec<_> = servers.iter().map(|server| reach(*server)).collect();
    findings.extend(config.domains.iter().map(|domain| published(domain, &servers)));
    findings
}

fn reach(server: SocketAddr) -> Finding {
    match ask(server, "", NS) {
        Ok((0, 1..)) => Finding::good(ABOUT, format!("{server} answers")),
        Ok((code, _)) => Finding::weak(
            ABOUT,
            format!("{server} answers, but not to a question about the root (code {code})"),
            "it may serve only some domains: senders then cannot be verified",
        ),
        Err(error) => Finding::bad(ABOUT, format!("{server}: {error}"), "is it right, and is UDP port 53 open to it?"),
    }
}

fn published(domain: &str, servers: &[SocketAddr]) -> Finding {
    if PRIVATE.iter().any(|private| domain == *private || domain.ends_with(&format!(".{private}"))) {
        return Finding::good(ABOUT, format!("{domain} is a local name: only this house can write to it"));
    }
    match servers.iter().find_map(|server| ask(*server, domain, MX).ok()) {
        Some((0, 1..)) => Finding::good(ABOUT, format!("{domain} has an MX record")),
        Some(_) => Finding::weak(
            ABOUT,
            format!("{domain} has no MX record: nobody outside can write to it"),
            "publish one that names this box",
        ),
        None => Finding::weak(ABOUT, format!("{domain}: no server could be asked"), ""),
    }
}

/// Asks one question; the answer's code and number of records.
fn ask(server: SocketAddr, name: &str, kind: u16) -> std::io::Result<(u8, u16)> {
    let any: SocketAddr = if server.is_ipv6() { ([0_u16; 8], 0).into() } else { ([0_u8; 4], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    let id: u16 = u16::try_from(std::process::id() & 0xffff).unwrap_or(1);
    socket.send(&question(id, name, kind))?;
    let (until, mut answer) = (Instant::now() + PATIENCE, [0; 4096]);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut answer) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
            received => received?,
        };
        if length >= 12 && answer[..2] == id.to_be_bytes() {
            return Ok((answer[3] & 15, u16::from_be_bytes([answer[6], answer[7]])));
        }
    }
}

/// RFC 1035 §4.1: a header that asks for recursion, and one question.
fn question(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut packet = id.to_be_bytes().to_vec();
    packet.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        // Names were checked: labels have at most 63 bytes.
        packet.push(u8::try_from(label.len()).unwrap_or(0));
        packet.extend(label.as_bytes());
    }
    packet.push(0);
    packet.extend(kind.to_be_bytes());
    packet.extend([0, 1]);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_answers_and_one_that_does_not() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let answering = std::thread::spawn(move || {
            let mut question = [0; 512];
            let (length, from) = server.recv_from(&mut question).unwrap();
            question[2] |= 0x80;
            question[7] = 2;
            server.send_to(&question[..length], from).unwrap();
            question[..length].to_vec()
        });
        assert_eq!(ask(address, "home.example.org", MX).unwrap(), (0, 2));
        assert!(answering.join().unwrap().windows(6).any(|bytes| bytes == b"\x04home\x07"));
        assert!(published("home.test", &[address]).words.contains("local name"));
    }
}
