//! What the stories of `mx` and `submission` have in common: what can go wrong before they serve, and what they
//! do between serving and ending.

use std::fmt;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use filter_sandbox::ConfineError;
use filter_sandbox::edge::EdgeError;
use filter_sandbox::filter::{Filter, FilterLimits};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tracing::{error, info, warn};
use wire::control::{Control, Controls, EdgeName};
use wire::handed::Door;
use wire::logins::Apart;
use wire::sasl::Offer;
use wire::tls::{BadCertificate, CertificatePem, Tls};

use crate::authentication::Verifier;
use crate::budget::Budget;
use crate::desk::{Desk, SecondOpinion};
use crate::limits;
use crate::listen::{self, Doors};
use crate::peers::Keeper;
use crate::returning::{Marks, MarksKey};
use crate::session::{Rules, Service};

/// What both roles are told at their start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// Our name in greetings, Received and Authentication-Results.
    pub host: String,
    /// The domain of `<postmaster>`, lower-case.
    pub domain: String,
    /// Largest message in bytes; [`limits::LARGEST_MESSAGE`] by default.
    pub largest: u64,
    /// Bytes of mail this role may have in flight: of an eighth of the memory (at least two largest messages), half
    /// for `mx` and half for `submission`.
    pub budget: u64,
    /// Who may go without TLS: `*`, or domains of clients or senders. Normally nobody.
    pub clear_text: Vec<String>,
    /// The mechanisms of a login.
    pub offer: Offer,
    /// The certificate to begin with.
    pub certificate: CertificatePem,
    /// Workers kept waiting (`mx`: 4, or 1 on a small board; `submission`: 0, made on demand).
    pub ready_workers: usize,
    /// Workers at work at once.
    pub concurrent_workers: usize,
    /// Seconds one worker gets for one letter.
    pub worker_seconds: u64,
    /// Marks what aliases pass on, so that it is known when it comes back.
    pub marks: MarksKey,
}

/// Why a role cannot serve. Its last word on standard error; `up` starts it again.
#[derive(Debug)]
pub enum Fault {
    /// A wall could not be raised.
    Confine(ConfineError),
    /// `up` sent no start packet.
    Start(EdgeError),
    /// The start packet came without one of its descriptors.
    Missing(&'static str),
    /// The certificate is of no use: configuration.
    Certificate(BadCertificate),
    /// The resolver's client could not be made.
    Resolver(String),
    /// It served, and cannot any more.
    Broken(&'static str),
    /// The kernel's.
    Io(std::io::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confine(error) => write!(f, "{error}"),
            Self::Start(error) => write!(f, "no start from `postern up`: {error}"),
            Self::Missing(what) => write!(f, "started without its {what}"),
            Self::Certificate(error) => write!(f, "{error}"),
            Self::Resolver(error) => write!(f, "cannot ask DNS: {error}"),
            Self::Broken(why) => f.write_str(why),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// Says how a role ended.
pub fn end(role: &str, outcome: Result<(), Fault>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            error!(role, reason = %fault, "cannot serve");
            ExitCode::FAILURE
        }
    }
}

/// The descriptors of the start packet, sorted.
#[derive(Debug)]
pub struct Descriptors {
    /// One or more.
    pub listeners: Vec<OwnedFd>,
    /// The keeper's edge.
    pub keeper: OwnedFd,
    /// The zygote's.
    pub zygote: OwnedFd,
    /// That of `link`.
    pub handed: OwnedFd,
}

/// Sorts them.
///
/// # Errors
/// [`Fault::Missing`].
pub fn descriptors(mut fds: Vec<OwnedFd>) -> Result<Descriptors, Fault> {
    let handed = fds.pop().ok_or(Fault::Missing("way from the link"))?;
    let zygote = fds.pop().ok_or(Fault::Missing("zygote"))?;
    let keeper = fds.pop().ok_or(Fault::Missing("keeper"))?;
    if fds.is_empty() {
        return Err(Fault::Missing("listeners"));
    }
    Ok(Descriptors { listeners: fds, keeper, zygote, handed })
}

/// So many threads for sessions, since boards have few cores; more come only to seal, sign and write. With two, each wakes
/// the other for what it could as well do itself: only `mx`, which checks strangers' signatures there, has them.
///
/// # Errors
/// The kernel's.
pub fn runtime(sessions: usize) -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(sessions).max_blocking_threads(64).enable_all().build()
}

/// Lays out what all sessions share. `verifier` and `second_opinion` are `mx`'s.
///
/// # Errors
/// [`Fault`].
pub fn desk(
    settings: Settings,
    service: Service,
    keeper: Keeper,
    zygote: OwnedFd,
    verifier: Option<Arc<Verifier>>,
    second_opinion: Option<SecondOpinion>,
) -> Result<Arc<Desk>, Fault> {
    let filter = FilterLimits {
        ready: settings.ready_workers,
        concurrent: settings.concurrent_workers,
        deadline: Duration::from_secs(settings.worker_seconds),
        // Our fields in front come on top.
        largest: usize::try_from(settings.largest).unwrap_or(usize::MAX).saturating_add(64 * 1024),
    };
    let clear_text = settings.clear_text.iter().map(|name| name.trim_start_matches('.').to_lowercase()).collect();
    let Settings { host, domain, largest, offer, .. } = settings;
    let rules = Rules { service, host, domain, largest, clear_text, offer };
    Ok(Arc::new(Desk {
        rules: Arc::new(rules),
        tls: Tls::new(&settings.certificate).map_err(Fault::Certificate)?,
        budget: Budget::new(settings.budget, settings.largest),
        filter: Filter::new(zygote.into(), filter)?,
        second_opinion,
        marks: Marks::new(&settings.marks),
        verifier,
        logins: Apart::default(),
        keeper: watch::Sender::new(Some(keeper)),
        drain: watch::Sender::new(None),
        broken: watch::Sender::new(None),
    }))
}

/// Follows what `up` says until it says drain, or is gone.
///
/// # Errors
/// [`Fault::Broken`].
pub async fn follow(
    desk: &Arc<Desk>,
    controls: &Controls,
    doors: &Doors,
    take_keeper: impl Fn(OwnedFd) -> std::io::Result<Keeper>,
) -> Result<(), Fault> {
    let cannot_go_on = desk.cannot_go_on();
    tokio::pin!(cannot_go_on);
    loop {
        let news = tokio::select! {
            news = controls.next() => news,
            why = &mut cannot_go_on => return Err(Fault::Broken(why)),
        };
        let Some((control, mut with)) = news else { return Ok(()) };
        match (control, with.pop()) {
            (Control::Edge(EdgeName::Keeper), Some(fd)) => match take_keeper(fd) {
                Ok(keeper) => drop(desk.keeper.send_replace(Some(keeper))),
                Err(error) => warn!(%error, "the new keeper's socket is of no use"),
            },
            (Control::Edge(EdgeName::Zygote), Some(fd)) => {
                if let Err(error) = desk.filter.replace(fd.into()) {
                    warn!(%error, "the new zygote's socket is of no use");
                }
            }
            (Control::Edge(EdgeName::Scanner), Some(fd)) => {
                let replaced = desk.second_opinion.as_ref().map(|second| second.scans.replace(fd.into()));
                if let Some(Err(error)) = replaced {
                    warn!(%error, "the new scanner's socket is of no use");
                }
            }
            (Control::Edge(EdgeName::HandToMx | EdgeName::HandToSubmission), Some(fd)) => match Door::new(fd) {
                Ok(door) => drop(tokio::spawn(listen::take(desk.clone(), door, doors.clone()))),
                Err(error) => warn!(%error, "the new link's socket is of no use"),
            },
            (Control::Certificate(certificate), _) => match desk.tls.reload(&certificate) {
                Ok(()) => info!("certificate reloaded"),
                Err(error) => warn!(%error, "the new certificate is of no use; the old one stays"),
            },
            (Control::Drain, _) => {
                desk.drain.send_replace(Some(tokio::time::Instant::now()));
                let _ = tokio::time::timeout(limits::DRAIN + limits::LAST_WORDS, doors.empty()).await;
                return Ok(());
            }
            (other, _) => warn!(?other, "not for this role"),
        }
    }
}
