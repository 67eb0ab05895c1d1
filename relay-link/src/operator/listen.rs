//! Ports, bound by who may, used by the process that gets them.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use rustix::net::sockopt;

use super::Failure;
use crate::limits;

/// A listener, and where it is; or why there is none.
pub type Listener = (SocketAddr, io::Result<TcpListener>);

/// Where to listen for a port: at the configured addresses, else at all, IPv6 and IPv4.
fn addresses(bind: &[IpAddr], port: u16) -> Vec<SocketAddr> {
    if !bind.is_empty() {
        return bind.iter().map(|address| SocketAddr::new(*address, port)).collect();
    }
    let six = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    let any: IpAddr = if six { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    vec![SocketAddr::new(any, port)]
}

/// A port's listeners: bound here, unless the service manager has done so and `handed` them down. Where it is not said at which
/// addresses (`bind`), those are right wherever they are: here nobody knows better.
///
/// # Errors
/// In words for the operator, where the two do not agree.
pub fn port(bind: &[IpAddr], port: u16, handed: &mut Vec<TcpListener>) -> Result<Vec<Listener>, Failure> {
    let at = |listener: &TcpListener| listener.local_addr().ok().filter(|at| at.port() == port);
    let given: Vec<_> =
        handed.extract_if(.., |listener| at(listener).is_some()).filter_map(|it| Some((at(&it)?, it))).collect();
    if given.is_empty() {
        return Ok(addresses(bind, port).into_iter().map(|address| (address, listen(address))).collect());
    }
    let agreed: BTreeSet<IpAddr> = bind.iter().map(IpAddr::to_canonical).collect();
    let there: BTreeSet<IpAddr> = given.iter().map(|(at, _)| at.ip().to_canonical()).collect();
    if !agreed.is_empty() && agreed != there {
        return Err(disagreed(&addresses(bind, port), &given));
    }
    Ok(given.into_iter().map(|(at, listener)| (at, ready(listener))).collect())
}

fn disagreed(wanted: &[SocketAddr], given: &[(SocketAddr, TcpListener)]) -> Failure {
    let list = |all: Vec<SocketAddr>| all.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ");
    let (wanted, given) = (list(wanted.to_vec()), list(given.iter().map(|(at, _)| *at).collect()));
    Failure::configuration(format!(
        "`bind` in the configuration says {wanted}, and the service manager has {given}: change ListenStream= in that socket's \
         unit (`systemctl edit` it: an empty ListenStream= first, then those that `bind` says), or take `bind` away"
    ))
}

/// One that is bound here.
///
/// # Errors
/// The kernel's.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).and_then(ready)
}

fn ready(listener: TcpListener) -> io::Result<TcpListener> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 7));

    /// One that a service manager has bound there.
    fn bound(at: IpAddr) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((at, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        (listener, at)
    }

    fn places(listeners: Vec<Listener>) -> Vec<SocketAddr> {
        listeners
            .into_iter()
            .map(|(at, it)| it.map(|it| assert_eq!(it.local_addr().unwrap(), at)).map(|()| at).unwrap())
            .collect()
    }

    /// As where IPv6 is switched off by sysctl: the manager has `[::]`, which serves IPv4 all the same.
    #[test]
    fn what_was_handed_down_is_taken_wherever_it_is() {
        for ip in [ELSEWHERE, Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()] {
            let ((one, at), (other, _)) = (bound(ip), bound(ELSEWHERE));
            let mut handed = vec![other, one];
            assert_eq!(places(port(&[], at.port(), &mut handed).unwrap()), [at]);
            assert_eq!(handed.len(), 1, "another port's stays");
        }
    }

    #[test]
    fn it_must_be_where_the_configuration_says() {
        let (here, at) = bound(ELSEWHERE);
        assert_eq!(places(port(&[ELSEWHERE], at.port(), &mut vec![here]).unwrap()), [at]);
        let other = IpAddr::from([127, 0, 0, 8]);
        for bind in [vec![other], vec![ELSEWHERE, other]] {
            let (here, at) = bound(ELSEWHERE);
            let failure = port(&bind, at.port(), &mut vec![here]).unwrap_err();
            let words = failure.to_string();
            assert!(words.contains("ListenStream=") && words.contains(&at.to_string()), "{words}");
            assert_eq!(failure.code(), crate::operator::CONFIGURATION, "nobody tries again by himself");
        }
    }

    #[test]
    fn without_a_manager_it_is_bound() {
        let (_, free) = bound(ELSEWHERE);
        assert_eq!(places(port(&[ELSEWHERE], free.port(), &mut Vec::new()).unwrap()), [free]);
    }
}
