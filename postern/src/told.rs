//! What a running `up` serves, as the other commands need it: which of its options count, and where mail apps reach it.
//! The keeper keeps it for them unread; it comes over the admin socket.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use spool::edges::admin::{Admin, Reply, Request};

use crate::admin;
use crate::config::{Config, DnsServer};
use crate::data::DataFolder;
use crate::house_addresses;
use crate::up::ports::{Bound, Service, is_everything};

/// How long the box may take to say it: it may be starting.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    domains: Vec<String>,
    hostname: Option<String>,
    bind: Vec<IpAddr>,
    port_offset: Option<u16>,
    tls: Option<(PathBuf, PathBuf)>,
    dns: Vec<SocketAddr>,
    /// By name: where each listens.
    services: BTreeMap<String, Vec<SocketAddr>>,
    /// Where a socket on all addresses is reached.
    machine: Vec<IpAddr>,
    /// The machine's own name.
    node: String,
    /// SHA-256 of the certificate, when it is self-signed.
    fingerprint: Option<String>,
    /// Mail without TLS is permitted, with every server there is.
    clear: bool,
    /// `false`: this is only what a start with this configuration would ask for.
    running: bool,
}

impl Told {
    /// Of a box that serves.
    #[must_use]
    pub fn of(config: &Config, bound: &[Bound], fingerprint: Option<String>) -> Self {
        let services = bound.iter().map(|bound| (bound.service.name().to_owned(), bound.addresses())).collect();
        Self { services, fingerprint, running: true, ..Self::planned(config) }
    }

    /// Of a box that does not run.
    #[must_use]
    pub fn planned(config: &Config) -> Self {
        let everywhere = [IpAddr::from(Ipv6Addr::UNSPECIFIED)];
        let bind = if config.bind.is_empty() { &everywhere[..] } else { &config.bind };
        let at = |service: Service| {
            let port = service.port().saturating_add(config.port_offset.unwrap_or(0));
            (service.name().to_owned(), bind.iter().map(|ip| (*ip, port).into()).collect())
        };
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        Self {
            domains: config.domains.clone(),
            hostname: config.hostname.clone(),
            bind: config.bind.clone(),
            port_offset: config.port_offset,
            tls: config.tls_cert.as_ref().zip(config.tls_key.as_ref()).map(|(c, k)| (absolute(c), absolute(k))),
            dns: config.dns.iter().map(|server| server.0).collect(),
            services: Service::ALL.into_iter().map(at).collect(),
            machine: house_addresses::all(),
            node: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            fingerprint: None,
            clear: config.is_clear(),
            running: false,
        }
    }

    /// For the keeper to keep.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Asks the running box; `None`: there is none, or it does not answer.
    #[must_use]
    pub fn ask(data: &DataFolder) -> Option<Self> {
        // A keeper that dies again and again is what `doctor` is asked about.
        let edge = admin::connect(data, PATIENCE).ok()??;
        match Admin::new(edge).ask(Request::Told).ok()? {
            Reply::Told(text) => serde_json::from_str(&text).ok(),
            _ => None,
        }
    }

    /// Puts in what the command line of `up` said instead of the configuration.
    pub fn put_into(&self, config: &mut Config) {
        config.domains.clone_from(&self.domains);
        config.hostname.clone_from(&self.hostname);
        config.bind.clone_from(&self.bind);
        config.port_offset = self.port_offset;
        (config.tls_cert, config.tls_key) = self.tls.clone().unzip();
        config.dns = self.dns.iter().map(|server| DnsServer(*server)).collect();
        if self.clear && !config.is_clear() {
            config.clear_text.push("*".to_owned());
        }
    }

    /// What to type into a mail app, but for name and password.
    #[must_use]
    pub fn servers(&self) -> String {
        let mut text = String::new();
        for (title, service, security) in [
            ("incoming mail (IMAP)", Service::Imaps, "SSL/TLS"),
            ("outgoing mail (SMTP)", Service::Submissions, "SSL/TLS"),
            ("   or", Service::Submission, "STARTTLS"),
        ] {
            if let Some((host, port)) = self.server(service) {
                text += &format!("    {title:22} server {host}, port {port}, {security}\n");
            }
        }
        text
    }

    /// What is worth knowing beside it.
    #[must_use]
    pub fn remarks(&self) -> String {
        let mut text = String::new();
        let others = self.other_names();
        if !others.is_empty() {
            text += &format!("\nThe same server, where that name does not work: {}.\n", others.join(", "));
        }
        if let Some(print) = &self.fingerprint {
            text += &format!(
                "\nThe certificate is self-signed: the mail app asks once whether to trust it. SHA-256:\n    {print}\n"
            );
        }
        if !self.running {
            text += "\nThe server does not run: `postern up` prints its ports if these are not to be had.\n";
        }
        text
    }

    /// Where all its services listen.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.services.values().flatten().copied()
    }

    fn at(&self, service: Service) -> Option<SocketAddr> {
        let all = self.services.get(service.name())?;
        // Of several, one that a phone can reach.
        all.iter().find(|address| !address.ip().is_loopback()).or_else(|| all.first()).copied()
    }

    /// The name or address to type, and the port.
    fn server(&self, service: Service) -> Option<(String, u16)> {
        let address = self.at(service)?;
        let host = match address.ip() {
            ip if ip == IpAddr::from(Ipv4Addr::LOCALHOST) || ip == IpAddr::from(Ipv6Addr::LOCALHOST) => {
                "localhost".to_owned()
            }
            ip if ip.is_loopback() => ip.to_string(),
            // What the admin calls it is what the certificate should say.
            ip => match (&self.hostname, ip.is_unspecified()) {
                (Some(name), _) => name.clone(),
                (None, true) => self.reached().next().map_or_else(|| self.node.clone(), ToString::to_string),
                (None, false) => ip.to_string(),
            },
        };
        Some((host, address.port()))
    }

    /// Of sockets on all addresses of a kind, or of both: the machine's addresses of that.
    fn reached(&self) -> impl Iterator<Item = &IpAddr> {
        let both = self.bind.is_empty() || is_everything(&self.bind);
        let has = |ip: &IpAddr| self.bind.iter().any(|all| all.is_unspecified() && all.is_ipv4() == ip.is_ipv4());
        self.machine.iter().filter(move |ip| both || has(ip))
    }

    /// Of a socket on all addresses: the machine's other addresses, and its name.
    fn other_names(&self) -> Vec<String> {
        if !self.at(Service::Imaps).is_some_and(|address| address.ip().is_unspecified()) {
            return Vec::new();
        }
        let chosen = self.server(Service::Imaps).map(|(host, _)| host);
        let addresses = self.reached().map(ToString::to_string);
        let mut all: Vec<String> = addresses.chain([self.node.clone()]).collect();
        all.retain(|name| !name.is_empty() && Some(name) != chosen.as_ref());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bind: &[&str], hostname: Option<&str>) -> Told {
        let bind = bind.iter().map(|ip| ip.parse().unwrap()).collect();
        let config = Config { bind, hostname: hostname.map(str::to_owned), ..Config::default() };
        let machine = vec!["192.168.1.20".parse().unwrap(), "fd00::20".parse().unwrap()];
        Told { machine, node: "vm".to_owned(), ..Told::planned(&config) }
    }

    #[test]
    fn the_address_that_is_bound_is_the_one_to_type() {
        let host = |bind: &[&str], hostname| told(bind, hostname).server(Service::Imaps).unwrap().0;
        assert_eq!(host(&["127.0.0.1"], None), "localhost");
        assert_eq!(host(&["127.0.0.42"], None), "127.0.0.42");
        assert_eq!(host(&["192.168.1.10"], None), "192.168.1.10");
        assert_eq!(host(&["127.0.0.1", "192.168.1.10"], None), "192.168.1.10");
        assert_eq!(host(&["192.168.1.10"], Some("mail.example.org")), "mail.example.org");
        assert_eq!(host(&["127.0.0.1"], Some("mail.example.org")), "localhost");
        assert_eq!(host(&[], None), "192.168.1.20");
        assert_eq!(told(&[], None).other_names(), ["fd00::20", "vm"]);
        assert_eq!(told(&[], Some("mail.example.org")).other_names(), ["192.168.1.20", "fd00::20", "vm"]);
        assert!(told(&["192.168.1.10"], None).other_names().is_empty());
        // What is told is served.
        assert_eq!(
            (host(&["0.0.0.0"], None), told(&["0.0.0.0"], None).other_names()),
            ("192.168.1.20".into(), vec!["vm".into()])
        );
        assert_eq!(told(&["::"], None).other_names(), ["fd00::20", "vm"]);
        assert_eq!(host(&["::", "127.0.0.1"], None), "fd00::20");
        assert_eq!(told(&["0.0.0.0", "::"], None).other_names(), ["fd00::20", "vm"]);
    }

    #[test]
    fn what_up_was_told_comes_back() {
        let config = Config {
            domains: vec!["one.test".to_owned()],
            tls_cert: Some("chain.pem".into()),
            tls_key: Some("key.pem".into()),
            port_offset: Some(7),
            ..Config::default()
        };
        let told: Told = serde_json::from_str(&Told::of(&config, &[], None).to_text()).unwrap();
        let mut other = Config::default();
        told.put_into(&mut other);
        assert!(other.tls_cert.as_ref().is_some_and(|path| path.is_absolute() && path.ends_with("chain.pem")));
        assert_eq!((other.domains, other.port_offset), (config.domains, config.port_offset));
    }
}
