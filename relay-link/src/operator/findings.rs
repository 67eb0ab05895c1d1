//! What `doctor` finds, and what to do about it.

use std::fmt;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use super::config::is_host;
use crate::dns::Dns;

/// A time-out for what the operator waits for.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// One thing.
#[derive(Debug)]
pub struct Finding {
    state: &'static str,
    words: String,
    advice: String,
}

impl Finding {
    /// It is well.
    pub fn good(words: impl Into<String>) -> Self {
        Self { state: "good", words: words.into(), advice: String::new() }
    }

    /// It works, and could be better.
    pub fn weak(words: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { state: "weak", words: words.into(), advice: advice.into() }
    }

    /// It does not work.
    pub fn bad(words: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { state: "BAD", words: words.into(), advice: advice.into() }
    }

    /// What does not work is no more than a pity here.
    #[must_use]
    pub fn at_worst_weak(self) -> Self {
        Self { state: if self.state == "BAD" { "weak" } else { self.state }, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, words, advice } = self;
        write!(f, "{state:4}  {words}")?;
        if advice.is_empty() { Ok(()) } else { write!(f, "\n      -> {advice}") }
    }
}

/// Prints them all; fails when something does not work.
#[must_use]
pub fn print(findings: &[Finding]) -> ExitCode {
    findings.iter().for_each(|finding| println!("{finding}"));
    ExitCode::from(u8::from(findings.iter().any(|finding| finding.state == "BAD")))
}

/// Whether the proxy `program` answers on this machine, where it is to listen (`bind`); `greeting` is how it begins, where it
/// speaks first.
#[must_use]
pub fn port(program: &str, bind: &[IpAddr], what: &str, port: u16, greeting: Option<&[u8; 4]>) -> Finding {
    let bound = bind.iter().find(|address| !address.is_unspecified());
    let address = SocketAddr::new(bound.copied().unwrap_or(Ipv4Addr::LOCALHOST.into()), port);
    let talk = || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut said = [0; 4];
        if greeting.is_some() {
            stream.read_exact(&mut said)?;
        }
        std::io::Result::Ok(said)
    };
    match talk() {
        Ok(said) if greeting.is_none_or(|greeting| said == *greeting) => {
            Finding::good(format!("{what}: port {port} answers"))
        }
        Ok(_) => Finding::bad(format!("{what}: something else answers at port {port}"), "which program has that port?"),
        Err(error) => Finding::bad(format!("{what}: port {port}: {error}"), format!("is `{program} run` running?")),
    }
}

/// Numbers are for the operator: whoever else reads them learns how much mail there is, and when.
#[must_use]
pub fn metrics(address: Option<SocketAddr>) -> Option<Finding> {
    let open = address.filter(|address| !address.ip().to_canonical().is_loopback())?;
    let words = format!("metrics: whoever reaches {open} reads them");
    Some(Finding::weak(words, "say an address of the loopback, or let a firewall keep others from it"))
}

/// What the resolvers that the proxy itself asks say of a host.
pub async fn addresses(dns: &Dns, host: &str) -> Vec<IpAddr> {
    dns.addresses(host).await.unwrap_or_default().iter().map(IpAddr::to_canonical).collect()
}

/// Whether an address is called as the proxy calls itself: far servers distrust one that is not.
pub async fn pointer(dns: &Dns, own: &str, address: IpAddr) -> Finding {
    let advice = format!("the provider of the address can set it: {address} must be called {own}");
    match dns.names(address).await {
        Ok(names) if names.iter().any(|name| name == own) => Finding::good(format!("PTR: {address} is called {own}")),
        Ok(names) if names.is_empty() => Finding::bad(format!("PTR: {address} has no name"), advice),
        Ok(names) => Finding::bad(format!("PTR: {address} is called {}", names.join(", ")), advice),
        Err(error) => Finding::bad(format!("PTR of {address}: {error}"), "is `dns` in the configuration right?"),
    }
}

/// Whether homes find this proxy by its name, whose addresses are `here`.
#[must_use]
pub fn name(own: &str, here: &[IpAddr]) -> Finding {
    match here {
        _ if !is_host(own) => {
            Finding::bad(format!("`{own}` is no name for the world"), "say `name = ...` in the configuration")
        }
        [] => Finding::bad(format!("{own} has no address in DNS"), "homes dial that name: give it an A or AAAA record"),
        found => Finding::good(format!("{own} is {found:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn numbers_are_for_the_operator() {
        let state = |at: &str| metrics(Some(at.parse().unwrap())).map(|finding| finding.state);
        assert_eq!((state("127.0.0.1:9125"), state("[::1]:9125")), (None, None));
        assert_eq!((state("0.0.0.0:9125"), state("192.0.2.7:9125")), (Some("weak"), Some("weak")));
        assert!(metrics(None).is_none());
    }

    #[test]
    fn it_is_looked_for_where_it_listens() {
        let there: IpAddr = [127, 0, 0, 7].into();
        let listener = TcpListener::bind((there, 0)).unwrap();
        let at = listener.local_addr().unwrap().port();
        let state = |bind: &[IpAddr]| port("proxy", bind, "link", at, None).state;
        assert_eq!(state(&[there]), "good");
        assert_eq!(state(&[Ipv4Addr::UNSPECIFIED.into(), there]), "good");
        assert_eq!(state(&[]), "BAD", "nothing listens at 127.0.0.1");
    }
}
