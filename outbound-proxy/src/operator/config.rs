//! `outbound-proxy.toml`: one struct; its doc comments are the manual; unknown keys are refused. An empty file is a good
//! one, and so is none.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use relay_link::operator::config;
use relay_link::operator::folder::Folder;
use serde::Deserialize;

use super::Failure;
use crate::grant::Allowance;

/// What the operator may choose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// What the proxy calls itself: the name of its address in the PTR record, and so the EHLO name of all mail that
    /// leaves through it, which leaves from the addresses of that name. Default: the machine's own name.
    pub name: Option<String>,
    /// Addresses to listen on for homes. Default: all of them, IPv6 and IPv4.
    pub bind: Vec<IpAddr>,
    /// DNS servers to ask, as address:port. Default: those of `/etc/resolv.conf`.
    pub dns: Vec<SocketAddr>,
    /// Addresses that lead back to this machine though no interface has them (the outside of a NAT); its interfaces'
    /// are known. Default: none.
    pub own: Vec<IpAddr>,
    /// What `invite` grants where it is not told otherwise: `bucket`, `hourly`, `daily`, `sessions`, `burst`, `empty`,
    /// `networks`, `concurrent`. Default: 1500, 200, 5000, 300, 30, 100, 60, 10; half of it in a home's first two weeks.
    pub allowance: Allowance,
    /// Where Prometheus may fetch metrics, as address:port; best one of the loopback. Default: nowhere.
    pub metrics: Option<SocketAddr>,
}

impl Config {
    /// The file that was named, else the folder's, else none.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn find(named: Option<&Path>, folder: &Folder) -> Result<Self, Failure> {
        config::find(named, &folder.entry("outbound-proxy.toml"), Self::parse)
    }

    /// Understands a file.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        config::parse(text, |config: &Self| config::problem(config.name.as_deref(), &config.bind, &config.dns))
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
        let example = include_str!("../../outbound-proxy.example.toml");
        assert_eq!(Config::parse(example).unwrap(), Config::default(), "what is shipped says the defaults");
        let lines = example.lines().filter_map(|line| line.strip_prefix("# ").filter(|line| line.contains(" = ")));
        let whole: String = lines.map(|line| format!("{line}\n")).collect();
        let config = Config::parse(&whole).unwrap();
        assert!(config.metrics.is_some() && config.allowance.daily == 800, "and every line of it can be used");
        for bad in [
            "nane = 'x'",
            "name = 'nodots'",
            "name = '192.0.2.1'",
            "dns = ['1.1.1.1']",
            "own = ['x']",
            "allowance = { dayly = 5 }",
            "allowance = { daily = -1 }",
            "metrics = 9125",
        ] {
            assert!(Config::parse(bad).is_err(), "{bad}");
        }
    }
}
