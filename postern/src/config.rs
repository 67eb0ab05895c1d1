//! `postern.toml`: one struct; its doc comments are the manual; unknown keys are refused.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use serde::Deserialize;
use wire::sasl::{Mechanism, Offer};

use crate::names;
use crate::size::Bytes;

/// Bounds of what the configuration may say.
pub mod limits {
    /// Bytes of the file itself.
    pub const FILE: u64 = 64 * 1024;
    /// Domains of one house.
    pub const DOMAINS: usize = 64;
    /// Addresses to listen on; each takes a descriptor a service.
    pub const BIND: usize = 8;
    /// Upstream DNS servers.
    pub const DNS: usize = 4;
    /// Entries of `clear-text`.
    pub const CLEAR_TEXT: usize = 1_000;
    /// Smallest `max-message`: what every mail server must take (RFC 5321 §4.5.3.1.7).
    pub const SMALLEST_MESSAGE: u64 = 64 * 1024;
    /// Largest `max-message`: offsets into a message are 32 bits wide.
    pub const LARGEST_MESSAGE: u64 = 1024 * 1024 * 1024;
    /// Largest number of `allowance`.
    pub const ALLOWANCE: u32 = 1_000_000;
    /// Smallest `default-quota`.
    pub const SMALLEST_QUOTA: u64 = 1024 * 1024;
}

/// The example that ships with the program, and the file written into a new data folder.
pub const EXAMPLE: &str = include_str!("../postern.example.toml");

/// What the family admin may choose. Every field has a default: an empty file is a good one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// The domains whose mail is ours; the first is added to names typed without one. Default: `["home.test"]`.
    pub domains: Vec<String>,
    /// The name this box gives itself in greetings and in its self-signed certificate. Default: the machine's own
    /// name when that has a dot in it, else the first domain.
    pub hostname: Option<String>,
    /// Addresses to listen on. Default: all of them, IPv6 and IPv4.
    pub bind: Vec<IpAddr>,
    /// Added to 25, 465, 587 and 993. Default: 0, and for each service that cannot have its port, 10000 on loopback.
    /// A number given here is kept to: a port that cannot be had is then an error.
    pub port_offset: Option<u16>,
    /// The certificate chain (PEM), with `tls-key`; read again when it changes. Default: a self-signed one.
    pub tls_cert: Option<PathBuf>,
    /// The private key that belongs to `tls-cert` (PEM).
    pub tls_key: Option<PathBuf>,
    /// Domains whose servers may send, and be sent to, without TLS, or `["*"]` for all: for tests only. Default: none.
    pub clear_text: Vec<String>,
    /// Login mechanisms that are neither announced nor taken, for mail apps that choose one which they cannot finish:
    /// `"SCRAM-SHA-256-PLUS"`, `"SCRAM-SHA-256"`, `"LOGIN"`. Default: none.
    pub without: Vec<String>,
    /// DNS servers to ask (an address, or address:port). Default: those of `/etc/resolv.conf`.
    pub dns: Vec<DnsServer>,
    /// Whether those DNS servers validate DNSSEC and nobody can change their answers on the way here (the best way is
    /// one on this machine): then DANE is enforced for those who publish it. Default: no.
    pub dns_validates: bool,
    /// The certificate authorities that are believed when MTA-STS asks for one (PEM). Default: those of the system.
    pub authorities: Option<PathBuf>,
    /// Whether mail may go to servers with private addresses, inside this house. Default: no, since whoever owns a
    /// domain could then make this box knock at the house's own doors.
    pub private_destinations: bool,
    /// Whether mail leaves from this box itself when the outbound proxy it is paired with gives no connection. Default: no,
    /// it waits: from an address that far servers distrust it would end in their spam folders.
    pub send_past_proxy: bool,
    /// The largest message taken. Default: 50 MB, 35 MB on a machine with less than 1 GB of memory.
    pub max_message: Option<Bytes>,
    /// Memory for mail on its way in or out, all connections together. Default: an eighth of the machine's, and at
    /// least twice `max-message`.
    pub memory: Option<Bytes>,
    /// What a new mailbox may hold. Default: 10 GB.
    pub default_quota: Option<Bytes>,
    /// What one mailbox may send elsewhere in 24 hours, so that a stolen password is of little use.
    pub allowance: Allowance,
    /// A second opinion on mail from outside, by a program that is not ours. Default: none. Its walls are weaker than
    /// those of the workers that all mail passes, and it takes about a second a letter.
    pub scanner: Option<Scanner>,
}

/// A day's mail to elsewhere of one mailbox; what goes from one mailbox of this house to another is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Allowance {
    /// Messages. Default: 300.
    pub messages: u32,
    /// Recipients, of all messages together. Default: 1000.
    pub recipients: u32,
    /// Recipients to whom the mailbox never wrote before. Default: 150.
    pub new_recipients: u32,
}

impl Default for Allowance {
    fn default() -> Self {
        let spool::allowance::Limits { messages, recipients, strangers } = spool::allowance::Limits::default();
        Self { messages, recipients, new_recipients: strangers }
    }
}

impl Allowance {
    /// For the keeper.
    #[must_use]
    pub const fn limits(self) -> spool::allowance::Limits {
        let Self { messages, recipients, new_recipients: strangers } = self;
        spool::allowance::Limits { messages, recipients, strangers }
    }

    fn check(self) -> Result<(), ConfigError> {
        let sane = |number| (1..=limits::ALLOWANCE).contains(&number);
        if [self.messages, self.recipients, self.new_recipients].into_iter().all(sane) {
            return Ok(());
        }
        Err(ConfigError::Value(format!("the numbers of `allowance` are between 1 and {}", limits::ALLOWANCE)))
    }
}

/// An external scanner. Each letter (of up to 1 MiB) gets a process of its own, which sees no network, no other letter
/// and no file but its program and rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scanner {
    /// Which program: `"spamassassin"`, as Debian packages it, with the rules on this machine. From 5 points on a letter
    /// goes to Junk, whatever `required_score` says.
    pub profile: Profile,
    /// What becomes of a letter when the scanner crashes, hangs or talks nonsense: `"come-again"` tells its sender to try
    /// later (451), `"file-without"` files it by our own verdict alone. Default: `"come-again"`.
    #[serde(default)]
    pub when_it_fails: WhenItFails,
}

/// The programs there is a profile for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Apache SpamAssassin, in Perl, asking nobody.
    #[serde(rename = "spamassassin")]
    SpamAssassin,
}

/// What a failed scan costs its letter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenItFails {
    /// A 451.
    #[default]
    ComeAgain,
    /// Its second opinion.
    FileWithout,
}

/// A DNS server: an address, with port 53 unless another is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct DnsServer(pub SocketAddr);

impl TryFrom<String> for DnsServer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self(address));
        }
        text.parse::<IpAddr>()
            .map(|ip| Self((ip, 53).into()))
            .map_err(|_| format!("`{text}` is neither an IP address nor address:port"))
    }
}

/// What `--bind` is given.
///
/// # Errors
/// In words for the admin: what to give instead.
pub fn bind_address(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let instead = match bare.parse() {
        Ok(ip) => return Ok(ip),
        Err(_) if text.parse::<SocketAddr>().is_ok() => "give the address alone: ports are chosen with --port-offset",
        Err(_) if text == "*" => "all addresses are listened on where no --bind is given",
        Err(_) if text.eq_ignore_ascii_case("localhost") => "this machine alone is 127.0.0.1 (and ::1)",
        Err(_) => "give an address of this machine, in digits, not a name: `ip address` shows them",
    };
    Err(instead.to_owned())
}

/// Why nobody can listen there.
const fn no_listener(ip: &IpAddr) -> Option<&'static str> {
    match ip {
        _ if ip.is_multicast() => Some("is a group's address, not one of this machine"),
        IpAddr::V4(ip) if ip.is_broadcast() => Some("is everybody's address, not one of this machine"),
        // "This network" and the reserved ones (RFC 1122 §3.2.1.3, RFC 1112 §4): no machine ever has them.
        IpAddr::V4(ip) if (ip.octets()[0] == 0 && !ip.is_unspecified()) || ip.octets()[0] >= 240 => {
            Some("is an address that no machine can have")
        }
        // It says not in which network, and mail apps could not be told, either.
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            Some("is good in one network only: name another, or leave `bind` out")
        }
        _ => None,
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            domains: vec!["home.test".to_owned()],
            hostname: None,
            bind: Vec::new(),
            port_offset: None,
            tls_cert: None,
            tls_key: None,
            clear_text: Vec::new(),
            without: Vec::new(),
            dns: Vec::new(),
            dns_validates: false,
            authorities: None,
            private_destinations: false,
            send_past_proxy: false,
            max_message: None,
            memory: None,
            default_quota: None,
            allowance: Allowance::default(),
            scanner: None,
        }
    }
}

/// Why a configuration is refused: always the admin's to mend, so it says what and where.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Read(PathBuf, io::Error),
    /// It is not TOML, has an unknown key, or a value of the wrong kind.
    Toml(PathBuf, Box<toml::de::Error>),
    /// A value that cannot be; the words name the key.
    Value(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "cannot read the configuration {}: {error}", path.display()),
            Self::Toml(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Value(words) => write!(f, "configuration: {words}"),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`], in words for the admin.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |error| ConfigError::Read(path.to_owned(), error);
        if fs::metadata(path).map_err(unreadable)?.len() > limits::FILE {
            return Err(unreadable(io::Error::other(format!("longer than {} bytes", limits::FILE))));
        }
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let config: Self =
            toml::from_str(&text).map_err(|error| ConfigError::Toml(path.to_owned(), Box::new(error)))?;
        config.checked()
    }

    /// Lower-cases names and refuses values that cannot be. Call again after command-line options were put in.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub fn checked(mut self) -> Result<Self, ConfigError> {
        let refuse = |words: String| Err(ConfigError::Value(words));
        if self.domains.is_empty() || self.domains.len() > limits::DOMAINS {
            return refuse(format!("`domains` needs 1 to {} names", limits::DOMAINS));
        }
        for domain in self.domains.iter_mut().chain(self.hostname.iter_mut()) {
            *domain = names::domain(domain).map_err(|bad| ConfigError::Value(format!("`{domain}`: {bad}")))?;
        }
        if (1..self.domains.len()).any(|n| self.domains[..n].contains(&self.domains[n])) {
            return refuse("`domains` names one domain twice".to_owned());
        }
        self.check_clear_text()?;
        self.left_out()?;
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return refuse("`tls-cert` and `tls-key` are given together or not at all".to_owned());
        }
        self.check_bind()?;
        if self.bind.len() > limits::BIND || self.dns.len() > limits::DNS {
            return refuse(format!("at most {} `bind` and {} `dns` addresses", limits::BIND, limits::DNS));
        }
        if self.port_offset.is_some_and(|offset| offset > u16::MAX - 993) {
            return refuse(format!("`port-offset` is at most {}", u16::MAX - 993));
        }
        self.check_sizes()?;
        self.allowance.check()?;
        Ok(self)
    }

    /// Whether mail without TLS is permitted with every server there is.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.clear_text.iter().any(|domain| domain == "*")
    }

    /// An address that all others of its kind are part of takes their place: a port can be had once only.
    fn check_bind(&mut self) -> Result<(), ConfigError> {
        // Sockets of IPv6 take IPv6 alone here, which `::ffff:127.0.0.1` is not.
        self.bind.iter_mut().for_each(|ip| *ip = ip.to_canonical());
        if let Some((ip, why)) = self.bind.iter().find_map(|ip| Some((ip, no_listener(ip)?))) {
            return Err(ConfigError::Value(format!("`bind`: {ip} {why}")));
        }
        let mut seen = std::collections::HashSet::new();
        self.bind.retain(|ip| seen.insert(*ip));
        let is_part = |ip: &IpAddr| {
            !ip.is_unspecified() && seen.iter().any(|all| all.is_unspecified() && all.is_ipv4() == ip.is_ipv4())
        };
        self.bind.retain(|ip| !is_part(ip));
        Ok(())
    }

    fn check_clear_text(&mut self) -> Result<(), ConfigError> {
        if self.clear_text.len() > limits::CLEAR_TEXT {
            return Err(ConfigError::Value(format!("`clear-text` has more than {} entries", limits::CLEAR_TEXT)));
        }
        for domain in self.clear_text.iter_mut().filter(|domain| *domain != "*") {
            *domain =
                names::domain(domain).map_err(|bad| ConfigError::Value(format!("`clear-text`: `{domain}`: {bad}")))?;
        }
        Ok(())
    }

    /// PLAIN stays: every mail app speaks it, and IMAP's LOGIN is the same in other words.
    fn left_out(&self) -> Result<Vec<Mechanism>, ConfigError> {
        let known = |name: &String| {
            Mechanism::named(name).filter(|mechanism| *mechanism != Mechanism::Plain).ok_or_else(|| {
                let words = "is none of SCRAM-SHA-256-PLUS, SCRAM-SHA-256 and LOGIN, which can be left out";
                ConfigError::Value(format!("`without`: `{name}` {words}"))
            })
        };
        self.without.iter().map(known).collect()
    }

    /// The mechanisms of logins.
    ///
    /// # Errors
    /// [`ConfigError::Value`]; none once it was checked.
    pub fn offer(&self) -> Result<Offer, ConfigError> {
        self.left_out().map(Offer::without)
    }

    fn check_sizes(&self) -> Result<(), ConfigError> {
        let largest = self.largest_message();
        if !(limits::SMALLEST_MESSAGE..=limits::LARGEST_MESSAGE).contains(&largest) {
            let (least, most) = (Bytes(limits::SMALLEST_MESSAGE), Bytes(limits::LARGEST_MESSAGE));
            return Err(ConfigError::Value(format!("`max-message` is between {least} and {most}")));
        }
        if self.memory.is_some_and(|memory| memory.0 < 2 * largest) {
            return Err(ConfigError::Value(
                "`memory` must hold two messages of the largest size (`max-message`)".to_owned(),
            ));
        }
        if self.default_quota.is_some_and(|quota| quota.0 < limits::SMALLEST_QUOTA) {
            return Err(ConfigError::Value(format!("`default-quota` is at least {}", Bytes(limits::SMALLEST_QUOTA))));
        }
        Ok(())
    }

    /// Bytes of the largest message taken.
    #[must_use]
    pub fn largest_message(&self) -> u64 {
        self.max_message.map_or_else(|| default_largest(total_memory()), |size| size.0)
    }

    /// Bytes of mail in flight, `mx` and `submission` together (DESIGN: the byte budget).
    #[must_use]
    pub fn budget(&self) -> u64 {
        self.memory.map_or_else(|| (total_memory() / 8).max(2 * self.largest_message()), |memory| memory.0)
    }

    /// Bytes a new mailbox may hold.
    #[must_use]
    pub fn quota(&self) -> u64 {
        self.default_quota.map_or(10_000_000_000, |quota| quota.0)
    }

    /// The domain added to names that are typed without one.
    #[must_use]
    pub fn default_domain(&self) -> &str {
        &self.domains[0]
    }

    /// The name this box gives itself.
    #[must_use]
    pub fn hostname(&self) -> String {
        if let Some(name) = &self.hostname {
            return name.clone();
        }
        let own = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
        names::domain(&own).ok().filter(|name| name.contains('.')).unwrap_or_else(|| self.default_domain().to_owned())
    }
}

/// Whether the machine has less than 1 GB of memory.
#[must_use]
pub fn small_board() -> bool {
    is_small(total_memory())
}

const fn is_small(memory: u64) -> bool {
    memory < 1_000_000_000
}

/// Bytes of the largest message where nothing is configured.
const fn default_largest(memory: u64) -> u64 {
    if is_small(memory) { 35_000_000 } else { 50_000_000 }
}

/// Bytes of the machine's memory.
#[must_use]
pub fn total_memory() -> u64 {
    let info = rustix::system::sysinfo();
    // Both fields are `unsigned long`, 32 bits wide on 32-bit boards.
    #[allow(clippy::useless_conversion)]
    u64::from(info.totalram).saturating_mul(u64::from(info.mem_unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_board_takes_smaller_messages() {
        assert_eq!([512 << 20, 999_999_999].map(default_largest), [35_000_000; 2]);
        assert_eq!([1_000_000_000, 8 << 30].map(default_largest), [50_000_000; 2]);
        let config = Config { max_message: Some(Bytes(60_000_000)), ..Config::default() };
        assert_eq!(config.largest_message(), 60_000_000, "what is configured counts");
        assert_eq!(Config::default().largest_message(), default_largest(total_memory()));
    }

    #[test]
    fn an_address_in_the_clothes_of_ipv6_is_taken_as_itself() {
        let of = |bind: &[&str]| {
            let bind = bind.iter().map(|ip| ip.parse().unwrap()).collect();
            let mut config = Config { bind, ..Config::default() };
            config.check_bind().map(|()| config.bind)
        };
        let here = [IpAddr::from([127, 0, 0, 1])];
        assert_eq!(of(&["::ffff:127.0.0.1"]).unwrap(), here);
        assert_eq!(of(&["127.0.0.1", "::ffff:127.0.0.1"]).unwrap(), here);
        assert!(of(&["::ffff:255.255.255.255"]).is_err());
    }
}
