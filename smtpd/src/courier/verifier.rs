//! Who a far host must be, as rustls asks it: [`Rule`] made into a certificate verifier. Signatures of the handshake are
//! always checked; what differs is what the certificate must prove.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::dane::{self, Match};
use super::tls_rule::Rule;

/// One connection's verifier.
#[derive(Debug)]
pub struct Verifier {
    rule: Rule,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    /// Names that will do besides the host's own: the letter's domain, under DANE (RFC 7672 §3.2.2).
    also: Vec<ServerName<'static>>,
}

/// How TLS is spoken to one host under one rule. `domain` is where the letter goes. SNI is always sent.
///
/// # Errors
/// None of the protocol versions is there: a build without them.
pub fn config(rule: Rule, domain: &str, roots: Arc<RootCertStore>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let also = ServerName::try_from(domain.to_owned()).into_iter().collect();
    let verifier = Verifier { rule, roots, provider: provider.clone(), also };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

impl Verifier {
    fn named(
        &self,
        roots: Arc<RootCertStore>,
        (leaf, others): (&CertificateDer<'_>, &[CertificateDer<'_>]),
        names: &[&ServerName<'_>],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let unknown = |_| Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots, self.provider.clone()).build().map_err(unknown)?;
        let mut outcome = Err(Error::InvalidCertificate(CertificateError::NotValidForName));
        for name in names {
            outcome = verifier.verify_server_cert(leaf, others, name, &[], now);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn by_dane(
        &self,
        records: &[dane::Tlsa],
        (leaf, others): (&CertificateDer<'_>, &[CertificateDer<'_>]),
        host: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain: Vec<&[u8]> = std::iter::once(leaf).chain(others).map(|one| one.as_ref()).collect();
        match dane::compare(records, &chain) {
            Match::EndEntity => Ok(ServerCertVerified::assertion()),
            Match::None => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
            Match::Anchors(anchors) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(anchors.into_iter().map(CertificateDer::from));
                let names: Vec<&ServerName<'_>> = std::iter::once(host).chain(&self.also).collect();
                self.named(Arc::new(roots), (leaf, others), &names, now)
            }
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.rule {
            Rule::Encrypted | Rule::Anything => Ok(ServerCertVerified::assertion()),
            Rule::Named => self.named(self.roots.clone(), (leaf, others), &[host], now),
            Rule::Dane(records) => self.by_dane(records, (leaf, others), host, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::courier::dane::Tlsa;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::{ClientConnection, ServerConfig, ServerConnection};

    struct House {
        authority: CertificateDer<'static>,
        server: Arc<ServerConfig>,
        leaf: CertificateDer<'static>,
    }

    /// A host with a certificate for these names, of an authority of its own.
    fn house(names: &[&str], years: (i32, i32)) -> House {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params, key);
        let own = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let leaf = params.signed_by(&own, &issuer).unwrap().der().clone();
        let chain = vec![leaf.clone(), authority.clone()];
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(own.serialize_der());
        let server = builder.with_no_client_auth().with_single_cert(chain, key.into()).unwrap();
        House { authority, server: Arc::new(server), leaf }
    }

    /// Shakes hands in memory as `mx.far.test`, of the domain `far.test`.
    fn shake(house: &House, rule: Rule, trusted: &[&CertificateDer<'static>]) -> Result<(), Error> {
        let mut roots = RootCertStore::empty();
        trusted.iter().for_each(|root| roots.add((*root).clone()).unwrap());
        let config = config(rule, "far.test", Arc::new(roots)).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), "mx.far.test".try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(house.server.clone()).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            let mut wire = Vec::new();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        assert_eq!(server.server_name(), Some("mx.far.test"), "SNI");
        Ok(())
    }

    fn tlsa(usage: u8, certificate: &CertificateDer<'_>) -> Rule {
        let digest = ring::digest::digest(&ring::digest::SHA256, dane::public_key(certificate).unwrap());
        Rule::Dane(vec![Tlsa { usage, selector: 1, matching: 1, data: digest.as_ref().to_vec() }])
    }

    const VALID: (i32, i32) = (2020, 2090);
    const EXPIRED: (i32, i32) = (2010, 2011);

    #[test]
    fn anybody_as_long_as_it_is_tls() {
        assert_eq!(shake(&house(&["other.test"], EXPIRED), Rule::Encrypted, &[]), Ok(()));
        assert_eq!(shake(&house(&["other.test"], EXPIRED), Rule::Anything, &[]), Ok(()));
    }

    #[test]
    fn a_name_that_a_known_authority_vouches_for() {
        let far = house(&["mx.far.test"], VALID);
        assert_eq!(shake(&far, Rule::Named, &[&far.authority]), Ok(()));
        assert!(shake(&far, Rule::Named, &[]).is_err());
        assert!(shake(&far, Rule::Named, &[&house(&["mx.far.test"], VALID).authority]).is_err());
        for other in [house(&["other.test"], VALID), house(&["far.test"], VALID), house(&["mx.far.test"], EXPIRED)] {
            assert!(shake(&other, Rule::Named, &[&other.authority]).is_err());
        }
    }

    #[test]
    fn dane_by_its_own_certificate_whatever_name_and_date_it_has() {
        let far = house(&["other.test"], EXPIRED);
        assert_eq!(shake(&far, tlsa(3, &far.leaf), &[]), Ok(()));
        let other = house(&["mx.far.test"], VALID);
        assert!(shake(&other, tlsa(3, &far.leaf), &[&other.authority]).is_err(), "known authorities do not help");
        assert!(shake(&other, tlsa(3, &other.authority), &[]).is_err(), "the authority's is not its own");
    }

    #[test]
    fn dane_by_an_authority_needs_name_and_date() {
        for (names, years, well) in [
            (&["mx.far.test"], VALID, true),
            (&["far.test"], VALID, true),
            (&["other.test"], VALID, false),
            (&["mx.far.test"], EXPIRED, false),
        ] {
            let far = house(names, years);
            assert_eq!(shake(&far, tlsa(2, &far.authority), &[]).is_ok(), well, "{names:?} {years:?}");
        }
        let (far, other) = (house(&["mx.far.test"], VALID), house(&["mx.far.test"], VALID));
        assert!(shake(&far, tlsa(2, &other.authority), &[&far.authority]).is_err());
    }
}
