//! The certificate: whether it can be used, until when, and for which names.

use std::path::PathBuf;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};

use wire::date::now;

use super::{Finding, Patient};
use crate::cli::output::day;
use crate::validity::Validity;

const ABOUT: &str = "certificate";
/// Days before its end from which it is worth a word.
const SOON: i64 = 14;

/// The certificate in use, where there is one that can be read.
pub fn in_use(patient: &Patient) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_file(path(patient)?).ok()
}

fn path(patient: &Patient) -> Option<PathBuf> {
    let own = patient.data.as_ref().map(|data| data.entry("tls/self-signed.crt"));
    patient.config.tls_cert.clone().or(own.filter(|path| path.exists()))
}

/// The certificate in use.
pub fn look(patient: &Patient) -> Vec<Finding> {
    let Some(path) = path(patient) else {
        return vec![Finding::good(ABOUT, "a self-signed one is made at the first start")];
    };
    let der = match CertificateDer::from_pem_file(&path) {
        Ok(der) => der,
        Err(error) => {
            let words = format!("{} cannot be read: {error}", path.display());
            return vec![Finding::bad(ABOUT, words, "it must be a PEM file that this user can read")];
        }
    };
    vec![until(&der), names(&der, patient)]
}

fn until(der: &CertificateDer<'_>) -> Finding {
    let Some(validity) = Validity::of(der) else {
        return Finding::weak(ABOUT, "its dates cannot be read", "look at it with `openssl x509 -text`");
    };
    let end = day(validity.to);
    match validity.days_left(now()) {
        ..=-1 => Finding::bad(ABOUT, format!("it ran out on {end}"), "renew it; the running box takes it up by itself"),
        0..SOON => {
            Finding::weak(ABOUT, format!("it runs out on {end}"), "renew it; the running box takes it up by itself")
        }
        _ if validity.from > now() => {
            Finding::bad(ABOUT, format!("it holds only from {}", day(validity.from)), "is this machine's clock right?")
        }
        _ => Finding::good(ABOUT, format!("it holds until {end}")),
    }
}

fn names(der: &CertificateDer<'_>, patient: &Patient) -> Finding {
    let hostname = patient.config.hostname();
    let holds = rustls::server::ParsedCertificate::try_from(der).is_ok_and(|parsed| {
        ServerName::try_from(hostname.as_str())
            .is_ok_and(|name| rustls::client::verify_server_name(&parsed, &name).is_ok())
    });
    match holds {
        true => Finding::good(ABOUT, format!("it names {hostname}")),
        false => Finding::bad(
            ABOUT,
            format!("it does not name {hostname}"),
            "set `hostname` in the configuration to a name it holds, or get one for this name",
        ),
    }
}
