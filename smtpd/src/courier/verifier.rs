//! Who a far host must be, as rustls asks it: [`Rule`] made into a certificate verifier. Where a certificate must prove
//! something, the handshake must be signed with its key.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
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
    let provider = wire::ciphers::provider();
    let also = ServerName::try_from(domain.to_owned()).into_iter().collect();
    let verifier = Verifier { rule, roots, provider: provider.clone(), also };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    // One connection each: nobody comes back to what would be remembered, and every one proves itself anew.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Said to whoever wrote the letter.
const DANE_MISMATCH: &str = "its certificate is not the one that its domain names in DNS: somebody may be in between, so the letter was not sent";

impl Verifier {
    fn named(
        &self,
        roots: &RootCertStore,
        (leaf, others): (&CertificateDer<'_>, &[CertificateDer<'_>]),
        names: &[&ServerName<'_>],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, roots, others, now, algorithms)?;
        let mut outcome = Err(Error::InvalidCertificate(CertificateError::NotValidForName));
        for name in names {
            outcome = verify_server_name(&certificate, name);
            if outcome.is_ok() {
                break;
            }
        }
        outcome.map(|()| ServerCertVerified::assertion())
    }

    /// A certificate as they were made before names stood in an extension of their own.
    fn commonly_named(leaf: &CertificateDer<'_>, names: &[&ServerName<'_>]) -> bool {
        let is = |name: &&ServerName<'_>, common: &str| match name {
            ServerName::DnsName(name) => name.as_ref().eq_ignore_ascii_case(common),
            _ => false,
        };
        dane::common_name(leaf).is_some_and(|common| names.iter().any(|name| is(name, common)))
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
            Match::None => Err(Error::General(DANE_MISMATCH.to_owned())),
            Match::Anchors(anchors) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(anchors.into_iter().map(CertificateDer::from));
                let names: Vec<&ServerName<'_>> = std::iter::once(host).chain(&self.also).collect();
                match self.named(&roots, (leaf, others), &names, now) {
                    // Everything else about it has been proven by then.
                    Err(Error::InvalidCertificate(
                        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                    )) if Self::commonly_named(leaf, &names) => Ok(ServerCertVerified::assertion()),
                    outcome => outcome,
                }
            }
        }
    }
}

impl Verifier {
    /// Whether a signature of the handshake is good, given what the library says of it. The library reads the whole
    /// certificate first, and refuses old and odd ones: version 1, an extension it does not know.
    fn signature(
        &self,
        by_library: impl FnOnce() -> Result<HandshakeSignatureValid, Error>,
        (message, leaf, signed): (&[u8], &CertificateDer<'_>, &DigitallySignedStruct),
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.rule {
            // Whoever it is, it may have sent anybody's certificate: a signature with its key would prove nothing.
            Rule::Encrypted | Rule::Anything => Ok(HandshakeSignatureValid::assertion()),
            Rule::Named => by_library(),
            // DANE-EE is about the key alone (RFC 7672 §3.1.1). An anchor's chain was read by the library before.
            Rule::Dane(_) => by_library().or_else(|error| {
                let key = dane::public_key(leaf).ok_or(error)?;
                let algorithms = &self.provider.signature_verification_algorithms;
                verify_tls13_signature_with_raw_key(message, &SubjectPublicKeyInfoDer::from(key), signed, algorithms)
            }),
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
            Rule::Named => self.named(&self.roots, (leaf, others), &[host], now),
            Rule::Dane(records) => self.by_dane(records, (leaf, others), host, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.signature(|| verify_tls12_signature(message, leaf, signed, algorithms), (message, leaf, signed))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.signature(|| verify_tls13_signature(message, leaf, signed, algorithms), (message, leaf, signed))
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
        built(names, years, false)
    }

    /// A host whose certificate has its name where only old ones have it, and perhaps one where it belongs.
    fn old(common: &str, name: Option<&str>, years: (i32, i32)) -> House {
        make(&name.into_iter().collect::<Vec<_>>(), years, |params| {
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(rcgen::DnType::OrganizationName, "Far");
            params.distinguished_name.push(rcgen::DnType::CommonName, common);
        })
    }

    /// `odd`: with an extension that nobody knows and everybody must.
    fn built(names: &[&str], years: (i32, i32), odd: bool) -> House {
        make(names, years, |params| {
            if odd {
                let mut extension = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55555, 1], vec![5, 0]);
                extension.set_criticality(true);
                params.custom_extensions.push(extension);
            }
        })
    }

    fn make(names: &[&str], years: (i32, i32), more: impl FnOnce(&mut CertificateParams)) -> House {
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
        more(&mut params);
        let leaf = params.signed_by(&own, &issuer).unwrap().der().clone();
        let chain = vec![leaf.clone(), authority.clone()];
        House { authority, server: server(chain, &own), leaf }
    }

    /// The library would compare the two, and refuse what it cannot read.
    fn server(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Arc<ServerConfig> {
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let signer = provider.key_provider.load_private_key(key.into()).unwrap();
        let certified = rustls::sign::CertifiedKey::new(chain, signer);
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let resolver = rustls::sign::SingleCertAndKey::from(certified);
        Arc::new(builder.with_no_client_auth().with_cert_resolver(Arc::new(resolver)))
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
    fn a_certificate_that_the_library_does_not_read() {
        let odd = built(&["mx.far.test"], VALID, true);
        for rule in [Rule::Encrypted, Rule::Anything, tlsa(3, &odd.leaf)] {
            assert_eq!(shake(&odd, rule.clone(), &[]), Ok(()), "{rule:?}");
        }
        for rule in [Rule::Named, tlsa(2, &odd.authority)] {
            assert!(shake(&odd, rule.clone(), &[&odd.authority]).is_err(), "{rule:?}");
        }
        // Its certificate alone, without its key, is anybody's.
        let server = server(vec![odd.leaf.clone()], &KeyPair::generate().unwrap());
        let thief = House { authority: odd.authority, server, leaf: odd.leaf };
        assert!(shake(&thief, tlsa(3, &thief.leaf), &[]).is_err());
    }

    #[test]
    fn dane_by_an_authority_takes_an_old_certificate_s_only_name() {
        for (common, name, years, well) in [
            ("mx.far.test", None, VALID, true),
            ("MX.Far.Test", None, VALID, true),
            ("far.test", None, VALID, true),
            ("other.test", None, VALID, false),
            ("*.far.test", None, VALID, false),
            ("mx.far.test", Some("other.test"), VALID, false),
            ("mx.far.test", None, EXPIRED, false),
        ] {
            let far = old(common, name, years);
            assert_eq!(shake(&far, tlsa(2, &far.authority), &[]).is_ok(), well, "{common} {name:?} {years:?}");
            assert!(shake(&far, Rule::Named, &[&far.authority]).is_err(), "elsewhere it is no name: {common}");
        }
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
