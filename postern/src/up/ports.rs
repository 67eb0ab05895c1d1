//! Binding: the real port where that is allowed and free, else, service by service, the same port + 10000 on loopback.

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
        return Ok(Bound { service, listeners, instead: None });
    }
    let (address, error) = match listen_until(&config.bind, port, until) {
        Ok(listeners) => return Ok(Bound { service, listeners, instead: None }),
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
        let each = addresses.iter().map(|ip| listen_on((*ip, port).into(), true));
        return each.collect();
    }
    let everything: SocketAddr = (Ipv6Addr::UNSPECIFIED, port).into();
    match listen_on(everything, false) {
        Ok(listener) => Ok(vec![listener]),
        Err((_, Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)) => {
            listen_on((Ipv4Addr::UNSPECIFIED, port).into(), true).map(|listener| vec![listener])
        }
        Err(refused) => Err(refused),
    }
}

fn listen_on(address: SocketAddr, only: bool) -> Result<TcpListener, (SocketAddr, Errno)> {
    let open = || {
        let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, only)?;
        }
        rustix::net::bind(&socket, &address)?;
        listener::only_answers(socket.as_fd())?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    open().map_err(|errno| (address, errno))
}
