//! Ports, bound by who may, used by the process that gets them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use rustix::net::sockopt;

use crate::limits;

/// Where to listen for a port: at the configured addresses, else at all, IPv6 and IPv4.
#[must_use]
pub fn addresses(bind: &[IpAddr], port: u16) -> Vec<SocketAddr> {
    if !bind.is_empty() {
        return bind.iter().map(|address| SocketAddr::new(*address, port)).collect();
    }
    let six = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    let any: IpAddr = if six { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    vec![SocketAddr::new(any, port)]
}

/// A listener: bound here, unless the service manager has done so and `handed` it down.
///
/// # Errors
/// The kernel's.
pub fn listen(address: SocketAddr, handed: &mut Vec<TcpListener>) -> io::Result<TcpListener> {
    let ours = handed.iter().position(|listener| listener.local_addr().is_ok_and(|at| at == address));
    let listener = ours.map_or_else(|| TcpListener::bind(address), |place| Ok(handed.swap_remove(place)))?;
    rustix::net::listen(&listener, limits::BACKLOG)?;
    // What it accepts inherits these: small pieces go at once, and a peer that has vanished without a word is noticed.
    sockopt::set_tcp_nodelay(&listener, true)?;
    sockopt::set_socket_keepalive(&listener, true)?;
    sockopt::set_tcp_keepidle(&listener, limits::KEEPALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(&listener, limits::KEEPALIVE_AGAIN)?;
    sockopt::set_tcp_keepcnt(&listener, limits::KEEPALIVES)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
