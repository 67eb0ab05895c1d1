//! The certificate for sessions that learn: the operator's, else a self-signed one in `tls.crt` and `tls.key` (0600) of the
//! folder.

use std::path::PathBuf;

use relay_link::operator::config;
use relay_link::operator::folder::Folder;
use wire::tls::{CertificatePem, Tls};

use super::config::Config;
use super::{Doing, Failure};

/// The certificate for sessions that learn.
///
/// # Errors
/// In words for the operator.
pub(super) fn certificate(folder: &Folder, config: &Config) -> Result<CertificatePem, Failure> {
    let (chain, key) = match (&config.tls_cert, &config.tls_key) {
        (Some(chain), Some(key)) => (chain.clone(), key.clone()),
        _ => self_signed(folder, &config.name())?,
    };
    let pem = CertificatePem { chain: config::text(&chain)?, key: config::text(&key)? };
    Tls::new(&pem).doing(|| format!("{} and {}", chain.display(), key.display()))?;
    Ok(pem)
}

fn self_signed(folder: &Folder, name: &str) -> Result<(PathBuf, PathBuf), Failure> {
    let (chain, key) = (folder.entry("tls.crt"), folder.entry("tls.key"));
    let what = || "a self-signed certificate".to_owned();
    if !chain.exists() || !key.exists() {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).doing(what)?;
        folder.put("tls.key", made.signing_key.serialize_pem().as_bytes())?;
        folder.put("tls.crt", made.cert.pem().as_bytes())?;
    }
    Ok((chain, key))
}
