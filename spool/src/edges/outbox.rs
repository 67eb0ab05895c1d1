//! `Outbox`: what `courier` holds. Lease what is due, report its fate. It sees every letter that waits to leave, and
//! nothing that was delivered here.
//!
//! A lease covers the recipients of one letter at one destination (the domain of their addresses). It is not written
//! down: when the courier dies, what it had leased is due again. What it reports is durable before it is answered, so a
//! delivery is repeated only when somebody died between the far server's 250 and the record of it.

use std::collections::BTreeSet;
use std::os::fd::{BorrowedFd, OwnedFd};

use filter_sandbox::edge::{Caller, Down, Edge};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::admin::Rest;
use crate::names::{LetterId, MailboxId};

pub mod turns;

use turns::Turn;

/// Bounds of this edge.
pub mod limits {
    /// Recipients of one letter.
    pub const RECIPIENTS: usize = 100;
    /// Bytes of what is remembered of a far server's words.
    pub const WORDS: usize = 1_024;
    /// Bytes of ENVID or ORCPT (RFC 3461 §4.2, 4.4).
    pub const PARAMETER: usize = 512;
    /// Leases at a time of what aliases pass on and of bounces that find their way back: strangers decide how much there is
    /// of it and where it goes, and what is written here must not wait behind it.
    pub const PASSED_ON: usize = 32;
    /// And of those, what has no sender: strangers alone decide where it goes.
    pub const WAY_BACK: usize = PASSED_ON / 2;
    /// Bytes of it that wait: twenty of the largest letters, and what a family's aliases get in the days that a house may
    /// be down.
    pub const PASSED_ON_BYTES: u64 = 1024 * 1024 * 1024;
    /// And no more than one in so many bytes of the disk that would be free without it: the rest is for letters that stay.
    pub const PASSED_ON_PART: u64 = 4;
    /// Recipients of it that wait: each may take two KiB of the keeper's memory.
    pub const PASSED_ON_RECIPIENTS: u64 = 10_000;
    /// Leases at a time.
    pub const LEASES: usize = 256;
    /// Seconds a recipient waits at most for its next attempt. What is due later than that was put there by a clock that
    /// was ahead, and is due now.
    pub const FARTHEST: i64 = 5 * 3_600;
    /// Destinations that rest at a time.
    pub const RESTING: usize = 10_000;
    /// Bytes of why one does: a line in a list, and three megabytes of all of those.
    pub const REST_WORDS: usize = 300;
    /// Policies kept.
    pub const POLICIES: usize = 1_000;
    /// Bytes of a policy that is kept: hosts of the largest houses need a tenth of this.
    pub const POLICY: usize = 4 * 1024;
    /// Bytes of recipients in one packet of this edge (64 KiB), beside the rest of a letter.
    pub const PACKET: usize = 56 * 1_024;
    /// Bytes of a recipient or its state in a packet, beside its texts.
    pub const OVERHEAD: usize = 64;
}

/// What was said of a recipient last, by a far server or by the courier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Enhanced status (RFC 3463).
    pub status: (u8, u16, u16),
    /// The far host and its code, when the words are its.
    pub by: Option<(String, u16)>,
    /// Bounded, no control characters.
    pub words: String,
    /// Seconds since 1970.
    pub at: i64,
}

impl Said {
    fn host(&self) -> usize {
        self.by.as_ref().map_or(0, |(host, _)| host.len())
    }
}

/// Where a recipient stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// To be tried.
    Waiting {
        /// Attempts that failed.
        failures: u32,
        /// Not before then.
        due: i64,
        /// Its sender has heard that it waits.
        delay_told: bool,
        /// Why it waits.
        last: Option<Said>,
    },
    /// It is decided, and its sender is still to be told.
    Untold {
        /// A far server took it.
        delivered: bool,
        /// Its words.
        last: Said,
    },
    /// Nothing more is to be done.
    Done {
        /// A far server took it.
        delivered: bool,
    },
}

impl State {
    /// As it begins.
    #[must_use]
    pub const fn new(due: i64) -> Self {
        Self::Waiting { failures: 0, due, delay_told: false, last: None }
    }

    const fn said(&self) -> Option<&Said> {
        match self {
            Self::Waiting { last, .. } => last.as_ref(),
            Self::Untold { last, .. } => Some(last),
            Self::Done { .. } => None,
        }
    }

    fn is_bounded(&self) -> bool {
        self.said().is_none_or(|said| said.words.len() <= limits::WORDS && said.host() <= super::limits::ADDRESS)
    }

    /// At most so many bytes in a packet or a record.
    #[must_use]
    pub fn weight(&self) -> usize {
        limits::OVERHEAD + self.said().map_or(0, |said| said.words.len() + said.host())
    }
}

/// One recipient of a letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutgoingRecipient {
    /// RCPT TO.
    pub address: String,
    /// ORCPT as it came.
    pub original: Option<String>,
    /// NOTIFY: (success, failure, delay); all false is NEVER.
    pub notify: Option<(bool, bool, bool)>,
    /// Where it stands.
    pub state: State,
}

impl OutgoingRecipient {
    /// Its destination: the domain in lower case.
    #[must_use]
    pub fn destination(&self) -> String {
        self.address.rsplit_once('@').map_or("", |(_, domain)| domain).to_lowercase()
    }

    fn weight(&self) -> usize {
        self.address.len() + self.original.as_ref().map_or(0, String::len) + self.state.weight()
    }

    /// Its place only.
    fn emptied(&mut self) {
        let state = match self.state {
            State::Waiting { failures, due, delay_told, .. } => {
                State::Waiting { failures, due, delay_told, last: None }
            }
            State::Untold { delivered, .. } | State::Done { delivered } => State::Done { delivered },
        };
        *self = Self { address: String::new(), original: None, notify: None, state };
    }
}

/// A letter that waits, but for its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// Whose login sent it.
    pub mailbox: MailboxId,
    /// MAIL FROM; `None` for `<>`.
    pub sender: Option<String>,
    /// Seconds since 1970.
    pub queued: i64,
    /// Bytes of the message before sealing.
    pub size: u32,
    /// The outgoing identity it is sealed to.
    pub generation: u32,
    /// SHA-256 of the whole file.
    pub digest: [u8; 32],
    /// Octets above 127 in a body.
    pub eight_bit: bool,
    /// The same in a header or an address.
    pub international: bool,
    /// REQUIRETLS.
    pub require_tls: bool,
    /// RET: whether the whole letter comes back.
    pub full: Option<bool>,
    /// ENVID as it came.
    pub envelope_id: Option<String>,
    /// At least one.
    pub recipients: Vec<OutgoingRecipient>,
    /// The admin keeps it back.
    pub held: bool,
    /// An alias passes it on for a stranger, or it is a bounce to one: nobody here sent it, and nobody is told.
    pub passed_on: bool,
}

impl Outgoing {
    /// Among whom it has its turn, wherever it goes.
    #[must_use]
    pub const fn turn(&self) -> Turn {
        match (self.passed_on, &self.sender) {
            (false, _) => Turn::Written,
            (true, Some(_)) => Turn::PassedOn,
            (true, None) => Turn::WayBack,
        }
    }

    /// Its recipients in lower case, each once.
    #[must_use]
    pub fn each_recipient(&self) -> Vec<String> {
        let all: BTreeSet<String> = self.recipients.iter().map(|one| one.address.to_lowercase()).collect();
        all.into_iter().collect()
    }

    /// Whether everything about it is within its bounds.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        let parameter = |text: &Option<String>| text.as_ref().is_none_or(|text| text.len() <= limits::PARAMETER);
        let address = |text: &String| text.len() <= super::limits::ADDRESS;
        (1..=limits::RECIPIENTS).contains(&self.recipients.len())
            && self.sender.as_ref().is_none_or(address)
            && parameter(&self.envelope_id)
            && self
                .recipients
                .iter()
                .all(|one| address(&one.address) && parameter(&one.original) && one.state.is_bounded())
    }
}

/// A letter that the courier may now deliver, to some of its recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leased {
    /// Goes back with the report.
    pub lease: u64,
    /// Its file, whose descriptor comes along.
    pub letter: LetterId,
    /// Where to; empty when its sender is to be told.
    pub destination: String,
    /// Everything about it; of recipients that this is not about, the place only.
    pub outgoing: Outgoing,
    /// The recipients this is about, by number: those that are due at one destination, or those whose sender is still
    /// to be told.
    pub recipients: Vec<u16>,
    /// Whether its destination is a domain of ours by now: who it is for may have a mailbox here.
    pub is_ours: bool,
    /// Whether anything else is due (there, when it was asked for one destination) that is not leased. If not, and not
    /// asked for one destination, [`Event::Due`] tells of what comes: to ask before then is needed only for what goes back.
    pub more: bool,
}

impl Leased {
    /// Among whom it has its turn.
    #[must_use]
    pub const fn turn(&self) -> Turn {
        // To tell somebody of this house leads nowhere else.
        if self.destination.is_empty() { Turn::Written } else { self.outgoing.turn() }
    }

    /// No more than a packet holds, but at least one recipient: the others are due still, under a lease of their own.
    #[must_use]
    pub fn fitting(mut self) -> Self {
        let (mut room, all) = (limits::PACKET, &mut self.outgoing.recipients);
        self.recipients.retain(|number| {
            let left = all.get(usize::from(*number)).and_then(|one| room.checked_sub(one.weight()));
            room = left.unwrap_or(room);
            left.is_some()
        });
        let others = all.iter_mut().zip(0u16..).filter(|(_, number)| !self.recipients.contains(number));
        others.for_each(|(one, _)| one.emptied());
        self
    }
}

/// States in packets that hold them; at least one.
fn parts(states: Vec<(u16, State)>) -> Vec<Vec<(u16, State)>> {
    let (mut parts, mut room) = (vec![Vec::new()], limits::PACKET);
    for (number, state) in states {
        let weight = state.weight();
        if weight > room {
            parts.push(Vec::new());
            room = limits::PACKET;
        }
        room = room.saturating_sub(weight);
        if let Some(part) = parts.last_mut() {
            part.push((number, state));
        }
    }
    parts
}

/// From `courier` to the keeper.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// The letter that has been due longest, of a destination of which fewer than so many are leased, and which does
    /// not rest; or of this one only, resting or not.
    Lease { only: Option<String>, per_destination: u16 },
    /// May the text of that lease's letter begin to go out? Not when the admin has kept it back meanwhile.
    Begin { lease: u64 },
    /// What had begun has ended and nobody has it: before it begins elsewhere the admin may keep it back.
    Over { lease: u64 },
    /// Its whole text is out, and the answer is long in coming: for so long it is nobody's turn.
    Aside { lease: u64 },
    /// What became of some of a lease's recipients; those not named stay as they were. The lease `ends` with it, or more
    /// follows.
    Report { lease: u64, states: Vec<(u16, State)>, ends: bool },
    /// Several were told by one notice: those whose sender could not be told have their turn now.
    Wake,
    /// Nothing is leased of that destination until then; or nothing that aliases pass on, and no bounce on its way back.
    Rest { destination: String, rest: Rest, passed_on: bool },
    /// Some of the MTA-STS policies that are kept, behind that domain.
    Policies { after: Option<String> },
    /// Keeps one, until then at least.
    KeepPolicy { domain: String, until: i64, policy: Vec<u8> },
}

/// From the keeper to `courier`.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// To `Lease`; with one descriptor, read-only, when there is something.
    Leased(Option<Box<Leased>>),
    /// To `Begin`.
    Begun(bool),
    /// To `Over`.
    Over,
    /// To `Aside`.
    Aside,
    /// To `Wake`.
    Awake,
    /// To `Report`: it is durable.
    Recorded,
    /// To `Report`: the disk took nothing; the lease goes on, and the report is to be made again.
    NotRecorded,
    /// To `Rest`.
    Resting,
    /// To `Policies`: by domain; none at the end.
    Policies(Vec<(String, Vec<u8>)>),
    /// To `KeepPolicy`: it is durable, or the disk took nothing.
    PolicyKept,
}

/// News for the courier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Something may be due.
    Due,
    /// The admin says "now": no destination rests any longer.
    Hurry,
}

/// The right to send what waits.
#[derive(Debug)]
pub struct Outbox(Caller<Request, Reply, Event>);

impl Outbox {
    /// Takes the client end of the edge; [`Event`]s come through `news`.
    ///
    /// # Errors
    /// The kernel's; needs a tokio runtime.
    pub fn new(edge: Edge, news: mpsc::Sender<Event>) -> std::io::Result<Self> {
        Ok(Self(Caller::start(edge, news)?))
    }

    /// What is due now, with its file.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn lease(&self, only: Option<String>, per_destination: u16) -> Result<Option<(Leased, OwnedFd)>, Down> {
        let (reply, with) = self.0.call(Request::Lease { only, per_destination }, NONE).await?;
        match (reply, with.into_iter().next()) {
            (Reply::Leased(Some(leased)), Some(file)) => Ok(Some((*leased, file))),
            (Reply::Leased(None), None) => Ok(None),
            _ => Err(Down),
        }
    }

    /// Whether the text of that lease's letter may begin to go out. If not, it is not due any more, and the lease is to end
    /// with nothing said.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn begin(&self, lease: u64) -> Result<bool, Down> {
        match self.0.call(Request::Begin { lease }, NONE).await?.0 {
            Reply::Begun(may) => Ok(may),
            _ => Err(Down),
        }
    }

    /// The text of that lease's letter does not go out any more, and nobody has it: it is asked for again before it begins
    /// elsewhere.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn over(&self, lease: u64) -> Result<(), Down> {
        self.0.call(Request::Over { lease }, NONE).await.map(drop)
    }

    /// That lease's letter only waits for the answer to its whole text: others may have its turn.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn aside(&self, lease: u64) -> Result<(), Down> {
        self.0.call(Request::Aside { lease }, NONE).await.map(drop)
    }

    /// Reports, and ends the lease; whether it is durable. If not, the lease goes on, and the same may be reported again.
    ///
    /// # Errors
    /// [`Down`]; what becomes of the letter is then decided by what the journal holds.
    pub async fn report(&self, lease: u64, states: Vec<(u16, State)>) -> Result<bool, Down> {
        self.say(lease, states, true).await
    }

    /// As [`Self::report`], and the lease goes on.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn note(&self, lease: u64, states: Vec<(u16, State)>) -> Result<bool, Down> {
        self.say(lease, states, false).await
    }

    async fn say(&self, lease: u64, states: Vec<(u16, State)>, ends: bool) -> Result<bool, Down> {
        let mut parts = parts(states).into_iter().peekable();
        while let Some(states) = parts.next() {
            let ends = ends && parts.peek().is_none();
            match self.0.call(Request::Report { lease, states, ends }, NONE).await?.0 {
                Reply::Recorded => {}
                Reply::NotRecorded => return Ok(false),
                _ => return Err(Down),
            }
        }
        Ok(true)
    }

    /// Lets those have their turn now whose sender could not be told: one notice has told of them, which is written down once
    /// they are leased.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn wake(&self) -> Result<(), Down> {
        self.0.call(Request::Wake, NONE).await.map(drop)
    }

    /// Lets a destination rest.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn rest(&self, destination: String, rest: Rest) -> Result<(), Down> {
        self.0.call(Request::Rest { destination, rest, passed_on: false }, NONE).await.map(drop)
    }

    /// The same, for what strangers send only: what is written here goes on.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn rest_for_strangers(&self, destination: String, rest: Rest) -> Result<(), Down> {
        self.0.call(Request::Rest { destination, rest, passed_on: true }, NONE).await.map(drop)
    }

    /// All policies that are kept.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn policies(&self) -> Result<Vec<(String, Vec<u8>)>, Down> {
        let mut all: Vec<(String, Vec<u8>)> = Vec::new();
        loop {
            let after = all.last().map(|(domain, _)| domain.clone());
            match self.0.call(Request::Policies { after }, NONE).await?.0 {
                Reply::Policies(some) if some.is_empty() || all.len() >= limits::POLICIES => return Ok(all),
                Reply::Policies(some) => all.extend(some),
                _ => return Err(Down),
            }
        }
    }

    /// Keeps a policy.
    ///
    /// # Errors
    /// [`Down`].
    pub async fn keep_policy(&self, domain: String, until: i64, policy: Vec<u8>) -> Result<(), Down> {
        self.0.call(Request::KeepPolicy { domain, until, policy }, NONE).await.map(drop)
    }

    /// Returns once the socket is closed.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

const NONE: &[BorrowedFd<'static>] = &[];
