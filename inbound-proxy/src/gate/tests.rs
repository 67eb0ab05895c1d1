//! The gate with homes that behave as they like.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use relay_link::code::Place as Where;
use relay_link::control::{self, Speaker};
use relay_link::dns::Dns;
use relay_link::frame::{self, Frames};
use relay_link::hello::{Answer, Hello, Run, VERSION, Want};
use relay_link::home::{self, State};
use relay_link::inbound::{ClientName, FromHome, Service, ToHome};
use relay_link::keys::{LinkKey, Pin};
use relay_link::limits::FETCH;
use relay_link::{liveness, tls};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ProducesTickets;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use wire::tls::CertificatePem;

use super::arriving::Client;
use super::handing::{Parcel, hand_on};
use super::learning::{Lessons, Sender};
use super::reports::{self, Passing};
use super::{Entrance, Gate, Start, arriving, ending, tend};
use crate::grant::HomeGrant;
use crate::limits;
use crate::route::How;
use crate::sender::{Group, Network};
use crate::tickets::Postmarks;

const HOME: &str = "mail.alice.example";
const OTHER: &str = "mail.club.example";
const HELLO: &[u8] = b"a ClientHello";

/// A gate with one home, paired and not connected.
struct Stage {
    gate: Arc<Gate>,
    link: SocketAddr,
    own: Vec<u8>,
    proxy: LinkKey,
    trusted: CertificateDer<'static>,
    folder: PathBuf,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Stage {
    async fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("gate-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let (proxy, own) = (LinkKey::generate().unwrap(), LinkKey::generate().unwrap());
        let made = rcgen::generate_simple_self_signed(["clean.example", HOME].map(str::to_owned)).unwrap();
        let trusted = made.cert.der().clone();
        let certificate = CertificatePem { chain: made.cert.pem(), key: made.signing_key.serialize_pem() };
        let start = Start {
            name: "clean.example".to_owned(),
            key: proxy.pkcs8().to_vec(),
            certificate,
            upstreams: Vec::new(),
            streets: BTreeMap::new(),
            bound: Vec::new(),
            log_connections: true,
            entrances: Vec::new(),
        };
        let (gate, events) = Gate::new(start, &folder).unwrap();
        let (gate, now) = (Arc::new(gate), SystemTime::now());
        let grant = HomeGrant { names: [HOME.to_owned()].into(), ..HomeGrant::default() };
        let invited = gate.homes.invite(HOME, grant, now, Duration::from_secs(600)).unwrap();
        gate.homes.pair(&invited.secret, own.public(), now).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let link = listener.local_addr().unwrap();
        tokio::spawn(reports::hear(gate.clone(), events));
        tokio::spawn(tend(gate.clone()));
        tokio::spawn(arriving::accept(gate.clone(), Entrance::Link, listener));
        Self { gate, link, own: own.pkcs8().to_vec(), proxy, trusted, folder }
    }

    fn key(&self) -> LinkKey {
        LinkKey::from_pkcs8(&self.own).unwrap()
    }

    /// A home that has said what it wants, and says nothing by itself from then on.
    async fn connected(&self) -> (TlsStream<TcpStream>, Frames) {
        let stream = TcpStream::connect(self.link).await.unwrap();
        let pin = Pin::Key(self.proxy.public());
        let (mut stream, _) = tls::connect(stream, &self.key(), pin).await.unwrap();
        let hello = Hello { version: VERSION, run: Run([7; 16]), want: Want::Serve };
        frame::write(&mut stream, &hello).await.unwrap();
        let mut frames = Frames::default();
        let answer = frames.read::<Answer, _>(&mut stream).await.unwrap();
        assert!(matches!(answer, Some(Answer::Welcome { .. })), "{answer:?}");
        (stream, frames)
    }

    /// Its end of the proxy, for fetching streams.
    fn as_home(&self) -> Arc<home::Proxy> {
        let place = Where::new("127.0.0.1", self.link.port()).unwrap();
        Arc::new(home::Proxy::new(place, self.proxy.public(), self.key(), Arc::new(Dns::new(Vec::new()))))
    }

    /// Somebody who has come.
    async fn arrived(&self) -> (TcpStream, Client) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let outside = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, from) = listener.accept().await.unwrap();
        let (dialled, place) = (stream.local_addr().unwrap(), self.gate.doors.enter(from.ip()).unwrap());
        (outside, Client { stream, from, dialled, waited: Duration::ZERO, place })
    }

    /// Somebody who has come and is to be handed on.
    async fn client(&self) -> (TcpStream, JoinHandle<bool>) {
        let (outside, client) = self.arrived().await;
        (outside, self.hand_on(client))
    }

    fn hand_on(&self, client: Client) -> JoinHandle<bool> {
        let group = Group::of(client.from.ip(), None, false);
        let parcel = Parcel {
            client,
            sent: HELLO.to_vec(),
            service: Service::Mail,
            ehlo: None,
            sni: None,
            passing: Passing {
                home: HOME.to_owned(),
                street: None,
                network: Network::from(&group),
                group,
                tickets: Vec::new(),
                relaying: None,
                reports: 0,
            },
        };
        let gate = self.gate.clone();
        tokio::spawn(async move { hand_on(&gate, HOME, How::Sni, parcel).await.is_ok() })
    }

    /// A sender that asks for the home once it may.
    async fn sender(&self) -> BufReader<TcpStream> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(arriving::accept(self.gate.clone(), Entrance::Mail, listener));
        BufReader::new(TcpStream::connect(at).await.unwrap())
    }

    /// Its end of TLS with whom it takes for the home.
    async fn shakes_hands(&self, clear: BufReader<TcpStream>) -> BufReader<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.trusted.clone()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(wire::ciphers::provider());
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from(HOME).unwrap();
        BufReader::new(connector.connect(name, clear.into_inner()).await.unwrap())
    }

    /// Somebody who asks for metrics.
    async fn scrape(&self, at: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let mut answer = String::new();
        // Who has no place is closed at once, perhaps before it has asked.
        if stream.write_all(request).await.is_ok() {
            let _ = stream.read_to_string(&mut answer).await;
        }
        answer
    }

    /// A home that is connected and reads what it is told: what it says, and what it hears.
    async fn alive(&self) -> (Speaker<FromHome>, mpsc::Receiver<ToHome>) {
        let (mut stream, mut frames) = self.connected().await;
        let (speaker, mut script) = control::speaker::<FromHome>();
        let (heard, calls) = mpsc::channel(8);
        tokio::spawn(async move { control::run(&mut stream, &mut frames, liveness::HOME, &mut script, &heard).await });
        (speaker, calls)
    }
}

/// Says something, and reads what is answered, to its last line.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>, command: &str) -> String {
    stream.write_all(command.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut line = String::new();
    while line.as_bytes().get(3) != Some(&b' ') {
        line.clear();
        assert!(stream.read_line(&mut line).await.unwrap() > 0, "a bare close after {command}");
    }
    line
}

/// What one end of a relayed connection says is heard at the other.
async fn is_heard(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"it works").await.unwrap();
    let mut heard = [0; 8];
    to.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, *b"it works");
}

async fn gets_the_hello(stage: &Stage, ToHome::Call(call): ToHome) -> TcpStream {
    let mut stream = stage.as_home().fetch(&call.ticket).await.unwrap();
    let mut read = [0; HELLO.len()];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(read, HELLO);
    stream
}

/// No DNS server answers this gate: it does not know its own address, and says none.
#[tokio::test]
async fn a_home_is_told_where_it_lives() {
    let stage = Stage::new("place").await;
    let place = |host: &'static str| {
        let home = stage.as_home();
        async move { home.place(&ClientName::new(host).unwrap()).await.unwrap() }
    };
    assert_eq!(place("Mail.Alice.Example").await, Some(Vec::new()));
    assert_eq!(place("mail.bob.example").await, None, "that is not hers");
}

/// A box has lost its power, nobody has noticed, and it comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_home_whose_link_is_dead_is_waited_for() {
    let stage = Stage::new("dead").await;
    let dead = stage.connected().await;
    let (_client, handing) = stage.client().await;
    while stage.gate.waiting().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (_speaker, script) = control::speaker::<FromHome>();
    let (heard, mut calls) = mpsc::channel(8);
    let (tell, _state) = watch::channel(State::Dialling(String::new()));
    let keeping = stage.as_home();
    tokio::spawn(async move { keeping.keep(script, heard, tell).await });
    let _stream = gets_the_hello(&stage, calls.recv().await.unwrap()).await;
    assert!(handing.await.unwrap(), "held until it was back");
    drop(dead);
}

/// A call is lost on a line that is well again before anybody noticed.
#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_lives_is_told_again() {
    let stage = Stage::new("again").await;
    let (_speaker, mut calls) = stage.alive().await;
    let (_client, handing) = stage.client().await;
    drop(calls.recv().await.unwrap());
    let _stream = gets_the_hello(&stage, calls.recv().await.unwrap()).await;
    assert!(handing.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_declines_is_asked_once() {
    let stage = Stage::new("declines").await;
    let (speaker, mut calls) = stage.alive().await;
    let (_client, handing) = stage.client().await;
    let ToHome::Call(call) = calls.recv().await.unwrap();
    speaker.say(FromHome::Declined(call.ticket.number)).unwrap();
    assert!(!handing.await.unwrap(), "its sender is told at once");
    assert!(calls.try_recv().is_err());
}

/// Each report has this proxy look into the DNS.
#[tokio::test(flavor = "multi_thread")]
async fn a_home_reports_a_stream_a_few_times_only() {
    let stage = Stage::new("reports").await;
    let (speaker, mut calls) = stage.alive().await;
    let (_client, handing) = stage.client().await;
    let ToHome::Call(call) = calls.recv().await.unwrap();
    let number = call.ticket.number;
    let _stream = gets_the_hello(&stage, ToHome::Call(call)).await;
    assert!(handing.await.unwrap());
    for _ in 0..50 {
        let domain = ClientName::new("bob.example");
        while speaker.say(FromHome::WrongHome { number, domain: domain.clone() }).is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    // What is said last is heard last.
    let (_client, handing) = stage.client().await;
    let ToHome::Call(call) = calls.recv().await.unwrap();
    speaker.say(FromHome::Declined(call.ticket.number)).unwrap();
    assert!(!handing.await.unwrap());
    assert_eq!(stage.gate.metrics.wrong_home.get(), crate::limits::LESSONS as u64);
}

/// At an address of its own a home is waited for before a word is said, and once more when it is to fetch the stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_sender_is_held_once_and_not_twice() {
    let stage = Stage::new("held").await;
    let (_outside, mut client) = stage.arrived().await;
    let gate = stage.gate.clone();
    let waiting = tokio::spawn(async move {
        let came = client.wait_for(&gate, HOME).await;
        (client, came)
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let home = stage.alive().await;
    let (mut client, came) = waiting.await.unwrap();
    came.unwrap();
    assert!(client.waited >= Duration::from_millis(200), "{:?}", client.waited);
    assert_eq!(client.patience(), limits::WAKE - client.waited);
    // It had woken just in time, and is gone again.
    drop(home);
    while stage.gate.hall.count() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    client.waited = limits::WAKE - Duration::from_millis(50);
    let began = Instant::now();
    assert!(!stage.hand_on(client).await.unwrap());
    let held = began.elapsed();
    assert!(held >= FETCH && held < limits::WAKE, "{held:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_metrics_and_says_nothing_leaves_room() {
    let stage = Stage::new("scrapes").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(arriving::accept(stage.gate.clone(), Entrance::Metrics, listener));
    let mut silent = Vec::new();
    for _ in 0..limits::SCRAPES {
        silent.push(TcpStream::connect(at).await.unwrap());
    }
    while stage.gate.scrapes.available_permits() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(stage.scrape(at, b"GET / HTTP/1.1\r\n\r\n").await, "", "no more than so many");
    silent.pop();
    while !stage.scrape(at, b"GET / HTTP/1.1\r\n\r\n").await.contains("inbound_proxy_homes_connected 0\n") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Mallory is the recipient of a letter beside Alice, or of one whose other recipients nobody knows: the ticket of that session
/// would bring her the next letter for Alice.
#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_stands_for_one_home_or_for_none() {
    let stage = Stage::new("lessons").await;
    let group = Group::Network4([198, 51, 100]);
    let sender = Sender { network: Network::from(&group), group, street: None };
    let home = |name: &str| Some((name.to_owned(), None));
    let (alice, mallory) = (home(HOME), home("mail.mallory.example"));
    for (named, of) in [
        (vec![alice.clone(), alice.clone()], alice.as_ref().map(|(home, _)| home.clone())),
        (vec![alice.clone(), mallory.clone()], None),
        (vec![alice.clone(), mallory.clone(), alice.clone()], None),
        (vec![None, mallory.clone()], None),
        (vec![mallory, None], None),
    ] {
        let postmarks = Postmarks::default();
        let ticket = postmarks.encrypt(b"state").unwrap();
        let mut lessons = Lessons::new(&sender, &postmarks);
        named.iter().for_each(|found| lessons.is_for(&stage.gate, found.clone()));
        let given = |ticket: &[u8]| stage.gate.memory().by_ticket(ticket, super::now()).map(|given| given.home.clone());
        assert_eq!(given(&ticket), of, "{named:?}");
        lessons.are_unclear(&stage.gate);
        assert_eq!(given(&ticket), None, "and a recipient who is not asked for");
    }
}

/// A telephone that is connected with a house whose pairing is taken away.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_relayed_ends_with_the_pairing() {
    let stage = Stage::new("revoked").await;
    let (_speaker, mut calls) = stage.alive().await;
    let (mut outside, handing) = stage.client().await;
    let mut at_home = gets_the_hello(&stage, calls.recv().await.unwrap()).await;
    assert!(handing.await.unwrap());
    at_home.write_all(b"it works").await.unwrap();
    let mut heard = [0; 8];
    outside.read_exact(&mut heard).await.unwrap();
    assert!(stage.gate.homes.close(HOME).unwrap());
    // Both ends hear of it.
    assert_eq!(outside.read(&mut heard).await.unwrap_or(0), 0);
    assert_eq!(at_home.read(&mut heard).await.unwrap_or(0), 0);
    while !stage.gate.passing().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A family gives up the name by which its home was called, and another box has that name at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_a_home_goes_on_when_it_is_called_otherwise() {
    let stage = Stage::new("called").await;
    let homes = &stage.gate.homes;
    let pair = |name: &str, key: &LinkKey| {
        let grant = HomeGrant { names: [name.to_owned()].into(), ..HomeGrant::default() };
        let invited = homes.invite(name, grant, SystemTime::now(), Duration::from_secs(600)).unwrap();
        homes.pair(&invited.secret, key.public(), SystemTime::now()).unwrap();
    };
    pair(OTHER, &stage.key());
    let (_speaker, mut calls) = stage.alive().await;
    let (mut outside, handing) = stage.client().await;
    let mut at_home = gets_the_hello(&stage, calls.recv().await.unwrap()).await;
    assert!(handing.await.unwrap());
    let group = Group::Network4([198, 51, 100]);
    stage.gate.memory().learn(None, &group, &[crate::tickets::digest(b"shown")], HOME, super::now());
    let rest = homes.all().unwrap()[HOME].grant.names.iter().filter(|name| *name != HOME).cloned().collect();
    assert!(homes.leave(HOME, OTHER, HomeGrant { names: rest, ..HomeGrant::default() }).unwrap());
    pair(HOME, &LinkKey::generate().unwrap());
    stage.gate.follow_boxes().unwrap();
    let led = || stage.gate.memory().by_ticket(b"shown", super::now()).map(|given| given.home.clone());
    assert_eq!(led().as_deref(), Some(OTHER), "and to no stranger");
    // Some rounds later, too.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    is_heard(&mut outside, &mut at_home).await;
    is_heard(&mut at_home, &mut outside).await;
    assert_eq!(stage.gate.passing().values().map(|passing| passing.home.clone()).collect::<Vec<_>>(), [OTHER]);
    assert!(homes.close(OTHER).unwrap());
    assert_eq!(outside.read(&mut [0; 8]).await.unwrap_or(0), 0, "it ends with the pairing");
    assert_eq!(led(), None);
}

/// A sender that has begun with TLS and waits for a home that is away, or does not fetch it, when the gate is told to end.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_held_at_the_end_is_told_under_tls() {
    for (name, is_there) in [("ends-away", false), ("ends-told", true)] {
        let stage = Arc::new(Stage::new(name).await);
        let _home = if is_there { Some(stage.alive().await) } else { None };
        let (mut held, mut idle) = (stage.sender().await, stage.sender().await);
        assert!(answer(&mut held, "EHLO a.example\r\n").await.starts_with("220 "));
        let mut hello = String::new();
        while !hello.starts_with("250 ") {
            hello.clear();
            held.read_line(&mut hello).await.unwrap();
        }
        assert!(answer(&mut held, "STARTTLS\r\n").await.starts_with("220 "));
        assert!(answer(&mut idle, "").await.starts_with("220 "));
        let shaking = tokio::spawn({
            let stage = stage.clone();
            async move { stage.shakes_hands(held).await }
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(!shaking.is_finished(), "it is held");
        let (began, gate) = (Instant::now(), stage.gate.clone());
        let drained = tokio::spawn(async move { ending::drained(&gate).await });
        let mut held = shaking.await.unwrap();
        assert!(answer(&mut idle, "").await.starts_with("421 "), "who is in clear is told there");
        // Longer than others have.
        tokio::time::sleep(limits::DRAIN_OTHERS).await;
        assert!(answer(&mut held, "EHLO a.example\r\n").await.starts_with("250 "));
        assert!(!drained.is_finished());
        assert!(answer(&mut held, "MAIL FROM:<a@a.example>\r\n").await.starts_with("451 4.4.1 "));
        assert!(answer(&mut held, "QUIT\r\n").await.starts_with("221 "));
        drained.await.unwrap();
        assert!(began.elapsed() < limits::DRAIN_TOLD, "{:?}", began.elapsed());
    }
}
