//! A blocking client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::house::HOST;

trait Both: Read + Write {}
impl<T: Read + Write> Both for T {}

/// One connection.
pub struct Client {
    stream: BufReader<Box<dyn Both>>,
    tcp: TcpStream,
}

/// A reply: code and the whole text.
pub type Reply = (u16, String);

impl Client {
    pub fn connect(to: SocketAddr) -> Self {
        Self::connect_from(to, Ipv4Addr::LOCALHOST)
    }

    /// From another address of 127/8.
    pub fn connect_from(to: SocketAddr, from: Ipv4Addr) -> Self {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddr::V4(SocketAddrV4::new(from, 0))).unwrap();
        connect(&socket, &to).unwrap();
        let tcp = TcpStream::from(socket);
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { stream: BufReader::new(Box::new(tcp.try_clone().unwrap())), tcp }
    }

    pub fn wait(&self, time: Duration) {
        self.tcp.set_read_timeout(Some(time)).unwrap();
    }

    pub fn start_tls(&mut self, config: &Arc<ClientConfig>) -> Option<[u8; 32]> {
        let name = HOST.try_into().unwrap();
        let mut tls = ClientConnection::new(config.clone(), name).unwrap();
        let mut tcp = self.tcp.try_clone().unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp).ok()?;
        }
        let binding = tls.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok();
        self.stream = BufReader::new(Box::new(StreamOwned::new(tls, tcp)));
        binding
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
        let _ = self.stream.get_mut().flush();
    }

    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self.stream.read_line(&mut line).ok()?;
        (length > 0).then(|| line.trim_end_matches("\r\n").to_owned())
    }

    pub fn reply(&mut self) -> Reply {
        let mut text = String::new();
        loop {
            let line = self.line().unwrap_or_else(|| panic!("no reply after {text:?}"));
            text += line.get(4..).unwrap_or_default();
            text.push('\n');
            if line.as_bytes().get(3) != Some(&b'-') {
                return (line[..3].parse().unwrap(), text);
            }
        }
    }

    pub fn say(&mut self, line: &str) -> Reply {
        self.raw(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    pub fn expect(&mut self, line: &str, code: u16) -> String {
        let (said, text) = self.say(line);
        assert_eq!(said, code, "{line}: {text}");
        text
    }

    /// Greeting and EHLO.
    pub fn hello(&mut self) -> String {
        assert_eq!(self.reply().0, 220);
        self.expect("EHLO client.example", 250)
    }

    /// A whole transaction; the last reply.
    pub fn send(&mut self, from: &str, to: &[&str], text: &str) -> Reply {
        self.expect(&format!("MAIL FROM:<{from}>"), 250);
        for to in to {
            self.expect(&format!("RCPT TO:<{to}>"), 250);
        }
        self.expect("DATA", 354);
        self.raw(text.as_bytes());
        self.say(".")
    }
}
