//! The tests' own certificate authority, made with openssl, so that every peer checks certificates.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An authority and one certificate of it, for a host name.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// Makes both in `folder`.
    #[must_use]
    pub fn make(folder: &Path, host: &str) -> Self {
        let this = Self { folder: folder.to_owned() };
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        this.openssl(
            &[
                &["req", "-x509", "-days", "3", "-subj", "/CN=Test authority", "-keyout", "ca.key", "-out", "ca.pem"],
                &curve[..],
            ]
            .concat(),
        );
        let name = format!("/CN={host}");
        this.openssl(&[&["req", "-subj", &name, "-keyout", "key.pem", "-out", "request.pem"], &curve[..]].concat());
        std::fs::write(this.folder.join("names"), format!("subjectAltName=DNS:{host},DNS:localhost,IP:127.0.0.1\n"))
            .unwrap();
        this.openssl(&[
            "x509",
            "-req",
            "-in",
            "request.pem",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "3",
            "-extfile",
            "names",
            "-out",
            "cert.pem",
        ]);
        this
    }

    /// What peers trust.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The server's chain.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("cert.pem")
    }

    /// The server's key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.join("key.pem")
    }

    fn openssl(&self, arguments: &[&str]) {
        let status = Command::new("openssl").args(arguments).current_dir(&self.folder).stderr(Stdio::null()).status();
        assert!(status.unwrap().success(), "openssl {arguments:?}");
    }
}

impl Authority {
    /// The one that [`Self::make`] made in `folder`.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }
}
