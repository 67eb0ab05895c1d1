//! The gate itself: confined, with its listeners, its keys and one folder.
//!
//! | entrance | who comes | file |
//! | --- | --- | --- |
//! | 25 | mail servers | `mail`, and `learning` for those that do not say whom they want |
//! | 465, 993, 443 | phones, browsers: by SNI alone | `direct` |
//! | 7025 | homes | `link` |
//! | of the operator's choice | Prometheus | `metrics` |

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fmt, io};

use filter_sandbox::{Role, confine};
use relay_link::dns::Dns;
use relay_link::homes::Homes;
use relay_link::inbound::{FromHome, ToHome};
use relay_link::keys::LinkKey;
use relay_link::operator::folder::HOMES;
use relay_link::proxy::Hall;
use relay_link::relay::Pipes;
use relay_link::stream::{PROOF, Waiting};
use relay_link::tls::Acceptor;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use wire::control::{Control, Controls};
use wire::tls::CertificatePem;

use crate::grant::HomeGrant;
use crate::leads::Leads;
use crate::limits;
use crate::memory::Memory;

mod arriving;
mod boxes;
mod direct;
mod doors;
mod ending;
mod handing;
mod leading;
mod learning;
mod link;
mod mail;
mod map;
mod metrics;
mod places;
mod reports;
mod talk;
#[cfg(test)]
mod tests;

use boxes::Boxes;
use doors::Doors;
use ending::{Ending, Letters};
use map::Maps;
use metrics::Metrics;
use places::Places;
use reports::Passing;

/// Where the gate's folder stands in its root.
const STATE: &str = "/spool";

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entrance {
    /// 25.
    Mail,
    /// 465.
    Submission,
    /// 993.
    Imap,
    /// 443.
    Web,
    /// Where homes dial.
    Link,
    /// Where Prometheus asks.
    Metrics,
}

/// What the gate is told first. Descriptors: the listeners, one for each of `entrances`.
#[derive(Serialize, Deserialize)]
pub struct Start {
    /// What the proxy calls itself.
    pub name: String,
    /// The link's key, PKCS#8.
    pub key: Vec<u8>,
    /// For sessions that learn.
    pub certificate: CertificatePem,
    /// DNS servers.
    pub upstreams: Vec<SocketAddr>,
    /// Addresses that one street has for itself.
    pub streets: BTreeMap<IpAddr, String>,
    /// Addresses to listen on; none: all.
    pub bound: Vec<IpAddr>,
    /// Whether the log says which sender came for which home.
    pub log_connections: bool,
    /// What each listener is for.
    pub entrances: Vec<Entrance>,
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").field("name", &self.name).finish_non_exhaustive()
    }
}

/// To who waits for a home's connection: here it is, and what to answer, or `None`, the home declines. Dropped: nothing came of
/// it.
type Awaited = oneshot::Sender<Option<(TcpStream, [u8; PROOF])>>;

/// What all connections share.
#[derive(Debug)]
struct Gate {
    name: String,
    log_connections: bool,
    maps: Maps,
    places: Places,
    homes: Homes<HomeGrant>,
    hall: Hall<HomeGrant, FromHome, ToHome>,
    acceptor: Acceptor,
    dns: Dns,
    /// Streams that homes have been told of: the connection that fetches one is sent to who waits for it.
    waiting: Mutex<Waiting<Awaited>>,
    /// Streams that homes have, so that they can be told of as misled.
    passing: Mutex<HashMap<u64, Passing>>,
    memory: Mutex<Memory>,
    /// Locked before those two, where both are.
    boxes: Mutex<Boxes>,
    certificate: RwLock<Arc<rustls::ServerConfig>>,
    scrapes: Semaphore,
    pipes: Pipes,
    doors: Doors,
    letters: Letters,
    ending: Ending,
    metrics: Metrics,
}

/// The gate's whole life.
#[must_use]
pub fn run() -> ExitCode {
    match story() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the gate cannot go on");
            ExitCode::FAILURE
        }
    }
}

fn story() -> io::Result<()> {
    let confined = confine(Role::InboundProxy).map_err(io::Error::other)?;
    let (start, listeners) = wire::control::start::<Start>(&confined.control).map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let controls = Controls::new(confined.control)?;
        serve(start, listeners, Path::new(STATE), controls).await
    })
}

async fn serve(start: Start, listeners: Vec<OwnedFd>, state: &Path, controls: Controls) -> io::Result<()> {
    let entrances = start.entrances.clone();
    if entrances.len() != listeners.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the start packet lacks listeners"));
    }
    // Apart from what sessions ask: neither waits for the other's questions.
    let upstreams = start.upstreams.clone();
    let (gate, events) = Gate::new(start, state)?;
    let gate = Arc::new(gate);
    tokio::spawn(reports::hear(gate.clone(), events));
    tokio::spawn(tend(gate.clone()));
    tokio::spawn(leading::follow(gate.clone(), Dns::new(upstreams)));
    let mut open = Vec::new();
    for (entrance, listener) in entrances.into_iter().zip(listeners) {
        let listener = std::net::TcpListener::from(listener);
        listener.set_nonblocking(true)?;
        let accepting = tokio::spawn(arriving::accept(gate.clone(), entrance, TcpListener::from_std(listener)?));
        // Homes fetch what is under way by theirs.
        if !matches!(entrance, Entrance::Link | Entrance::Metrics) {
            open.push(accepting);
        }
    }
    tracing::info!(name = gate.name, "the gate is open");
    while let Some((control, _)) = controls.next().await {
        if matches!(control, Control::Drain) {
            open.iter().for_each(tokio::task::JoinHandle::abort);
            tokio::select! {
                () = ending::drained(&gate) => {}
                // The parent's patience is over.
                _ = controls.next() => {}
            }
            break;
        }
        if let Control::Certificate(certificate) = control {
            match learning::config(&certificate) {
                Ok(config) => *gate.certificate.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config),
                Err(error) => tracing::warn!(%error, "the new certificate is of no use; the old one stays"),
            }
        }
    }
    Ok(())
}

impl Gate {
    fn new(start: Start, state: &Path) -> io::Result<(Self, mpsc::Receiver<relay_link::proxy::Event<FromHome>>)> {
        let key = LinkKey::from_pkcs8(&start.key).map_err(io::Error::other)?;
        let (tell, events) = mpsc::channel(relay_link::limits::QUEUE);
        let gate = Self {
            hall: Hall::new(&start.name, tell),
            name: start.name,
            log_connections: start.log_connections,
            places: Places::new(start.bound),
            maps: Maps::new(start.streets, Leads::open(&state.join("leads"))?),
            homes: Homes::open(&state.join(HOMES))?,
            acceptor: Acceptor::new(&key).map_err(io::Error::other)?,
            dns: Dns::new(start.upstreams),
            waiting: Mutex::default(),
            passing: Mutex::default(),
            memory: Mutex::new(Memory::open(&state.join("learnt"), now())?),
            boxes: Mutex::default(),
            certificate: RwLock::new(Arc::new(learning::config(&start.certificate)?)),
            scrapes: Semaphore::new(limits::SCRAPES),
            pipes: Pipes::default(),
            doors: Doors::default(),
            letters: Letters::default(),
            ending: Ending::default(),
            metrics: Metrics::default(),
        };
        Ok((gate, events))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<Awaited>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn passing(&self) -> MutexGuard<'_, HashMap<u64, Passing>> {
        self.passing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between two rounds of [`tend`].
const ROUND: Duration = Duration::from_secs(1);

/// Lets go of what nobody fetches, of what is old, and of what was learnt about homes that are paired no more.
async fn tend(gate: Arc<Gate>) {
    let mut rounds = tokio::time::interval(ROUND);
    for round in 0u64.. {
        rounds.tick().await;
        // Dropped, each wakes who waits for it.
        drop(gate.waiting().expired(std::time::Instant::now()));
        if let Err(error) = gate.follow_boxes() {
            tracing::debug!(%error, "the homes cannot be read");
        }
        if round % 3_600 == 0 {
            gate.memory().forget_old(now());
        }
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
