//! From a domain to a connection that may have a letter for it: its hosts in their order, each with its addresses, until
//! one proves what it must and is ready.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use rustls::RootCertStore;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::dane::{self, Dane, Tlsa};
use super::destination::{self, Answer, Host, Mx, Own, Reach};
use super::fate::{Fate, Status, Why};
use super::limits;
use super::link::{Handshake, Link};
use super::mta_sts::Policy;
use super::session::{Rules, Tls};
use super::tls_rule::{self, Facts, Rule};
use super::verifier;

/// The outside, as an attempt needs it; a test has its own.
pub trait World: Sync {
    /// What a connection is.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send;
    /// MX records of a domain.
    fn mx(&self, domain: &str) -> impl Future<Output = Answer<Mx>> + Send;
    /// AAAA records of a host.
    fn six(&self, host: &str) -> impl Future<Output = Answer<Ipv6Addr>> + Send;
    /// A records of a host.
    fn four(&self, host: &str) -> impl Future<Output = Answer<Ipv4Addr>> + Send;
    /// TLSA records of `_25._tcp.<host>`.
    fn tlsa(&self, host: &str) -> impl Future<Output = Answer<Tlsa>> + Send;
    /// The MTA-STS policy that holds for a domain.
    fn policy(&self, domain: &str) -> impl Future<Output = Option<Policy>> + Send;
    /// Connects.
    fn connect(&self, to: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// What is the same for all attempts.
#[derive(Debug, Clone)]
pub struct House {
    /// Our name, for EHLO.
    pub hello: String,
    /// What is ours.
    pub own: Own,
    /// Authorities that are believed.
    pub roots: Arc<RootCertStore>,
    /// 25; a test has others.
    pub port: u16,
}

/// What is particular to one.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// REQUIRETLS.
    pub require_tls: bool,
    /// `clear-text` in the configuration names this domain.
    pub clear_text: bool,
    /// Any random number.
    pub seed: u64,
}

/// A ready connection to a host of that domain.
///
/// # Errors
/// The fate of all recipients there.
pub async fn reach<W: World>(world: &W, house: &House, domain: &str, wish: Wish) -> Result<Link<W::Stream>, Fate> {
    destination::is_name(domain)?;
    let (mx, policy) = tokio::join!(world.mx(domain), world.policy(domain));
    let hosts = destination::hosts(domain, &mx, &house.own, wish.seed)?;
    let attempt = Attempt { world, house, domain, wish, policy: policy.as_ref(), mx_secure: mx.is_secure() };
    let mut whys = Vec::new();
    for host in &hosts {
        match attempt.host(host).await {
            Outcome::Ready(link) => return Ok(*link),
            Outcome::Not(why) => whys.push(why),
            // RFC 5321 §5.1: what is not better than we are is left out.
            Outcome::Us if whys.is_empty() => return Err(Fate::Failed(destination::back_to_us(domain))),
            Outcome::Us => break,
        }
    }
    Err(summed_up(whys))
}

/// For good only when no host leaves any hope; else the first that does is named.
fn summed_up(whys: Vec<Why>) -> Fate {
    let hope = whys.iter().position(|why| why.status.class != 5);
    let mut whys = whys.into_iter();
    match (hope, whys.nth(hope.unwrap_or(0))) {
        (Some(_), Some(why)) => Fate::Deferred(why),
        (None, Some(why)) => Fate::Failed(why),
        (_, None) => Fate::Deferred(Why::ours(Status::new(4, 4, 0), "no host was tried")),
    }
}

enum Outcome<S> {
    Ready(Box<Link<S>>),
    Not(Why),
    Us,
}

struct Attempt<'a, W> {
    world: &'a W,
    house: &'a House,
    domain: &'a str,
    wish: Wish,
    policy: Option<&'a Policy>,
    mx_secure: bool,
}

impl<W: World> Attempt<'_, W> {
    async fn host(&self, host: &Host) -> Outcome<W::Stream> {
        let (six, four) = tokio::join!(self.world.six(&host.name), self.world.four(&host.name));
        let addresses = match destination::addresses(&host.name, &six, &four, &self.house.own) {
            Reach::At(addresses) => addresses,
            Reach::Us => return Outcome::Us,
            Reach::Nowhere(why) => return Outcome::Not(why),
        };
        let rule = match self.rule(host, six.is_secure() && four.is_secure()).await {
            Ok(rule) => rule,
            Err(why) => return Outcome::Not(why),
        };
        let mut last = None;
        for address in addresses {
            match self.address(host, address, &rule).await {
                Ok(link) => return Outcome::Ready(Box::new(link)),
                // The first is what a person wants to hear of.
                Err(why) => drop(last.get_or_insert(why)),
            }
        }
        Outcome::Not(last.unwrap_or_else(|| Why::ours(Status::new(4, 4, 1), format!("{} has no address", host.name))))
    }

    /// RFC 7672 §2.2: TLSA records are asked for only where all that leads to them is secure.
    async fn rule(&self, host: &Host, addresses_secure: bool) -> Result<Rule, Why> {
        let secure = self.mx_secure && addresses_secure;
        let dane = if secure { dane::judge(true, &self.world.tlsa(&host.name).await) } else { Dane::No };
        tls_rule::rule(&Facts {
            host: &host.name,
            dane: &dane,
            policy: self.policy,
            require_tls: self.wish.require_tls,
            host_secure: self.mx_secure,
            clear_text: self.wish.clear_text,
        })
    }

    async fn address(&self, host: &Host, address: IpAddr, rule: &Rule) -> Result<Link<W::Stream>, Why> {
        let clear = *rule == Rule::Anything;
        let first = self.open(host, address, rule, if clear { Tls::IfOffered } else { Tls::Required }).await;
        match first {
            // TLS that is offered and does not work; where clear text is allowed, it is no reason to stop.
            Err(why) if clear && why.status.subject == 7 => self.open(host, address, rule, Tls::Without).await,
            outcome => outcome,
        }
    }

    async fn open(&self, host: &Host, address: IpAddr, rule: &Rule, tls: Tls) -> Result<Link<W::Stream>, Why> {
        let name = &host.name;
        let config = verifier::config(rule.clone(), self.domain, self.house.roots.clone())
            .map_err(|error| Why::ours(Status::new(4, 3, 0), format!("no TLS here: {error}")))?;
        let connecting = self.world.connect(SocketAddr::new(address, self.house.port));
        let stream = match timeout(limits::CONNECT, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let words = format!("no connection to {name} ({address}): {error}");
                return Err(Why::ours(Status::new(4, 4, 1), words));
            }
            Err(_) => return Err(Why::ours(Status::new(4, 4, 1), format!("{name} ({address}) does not answer"))),
        };
        let rules = Rules { hello: self.house.hello.clone(), far: name.clone(), tls };
        Link::open(stream, rules, Handshake { config: Arc::new(config), host: name.clone() }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::courier::mta_sts::Mode;
    use std::collections::HashMap;
    use std::sync::Mutex;
    use tokio::io::{AsyncWriteExt, DuplexStream};
    use wire::lines::{Line, Lines};

    /// How a server of the test behaves.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Server {
        /// TLS with a certificate of nobody's.
        Tls,
        /// STARTTLS, and then no TLS.
        BrokenTls,
        Clear,
        Down,
    }

    #[derive(Default)]
    struct Zone {
        mx: HashMap<String, Answer<Mx>>,
        four: HashMap<String, Vec<Ipv4Addr>>,
        tlsa: HashMap<String, Answer<Tlsa>>,
        policy: Option<Policy>,
        servers: HashMap<IpAddr, Server>,
        secure: bool,
        tried: Mutex<Vec<IpAddr>>,
    }

    impl World for Zone {
        type Stream = DuplexStream;
        async fn mx(&self, domain: &str) -> Answer<Mx> {
            self.mx.get(domain).cloned().unwrap_or(Answer::Nothing { secure: self.secure })
        }
        async fn six(&self, _: &str) -> Answer<Ipv6Addr> {
            Answer::Nothing { secure: self.secure }
        }
        async fn four(&self, host: &str) -> Answer<Ipv4Addr> {
            match self.four.get(host) {
                Some(records) => Answer::Found { records: records.clone(), secure: self.secure },
                None => Answer::Nothing { secure: self.secure },
            }
        }
        async fn tlsa(&self, host: &str) -> Answer<Tlsa> {
            self.tlsa.get(host).cloned().unwrap_or(Answer::NoName { secure: self.secure })
        }
        async fn policy(&self, _: &str) -> Option<Policy> {
            self.policy.clone()
        }
        async fn connect(&self, to: SocketAddr) -> io::Result<DuplexStream> {
            self.tried.lock().unwrap().push(to.ip());
            let server = self.servers.get(&to.ip()).copied().unwrap_or(Server::Down);
            if server == Server::Down {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = tokio::io::duplex(50_000);
            tokio::spawn(serve(theirs, server));
            Ok(ours)
        }
    }

    async fn serve(stream: DuplexStream, server: Server) {
        let mut lines = Lines::new(stream);
        lines.stream_mut().write_all(b"220 hi\r\n").await.unwrap();
        while let Ok(Line::Whole(line)) = lines.next(1_000).await {
            let answer = match (&line[..4], server) {
                (b"EHLO", Server::Clear) => "250 mx\r\n",
                (b"EHLO", _) => "250-mx\r\n250 STARTTLS\r\n",
                (b"STAR", Server::BrokenTls) => {
                    let _ = lines.stream_mut().write_all(b"220 go\r\n").await;
                    return;
                }
                (b"STAR", _) => {
                    lines.stream_mut().write_all(b"220 go\r\n").await.unwrap();
                    return tls(lines.into_parts().0).await;
                }
                _ => "221 bye\r\n",
            };
            if lines.stream_mut().write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    async fn tls(stream: DuplexStream) {
        let made = rcgen::generate_simple_self_signed(vec!["whoever.test".into()]).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key.into()).unwrap();
        let Ok(mut stream) = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await else { return };
        let mut lines = Lines::new(&mut stream);
        while let Ok(Line::Whole(_)) = lines.next(1_000).await {
            let _ = lines.stream_mut().write_all(b"250 mx\r\n").await;
        }
    }

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(8, 8, 8, last)
    }

    /// `far.test` with hosts `1.far.test`, `2.far.test`, ... in that order, each with the address of its number.
    fn zone(servers: &[Server]) -> Zone {
        let mut zone = Zone::default();
        let mut records = Vec::new();
        for (number, server) in (1u8..).zip(servers) {
            let host = format!("{number}.far.test");
            records.push(Mx { preference: number.into(), host: host.clone() });
            zone.four.insert(host, vec![address(number)]);
            zone.servers.insert(address(number).into(), *server);
        }
        zone.mx.insert("far.test".into(), Answer::Found { records, secure: false });
        zone
    }

    fn secured(mut zone: Zone) -> Zone {
        zone.secure = true;
        for answer in zone.mx.values_mut() {
            if let Answer::Found { secure, .. } = answer {
                *secure = true;
            }
        }
        zone
    }

    const PLAIN: Wish = Wish { require_tls: false, clear_text: false, seed: 0 };
    const CLEAR: Wish = Wish { require_tls: false, clear_text: true, seed: 0 };

    /// `ready` or a fate's status, and who was tried.
    fn tried(zone: Zone, wish: Wish) -> (String, Vec<u8>) {
        let own = Own { names: vec!["mx.home.test".into()], addresses: vec![address(99).into()], inner: false };
        let house = House { hello: "mx.home.test".into(), own, roots: Arc::new(RootCertStore::empty()), port: 25 };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(async {
            match reach(&zone, &house, "far.test", wish).await {
                Ok(link) => {
                    assert!(link.is_ready());
                    "ready".to_owned()
                }
                Err(fate) => fate.why().status.to_string(),
            }
        });
        let last = |address: &IpAddr| match address {
            IpAddr::V4(four) => four.octets()[3],
            IpAddr::V6(_) => 0,
        };
        (outcome, zone.tried.lock().unwrap().iter().map(last).collect())
    }

    #[test]
    fn the_first_that_is_ready() {
        assert_eq!(tried(zone(&[Server::Tls, Server::Tls]), PLAIN), ("ready".into(), vec![1]));
        assert_eq!(tried(zone(&[Server::Down, Server::Clear, Server::Tls]), PLAIN), ("ready".into(), vec![1, 2, 3]));
        assert_eq!(tried(zone(&[Server::Down, Server::Down]), PLAIN), ("4.4.1".into(), vec![1, 2]));
    }

    #[test]
    fn never_in_clear_unless_it_is_allowed() {
        assert_eq!(tried(zone(&[Server::Clear]), PLAIN), ("4.7.4".into(), vec![1]));
        assert_eq!(tried(zone(&[Server::BrokenTls]), PLAIN), ("4.7.5".into(), vec![1]));
        assert_eq!(tried(zone(&[Server::Clear]), CLEAR), ("ready".into(), vec![1]));
        assert_eq!(tried(zone(&[Server::BrokenTls]), CLEAR), ("ready".into(), vec![1, 1]));
    }

    #[test]
    fn what_a_host_must_prove() {
        let record = Tlsa { usage: 3, selector: 1, matching: 1, data: vec![0; 32] };
        let with = |mut zone: Zone, answer| {
            zone.tlsa.insert("1.far.test".into(), answer);
            zone
        };
        let found = || Answer::Found { records: vec![record.clone()], secure: true };
        let one = || zone(&[Server::Tls]);
        assert_eq!(tried(with(secured(one()), found()), PLAIN).0, "4.7.5", "DANE: another certificate");
        assert_eq!(tried(with(secured(one()), found()), CLEAR).0, "4.7.5", "clear text or not");
        assert_eq!(tried(with(one(), found()), PLAIN).0, "ready", "nothing leads to the record securely");
        assert_eq!(tried(with(secured(one()), Answer::Failed), PLAIN), ("4.7.5".into(), vec![]), "not even asked");
        // DANE fails at the first host, the second has none.
        let two = with(secured(zone(&[Server::Tls, Server::Tls])), found());
        assert_eq!(tried(two, PLAIN), ("ready".into(), vec![1, 2]));
        let policy = |pattern: &str, mode| Some(Policy { mode, patterns: vec![pattern.to_owned()], max_age: 100 });
        let enforced = Zone { policy: policy("1.far.test", Mode::Enforce), ..one() };
        assert_eq!(tried(enforced, PLAIN), ("4.7.5".into(), vec![1]), "no known authority");
        let elsewhere = Zone { policy: policy("other.test", Mode::Enforce), ..one() };
        assert_eq!(tried(elsewhere, PLAIN), ("4.7.5".into(), vec![]));
        let testing = Zone { policy: policy("other.test", Mode::Testing), ..one() };
        assert_eq!(tried(testing, PLAIN).0, "ready");
        let insists = Wish { require_tls: true, ..PLAIN };
        assert_eq!(tried(one(), insists), ("5.7.30".into(), vec![]));
    }

    #[test]
    fn where_nothing_is() {
        let mut us = zone(&[Server::Tls]);
        us.four.insert("1.far.test".into(), vec![address(99)]);
        assert_eq!(tried(us, PLAIN), ("5.4.6".into(), vec![]));
        let mut second = zone(&[Server::Down, Server::Tls, Server::Tls]);
        second.four.insert("2.far.test".into(), vec![address(99)]);
        assert_eq!(tried(second, PLAIN), ("4.4.1".into(), vec![1]), "what is after us is left out");
        let mut nowhere = zone(&[Server::Tls]);
        nowhere.four.clear();
        assert_eq!(tried(nowhere, PLAIN), ("5.4.4".into(), vec![]));
        // Implicit: the domain itself.
        let mut implicit = zone(&[Server::Tls]);
        implicit.mx.clear();
        implicit.four.insert("far.test".into(), vec![address(1)]);
        assert_eq!(tried(implicit, PLAIN), ("ready".into(), vec![1]));
    }
}
