//! A plain TLS client that shows every byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    read: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr, certificate: &[u8]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(certificate.to_vec())).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        Self { stream: StreamOwned::new(connection, socket), read: Vec::new() }
    }

    /// The channel's exporter (RFC 9266).
    pub fn exporter(&mut self) -> [u8; 32] {
        self.stream.conn.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap()
    }

    pub fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\r\n").as_bytes());
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    /// The next line without its end; `(end)` at the connection's end.
    pub fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.read.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).unwrap();
            }
            if !self.more() {
                return "(end)".to_owned();
            }
        }
    }

    /// So many bytes of a literal.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(self.more(), "the connection ended inside a literal");
        }
        self.read.drain(..count).collect()
    }

    /// Lines up to and with the one that begins with `start`.
    pub fn until(&mut self, start: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            assert_ne!(line, "(end)", "the connection ended before {start:?}: {lines:?}");
            let last = line.starts_with(start);
            lines.push(line);
            if last {
                return lines;
            }
        }
    }

    /// Sends a command with the tag `x`; its untagged replies. The tagged one must be OK.
    pub fn ask(&mut self, command: &str) -> Vec<String> {
        self.send(&format!("x {command}"));
        let mut lines = self.until("x ");
        let tagged = lines.pop().unwrap();
        assert!(tagged.starts_with("x OK "), "{command}: {tagged}");
        lines
    }

    /// APPENDs a message, without waiting for a continuation; the tagged line.
    pub fn append(&mut self, folder: &str, message: &[u8]) -> String {
        self.send(&format!("x APPEND {folder} {{{}+}}", message.len()));
        self.send_bytes(message);
        self.send("");
        self.until("x ").pop().unwrap()
    }

    /// What has come although nothing was asked, after a moment.
    pub fn unasked(&mut self) -> String {
        self.stream.sock.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
        while self.more() {}
        self.stream.sock.set_read_timeout(Some(PATIENCE)).unwrap();
        String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned()
    }

    fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(count) => {
                self.read.extend_from_slice(&buffer[..count]);
                count > 0
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if self.stream.sock.read_timeout().unwrap() == Some(PATIENCE) {
                    panic!("no answer; so far: {:?}", String::from_utf8_lossy(&self.read));
                }
                false
            }
            Err(_) => false,
        }
    }
}
