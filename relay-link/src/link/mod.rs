//! `postern role link`: keeps the connections with the proxies this house is paired with, and hands what comes in
//! through them to the roles that serve it.
//!
//! Hostile input: what the paired proxies say (bounded and typed, [`crate::frame`]); DNS answers; reports of roles
//! that may have been taken over. The bytes of a stream are copied, unread: they are TLS between a stranger and a role
//! that has the keys.
//! Holds: the keys of its pairings; an edge to each role that serves; the host's network.
//! Can never: see a letter, a file, or any other key. Taken over, it can cut the house off from its proxies, and lie
//! about who calls.
//! Speaks: the link's own protocol over TLS 1.3.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use filter_sandbox::edge::Edge;
use filter_sandbox::{Role, confine};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};
use wire::control::{Control, Controls, EdgeName, PairedProxy};
use wire::dialled::Exchange;

use crate::dns::Dns;
use crate::hello::Refusal;
use crate::home::{self, DialError};
use crate::inbound::ClientName;
use crate::limits;
use crate::outbound::Budget;

mod hands;
mod inbound;
mod outbound;
mod pairing;

use hands::Hands;
use pairing::pair;

/// What `up` or `postern pair` sends first.
#[derive(Debug, Serialize, Deserialize)]
pub enum Start {
    /// Serve. Descriptors: the edges to `mx`, `submission` and `imapd-login`, and the courier's.
    Serve {
        /// DNS servers.
        upstreams: Vec<SocketAddr>,
    },
    /// Ask an outbound proxy what this house may still send, say it ([`Asked`]), and end. No descriptors.
    Budget {
        /// Which.
        proxy: PairedProxy,
        /// DNS servers.
        upstreams: Vec<SocketAddr>,
    },
    /// Ask a proxy whether this house's link is up, say it ([`Seen`]), and end. No descriptors.
    Presence {
        /// Which.
        proxy: PairedProxy,
        /// DNS servers.
        upstreams: Vec<SocketAddr>,
    },
    /// Ask an inbound proxy where the world is to find this house, say it ([`Placed`]), and end. No descriptors.
    Place {
        /// Which.
        proxy: PairedProxy,
        /// By which name.
        host: String,
        /// DNS servers.
        upstreams: Vec<SocketAddr>,
    },
    /// Pair with the proxy of this code, say how it went ([`Paired`]), and end. No descriptors.
    Pair {
        /// As it was typed.
        code: String,
        /// What there is already with that proxy: it then knows this box by the same key, and serves both names as one home's.
        known: Vec<PairedProxy>,
        /// DNS servers.
        upstreams: Vec<SocketAddr>,
    },
}

/// How pairing went.
#[derive(Debug, Serialize, Deserialize)]
pub enum Paired {
    /// This box is known there from now on.
    With {
        /// To be kept under the box key.
        proxy: PairedProxy,
        /// What the operator calls this house.
        name: String,
        /// What the proxy calls itself.
        called: String,
    },
    /// In words for the admin.
    Failed(String),
}

/// What a proxy said of this house's budget.
#[derive(Debug, Serialize, Deserialize)]
pub enum Asked {
    /// This.
    Budget(Budget),
    /// In words for the admin.
    Failed(String),
}

/// Where the world is to find this house, as a proxy says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Placed {
    /// There.
    At(Vec<IpAddr>),
    /// Nowhere: that host name is not this house's.
    NotOurs,
    /// The proxy does not know this house: its operator has revoked it.
    Revoked,
    /// In words for the admin.
    Failed(String),
}

/// How a proxy sees this house's link.
#[derive(Debug, Serialize, Deserialize)]
pub enum Seen {
    /// It has been up for so many seconds.
    Up(u64),
    /// The proxy is there, and no link.
    Down,
    /// In words for the admin.
    Failed(String),
}

/// The role, from its first instruction to its last.
#[must_use]
pub fn run() -> ExitCode {
    match story() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(role = %Role::Link, %error, "cannot go on");
            ExitCode::FAILURE
        }
    }
}

fn story() -> io::Result<()> {
    let confined = confine(Role::Link).map_err(io::Error::other)?;
    let (start, edges) = wire::control::start::<Start>(&confined.control).map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match start {
        Start::Pair { code, known, upstreams } => {
            let paired = runtime.block_on(pair(&code, known, upstreams)).unwrap_or_else(Paired::Failed);
            confined.control.send(&paired, &[]).map_err(io::Error::other)
        }
        Start::Budget { proxy, upstreams } => {
            let asked = runtime.block_on(budget(&proxy, upstreams)).map_or_else(Asked::Failed, Asked::Budget);
            confined.control.send(&asked, &[]).map_err(io::Error::other)
        }
        Start::Presence { proxy, upstreams } => {
            let seen = runtime.block_on(presence(&proxy, upstreams)).unwrap_or_else(Seen::Failed);
            confined.control.send(&seen, &[]).map_err(io::Error::other)
        }
        Start::Place { proxy, host, upstreams } => {
            let placed = runtime.block_on(place(&proxy, &host, upstreams)).unwrap_or_else(Placed::Failed);
            confined.control.send(&placed, &[]).map_err(io::Error::other)
        }
        Start::Serve { upstreams } => runtime.block_on(serve(upstreams, edges, confined.control)),
    }
}

async fn budget(proxy: &PairedProxy, upstreams: Vec<SocketAddr>) -> Result<Budget, String> {
    let proxy = home::Proxy::paired(proxy, Arc::new(Dns::new(upstreams))).ok_or("this pairing is damaged")?;
    proxy.budget().await.map_err(|error| error.to_string())
}

async fn presence(proxy: &PairedProxy, upstreams: Vec<SocketAddr>) -> Result<Seen, String> {
    let proxy = home::Proxy::paired(proxy, Arc::new(Dns::new(upstreams))).ok_or("this pairing is damaged")?;
    let seconds = proxy.presence().await.map_err(|error| error.to_string())?;
    Ok(seconds.map_or(Seen::Down, Seen::Up))
}

async fn place(proxy: &PairedProxy, host: &str, upstreams: Vec<SocketAddr>) -> Result<Placed, String> {
    let proxy = home::Proxy::paired(proxy, Arc::new(Dns::new(upstreams))).ok_or("this pairing is damaged")?;
    let host = ClientName::new(host).ok_or("this house has no host name")?;
    match proxy.place(&host).await {
        Ok(Some(addresses)) if addresses.is_empty() => {
            Err("the proxy does not know its own address just now".to_owned())
        }
        Ok(Some(addresses)) => Ok(Placed::At(addresses)),
        Ok(None) => Ok(Placed::NotOurs),
        Err(DialError::Refused(Refusal::Unknown)) => Ok(Placed::Revoked),
        Err(error) => Err(error.to_string()),
    }
}

/// What all links share.
#[derive(Debug)]
struct House {
    hands: Hands,
    dns: Arc<Dns>,
    /// One permit a stream.
    streams: Arc<Semaphore>,
    /// One permit a connection that the courier waits for.
    dials: Semaphore,
    /// The outbound proxies, in the order of their pairing.
    outbound: Mutex<Vec<Arc<outbound::Link>>>,
}

/// The link with one proxy.
#[derive(Debug)]
struct Kept {
    task: JoinHandle<()>,
    /// Of an outbound one.
    outbound: Option<Arc<outbound::Link>>,
}

async fn serve(upstreams: Vec<SocketAddr>, mut edges: Vec<OwnedFd>, control: Edge) -> io::Result<()> {
    let controls = Controls::new(control)?;
    let dials = edges.pop().ok_or(io::ErrorKind::InvalidInput)?;
    let house = Arc::new(House::new(upstreams, edges)?);
    house.take_edge(EdgeName::Dials, dials);
    let mut links = HashMap::<PairedProxy, Kept>::new();
    while let Some((control, mut with)) = controls.next().await {
        match (control, with.pop()) {
            (Control::Edge(name), Some(edge)) => house.take_edge(name, edge),
            (Control::Pairings(now), _) => follow(&house, &mut links, now),
            (Control::Drain, _) => {
                // No new calls; what flows may end. `up` does not wait for longer than it waits for those who serve.
                links.drain().for_each(|(_, link)| link.task.abort());
                let all = u32::try_from(limits::STREAMS).unwrap_or(u32::MAX);
                let _ = house.streams.acquire_many(all).await;
                return Ok(());
            }
            (other, _) => warn!(?other, "not for this role"),
        }
    }
    Ok(())
}

/// Ends the links that are no more, and begins the new ones.
fn follow(house: &Arc<House>, links: &mut HashMap<PairedProxy, Kept>, now: Vec<PairedProxy>) {
    links.retain(|proxy, link| {
        let stays = now.contains(proxy);
        if !stays {
            info!(proxy = proxy.host, "this house is no longer paired with it");
            link.task.abort();
        }
        stays
    });
    for proxy in now.iter().take(limits::PROXIES) {
        if links.contains_key(proxy) {
            continue;
        }
        match begin(house, proxy) {
            Some(kept) => drop(links.insert(proxy.clone(), kept)),
            None => error!(proxy = proxy.host, "what is kept of this pairing is damaged: pair anew"),
        }
    }
    let outbound = now.iter().filter_map(|proxy| links.get(proxy)?.outbound.clone()).collect();
    *house.outbound.lock().unwrap_or_else(PoisonError::into_inner) = outbound;
}

fn begin(house: &Arc<House>, proxy: &PairedProxy) -> Option<Kept> {
    if proxy.outbound {
        let (link, keeping) = outbound::Link::new(house, proxy)?;
        return Some(Kept { task: tokio::spawn(keeping.keep()), outbound: Some(link) });
    }
    let link = inbound::Link::new(house.clone(), proxy)?;
    Some(Kept { task: tokio::spawn(link.keep()), outbound: None })
}

impl House {
    /// `edges`: to those who serve.
    fn new(upstreams: Vec<SocketAddr>, edges: Vec<OwnedFd>) -> io::Result<Self> {
        Ok(Self {
            hands: Hands::new(edges)?,
            dns: Arc::new(Dns::new(upstreams)),
            streams: Arc::new(Semaphore::new(limits::STREAMS)),
            dials: Semaphore::new(limits::DIALS),
            outbound: Mutex::default(),
        })
    }

    /// The links with outbound proxies.
    fn outbound(&self) -> Vec<Arc<outbound::Link>> {
        self.outbound.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take_edge(self: &Arc<Self>, name: EdgeName, edge: OwnedFd) {
        let taken = match name {
            EdgeName::Dials => Exchange::new(edge).map(|exchange| {
                tokio::spawn(outbound::answer(self.clone(), exchange));
            }),
            name => self.hands.replace(name, edge),
        };
        if let Err(error) = taken {
            warn!(%error, ?name, "a new edge cannot be used");
        }
    }
}
