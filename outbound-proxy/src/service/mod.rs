//! The service: takes homes' connections, connects for them, relays and measures, writes down what is spent.
//!
//! Hostile input: see the library's page; DNS answers; strangers at the link's port.
//! Holds: its listeners, the link's key, its one folder (`/spool` inside its walls).
//! Can never: see another file; execute; connect to a port other than 25 and 53; run as root.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use filter_sandbox::{Role, confine};
use relay_link::dns::Dns;
use relay_link::hello::{Answer, Want};
use relay_link::homes::Homes;
use relay_link::keys::{LinkKey, PublicKey};
use relay_link::operator::folder::HOMES;
use relay_link::outbound::{FromHome, ToHome};
use relay_link::proxy::{self, Caller, Event, Guest, Hall};
use relay_link::seldom::Seldom;
use relay_link::shares::{Stranger, Strangers};
use relay_link::stream::Waiting;
use relay_link::tls::Acceptor;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{interval, sleep};
use tokio_rustls::server::TlsStream;
use tracing::{debug, error, info};
use wire::control::Controls;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::address::Policy;
use crate::grant::HomeGrant;
use crate::limits;

pub mod books;
mod calls;
mod ending;
mod metrics;
mod naming;
pub mod pieces;
pub mod session;

use books::Books;
use calls::Call;
use metrics::Counters;
use pieces::Pieces;

/// Of what they have spent.
pub const SPENT: &str = "spent";
/// Where the folder is inside the walls.
const STATE: &str = "/spool";

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entrance {
    /// Homes dial it.
    Link,
    /// Prometheus does.
    Metrics,
}

/// What the parent sends first. Descriptors: the listeners, in the order of `entrances`.
#[derive(Debug, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Start {
    /// What the proxy calls itself.
    #[zeroize(skip)]
    pub name: String,
    /// The link's, PKCS#8.
    pub key: Vec<u8>,
    /// DNS servers.
    #[zeroize(skip)]
    pub upstreams: Vec<SocketAddr>,
    /// Addresses that lead back here and are on no interface.
    #[zeroize(skip)]
    pub own: Vec<IpAddr>,
    /// What each listener is for.
    #[zeroize(skip)]
    pub entrances: Vec<Entrance>,
}

/// The service, from its first instruction to its last.
#[must_use]
pub fn run() -> ExitCode {
    match story() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(%error, "cannot go on");
            ExitCode::FAILURE
        }
    }
}

fn story() -> io::Result<()> {
    let confined = confine(Role::OutboundProxy).map_err(io::Error::other)?;
    let (start, listeners) = wire::control::start::<Start>(&confined.control).map_err(io::Error::other)?;
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.max_blocking_threads(limits::SYNCING).thread_stack_size(limits::SYNCING_STACK);
    let runtime = builder.enable_all().build()?;
    runtime.block_on(async {
        let controls = Controls::new(confined.control)?;
        let (tell, events) = mpsc::channel(relay_link::limits::QUEUE);
        let service = Arc::new(Service::new(&start, tell)?);
        for (entrance, listener) in start.entrances.iter().zip(listeners) {
            let listener = TcpListener::from_std(std::net::TcpListener::from(listener))?;
            match entrance {
                Entrance::Link => tokio::spawn(service.clone().accept(listener)),
                Entrance::Metrics => tokio::spawn(metrics::serve(service.clone(), listener)),
            };
        }
        tokio::spawn(naming::follow(service.clone(), Dns::new(start.upstreams.clone())));
        info!(name = start.name, "homes may dial");
        drop(start);
        tokio::select! {
            () = service.clone().answer(events) => {}
            () = service.sweep() => {}
            () = service.told(&controls) => {}
        }
        Ok(())
    })
}

type Arrival = proxy::Arrival<HomeGrant>;

/// All that its tasks share.
struct Service {
    name: String,
    acceptor: Acceptor,
    homes: Homes<HomeGrant>,
    hall: Hall<HomeGrant, FromHome, ToHome>,
    books: Books,
    waiting: Mutex<Waiting<Call>>,
    dns: Dns,
    policy: Policy,
    /// What addresses its name has, once that has been asked.
    named: watch::Sender<Option<Vec<IpAddr>>>,
    pieces: Pieces,
    counters: Counters,
    refusals: Mutex<Seldom<String>>,
    sessions: Arc<Semaphore>,
    /// The operator has asked for the end.
    ending: watch::Sender<bool>,
    strangers: Strangers,
}

impl Service {
    fn new(start: &Start, tell: mpsc::Sender<Event<FromHome>>) -> io::Result<Self> {
        let key = LinkKey::from_pkcs8(&start.key).map_err(io::Error::other)?;
        let state = Path::new(STATE);
        Ok(Self {
            name: start.name.clone(),
            acceptor: Acceptor::new(&key).map_err(io::Error::other)?,
            homes: Homes::open(&state.join(HOMES))?,
            hall: Hall::new(&start.name, tell),
            books: Books::open(&state.join(SPENT))?,
            waiting: Mutex::default(),
            dns: Dns::new(start.upstreams.clone()),
            policy: Policy::new(start.own.iter().copied()),
            named: watch::Sender::new(None),
            pieces: Pieces::default(),
            counters: Counters::default(),
            refusals: Mutex::default(),
            sessions: Arc::new(Semaphore::new(limits::SESSIONS)),
            ending: watch::Sender::new(false),
            strangers: Strangers::default(),
        })
    }

    /// Whoever dials the link's port.
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    let stranger = self.strangers.enter(from.ip().to_canonical());
                    tokio::spawn(self.clone().receive(stream, stranger));
                }
                // Out of descriptors, most likely: others must end first.
                Err(error) => {
                    error!(%error, "cannot take a connection");
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    async fn receive(self: Arc<Self>, stream: TcpStream, mut stranger: Stranger) {
        match stranger.unless_needed(proxy::receive(stream, &self.acceptor)).await {
            Some(Ok(Caller::Control(stream, key))) => {
                let Some(greeted) = stranger.unless_needed(self.greet(stream, key)).await else { return };
                drop(stranger);
                self.seat(greeted);
            }
            Some(Ok(Caller::Data(stream, opening))) => {
                drop(stranger);
                let claimed = lock(&self.waiting).claim(&opening, Instant::now());
                if let Ok((call, answer)) = claimed {
                    call.carry(&self, stream, &answer).await;
                }
            }
            Some(Err(error)) => debug!(%error, "a stranger at the link's port"),
            None => debug!("a stranger at the link's port gave up its place"),
        }
    }

    async fn greet(&self, stream: Box<TlsStream<TcpStream>>, key: PublicKey) -> io::Result<Option<Arrival>> {
        let budget = |home: &str| self.books.tab(&self.homes, home).ok().map(|tab| Answer::Budget(tab.budget()));
        match proxy::greet(stream, key, &self.homes, &self.name).await? {
            Some(Guest::Home(arrival)) => return Ok(Some(arrival)),
            Some(Guest::Asking(asking)) => {
                let answer = match &asking.want {
                    Want::Budget => budget(&asking.home),
                    want => self.hall.tell(&asking.home, want),
                };
                asking.answer(answer).await?;
            }
            None => {}
        }
        Ok(None)
    }

    fn seat(self: Arc<Self>, greeted: io::Result<Option<Arrival>>) {
        match greeted {
            // A task of its own: one that is idle for days then holds this much, and nothing of what led here.
            Ok(Some(arrival)) => drop(tokio::spawn(async move {
                if let Err(error) = self.hall.serve(arrival, &self.homes).await {
                    debug!(%error, "a home's connection");
                }
            })),
            Ok(None) => {}
            Err(error) => debug!(%error, "a stranger at the link's port"),
        }
    }

    /// Does what homes ask for.
    async fn answer(self: Arc<Self>, mut events: mpsc::Receiver<Event<FromHome>>) {
        while let Some(event) = events.recv().await {
            match event {
                Event::Heard(heard) => match heard.message {
                    FromHome::Connect { request, host } => {
                        calls::asked(&self, heard.home, heard.connection, request, host);
                    }
                    FromHome::AskBudget => {
                        if let Ok(tab) = self.books.tab(&self.homes, &heard.home) {
                            let _ = self.hall.say(&heard.home, ToHome::Budget(tab.budget()));
                        }
                    }
                },
                Event::Left(_, connection) => drop(lock(&self.waiting).of_home(connection.0)),
            }
        }
    }

    /// Far servers whose homes do not fetch them are let go, and homes that are revoked are stopped.
    async fn sweep(&self) {
        let mut ticks = interval(Duration::from_secs(1));
        loop {
            ticks.tick().await;
            drop(lock(&self.waiting).expired(Instant::now()));
            self.books.note_revoked(&self.homes);
            lock(&self.refusals).forget(Instant::now());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes all of it; a peer that takes nothing blocks only its own session.
async fn write_all(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
