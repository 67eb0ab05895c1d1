//! Real ClientHellos, and made ones, cut into packets and records in every way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use inbound_proxy::client_hello::{ClientHello, Progress, examine};
use inbound_proxy::{fuzz, limits};
use proptest::prelude::*;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// What rustls says to a host.
fn real(name: &'static str, alpn: &[&[u8]], tls13: bool) -> Vec<u8> {
    let versions: &[_] = if tls13 { &[&rustls::version::TLS13] } else { &[&rustls::version::TLS12] };
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from(name).unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

fn list16(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn list8(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
}

/// A handshake message, in records of `size` bytes.
fn in_records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|chunk| [&[22, 3, 1][..], &list16(chunk)].concat()).collect()
}

/// One made from what is to be read out of it.
fn made(hello: &ClientHello, psk: bool) -> Vec<u8> {
    let mut extensions = Vec::new();
    let mut extension = |kind: u16, body: &[u8]| {
        extensions.extend_from_slice(&kind.to_be_bytes());
        extensions.extend_from_slice(&list16(body));
    };
    extension(0x1a1a, b"grease");
    if let Some(name) = &hello.sni {
        extension(0, &list16(&[&[0][..], &list16(name.as_bytes())].concat()));
    }
    if !hello.alpn.is_empty() {
        let names: Vec<u8> = hello.alpn.iter().flat_map(|name| list8(name)).collect();
        extension(16, &list16(&names));
    }
    if psk && !hello.tickets.is_empty() {
        let identity = |ticket: &Vec<u8>| [list16(ticket), vec![0; 4]].concat();
        let identities: Vec<u8> = hello.tickets.iter().flat_map(identity).collect();
        extension(41, &[list16(&identities), list16(&list8(&[9; 32]))].concat());
    } else if let [ticket] = hello.tickets.as_slice() {
        extension(35, ticket);
    }
    let body =
        [&[3, 3][..], &[7; 32], &list8(&[1; 32]), &list16(&[0x13, 1]), &list8(&[0]), &list16(&extensions)].concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1][..], &length[1..], &body].concat()
}

fn hellos() -> impl Strategy<Value = (ClientHello, bool)> {
    let name = prop::option::of("[a-z0-9_-]{1,20}(\\.[a-z0-9-]{1,20}){0,3}");
    let alpn = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..10), 0..4);
    // Of our own length, and others'.
    let ticket =
        prop_oneof![prop::collection::vec(any::<u8>(), limits::TICKET), prop::collection::vec(any::<u8>(), 1..200)];
    let tickets = prop::collection::vec(ticket, 0..4);
    (name, alpn, tickets, any::<bool>()).prop_map(|(sni, alpn, mut tickets, psk)| {
        if !psk {
            tickets.truncate(1);
        }
        (ClientHello { sni, tickets, alpn }, psk)
    })
}

#[test]
fn real_ones_are_read_from_their_last_byte_on() {
    for tls13 in [true, false] {
        let bytes = real("mail.alice.example", &[b"imap"], tls13);
        for end in 0..bytes.len() {
            assert_eq!(examine(&bytes[..end]), Progress::Incomplete, "{end} of {}", bytes.len());
        }
        let Progress::Whole(hello) = examine(&bytes) else { panic!("{:?}", examine(&bytes)) };
        assert_eq!(hello.sni.as_deref(), Some("mail.alice.example"));
        assert_eq!(hello.alpn, vec![b"imap".to_vec()]);
        assert!(hello.tickets.is_empty());
    }
}

#[test]
fn addresses_are_no_names() {
    let Progress::Whole(hello) = examine(&real("192.0.2.1", &[], true)) else { panic!("not read") };
    assert_eq!(hello.sni, None);
}

#[test]
fn what_is_no_client_hello() {
    for bytes in [
        &b"EHLO x\r\n"[..],
        b"GET / HTTP/1.1\r\n",
        &[22, 2, 0],
        &[21, 3, 3, 0, 2, 1, 0],
        &[22, 3, 1, 0, 0],
        &[22, 3, 1, 0xff, 0xff],
    ] {
        assert_eq!(examine(bytes), Progress::NotTls, "{bytes:02x?}");
    }
    assert_eq!(examine(&[22, 3, 1, 0, 4, 2, 0, 0, 0]), Progress::NotTls, "a ServerHello");
    assert_eq!(examine(&[22, 3, 1, 0, 4, 1, 0xff, 0, 0]), Progress::TooLong, "told before it is gathered");
    assert_eq!(
        examine(&[22, 3, 1, 0, 4, 1, 0, 0, 0]),
        Progress::Whole(ClientHello::default()),
        "malformed: the home judges"
    );
    let endless: Vec<u8> = in_records(&[&[1, 0, 0x3f, 0xff][..], &[0; 16_383]].concat(), 1);
    assert_eq!(examine(&endless[..limits::CLIENT_HELLO]), Progress::TooLong, "one byte a record");
}

#[test]
fn names_that_are_none() {
    for (name, expected) in
        [("Mail.Example.", Some("mail.example")), ("a b", None), ("ä.example", None), (".", None), ("a\0b", None)]
    {
        let hello = ClientHello { sni: Some(name.to_owned()), ..ClientHello::default() };
        let Progress::Whole(read) = examine(&in_records(&made(&hello, true), 1_000)) else { panic!("not read") };
        assert_eq!(read.sni.as_deref(), expected, "{name:?}");
    }
}

proptest! {
    #[test]
    fn what_was_put_in_is_read_however_it_is_cut((hello, psk) in hellos(), size in 1usize..600, rest: Vec<u8>, cut: usize) {
        let mut bytes = in_records(&made(&hello, psk), size);
        let end = bytes.len();
        prop_assert_eq!(examine(&bytes[..cut % end]), Progress::Incomplete);
        bytes.extend(rest);
        let mut told = hello;
        told.tickets.retain(|ticket| ticket.len() == limits::TICKET);
        prop_assert_eq!(examine(&bytes), Progress::Whole(told), "and tickets that cannot be ours are not kept");
    }

    #[test]
    fn no_bytes_are_too_strange((hello, psk) in hellos(), size in 1usize..600, flips in prop::collection::vec((any::<usize>(), any::<u8>()), 0..8)) {
        let mut bytes = in_records(&made(&hello, psk), size);
        for (at, with) in flips {
            let at = at % bytes.len();
            bytes[at] ^= with;
        }
        fuzz::client_hello(&bytes);
    }

    #[test]
    fn nor_are_random_ones(bytes: Vec<u8>) {
        fuzz::client_hello(&bytes);
        fuzz::client_hello(&[&[22, 3, 1, 1, 0, 1, 0, 0, 200, 3, 3][..], &bytes].concat());
    }
}
