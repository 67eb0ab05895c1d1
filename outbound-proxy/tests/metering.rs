//! The meter against sessions as servers were measured to hold them, and against a real TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use outbound_proxy::meter::Meter;
use outbound_proxy::{fuzz, limits};
use proptest::prelude::*;

fn record(kind: u8, length: usize) -> Vec<u8> {
    [&[kind, 3, 3, (length >> 8) as u8, (length & 0xff) as u8][..], &vec![0; length]].concat()
}

/// A ServerHello that chooses a suite.
fn server_hello(suite: u16) -> Vec<u8> {
    let body = [&[3, 3][..], &[7; 32], &[32], &[9; 32], &suite.to_be_bytes(), &[0, 0, 0]].concat();
    let message = [&[2, 0, 0, body.len() as u8][..], &body].concat();
    [&[22, 3, 3, 0, message.len() as u8][..], &message].concat()
}

#[derive(Clone, Copy)]
enum Version {
    Tls13,
    Tls12Gcm,
    Tls12ChaCha,
}

impl Version {
    const ALL: [Self; 3] = [Self::Tls13, Self::Tls12Gcm, Self::Tls12ChaCha];

    const fn facts(self) -> (u16, usize) {
        match self {
            Self::Tls13 => (0x1302, 17),
            Self::Tls12Gcm => (0xc030, 24),
            Self::Tls12ChaCha => (0xcca8, 16),
        }
    }
}

struct Session {
    meter: Meter,
    overhead: usize,
    units: u64,
}

impl Session {
    /// Up to the reply to EHLO.
    fn begin(version: Version, tickets: &[usize], ehlo: usize) -> Self {
        Self::begin_with(version, 25, tickets, ehlo)
    }

    /// The same, with so much in the record of EHLO.
    fn begin_with(version: Version, said: usize, tickets: &[usize], ehlo: usize) -> Self {
        let (suite, overhead) = version.facts();
        let mut session = Self { meter: Meter::default(), overhead, units: 0 };
        session.units += session.meter.home(&record(22, 300)).unwrap();
        session.units += session.meter.server(&server_hello(suite)).unwrap();
        if matches!(version, Version::Tls13) {
            session.units += session.meter.server(&[record(20, 1), record(23, 1_800)].concat()).unwrap();
            session.meter.home(&[record(20, 1), record(23, 53)].concat()).unwrap();
        } else {
            session.units += session.meter.server(&record(22, 1_800)).unwrap();
            session.meter.home(&[record(22, 70), record(20, 1), record(22, 40)].concat()).unwrap();
            session.units += session.meter.server(&[record(20, 1), record(22, 40)].concat()).unwrap();
        }
        session.say(said);
        tickets.iter().for_each(|ticket| session.hear(*ticket));
        session.hear(ehlo);
        session
    }

    fn say(&mut self, plain: usize) {
        self.units += self.meter.home(&record(23, plain + self.overhead)).unwrap();
    }

    fn hear(&mut self, plain: usize) {
        self.units += self.meter.server(&record(23, plain + self.overhead)).unwrap();
    }
}

/// The plaintext is exact to the octet, with and without pipelining, and handshake, tickets and EHLO cost nothing.
#[test]
fn replies_are_counted_to_the_octet() {
    for version in Version::ALL {
        for recipients in [1u64, 10, 100, 1_000] {
            let mut one_by_one = Session::begin(version, &[238, 238], 155);
            assert_eq!(one_by_one.units, 0, "nothing so far");
            one_by_one.say(40);
            one_by_one.hear(14);
            for _ in 0..recipients {
                one_by_one.say(27);
                one_by_one.hear(14);
            }
            one_by_one.say(6);
            one_by_one.hear(74);
            let mut pipelined = Session::begin(version, &[], 155);
            pipelined.say(16_000);
            let mut left = usize::try_from(14 + 14 * recipients + 74).unwrap();
            while left > 0 {
                pipelined.hear(left.min(2_000));
                left -= left.min(2_000);
            }
            assert_eq!(one_by_one.meter.replies(), 14 + 14 * recipients + 74);
            assert_eq!(pipelined.meter.replies(), one_by_one.meter.replies(), "pipelining changes nothing");
            // Measured: 7.3, 16.3, 106, 1006 units for Postfix.
            assert_eq!(pipelined.units, (88 + 14 * recipients).div_ceil(14), "{recipients}");
        }
    }
}

#[test]
fn what_is_passed_over_is_bounded() {
    // Everything in one flight behind EHLO: what exceeds the bound is counted.
    let mut session = Session::begin(Version::Tls13, &[], 155);
    let hidden = usize::try_from(limits::UNCOUNTED).unwrap() - 155;
    session.hear(hidden + 1_400);
    assert_eq!(session.units, 100);
    // And the session's minimum pays for most of it.
    const { assert!(limits::UNCOUNTED / limits::UNIT < 3 * limits::SESSION_UNITS) };
}

/// EHLO, MAIL and 37 RCPT in the record of the first.
#[test]
fn what_is_hidden_behind_ehlo_is_counted() {
    for version in Version::ALL {
        let hidden = Session::begin_with(version, 25 + 31 + 37 * 27, &[238, 238], 155 + 38 * 14);
        assert_eq!(hidden.meter.replies(), 238 * 2 + 155 + 38 * 14);
        let longest = Session::begin_with(version, 5 + 255 + 2, &[238, 238], 155);
        assert_eq!((longest.meter.replies(), longest.units), (0, 0), "a name may be long");
    }
}

#[test]
fn a_suite_that_is_not_known_is_counted_in_full() {
    let mut meter = Meter::default();
    meter.home(&record(22, 300)).unwrap();
    meter.server(&server_hello(0xc014)).unwrap();
    meter.home(&record(23, 60)).unwrap();
    meter.server(&record(23, 200)).unwrap();
    meter.home(&record(23, 60)).unwrap();
    meter.server(&record(23, 140)).unwrap();
    assert_eq!(meter.replies(), 140);
}

#[test]
fn large_messages_cost_something() {
    let mut session = Session::begin(Version::Tls13, &[], 155);
    let bodies = (0..64).map(|_| session.meter.home(&record(23, 16_384 + 17)).unwrap());
    assert_eq!(bodies.sum::<u64>(), 32, "a unit each 32 KiB");
    assert_eq!(session.units, 0, "and no recipients");
}

/// A far server that is the home's accomplice could send anything in records that are no replies.
#[test]
fn there_is_no_way_back_for_nothing() {
    for (kind, before_ehlo) in [(22, false), (21, false), (20, false), (22, true), (23, true)] {
        let mut session = Session::begin(Version::Tls13, &[], 155);
        if before_ehlo {
            session = Session { meter: Meter::default(), overhead: 17, units: 0 };
            session.meter.home(&record(22, 300)).unwrap();
            session.meter.server(&server_hello(0x1301)).unwrap();
        }
        for _ in 0..64 {
            session.units += session.meter.server(&record(kind, 14_000)).unwrap();
        }
        let octets = 64 * 14_005;
        let most = (octets - limits::HANDSHAKE).div_ceil(limits::UNIT);
        assert!((most..=most + 200).contains(&session.units), "{kind}, {before_ehlo}: {} units", session.units);
    }
    let mut tiny = Session::begin(Version::Tls13, &[], 155);
    for _ in 0..20_000 {
        tiny.units += tiny.meter.server(&record(20, 1)).unwrap();
    }
    assert!(tiny.units > 3_000, "headers count, too: {}", tiny.units);
}

#[test]
fn not_tls_is_told_either_way() {
    let mut meter = Meter::default();
    assert!(meter.home(b"MAIL FROM:<a@b>\r\n").is_err());
    assert!(Meter::default().server(b"250 ok\r\n").is_err());
}

proptest! {
    #[test]
    fn cutting_changes_no_count(bytes: Vec<u8>, lengths in prop::collection::vec(1usize..400, 0..20)) {
        fuzz::meter(&bytes);
        let home: Vec<u8> = std::iter::once(record(22, 200)).chain(lengths.iter().map(|length| record(23, *length))).flatten().collect();
        let server: Vec<u8> = std::iter::once(server_hello(0x1301)).chain(lengths.iter().map(|length| record(23, *length))).flatten().collect();
        let (mut whole, mut cut) = (Meter::default(), Meter::default());
        let expected = whole.home(&home).unwrap() + whole.server(&server).unwrap();
        let mut due = 0;
        home.chunks(11).for_each(|chunk| due += cut.home(chunk).unwrap());
        server.chunks(3).for_each(|chunk| due += cut.server(chunk).unwrap());
        prop_assert_eq!(due, expected);
        prop_assert_eq!(whole.replies(), cut.replies());
    }

    #[test]
    fn both_sides_in_clear_are_passed_on_or_cut_off(bytes: Vec<u8>) {
        fuzz::clear(&bytes);
        fuzz::files_and_records(&bytes);
    }
}
