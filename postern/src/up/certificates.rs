//! The certificate: the admin's own, read again when its files change, or a self-signed one made here.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use wire::tls::{CertificatePem, Tls};

use crate::config::Config;
use crate::data::{DataFolder, is_read_only};
use crate::failure::{Doing, Failure};
use crate::validity::Validity;

/// Years a self-signed certificate holds: whoever has accepted it once should not have to again.
const YEARS: i32 = 10;
/// Bytes of one file; what is longer is not read.
const FILE: u64 = 256 * 1024;

/// What `ring` signs with.
const KEYS: &str = "keys are RSA of 2048 to 4096 bits, ECDSA with P-256 or P-384, or Ed25519";

/// Where the certificate comes from.
#[derive(Debug)]
pub struct Certificates {
    chain: PathBuf,
    key: PathBuf,
    own: bool,
    seen: [Stamp; 2],
    /// In memory alone: made where there was none, and no file could be.
    kept: Option<CertificatePem>,
}

/// What changes when a file is written or replaced.
type Stamp = Option<(u64, u64, i64, i64)>;

fn stamp(path: &Path) -> Stamp {
    fs::metadata(path).ok().map(|file| (file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
}

/// Where the chain and its key lie.
#[must_use]
pub fn files(data: &DataFolder, config: &Config) -> (PathBuf, PathBuf) {
    match (&config.tls_cert, &config.tls_key) {
        (Some(chain), Some(key)) => (chain.clone(), key.clone()),
        _ => (data.entry("tls/self-signed.crt"), data.entry("tls/self-signed.key")),
    }
}

impl Certificates {
    /// The configured files, or the self-signed certificate: made when there is none, when it does not hold the
    /// present names, or when it has run out. Where no file can be made, one that is there stays: mail apps know it.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn open(data: &DataFolder, config: &Config) -> Result<Self, Failure> {
        let (chain, key) = files(data, config);
        let own = config.tls_cert.is_none() || config.tls_key.is_none();
        let mut certificates = Self { seen: [None; 2], chain, key, own, kept: None };
        if !own || certificates.holds(&names(config)) {
            return Ok(certificates);
        }
        if !is_read_only(data.path()) {
            certificates.keep(data, &make(&names(config))?)?;
        } else if certificates.read().is_err() {
            certificates.kept = Some(make(&names(config))?);
        }
        Ok(certificates)
    }

    /// Whether it is self-signed: mail apps will ask once.
    #[must_use]
    pub const fn is_own(&self) -> bool {
        self.own
    }

    /// SHA-256 of the certificate, as mail apps show it: `AB:CD:...`.
    #[must_use]
    pub fn fingerprint(&self) -> Option<String> {
        let der = match &self.kept {
            Some(kept) => CertificateDer::from_pem_slice(kept.chain.as_bytes()),
            None => CertificateDer::from_pem_file(&self.chain),
        };
        let der = der.ok()?;
        let digest = ring::digest::digest(&ring::digest::SHA256, &der);
        Some(digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":"))
    }

    /// Where the chain lies.
    #[must_use]
    pub fn chain(&self) -> &Path {
        &self.chain
    }

    /// Reads and checks both files.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn read(&mut self) -> Result<CertificatePem, Failure> {
        if let Some(kept) = &self.kept {
            return Ok(kept.clone());
        }
        self.seen = [stamp(&self.chain), stamp(&self.key)];
        let pem = CertificatePem { chain: read(&self.chain)?, key: read(&self.key)? };
        let what = || format!("{} and {}", self.chain.display(), self.key.display());
        Tls::new(&pem).map_err(|error| Failure::new(format!("{}: {error} ({KEYS})", what())))?;
        Ok(pem)
    }

    /// Whether a file has changed since it was last read.
    #[must_use]
    pub fn changed(&self) -> bool {
        !self.own && self.seen != [stamp(&self.chain), stamp(&self.key)]
    }

    fn holds(&self, wanted: &[String]) -> bool {
        let Ok(der) = CertificateDer::from_pem_file(&self.chain) else { return false };
        let Ok(parsed) = rustls::server::ParsedCertificate::try_from(&der) else { return false };
        let named = |name: &String| {
            rustls::pki_types::ServerName::try_from(name.as_str())
                .is_ok_and(|name| rustls::client::verify_server_name(&parsed, &name).is_ok())
        };
        let fresh = Validity::of(&der).is_some_and(|validity| validity.days_left(wire::date::now()) > 30);
        fresh && self.key.exists() && wanted.iter().all(named)
    }

    /// Durably, the folder's own name included.
    fn keep(&self, data: &DataFolder, pem: &CertificatePem) -> Result<(), Failure> {
        let folder = data.entry("tls");
        let made = match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            other => other.and_then(|()| sync(data.path())),
        };
        let kept = made.and_then(|()| write(&self.key, &pem.key)).and_then(|()| write(&self.chain, &pem.chain));
        kept.and_then(|()| sync(&folder)).doing(|| WHAT.to_owned())
    }
}

const WHAT: &str = "cannot make a self-signed certificate";

fn make(names: &[String]) -> Result<CertificatePem, Failure> {
    let what = || WHAT.to_owned();
    let key = KeyPair::generate().doing(what)?;
    let mut parameters = CertificateParams::new(Vec::<String>::new()).doing(what)?;
    for name in names {
        parameters.subject_alt_names.push(match name.parse() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) => SanType::DnsName(name.as_str().try_into().doing(what)?),
        });
    }
    let today = crate::cli::output::day(wire::date::now());
    let year = today[..4].parse().unwrap_or(2026);
    parameters.not_before = rcgen::date_time_ymd(year - 1, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(year + YEARS, 1, 1);
    parameters.distinguished_name.push(DnType::CommonName, names[0].clone());
    let certificate = parameters.self_signed(&key).doing(what)?;
    Ok(CertificatePem { chain: certificate.pem(), key: key.serialize_pem() })
}

/// Every name the box is reached by, without asking anybody.
#[must_use]
pub fn names(config: &Config) -> Vec<String> {
    let machine = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let short = machine.split('.').next().unwrap_or_default().to_owned();
    let mut names = vec![config.hostname()];
    for domain in &config.domains {
        names.extend([domain.clone(), format!("mail.{domain}")]);
    }
    names.extend([machine, format!("{short}.local"), "localhost".to_owned()]);
    names.retain(|name| crate::names::domain(name).is_ok_and(|good| good == *name));
    names.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
    names.extend(config.bind.iter().filter(|ip| !ip.is_unspecified()).map(ToString::to_string));
    if config.bind.iter().all(IpAddr::is_unspecified) {
        names.extend(crate::house_addresses::all().iter().map(ToString::to_string));
    }
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

fn read(path: &Path) -> Result<String, Failure> {
    let what = || format!("cannot read {}", path.display());
    let about = fs::metadata(path).doing(what)?;
    // To open a pipe would be to wait for whoever writes into it, and nothing else would go on meanwhile.
    if !about.is_file() {
        return Err(Failure::new(format!("{} is no file: name the certificate's own", path.display())));
    }
    if about.len() > FILE {
        return Err(Failure::new(format!("{} is too long for a certificate or key", path.display())));
    }
    fs::read_to_string(path).doing(what)
}

/// Written beside and renamed: never half a key.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

fn sync(folder: &Path) -> std::io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> DataFolder {
        let path = std::env::temp_dir().join(format!("postern-tls-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        DataFolder::open_or_make(&path).unwrap()
    }

    #[test]
    fn a_self_signed_certificate_stays_until_its_names_change() {
        let data = folder("own");
        let mut config = Config::default();
        let first = Certificates::open(&data, &config).unwrap().read().unwrap().chain.clone();
        let again = Certificates::open(&data, &config).unwrap().read().unwrap().chain.clone();
        assert_eq!(first, again);
        config.domains.push("family.test".to_owned());
        let mut certificates = Certificates::open(&data, &config).unwrap();
        assert_ne!(certificates.read().unwrap().chain, first);
        assert!(certificates.is_own() && !certificates.changed());
        assert_eq!(fs::metadata(&certificates.key).unwrap().mode() & 0o777, 0o600);
        fs::remove_dir_all(data.path()).unwrap();
    }

    /// An app that is told an address compares it with the certificate.
    #[test]
    fn what_is_printed_to_type_is_in_the_certificate() {
        let data = folder("typed");
        let all: Vec<String> = crate::house_addresses::all().iter().map(ToString::to_string).collect();
        let config = Config { bind: vec!["127.0.0.42".parse().unwrap()], ..Config::default() };
        for (config, wanted) in [(Config::default(), all), (config, vec!["127.0.0.42".to_owned()])] {
            let certificates = Certificates::open(&data, &config).unwrap();
            assert!(certificates.holds(&wanted), "{wanted:?}");
            assert!(certificates.holds(&["localhost".to_owned(), config.hostname()]));
        }
        fs::remove_dir_all(data.path()).unwrap();
    }

    #[test]
    fn own_files_are_checked_and_watched() {
        let data = folder("given");
        let own = Certificates::open(&data, &Config::default()).unwrap();
        let config = Config { tls_cert: Some(own.chain.clone()), tls_key: Some(own.key.clone()), ..Config::default() };
        let mut given = Certificates::open(&data, &config).unwrap();
        assert!(given.changed());
        given.read().unwrap();
        assert!(!given.changed());
        fs::write(&own.key, "no key").unwrap();
        assert!(given.changed());
        assert!(given.read().unwrap_err().words.contains("P-384"));
        fs::remove_file(&own.key).unwrap();
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mknodat(rustix::fs::CWD, &own.key, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(given.read().unwrap_err().words.contains("is no file"));
        fs::remove_dir_all(data.path()).unwrap();
    }
}
