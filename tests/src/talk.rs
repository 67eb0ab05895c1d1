//! One connection that talks in lines, in clear or over TLS, and says when nothing comes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::house::HOST;
use crate::{Authority, House};

/// How long a line is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection.
#[derive(Debug)]
pub struct Talk {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
    config: Arc<ClientConfig>,
    /// Read and not taken yet.
    pending: Vec<u8>,
}

impl Talk {
    /// Connects to a service of the house; `imaps` and `submissions` begin with TLS.
    ///
    /// # Errors
    /// The connection's.
    pub fn open(house: &House, service: &str) -> io::Result<Self> {
        let mut talk = Self::to(house.address(service), house.authority())?;
        if matches!(service, "imaps" | "submissions") {
            talk.handshake()?;
        }
        Ok(talk)
    }

    /// Connects to any server, in clear.
    ///
    /// # Errors
    /// The connection's.
    pub fn to(address: SocketAddr, authority: &Authority) -> io::Result<Self> {
        let tcp = TcpStream::connect_timeout(&address, PATIENCE)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        tcp.set_nodelay(true)?;
        let config = trusting(authority)?;
        Ok(Self { tcp, tls: None, config, pending: Vec::new() })
    }

    /// Waits longer than usual for each line.
    ///
    /// # Errors
    /// The connection's.
    pub fn be_patient(&self, patience: Duration) -> io::Result<()> {
        self.tcp.set_read_timeout(Some(patience))?;
        self.tcp.set_write_timeout(Some(patience))
    }

    /// TLS from here on, certificate checked. What came in clear before is lost, as it must be.
    ///
    /// # Errors
    /// The handshake's.
    pub fn handshake(&mut self) -> io::Result<()> {
        let name = ServerName::try_from(HOST).map_err(io::Error::other)?;
        let mut tls = Box::new(ClientConnection::new(self.config.clone(), name).map_err(io::Error::other)?);
        while tls.is_handshaking() {
            tls.complete_io(&mut self.tcp)?;
        }
        self.pending.clear();
        self.tls = Some(tls);
        Ok(())
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection's.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.tcp).write_all(bytes),
            None => self.tcp.write_all(bytes),
        }
    }

    /// The next line without its CRLF.
    ///
    /// # Errors
    /// The connection's; `UnexpectedEof` when it was closed, `WouldBlock` when nothing came in time.
    pub fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                let line = line.strip_suffix(b"\r\n").unwrap_or(&line[..end]);
                return Ok(String::from_utf8_lossy(line).into_owned());
            }
            let mut buffer = [0; 4096];
            let length = match &mut self.tls {
                Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.tcp).read(&mut buffer)?,
                None => self.tcp.read(&mut buffer)?,
            };
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.pending.extend_from_slice(&buffer[..length]);
        }
    }
}

/// A client's configuration that trusts the test's authority and nobody else.
fn trusting(authority: &Authority) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(authority.authority()).map_err(io::Error::other)?;
    roots.add(authority).map_err(io::Error::other)?;
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
