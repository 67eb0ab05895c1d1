//! The `imapd-login` role: port 993 up to the login, and after it a relay of bytes nobody here looks at.
//!
//! # What it reads from hostile hands
//! TLS handshakes and records, and IMAP commands of strangers: a few, short ones.
//! # What it holds
//! Its listener, its TLS key, the right to try logins ([`spool::edges::login::Login`]), the right to hand a login to
//! its owner's process; one identity at a time, for the instant of a login.
//! # What it can never do
//! Open a letter, ask for a folder, connect anywhere, see a file.
//! # RFCs
//! 3501 §6.1 and §6.2, 2971, 4616, 4959, 5802, 7677, 7888, 9266; TLS from the first byte (8314).

mod admission;
mod dialogue;
mod doors;
mod ending;
mod relay;
mod sasl;

use std::fmt::Display;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::{Arc, PoisonError, RwLock};

use filter_sandbox::edge::{AsyncEdge, Edge};
use filter_sandbox::{Confined, Role, confine};
use serde::{Deserialize, Serialize};
use spool::edges::login::Login;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::{Notify, watch};
use tracing::{debug, error, info, warn};
use wire::control::{Control, Controls, EdgeName, NEW_EDGE};
use wire::handed::{Arrived, Door};
use wire::logins::{Apart, Logins};
use wire::sasl::Offer;
use wire::tls::{CertificatePem, Tls};

use self::doors::{Doors, Place};
use crate::limits;

/// The start packet. Descriptors ride along: the listeners of port 993 (one or more), the Login edge to the keeper, the edge
/// to the owner zygote, that of `link`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    /// What connections are answered with.
    pub certificate: CertificatePem,
    /// Bytes of the largest message that APPEND takes: it is announced with the login.
    pub largest: u32,
    /// The mechanisms of a login.
    pub offer: Offer,
}

/// Threads: TLS of one fast download should not keep others waiting.
const THREADS: usize = 2;

/// The role.
#[must_use]
pub fn run() -> ExitCode {
    let served = confine(Role::Login).map_err(io::Error::other).and_then(|confined| {
        serve(confined, tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all())
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            error!(role = %Role::Login, %why, "cannot go on");
            ExitCode::FAILURE
        }
    }
}

fn serve(confined: Confined, runtime: &mut tokio::runtime::Builder) -> io::Result<()> {
    let (Start { certificate, largest, offer }, descriptors) =
        wire::control::start(&confined.control).map_err(io::Error::other)?;
    let mut descriptors = descriptors;
    let (handed, owners, keeper) = (descriptors.pop(), descriptors.pop(), descriptors.pop());
    let (Some(handed), Some(owners), Some(keeper), false) = (handed, owners, keeper, descriptors.is_empty()) else {
        return Err(io::Error::other("the start packet lacks descriptors"));
    };
    let tls = Tls::new(&certificate).map_err(io::Error::other)?;
    drop(certificate);
    runtime.build()?.block_on(async {
        let controls = Controls::new(confined.control)?;
        let house = Arc::new(House::new(tls, largest, offer, keeper, owners)?);
        tokio::spawn(house.clone().take(Door::new(handed)?));
        let listeners = descriptors.into_iter().map(listen).collect::<io::Result<Vec<_>>>()?;
        house.serve(listeners, &controls).await
    })
}

fn listen(listener: OwnedFd) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::from(listener);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Who calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    address: IpAddr,
    /// A proxy says so.
    handed: bool,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(f)?;
        if self.handed { f.write_str(" (a proxy says)") } else { Ok(()) }
    }
}

/// What all connections share.
pub(crate) struct House {
    tls: Tls,
    largest: u32,
    offer: Offer,
    keeper: RwLock<Arc<Login>>,
    owners: RwLock<Arc<AsyncEdge>>,
    logins: Apart,
    doors: Doors,
    draining: watch::Sender<bool>,
    /// A listener listens no more.
    shut: Notify,
}

impl House {
    fn new(tls: Tls, largest: u32, offer: Offer, keeper: OwnedFd, owners: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            tls,
            largest,
            offer,
            keeper: RwLock::new(Arc::new(Login::new(keeper.into())?)),
            owners: RwLock::new(Arc::new(AsyncEdge::new(owners.into())?)),
            logins: Apart::default(),
            doors: Doors::default(),
            draining: watch::channel(false).0,
            shut: Notify::new(),
        })
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    self.clone().arrive(Arrived::Here(stream), peer.ip());
                }
                // Only this role can have done that to it: the next one gets it listening again.
                Err(why) if why.kind() == io::ErrorKind::InvalidInput => return self.shut.notify_one(),
                // Out of descriptors or a connection that is gone already: never a reason to spin.
                Err(why) => {
                    warn!(%why, "a connection was not accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// What `link` hands on, until that ends.
    async fn take(self: Arc<Self>, door: Door) {
        let mut draining = self.draining.subscribe();
        loop {
            let next = tokio::select! {
                biased;
                _ = draining.wait_for(|draining| *draining) => return,
                next = door.next() => next,
            };
            let Some((handed, stream)) = next else { return };
            debug!(client = %handed.client, proxy = handed.proxy, "came through a proxy");
            let is_served = self.clone().arrive(Arrived::Handed(stream), handed.client.ip().to_canonical());
            door.answer(handed.number, is_served).await;
        }
    }

    async fn serve(self: Arc<Self>, listeners: Vec<TcpListener>, controls: &Controls) -> io::Result<()> {
        let doors: Vec<_> = listeners.into_iter().map(|listener| tokio::spawn(self.clone().accept(listener))).collect();
        let cannot_go_on = self.cannot_go_on();
        tokio::pin!(cannot_go_on);
        loop {
            let news = tokio::select! {
                news = controls.next() => news,
                why = &mut cannot_go_on => return Err(io::Error::other(why)),
            };
            match news {
                Some((Control::Drain, _)) => break,
                Some((news, with)) => self.clone().hear(news, with),
                None => return Ok(()),
            }
        }
        doors.iter().for_each(tokio::task::JoinHandle::abort);
        self.draining.send_replace(true);
        while self.doors.open() > 0 {
            tokio::select! {
                news = controls.next() => if news.is_none() { return Ok(()) },
                () = tokio::time::sleep(std::time::Duration::from_millis(20)) => {}
            }
        }
        Ok(())
    }

    /// Returns, with the reason, once this role can only be started again: a listener listens no more, or an edge has
    /// been closed and nobody sends a new one.
    async fn cannot_go_on(&self) -> &'static str {
        tokio::select! {
            () = self.shut.notified() => "a listener was shut down",
            () = lost(|| self.keeper(), |keeper| async move { keeper.closed().await }) => {
                "the keeper has closed its edge, and there is no new one"
            }
            () = lost(|| self.owners(), closed) => "the owners' zygote has closed its edge, and there is no new one",
        }
    }

    fn hear(self: Arc<Self>, news: Control, with: Vec<OwnedFd>) {
        let edge = with.into_iter().next().map(Edge::from);
        match (news, edge) {
            (Control::Edge(EdgeName::HandToLogin), Some(edge)) => match Door::new(edge.into()) {
                Ok(door) => drop(tokio::spawn(self.take(door))),
                Err(why) => warn!(%why, "a new edge cannot be used"),
            },
            (Control::Certificate(certificate), _) => match self.tls.reload(&certificate) {
                Ok(()) => info!("new connections use the new certificate"),
                Err(why) => warn!(%why, "the old certificate stays in use"),
            },
            (Control::Edge(EdgeName::Keeper), Some(edge)) => replace(&self.keeper, Login::new(edge)),
            (Control::Edge(EdgeName::Owners), Some(edge)) => replace(&self.owners, AsyncEdge::new(edge)),
            _ => {}
        }
    }

    /// Whether there is a place for it.
    fn arrive(self: Arc<Self>, stream: Arrived, peer: IpAddr) -> bool {
        let handed = matches!(stream, Arrived::Handed(_));
        let Some(place) = self.doors.enter(peer, handed) else {
            debug!(%peer, "too many connections");
            return false;
        };
        tokio::spawn(async move {
            let session = wire::log::session();
            if let Err(why) = self.connection(stream, Peer { address: peer, handed }, session, place).await {
                debug!(session, %peer, %why, "a connection ended");
            }
        });
        true
    }

    async fn connection(&self, stream: Arrived, peer: Peer, session: u32, mut place: Place) -> io::Result<()> {
        stream.set_nodelay()?;
        let mut draining = self.draining.subscribe();
        let (stream, binding) = tokio::select! {
            accepted = self.tls.accept(stream) => accepted?,
            // Nothing can be said before the handshake.
            _ = draining.wait_for(|draining| *draining) => return Ok(()),
        };
        let stranger = dialogue::Stranger::new(self, stream, self.offer.binding(binding), peer, session);
        let Some(entry) = stranger.talk().await? else { return Ok(()) };
        place.known();
        let owner = UnixStream::from_std(entry.owner.stream)?;
        relay::relay(entry.stream, owner, entry.ahead, Some(entry.owner.kept), limits::STALLED).await
    }

    fn keeper(&self) -> Arc<Login> {
        self.keeper.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn owners(&self) -> Arc<AsyncEdge> {
        self.owners.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn logins<T>(&self, peer: Peer, with: impl FnOnce(&mut Logins, IpAddr) -> T) -> T {
        self.logins.with(peer.handed, |logins| with(logins, peer.address))
    }
}

/// Returns once an end of an edge has been closed for [`NEW_EDGE`] and no other has taken its place.
async fn lost<T, F: Future<Output = ()>>(current: impl Fn() -> Arc<T>, closed: impl Fn(Arc<T>) -> F) {
    loop {
        let held = current();
        closed(held.clone()).await;
        tokio::time::sleep(NEW_EDGE).await;
        if Arc::ptr_eq(&held, &current()) {
            return;
        }
    }
}

/// The owners' zygote answers nothing on its edge: what comes is the end.
async fn closed(owners: Arc<AsyncEdge>) {
    while owners.recv::<()>().await.is_ok() {}
}

fn replace<T, E: Display>(place: &RwLock<Arc<T>>, fresh: Result<T, E>) {
    match fresh {
        Ok(fresh) => *place.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh),
        Err(why) => warn!(%why, "a new edge cannot be used"),
    }
}
