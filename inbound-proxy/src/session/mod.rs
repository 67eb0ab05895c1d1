//! One SMTP session with a sender, as a pure machine: lines in, effects out.
//!
//! ```text
//!                                     ┌──► handed on to a home (this session is over)
//!  Clear ── STARTTLS ── ClientHello ──┤
//!                                     └──► Learning, or Away: TLS ends here; MAIL, RCPT, and never more than 451
//! ```
//!
//! A session that learns is another [`Session`], begun anew under TLS: nothing that was said in clear counts there.

use relay_link::inbound::ClientName;

use crate::limits;
use crate::reply::Reply;

mod command;
mod data;
mod ehlo;
mod mail;
mod rcpt;
mod starttls;

use command::Verb;
pub use rcpt::Domain;

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// In clear: it is to come to STARTTLS.
    Clear,
    /// Under TLS with this proxy: it is to tell for whom the mail is.
    Learning,
    /// The same, when that is known already, and the home is not connected.
    Away,
}

/// What the driver must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write it.
    Say(Reply),
    /// Flush; throw away what was sent ahead (RFC 3207 §4.2); read the ClientHello. The session is over.
    HandOver {
        /// What the sender calls itself.
        ehlo: Option<ClientName>,
    },
    /// Find it a place under TLS, and say whether there is one: [`Event::Admitted`].
    Admit,
    /// Remember for which domain this sender has mail.
    Learn(Domain),
    /// It has mail for somebody else, too, and is not asked for whom: nothing it was given proves whose its next mail is.
    Unclear,
    /// Flush and close.
    Close,
}

/// Something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A line, without its CRLF.
    Line(&'a [u8]),
    /// A line that is too long or not well ended.
    BadLine,
    /// The answer to [`Effect::Admit`].
    Admitted(bool),
    /// Nothing has come for [`Session::patience`], or not everything within [`Session::time`].
    Silence,
    /// The proxy ends.
    Ending,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    hello: Option<ClientName>,
    /// Domains that were told of.
    domains: Vec<Domain>,
    /// STARTTLS waits for a place.
    at_the_door: bool,
    /// The last command brought it on.
    went_on: bool,
    mails: u32,
    commands: u32,
    errors: u32,
    over: bool,
}

impl Session {
    /// Greets; under TLS the client speaks first.
    #[must_use]
    pub fn new(phase: Phase) -> (Self, Vec<Effect>) {
        let session = Self {
            phase,
            hello: None,
            domains: Vec::new(),
            at_the_door: false,
            went_on: true,
            mails: 0,
            commands: 0,
            errors: 0,
            over: false,
        };
        let effects = match phase {
            Phase::Clear => vec![Effect::Say(Reply::Greeting)],
            Phase::Learning | Phase::Away => Vec::new(),
        };
        (session, effects)
    }

    /// Whether nothing more is to be read.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// How long it waits for a line.
    #[must_use]
    pub const fn patience(&self) -> std::time::Duration {
        match self.phase {
            Phase::Clear => limits::CLEAR_IDLE,
            Phase::Learning | Phase::Away => limits::IDLE,
        }
    }

    /// Whether its last command counts against silence. Under TLS, where places are few, one that only passes the time (NOOP,
    /// RSET, HELP, and what makes no sense) does not.
    #[must_use]
    pub const fn went_on(&self) -> bool {
        self.went_on
    }

    /// How long it may take in all.
    #[must_use]
    pub const fn time(&self) -> std::time::Duration {
        match self.phase {
            Phase::Clear => limits::CLEAR_TIME,
            Phase::Learning | Phase::Away => limits::LEARNING_TIME,
        }
    }

    /// One step. After the session is over it says nothing.
    #[must_use]
    pub fn handle(&mut self, event: Event<'_>) -> Vec<Effect> {
        if self.over {
            return Vec::new();
        }
        self.commands += 1;
        let effects = match event {
            Event::Silence => vec![Effect::Say(Reply::Idle)],
            Event::Ending => vec![Effect::Say(Reply::Unavailable)],
            _ if self.commands > limits::COMMANDS => vec![Effect::Say(Reply::Enough)],
            Event::BadLine => self.blame(Reply::BadLine),
            Event::Line(line) => self.command(line),
            Event::Admitted(place) => starttls::admitted(self, place),
        };
        self.end(effects)
    }

    fn command(&mut self, line: &[u8]) -> Vec<Effect> {
        let (verb, argument) = command::split(line);
        self.went_on = self.phase == Phase::Clear || matches!(verb, Verb::Ehlo | Verb::Helo | Verb::Mail | Verb::Rcpt);
        match verb {
            Verb::Ehlo => ehlo::ehlo(self, argument),
            Verb::Helo => ehlo::helo(self, argument),
            Verb::StartTls => starttls::starttls(self, argument),
            Verb::Mail => mail::mail(self),
            Verb::Rcpt => rcpt::rcpt(self, argument),
            Verb::Data | Verb::Bdat => data::data(),
            Verb::Rset | Verb::Noop => vec![Effect::Say(Reply::Fine)],
            Verb::Vrfy | Verb::Expn => vec![Effect::Say(Reply::Perhaps)],
            Verb::Help => vec![Effect::Say(Reply::Help)],
            Verb::Quit => vec![Effect::Say(Reply::Bye)],
            // A browser made to talk to us says its verb, then headers that somebody else may choose.
            Verb::Http => vec![Effect::Say(Reply::Enough)],
            Verb::Auth => self.blame(Reply::OutOfOrder),
            Verb::Unknown => self.blame(Reply::NotUnderstood),
        }
    }

    /// Counts an error; the tenth ends the session.
    fn blame(&mut self, reply: Reply) -> Vec<Effect> {
        self.errors += 1;
        let reply = if self.errors >= limits::ERRORS { Reply::Enough } else { reply };
        vec![Effect::Say(reply)]
    }

    /// One place where sessions end, so that no verb can go on after a reply that closes.
    fn end(&mut self, mut effects: Vec<Effect>) -> Vec<Effect> {
        let closes = |effect: &Effect| matches!(effect, Effect::Say(reply) if reply.closes());
        if let Some(last) = effects.iter().position(closes) {
            effects.truncate(last + 1);
            effects.push(Effect::Close);
        }
        self.over = effects.iter().any(|effect| matches!(effect, Effect::Close | Effect::HandOver { .. }));
        effects
    }
}
