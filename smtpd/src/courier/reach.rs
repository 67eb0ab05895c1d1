//! From a domain to a connection that may have a letter for it: its hosts in their order, each with its addresses, until
//! one proves what it must and is ready.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use rustls::RootCertStore;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, timeout};
use wire::dialled::NotBefore;

use super::dane::{self, Dane, Tlsa};
use super::destination::{self, Answer, Host, Mx, Own, Reach};
use super::elsewhere::Asked;
use super::fate::{Fate, Status, Why};
use super::limits;
use super::link::{Handshake, Link};
use super::lost::Door;
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
    /// Whether whoever connects for us has had no room for one more connection a moment ago.
    fn is_full(&self) -> bool {
        false
    }
    /// Returns when it is found to have none.
    fn filled(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
    /// Connects with a host, at that address of it; through a proxy at any that `host` has, which may be an address itself.
    fn connect(&self, host: &str, to: SocketAddr) -> impl Future<Output = io::Result<Connected<Self::Stream>>> + Send;
}

/// A connection.
#[derive(Debug)]
pub struct Connected<S> {
    /// Its bytes.
    pub stream: S,
    /// Where it leads.
    pub address: IpAddr,
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

/// A host that is ready for a letter.
#[derive(Debug)]
pub struct Reached<S> {
    /// The connection.
    pub link: Link<S>,
    /// Which of its addresses it is.
    pub door: Door,
    /// All hosts of its domain, by name.
    pub hosts: Vec<String>,
}

/// A ready connection to a host of that domain, at an address that has not been asked already; where the letter was lost over its
/// text before, only when no other is ready.
///
/// # Errors
/// The fate of all recipients there; for good where no other host is.
pub async fn reach<W: World>(
    world: &W,
    house: &House,
    domain: &str,
    (wish, asked): (Wish, &mut Asked),
) -> Result<Reached<W::Stream>, Fate> {
    destination::is_name(domain)?;
    let (mx, policy) = tokio::join!(world.mx(domain), world.policy(domain));
    let hosts = destination::hosts(domain, &mx, &house.own, wish.seed)?;
    let until = Instant::now() + limits::REACH;
    let mut attempt =
        Attempt { world, house, domain, wish, asked, policy: policy.as_ref(), mx_secure: mx.is_secure(), until };
    let names = || hosts.iter().map(|host| host.name.clone()).collect();
    let (mut whys, mut last) = (Vec::new(), Vec::new());
    for equals in hosts.chunk_by(|one, other| one.preference == other.preference) {
        let mut places = Vec::with_capacity(equals.len());
        for host in equals {
            places.push(attempt.place(host).await);
        }
        // RFC 5321 §5.1: what is not better than we are is left out, all of our own preference too.
        if places.iter().any(|place| place.reach == Reach::Us) {
            if whys.is_empty() && last.is_empty() && attempt.asked.is_nobody() {
                return Err(Fate::Failed(destination::back_to_us(domain)));
            }
            break;
        }
        for (host, place) in equals.iter().zip(places) {
            let (now, later) = place.divided(&host.name, attempt.asked);
            last.extend(later.into_iter().map(|(order, place)| (order, host, place)));
            let Some(place) = now else { continue };
            if let Some((link, door)) = attempt.next(host, place, &mut whys).await? {
                return Ok(Reached { link, door, hosts: names() });
            }
        }
    }
    // The longest ago first.
    last.sort_by_key(|(order, ..)| *order);
    for (_, host, place) in last {
        if let Some((link, door)) = attempt.next(host, place, &mut whys).await? {
            return Ok(Reached { link, door, hosts: names() });
        }
    }
    // Who said "not now" earlier in this attempt was not asked again, and may yet say yes.
    match (summed_up(whys), attempt.asked.turned_away_by()) {
        (Fate::Failed(_), Some(why)) => Err(Fate::Deferred(why.clone())),
        (fate, _) => Err(fate),
    }
}

/// For good only when no host leaves any hope.
fn summed_up(whys: Vec<Missed>) -> Fate {
    match telling(whys) {
        Some(missed) if missed.why.status.class == 5 => Fate::Failed(missed.why),
        Some(missed) => Fate::Deferred(missed.why),
        None => Fate::Failed(Why::ours(Status::new(5, 4, 4), "there is no other host")),
    }
}

fn for_now(fate: Fate) -> Fate {
    match fate {
        Fate::Failed(why) => Fate::Deferred(Why { status: why.status.of_class(4), ..why }),
        fate => fate,
    }
}

/// Of several, one that leaves hope if any does; of those the one that came furthest. An address to which this house has
/// no way at all is no hope where another has said no.
fn telling(whys: Vec<Missed>) -> Option<Missed> {
    let (hope, none): (Vec<Missed>, Vec<Missed>) = whys.into_iter().partition(|missed| missed.why.status.class != 5);
    match (furthest(hope), furthest(none)) {
        (Some(hope), Some(none)) if hope.got == Got::NoRoute && none.got == Got::Spoke => Some(none),
        (hope, none) => hope.or(none),
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
    /// Where there was a connection.
    at: Option<IpAddr>,
}

impl Missed {
    const fn known(why: Why) -> Self {
        Self { got: Got::Known, why, at: None }
    }

    fn there(why: Why, at: IpAddr) -> Self {
        let got = match why.status.subject {
            _ if why.said.is_some() => Got::Spoke,
            7 => Got::Unsafe,
            _ => Got::There,
        };
        Self { got, why, at: Some(at) }
    }

    /// Whether it was there, and has nothing for anybody now, or left without a word.
    fn is_not_now(&self) -> bool {
        match &self.why.said {
            Some((_, code)) => (400..500).contains(code),
            None => self.got == Got::There && self.why.status.class == 4,
        }
    }

    /// Who was not asked may yet say yes.
    const fn leave_hope(&mut self) {
        self.why.status = self.why.status.of_class(4);
    }
}

/// Why none of a host's addresses is of use.
fn told(host: &Host, missed: Vec<Missed>) -> Missed {
    let nothing = || Missed::known(Why::ours(Status::new(4, 4, 1), format!("{} has no address", host.name)));
    telling(missed).unwrap_or_else(nothing)
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

impl Place {
    /// Without what was asked: what is to be tried now, if anything is, and each address where the letter was lost before.
    fn divided(self, host: &str, asked: &Asked) -> (Option<Self>, Vec<(usize, Self)>) {
        let Reach::At(addresses) = self.reach else { return (Some(self), Vec::new()) };
        let (mut now, mut later) = (Vec::new(), Vec::new());
        let at = |addresses| Self { reach: Reach::At(addresses), ..self };
        for address in addresses {
            let door = Door { host: host.to_owned(), address };
            match asked.lost_at(&door) {
                _ if asked.has_been_at(&door) => {}
                Some(order) => later.push((order, at(vec![address]))),
                None => now.push(address),
            }
        }
        ((!now.is_empty()).then(|| at(now)), later)
    }
}

/// A connection that is ready, and where it leads.
type Open<W> = (Link<<W as World>::Stream>, Door);

struct Attempt<'a, W> {
    world: &'a W,
    house: &'a House,
    domain: &'a str,
    wish: Wish,
    asked: &'a mut Asked,
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

    /// That host, unless it was asked enough; the end of it all, where no more may be asked in this attempt.
    async fn next(&mut self, host: &Host, place: Place, whys: &mut Vec<Missed>) -> Result<Option<Open<W>>, Fate> {
        if self.asked.is_done_with(&host.name) {
            return Ok(None);
        }
        // Who was not asked may yet say yes.
        let end = |whys: &mut Vec<Missed>| Err(for_now(summed_up(std::mem::take(whys))));
        if self.asked.is_spent() {
            return end(whys);
        }
        match self.host(host, place).await {
            Ok(open) => return Ok(Some(open)),
            Err(missed) => whys.push(missed),
        }
        if Instant::now() >= self.until { end(whys) } else { Ok(None) }
    }

    async fn host(&mut self, host: &Host, place: Place) -> Result<Open<W>, Missed> {
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
        if self.world.is_through_proxy() {
            return self.through_proxy(host, addresses, &proof).await;
        }
        let mut missed: Vec<Missed> = Vec::new();
        for address in addresses {
            let hopeless = |before: &Missed| before.got == Got::NoRoute && address.is_ipv6();
            if missed.iter().any(hopeless) {
                continue;
            }
            if !missed.is_empty() && self.is_enough(host) {
                missed.iter_mut().for_each(Missed::leave_hope);
                break;
            }
            match self.address(host, (&host.name, address), &proof).await {
                Ok(open) => return Ok(open),
                Err(why) => missed.push(why),
            }
        }
        Err(told(host, missed))
    }

    /// Whether no further address of that host is asked.
    fn is_enough(&self, host: &Host) -> bool {
        Instant::now() >= self.until || self.asked.is_spent() || self.asked.is_done_with(&host.name)
    }

    /// The proxy finds one of its addresses that answers; any other it is asked for by itself.
    async fn through_proxy(
        &mut self,
        host: &Host,
        mut addresses: Vec<IpAddr>,
        proof: &Proof,
    ) -> Result<Open<W>, Missed> {
        let (mut missed, mut no_way, mut tried) = (Vec::new(), Vec::new(), 0);
        if let Some(any) = addresses.first().copied().filter(|_| !self.asked.knows(&host.name)) {
            let why = match self.address(host, (&host.name, any), proof).await {
                Ok(open) => return Ok(open),
                Err(why) => why,
            };
            // None of them answers.
            let Some(found) = why.at else { return Err(why) };
            addresses.retain(|address| *address != found);
            missed.push(why);
        }
        for address in addresses {
            if no_way.contains(&address.is_ipv6()) {
                continue;
            }
            if tried >= limits::ADDRESSES_THROUGH || (!missed.is_empty() && self.is_enough(host)) {
                missed.iter_mut().for_each(Missed::leave_hope);
                break;
            }
            tried += 1;
            match self.address(host, (&address.to_string(), address), proof).await {
                Ok(open) => return Ok(open),
                // What the house may have there is spent.
                Err(why) if why.why.wait.is_some() => return Err(why),
                // It tried all of them before: who does not answer now is one of a kind to which it has no way.
                Err(why) if why.at.is_none() => {
                    no_way.push(address.is_ipv6());
                    missed.push(Missed { got: Got::NoRoute, ..why });
                }
                Err(why) => missed.push(why),
            }
        }
        Err(told(host, missed))
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
        for _ in 0..wire::limits::DNS_ALIASES {
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

    async fn address(&mut self, host: &Host, at: (&str, IpAddr), proof: &Proof) -> Result<Open<W>, Missed> {
        let clear = proof.rule == Rule::Anything;
        let mut outcome = self.open(host, at, proof, if clear { Tls::IfOffered } else { Tls::Required }).await;
        // TLS that is offered and does not work; where clear text is allowed, it is no reason to stop.
        if clear && !self.asked.is_spent() && outcome.as_ref().is_err_and(|missed| missed.why.status.subject == 7) {
            outcome = self.open(host, at, proof, Tls::Without).await;
        }
        if let Err(missed) = &outcome
            && let Some(address) = missed.at.filter(|_| missed.is_not_now())
        {
            self.asked.turned_away(Door { host: host.name.clone(), address }, missed.why.clone());
        }
        outcome
    }

    async fn open(
        &mut self,
        host: &Host,
        (dialled, address): (&str, IpAddr),
        proof: &Proof,
        tls: Tls,
    ) -> Result<Open<W>, Missed> {
        let (name, is_through_proxy) = (&host.name, self.world.is_through_proxy());
        let mut config = verifier::config(proof.rule.clone(), self.domain, self.house.roots.clone())
            .map_err(|error| Missed::known(Why::ours(Status::new(4, 3, 0), format!("no TLS here: {error}"))))?;
        config.max_fragment_size = is_through_proxy.then_some(limits::RECORD_THROUGH);
        let nowhere = |got, words| Missed { got, why: Why::ours(Status::new(4, 4, 1), words), at: None };
        // Which of a host's addresses a proxy tried, it alone knows.
        let is_any = is_through_proxy && dialled == name;
        let place = if is_any { name.clone() } else { format!("{name} ({address})") };
        let connected = match self.connected(dialled, SocketAddr::new(address, self.house.port)).await {
            Some(Ok(connected)) => connected,
            Some(Err(error)) => {
                let got = if error.kind() == io::ErrorKind::NetworkUnreachable { Got::NoRoute } else { Got::Nowhere };
                let mut missed = nowhere(got, format!("no connection to {place}: {error}"));
                // That there was no room for it is no failure, either.
                let no_room = has_no_room(&error).then_some(limits::ROOM_WAIT);
                missed.why.wait = NotBefore::of(&error).or(no_room);
                return Err(missed);
            }
            None => return Err(nowhere(Got::Nowhere, format!("{place} does not answer"))),
        };
        self.asked.connected();
        let hello = connected.hello.unwrap_or_else(|| self.house.hello.clone());
        let proves = matches!(proof.rule, Rule::Dane(_) | Rule::Named);
        let rules = Rules { hello, far: name.clone(), tls, proves };
        let handshake = Handshake { config: Arc::new(config), host: proof.name.clone() };
        let door = Door { host: name.clone(), address: connected.address };
        let opened = Link::open(connected.stream, rules, handshake).await;
        opened.map(|link| (link, door)).map_err(|why| Missed::there(why, connected.address))
    }

    /// A connection; `None`: nobody answers. While whoever connects for us has no room for one more it waits until another has ended.
    async fn connected(&self, dialled: &str, to: SocketAddr) -> Option<io::Result<Connected<W::Stream>>> {
        let patience = if self.world.is_through_proxy() { limits::CONNECT_THROUGH } else { limits::CONNECT };
        let until = Instant::now() + limits::ROOM;
        loop {
            let connected = timeout(patience, self.world.connect(dialled, to)).await.ok();
            let waits = matches!(&connected, Some(Err(error)) if has_no_room(error)) && Instant::now() < until;
            self.asked.wait_for_room(waits);
            if !waits {
                return connected;
            }
            sleep(limits::ROOM_AGAIN).await;
        }
    }
}

/// Whether the house has as many connections through its proxy as it may have.
fn has_no_room(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy
}

/// What a host must prove, and under which name: SNI, and what an authority must say (RFC 7672 §3.2.2, 8.1).
struct Proof {
    rule: Rule,
    name: String,
}

#[cfg(test)]
mod tests;
