//! Every bound of the outbound proxy, next to where it comes from.

use std::time::Duration;

/// Sessions of all homes at once.
pub const SESSIONS: usize = 4_096;
/// Questions of one home within a minute that are looked up in the DNS: they cost nothing else, and each could carry something
/// out. A home that sends as much as it may asks some 30.
pub const LOOKUPS: u32 = 120;
/// Octets of one direction of a session that are held at once. A session that waits for more holds none.
pub const PIECE: usize = 16 * 1024;
/// Such pieces of memory kept for the next session that needs one.
pub const SPARE_PIECES: usize = 64;
/// Octets that a home which sends in bulk has read at once: calls cost more than copying (measured), and a fourth of the calls
/// costs two thirds of the processor time.
pub const LARGE_PIECE: usize = 64 * 1024;
/// Such pieces lent at once; who comes too late has a small one.
pub const LARGE_PIECES: usize = 64;
/// Of them, how many are kept for the next.
pub const SPARE_LARGE_PIECES: usize = 8;
/// Octets that came at once from which on a home is taken to send in bulk. Commands are shorter.
pub const BULK: usize = 4 * 1024;
/// Units, of recipients and of bodies, that an account's file may be ahead of it while a session runs: a write for each 2 MiB of bulk, and what a `kill -9` at
/// the wrong moment costs a home. At 32 the writes were half of what metering costs.
pub const WRITTEN_AHEAD: u64 = 64;
/// Accounts whose files stay open though nobody sends.
pub const OPEN_BOOKS: usize = 1_000;
/// Threads that wait for the disk, so that nobody else does; and the stack of one. Sessions of one home that begin together wait
/// for one sync.
pub const SYNCING: usize = 2;
/// See [`SYNCING`].
pub const SYNCING_STACK: usize = 256 * 1024;
/// Longest sleep of a session that is slowed, before it looks again whether it may go on, and whether its home is still there.
pub const SLOWED: Duration = Duration::from_secs(5);
/// Connections that ask for metrics, at once.
pub const SCRAPES: usize = 8;
/// Octets of a request for metrics that are read, and the time it has.
pub const METRICS_REQUEST: usize = 2_048;
/// See [`METRICS_REQUEST`].
pub const METRICS_TIME: Duration = Duration::from_secs(5);

/// The one port (RFC 5321 §2.3.4, by use).
pub const PORT: u16 = 25;
/// Octets of a command line in clear, CRLF included (RFC 5321 §4.5.3.1.4).
pub const COMMAND_LINE: usize = 512;
/// Octets of a reply line, CRLF included: four times what RFC 5321 §4.5.3.1.5 allows, since some are longer.
pub const REPLY_LINE: usize = 2_048;
/// Lines of one reply. Of EHLO replies, the longest seen have some twenty.
pub const REPLY_LINES: usize = 100;
/// Commands in clear: EHLO, STARTTLS, and once more after a refusal.
pub const COMMANDS: usize = 8;
/// Octets a TLS record may hold: RFC 5246 §6.2.3, the longer of the two versions.
pub const RECORD: usize = 16 * 1024 + 2_048;
/// Octets of a server's first record that are kept to find its version and cipher suite.
pub const SERVER_HELLO: usize = 512;

/// Octets of reply plaintext a recipient costs (measured: Postfix, Exim).
pub const UNIT: u64 = 14;
/// Octets of the shortest RCPT command there is, so that a unit is set aside for each that may be one (RFC 5321 §4.1.1.3).
pub const COMMAND: u64 = 17;
/// Half buckets, beside what is left of one, that may be out unanswered at the shortest there is to a recipient: a fast line needs
/// as much on the way. So nobody gets more recipients than two buckets and a half hold.
pub const HALF_BUCKETS_OUT: u64 = 3;
/// Octets of one session that may always be unread, so that none stands still for what the others have out.
pub const UNRESERVED: u64 = 1_024;
/// Octets that are sent though too many seem unread, to be told whether they still are: the far side says so only with the next
/// acknowledgement. Seldomer each time, up to the second number.
pub const PROBE: u64 = 64;
/// See [`PROBE`].
pub const PROBE_AT_LEAST_EVERY: Duration = Duration::from_secs(60);
/// What was sent within so long, and twice as long at the most, may be unread whatever the far side's TCP says: a neighbour's is fast,
/// and grants much before it notices that its program is not. A real path takes as long anyway.
pub const AGED: Duration = Duration::from_millis(10);
/// How often the far side's TCP is asked how far it is, while a session waits for that. A timer is no finer.
pub const LOOK: Duration = Duration::from_millis(1);
/// The same, while a home says nothing and its other sessions could have what this one has out; twice as long each time.
pub const SETTLED: Duration = Duration::from_millis(10);
/// See [`LOOK`]: when nothing has moved for long.
pub const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(1);
/// Of so many octets that a far server has read, one is no longer thought unread that only its smaller window speaks for.
pub const FORGOTTEN: u64 = 8;
/// Octets from the home that are one of the day's units for bodies: a large message to one recipient is seen in no reply.
pub const UNIT_OF_BODY: u64 = 32 * 1024;
/// Such units in a MiB.
pub const BODY_UNITS: u64 = (1 << 20) / UNIT_OF_BODY;
/// MiB that a letter which has begun may go beyond the day's: no house writes longer ones, and one that stopped halfway would be
/// sent again from its beginning.
pub const LETTER_TO_END: u64 = 64;
/// Units of a session, whatever it does: handshake, tickets and the EHLO reply are not counted.
pub const SESSION_UNITS: u64 = 20;
/// Octets of the record that a home's EHLO can have: its name has 255 at the most (RFC 5321 §4.5.3.1.2), and TLS adds up to 24.
pub const EHLO: u64 = 5 + 255 + 2 + 24;
/// Octets of reply plaintext after the home's EHLO that are taken to be tickets and the reply to EHLO. The longest
/// measured are 510 and 215; recipients hidden in them are paid for by [`SESSION_UNITS`].
pub const UNCOUNTED: u64 = 725;

/// Octets of the far server's that are no reply: the handshake, and whatever TLS has beside letters. What exceeds them is
/// counted as replies, so that nobody has a way back for nothing. The longest measured is 3,316; a list of authorities, as
/// servers send that ask for a certificate, can have some 20,000.
pub const HANDSHAKE: u64 = 64 * 1024;
/// Octets from the home below which no letter can have gone: who only looks which addresses there are sends less.
pub const LETTER: u64 = 1_024;
/// Most sessions within a minute that an allowance can have, so that they fit the ledger.
pub const BURST: usize = 100;

/// Silence after which a session is closed when the far server has spoken last and can owe nothing: in clear, and under TLS until the
/// home's first command. Never while the home may wait for a reply, or for the rest of several: to cut between the end of data
/// and its 250 makes duplicates.
pub const SILENT: Duration = Duration::from_secs(60);
/// Silence after which a session is closed though the far server may owe a reply; and how long its replies are heard when the home
/// is gone. RFC 5321 §4.5.3.2.6 has ten minutes for the slowest of them: whoever waited has given up before.
pub const UNANSWERED: Duration = Duration::from_secs(900);
/// How long sessions may go on when the proxy is told to end. A far server that looks at letters for longer than this, and is cut, has
/// one twice; an upgrade waits for it, and letters wait at home meanwhile.
pub const DRAIN: Duration = Duration::from_secs(60);
/// Silence after which a session is cut then, when the far server has spoken last: the home says QUIT at once, or has another letter.
/// It may owe the rest of several replies all the same.
pub const DRAIN_SILENT: Duration = Duration::from_secs(10);
/// Between two looks whether it can be.
pub const DRAIN_LOOK: Duration = Duration::from_millis(100);
/// Addresses of one host that are tried.
pub const ADDRESSES: usize = 8;
/// Time to connect with the last of them.
pub const CONNECT: Duration = Duration::from_secs(15);
/// Time to connect with one while others are left, at most: the kernel asks after 1 and after 3 seconds again. Of many, each has its
/// share of [`CONNECT_ALL`] only, so that none that is silent hides the next.
pub const CONNECT_NEXT: Duration = Duration::from_secs(5);
/// Time to connect with any of them: the home waits for five seconds longer.
pub const CONNECT_ALL: Duration = Duration::from_secs(30);
/// Before the addresses of the proxy's own name are looked up again: who changes them waits for the record's time to live, too.
pub const NAMED_AGAIN: Duration = Duration::from_secs(120);
/// The same where not everything was answered.
pub const NAMED_SOON: Duration = Duration::from_secs(15);
/// Bytes of one of the two halves of a ledger file.
pub const LEDGER_HALF: usize = 4_096;
/// Most networks an allowance can have in an hour, so that they fit the ledger.
pub const NETWORKS: usize = 200;
/// Networks new in this hour that one look-up of a host may cost: a host that is gone, with eight addresses in as many networks, must not
/// take a fourth of what a new home has. They count though nobody answers there: who dials unused networks is taken for one who
/// scans, whatever he meant, and it is the address of all homes that gets that name. A later try goes on behind those.
pub const NEW_NETWORKS: usize = 4;
/// How long a home is new.
pub const NEW: Duration = Duration::from_secs(14 * 86_400);
