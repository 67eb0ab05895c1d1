//! A certificate of the admin's own is taken up by the running box when its files change.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::house::eventually;
use super::{House, User};

/// A new self-signed certificate for `localhost`, its files written as `nobody` may read them.
fn write(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()
}

/// Whether `imaps` answers with exactly this certificate.
fn serves(house: &House, certificate: &CertificateDer<'static>) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = ClientConnection::new(config, name).unwrap();
    let mut tcp = std::net::TcpStream::connect(house.address("imaps")).unwrap();
    while tls.is_handshaking() {
        if tls.complete_io(&mut tcp).is_err() {
            return false;
        }
    }
    tls.peer_certificates().is_some_and(|chain| chain[0] == *certificate)
}

pub fn a_changed_certificate_is_taken_up(user: User) {
    let house = House::start_with(user, "certificates", |folder| {
        write(folder);
        let file = |name: &str| folder.join(name).display().to_string();
        vec!["--tls-cert".to_owned(), file("cert.pem"), "--tls-key".to_owned(), file("key.pem")]
    });
    let first = CertificateDer::from_pem_file(house.folder.join("cert.pem")).unwrap();
    assert!(serves(&house, &first));
    // A key that does not belong to it is told, and the old one stays in use.
    fs::write(house.folder.join("key.pem"), "nothing").unwrap();
    eventually("the bad key is told", || house.log().contains("the new certificate is not used"));
    assert!(serves(&house, &first));
    let second = write(&house.folder);
    eventually("the new certificate is served", || serves(&house, &second));
    // Also by a role that is started from now on.
    super::house::signal(house.roles()["imapd-login"], "KILL");
    eventually("a fresh role serves it, too", || house.roles().contains_key("imapd-login") && serves(&house, &second));
}
