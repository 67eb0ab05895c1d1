//! Where the box listens, or where it would.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Finding, Patient};
use crate::told::Told;
use crate::up::ports::{Awaited, Bound, FALLBACK_OFFSET, Service, bind};

const ABOUT: &str = "ports";

/// Every service.
pub fn look(patient: &Patient) -> Vec<Finding> {
    match patient.up {
        Some(up) => running(up, patient),
        None => stopped(patient),
    }
}

fn running(up: u32, patient: &Patient) -> Vec<Finding> {
    let Some(all) = open(up, patient.told.as_ref()) else {
        let words = "where the box listens could not be looked at: it runs apart from this command, and its keeper does not answer";
        return vec![Finding::weak(ABOUT, words, "look at the log of `postern up`")];
    };
    let offset = patient.config.port_offset;
    let found = Service::ALL.into_iter().map(|service| one(service, find(&all, service), offset));
    found.chain(not_here(all.iter().copied())).collect()
}

fn not_here(all: impl IntoIterator<Item = SocketAddr>) -> Option<Finding> {
    let advice = "is the network up, and `bind` right? `ip address` shows what this machine has";
    Awaited::among(all).words().map(|words| Finding::weak(ABOUT, words, advice))
}

fn one(service: Service, found: Option<SocketAddr>, offset: Option<u16>) -> Finding {
    let (name, port) = (service.name(), service.port());
    match found {
        None => Finding::bad(ABOUT, format!("{name}: nothing listens"), "look at the log of `postern up`"),
        // Any other place than the one it falls back to was chosen, if only on the command line of `up`.
        Some(address) if address.port() != port + FALLBACK_OFFSET || offset.is_some() => {
            Finding::good(ABOUT, format!("{name}: {address}"))
        }
        Some(address) => Finding::weak(
            ABOUT,
            format!("{name}: {address} instead of port {port}"),
            "for the real port start as root, give the service AmbientCapabilities=CAP_NET_BIND_SERVICE, or end the \
             program that has it (`ss -ltnp`)",
        ),
    }
}

fn stopped(patient: &Patient) -> Vec<Finding> {
    let idle = Finding::weak(ABOUT, "the box is not running", "start it: postern up");
    let would = match bind(&patient.config) {
        Err(failure) => vec![Finding::bad(ABOUT, failure.words, "choose others with --port-offset or --bind")],
        Ok(bound) => {
            let offset = patient.config.port_offset;
            let place = |bound: &Bound| {
                let (all, wanted) = (bound.addresses(), bound.service.port() + offset.unwrap_or(0));
                let there = all.iter().find(|address| address.port() == wanted).or_else(|| all.first());
                one(bound.service, there.copied(), offset)
            };
            bound.iter().map(place).chain(not_here(bound.iter().flat_map(Bound::addresses))).collect()
        }
    };
    [idle].into_iter().chain(would).collect()
}

/// The listener of a service among all of `up`'s: its real port, the one it takes instead, or that plus an offset that
/// was given on the command line (then all four are moved alike).
pub fn find(all: &[SocketAddr], service: Service) -> Option<SocketAddr> {
    let at = |port: u16| all.iter().find(|address| address.port() == port).copied();
    let moved = || {
        let offset = all
            .iter()
            .map(|address| address.port().wrapping_sub(Service::Smtp.port()))
            .filter(|offset| Service::ALL.iter().all(|service| at(service.port().wrapping_add(*offset)).is_some()))
            // Where an address is awaited the stand-ins are a whole set, too.
            .min()?;
        at(service.port().wrapping_add(offset))
    };
    moved().or_else(|| at(service.port())).or_else(|| at(service.port() + FALLBACK_OFFSET))
}

/// Where `up` listens. Whose descriptors nobody may look at, the packaged service's in its user namespace, is believed as far as
/// somebody listens there. `None`: it does not say, either.
pub fn open(up: u32, told: Option<&Told>) -> Option<Vec<SocketAddr>> {
    let rows = rows(up);
    match sockets(up) {
        Some(own) => Some(rows.into_iter().filter(|(inode, _)| own.contains(inode)).map(|(_, at)| at).collect()),
        None => Some(agreed(told?.addresses(), &rows)),
    }
}

fn agreed(said: impl Iterator<Item = SocketAddr>, rows: &[(u64, SocketAddr)]) -> Vec<SocketAddr> {
    said.filter(|said| rows.iter().any(|(_, at)| at == said)).collect()
}

/// The sockets among a process's descriptors; `None` where they may not be looked at.
fn sockets(pid: u32) -> Option<HashSet<u64>> {
    let inode =
        |link: &std::path::Path| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok();
    let mut own = HashSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).ok()? {
        match fs::read_link(entry.ok()?.path()) {
            Ok(link) => own.extend(inode(&link)),
            // It was closed meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => return None,
        }
    }
    Some(own)
}

/// All that listens in a process's network, by inode.
fn rows(pid: u32) -> Vec<(u64, SocketAddr)> {
    let tables =
        ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(row).collect()
}

/// Inode and address of a listening row of `/proc/net/tcp`.
fn row(line: &str) -> Option<(u64, SocketAddr)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    if *fields.get(3)? != "0A" {
        return None;
    }
    // The kernel prints each 32-bit word as the machine has it.
    let words = (0..address.len() / 8).map(|n| u32::from_str_radix(&address[8 * n..8 * n + 8], 16).ok());
    let bytes: Vec<u8> = words.collect::<Option<Vec<u32>>>()?.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let ip: IpAddr = match bytes.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into(),
        _ => return None,
    };
    Some((fields.get(9)?.parse().ok()?, (ip, u16::from_str_radix(port, 16).ok()?).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_found_by_their_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(open(std::process::id(), None).unwrap().contains(&listener.local_addr().unwrap()));
    }

    #[test]
    fn who_may_not_be_looked_at_is_believed_as_far_as_somebody_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        let gone = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (own, rows) = (std::process::id(), rows(std::process::id()));
        assert_eq!(agreed([there, gone].into_iter(), &rows), [there]);
        assert!(sockets(own).is_some());
        assert_eq!(sockets(0), None, "there is no such process");
    }

    #[test]
    fn services_are_told_apart() {
        let all: Vec<SocketAddr> = ["127.0.0.1:20025", "127.0.0.1:20465", "127.0.0.1:20587", "127.0.0.1:20993"]
            .map(|a| a.parse().unwrap())
            .into();
        assert_eq!(find(&all, Service::Imaps).unwrap().port(), 20_993);
        let mixed: Vec<SocketAddr> = ["[::]:25", "127.0.0.1:10465"].map(|a| a.parse().unwrap()).into();
        assert_eq!(find(&mixed, Service::Smtp).unwrap().port(), 25);
        assert_eq!(find(&mixed, Service::Submissions).unwrap().port(), 10_465);
        assert_eq!(find(&mixed, Service::Imaps), None);
        let ahead = [25, 465, 587, 993].map(|port| SocketAddr::from(([192, 0, 2, 7], port)));
        let stand_ins = ahead.map(|at| SocketAddr::from((Ipv4Addr::LOCALHOST, at.port() + FALLBACK_OFFSET)));
        assert_eq!(find(&[stand_ins, ahead].concat(), Service::Imaps).unwrap(), ahead[3]);
    }

    #[test]
    fn a_chosen_offset_is_no_weakness() {
        let at = |port| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let good = |port, offset| one(Service::Smtp, at(port), offset).advice.is_empty();
        assert!(good(25, None) && good(19_025, None) && good(10_025, Some(10_000)));
        assert!(!good(10_025, None));
    }
}
