//! A name server with a zone of a test's own.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const A: u16 = 1;
const PTR: u16 = 12;
const TXT: u16 = 16;

type Records = HashMap<(String, u16), Vec<u8>>;

/// What it knows. Names under `broken.example` get SERVFAIL, those with `silent` in them no answer.
#[derive(Clone, Default)]
pub struct Zone {
    records: Arc<Mutex<Records>>,
    asked: Arc<AtomicUsize>,
}

impl Zone {
    pub fn txt(self, name: &str, text: &str) -> Self {
        let data = text.as_bytes().chunks(255).flat_map(|part| [&[part.len() as u8], part].concat()).collect();
        self.put(name, TXT, data)
    }

    pub fn a(self, name: &str, address: [u8; 4]) -> Self {
        self.put(name, A, address.to_vec())
    }

    pub fn ptr(self, reversed: &str, name: &str) -> Self {
        self.put(reversed, PTR, encode(name))
    }

    fn put(self, name: &str, kind: u16, data: Vec<u8>) -> Self {
        self.records.lock().unwrap().insert((name.to_owned(), kind), data);
        self
    }

    /// How many questions came.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Answers on a socket until the end of the process.
    pub fn serve(&self, socket: OwnedFd) {
        let (zone, socket) = (self.clone(), UdpSocket::from(socket));
        socket.set_nonblocking(false).unwrap();
        std::thread::spawn(move || {
            let mut packet = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                zone.asked.fetch_add(1, Ordering::Relaxed);
                if let Some(answer) = zone.answer(&packet[..length]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
    }

    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let (name, end) = decode(question, 12)?;
        let kind = u16::from_be_bytes([question[end], question[end + 1]]);
        if name.contains("silent") {
            return None;
        }
        let records = self.records.lock().unwrap();
        let found = records.get(&(name.clone(), kind));
        let known = records.keys().any(|(known, _)| *known == name || known.ends_with(&format!(".{name}")));
        let code = match () {
            () if name.ends_with("broken.example") => 2,
            () if found.is_some() || known => 0,
            () => 3,
        };
        let mut answer = question[..2].to_vec();
        answer.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(found.is_some()), 0, 0, 0, 0]);
        answer.extend(&question[12..end + 4]);
        if let Some(data) = found {
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
    let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

fn decode(packet: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).to_lowercase());
        at += length;
    }
}
