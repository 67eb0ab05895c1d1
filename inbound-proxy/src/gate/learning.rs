//! TLS that ends here: a sender that does not say whose mail it has is asked, and one whose home is away is told to come
//! again. Neither gets further than RCPT.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::info;
use wire::tls::CertificatePem;

use super::arriving::Client;
use super::talk::{Step, Talk};
use super::{Gate, now};
use crate::limits;
use crate::sender::{Group, Network};
use crate::session::{Domain, Phase};
use crate::tickets::Postmarks;

/// What every such session shakes hands with; its tickets are put in one by one.
///
/// # Errors
/// The certificate's.
pub(super) fn config(pem: &CertificatePem) -> io::Result<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(pem.chain.as_bytes()).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).map_err(io::Error::other)?;
    let provider = wire::ciphers::provider();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain.map_err(io::Error::other)?, key)
        .map_err(io::Error::other)?;
    wire::ciphers::choose(&mut config);
    Ok(config)
}

/// What is known of a sender that is to be asked.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    /// Its group.
    pub group: Group,
    /// Whence it comes.
    pub network: Network,
    /// The street that has the address it dialled.
    pub street: Option<String>,
}

/// Goes through such a session to its end.
///
/// # Errors
/// The peer's.
pub(super) async fn serve(gate: &Gate, client: Client, sent: Vec<u8>, sender: &Sender, phase: Phase) -> io::Result<()> {
    let Client { stream, place: _seated, .. } = client;
    let postmarks = Arc::new(Postmarks::default());
    let mut config = ServerConfig::clone(&gate.certificate.read().unwrap_or_else(PoisonError::into_inner));
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    if phase == Phase::Learning {
        config.ticketer = postmarks.clone();
        config.send_tls13_tickets = 1;
        gate.metrics.learning.count();
    }
    let shaking = TlsAcceptor::from(Arc::new(config)).accept(Replayed { sent, read: 0, client: stream });
    let stream = timeout(limits::HANDSHAKE, shaking).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let mut talk = Talk::new(stream, phase, &gate.name, &gate.ending);
    let mut lessons = Lessons::new(sender, &postmarks);
    loop {
        match talk.step().await? {
            Step::Learn(domain) => lessons.learn(gate, &domain).await,
            Step::Unclear => lessons.are_unclear(gate),
            _ => return Ok(()),
        }
    }
}

/// What one session has taught.
pub(super) struct Lessons<'a> {
    sender: &'a Sender,
    postmarks: &'a Postmarks,
    /// Whose its recipients were.
    home: Option<String>,
    /// They were not all of one home, or one was of nobody known.
    unclear: bool,
}

impl<'a> Lessons<'a> {
    pub(super) const fn new(sender: &'a Sender, postmarks: &'a Postmarks) -> Self {
        Self { sender, postmarks, home: None, unclear: false }
    }

    /// A sender has said for which domain it has mail.
    async fn learn(&mut self, gate: &Gate, domain: &Domain) {
        let found = home_of(gate, domain).await;
        self.is_for(gate, found);
    }

    /// A recipient is of this home, of this street; or nobody knows.
    pub(super) fn is_for(&mut self, gate: &Gate, found: Option<(String, Option<String>)>) {
        let Some((home, its)) = found else { return self.are_unclear(gate) };
        if self.home.get_or_insert_with(|| home.clone()) != &home {
            self.are_unclear(gate);
        }
        // Of the group something is learnt only where all homes at that address are of one street.
        let street = self.sender.street.as_deref().filter(|street| its.as_deref() == Some(*street));
        let tickets = if self.unclear { Vec::new() } else { self.postmarks.issued() };
        if gate.log_connections {
            info!(sender = %self.sender.group, home, "learnt");
        }
        let Sender { group, network, .. } = self.sender;
        gate.memory().learn_from(*network, street, group, &tickets, (&home, now()));
    }

    /// The session's tickets prove nothing: the sender would show them for each of those homes.
    pub(super) fn are_unclear(&mut self, gate: &Gate) {
        self.unclear = true;
        let mut memory = gate.memory();
        self.postmarks.issued().into_iter().for_each(|ticket| memory.void(ticket));
    }
}

/// The home that takes a domain's mail, and its street: its MX records say so.
pub(super) async fn home_of(gate: &Gate, domain: &Domain) -> Option<(String, Option<String>)> {
    let hosts = gate.dns.mail_hosts(domain.as_str()).await.ok()?;
    let map = gate.maps.now(&gate.homes).ok()?;
    let home = hosts.iter().find_map(|host| map.by_name(host))?;
    let street = map.homes.get(home).and_then(|grant| grant.street.clone());
    Some((home.to_owned(), street))
}

/// A connection from its first byte of TLS on, some of which has been read already.
#[derive(Debug)]
struct Replayed {
    sent: Vec<u8>,
    read: usize,
    client: TcpStream,
}

impl AsyncRead for Replayed {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let rest = &this.sent[this.read..];
        if rest.is_empty() {
            this.sent = Vec::new();
            this.read = 0;
            return Pin::new(&mut this.client).poll_read(context, buffer);
        }
        let some = &rest[..rest.len().min(buffer.remaining())];
        buffer.put_slice(some);
        this.read += some.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replayed {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().client).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().client).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().client).poll_shutdown(context)
    }
}
