//! What each role is told and given at its start: nothing else ever reaches it but news on its control edge.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use filter_sandbox::edge::{Edge, EdgeError};
use filter_sandbox::launch::Dns;
use filter_sandbox::role::Role;
use serde::Serialize;
use smtpd::returning::MarksKey;
use smtpd::role::Settings;
use spool::keeper::EdgeKind;
use spool::keeper::start::Outgoing;
use wire::control::{Control, SigningKey};
use wire::sasl::Offer;
use wire::tls::CertificatePem;

use super::link::Proxies;
use super::ports::{Bound, Service};
use crate::box_key::Secret;
use crate::config::{Config, WhenItFails};
use crate::edges::{Carries, EDGES, RoleRow};
use crate::told::Told;

/// Everything the roles are made from.
#[derive(Debug)]
pub struct Parts {
    /// The configuration.
    pub config: Config,
    /// The spool's directory; only the keeper enters it.
    pub spool: OwnedFd,
    /// The listening admin socket; `None`: there was no place for it.
    pub admin: Option<OwnedFd>,
    /// What one keeper leaves to the next; never read here.
    pub left: OwnedFd,
    /// The services' listeners.
    pub bound: Vec<Bound>,
    /// For the listeners.
    pub certificate: CertificatePem,
    /// The mechanisms of logins.
    pub offer: Offer,
    /// For the other commands.
    pub told: Told,
    /// For the keeper's journal.
    pub index_key: Secret,
    /// DNS servers.
    pub dns: Vec<SocketAddr>,
    /// The secret of what letters that leave are sealed to.
    pub outgoing: Secret,
    /// Its public half.
    pub outgoing_public: String,
    /// Rewrites the senders of what aliases pass on.
    pub srs_key: Secret,
    /// Marks what they pass on.
    pub marks_key: Secret,
    /// DKIM.
    pub signing: Vec<SigningKey>,
    /// The proxies this house is paired with.
    pub pairings: Proxies,
    /// The file of the authorities that are believed.
    pub authorities: Option<PathBuf>,
}

impl Parts {
    /// Sends a role its start packet. `ends` are its ends of its edges, in the table's order.
    ///
    /// # Errors
    /// The edge's.
    pub fn send_start(&self, role: Role, control: &Edge, ends: &[Edge], dns: Option<&Dns>) -> Result<(), EdgeError> {
        let ends = ends.iter().map(AsFd::as_fd);
        match role {
            Role::Keeper => {
                let admin = self.admin.iter().map(|_| EdgeKind::AdminListener);
                let edges = admin.chain([EdgeKind::Left]).chain(keepers_edges()).collect();
                let start = spool::keeper::Start {
                    index_key: *self.index_key,
                    domains: self.config.domains.clone(),
                    default_quota: self.config.quota(),
                    allowance: self.config.allowance.limits(),
                    new_journal: false,
                    told: self.told.to_text(),
                    outgoing: Some(Outgoing {
                        generation: 1,
                        public_key: self.outgoing_public.clone(),
                        srs_key: *self.srs_key,
                    }),
                    manner: spool::keeper::Manner::Serve,
                    edges,
                    left: None,
                };
                let given = self.admin.iter().map(AsFd::as_fd).chain([self.left.as_fd()]);
                send(control, &start, given.chain(ends))
            }
            Role::Mx => send(control, &self.mx(), self.listeners(Service::Smtp).chain(ends)),
            Role::Submission => {
                let listeners = self.listeners(Service::Submissions).chain(self.listeners(Service::Submission));
                send(control, &self.submission(), listeners.chain(ends))
            }
            Role::Courier => {
                let authorities = self.authorities();
                send(control, &self.courier(), ends.chain(authorities.iter().map(AsFd::as_fd)))?;
                // Before the keys, without which nothing leaves.
                send(control, &Control::ThroughProxy(self.pairings.outbound), std::iter::empty())?;
                Control::signing(&self.signing).try_for_each(|some| send(control, &some, std::iter::empty()))
            }
            Role::Login => send(control, &self.login(), self.listeners(Service::Imaps).chain(ends)),
            Role::OwnerZygote => send(control, &imapd::owner::Start { bounds: self.appending() }, ends),
            Role::Link => {
                send(control, &relay_link::link::Start::Serve { upstreams: self.dns.clone() }, ends)?;
                send(control, &Control::Pairings(self.pairings.all.clone()), std::iter::empty())
            }
            Role::Resolver => {
                let start = wire::resolver::Start { upstreams: self.dns.clone() };
                send(control, &start, dns.into_iter().flat_map(|dns| [dns.udp.as_fd(), dns.tcp.as_fd()]))
            }
            zygote => {
                // One of them tries its own walls; they are all made alike.
                let start = filter_sandbox::zygote::Start { self_test: zygote == Role::MxZygote };
                send(control, &start, ends)
            }
        }
    }

    /// Sees to it that a role's listeners listen: the last one may have been taken over and have shut them down.
    ///
    /// # Errors
    /// The kernel's.
    pub fn listen_again(&self, row: &RoleRow) -> Result<(), rustix::io::Errno> {
        self.bound.iter().filter(|bound| row.serves.contains(&bound.service)).try_for_each(Bound::listen_again)
    }

    fn listeners(&self, service: Service) -> impl Iterator<Item = BorrowedFd<'_>> {
        let bound = self.bound.iter().filter(move |bound| bound.service == service);
        bound.flat_map(|bound| bound.listeners.iter().map(AsFd::as_fd))
    }
}

fn send<'a>(
    control: &Edge,
    start: &impl Serialize,
    with: impl Iterator<Item = BorrowedFd<'a>>,
) -> Result<(), EdgeError> {
    control.send(start, &with.collect::<Vec<_>>())
}

/// What the keeper's ends are, in the table's order.
fn keepers_edges() -> impl Iterator<Item = EdgeKind> {
    EDGES.iter().filter(|edge| edge.server == Role::Keeper).map(|edge| match (edge.carries, edge.client) {
        (Carries::Deposit, _) => EdgeKind::Deposit,
        (Carries::Outbox, _) => EdgeKind::Outbox,
        (Carries::Notices, _) => EdgeKind::Notices,
        (_, Role::Submission) => EdgeKind::SubmissionLogin,
        _ => EdgeKind::ImapLogin,
    })
}

/// Seconds a worker gets for one letter.
const WORKER_SECONDS: u64 = 30;
/// Seconds an external scanner gets for one letter: about one is usual on a fast machine.
const SCANNER_SECONDS: u64 = 60;

/// The addresses that are ours: those we listen on, and where that is any, all of this machine.
fn own_addresses(bound: &[IpAddr]) -> Vec<IpAddr> {
    let mut own: Vec<IpAddr> = bound.iter().copied().filter(|address| !address.is_unspecified()).collect();
    if own.len() < bound.len() {
        own.extend(crate::house_addresses::every());
    }
    own
}

impl Parts {
    fn mx(&self) -> smtpd::mx::Start {
        let ready_workers = if crate::config::small_board() { 1 } else { 4 };
        let scanning = self.config.scanner.as_ref().map(|scanner| smtpd::mx::Scanning {
            concurrent: if crate::config::small_board() { 1 } else { 2 },
            seconds: SCANNER_SECONDS,
            needed: scanner.when_it_fails == WhenItFails::ComeAgain,
        });
        smtpd::mx::Start { settings: Settings { ready_workers, ..self.settings() }, scanning }
    }

    fn submission(&self) -> smtpd::submission::Start {
        smtpd::submission::Start { settings: self.settings() }
    }

    fn courier(&self) -> smtpd::courier::role::Start {
        let bound: Vec<_> = self.bound.iter().flat_map(|bound| bound.addresses()).map(|address| address.ip()).collect();
        smtpd::courier::role::Start {
            host: self.config.hostname(),
            domain: self.config.default_domain().to_owned(),
            own_addresses: own_addresses(&bound),
            inner: self.config.private_destinations,
            past_proxy: self.config.send_past_proxy,
            upstreams: self.dns.clone(),
            dns_validates: self.config.dns_validates,
            clear_text: self.config.clear_text.clone(),
            identity: *self.outgoing,
            srs_key: *self.srs_key,
            memory: self.config.budget() / 4,
            largest: self.config.largest_message(),
            worker_seconds: WORKER_SECONDS,
        }
    }

    /// Read from its beginning by each courier.
    fn authorities(&self) -> Option<File> {
        File::open(self.authorities.as_ref()?).ok()
    }

    fn login(&self) -> imapd::login::Start {
        let (certificate, offer) = (self.certificate.clone(), self.offer.clone());
        imapd::login::Start { certificate, largest: self.appending().largest, offer }
    }

    /// As for SMTP (DESIGN section 4): one mailbox may hold a quarter of the budget, or one largest message.
    fn appending(&self) -> imapd::owner::Bounds {
        let largest = u32::try_from(self.config.largest_message()).unwrap_or(u32::MAX);
        imapd::owner::Bounds { largest, budget: (self.config.budget() / 4).max(largest.into()) }
    }

    fn settings(&self) -> Settings {
        Settings {
            host: self.config.hostname(),
            domain: self.config.default_domain().to_owned(),
            largest: self.config.largest_message(),
            budget: self.config.budget() / 2,
            clear_text: self.config.clear_text.clone(),
            offer: self.offer.clone(),
            certificate: self.certificate.clone(),
            ready_workers: 0,
            concurrent_workers: if crate::config::small_board() { 2 } else { 8 },
            worker_seconds: WORKER_SECONDS,
            marks: MarksKey(*self.marks_key),
        }
    }
}
