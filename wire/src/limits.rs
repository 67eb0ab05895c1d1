//! Bounds of what `wire` takes from strangers, each in one place next to its source.

use std::time::Duration;

/// Bytes of one SASL response, base64 removed (RFC 4954 §4: 12,288 octets of line).
pub const SASL_RESPONSE: usize = 9_216;
/// Bytes of a login name or of a password.
pub const SASL_FIELD: usize = 1_024;
/// Letters of a device password (`spool::keys::DevicePassword`), without its hyphens.
pub const DEVICE_PASSWORD: usize = 25;
/// Letters between two hyphens of it.
pub const DEVICE_PASSWORD_GROUP: usize = 5;
/// PBKDF2 rounds a keeper may ask for; more would let it stall a login.
pub const SCRAM_ITERATIONS: u32 = 600_000;
/// Time a TLS handshake may take.
pub const HANDSHAKE: Duration = Duration::from_secs(30);
/// Bytes of a certificate chain and key together, so that both fit one control packet.
pub const CERTIFICATE: usize = 60 * 1024;
/// Bytes of one DNS message over TCP (RFC 1035 §4.2.2 allows 65,535; nothing mail needs is longer).
pub const DNS_MESSAGE: usize = 16 * 1024;
/// Aliases (CNAME) followed one after another (RFC 1034 §5.2.2 names no number; resolvers take 8 to 16).
pub const DNS_ALIASES: usize = 8;
/// DNS questions under way at once.
pub const DNS_QUESTIONS: usize = 256;
/// Time one upstream gets to answer by TCP; then the next is asked.
pub const DNS_ANSWER: Duration = Duration::from_millis(2_500);
/// The same by UDP, for each time the whole list of upstreams is asked. Datagrams get lost: the first wait is short, and
/// what took longer than it is mostly in the upstream's cache by the next.
pub const DNS_WAITS: [Duration; 3] =
    [Duration::from_millis(400), Duration::from_millis(900), Duration::from_millis(1_700)];
/// How long "there is no such thing" holds when it comes without the record that would say so (RFC 2308 §5 has no time
/// for it): long enough that a run of letters asks once.
pub const DNS_NOTHING: Duration = Duration::from_secs(30);
/// Such answers kept.
pub const DNS_NOTHINGS: usize = 512;
/// (address, account) pairs whose failed logins are remembered.
pub const LOGIN_PAIRS: usize = 10_000;
