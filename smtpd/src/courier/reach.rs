//! From a domain to a connection that may have a letter for it: its hosts in their order, each with its addresses, until
//! one proves what it must and is ready.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use rustls::RootCertStore;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};

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
    /// What a host's name stands for (CNAME), one step.
    fn alias(&self, host: &str) -> impl Future<Output = Answer<String>> + Send;
    /// TLSA records of `_25._tcp.<host>`.
    fn tlsa(&self, host: &str) -> impl Future<Output = Answer<Tlsa>> + Send;
    /// The MTA-STS policy that holds for a domain.
    fn policy(&self, domain: &str) -> impl Future<Output = Option<Policy>> + Send;
    /// Whether the host's addresses are tried by whoever connects for us; else they are tried here, one by one.
    fn is_through_proxy(&self) -> bool {
        false
    }
    /// Connects with a host, at that address of it; through a proxy at any.
    fn connect(&self, host: &str, to: SocketAddr) -> impl Future<Output = io::Result<Connected<Self::Stream>>> + Send;
}

/// A connection.
#[derive(Debug)]
pub struct Connected<S> {
    /// Its bytes.
    pub stream: S,
    /// What the address that the far server sees is called, where that is not this house's name.
    pub hello: Option<String>,
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
    let until = Instant::now() + limits::REACH;
    let attempt = Attempt { world, house, domain, wish, policy: policy.as_ref(), mx_secure: mx.is_secure(), until };
    let mut whys = Vec::new();
    for equals in hosts.chunk_by(|one, other| one.preference == other.preference) {
        let mut places = Vec::with_capacity(equals.len());
        for host in equals {
            places.push(attempt.place(host).await);
        }
        // RFC 5321 §5.1: what is not better than we are is left out, all of our own preference too.
        if places.iter().any(|place| place.reach == Reach::Us) {
            if whys.is_empty() {
                return Err(Fate::Failed(destination::back_to_us(domain)));
            }
            break;
        }
        for (host, place) in equals.iter().zip(places) {
            match attempt.host(host, place).await {
                Ok(link) => return Ok(link),
                Err(missed) => whys.push(missed),
            }
            if Instant::now() >= until {
                return Err(summed_up(whys));
            }
        }
    }
    Err(summed_up(whys))
}

/// For good only when no host leaves any hope; else, of those that do, the one that got furthest is named.
fn summed_up(whys: Vec<Missed>) -> Fate {
    let (hope, none): (Vec<Missed>, Vec<Missed>) = whys.into_iter().partition(|missed| missed.why.status.class != 5);
    match (furthest(hope), furthest(none)) {
        (Some(missed), _) => Fate::Deferred(missed.why),
        (None, Some(missed)) => Fate::Failed(missed.why),
        (None, None) => Fate::Deferred(Why::ours(Status::new(4, 4, 0), "no host was tried")),
    }
}

/// How far an attempt came: what came furthest says most to a person. In a house without IPv6 that is never the
/// address that could not even be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Got {
    /// This house has no way to addresses of that kind.
    NoRoute,
    /// No connection.
    Nowhere,
    /// Names and records only: what DNS or a policy says of the host.
    Known,
    /// A connection.
    There,
    /// It was there, and not as safe as it must be.
    Unsafe,
    /// It said why in its own words.
    Spoke,
}

/// Why a host is of no use now, and how far it came.
#[derive(Debug)]
struct Missed {
    got: Got,
    why: Why,
}

impl Missed {
    const fn known(why: Why) -> Self {
        Self { got: Got::Known, why }
    }

    fn there(why: Why) -> Self {
        let got = match why.status.subject {
            _ if why.said.is_some() => Got::Spoke,
            7 => Got::Unsafe,
            _ => Got::There,
        };
        Self { got, why }
    }
}

/// Of several that came as far, the first.
fn furthest(whys: Vec<Missed>) -> Option<Missed> {
    whys.into_iter().reduce(|best, other| if other.got > best.got { other } else { best })
}

/// Where a host is, as DNS says.
struct Place {
    reach: Reach,
    /// An answer failed.
    doubtful: bool,
    /// Both are proven.
    secure: bool,
}

struct Attempt<'a, W> {
    world: &'a W,
    house: &'a House,
    domain: &'a str,
    wish: Wish,
    policy: Option<&'a Policy>,
    mx_secure: bool,
    /// Hosts that let us wait must not use up a day: then it is another attempt's turn.
    until: Instant,
}

impl<W: World> Attempt<'_, W> {
    async fn place(&self, host: &Host) -> Place {
        let (six, four) = tokio::join!(self.world.six(&host.name), self.world.four(&host.name));
        Place {
            reach: destination::addresses(&host.name, &six, &four, &self.house.own),
            doubtful: matches!(six, Answer::Failed) || matches!(four, Answer::Failed),
            secure: six.is_secure() && four.is_secure(),
        }
    }

    async fn host(&self, host: &Host, place: Place) -> Result<Link<W::Stream>, Missed> {
        let addresses = match place.reach {
            Reach::At(addresses) => addresses,
            Reach::Us => return Err(Missed::known(destination::back_to_us(self.domain))),
            Reach::Nowhere(why) => return Err(Missed::known(why)),
        };
        // RFC 7672 §2.1.2, 2.2.2: an attacker who spoils one answer must not make the host one without DANE.
        if self.mx_secure && place.doubtful {
            let words = format!("DNS does not say for certain where {} is", host.name);
            return Err(Missed::known(Why::ours(Status::new(4, 4, 3), words)));
        }
        let proof = self.proof(host, place.secure).await.map_err(Missed::known)?;
        let mut missed: Vec<Missed> = Vec::new();
        let most = if self.world.is_through_proxy() { 1 } else { usize::MAX };
        for address in addresses.into_iter().take(most) {
            let hopeless = |before: &Missed| before.got == Got::NoRoute && address.is_ipv6();
            if missed.iter().any(hopeless) {
                continue;
            }
            if !missed.is_empty() && Instant::now() >= self.until {
                break;
            }
            match self.address(host, address, &proof).await {
                Ok(link) => return Ok(link),
                Err(why) => missed.push(why),
            }
        }
        let nothing = || Missed::known(Why::ours(Status::new(4, 4, 1), format!("{} has no address", host.name)));
        Err(furthest(missed).unwrap_or_else(nothing))
    }

    async fn proof(&self, host: &Host, addresses_secure: bool) -> Result<Proof, Why> {
        let (dane, name) = match self.names(host, addresses_secure).await {
            Some(names) => self.dane(host, names).await,
            None => (Dane::Failed, host.name.clone()),
        };
        let rule = tls_rule::rule(&Facts {
            host: &host.name,
            dane: &dane,
            policy: self.policy,
            require_tls: self.wish.require_tls,
            host_secure: self.mx_secure,
            clear_text: self.wish.clear_text,
        })?;
        let name = if matches!(rule, Rule::Dane(_)) { name } else { host.name.clone() };
        Ok(Proof { rule, name })
    }

    /// Under which names TLSA records of a host mean something (RFC 7672 §2.2.2, 2.2.3), the best first: where its name
    /// leads, when all the way there is secure; its own name, when at least that is. `None`: nobody knows.
    async fn names(&self, host: &Host, addresses_secure: bool) -> Option<Vec<String>> {
        if !self.mx_secure {
            return Some(Vec::new());
        }
        let own = || vec![host.name.clone()];
        let mut at = match self.world.alias(&host.name).await {
            Answer::Failed => return None,
            Answer::Found { records, secure: true } => match records.into_iter().next() {
                Some(to) if addresses_secure => to,
                _ => return Some(own()),
            },
            Answer::Found { secure: false, .. } => return Some(Vec::new()),
            Answer::Nothing { .. } | Answer::NoName { .. } => {
                return Some(if addresses_secure { own() } else { Vec::new() });
            }
        };
        for _ in 0..limits::CNAMES {
            match self.world.alias(&at).await {
                Answer::Failed => return None,
                Answer::Found { records, secure: true } => at = records.into_iter().next()?,
                Answer::Found { secure: false, .. } => return Some(own()),
                Answer::Nothing { .. } | Answer::NoName { .. } => return Some(vec![at, host.name.clone()]),
            }
        }
        None
    }

    /// The first of these names that has TLSA records counts.
    async fn dane(&self, host: &Host, names: Vec<String>) -> (Dane, String) {
        for name in names {
            match dane::judge(true, &self.world.tlsa(&name).await) {
                Dane::No => {}
                dane => return (dane, name),
            }
        }
        (Dane::No, host.name.clone())
    }

    async fn address(&self, host: &Host, address: IpAddr, proof: &Proof) -> Result<Link<W::Stream>, Missed> {
        let clear = proof.rule == Rule::Anything;
        let first = self.open(host, address, proof, if clear { Tls::IfOffered } else { Tls::Required }).await;
        match first {
            // TLS that is offered and does not work; where clear text is allowed, it is no reason to stop.
            Err(missed) if clear && missed.why.status.subject == 7 => {
                self.open(host, address, proof, Tls::Without).await
            }
            outcome => outcome,
        }
    }

    async fn open(&self, host: &Host, address: IpAddr, proof: &Proof, tls: Tls) -> Result<Link<W::Stream>, Missed> {
        let name = &host.name;
        let config = verifier::config(proof.rule.clone(), self.domain, self.house.roots.clone())
            .map_err(|error| Missed::known(Why::ours(Status::new(4, 3, 0), format!("no TLS here: {error}"))))?;
        let connecting = self.world.connect(name, SocketAddr::new(address, self.house.port));
        let patience = if self.world.is_through_proxy() { limits::CONNECT_THROUGH } else { limits::CONNECT };
        let nowhere = |got, words| Missed { got, why: Why::ours(Status::new(4, 4, 1), words) };
        let connected = match timeout(patience, connecting).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => {
                let got = if error.kind() == io::ErrorKind::NetworkUnreachable { Got::NoRoute } else { Got::Nowhere };
                return Err(nowhere(got, format!("no connection to {name} ({address}): {error}")));
            }
            Err(_) => return Err(nowhere(Got::Nowhere, format!("{name} ({address}) does not answer"))),
        };
        let hello = connected.hello.unwrap_or_else(|| self.house.hello.clone());
        let rules = Rules { hello, far: name.clone(), tls };
        let handshake = Handshake { config: Arc::new(config), host: proof.name.clone() };
        Link::open(connected.stream, rules, handshake).await.map_err(Missed::there)
    }
}

/// What a host must prove, and under which name: SNI, and what an authority must say (RFC 7672 §3.2.2, 8.1).
struct Proof {
    rule: Rule,
    name: String,
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
        /// Else none.
        six: Option<Answer<Ipv6Addr>>,
        aliases: HashMap<String, Answer<String>>,
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
            self.six.clone().unwrap_or(Answer::Nothing { secure: self.secure })
        }
        async fn alias(&self, host: &str) -> Answer<String> {
            self.aliases.get(host).cloned().unwrap_or(Answer::Nothing { secure: self.secure })
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
        async fn connect(&self, _: &str, to: SocketAddr) -> io::Result<Connected<DuplexStream>> {
            self.tried.lock().unwrap().push(to.ip());
            let server = self.servers.get(&to.ip()).copied().unwrap_or(Server::Down);
            if to.is_ipv6() {
                return Err(io::ErrorKind::NetworkUnreachable.into());
            }
            if server == Server::Down {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = tokio::io::duplex(50_000);
            tokio::spawn(serve(theirs, server));
            Ok(Connected { stream: ours, hello: None })
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
        let (outcome, tried) = went(zone, wish);
        (outcome.map_or_else(|why| why.status.to_string(), |()| "ready".to_owned()), tried)
    }

    fn went(zone: Zone, wish: Wish) -> (Result<(), Why>, Vec<u8>) {
        let own = Own { names: vec!["mx.home.test".into()], addresses: vec![address(99).into()], inner: false };
        let house = House { hello: "mx.home.test".into(), own, roots: Arc::new(RootCertStore::empty()), port: 25 };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(async {
            match reach(&zone, &house, "far.test", wish).await {
                Ok(link) => {
                    assert!(link.is_ready());
                    Ok(())
                }
                Err(fate) => Err(fate.why().clone()),
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

    /// A record that no certificate of the test fits: who asks for it is refused, so it shows that it was asked for.
    fn other_key(zone: &mut Zone, name: &str) {
        let record = Tlsa { usage: 3, selector: 1, matching: 1, data: vec![0; 32] };
        zone.tlsa.insert(name.into(), Answer::Found { records: vec![record], secure: true });
    }

    #[test]
    fn one_answer_that_fails_does_not_take_dane_away() {
        let spoilt = |mut zone: Zone| {
            other_key(&mut zone, "1.far.test");
            zone.six = Some(Answer::Failed);
            zone
        };
        assert_eq!(tried(spoilt(secured(zone(&[Server::Tls]))), PLAIN), ("4.4.3".into(), vec![]));
        assert_eq!(tried(spoilt(zone(&[Server::Tls])), PLAIN), ("ready".into(), vec![1]), "no DNSSEC: what is there");
    }

    #[test]
    fn dane_where_the_name_leads_to_and_at_the_name_itself() {
        let found = |to: &str, secure| Answer::Found { records: vec![to.to_owned()], secure };
        let with = |records: &[&str], aliases: &[(&str, Answer<String>)], insecure_addresses: bool| {
            let mut zone = secured(zone(&[Server::Tls]));
            records.iter().for_each(|name| other_key(&mut zone, name));
            zone.aliases = aliases.iter().map(|(from, to)| ((*from).to_owned(), to.clone())).collect();
            zone.six = insecure_addresses.then_some(Answer::Nothing { secure: false });
            tried(zone, PLAIN).0
        };
        let way = [("1.far.test", found("b.test", true)), ("b.test", found("c.test", true))];
        assert_eq!(with(&["c.test"], &way, false), "4.7.5", "where all of the way leads to");
        assert_eq!(with(&["1.far.test"], &way, false), "4.7.5", "else its own name");
        assert_eq!(with(&["b.test"], &way, false), "ready", "nothing between");
        assert_eq!(with(&["1.far.test"], &way, true), "4.7.5", "the name is secure, where it leads to is not");
        assert_eq!(with(&["c.test"], &way, true), "ready");
        assert_eq!(with(&["1.far.test"], &[("1.far.test", found("b.test", false))], true), "ready");
        assert_eq!(with(&["1.far.test"], &[("1.far.test", Answer::Failed)], false), "4.7.5", "nobody knows");
        let circle = [("1.far.test", found("b.test", true)), ("b.test", found("b.test", true))];
        assert_eq!(with(&[], &circle, false), "4.7.5");
    }

    #[test]
    fn the_words_are_those_of_what_came_furthest() {
        let mut both = zone(&[Server::Clear]);
        both.six = Some(Answer::Found {
            records: vec!["2a00::1".parse().unwrap(), "2a00::2".parse().unwrap()],
            secure: false,
        });
        let (outcome, tried) = went(both, PLAIN);
        assert!(outcome.unwrap_err().words.contains("STARTTLS"), "not that this house has no IPv6");
        assert_eq!(tried, [0, 1], "nor is IPv6 tried twice");
        let (outcome, _) = went(zone(&[Server::Down, Server::BrokenTls, Server::Down]), PLAIN);
        assert_eq!(outcome.unwrap_err().status, Status::new(4, 7, 5));
    }

    #[test]
    fn where_nothing_is() {
        let mut us = zone(&[Server::Tls]);
        us.four.insert("1.far.test".into(), vec![address(99)]);
        assert_eq!(tried(us, PLAIN), ("5.4.6".into(), vec![]));
        let mut second = zone(&[Server::Down, Server::Tls, Server::Tls]);
        second.four.insert("2.far.test".into(), vec![address(99)]);
        assert_eq!(tried(second, PLAIN), ("4.4.1".into(), vec![1]), "what is after us is left out");
        // One of our own preference is no better than we are, whichever of us the draw puts first.
        for seed in 0..8 {
            let mut equal = zone(&[Server::Tls, Server::Tls]);
            let both = [1, 2].map(|n| Mx { preference: 5, host: format!("{n}.far.test") });
            equal.mx.insert("far.test".into(), Answer::Found { records: both.to_vec(), secure: false });
            equal.four.insert("2.far.test".into(), vec![address(99)]);
            assert_eq!(tried(equal, Wish { seed, ..PLAIN }), ("5.4.6".into(), vec![]), "{seed}");
        }
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
