//! What both configurations mean by the same words.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::{Doing, Failure};
use crate::{durable, limits, outbound};

/// The file that was named, else the folder's own, else none.
///
/// # Errors
/// In words for the operator.
pub fn find<T: Default>(
    named: Option<&Path>,
    own: &Path,
    parse: impl Fn(&str) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let path = match named {
        None if !own.exists() => return Ok(T::default()),
        None => own,
        Some(path) => path,
    };
    parse(&text(path)?).map_err(|failure| Failure::configuration(format!("{}: {failure}", path.display())))
}

/// All of a text file of at most [`limits::CONFIG`] bytes, which must be there.
///
/// # Errors
/// In words for the operator.
pub fn text(path: &Path) -> Result<String, Failure> {
    let what = || path.display().to_string();
    let bytes = durable::read(path, limits::CONFIG).doing(what)?;
    String::from_utf8(bytes.ok_or_else(|| Failure::new(format!("{} is not there", path.display())))?).doing(what)
}

/// Understands a file; `problem` looks at what its form allows.
///
/// # Errors
/// In words for the operator.
pub fn parse<T: DeserializeOwned>(text: &str, problem: impl Fn(&T) -> Option<&'static str>) -> Result<T, Failure> {
    let config: T = toml::from_str(text).map_err(|error| Failure::new(error.to_string()))?;
    problem(&config).map_or(Ok(config), |words| Err(Failure::new(words)))
}

/// What is wrong with a `name`, `bind` and `dns`.
#[must_use]
pub fn problem(name: Option<&str>, bind: &[IpAddr], dns: &[SocketAddr]) -> Option<&'static str> {
    if !name.is_none_or(is_host) {
        return Some("name: a host name has letters, digits, dots and hyphens, and at least one dot");
    }
    if bind.len() > limits::BIND {
        return Some("bind: too many addresses");
    }
    (dns.len() > limits::SERVERS).then_some("dns: too many servers")
}

/// What a proxy calls itself: as configured, else as the machine does.
#[must_use]
pub fn own_name(configured: Option<&str>) -> String {
    let machine = || rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    configured.map_or_else(machine, str::to_ascii_lowercase)
}

/// DNS servers: as configured, else as the machine's.
#[must_use]
pub fn upstreams(configured: &[SocketAddr]) -> Vec<SocketAddr> {
    if !configured.is_empty() {
        return configured.to_vec();
    }
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let addresses = servers.filter_map(|rest| rest.trim().parse::<IpAddr>().ok());
    addresses.take(limits::SERVERS).map(|address| (address, 53).into()).collect()
}

/// A host name of at least two labels, no address.
#[must_use]
pub fn is_host(name: &str) -> bool {
    outbound::Host::new(name).is_some() && name.parse::<IpAddr>().is_err()
}
