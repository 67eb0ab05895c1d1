//! `outbound-proxy run`: binds, starts the service behind its walls, and waits for its end.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::process::ExitCode;

use filter_sandbox::{Launch, Role, Running};
use relay_link::limits::OUTBOUND_PORT;
use rustix::net::sockopt;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::config::Config;
use super::folder::Folder;
use super::{Doing, Failure};
use crate::limits;
use crate::service::{Entrance, Start};

pub(super) fn run(folder: &Folder, config: &Config) -> Result<ExitCode, Failure> {
    let key = folder.link_key()?;
    let (entrances, listeners) = bind(config)?;
    let running = start(folder)?;
    let start = Start {
        name: config.name(),
        key: key.pkcs8().to_vec(),
        upstreams: config.upstreams(),
        own: config.own.clone(),
        entrances,
    };
    let with: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
    running.control.send(&start, &with).doing(|| "the service".to_owned())?;
    // A second copy here would keep a port open after its end.
    drop((listeners, start));
    // It ends with this process, and this with it.
    waitid(WaitId::PidFd(running.pidfd.as_fd()), WaitIdOptions::EXITED).doing(|| "the service".to_owned())?;
    Err(Failure::new("the service has ended; its last words are above"))
}

fn start(folder: &Folder) -> Result<Running, Failure> {
    let what = || "cannot start the service".to_owned();
    let exe = File::open("/proc/self/exe").doing(what)?;
    let state = File::open(folder.state()).doing(what)?;
    let stderr = std::io::stderr();
    let launch = Launch {
        role: Role::OutboundProxy,
        exe: exe.as_fd(),
        args: &[],
        uid: rustix::process::geteuid().is_root().then(|| Role::OutboundProxy.host_uid()),
        directory: Some(state.as_fd()),
        stderr: stderr.as_fd(),
    };
    launch.start().doing(what)
}

fn bind(config: &Config) -> Result<(Vec<Entrance>, Vec<TcpListener>), Failure> {
    let (mut entrances, mut listeners) = (Vec::new(), Vec::new());
    let link = addresses(config).into_iter().map(|address| (Entrance::Link, address));
    for (entrance, address) in link.chain(config.metrics.map(|address| (Entrance::Metrics, address))) {
        let listener = listen(address).doing(|| format!("cannot listen on {address}"))?;
        entrances.push(entrance);
        listeners.push(listener);
    }
    Ok((entrances, listeners))
}

fn addresses(config: &Config) -> Vec<SocketAddr> {
    if !config.bind.is_empty() {
        return config.bind.iter().map(|address| SocketAddr::new(*address, OUTBOUND_PORT)).collect();
    }
    let six = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    let any: IpAddr = if six { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    vec![SocketAddr::new(any, OUTBOUND_PORT)]
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    rustix::net::listen(&listener, limits::BACKLOG)?;
    // What it accepts inherits these: a home that has vanished without a word is noticed.
    sockopt::set_socket_keepalive(&listener, true)?;
    sockopt::set_tcp_keepidle(&listener, limits::KEEPALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(&listener, limits::KEEPALIVE_AGAIN)?;
    sockopt::set_tcp_keepcnt(&listener, limits::KEEPALIVES)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
