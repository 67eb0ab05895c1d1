//! TLS for a role's listeners: the certificate as `up` hands it over, its reload, and channel bindings.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use ring::digest;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{CipherSuite, ProtocolVersion, ServerConfig, ServerConnection};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
pub use tokio_rustls::server::TlsStream;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{ciphers, limits};

/// A certificate chain and its private key, as PEM.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct CertificatePem {
    /// The server's certificate, then its issuers.
    pub chain: String,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: String,
}

impl fmt::Debug for CertificatePem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificatePem(..)")
    }
}

/// Why a certificate cannot be used: configuration, in words for the admin.
#[derive(Debug)]
pub enum BadCertificate {
    /// Chain and key together are too long.
    TooLong,
    /// The chain file holds no certificate, or one is malformed.
    Chain(rustls::pki_types::pem::Error),
    /// The chain file holds no certificate at all.
    Empty,
    /// The key file holds no private key.
    Key(rustls::pki_types::pem::Error),
    /// Key and certificate do not belong together, or are of an unusable kind.
    Pair(rustls::Error),
}

impl fmt::Display for BadCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "certificate chain and key are longer than {} bytes", limits::CERTIFICATE),
            Self::Chain(error) => write!(f, "the certificate file cannot be read as PEM: {error}"),
            Self::Empty => f.write_str("the certificate file holds no certificate"),
            Self::Key(error) => write!(f, "the key file holds no private key in PEM: {error}"),
            Self::Pair(error) => write!(f, "certificate and key cannot be used together: {error}"),
        }
    }
}

impl std::error::Error for BadCertificate {}

/// RFC 5929 and RFC 9266 channel bindings of one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelBinding {
    /// tls-exporter; TLS 1.3 only, since below it needs the extended master secret (RFC 9266 §4.2).
    pub exporter: Option<[u8; 32]>,
    /// tls-server-end-point: hash of our certificate. Offered together with `exporter` only.
    pub end_point: Option<Vec<u8>>,
}

struct Current {
    config: Arc<ServerConfig>,
    end_point: Vec<u8>,
}

/// What accepts TLS connections; clones share one certificate, which [`Self::reload`] replaces.
#[derive(Clone)]
pub struct Tls(Arc<RwLock<Arc<Current>>>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Prepares a server configuration: TLS 1.2 and 1.3, ring's ciphers, no client certificates, no
    /// early data.
    ///
    /// # Errors
    /// [`BadCertificate`], for the admin.
    pub fn new(certificate: &CertificatePem) -> Result<Self, BadCertificate> {
        Ok(Self(Arc::new(RwLock::new(Arc::new(prepare(certificate)?)))))
    }

    /// New connections use this one; running ones go on.
    ///
    /// # Errors
    /// [`BadCertificate`]; the old one stays in use.
    pub fn reload(&self, certificate: &CertificatePem) -> Result<(), BadCertificate> {
        let fresh = Arc::new(prepare(certificate)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Performs the handshake, within [`limits::HANDSHAKE`], and says what the connection can be bound to.
    ///
    /// # Errors
    /// The peer's, or a time-out.
    pub async fn accept<S>(&self, stream: S) -> io::Result<(TlsStream<S>, ChannelBinding)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let handshake = TlsAcceptor::from(current.config.clone()).accept(stream);
        let stream = tokio::time::timeout(limits::HANDSHAKE, handshake)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "TLS handshake took too long"))??;
        let binding = bind(stream.get_ref().1, &current.end_point);
        Ok((stream, binding))
    }
}

/// `TLS1.3 with TLS13_AES_256_GCM_SHA384`, for Received headers and logs.
#[must_use]
pub fn describe(connection: &ServerConnection) -> String {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS1.2",
        _ => "TLS",
    };
    let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
    match suite.as_ref().and_then(CipherSuite::as_str) {
        Some(name) => format!("{version} with {name}"),
        None => version.to_owned(),
    }
}

fn bind(connection: &ServerConnection, end_point: &[u8]) -> ChannelBinding {
    if connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return ChannelBinding::default();
    }
    let exporter = connection.export_keying_material([0u8; 32], b"EXPORTER-Channel-Binding", Some(b""));
    ChannelBinding { exporter: exporter.ok(), end_point: Some(end_point.to_vec()) }
}

fn prepare(certificate: &CertificatePem) -> Result<Current, BadCertificate> {
    if certificate.chain.len() + certificate.key.len() > limits::CERTIFICATE {
        return Err(BadCertificate::TooLong);
    }
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(BadCertificate::Chain)?;
    let end_point = chain.first().map(|first| end_point(first)).ok_or(BadCertificate::Empty)?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).map_err(BadCertificate::Key)?;
    let mut config = ServerConfig::builder_with_provider(ciphers::provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(BadCertificate::Pair)?;
    ciphers::choose(&mut config);
    Ok(Current { config: Arc::new(config), end_point })
}

/// RFC 5929 §4.1: the hash of the certificate's own signature algorithm, SHA-256 where that is weaker.
/// Found by the algorithm identifier's bytes, which stand in the certificate twice.
fn end_point(certificate: &[u8]) -> Vec<u8> {
    const SHA384: [&[u8]; 2] =
        [&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c], &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03]];
    const SHA512: [&[u8]; 2] =
        [&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d], &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04]];
    let signed_with = |oids: [&[u8]; 2]| oids.iter().any(|oid| signature_algorithm(certificate) == Some(*oid));
    let algorithm = match () {
        () if signed_with(SHA384) => &digest::SHA384,
        () if signed_with(SHA512) => &digest::SHA512,
        () => &digest::SHA256,
    };
    digest::digest(algorithm, certificate).as_ref().to_vec()
}

/// The OID of `signatureAlgorithm`: the second element of the outer SEQUENCE (RFC 5280 §4.1).
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (outer, _) = element(certificate)?;
    let (_, after_tbs) = element(outer)?;
    let (algorithm, _) = element(after_tbs)?;
    element(algorithm).map(|(oid, _)| oid)
}

/// One DER element's contents and what follows it.
fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = *der.get(1)?;
    let (header, length) = match first {
        0..=0x7f => (2, usize::from(first)),
        0x81..=0x83 => {
            let digits = usize::from(first & 0x7f);
            let bytes = der.get(2..2 + digits)?;
            (2 + digits, bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
        _ => return None,
    };
    let end = header.checked_add(length)?;
    Some((der.get(header..end)?, der.get(end..)?))
}
