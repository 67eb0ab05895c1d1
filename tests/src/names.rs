//! A name server with a zone of a test's own, which says of every answer whether DNSSEC proved it.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::{Arc, Mutex};

use crate::alone::DNS;

/// What is known, by name and type.
type Records = HashMap<(String, u16), Vec<Vec<u8>>>;

/// The zone; changes are seen at once.
#[derive(Debug, Clone, Default)]
pub struct Names {
    records: Arc<Mutex<Records>>,
    /// Names are known with everything below them.
    failing: Arc<Mutex<HashSet<String>>>,
    secure: bool,
}

impl Names {
    /// Serves on [`DNS`] until the process ends; `secure`: with the AD bit.
    #[must_use]
    pub fn serve(secure: bool) -> Self {
        Self { secure, ..Self::default() }.serving(DNS)
    }

    /// Serves at another address.
    #[must_use]
    pub fn serve_at(address: &str) -> Self {
        Self::default().serving(address)
    }

    fn serving(self, address: &str) -> Self {
        let (served, socket) = (self.clone(), UdpSocket::bind((address, 53)).unwrap());
        std::thread::spawn(move || {
            let mut packet = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                if let Some(answer) = served.answer(&packet[..length]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        self
    }

    fn put(&self, name: &str, kind: u16, data: Vec<u8>) {
        self.records.lock().unwrap().entry((name.to_lowercase(), kind)).or_default().push(data);
    }

    /// An address.
    pub fn a(&self, name: &str, address: &str) {
        self.put(name, 1, address.parse::<Ipv4Addr>().unwrap().octets().to_vec());
    }

    /// An address of the new kind.
    pub fn aaaa(&self, name: &str, address: &str) {
        self.put(name, 28, address.parse::<Ipv6Addr>().unwrap().octets().to_vec());
    }

    /// A domain with one mail host, `mx.DOMAIN`, at that address.
    pub fn host(&self, domain: &str, address: &str) {
        self.mx(domain, 10, &format!("mx.{domain}"));
        self.a(&format!("mx.{domain}"), address);
    }

    /// A mail host; `.`: none at all.
    pub fn mx(&self, name: &str, preference: u16, host: &str) {
        self.put(name, 15, [&preference.to_be_bytes()[..], &encode(host)].concat());
    }

    /// Text, up to 255 bytes a string.
    pub fn txt(&self, name: &str, text: &str) {
        let strings = text.as_bytes().chunks(255).flat_map(|part| [&[part.len() as u8], part].concat());
        self.put(name, 16, strings.collect());
    }

    /// TLSA 3 1 1.
    pub fn tlsa(&self, host: &str, digest: &[u8]) {
        self.put(&format!("_25._tcp.{host}"), 52, [&[3, 1, 1][..], digest].concat());
    }

    /// Takes all records of a name away.
    pub fn forget(&self, name: &str) {
        self.records.lock().unwrap().retain(|(known, _), _| known != name);
    }

    /// From now on nobody knows about that name.
    pub fn fail(&self, name: &str) {
        self.failing.lock().unwrap().insert(name.to_owned());
    }

    fn answer(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let (name, end) = decode(packet)?;
        let kind = u16::from_be_bytes([packet[end], packet[end + 1]]);
        let records = self.records.lock().unwrap();
        let found = records.get(&(name.clone(), kind)).cloned().unwrap_or_default();
        let below = |known: &str| known == name || known.ends_with(&format!(".{name}"));
        let code: u16 = match records.keys().any(|(known, _)| below(known)) {
            _ if self.failing.lock().unwrap().contains(&name) => 2,
            true => 0,
            false => 3,
        };
        let secure = if self.secure { 0x20 } else { 0 };
        let mut answer = packet[..2].to_vec();
        for number in [0x8180 | secure | code, 1, found.len() as u16, 0, 0] {
            answer.extend(number.to_be_bytes());
        }
        answer.extend(&packet[12..end + 4]);
        for data in found {
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend([0, 1, 0, 0, 0, 60]);
            answer.extend((data.len() as u16).to_be_bytes());
            answer.extend(data);
        }
        Some(answer)
    }
}

fn encode(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut out: Vec<u8> = labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    out.push(0);
    out
}

/// The name asked for, in lower case, and where it ends.
fn decode(packet: &[u8]) -> Option<(String, usize)> {
    let (mut at, mut labels) = (12, Vec::new());
    while *packet.get(at)? != 0 {
        let end = at + 1 + usize::from(packet[at]);
        labels.push(String::from_utf8_lossy(packet.get(at + 1..end)?).to_lowercase());
        at = end;
    }
    packet.get(at + 4)?;
    Some((labels.join("."), at + 1))
}
