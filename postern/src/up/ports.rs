//! Binding: the real port where that is allowed and free, else, service by service, the same port + 10000 on loopback.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use filter_sandbox::listener;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::config::Config;
use crate::failure::Failure;

/// Connections that wait to be accepted, a listener.
const BACKLOG: i32 = 1024;
/// What is added to a port that cannot be had.
pub const FALLBACK_OFFSET: u16 = 10_000;
/// Between two tries at a port that is taken.
const AGAIN: Duration = Duration::from_millis(20);

/// What the box serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Mail from other servers (RFC 5321).
    Smtp,
    /// Mail from mail apps, STARTTLS (RFC 6409).
    Submission,
    /// Mail from mail apps, TLS from the first byte (RFC 8314).
    Submissions,
    /// Mailboxes, TLS from the first byte (RFC 8314).
    Imaps,
}

impl Service {
    /// All, in the order of their ports.
    pub const ALL: [Self; 4] = [Self::Smtp, Self::Submissions, Self::Submission, Self::Imaps];

    /// Its name in `/etc/services`, logs and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Submission => "submission",
            Self::Submissions => "submissions",
            Self::Imaps => "imaps",
        }
    }

    /// Its registered port.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Smtp => 25,
            Self::Submission => 587,
            Self::Submissions => 465,
            Self::Imaps => 993,
        }
    }
}

/// A service's listeners.
#[derive(Debug)]
pub struct Bound {
    /// What is served there.
    pub service: Service,
    /// One or more, not blocking; kept by `up`, so that a role's restart refuses nobody.
    pub listeners: Vec<TcpListener>,
    /// Why it is not on its real port, in words.
    pub instead: Option<String>,
}

impl Bound {
    const fn at(service: Service, listeners: Vec<TcpListener>) -> Self {
        Self { service, listeners, instead: None }
    }

    /// Where it listens; at least one address.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }
}

impl Bound {
    /// Lets it listen, whatever the role that had it has done to it: the binding stays through a shutdown.
    ///
    /// # Errors
    /// The kernel's.
    pub fn listen_again(&self) -> Result<(), Errno> {
        self.listeners.iter().try_for_each(|socket| {
            rustix::net::listen(socket, BACKLOG).or_else(|_| {
                // In the middle of something that is no listening.
                rustix::net::connect_unspec(socket)?;
                rustix::net::listen(socket, BACKLOG)
            })
        })
    }
}

/// Binds all services.
///
/// # Errors
/// In words for the admin, when a port that was asked for, or both a real port and its stand-in, cannot be had.
pub fn bind(config: &Config) -> Result<Vec<Bound>, Failure> {
    bind_or_take(config, listener::handed_down(), Duration::ZERO)
}

/// As [`bind`], with listeners that were handed down: each takes the place of one that would be bound to its address.
/// Ports that are taken are tried again for `patience`.
///
/// # Errors
/// As [`bind`].
pub fn bind_or_take(config: &Config, mut handed: Vec<TcpListener>, patience: Duration) -> Result<Vec<Bound>, Failure> {
    let until = Instant::now() + patience;
    Service::ALL.into_iter().map(|service| bind_service(service, config, &mut handed, until)).collect()
}

fn bind_service(
    service: Service,
    config: &Config,
    handed: &mut Vec<TcpListener>,
    until: Instant,
) -> Result<Bound, Failure> {
    let port = service.port() + config.port_offset.unwrap_or(0);
    let taken =
        take(handed, &config.bind, port).map_err(|error| Failure::new(format!("{}: {error}", service.name())))?;
    if let Some(listeners) = taken {
        return Ok(Bound::at(service, listeners));
    }
    let (address, error) = match listen_until(&config.bind, port, until) {
        Ok(listeners) => return Ok(Bound::at(service, listeners)),
        // Who chooses ports is there to choose again; a box that starts before its network has nobody.
        Err((_, Errno::ADDRNOTAVAIL)) if config.port_offset.is_none() => match listen_ahead(&config.bind, service) {
            Ok(listeners) => return Ok(Bound::at(service, listeners)),
            Err(refused) => refused,
        },
        Err(refused) => refused,
    };
    let name = service.name();
    let refused = format!("{name}: {address}: {}", words(error));
    if config.port_offset.is_some() {
        return Err(Failure::new(format!("{refused}; choose another with --port-offset or --bind")));
    }
    let stand_in = service.port() + FALLBACK_OFFSET;
    match listen(&[Ipv4Addr::LOCALHOST.into()], stand_in) {
        Ok(listeners) => Ok(Bound { service, listeners, instead: Some(refused) }),
        Err((address, error)) => {
            Err(Failure::new(format!("{refused}; and {address}: {}; choose with --port-offset N", words(error))))
        }
    }
}

/// Those of the listeners handed down that serve `port`, when they are where the configuration wants it served.
fn take(handed: &mut Vec<TcpListener>, bind: &[IpAddr], port: u16) -> Result<Option<Vec<TcpListener>>, Errno> {
    let at = |listener: &TcpListener| listener.local_addr().ok().filter(|address| address.port() == port);
    let wanted = |ip: IpAddr| if bind.is_empty() { ip.is_unspecified() } else { bind.contains(&ip) };
    let ours: Vec<_> = handed.extract_if(.., |listener| at(listener).is_some_and(|at| wanted(at.ip()))).collect();
    if ours.is_empty() {
        return Ok(None);
    }
    for socket in &ours {
        rustix::io::ioctl_fionbio(socket, true)?;
        listener::only_answers(socket.as_fd())?;
        rustix::net::listen(socket, BACKLOG)?;
    }
    Ok(Some(ours))
}

/// What to do about it.
fn words(error: Errno) -> String {
    match error {
        Errno::ACCESS | Errno::PERM => {
            "not allowed here (ports under 1024 need root, the CAP_NET_BIND_SERVICE capability, or, for the packaged \
             service, the same address in `systemctl edit postern.socket` and postern-smtp.socket)"
                .to_owned()
        }
        Errno::ADDRINUSE => "taken by another program".to_owned(),
        Errno::ADDRNOTAVAIL => "this machine has no such address".to_owned(),
        other => other.to_string(),
    }
}

/// As [`listen`]; a port that is taken may become free before `until`.
fn listen_until(addresses: &[IpAddr], port: u16, until: Instant) -> Result<Vec<TcpListener>, (SocketAddr, Errno)> {
    loop {
        match listen(addresses, port) {
            Err((_, Errno::ADDRINUSE)) if Instant::now() < until => std::thread::sleep(AGAIN),
            other => return other,
        }
    }
}

/// Whether that is all there is, by IPv4 too: `::` alone, as most programs take it. Beside others it is what it says.
#[must_use]
pub fn is_everything(addresses: &[IpAddr]) -> bool {
    *addresses == [IpAddr::V6(Ipv6Addr::UNSPECIFIED)]
}

/// All of `addresses`, or one socket for everything when there are none.
fn listen(addresses: &[IpAddr], port: u16) -> Result<Vec<TcpListener>, (SocketAddr, Errno)> {
    if !addresses.is_empty() && !is_everything(addresses) {
        let each = addresses.iter().map(|ip| listen_on((*ip, port).into(), true, false));
        return each.collect();
    }
    let everything: SocketAddr = (Ipv6Addr::UNSPECIFIED, port).into();
    match listen_on(everything, false, false) {
        Ok(listener) => Ok(vec![listener]),
        Err((_, Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)) => {
            listen_on((Ipv4Addr::UNSPECIFIED, port).into(), true, false).map(|listener| vec![listener])
        }
        Err(refused) => Err(refused),
    }
}

/// All of `addresses`, those too that this machine does not have yet: what comes to them arrives as soon as it has. While it
/// has none of them its own programs are served where they are when a port cannot be had.
fn listen_ahead(addresses: &[IpAddr], service: Service) -> Result<Vec<TcpListener>, (SocketAddr, Errno)> {
    let each = addresses.iter().map(|ip| listen_on((*ip, service.port()).into(), true, true));
    let ahead = each.collect::<Result<Vec<_>, _>>()?;
    let nowhere = !addresses.iter().copied().any(is_here);
    let stand_in = nowhere.then(|| listen(&[Ipv4Addr::LOCALHOST.into()], service.port() + FALLBACK_OFFSET).ok());
    Ok(stand_in.flatten().into_iter().flatten().chain(ahead).collect())
}

const fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET }
}

/// Whether this machine has that address now.
#[must_use]
pub fn is_here(ip: IpAddr) -> bool {
    let socket = rustix::net::socket(family(ip), SocketType::STREAM, None);
    socket.and_then(|socket| rustix::net::bind(&socket, &SocketAddr::from((ip, 0)))) != Err(Errno::ADDRNOTAVAIL)
}

/// Addresses that are listened on and that this machine does not have yet.
#[derive(Debug)]
pub struct Awaited(BTreeSet<IpAddr>);

impl Awaited {
    /// Of these.
    #[must_use]
    pub fn of(bound: &[Bound]) -> Self {
        Self::among(bound.iter().flat_map(Bound::addresses))
    }

    /// Of these.
    pub fn among(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let all: BTreeSet<IpAddr> = addresses.into_iter().map(|address| address.ip()).collect();
        Self(all.into_iter().filter(|ip| !is_here(*ip)).collect())
    }

    /// In words; `None`: there are none.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        let all = self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let words = "this machine does not have now: mail and mail apps get through there once it has";
        (!self.0.is_empty()).then(|| format!("`bind` names {all}, which {words}"))
    }

    /// Says which of them has come.
    pub(super) fn look(&mut self) {
        for ip in self.0.extract_if(.., |ip| is_here(*ip)) {
            super::say(&format!("this machine has {ip} now: the box is reached there"));
        }
    }
}

/// `ahead`: also where this machine does not have that address yet.
fn listen_on(address: SocketAddr, only: bool, ahead: bool) -> Result<TcpListener, (SocketAddr, Errno)> {
    let open = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family(address.ip()), SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, only)?;
        }
        match (ahead, address.is_ipv6()) {
            (true, true) => sockopt::set_ipv6_freebind(&socket, true)?,
            (true, false) => sockopt::set_ip_freebind(&socket, true)?,
            (false, _) => {}
        }
        rustix::net::bind(&socket, &address)?;
        listener::only_answers(socket.as_fd())?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    open().map_err(|errno| (address, errno))
}
