//! `inbound-proxy run`: binds as whoever it was started as, starts the gate behind its walls, and waits for its end.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use filter_sandbox::{Launch, Role, Running};
use relay_link::limits::INBOUND_PORT;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use wire::control::Control;

use super::config::Config;
use super::folder::Folder;
use super::{Doing, Failure};
use crate::gate::{Entrance, Start};
use crate::limits;

/// Between two looks at the certificate's files.
const LOOK: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

pub(super) fn run(folder: &Folder, config: &Config) -> Result<ExitCode, Failure> {
    let key = folder.link_key()?;
    let certificate = folder.certificate(config)?;
    let (entrances, listeners) = bind(config)?;
    let running = start(folder)?;
    let start = Start {
        name: config.name(),
        key: key.pkcs8().to_vec(),
        certificate,
        upstreams: config.upstreams(),
        streets: config.streets.clone(),
        entrances,
    };
    let with: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
    running.control.send(&start, &with).doing(|| "the gate".to_owned())?;
    // What it accepts is its own; a second copy here would keep a port open after its end.
    drop(listeners);
    drop(start);
    watch(folder, config, &running)
}

fn start(folder: &Folder) -> Result<Running, Failure> {
    let what = || "cannot start the gate".to_owned();
    let exe = File::open("/proc/self/exe").doing(what)?;
    let state = File::open(folder.state()).doing(what)?;
    let stderr = std::io::stderr();
    let launch = Launch {
        role: Role::InboundProxy,
        exe: exe.as_fd(),
        args: &[],
        uid: rustix::process::geteuid().is_root().then(|| Role::InboundProxy.host_uid()),
        directory: Some(state.as_fd()),
        stderr: stderr.as_fd(),
    };
    launch.start().doing(what)
}

/// The ports of the gate.
const PORTS: [(Entrance, u16); 5] = [
    (Entrance::Mail, 25),
    (Entrance::Submission, 465),
    (Entrance::Imap, 993),
    (Entrance::Web, 443),
    (Entrance::Link, INBOUND_PORT),
];

/// Every port has to be had but 443, where a web server of the operator's own may live.
fn bind(config: &Config) -> Result<(Vec<Entrance>, Vec<TcpListener>), Failure> {
    let (mut entrances, mut listeners) = (Vec::new(), Vec::new());
    let mut handed = filter_sandbox::listener::handed_down();
    for (entrance, port) in PORTS {
        for address in addresses(config, port) {
            match listen(address, &mut handed) {
                Ok(listener) => {
                    entrances.push(entrance);
                    listeners.push(listener);
                }
                Err(error) if entrance == Entrance::Web => {
                    tracing::warn!(%address, %error, "homes have no web through this proxy");
                }
                Err(error) => {
                    let advice = "as root, or with CAP_NET_BIND_SERVICE, and nothing else on that port?";
                    return Err(Failure::new(format!("cannot listen on {address}: {error} ({advice})")));
                }
            }
        }
    }
    if let Some(address) = config.metrics {
        entrances.push(Entrance::Metrics);
        listeners.push(listen(address, &mut handed).doing(|| format!("metrics: {address}"))?);
    }
    Ok((entrances, listeners))
}

fn addresses(config: &Config, port: u16) -> Vec<SocketAddr> {
    if !config.bind.is_empty() {
        return config.bind.iter().map(|address| SocketAddr::new(*address, port)).collect();
    }
    let six = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let any: IpAddr =
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() { six.ip() } else { Ipv4Addr::UNSPECIFIED.into() };
    vec![SocketAddr::new(any, port)]
}

/// Binds, unless the service manager has done so.
fn listen(address: SocketAddr, handed: &mut Vec<TcpListener>) -> std::io::Result<TcpListener> {
    let ours = handed.iter().position(|listener| listener.local_addr().is_ok_and(|at| at == address));
    let listener = ours.map_or_else(|| TcpListener::bind(address), |place| Ok(handed.swap_remove(place)))?;
    rustix::net::listen(&listener, limits::BACKLOG)?;
    // What it accepts inherits these: a peer that has vanished without a word is noticed.
    sockopt::set_socket_keepalive(&listener, true)?;
    sockopt::set_tcp_keepidle(&listener, limits::KEEPALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(&listener, limits::KEEPALIVE_AGAIN)?;
    sockopt::set_tcp_keepcnt(&listener, limits::KEEPALIVES)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Hands out new certificates until the gate ends; then ends with it.
fn watch(folder: &Folder, config: &Config, running: &Running) -> Result<ExitCode, Failure> {
    let mut seen = changed(config);
    loop {
        let mut ended = [PollFd::new(&running.pidfd, PollFlags::IN)];
        match poll(&mut ended, Some(&LOOK)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Err(Failure::new("the gate has ended; its last words are above")),
            Err(error) => return Err(Failure::new(format!("cannot watch the gate: {error}"))),
        }
        let now = changed(config);
        if now == seen {
            continue;
        }
        seen = now;
        match folder.certificate(config) {
            Ok(certificate) => {
                running.control.send(&Control::Certificate(certificate), &[]).doing(|| "the gate".to_owned())?
            }
            Err(failure) => tracing::warn!(%failure, "the new certificate is not used"),
        }
    }
}

/// When the operator's own certificate was last written.
fn changed(config: &Config) -> Vec<Option<SystemTime>> {
    let files = [&config.tls_cert, &config.tls_key].into_iter().flatten();
    files.map(|path| std::fs::metadata(path).and_then(|facts| facts.modified()).ok()).collect()
}

/// A time-out for what the operator waits for.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
