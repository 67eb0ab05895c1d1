//! `inbound-proxy.toml`: one struct; its doc comments are the manual; unknown keys are refused. An empty file is a good
//! one, and so is none.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use relay_link::operator::config;
use relay_link::operator::folder::Folder;
use serde::Deserialize;

use super::Failure;
use crate::grant::{is_mistaken_for, is_street};

/// What the operator may choose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// What the proxy calls itself: the name of its address in the PTR record. Default: the machine's own name.
    pub name: Option<String>,
    /// Addresses to listen on. Default: all of them, IPv6 and IPv4.
    pub bind: Vec<IpAddr>,
    /// The certificate chain (PEM) for `name`, with `tls-key`; read again when it changes. Only a sender that must first
    /// tell whose mail it has ever sees it. Default: a self-signed one.
    pub tls_cert: Option<PathBuf>,
    /// The private key that belongs to `tls-cert` (PEM).
    pub tls_key: Option<PathBuf>,
    /// DNS servers to ask, as address:port. Default: those of `/etc/resolv.conf`.
    pub dns: Vec<SocketAddr>,
    /// Addresses that one street has for itself: `{ "192.0.2.7" = "lane" }`. The names of its homes, and of no others, must lead
    /// there. Default: none.
    pub streets: BTreeMap<IpAddr, String>,
    /// Where Prometheus may fetch metrics, as address:port; best one of the loopback. Default: nowhere.
    pub metrics: Option<SocketAddr>,
    /// Whether each connection has a line in the log: the sender's group, the home, how it was found. Such a log says who writes to
    /// whom, for as long as it is kept: for an hour in which something is looked for. Default: no.
    pub log_connections: bool,
}

impl Config {
    /// The file that was named, else the folder's, else none.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn find(named: Option<&Path>, folder: &Folder) -> Result<Self, Failure> {
        config::find(named, &folder.entry("inbound-proxy.toml"), Self::parse)
    }

    /// Understands a file.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        config::parse(text, |config: &Self| match config::problem(config.name.as_deref(), &config.bind, &config.dns) {
            None if !config.streets.values().all(|street| is_street(street)) => {
                Some("streets: a street has a name, of letters that can be seen")
            }
            None if config.streets.values().any(|street| config.mistaken(street).is_some()) => {
                Some("streets: one street is written in two ways")
            }
            None if config.tls_cert.is_some() != config.tls_key.is_some() => {
                Some("tls-cert and tls-key: both or neither")
            }
            problem => problem,
        })
    }

    /// A street that looks like this one, and is another.
    #[must_use]
    pub fn mistaken(&self, street: &str) -> Option<&str> {
        self.streets.values().map(String::as_str).find(|other| is_mistaken_for(street, other))
    }

    /// What the proxy calls itself.
    #[must_use]
    pub fn name(&self) -> String {
        config::own_name(self.name.as_deref())
    }

    /// DNS servers.
    #[must_use]
    pub fn upstreams(&self) -> Vec<SocketAddr> {
        config::upstreams(&self.dns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_understood_and_what_is_not() {
        assert_eq!(Config::parse("").unwrap(), Config::default());
        let example = include_str!("../../inbound-proxy.example.toml");
        assert_eq!(Config::parse(example).unwrap(), Config::default(), "what is shipped says the defaults");
        let whole: String = example
            .lines()
            .filter_map(|line| line.strip_prefix("# ").filter(|line| line.contains(" = ")))
            .map(|line| format!("{line}\n"))
            .collect();
        let whole = Config::parse(&whole).unwrap();
        assert!(whole.metrics.is_some() && whole.log_connections, "and every line of it can be used");
        for bad in [
            "nane = 'x'",
            "name = 'nodots'",
            "name = '192.0.2.1'",
            "tls-cert = 'x'",
            "dns = ['1.1.1.1']",
            "bind = ['x']",
            "streets = { x = 'lane' }",
            "streets = { '192.0.2.7' = '' }",
            "streets = { '192.0.2.7' = 'lane', '192.0.2.8' = 'Lane' }",
            "metrics = 9125",
            "log-connections = 'sometimes'",
        ] {
            assert!(Config::parse(bad).is_err(), "{bad}");
        }
    }
}
