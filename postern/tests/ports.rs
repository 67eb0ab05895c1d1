//! Which port a service gets: the real one, its stand-in on loopback, or none and a reason.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use postern::config::Config;
use postern::up::ports::{Service, bind, bind_or_take};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An offset whose four ports are free now, another one for each who asks, and below those that Linux gives to whoever
/// connects.
fn offset() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let from = 12_000 + (std::process::id() % 10_000) as u16;
    let is_free = |offset: &u16| {
        Service::ALL.iter().all(|service| TcpListener::bind((LOOPBACK, service.port() + offset)).is_ok())
    };
    std::iter::repeat_with(|| from + 3 * NEXT.fetch_add(1, Ordering::Relaxed)).take(1_000).find(is_free).unwrap()
}

#[test]
fn an_offset_that_was_chosen_is_kept_to() {
    let offset = offset();
    let config = Config { bind: vec![LOOPBACK], port_offset: Some(offset), ..Config::default() };
    let bound = bind(&config).unwrap();
    for service in &bound {
        assert_eq!(service.addresses(), [(LOOPBACK, service.service.port() + offset).into()]);
        assert_eq!(service.instead, None);
    }
    drop(bound);
    let taken = TcpListener::bind((LOOPBACK, Service::Imaps.port() + offset)).unwrap();
    let words = bind(&config).unwrap_err().words;
    assert!(words.contains("imaps") && words.contains("taken") && words.contains("--port-offset"), "{words}");
    drop(taken);
}

/// After a kill the dying roles of the box before hold its ports for a moment.
#[test]
fn a_port_that_is_let_go_in_time_is_had() {
    let offset = offset();
    let config = Config { bind: vec![LOOPBACK], port_offset: Some(offset), ..Config::default() };
    let dying = TcpListener::bind((LOOPBACK, Service::Smtp.port() + offset)).unwrap();
    let dies = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        drop(dying);
    });
    let bound = bind_or_take(&config, Vec::new(), Duration::from_secs(60)).unwrap();
    assert!(bound.iter().all(|service| service.instead.is_none()));
    dies.join().unwrap();
}

/// As most programs take it; and each port is had once, however often it is asked for.
#[test]
fn an_address_that_means_all_is_reached_by_all() {
    let reached = |bind: &[&str]| {
        let bind = bind.iter().map(|ip| ip.parse().unwrap()).collect();
        let config = Config { bind, port_offset: Some(offset()), ..Config::default() }.checked().unwrap();
        let bound = bind_or_take(&config, Vec::new(), Duration::from_secs(5)).unwrap();
        let port = bound[0].addresses()[0].port();
        ["127.0.0.1", "::1"].map(|ip| std::net::TcpStream::connect((ip.parse::<IpAddr>().unwrap(), port)).is_ok())
    };
    assert_eq!(reached(&["0.0.0.0"]), [true, false]);
    assert_eq!(reached(&["0.0.0.0", "127.0.0.1"]), [true, false]);
    assert_eq!(reached(&["127.0.0.1", "127.0.0.1"]), [true, false]);
    let has_six = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    assert_eq!(reached(&["::"]), [true, has_six]);
    if has_six {
        assert_eq!(reached(&["0.0.0.0", "::", "::1"]), [true, true]);
        assert_eq!(reached(&["::", "127.0.0.2"]), [false, true]);
    }
}

#[test]
fn several_addresses_take_a_listener_each() {
    let other: IpAddr = "127.0.0.2".parse().unwrap();
    let config = Config { bind: vec![LOOPBACK, other], port_offset: Some(offset()), ..Config::default() };
    for service in bind(&config).unwrap() {
        assert_eq!(service.addresses().iter().map(|address| address.ip()).collect::<Vec<_>>(), [LOOPBACK, other]);
    }
}

#[test]
fn an_address_that_is_not_ours_is_told() {
    let config = Config { bind: vec!["192.0.2.77".parse().unwrap()], port_offset: Some(offset()), ..Config::default() };
    let words = bind(&config).unwrap_err().words;
    assert!(words.contains("192.0.2.77") && words.contains("no such address"), "{words}");
}

#[test]
fn a_service_whose_port_is_taken_moves_alone() {
    // Only this address: other programs' ports are none of this test's business.
    let own: IpAddr = "127.0.0.9".parse().unwrap();
    let config = Config { bind: vec![own], ..Config::default() };
    let Ok(taken) = TcpListener::bind((own, Service::Submissions.port())) else {
        // Not allowed: then none is, and all four move.
        match bind(&config) {
            Ok(bound) => assert!(bound.iter().all(|service| service.instead.is_some())),
            Err(failure) => assert!(failure.words.contains("1002"), "{failure}"),
        }
        return;
    };
    match bind(&config) {
        Ok(bound) => {
            for service in bound {
                let moved = service.service == Service::Submissions;
                let expected = if moved { (LOOPBACK, 10_465) } else { (own, service.service.port()) };
                assert_eq!(service.addresses(), [expected.into()]);
                assert_eq!(service.instead.is_some_and(|why| why.contains("taken")), moved);
            }
        }
        // Its stand-in is taken, too: both are named.
        Err(failure) => assert!(failure.words.contains(":465") && failure.words.contains(":10465"), "{failure}"),
    }
    drop(taken);
}

/// As a socket unit of systemd hands them down: nothing is bound, and only what the configuration wants is taken.
#[test]
fn listeners_that_were_handed_down_are_taken() {
    let offset = offset();
    let config = Config { bind: vec![LOOPBACK], port_offset: Some(offset), ..Config::default() };
    let ports = [Service::Smtp, Service::Imaps].map(|service| service.port() + offset);
    let handed = ports.map(|port| TcpListener::bind((LOOPBACK, port)).unwrap()).into();
    let theirs = bind_or_take(&config, handed, Duration::ZERO).unwrap();
    for (bound, service) in theirs.iter().zip(Service::ALL) {
        assert_eq!(bound.service, service);
        assert_eq!(bound.addresses(), [(LOOPBACK, service.port() + offset).into()]);
    }
    drop(theirs);
    // At another address than the configuration wants.
    let other = TcpListener::bind(("127.0.0.3", ports[0])).unwrap();
    let bound = bind_or_take(&config, vec![other], Duration::ZERO).unwrap();
    assert_eq!(bound[0].addresses(), [(LOOPBACK, ports[0]).into()]);
}
