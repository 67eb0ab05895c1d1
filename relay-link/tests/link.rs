//! Both ends of the link over real sockets: pairing, streams, copies of a box, revocation, the relay.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use relay_link::code::{Kind, PairingCode, Place};
use relay_link::control;
use relay_link::dns::Dns;
use relay_link::hello::Refusal;
use relay_link::home::{self, DialError, State};
use relay_link::homes::{Grant, Homes};
use relay_link::inbound::{Call, FromHome, Service, ToHome};
use relay_link::keys::{LinkKey, OneTimeSecret};
use relay_link::limits;
use relay_link::proxy::{self, Caller, Event, Guest, Hall};
use relay_link::relay::{Moved, Pipes, relay};
use relay_link::stream::{Ticket, Waiting};
use relay_link::tls::Acceptor;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Nothing {}

impl Grant for Nothing {
    fn clashes_with(&self, _: &Self) -> Option<String> {
        None
    }
}

/// A proxy that hands out one kind of stream: whatever connects to `front` goes to the home "alice".
struct Proxy {
    homes: Arc<Homes<Nothing>>,
    key: Arc<LinkKey>,
    place: Place,
    hall: Arc<Hall<Nothing, FromHome, ToHome>>,
    waiting: Arc<Mutex<Waiting<TcpStream>>>,
    events: mpsc::Receiver<Event<FromHome>>,
    folder: PathBuf,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// How long a busy machine may take over anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// The tests dial addresses.
fn nobody() -> Arc<Dns> {
    Arc::new(Dns::new(Vec::new()))
}

static FOLDERS: AtomicU32 = AtomicU32::new(0);

impl Proxy {
    async fn start() -> Self {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("relay-link-test-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let homes = Arc::new(Homes::open(&folder).unwrap());
        let key = Arc::new(LinkKey::generate().unwrap());
        let acceptor = Acceptor::new(&key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Place::new("127.0.0.1", listener.local_addr().unwrap().port()).unwrap();
        let (tell, events) = mpsc::channel(64);
        let hall = Arc::new(Hall::new("clean.example", tell));
        let waiting = Arc::new(Mutex::new(Waiting::<TcpStream>::default()));
        let (homes2, hall2, waiting2) = (homes.clone(), hall.clone(), waiting.clone());
        let pipes = Arc::new(Pipes::default());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (homes, hall, waiting) = (homes2.clone(), hall2.clone(), waiting2.clone());
                let (acceptor, pipes) = (acceptor.clone(), pipes.clone());
                tokio::spawn(async move {
                    match proxy::receive(stream, &acceptor).await {
                        Ok(Caller::Control(stream, key)) => {
                            let greeted = proxy::greet(stream, key, &homes, "clean.example").await;
                            if let Ok(Some(Guest::Home(arrival))) = greeted {
                                let _ = hall.serve(arrival, &homes).await;
                            }
                        }
                        Ok(Caller::Data(mut home, opening)) => {
                            let claimed = waiting.lock().unwrap().claim(&opening, Instant::now());
                            let Ok((client, answer)) = claimed else { return };
                            home.write_all(&answer).await.unwrap();
                            let _ = relay(&client, &home, &pipes, &Moved::default()).await;
                        }
                        Err(_) => {}
                    }
                });
            }
        });
        Self { homes, key, place, hall, waiting, events, folder }
    }

    fn invite(&self, name: &str) -> PairingCode {
        let invited = self.homes.invite(name, Nothing {}, SystemTime::now(), limits::CODE).unwrap();
        let code = PairingCode {
            kind: Kind::Inbound,
            place: self.place.clone(),
            proxy: self.key.public().fingerprint(),
            secret: invited.secret,
            expires: u32::try_from(invited.expires / 60).unwrap(),
        };
        // As the family types it.
        code.to_string().parse().unwrap()
    }

    async fn pair(&self, name: &str) -> home::Proxy {
        home::pair(&self.invite(name), LinkKey::generate().unwrap(), nobody()).await.unwrap().0
    }

    /// A client has come: its stream is offered to the home.
    fn offer(&self, home: &str, client: TcpStream) -> Ticket {
        let ticket = Ticket::generate().unwrap();
        let call = Call {
            ticket: ticket.clone(),
            service: Service::Mail,
            client: client.peer_addr().unwrap(),
            dialled: client.local_addr().unwrap(),
            ehlo: None,
            sni: None,
        };
        self.waiting.lock().unwrap().expect(ticket.clone(), 1, client, Instant::now()).unwrap();
        self.hall.say(home, ToHome::Call(call)).unwrap();
        ticket
    }
}

struct Home {
    proxy: Arc<home::Proxy>,
    calls: mpsc::Receiver<ToHome>,
    state: watch::Receiver<State>,
    speaker: Option<control::Speaker<FromHome>>,
}

impl Home {
    fn start(proxy: home::Proxy) -> Self {
        let proxy = Arc::new(proxy);
        let (speaker, script) = control::speaker();
        let (heard, calls) = mpsc::channel(64);
        let (tell, state) = watch::channel(State::Dialling("not yet".into()));
        let keeping = proxy.clone();
        tokio::spawn(async move { keeping.keep(script, heard, tell).await });
        Self { proxy, calls, state, speaker: Some(speaker) }
    }

    async fn connected(&mut self) {
        let up = self.state.wait_for(|state| matches!(state, State::Connected(_)));
        tokio::time::timeout(PATIENCE, up).await.expect("connected in time").unwrap();
    }

    /// Fetches what is offered and answers every byte with its successor.
    async fn answer_one(&mut self) -> std::io::Result<()> {
        let ToHome::Call(call) = self.calls.recv().await.unwrap();
        let mut stream = self.proxy.fetch(&call.ticket).await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        bytes.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
        stream.write_all(&bytes).await
    }
}

async fn pair_of_sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (one, listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn from_a_code_to_a_stream() {
    let proxy = Proxy::start().await;
    let code = proxy.invite("alice");
    let (paired, welcome) = home::pair(&code, LinkKey::generate().unwrap(), nobody()).await.unwrap();
    assert_eq!((welcome.name.as_str(), welcome.proxy.as_str()), ("alice", "clean.example"));
    assert_eq!(paired.key, proxy.key.public());
    let mut home = Home::start(paired);
    home.connected().await;
    let (mut client, at_proxy) = pair_of_sockets().await;
    proxy.offer("alice", at_proxy);
    let bytes: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
    let sent = bytes.clone();
    let talking = tokio::spawn(async move {
        client.write_all(&sent).await.unwrap();
        client.shutdown().await.unwrap();
        let mut back = Vec::new();
        client.read_to_end(&mut back).await.unwrap();
        back
    });
    home.answer_one().await.unwrap();
    let back = talking.await.unwrap();
    assert!(back.iter().zip(&bytes).all(|(back, sent)| *back == sent.wrapping_add(1)));
    assert_eq!(back.len(), bytes.len(), "the half-close arrived, and the answer after it");
}

#[tokio::test]
async fn a_code_works_once_and_only_at_its_proxy() {
    let (one, other) = (Proxy::start().await, Proxy::start().await);
    let code = one.invite("alice");
    let elsewhere = PairingCode { place: other.place.clone(), ..code.clone() };
    let error = home::pair(&elsewhere, LinkKey::generate().unwrap(), nobody()).await.unwrap_err();
    assert!(matches!(error, DialError::Io(_)), "the secret is said to nobody else: {error}");
    home::pair(&code, LinkKey::generate().unwrap(), nobody()).await.unwrap();
    let error = home::pair(&code, LinkKey::generate().unwrap(), nobody()).await.unwrap_err();
    assert!(matches!(error, DialError::Refused(Refusal::Code)), "{error}");
    let guessed = PairingCode { secret: OneTimeSecret([0; 10]), ..code };
    let error = home::pair(&guessed, LinkKey::generate().unwrap(), nobody()).await.unwrap_err();
    assert!(matches!(error, DialError::Refused(Refusal::Code)), "{error}");
}

#[tokio::test]
async fn a_key_that_was_never_paired_is_refused() {
    let proxy = Proxy::start().await;
    let stranger = home::Proxy::new(proxy.place.clone(), proxy.key.public(), LinkKey::generate().unwrap(), nobody());
    let mut home = Home::start(stranger);
    let told = home.state.wait_for(|state| matches!(state, State::Dialling(why) if why.contains("does not know")));
    tokio::time::timeout(PATIENCE, told).await.expect("told why").unwrap();
}

#[tokio::test]
async fn the_newer_of_two_boxes_is_refused_and_told_why() {
    let proxy = Proxy::start().await;
    let first = proxy.pair("alice").await;
    let copy =
        home::Proxy::new(first.place.clone(), first.key, LinkKey::from_pkcs8(first.own.pkcs8()).unwrap(), nobody());
    let mut first = Home::start(first);
    first.connected().await;
    let mut copy = Home::start(copy);
    let told = copy.state.wait_for(|state| matches!(state, State::Dialling(why) if why.contains("another box")));
    tokio::time::timeout(PATIENCE, told).await.expect("told why").unwrap();
    assert!(matches!(*first.state.borrow(), State::Connected(_)), "the older stays");
    // Once the first ends, the copy gets the seat.
    drop(first.speaker.take());
    copy.connected().await;
}

#[tokio::test]
async fn a_revoked_home_is_cut_off() {
    let mut proxy = Proxy::start().await;
    let mut home = Home::start(proxy.pair("alice").await);
    home.connected().await;
    proxy.homes.revoke("alice").unwrap();
    let gone = async { while !matches!(proxy.events.recv().await, Some(Event::Left(..))) {} };
    tokio::time::timeout(PATIENCE, gone).await.expect("cut off");
    let told = home.state.wait_for(|state| matches!(state, State::Dialling(why) if why.contains("does not know")));
    tokio::time::timeout(PATIENCE, told).await.expect("told why").unwrap();
    assert!(proxy.hall.present().is_empty());
}

#[tokio::test]
async fn what_a_home_says_arrives() {
    let mut proxy = Proxy::start().await;
    let mut home = Home::start(proxy.pair("alice").await);
    home.connected().await;
    home.speaker.as_ref().unwrap().say(FromHome::WrongHome { number: 7, domain: None }).unwrap();
    let Some(Event::Heard(heard)) = proxy.events.recv().await else { panic!("nothing heard") };
    assert_eq!((heard.home.as_str(), heard.message), ("alice", FromHome::WrongHome { number: 7, domain: None }));
    assert!(proxy.hall.wait_for("alice", Duration::ZERO).await.is_ok());
    assert!(proxy.hall.wait_for("bob", Duration::from_millis(50)).await.is_err());
}

/// It gets its share of the proxy's time, and all that it says is heard.
#[tokio::test]
async fn who_talks_without_end_is_heard_slowly() {
    const SAID: u64 = 10 * limits::HEARD as u64;
    let mut proxy = Proxy::start().await;
    let mut home = Home::start(proxy.pair("alice").await);
    home.connected().await;
    let speaker = home.speaker.take().unwrap();
    let began = Instant::now();
    let talking = tokio::spawn(async move {
        for number in 0..SAID {
            while speaker.say(FromHome::Declined(number)).is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        speaker
    });
    for number in 0..SAID {
        let Some(Event::Heard(heard)) = proxy.events.recv().await else { panic!("no more is heard") };
        assert_eq!(heard.message, FromHome::Declined(number));
    }
    assert!(began.elapsed() >= 9 * limits::HEARD_WITHIN, "{:?}", began.elapsed());
    drop(talking.await.unwrap());
}

#[tokio::test]
async fn a_stream_is_fetched_once() {
    let proxy = Proxy::start().await;
    let mut home = Home::start(proxy.pair("alice").await);
    home.connected().await;
    let (_client, at_proxy) = pair_of_sockets().await;
    let ticket = proxy.offer("alice", at_proxy);
    home.proxy.fetch(&ticket).await.unwrap();
    assert!(home.proxy.fetch(&ticket).await.is_err(), "single use");
    assert!(home.proxy.fetch(&Ticket::generate().unwrap()).await.is_err(), "a number that was never said");
}

/// A DNS that has fallen silent since the link came up costs no stream.
#[tokio::test]
async fn streams_do_not_wait_for_the_dns() {
    let proxy = Proxy::start().await;
    let paired = proxy.pair("alice").await;
    let named = Place::new("clean.example", proxy.place.port()).unwrap();
    let own = LinkKey::from_pkcs8(paired.own.pkcs8()).unwrap();
    let named = home::Proxy::new(named, paired.key, own, nobody());
    *named.found.lock().unwrap() = Some(([127, 0, 0, 1], proxy.place.port()).into());
    let mut home = Home::start(named);
    home.connected().await;
    let (_client, at_proxy) = pair_of_sockets().await;
    let ticket = proxy.offer("alice", at_proxy);
    home.proxy.fetch(&ticket).await.unwrap();
}

#[tokio::test]
async fn strangers_at_the_links_port() {
    let proxy = Proxy::start().await;
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"P", &[b'P'; 41], &[0x16, 3, 1, 0xff, 0xff], b""] {
        let mut stream = TcpStream::connect((proxy.place.host(), proxy.place.port())).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.first().is_none_or(|byte| *byte == 0x15), "at most a TLS alert: {answer:02x?}");
    }
}

#[tokio::test]
async fn who_reads_slowly_gets_every_byte() {
    let (mut client, one) = pair_of_sockets().await;
    let (other, mut server) = pair_of_sockets().await;
    let relaying = tokio::spawn(async move {
        let moved = Moved::default();
        relay(&one, &other, &Pipes::default(), &moved).await.unwrap();
        (moved.forth.into_inner(), moved.back.into_inner())
    });
    let sending = tokio::spawn(async move {
        client.write_all(&vec![7; 5_000_000]).await.unwrap();
        client.shutdown().await.unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        rest
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (mut total, mut buffer) = (0, vec![0; 10_000]);
    loop {
        match server.read(&mut buffer).await.unwrap() {
            0 => break,
            read => total += read,
        }
    }
    assert_eq!(total, 5_000_000);
    server.write_all(b"bye").await.unwrap();
    drop(server);
    assert_eq!(sending.await.unwrap(), b"bye");
    assert_eq!(relaying.await.unwrap(), (5_000_000, 3));
}

/// Few bytes are taken for all that was there: what comes in the same moment must be seen nevertheless.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn no_small_piece_gets_stuck() {
    let ((mut client, one), (other, mut server)) = (pair_of_sockets().await, pair_of_sockets().await);
    for end in [&client, &one, &other, &server] {
        end.set_nodelay(true).unwrap();
    }
    let relaying = tokio::spawn(async move { relay(&one, &other, &Pipes::default(), &Moved::default()).await });
    let talk = async move {
        for round in 0..3_000usize {
            let (pieces, size) = (1 + round % 7, 1 + round * 31 % 130);
            for _ in 0..pieces {
                client.write_all(&vec![1; size]).await.unwrap();
            }
            server.read_exact(&mut vec![0; pieces * size]).await.unwrap();
            server.write_all(&vec![2; 1 + size / 2]).await.unwrap();
            client.read_exact(&mut vec![0; 1 + size / 2]).await.unwrap();
        }
        client.write_all(b"last").await.unwrap();
        client.shutdown().await.unwrap();
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"last");
        drop((client, server));
    };
    tokio::time::timeout(5 * PATIENCE, talk).await.expect("all of it passes");
    let _ = relaying.await.unwrap();
}
