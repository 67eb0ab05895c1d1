//! Whom a letter goes to, and under what promise, in small worlds.

use super::*;
use crate::courier::elsewhere::Ending;
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
    /// 554 in place of a greeting.
    Closed,
    /// 550 to EHLO.
    Stern,
    /// 421 in place of a greeting.
    Later,
    /// 421 to EHLO.
    LaterStill,
    /// Greets, and closes at EHLO.
    Mute,
    /// 554 to STARTTLS.
    NoTlsToday,
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
    dialled: Mutex<Vec<String>>,
    through_proxy: bool,
    proxy_finds: Option<Ipv4Addr>,
    /// How often the proxy has no room yet.
    full: Mutex<usize>,
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
    fn is_through_proxy(&self) -> bool {
        self.through_proxy
    }
    async fn connect(&self, host: &str, to: SocketAddr) -> io::Result<Connected<DuplexStream>> {
        let full = std::mem::replace(&mut *self.full.lock().unwrap(), 0);
        if full > 0 {
            *self.full.lock().unwrap() = full - 1;
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        self.tried.lock().unwrap().push(to.ip());
        self.dialled.lock().unwrap().push(host.to_owned());
        // A proxy that is given a name connects with whichever of its addresses answers.
        let to = match self.proxy_finds.filter(|_| self.through_proxy && self.four.contains_key(host)) {
            Some(address) => SocketAddr::new(address.into(), 25),
            None => to,
        };
        let server = self.servers.get(&to.ip()).copied().unwrap_or(Server::Down);
        if to.is_ipv6() {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        if server == Server::Down {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = tokio::io::duplex(50_000);
        tokio::spawn(serve(theirs, server));
        Ok(Connected { stream: ours, address: to.ip(), hello: None })
    }
}

async fn serve(stream: DuplexStream, server: Server) {
    let mut lines = Lines::new(stream);
    let greeting: &[u8] = match server {
        Server::Closed => b"554 5.7.1 go away\r\n",
        Server::Later => b"421 4.7.0 too many connections\r\n",
        _ => b"220 hi\r\n",
    };
    lines.stream_mut().write_all(greeting).await.unwrap();
    while let Ok(Line::Whole(line)) = lines.next(1_000).await {
        let answer = match (&line[..4], server) {
            (b"EHLO", Server::Clear) => "250 mx\r\n",
            (b"EHLO", Server::LaterStill) => "421 4.7.0 come back later\r\n",
            (b"EHLO", Server::Mute) => return,
            (b"EHLO", Server::Stern) => "550 who are you?\r\n",
            (b"STAR", Server::NoTlsToday) => "554 5.7.0 not today\r\n",
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
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
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
    tried_but(zone, wish, &[])
}

/// The same when those have been asked.
fn tried_but(zone: Zone, wish: Wish, asked: &[(&str, u8)]) -> (String, Vec<u8>) {
    let (outcome, tried) = went(&zone, wish, &after(asked, &[]));
    (outcome.map_or_else(|why| why.status.to_string(), |()| "ready".to_owned()), tried)
}

fn door((host, last): (&str, u8)) -> Door {
    Door { host: host.to_owned(), address: address(last).into() }
}

/// Those have said "not now", and these lost the letter at an earlier attempt.
fn after(not_now: &[(&str, u8)], lost: &[(&str, u8)]) -> Asked {
    let mut asked = Asked::none(0, lost.iter().copied().map(door).collect());
    let said = Some(("far".to_owned(), 451));
    let fate = Fate::Deferred(Why { said, ..Why::ours(Status::new(4, 0, 0), "later") });
    for one in not_now {
        asked.answered(door(*one), &vec![(0, fate.clone())], Ending::Kept);
    }
    asked
}

fn went(zone: &Zone, wish: Wish, asked: &Asked) -> (Result<(), Why>, Vec<u8>) {
    let own = Own { names: vec!["mx.home.test".into()], addresses: vec![address(99).into()], inner: false };
    let house = House { hello: "mx.home.test".into(), own, roots: Arc::new(RootCertStore::empty()), port: 25 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(async {
        match reach(zone, &house, "far.test", (wish, &mut asked.clone())).await {
            Ok(Reached { link, door, hosts }) => {
                assert!(link.is_ready() && hosts.contains(&door.host));
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
fn who_was_asked_is_not_asked_again() {
    let two = || zone(&[Server::Tls, Server::Tls]);
    assert_eq!(tried_but(two(), PLAIN, &[("1.far.test", 1)]), ("ready".into(), vec![2]));
    assert_eq!(tried_but(two(), PLAIN, &[("1.far.test", 1), ("2.far.test", 2)]), ("5.4.4".into(), vec![]));
    assert_eq!(tried_but(zone(&[Server::Tls, Server::Down]), PLAIN, &[("1.far.test", 1)]), ("4.4.1".into(), vec![2]));
}

/// `1.far.test` at four addresses, `2.far.test` at one.
fn many() -> Zone {
    let mut zone = zone(&[Server::Tls, Server::Tls]);
    zone.four.insert("1.far.test".into(), [1, 11, 12, 13].map(address).to_vec());
    zone.servers.extend([11, 12, 13].map(|last| (address(last).into(), Server::Tls)));
    zone
}

#[test]
fn another_address_of_a_host_that_says_not_now() {
    assert_eq!(tried_but(many(), PLAIN, &[("1.far.test", 1)]), ("ready".into(), vec![11]));
    assert_eq!(tried_but(many(), PLAIN, &[("1.far.test", 1), ("1.far.test", 11)]), ("ready".into(), vec![2]), "two");
    let all = [("1.far.test", 1), ("1.far.test", 11), ("2.far.test", 2)];
    assert_eq!(tried_but(many(), PLAIN, &all), ("5.4.4".into(), vec![]));
}

/// So many hosts that all behave so, each at so many addresses: 10, 11, ... and 20, 21, ...
fn all_alike(server: Server, hosts: u8, addresses: u8) -> Zone {
    let mut zone = zone(&vec![server; hosts.into()]);
    for host in 1..=hosts {
        let of_host: Vec<_> = (0..addresses).map(|last| address(host * 10 + last)).collect();
        zone.servers.extend(of_host.iter().map(|one| (IpAddr::from(*one), server)));
        zone.four.insert(format!("{host}.far.test"), of_host);
    }
    zone
}

#[test]
fn who_says_not_now_at_the_door_is_one_of_few() {
    use Server::{Later, LaterStill, Mute, Tls};
    for server in [Later, LaterStill, Mute] {
        let at = |failures| {
            let (outcome, tried) = went(&all_alike(server, 4, 4), PLAIN, &Asked::none(failures, Vec::new()));
            assert_eq!(outcome.unwrap_err().status.class, 4);
            tried
        };
        assert_eq!(at(0), [10, 11, 20, 21], "{server:?}");
        assert_eq!(at(1), [10, 11, 12, 20, 21, 22, 30, 31, 32], "{server:?}");
        assert_eq!(at(9).len(), limits::HOSTS, "{server:?}");
    }
    assert_eq!(tried(zone(&[Later, Tls]), PLAIN), ("ready".into(), vec![1, 2]));
    let mut proxied = all_alike(Later, 4, 4);
    (proxied.through_proxy, proxied.proxy_finds) = (true, Some(address(10)));
    assert_eq!(tried(proxied, PLAIN).1.len(), 4);
}

#[test]
fn ten_connections_in_all_however_they_end() {
    use Server::{BrokenTls, Clear, Closed, Down, Stern};
    for server in [BrokenTls, Clear, Closed, Stern] {
        let (status, tried) = tried(all_alike(server, 3, 4), PLAIN);
        assert_eq!((status.as_bytes()[0], tried.len()), (b'4', limits::HOSTS), "{server:?}: others may yet say yes");
    }
    assert_eq!(tried(all_alike(BrokenTls, 3, 4), CLEAR).1.len(), 2, "the second is ready");
    assert_eq!(
        tried(all_alike(Closed, 2, 5), PLAIN),
        ("5.7.1".into(), [10, 11, 12, 13, 14, 20, 21, 22, 23, 24].into())
    );
    assert_eq!(tried(all_alike(Down, 3, 4), PLAIN).1.len(), 12, "those are none");
    let mut asked = after(&[], &[]);
    (1..limits::HOSTS).for_each(|_| asked.connected());
    assert_eq!(went(&all_alike(Closed, 3, 4), PLAIN, &asked).1, [10], "those of the same attempt count");
}

#[test]
fn who_said_not_now_at_the_door_is_not_asked_twice_and_leaves_hope() {
    let mut asked = after(&[("2.far.test", 2)], &[]);
    let why = Why::ours(Status::new(4, 7, 0), "too many connections");
    asked.turned_away(door(("1.far.test", 1)), why.clone());
    let (outcome, tried) = went(&zone(&[Server::Tls, Server::Tls]), PLAIN, &asked);
    assert_eq!((outcome.unwrap_err(), tried), (why, vec![]));
}

#[test]
fn where_the_letter_was_lost_it_goes_last() {
    let ready = |zone: &Zone, lost: &[(&str, u8)]| went(zone, PLAIN, &after(&[], lost)).1;
    assert_eq!(ready(&many(), &[("1.far.test", 1)]), [11]);
    assert_eq!(ready(&many(), &[1, 11, 12, 13].map(|last| ("1.far.test", last))), [2]);
    let two = || zone(&[Server::Tls, Server::Tls]);
    assert_eq!(ready(&two(), &[("2.far.test", 2), ("1.far.test", 1)]), [2], "the longest ago");
    assert_eq!(ready(&zone(&[Server::Tls, Server::Down]), &[("1.far.test", 1)]), [2, 1], "there is no other");
    assert_eq!(went(&two(), PLAIN, &after(&[("2.far.test", 2)], &[("1.far.test", 1)])).1, [1], "that was another time");
}

/// It is nothing that a host has done: no attempt of the letter's is over for it.
#[test]
fn room_at_a_proxy_is_waited_for() {
    let full = Zone { through_proxy: true, proxy_finds: Some(address(11)), full: Mutex::new(2), ..many() };
    let asked = after(&[], &[]);
    let waits = asked.waits_for_room();
    assert!(went(&full, PLAIN, &asked).0.is_ok());
    assert_eq!(*full.dialled.lock().unwrap(), ["1.far.test"]);
    assert_eq!((*waits.borrow(), *full.full.lock().unwrap()), (false, 0));
}

#[test]
fn through_a_proxy_by_name_and_then_by_address() {
    let through = |finds: u8| Zone { through_proxy: true, proxy_finds: Some(address(finds)), ..many() };
    let dialled = |zone: &Zone, asked: &Asked| {
        let (outcome, _) = went(zone, PLAIN, asked);
        (outcome.is_ok(), std::mem::take(&mut *zone.dialled.lock().unwrap()))
    };
    let nobody = after(&[], &[]);
    assert_eq!(dialled(&through(11), &nobody), (true, vec!["1.far.test".to_owned()]));
    assert_eq!(dialled(&through(11), &after(&[("1.far.test", 11)], &[])), (true, vec!["8.8.8.1".to_owned()]));
    assert_eq!(dialled(&through(1), &after(&[], &[("1.far.test", 1)])), (true, vec!["8.8.8.11".to_owned()]));
    // One that greets with a no; the others are asked for by themselves, so many.
    let mut closed = through(12);
    closed.servers.insert(address(12).into(), Server::Clear);
    assert_eq!(dialled(&closed, &nobody), (true, vec!["1.far.test".into(), "8.8.8.1".into()]));
    closed.servers.values_mut().for_each(|server| *server = Server::Clear);
    closed.four.insert("1.far.test".into(), (1..9).map(|last| address(10 + last)).collect());
    closed.servers.extend((1..9).map(|last| (address(10 + last).into(), Server::Clear)));
    let (_, tried) = dialled(&closed, &nobody);
    assert_eq!(tried.iter().filter(|name| name.starts_with("8.8.8.1")).count(), limits::ADDRESSES_THROUGH, "{tried:?}");
    // All that answer say no for good; of a kind that the proxy has no way to, that is nobody's hope.
    let mut stern = through(1);
    stern.mx.insert("far.test".into(), Answer::Nothing { secure: false });
    stern.four.insert("far.test".into(), vec![address(1)]);
    stern.six = Some(Answer::Found { records: vec!["2a00::1".parse().unwrap()], secure: false });
    stern.servers.insert(address(1).into(), Server::Closed);
    let (outcome, _) = went(&stern, PLAIN, &nobody);
    assert_eq!(outcome.unwrap_err().status, Status::new(5, 7, 1));
    assert_eq!(*stern.dialled.lock().unwrap(), ["far.test", "2a00::1"]);
}

#[test]
fn the_words_name_the_address_that_was_tried() {
    let words = |zone: &Zone, asked: &Asked| went(zone, PLAIN, asked).0.unwrap_err().words;
    let down = |through_proxy| Zone { through_proxy, ..zone(&[Server::Down]) };
    let nobody = after(&[], &[]);
    assert!(words(&down(false), &nobody).starts_with("no connection to 1.far.test (8.8.8.1): "));
    assert!(words(&down(true), &nobody).starts_with("no connection to 1.far.test: "), "which, the proxy knows");
    let mut known = down(true);
    known.four.insert("1.far.test".into(), vec![address(1), address(3)]);
    let asked = after(&[("1.far.test", 1)], &[]);
    assert!(words(&known, &asked).starts_with("no connection to 1.far.test (8.8.8.3): "));
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
    both.six =
        Some(Answer::Found { records: vec!["2a00::1".parse().unwrap(), "2a00::2".parse().unwrap()], secure: false });
    let (outcome, tried) = went(&both, PLAIN, &after(&[], &[]));
    assert!(outcome.unwrap_err().words.contains("STARTTLS"), "not that this house has no IPv6");
    assert_eq!(tried, [0, 1], "nor is IPv6 tried twice");
    let (outcome, _) = went(&zone(&[Server::Down, Server::BrokenTls, Server::Down]), PLAIN, &after(&[], &[]));
    assert_eq!(outcome.unwrap_err().status, Status::new(4, 7, 5));
}

#[test]
fn for_good_only_when_every_host_says_so() {
    use Server::{Closed, Down, NoTlsToday, Stern, Tls};
    let all = zone(&[Closed, Stern]);
    let (outcome, both) = went(&all, PLAIN, &after(&[], &[]));
    assert_eq!((outcome.unwrap_err().to_string().as_str(), both), ("1.far.test says: 554 go away", vec![1, 2]));
    assert_eq!(tried(zone(&[Stern, Closed]), PLAIN).0, "5.5.0");
    assert_eq!(tried(zone(&[Closed, Tls]), PLAIN), ("ready".into(), vec![1, 2]));
    assert_eq!(tried(zone(&[Closed, Down]), PLAIN).0, "4.4.1", "the other may come back");
    assert_eq!(tried(zone(&[NoTlsToday, Closed]), PLAIN).0, "4.7.0", "encryption may");
    // Two addresses of one host are as two hosts.
    let mut two = zone(&[Closed]);
    two.four.insert("1.far.test".into(), vec![address(1), address(2)]);
    assert_eq!(tried(two, PLAIN), ("4.4.1".into(), vec![1, 2]));
    // But not one to which this house has no way.
    let mut six = zone(&[Closed]);
    six.six = Some(Answer::Found { records: vec!["2a00::1".parse().unwrap()], secure: false });
    assert_eq!(tried(six, PLAIN), ("5.7.1".into(), vec![0, 1]));
    // Who must prove himself is believed when he has.
    let mut proves = secured(zone(&[Closed]));
    other_key(&mut proves, "1.far.test");
    assert_eq!(tried(proves, PLAIN).0, "4.7.1");
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
