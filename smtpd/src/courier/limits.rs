//! Every bound of the courier, next to where it comes from.

use std::time::Duration;

/// Octets of a reply line that are read, CRLF included. RFC 5321 §4.5.3.1.5 says 512; some servers say more.
pub const REPLY_LINE: usize = 2_048;
/// Lines of one reply; more is no reply.
pub const REPLY_LINES: usize = 128;
/// Lines without a meaning in front of the answer to a whole letter: for some of it no copy more is to go out, and who goes on so
/// gives none.
pub const BEFORE_ANSWER: usize = 1_000;
/// Bytes of one reply that are kept.
pub const REPLY: usize = 16 * 1024;
/// Bytes of a far server's words that go into the journal, a notice or a list.
/// Explanations of large providers, with the address to read on at their end, have half of this; a record of the journal
/// takes little more.
pub const WORDS: usize = 1_000;
/// Recipients of one transaction: every server must take so many (RFC 5321 §4.5.3.1.8).
pub const RECIPIENTS: usize = 100;

/// Time for a connection to be made.
pub const CONNECT: Duration = Duration::from_secs(30);
/// The same through a proxy, which tries a host's addresses in turn, and must itself be dialled for what it opens.
pub const CONNECT_THROUGH: Duration = Duration::from_secs(60);
/// How long a proxy's having room for one more session is waited for: hosts that say nothing make it within half a minute.
pub const ROOM: Duration = Duration::from_secs(120);
/// Between two questions for it: a proxy says when there is none, not when there is again.
pub const ROOM_AGAIN: Duration = Duration::from_secs(1);
/// Seconds until a letter that found none is tried again.
pub const ROOM_WAIT: u32 = 60;
/// Connections through a proxy for what aliases pass on, and what finds its way back: a new home may have five in all, and strangers
/// alone decide how much there is, and how long those that it goes to let us wait.
pub const STRANGERS_THROUGH: usize = 2;
/// How long it counts as full after it has said so.
pub const FULL: Duration = Duration::from_secs(15);
/// Octets of a letter in one TLS record there: a far program may have one in part, which the outbound proxy cannot tell from
/// recipients that wait; the rest of its window is for what is on the way.
pub const RECORD_THROUGH: usize = 4 * 1024;
/// Time for the greeting (RFC 5321 §4.5.3.2.1).
pub const GREETING: Duration = Duration::from_secs(300);
/// Time for the TLS handshake: a far house behind a relay may have to wake first, for which the relay gives it a minute.
pub const HANDSHAKE: Duration = Duration::from_secs(90);
/// Time for the answer to EHLO, STARTTLS, MAIL, RCPT and RSET (§4.5.3.2.2, 4.5.3.2.3).
pub const COMMAND: Duration = Duration::from_secs(300);
/// Time for the 354 (§4.5.3.2.4).
pub const DATA: Duration = Duration::from_secs(120);
/// Time for one piece of the letter to be taken (§4.5.3.2.5).
pub const DATA_BLOCK: Duration = Duration::from_secs(180);
/// Time for the answer to the end of data (§4.5.3.2.6).
pub const END_OF_DATA: Duration = Duration::from_secs(600);
/// Time for the answer to QUIT: nothing depends on it.
pub const QUIT: Duration = Duration::from_secs(10);

/// Time for a connection to become ready, however many answers that takes.
pub const OPENING: Duration = Duration::from_secs(600);
/// Time for a letter until its last byte is written: this and, for its size, [`SLOWEST`]. A far server that gives each
/// answer just in time would else hold a place, a lease and memory for hours.
pub const TRANSACTION: Duration = Duration::from_secs(900);
/// Bytes a second that a far server takes at least.
pub const SLOWEST: u64 = 1_000;

/// Time after which no further host or address of a destination is tried in one attempt; [`HOSTS_NOT_NOW`] are asked however
/// long the first takes.
pub const REACH: Duration = Duration::from_secs(600);
/// Hosts of one destination that are tried in one attempt, and connections that it makes with all of them, however far each comes.
pub const HOSTS: usize = 10;
/// Of those, the ones that are asked for a letter when the first says "not now" (RFC 5321 §5.1: at least two). All of them would
/// annoy a domain that has everybody wait once; after each attempt that failed one more is asked.
pub const HOSTS_NOT_NOW: usize = 2;
/// Addresses of one such host that are asked: the first is of IPv6, where a house without a name for its address is often told "not
/// now" by all of them, and the second of IPv4. After each attempt that failed one more.
pub const ADDRESSES_NOT_NOW: usize = 2;
/// Texts of one letter that go out in one attempt when each is answered by "not now" at its end: what keeps a far server from taking
/// it is then seldom that address's alone, and a home's line would carry the same again and again. The next attempt begins elsewhere.
pub const TEXTS: usize = 2;
/// Octets of a letter that goes out once only: a home's line, with 1 Mbit/s, has ten seconds' work with so many.
pub const CARRIED_ONCE: u32 = 1024 * 1024;
/// Addresses of one host that are tried in one attempt.
pub const ADDRESSES: usize = 8;
/// The same through a proxy, beside the one that it has found itself: each costs a session of what the house may have there in a day.
pub const ADDRESSES_THROUGH: usize = 3;
/// Addresses that may say "not now" in one attempt through a proxy, one more after the first: each costs some twenty units of what the
/// house may send, and a far server that has everybody wait must not use that up.
pub const NOT_NOW_THROUGH: usize = 2;
/// Letters of which is remembered where they were lost over their text. A house has a few such in a year, and each takes 100 bytes.
pub const LOST: usize = 1_000;
/// Different letters that are lost so, one after another, before their destination rests: one may be what a far server chokes on.
pub const LOST_IN_A_ROW: usize = 3;
/// MX records of a domain that are looked at.
pub const MX_RECORDS: usize = 100;

/// Bytes of an MTA-STS policy (RFC 8461 §3.3 suggests 64 KiB).
pub const STS_POLICY: usize = 64 * 1024;
/// Patterns of an MTA-STS policy.
pub const STS_PATTERNS: usize = 100;
/// Seconds a policy may be kept (RFC 8461 §3.2: at most 31557600).
pub const STS_MAX_AGE: u64 = 31_557_600;
/// Policies remembered.
pub const STS_POLICIES: usize = 2_000;
/// Seconds after which a policy is fetched again although its id is the same (RFC 8461 §10.2 advises so daily).
pub const STS_REFRESH: i64 = 86_400;
/// Between two looks for policies that will soon hold no longer.
pub const STS_LOOK: Duration = Duration::from_secs(3_600);
/// Seconds after a fetch that failed before the next (RFC 8461 §3.3 suggests five minutes or more).
pub const STS_RETRY: i64 = 300;

/// Time for the fetch of a policy (RFC 8461 §3.3: a minute).
pub const STS_FETCH: Duration = Duration::from_secs(60);
/// TLSA records of one name that are looked at.
pub const TLSA_RECORDS: usize = 40;
/// Bytes of one certificate that is looked at.
pub const CERTIFICATE: usize = 64 * 1024;
/// Certificates of a chain that are looked at.
pub const CHAIN: usize = 10;

/// Seconds after which a letter that could not be delivered comes back (RFC 5321 §4.5.4.1: four to five days).
pub const GIVE_UP: i64 = 5 * 86_400;
/// And failed attempts it must have had: a clock that was wrong when it was queued must not bring it back at once.
pub const ATTEMPTS: u32 = 20;
/// And the most of one that by the clock was queued in the future, about twice what five days bring.
pub const MOST_ATTEMPTS: u32 = 100;
/// Seconds after which its sender hears that it still waits.
pub const DELAYED: i64 = 4 * 3_600;

/// Destinations remembered by their behaviour.
pub const DESTINATIONS: usize = 2_000;
/// Connections to one destination at a time.
pub const PER_DESTINATION: u32 = 10;
/// Letters a minute to a destination that has said "not now": halved each time it says so again, doubled with each
/// minute in which it does not. Before, and after that, it takes as many as it takes.
pub const RATE_PER_MINUTE: u32 = 300;
/// The least of that.
pub const LEAST_RATE: u32 = 10;
/// From here on there is no rate any more.
pub const NO_RATE: u32 = 2_400;

/// Levels of parts that are looked into when a letter is converted.
pub const LEVELS: usize = 50;
/// Bytes of a boundary (RFC 2046 §5.1.1: 70).
pub const BOUNDARY: usize = 70;

/// Bytes of the original's header that go into a notice.
pub const RETURNED_HEADER: usize = 32 * 1024;
/// Bytes of the original that go into a notice of failure when the whole was asked for.
pub const RETURNED_WHOLE: usize = 256 * 1024;

/// Bytes of a letter that is held in memory until a far server has it; larger ones leave from their files.
pub const SMALL: u32 = 128 * 1024;
/// Connections at a time, all destinations together.
pub const CONNECTIONS: usize = 64;
/// Time for a connection to become ready while all of them, or all that letters of its kind may have, are taken: other
/// destinations wait behind it.
pub const OPENING_WHEN_BUSY: Duration = Duration::from_secs(30);
/// Bytes that go out in one step: a TLS record.
pub const STEP: usize = 16 * 1024;
/// Time for one answer, or for one step of a letter to be taken, while all of those are taken. Not for the answer to a whole
/// letter, which may have been delivered.
pub const ANSWER_WHEN_BUSY: Duration = Duration::from_secs(60);
/// Connections beside those that wait for such an answer for longer. The keeper bounds leases, of which each has two at most.
pub const ASIDE: usize = 32;
/// The same of what aliases pass on, and of what finds its way back: of each so many, beside those.
pub const ASIDE_OF_STRANGERS: usize = 16;
/// Letters that are opened and signed at a time.
pub const HANDS: usize = 3;
/// Connections that are kept for the next letter, all destinations together.
pub const IDLE: usize = 64;
/// For how long. Far servers do not mind a moment (RFC 5321 §4.5.3.2.7 has them wait five minutes).
pub const LINGER: Duration = Duration::from_secs(2);
/// Letters that share the fate of one that could not be brought anywhere, at a time.
pub const SAME_FATE: usize = 200;
/// Letters over one connection; then others have their turn.
pub const LETTERS: usize = 100;
/// Seconds after which a notice that nobody takes is given up.
pub const NOTICE_GIVE_UP: i64 = 10 * 86_400;
/// Notices a day about single letters that aliases passed on and nobody took: one an hour.
pub const POSTMASTER_NOTICES: usize = 24;
/// Seconds after which the others are told together: what fails at once comes in one notice...
pub const SUMMARY_AFTER: i64 = 3_600;
/// ...and seconds between two of these: three a day.
pub const SUMMARY_BETWEEN: i64 = 8 * 3_600;
/// Letters that wait for one; each stays in the queue until then. More are only counted...
pub const SUMMARY_LETTERS: usize = 100;
/// ...and so are those beyond so many bytes, of the 1 GiB that all that is passed on may take.
pub const SUMMARY_BYTES: u64 = 32 * 1024 * 1024;
/// Seconds after which one that has not asked again is gone: twice what the keeper lets it sleep.
pub const SUMMARY_GONE: u64 = 600;
/// Domains of senders by which those are counted.
pub const SUMMARY_DOMAINS: usize = 50;
/// Addresses that one names of a letter.
pub const SUMMARY_RECIPIENTS: usize = 5;
/// Signs of each address and of a far server's words in one.
pub const SUMMARY_WORDS: usize = 200;
/// Seconds a destination rests when as many connections as it may have are running.
pub const BUSY: i64 = 1;
/// Time until a report that the disk did not take is made again; it doubles, up to the second.
pub const RECORD_RETRY: Duration = Duration::from_secs(1);
/// Between two such reports, at most.
pub const RECORD_RETRY_MOST: Duration = Duration::from_secs(30);
/// Seconds between two questions for something due, when nothing says that there is.
pub const LOOK: i64 = 30;

/// For answers to letters that are out already, once the role is to end: without them they go twice. Many servers look at a letter
/// for ten seconds and more before they take it.
pub const DRAIN: Duration = Duration::from_secs(24);
