//! TLS 1.3 with both ends' raw public keys (RFC 7250) pinned: no certificate, no authority, no name, no resumption.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig,
    SignatureScheme,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::keys::{KeyError, LinkKey, Pin, PublicKey};
use crate::limits;

/// RFC 7301: two versions part in the handshake.
const ALPN: &[u8] = b"postern-link/1";

/// The proxy's side: whoever proves a key comes in; whose it is, others decide.
#[derive(Clone)]
pub struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Acceptor {
    /// Prepares it.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn new(key: &LinkKey) -> Result<Self, KeyError> {
        let provider = wire::ciphers::provider();
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(|_| KeyError::Malformed)?
            .with_client_cert_verifier(Arc::new(AnyKey(provider.signature_verification_algorithms)))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key.certified()?)));
        wire::ciphers::choose(&mut config);
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Control connections are few and long; a ticket would be a second secret to lose.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Shakes hands within [`limits::GREETING`], and says which key the other end has proved.
    ///
    /// # Errors
    /// The peer's, or a time-out.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(server::TlsStream<TcpStream>, PublicKey)> {
        let shaking = self.0.accept(stream);
        let stream = timeout(limits::GREETING, shaking).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let key = shown.and_then(|der| PublicKey::from_spki(der)).ok_or(io::ErrorKind::InvalidData)?;
        Ok((stream, key))
    }
}

/// The home's side: connects to whom the pin says, or not at all. Gives the proxy's whole key, to be kept.
///
/// # Errors
/// The peer's (`InvalidData` when its key is another), or a time-out.
pub async fn connect(
    stream: TcpStream,
    key: &LinkKey,
    pin: Pin,
) -> io::Result<(client::TlsStream<TcpStream>, PublicKey)> {
    let config = client_config(key, pin).map_err(io::Error::other)?;
    // Required by the library's types; it is neither sent (no SNI) nor compared.
    let name = ServerName::try_from("proxy.invalid").map_err(io::Error::other)?;
    let shaking = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = timeout(limits::GREETING, shaking).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let theirs = shown.and_then(|der| PublicKey::from_spki(der)).ok_or(io::ErrorKind::InvalidData)?;
    Ok((stream, theirs))
}

fn client_config(key: &LinkKey, pin: Pin) -> Result<ClientConfig, KeyError> {
    let provider = wire::ciphers::provider();
    let algorithms = provider.signature_verification_algorithms;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|_| KeyError::Malformed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { pin, algorithms }))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key.certified()?)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn shown_key(der: &CertificateDer<'_>) -> Result<PublicKey, Error> {
    PublicKey::from_spki(der).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}

/// TLS 1.2 is not spoken here, and has no raw keys.
fn too_old() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered)
}

fn signed(
    message: &[u8],
    key: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls13_signature_with_raw_key(message, &SubjectPublicKeyInfoDer::from(key.as_ref()), signature, algorithms)
}

#[derive(Debug)]
struct Pinned {
    pin: Pin,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.pin.holds(&shown_key(key)?) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signed(message, key, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Admits any Ed25519 key whose owner signs the handshake.
#[derive(Debug)]
struct AnyKey(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        shown_key(key).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signed(message, key, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
