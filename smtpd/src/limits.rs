//! Every bound of the two SMTP roles, next to where it comes from.

use std::time::Duration;

/// Octets of a command line, CRLF included. RFC 5321 §4.5.3.1.4 says 512, its extensions add up to some
/// 1,100 (SIZE 26, SMTPUTF8 10, DSN 500 for ORCPT and 100 for ENVID, AUTH 500): rounded up.
pub const COMMAND_LINE: usize = 2_048;
/// Octets of a line of an AUTH exchange, CRLF included (RFC 4954 §4).
pub const AUTH_LINE: usize = 12_288;
/// Octets of a line of text that are refused. RFC 5321 §4.5.3.1.6 says 1,000; real mail often has
/// longer ones, and for us a line is nothing but bytes of one buffer, so only absurd ones are refused.
pub const TEXT_LINE: usize = 64 * 1024;
/// Octets of a local part: twice what RFC 5321 §4.5.3.1.1 asks for, since rewritten senders (SRS) hold a whole address.
pub const LOCAL_PART: usize = 128;
/// Octets of a domain (RFC 5321 §4.5.3.1.2).
pub const DOMAIN: usize = 255;
/// Recipients of one transaction: the least a server must take (RFC 5321 §4.5.3.1.8); announced by LIMITS
/// (RFC 9422).
pub const RECIPIENTS: usize = 100;
/// Octets of ORCPT (RFC 3461 §4.2).
pub const ORCPT: usize = 500;
/// Bytes of all addresses and ORCPTs of one transaction: they go to the keeper in one packet of 64 KiB. A hundred plain
/// addresses of the longest fit.
pub const RECIPIENT_BYTES: usize = 48 * 1024;
/// Commands of one session; a peer that has more to say connects again.
pub const COMMANDS: u32 = 10_000;
/// Refused commands and recipients after which a session ends with 421.
pub const ERRORS: u32 = 20;
/// Failed logins after which a session ends with 421 (RFC 4954 §4 suggests three).
pub const LOGIN_FAILURES: u32 = 3;
/// Parameters of one MAIL or RCPT.
pub const PARAMETERS: usize = 16;
/// Received fields after which a message is taken to be in a loop (RFC 5321 §6.3 says at least 100; fifty is
/// what Postfix takes, and no real path is half as long).
pub const HOPS: usize = 50;
/// Octets of a mark in Received, which tells a letter that comes back: enough that none is there by chance.
pub const MARK: usize = 8;
/// So many marks, or a multiple of it, has what leaves: a line holds them (RFC 5322 §2.1.1: 78 octets).
pub const MARKS: usize = 4;
/// Times that a letter may come for an alias which passed it on, since somebody resent it by hand: people seldom do it twice, and
/// a house that does it with every letter is in a loop.
pub const RESENT: usize = 3;
/// And of one letter in all, whoever has resent it: several rules elsewhere that each add those fields would double it each time.
pub const RESENT_IN_ALL: usize = 10;
/// Letters of which is remembered how often that was so: who resends does so within days, and each takes some 50 bytes.
pub const RESENT_LETTERS: usize = 1_000;
/// Octets of a header block. It is read for hops, senders and forged fields, so one that does not end within this is
/// refused: what we do not read, a mail reader would.
pub const HEADER: usize = 1024 * 1024;
/// Octets of a From or Sender that are read. What reads them may look at each sign many times, and all others' mail waits
/// meanwhile; a hundred authors with names fit.
pub const AUTHORS: usize = 16 * 1024;

/// Connections of one role at a time.
pub const CONNECTIONS: usize = 1_000;
/// Connections of one address (IPv6: one /64) at a time.
pub const CONNECTIONS_PER_ADDRESS: usize = 50;
/// Connections of one IPv6 /48 or IPv4 /24 at a time, which one tenant may have. Large senders have some hundred in one.
pub const CONNECTIONS_OF_NEIGHBOURS: usize = 200;
/// The last connections are for such neighbourhoods that have none: else five of them fill all.
pub const CONNECTIONS_KEPT: usize = 100;
/// Connections that came through proxies. A proxy says who called, and may lie: it must not keep the house itself out.
pub const CONNECTIONS_HANDED: usize = CONNECTIONS / 2;
/// Silence after which a session ends (RFC 5321 §4.5.3.2.7: at least five minutes).
pub const IDLE: Duration = Duration::from_secs(300);
/// Longest session.
pub const SESSION: Duration = Duration::from_secs(3_600);
/// Time to write one flush; a peer that does not read its replies is cut off.
pub const WRITE: Duration = Duration::from_secs(60);
/// Body bytes a second below which a peer is cut off. What comes buys time at this rate...
pub const MINIMUM_RATE: u64 = 512;
/// ...or at the rate that fills what it holds of the budget within so long, if that is more: who blocks much mail must
/// send fast...
pub const HOLD: Duration = Duration::from_secs(600);
/// ...beginning with so much time...
pub const RATE_GRACE: Duration = Duration::from_secs(30);
/// ...and never with more than so much in hand.
pub const RATE_CREDIT: Duration = Duration::from_secs(120);
/// Time a drained role gives its transactions. What still reads from its client then ends with 421; `up` waits a little
/// longer before it ends the role.
pub const DRAIN: Duration = Duration::from_secs(8);
/// Time for the last words after that.
pub const LAST_WORDS: Duration = Duration::from_secs(1);
/// Time a new session waits for a keeper that is being restarted.
pub const KEEPER_WAIT: Duration = Duration::from_secs(5);

/// Steps in which the byte budget is taken as bytes come. SIZE takes nothing: it is only a word.
pub const BUDGET_STEP: u64 = 1024 * 1024;
/// Mailboxes up to which a message's letters are begun before it is there: their pipes wait meanwhile.
pub const ADDRESSED_EARLY: usize = 2;
/// Messages of which that may be so at a time; of any more, the letters are begun when they are needed.
pub const BEGUN_EARLY: usize = 32;
/// A message so short is sealed where it is, when the keeper's pipe holds four times as much and so cannot block.
pub const SEALED_AT_ONCE: usize = 64 * 1024;
/// Largest message unless `up` says otherwise.
pub const LARGEST_MESSAGE: u64 = 50 * 1024 * 1024;

/// Time all of SPF, DKIM, DMARC, ARC and iprev get after the end of data; then they are temporary errors.
pub const AUTHENTICATION: Duration = Duration::from_secs(10);
/// Time one DNS question gets.
pub const LOOKUP: Duration = Duration::from_secs(3);
/// Signatures, ARC's included, beyond which none is looked at (RFC 6376 §8.4 lets a verifier choose).
pub const SIGNATURES: usize = 20;
/// Octets of one of them, or of what ARC found, beyond which none is looked at: the longest keys make some 700 of them, and fifty
/// names some 1,000.
pub const SIGNATURE: usize = 16 * 1024;
/// Fields that one may name. Each name is looked for among all fields; signers that guard against fields put in later
/// name some forty.
pub const SIGNED_NAMES: usize = 200;
/// Fields of a header beyond which no signature is looked at, for the same reason. Mail has some thirty, after years of lists
/// and forwarding some hundred.
pub const SIGNED_FIELDS: usize = 2_000;
/// How long a question that DNS failed to answer is not asked again, doubled with each failure...
pub const FAILED_LOOKUP: Duration = Duration::from_secs(15);
/// ...up to this (RFC 9520 §3.2: 1 s to 5 min).
pub const FAILED_LOOKUP_LONGEST: Duration = Duration::from_secs(300);
/// Questions remembered for that.
pub const FAILED_LOOKUPS: usize = 1_000;
/// Answers of DNS that are kept for as long as they say.
pub const CACHED_ANSWERS: u64 = 2_000;
/// How long "there is no such record" is kept when the answer does not say (home routers often cut that part off)...
pub const NEGATIVE_SHORTEST: Duration = Duration::from_secs(30);
/// ...and when it says more (RFC 2308 §5: one to three hours).
pub const NEGATIVE_LONGEST: Duration = Duration::from_secs(3_600);
/// Domains in From whose DMARC policies are asked; a message with more is refused. Mail has one author, seldom two.
pub const AUTHOR_DOMAINS: usize = 8;
