//! `postern role courier`: sends what leaves.
//!
//! Hostile input: far servers' replies and certificates, DNS answers, MTA-STS policies; its workers' reports.
//! Holds: an `Outbox` (what waits to leave, and nothing else of the spool), `Notices` to senders here, its zygote's
//! edge, the outgoing identity, the DKIM keys.
//! Can never: read a letter that was delivered here, open a mailbox, accept a connection, write a file; send a letter in
//! clear where the configuration does not allow it.
//! Speaks: RFC 5321 as a client with RFC 1652, 1870, 2920, 3030, 3207, 3461, 6531, 8689; RFC 7672, 8461; RFC 6376, 8463,
//! 8617 (seals what is passed on), 3464.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use filter_sandbox::Role;
use filter_sandbox::filter::{Filter, FilterLimits};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use spool::edges::outbox::Outbox;
use spool::keys::{Identities, Identity};
use spool::names::MailboxId;
use spool::srs::Rewriter;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::warn;
use wire::control::{Control, Controls, EdgeName, NEW_EDGE};
use wire::dialled::Dialler;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::destination::Own;
use super::dns::Dns;
use super::engine::Courier;
use super::memory::Memory;
use super::outside::Outside;
use super::reach::House;
use crate::peers::Keeper;
use crate::role::{self, Fault};

/// Bytes of the file of authorities; those of the large systems have a quarter of this.
const AUTHORITIES: u64 = 4 * 1024 * 1024;
/// A notice: the part of the letter that is returned, and words.
const NOTICE: usize = 1024 * 1024;
/// What stands in front of a letter that waits: our fields, and Return-Path.
const FRONT: usize = 64 * 1024;
/// SMTP between servers.
const PORT: u16 = 25;

/// The start packet; the DKIM keys follow it ([`Control::signing`]). Its descriptors, in order: the `Outbox` edge, the `Notices` edge, the zygote's edge, the edge to `link`, and if there
/// is one the file of the authorities that are believed.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Start {
    /// Our name in EHLO and notices.
    #[zeroize(skip)]
    pub host: String,
    /// The domain of the postmaster that notices come from.
    #[zeroize(skip)]
    pub domain: String,
    /// Addresses that we listen on.
    #[zeroize(skip)]
    pub own_addresses: Vec<IpAddr>,
    /// Addresses inside houses are connected to.
    #[zeroize(skip)]
    pub inner: bool,
    /// When an outbound proxy gives no connection, letters leave from here.
    #[zeroize(skip)]
    pub past_proxy: bool,
    /// Resolvers to ask, in order.
    #[zeroize(skip)]
    pub upstreams: Vec<SocketAddr>,
    /// They validate DNSSEC, and the way to them is safe.
    #[zeroize(skip)]
    pub dns_validates: bool,
    /// Domains that may get mail in clear, or `*`.
    #[zeroize(skip)]
    pub clear_text: Vec<String>,
    /// Opens what waits.
    pub identity: [u8; 32],
    /// Rewrites the senders of what aliases pass on.
    pub srs_key: [u8; 32],
    /// Bytes of letters in memory.
    pub memory: u64,
    /// Bytes of the largest letter that this house takes: such a one may wait while its domain moves in.
    pub largest: u64,
    /// Seconds one worker gets for one letter.
    pub worker_seconds: u64,
}

impl std::fmt::Debug for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Start").field("host", &self.host).field("upstreams", &self.upstreams).finish_non_exhaustive()
    }
}

/// The role, from its first instruction to its last.
#[must_use]
pub fn run() -> ExitCode {
    role::end("courier", story())
}

fn story() -> Result<(), Fault> {
    let confined = filter_sandbox::confine(Role::Courier).map_err(Fault::Confine)?;
    let (start, fds) = wire::control::start::<Start>(&confined.control).map_err(Fault::Start)?;
    let mut fds = fds.into_iter();
    let outbox = fds.next().ok_or(Fault::Missing("outbox"))?;
    let notices = fds.next().ok_or(Fault::Missing("notices"))?;
    let zygote = fds.next().ok_or(Fault::Missing("zygote"))?;
    let dials = fds.next().ok_or(Fault::Missing("link"))?;
    let roots = Arc::new(fds.next().map_or_else(RootCertStore::empty, authorities));
    role::runtime(1)?.block_on(async {
        let controls = Controls::new(confined.control)?;
        let courier = courier(&start, roots, (zygote, dials))?;
        drop(start);
        follow(&courier, &controls, (outbox, notices)).await
    })
}

fn courier(
    start: &Start,
    roots: Arc<RootCertStore>,
    (zygote, dials): (OwnedFd, OwnedFd),
) -> Result<Arc<Courier<Outside>>, Fault> {
    let letters = usize::try_from(start.largest).unwrap_or(usize::MAX).saturating_add(FRONT);
    let filter = FilterLimits {
        ready: 0,
        concurrent: 2,
        deadline: Duration::from_secs(start.worker_seconds),
        largest: letters.max(NOTICE),
    };
    let identity =
        Identity::from_bytes(&start.identity).map_err(|_| Fault::Broken("the outgoing identity is no key"))?;
    let own =
        Own { names: vec![start.host.to_lowercase()], addresses: start.own_addresses.clone(), inner: start.inner };
    let dns = Dns::new(start.upstreams.clone(), start.dns_validates);
    let house = House { hello: start.host.clone(), own: own.clone(), roots: roots.clone(), port: PORT };
    Ok(Courier::new(
        Outside::new(dns, own, roots, (Dialler::new(dials)?, start.past_proxy)),
        house,
        (start.domain.clone(), start.clear_text.clone()),
        Rewriter::new(&start.srs_key, &start.domain),
        Identities::first(MailboxId(0), identity),
        Filter::new(zygote.into(), filter)?,
        Memory::new(start.memory),
    ))
}

/// Those of the file that are certificates.
fn authorities(file: OwnedFd) -> RootCertStore {
    let (mut roots, mut text) = (RootCertStore::empty(), Vec::new());
    if let Err(error) = File::from(file).take(AUTHORITIES).read_to_end(&mut text) {
        warn!(%error, "the authorities cannot be read: no MTA-STS policy can be fetched");
    }
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&text).flatten());
    roots
}

/// Serves one keeper after another, and follows what `up` says, until it says drain, or is gone.
async fn follow(
    courier: &Arc<Courier<Outside>>,
    controls: &Controls,
    (outbox, notices): (OwnedFd, OwnedFd),
) -> Result<(), Fault> {
    let drain = watch::Sender::new(false);
    let mut ends = (Some(outbox), Some(notices));
    let mut serving = tokio::task::JoinSet::new();
    let mut given_up: Option<Instant> = None;
    // Nothing leaves before the keys have come: they follow the start packet.
    let (mut is_signing, mut keys) = (false, Vec::new());
    loop {
        if is_signing
            && let (Some(_), Some(_)) = &ends
            && let (Some(outbox), Some(notices)) = std::mem::take(&mut ends)
        {
            // The keeper before is gone, and with it what was on the way.
            serving.shutdown().await;
            let (heard, news) = mpsc::channel(4);
            let (outbox, keeper) = (Outbox::new(outbox.into(), heard)?, Keeper::courier(notices)?);
            let (courier, drained) = (courier.clone(), drain.subscribe());
            given_up = None;
            serving.spawn(async move {
                let outbox = Arc::new(outbox);
                if courier.world.recall(&outbox).await.is_err() {
                    return;
                }
                tokio::select! {
                    () = courier.serve(outbox.clone(), news, keeper, drained) => {}
                    Err(_) = courier.world.keep(&outbox) => {}
                    never = courier.world.refresh() => match never {},
                }
            });
        }
        let news = tokio::select! {
            news = controls.next() => news,
            Some(_) = serving.join_next() => {
                given_up = Some(Instant::now() + NEW_EDGE);
                continue;
            }
            () = sleep_until(given_up.unwrap_or_else(Instant::now)), if given_up.is_some() => {
                return Err(Fault::Broken("the keeper has closed its edges, and there are no new ones"));
            }
        };
        let Some((control, mut with)) = news else { return Ok(()) };
        match (control, with.pop()) {
            (Control::Edge(EdgeName::Outbox), Some(fd)) => ends.0 = Some(fd),
            (Control::Edge(EdgeName::Notices), Some(fd)) => ends.1 = Some(fd),
            (Control::Edge(EdgeName::Zygote), Some(fd)) => {
                if let Err(error) = courier.filter.replace(fd.into()) {
                    warn!(%error, "the new zygote's socket is of no use");
                }
            }
            (Control::Edge(EdgeName::Dials), Some(fd)) => {
                if let Err(error) = courier.world.dialler.replace(fd) {
                    warn!(%error, "the new edge to `link` is of no use");
                }
            }
            (Control::ThroughProxy(through), _) => courier.world.leave_through_proxy(through),
            (Control::Signing { keys: some, more }, _) => {
                keys.extend(some);
                if !more {
                    courier.sign_with(&std::mem::take(&mut keys));
                    is_signing = true;
                }
            }
            (Control::Drain, _) => {
                drain.send_replace(true);
                while serving.join_next().await.is_some() {}
                return Ok(());
            }
            (other, _) => warn!(?other, "not for this role"),
        }
    }
}
