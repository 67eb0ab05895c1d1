//! Whether who calls the house by its name, as mail servers and phones do, reaches the house. Whoever has the address that
//! the name leads to can answer in its place, and then reads what senders bring that check no certificate: an inbound
//! proxy's operator above all. The certificate is public; TLS proves that the other end holds its key.
//!
//! A call from here sees what everybody sees. It cannot see an answer that is meant for some callers only.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::letter::to_starttls;
use super::tls::{Stream, is_another};
use super::{Finding, Patient, certificate};
use crate::cli::dns::addresses;
use crate::up::ports::Service;
use crate::up::upstreams;

const ABOUT: &str = "own name";
/// How long each step of a call may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is called: what mail servers and phones call.
const CALLED: [Service; 2] = [Service::Smtp, Service::Imaps];

/// Nothing while the box is not running, or its name leads nowhere.
pub fn look(patient: &Patient) -> Vec<Finding> {
    let Some(own) = patient.up.and_then(|_| certificate::in_use(patient)) else { return Vec::new() };
    let name = patient.config.hostname();
    let found = addresses(&name, upstreams(&patient.config)).unwrap_or_default();
    let paired = patient.data.as_ref().is_some_and(|data| data.entry("pairings").exists());
    let (name, own) = (name.as_str(), &own);
    std::thread::scope(|scope| {
        let call = |address: IpAddr, service: Service| {
            scope.spawn(move || call(SocketAddr::new(address, service.port()), service, own, name))
        };
        let calling: Vec<_> =
            found.into_iter().map(|address| (address, CALLED.map(|service| call(address, service)))).collect();
        let ended = |one: std::thread::ScopedJoinHandle<'_, io::Result<()>>| {
            one.join().unwrap_or_else(|_| Err(io::Error::other("calling failed")))
        };
        let judged = |(address, calls): (IpAddr, [_; 2])| judge(name, address, calls.map(ended), paired);
        calling.into_iter().filter_map(judged).collect()
    })
}

fn call(place: SocketAddr, service: Service, own: &CertificateDer<'static>, name: &str) -> io::Result<()> {
    let mut stream = Stream::connect_within(place, PATIENCE)?;
    if service == Service::Smtp {
        to_starttls(&mut stream)?;
    }
    let mut stream = stream.secure(own, name)?;
    stream.shake_hands()?;
    stream.close();
    Ok(())
}

/// What the calls of one address come to. `None`: nobody answers, and nothing says that somebody should: many routers
/// do not let a house call itself, and many lines let nobody call port 25.
fn judge(name: &str, address: IpAddr, calls: [io::Result<()>; 2], paired: bool) -> Option<Finding> {
    let ports = |wanted: fn(&io::Result<()>) -> bool| {
        let all = CALLED.iter().zip(&calls).filter(|(_, call)| wanted(call));
        all.map(|(service, _)| service.port().to_string()).collect::<Vec<_>>().join(" and ")
    };
    let (others, ours) = (ports(|call| call.as_ref().is_err_and(is_another)), ports(Result::is_ok));
    if !others.is_empty() {
        let words = format!("{name} at {address}, port {others}: another certificate than this house's is shown there");
        let advice = "who answers there can read mail on its way here. If the DNS record is right and the certificate was not \
                      just renewed, end it (`postern pair revoke`), and ask who has that address";
        return Some(Finding::bad(ABOUT, words, advice));
    }
    if !ours.is_empty() {
        return Some(Finding::good(ABOUT, format!("{name} at {address}, port {ours}: this house answers")));
    }
    let why = calls.into_iter().find_map(Result::err).filter(|_| paired)?;
    let advice = "it may be so only from here: try a phone that is not in this house's network";
    Some(Finding::weak(ABOUT, format!("{name} at {address}: nobody answers as this house: {why}"), advice))
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn one_stranger_outweighs_all() {
        let another = || Err(io::Error::new(io::ErrorKind::InvalidData, rustls::Error::General("another".into())));
        let silent = || Err(io::Error::from(io::ErrorKind::TimedOut));
        let at = |calls, paired| judge("mail.home.test", IpAddr::from([192, 0, 2, 1]), calls, paired);
        let found = at([another(), Ok(())], true).unwrap();
        assert!(found.state == State::Bad && found.words.contains("port 25:"), "{found:?}");
        let found = at([silent(), Ok(())], false).unwrap();
        assert!(found.state == State::Good && found.words.contains("port 993:"), "{found:?}");
        assert!(at([silent(), silent()], false).is_none(), "a house may be unable to call itself");
        assert_eq!(at([silent(), silent()], true).unwrap().state, State::Weak);
    }
}
