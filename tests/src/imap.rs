//! A small IMAP client over verified TLS, for tests that need to know exactly what was answered.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::house::HOST;
use crate::{Authority, House};

/// One connection.
#[derive(Debug)]
pub struct Imap {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    next: u32,
}

/// What a command gave: the untagged lines with their literals in place, and the tagged line without its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `* ...` without the `* `, literals included as they came.
    pub untagged: Vec<Vec<u8>>,
    /// `OK ...`, `NO ...` or `BAD ...`.
    pub tagged: String,
}

impl Answer {
    /// Whether the command succeeded.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.tagged.starts_with("OK")
    }

    /// All untagged lines as text.
    #[must_use]
    pub fn text(&self) -> String {
        self.untagged.iter().map(|line| String::from_utf8_lossy(line).into_owned() + "\n").collect()
    }
}

impl Imap {
    /// Connects and takes the greeting.
    ///
    /// # Errors
    /// The connection's.
    pub fn connect(house: &House) -> io::Result<Self> {
        Self::connect_to(house.address("imaps"), house.authority())
    }

    /// The same to any server with a certificate of the test's authority.
    ///
    /// # Errors
    /// The connection's.
    pub fn connect_to(address: SocketAddr, authority: &Authority) -> io::Result<Self> {
        Self::connect_as(address, HOST, authority)
    }

    /// The same to a server of any name: it is asked for (SNI) and compared with the certificate.
    ///
    /// # Errors
    /// The connection's.
    pub fn connect_as(address: SocketAddr, host: &str, authority: &Authority) -> io::Result<Self> {
        let tcp = TcpStream::connect_timeout(&address, Duration::from_secs(60))?;
        tcp.set_read_timeout(Some(Duration::from_secs(120)))?;
        tcp.set_nodelay(true)?;
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(authority.authority()).map_err(io::Error::other)?;
        roots.add(authority).map_err(io::Error::other)?;
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let client = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let mut this = Self { stream: BufReader::new(StreamOwned::new(client, tcp)), next: 0 };
        this.line()?;
        Ok(this)
    }

    /// Connects and logs in.
    ///
    /// # Errors
    /// The connection's, or a refusal.
    pub fn login(house: &House, name: &str, password: &str) -> io::Result<Self> {
        let mut this = Self::connect(house)?;
        let answer = this.ask(&format!("LOGIN {name} {password}"))?;
        if answer.ok() { Ok(this) } else { Err(io::Error::other(answer.tagged)) }
    }

    /// Sends a command and takes its answer.
    ///
    /// # Errors
    /// The connection's.
    pub fn ask(&mut self, command: &str) -> io::Result<Answer> {
        let tag = self.say(command)?;
        self.answer(&tag)
    }

    /// Sends a command; gives its tag.
    ///
    /// # Errors
    /// The connection's.
    pub fn say(&mut self, command: &str) -> io::Result<String> {
        self.next += 1;
        let tag = format!("t{}", self.next);
        self.raw(format!("{tag} {command}\r\n").as_bytes())?;
        Ok(tag)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection's.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)?;
        self.stream.get_mut().flush()
    }

    /// APPEND with a non-synchronizing literal.
    ///
    /// # Errors
    /// The connection's.
    pub fn append(&mut self, folder: &str, message: &str) -> io::Result<Answer> {
        let text = message.replace("\r\n", "\n").replace('\n', "\r\n");
        self.ask(&format!("APPEND {folder} {{{}+}}\r\n{text}", text.len()))
    }

    /// Takes lines up to the tagged one.
    ///
    /// # Errors
    /// The connection's.
    pub fn answer(&mut self, tag: &str) -> io::Result<Answer> {
        let mut untagged = Vec::new();
        loop {
            let line = self.line()?;
            if let Some(rest) = line.strip_prefix(b"* ") {
                untagged.push(rest.to_vec());
            } else if let Some(rest) = line.strip_prefix(format!("{tag} ").as_bytes()) {
                return Ok(Answer { untagged, tagged: String::from_utf8_lossy(rest).into_owned() });
            } else if !line.starts_with(b"+") {
                return Err(io::Error::other(format!("unexpected {:?}", String::from_utf8_lossy(&line))));
            }
        }
    }

    /// One response line with its literals, without the last CRLF.
    ///
    /// # Errors
    /// The connection's.
    pub fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut whole = Vec::new();
        loop {
            let begun = whole.len();
            if self.stream.read_until(b'\n', &mut whole)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = whole[begun..].trim_ascii_end();
            let Some(length) = literal(line) else {
                whole.truncate(begun + line.len());
                return Ok(whole);
            };
            let at = whole.len();
            whole.resize(at + length, 0);
            self.stream.read_exact(&mut whole[at..])?;
        }
    }
}

fn literal(line: &[u8]) -> Option<usize> {
    let digits = line.strip_suffix(b"}")?;
    let open = digits.iter().rposition(|byte| *byte == b'{')?;
    std::str::from_utf8(&digits[open + 1..]).ok()?.parse().ok()
}
