//! Every bound of the inbound proxy, next to where it comes from.

use std::time::Duration;

/// Connections at once.
pub const CONNECTIONS: usize = 16_000;
/// Of them from one network (an IPv4 address, an IPv6 /64). Large senders come from few addresses, to many homes.
pub const CONNECTIONS_OF_ONE: usize = 512;
/// Of them from one IPv6 /48 or IPv4 /24, which one tenant may have; large senders have some hundred in one.
pub const CONNECTIONS_OF_NEIGHBOURS: usize = 2_048;
/// The last of them are for such neighbourhoods that have none: else eight of them fill all.
pub const CONNECTIONS_KEPT: usize = 4_000;
/// Places for senders between STARTTLS and the home that takes them; those that learn, or whose home is away, shake hands under
/// TLS here (some 40 KiB each).
pub const SEATS: usize = 1_024;
/// Of them from one network: who opens many and says nothing must not keep other senders from being asked.
pub const SEATS_OF_ONE: usize = 128;
/// Of them from one IPv6 /48 or IPv4 /24.
pub const SEATS_OF_NEIGHBOURS: usize = 256;
/// The last of them are for such neighbourhoods that have none.
pub const SEATS_KEPT: usize = 256;
/// How long STARTTLS waits for a place: most are given back in a round trip.
pub const SEATED: Duration = Duration::from_secs(10);
/// Time a TLS handshake may take, and one write.
pub const HANDSHAKE: Duration = Duration::from_secs(30);
/// Connections that ask for metrics, at once.
pub const SCRAPES: usize = 8;
/// Octets of a request for metrics that are read.
pub const METRICS_REQUEST: usize = 2_048;
/// Octets of a command line, CRLF included (RFC 5321 §4.5.3.1.4 and its extensions, as in the home's `mx`).
pub const COMMAND_LINE: usize = 2_048;
/// Octets of a domain (RFC 5321 §4.5.3.1.2).
pub const DOMAIN: usize = 255;
/// Commands of one session: a learning one needs six, and one more for each recipient.
pub const COMMANDS: u32 = 500;
/// Commands that made no sense, after which a session ends.
pub const ERRORS: u32 = 10;
/// Domains of recipients that are looked up in one session; all of one session are for one home.
pub const LESSONS: usize = 4;
/// MAIL commands of one session that learns: a sender with letters for several homes may ask for some of them.
pub const MAILS_LEARNING: u32 = 4;
/// MAIL commands of one session for a home that is away.
pub const MAILS_AWAY: u32 = 1;
/// Octets of a ClientHello with the records round it. Real ones have 200 to 2,000.
pub const CLIENT_HELLO: usize = 16 * 1024;
/// Octets of what one TLS record carries in clear (RFC 8446 §5.1).
pub const RECORD: usize = 16 * 1024;
/// Time from STARTTLS, or from a connection, to a whole ClientHello.
pub const CLIENT_HELLO_TIME: Duration = Duration::from_secs(30);
/// Silence after which a session that learns ends.
pub const IDLE: Duration = Duration::from_secs(30);
/// Time that a session which learns has in all. A hundred recipients on a slow line need a minute; who says a little now and
/// then must not keep one of [`SEATS`] for hours.
pub const LEARNING_TIME: Duration = Duration::from_secs(120);
/// Silence after which a session in clear ends (RFC 5321 §4.5.3.2.7).
pub const CLEAR_IDLE: Duration = Duration::from_secs(300);
/// Time that a session in clear has in all: EHLO and STARTTLS, each as late as it may be.
pub const CLEAR_TIME: Duration = Duration::from_secs(900);
/// How long a connection is held in all while its home wakes. Senders wait 90 seconds without harm (measured); RFC 5321
/// gives 300.
pub const WAKE: Duration = Duration::from_secs(60);

/// How long something learnt is remembered after its last use: Exim tries again for four days, so five.
pub const REMEMBER: Duration = Duration::from_secs(5 * 86_400);
/// Seconds before what a group was just asked is taken for the answer to its next connection. Who has mail for several homes
/// dials for them one right after the other (Sendmail), and comes back after a minute at the earliest: without this, each
/// connection would for ever get the home of the one before.
pub const SETTLED: u64 = 3;
/// Sender groups that are remembered. The network with most of them makes room, with those not used for longest.
pub const GROUPS: usize = 20_000;
/// Homes that one group is known to have mail for at one time.
pub const PENDING: usize = 16;
/// Tickets that are remembered. The network with most of them makes room.
pub const TICKETS: usize = 50_000;
/// Bytes of the file of what was learnt, above which it is written anew if that makes it shorter by half.
pub const MEMORY_FILE: u64 = 32 * 1024 * 1024;
/// Bytes of one record in it.
pub const RECORD_IN_MEMORY: usize = 1_024;
/// Before a home's name is looked up again: a family that points it elsewhere waits for its record's time to live, too.
pub const LEADS_AGAIN: Duration = Duration::from_secs(120);
/// The same where nobody has answered yet: senders wait for that.
pub const LEADS_SOON: Duration = Duration::from_secs(15);
/// Names looked up within a second: ten thousand homes in under three minutes, by few questions at a time.
pub const LEADS_AT_ONCE: usize = 64;
/// How long a name counts as leading where it led: resolvers keep an answer for a day at most, as records usually say.
pub const LED: Duration = Duration::from_secs(86_400);
/// How long one that nobody has answered for counts as leading anywhere: senders ask the same servers, and find it as little. Longer,
/// and one family's dead DNS server would keep its neighbours' mail waiting.
pub const UNANSWERED: Duration = Duration::from_secs(600);
/// Domains of one name whose mail is followed: its own, its family's, and two more above.
pub const LEADS_DOMAINS: usize = 4;
/// Addresses of one name that are remembered, of each kind as many, where it has both.
pub const LEADS_OF_ONE: usize = 32;
/// Before the proxy's own name is looked up again for a home that asks where it lives.
pub const HERE_AGAIN: Duration = Duration::from_secs(10);
/// Time that this may take: the home waits for twice [`relay_link::limits::GREETING`] in all.
pub const HERE: Duration = Duration::from_secs(5);
/// Bytes of the file in which they stand: a hundred thousand names with some addresses each.
pub const LEADS_FILE: u64 = 32 * 1024 * 1024;
/// How long letters that are under way may take when the proxy is told to end: a home's filter needs seconds. An upgrade waits for it,
/// and so do senders that come meanwhile.
pub const DRAIN: Duration = Duration::from_secs(30);
/// The same for whatever else is connected: who is on the way to its home, an app that stores a letter. Apps stay connected for
/// days, and come back by themselves.
pub const DRAIN_OTHERS: Duration = Duration::from_secs(3);
/// The same for a sender under TLS with this proxy that hears 451: five round trips on a slow line, and no time for who is silent.
pub const DRAIN_TOLD: Duration = Duration::from_secs(10);
/// Between two looks whether all is done.
pub const DRAIN_LOOK: Duration = Duration::from_millis(100);
/// Bytes of a ticket of ours.
pub const TICKET: usize = 32;
