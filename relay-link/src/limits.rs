//! Bounds of the link, each in one place.

use std::time::Duration;

/// Where homes dial an inbound proxy. Fixed, so that the `link` role's walls can name it.
pub const INBOUND_PORT: u16 = 7_025;
/// Where homes dial an outbound proxy.
pub const OUTBOUND_PORT: u16 = 7_026;
/// Proxies that one box is paired with.
pub const PROXIES: usize = 16;
/// Addresses of one name that are tried.
pub const ADDRESSES: usize = 8;
/// Streams that one box has open through its proxies.
pub const STREAMS: usize = 1_024;
/// Of them through one proxy: whoever rules it must not shut the others out.
pub const STREAMS_OF_ONE: usize = 768;
/// Bytes held of one direction while they move between a proxy and a role of the box.
pub const COPY: usize = 8 * 1024;
/// Connections through outbound proxies that are being made at once.
pub const DIALS: usize = 256;
/// Time an outbound proxy has to connect with a host.
pub const DIAL: Duration = Duration::from_secs(35);
/// Time a question waits for a link that is not up yet.
pub const UP: Duration = Duration::from_secs(10);
/// Bytes of one message on a control connection. The largest is a stream's opening: a key, two addresses, two names.
pub const MESSAGE: usize = 4 * 1024;
/// Bytes of a host name (RFC 1035 §2.3.4), or of what a client gave for one (RFC 5321 §4.5.3.1.2).
pub const NAME: usize = 255;
/// Bytes of a host name in writing that DNS can be asked for: 255 octets there (RFC 1035 §2.3.4), of which the length of its first label
/// and the root's are two.
pub const HOST: usize = 253;
/// Addresses to which a home is told that its name is to lead: as many as a proxy listens on.
pub const PLACES: usize = BIND;
/// Names one home may have at a proxy.
pub const NAMES: usize = 64;
/// Homes paired with one proxy.
pub const HOMES: usize = 10_000;
/// Bytes of one home's file.
pub const HOME_FILE: u64 = 64 * 1024;
/// Connections to a proxy's port for homes that have not said whose they are.
pub const STRANGERS: usize = 1_024;
/// Of them from one IPv4 address or IPv6 /48: whoever says nothing must not keep homes out. A family that fetches many streams at once has
/// each for one round trip.
pub const STRANGERS_OF_ONE: usize = 256;
/// Time from a connection to the end of its handshake and first message.
pub const GREETING: Duration = Duration::from_secs(10);
/// Time a stream waits to be fetched; then its number is worth nothing.
pub const FETCH: Duration = Duration::from_secs(10);
/// Time the role that serves has to say whether it has a place for a stream: it may wait for a keeper that is being started again
/// (five seconds), and the stream is still there to be fetched.
pub const PLACE: Duration = Duration::from_secs(8);
/// Streams that wait to be fetched, of all homes.
pub const WAITING: usize = 4_096;
/// Streams of one home that wait to be fetched.
pub const WAITING_OF_ONE: usize = 256;
/// Messages waiting to be sent on one control connection; a peer that does not read them is cut off.
pub const QUEUE: usize = 64;
/// Messages of one home that its proxy hears within [`HEARD_WITHIN`]: who says more waits, so that it takes no more than its share
/// of the proxy's time from the others. A house that sends and receives much says some ten a second.
pub const HEARD: usize = 64;
/// See [`HEARD`].
pub const HEARD_WITHIN: Duration = Duration::from_millis(50);
/// Between two lines of a log about the same: how often a home is refused, or a proxy calls in vain, is their own choice.
pub const SELDOM: Duration = Duration::from_secs(10);
/// How long a pairing code works unless the operator says otherwise.
pub const CODE: Duration = Duration::from_secs(24 * 3_600);
/// Hours for which the operator may have one work.
pub const CODE_HOURS: u32 = 28 * 24;
/// Silence after which the old connection of a home that dials again from another process is taken to be dead.
pub const SEAT_ANSWER: Duration = Duration::from_secs(3);
/// Bytes moved at once between two connections, and what a pipe is to hold. An ordinary user has 64 MiB of it at most (pipe(7)).
pub const PIPE: usize = 256 * 1024;
/// Empty pipes kept for the next burst, of all connections; one costs two descriptors.
pub const SPARE_PIPES: usize = 64;
/// How long the second direction of a relayed connection may stay open and silent once the first has ended. Mail
/// servers end both at once; who keeps half a connection longer keeps a place.
pub const HALF_OPEN: Duration = Duration::from_secs(120);

/// Bytes of a proxy's configuration, or of a certificate or key in PEM.
pub const CONFIG: u64 = 64 * 1024;
/// Bytes of a proxy's own key.
pub const KEY: u64 = 1_024;
/// Addresses that a proxy listens on, up to five ports each: all of them must fit one packet of descriptors.
pub const BIND: usize = 16;
/// DNS servers that a proxy asks.
pub const SERVERS: usize = 4;
/// Connections that wait to be accepted, a listener.
pub const BACKLOG: i32 = 1_024;
/// Silence after which the kernel asks a peer whether it is there; how often it asks again; how many times.
pub const KEEPALIVE_AFTER: Duration = Duration::from_secs(120);
/// See [`KEEPALIVE_AFTER`].
pub const KEEPALIVE_AGAIN: Duration = Duration::from_secs(20);
/// See [`KEEPALIVE_AFTER`].
pub const KEEPALIVES: u32 = 4;
