//! Hands a connection on: the home is told, dials, and gets what the client has sent, from the first byte on.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use relay_link::inbound::{Call, ClientName, Service, ToHome};
use relay_link::limits::FETCH;
use relay_link::relay::{Moved, relay};
use relay_link::seats::Connection;
use relay_link::stream::Ticket;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{timeout, timeout_at};
use tracing::{debug, info};

use super::Gate;
use super::doors::Place;
use super::reports::Passing;
use crate::limits;
use crate::route::How;

/// What is known of a connection that is to be handed on.
#[derive(Debug)]
pub(super) struct Parcel {
    /// The connection.
    pub client: TcpStream,
    /// Its place.
    pub place: Place,
    /// What it has sent of its TLS.
    pub sent: Vec<u8>,
    /// For what it came.
    pub service: Service,
    /// What it called itself.
    pub ehlo: Option<ClientName>,
    /// Whom it asked for.
    pub sni: Option<ClientName>,
    /// What led to the home, should it turn out to be the wrong one.
    pub passing: Passing,
}

/// Hands it on; from there on it goes by itself. `Err(parcel)`: the home is away, and nothing of it has been sent there.
pub(super) async fn hand_on(gate: &Arc<Gate>, home: &str, how: How, parcel: Parcel) -> Result<io::Result<()>, Parcel> {
    let Some((mut stream, number)) = fetch(gate, home, &parcel).await else {
        gate.metrics.home_away.count();
        return Err(parcel);
    };
    gate.metrics.handed[how as usize].count();
    info!(sender = %parcel.passing.group, home, ?how, service = ?parcel.service, sni = parcel.sni.is_some(), "handed on");
    let Parcel { client, place, sent, passing, .. } = parcel;
    gate.passing().insert(number, passing);
    let passed = Passed { gate: gate.clone(), number, _place: place };
    let begun = timeout(limits::HANDSHAKE, stream.write_all(&sent)).await;
    if let Err(error) = begun.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        return Ok(Err(error));
    }
    // A task of its own: an idle one then holds this much, and nothing of what led here.
    tokio::spawn(async move {
        let moved = Moved::default();
        if let Err(error) = relay(&client, &stream, &passed.gate.pipes, &moved).await {
            debug!(%error, "a relayed connection ended");
        }
        passed.gate.metrics.add(&moved);
    });
    Ok(Ok(()))
}

/// Forgets what a home could report, however the relaying ends.
struct Passed {
    gate: Arc<Gate>,
    number: u64,
    _place: Place,
}

impl Drop for Passed {
    fn drop(&mut self) {
        self.gate.passing().remove(&self.number);
    }
}

/// What came of telling a home.
enum Told {
    /// Its connection, and the stream's number.
    Dialled(TcpStream, u64),
    /// It has not this service, or not now.
    Declined,
    /// Nothing: its link is dead, most likely, and nobody has noticed yet.
    Silent,
}

/// The home's connection for it. A home that is not there, or does not come, is waited for: it may be waking.
async fn fetch(gate: &Gate, home: &str, parcel: &Parcel) -> Option<(TcpStream, u64)> {
    let until = Instant::now() + limits::WAKE;
    let mut connection = gate.hall.wait_for(home, limits::WAKE).await.ok()?;
    loop {
        match tell(gate, home, connection, parcel, until).await? {
            Told::Dialled(stream, number) => return Some((stream, number)),
            Told::Declined => return None,
            Told::Silent => {}
        }
        let left = until.saturating_duration_since(Instant::now());
        connection = gate.hall.wait_for_sign(home, connection, left).await.ok()?;
    }
}

/// Tells it once. `None`: there is no telling now.
async fn tell(gate: &Gate, home: &str, connection: Connection, parcel: &Parcel, until: Instant) -> Option<Told> {
    let ticket = Ticket::generate().ok()?;
    let call = Call {
        ticket: ticket.clone(),
        service: parcel.service,
        client: parcel.client.peer_addr().ok()?,
        dialled: parcel.client.local_addr().ok()?,
        ehlo: parcel.ehlo.clone(),
        sni: parcel.sni.clone(),
    };
    let (number, (send, fetched)) = (ticket.number, oneshot::channel());
    gate.waiting().expect(ticket, connection.0, send, Instant::now()).ok()?;
    let patience = until.min(Instant::now() + FETCH);
    let answer = match gate.hall.say(home, ToHome::Call(call)) {
        Ok(_) => timeout_at(patience.into(), fetched).await.ok().and_then(Result::ok),
        Err(_) => None,
    };
    if answer.is_none() {
        drop(gate.waiting().take_back(number, connection.0));
    }
    Some(match answer {
        Some(Some(stream)) => Told::Dialled(stream, number),
        Some(None) => Told::Declined,
        None => Told::Silent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::net::SocketAddr;
    use std::path::PathBuf;
    use std::time::{Duration, SystemTime};

    use relay_link::code::Place as Where;
    use relay_link::control;
    use relay_link::dns::Dns;
    use relay_link::frame::{self, Frames};
    use relay_link::hello::{Answer, Hello, Run, VERSION, Want};
    use relay_link::home::{self, State};
    use relay_link::inbound::FromHome;
    use relay_link::keys::{LinkKey, Pin};
    use relay_link::{liveness, tls};
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::sync::{mpsc, watch};
    use tokio::task::JoinHandle;
    use tokio_rustls::client::TlsStream;
    use wire::tls::CertificatePem;

    use super::super::{Entrance, Start, arriving, reports, tend};
    use crate::grant::HomeGrant;
    use crate::sender::Group;

    const HOME: &str = "mail.alice.example";
    const HELLO: &[u8] = b"a ClientHello";

    /// A gate with one home, paired and not connected.
    struct Stage {
        gate: Arc<Gate>,
        link: SocketAddr,
        own: Vec<u8>,
        proxy: LinkKey,
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
            let made = rcgen::generate_simple_self_signed(vec!["clean.example".to_owned()]).unwrap();
            let certificate = CertificatePem { chain: made.cert.pem(), key: made.signing_key.serialize_pem() };
            let start = Start {
                name: "clean.example".to_owned(),
                key: proxy.pkcs8().to_vec(),
                certificate,
                upstreams: Vec::new(),
                streets: BTreeMap::new(),
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
            Self { gate, link, own: own.pkcs8().to_vec(), proxy, folder }
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

        /// Somebody who has come and is to be handed on.
        async fn client(&self) -> (TcpStream, JoinHandle<bool>) {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let outside = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (client, from) = listener.accept().await.unwrap();
            let group = Group::of(from.ip(), None, false);
            let parcel = Parcel {
                client,
                place: self.gate.doors.enter(from.ip()).unwrap(),
                sent: HELLO.to_vec(),
                service: Service::Mail,
                ehlo: None,
                sni: None,
                passing: Passing { home: HOME.to_owned(), street: None, group, tickets: Vec::new() },
            };
            let gate = self.gate.clone();
            let handing = tokio::spawn(async move { hand_on(&gate, HOME, How::Sni, parcel).await.is_ok() });
            (outside, handing)
        }
    }

    async fn gets_the_hello(stage: &Stage, ToHome::Call(call): ToHome) -> TcpStream {
        let mut stream = stage.as_home().fetch(&call.ticket).await.unwrap();
        let mut read = [0; HELLO.len()];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(read, HELLO);
        stream
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
        let (mut stream, mut frames) = stage.connected().await;
        let (_speaker, mut script) = control::speaker::<FromHome>();
        let (heard, mut calls) = mpsc::channel(8);
        tokio::spawn(async move { control::run(&mut stream, &mut frames, liveness::HOME, &mut script, &heard).await });
        let (_client, handing) = stage.client().await;
        drop(calls.recv().await.unwrap());
        let _stream = gets_the_hello(&stage, calls.recv().await.unwrap()).await;
        assert!(handing.await.unwrap());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_home_that_declines_is_asked_once() {
        let stage = Stage::new("declines").await;
        let (mut stream, mut frames) = stage.connected().await;
        let (speaker, mut script) = control::speaker::<FromHome>();
        let (heard, mut calls) = mpsc::channel(8);
        tokio::spawn(async move { control::run(&mut stream, &mut frames, liveness::HOME, &mut script, &heard).await });
        let (_client, handing) = stage.client().await;
        let ToHome::Call(call) = calls.recv().await.unwrap();
        speaker.say(FromHome::Declined(call.ticket.number)).unwrap();
        assert!(!handing.await.unwrap(), "its sender is told at once");
        assert!(calls.try_recv().is_err());
    }
}
