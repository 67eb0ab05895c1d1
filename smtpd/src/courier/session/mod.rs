//! The SMTP client as a pure machine: the far server's lines and the driver's outcomes in, effects out. No clock,
//! no socket, no randomness.
//!
//! ```text
//!  ExpectGreeting ─► ExpectEhlo ─► ExpectStartTls ─► ExpectHandshake ─► ExpectEhlo ─► Ready ─► ExpectQuit
//!                        │ clear text allowed                                       ▲  │ Letter
//!                        └─► ExpectHelo ──────────────────────────────────► Ready   │  ▼
//!                                                                  ExpectRset ──────┤ ExpectMail ─► ExpectRecipient ─┐
//!                                                                       ▲           │                                │
//!                                                                       └─ ExpectOutcome ◄─ ExpectWritten ◄─ ExpectGo ◄┘
//! ```
//!
//! A connection either becomes ready, or [`Effect::Unusable`] says once why not. Each letter handed in comes back in
//! exactly one [`Effect::Fates`], a fate for each of its recipients, whatever the far server does.

use super::fate::{Status, Why};
use super::limits;
use super::reply::{FarReply, Gathering, NoReply, is_answer, without_blanks};

mod bdat;
mod data;
mod ehlo;
mod events;
mod extensions;
mod greeting;
mod letter;
mod mail;
mod quit;
mod rcpt;
mod rset;
mod starttls;
mod states;

pub use events::{Awaits, Effect, Event, Rules, Tls};
pub use extensions::Extensions;
pub use letter::{Letter, Notify, Recipient, Return};

use states::State;

/// One connection's session.
#[derive(Debug)]
pub struct Session {
    context: Context,
    state: State,
}

/// What outlives the states.
#[derive(Debug)]
struct Context {
    rules: Rules,
    gathering: Gathering,
    extensions: Extensions,
    secure: bool,
}

impl Context {
    /// Why, in the far server's words; `otherwise` is the subject and detail of a reply without a status.
    fn why(&self, reply: &FarReply, otherwise: (u16, u16)) -> Why {
        reply.why(&self.rules.far, otherwise)
    }

    /// Our words about the far server.
    fn about(&self, status: Status, what: &str) -> Why {
        Why::ours(status, format!("{} {what}", self.rules.far))
    }
}

impl Session {
    /// Waits for the greeting.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let context =
            Context { rules, gathering: Gathering::default(), extensions: Extensions::default(), secure: false };
        Self { context, state: State::ExpectGreeting }
    }

    /// One that is over: what stands in a session's place while it takes a step.
    #[must_use]
    pub fn closed() -> Self {
        let rules = Rules { hello: String::new(), far: String::new(), tls: Tls::Required, proves: false };
        Self { state: State::Closed, ..Self::new(rules) }
    }

    /// What it waits for.
    #[must_use]
    pub const fn awaits(&self) -> Awaits {
        match self.state {
            State::ExpectGreeting => Awaits::Reply(limits::GREETING),
            State::ExpectGo(_) => Awaits::Reply(limits::DATA),
            State::ExpectOutcome(_) => Awaits::Reply(limits::END_OF_DATA),
            State::ExpectQuit => Awaits::Reply(limits::QUIT),
            State::ExpectHandshake | State::ExpectWritten(_) => Awaits::Outcome,
            State::Ready => Awaits::Letter,
            State::Closed => Awaits::Nothing,
            _ => Awaits::Reply(limits::COMMAND),
        }
    }

    /// Whether a reply has begun, or what may stand in front of one, and is not yet whole: the time for it runs.
    #[must_use]
    pub const fn is_in_reply(&self) -> bool {
        let is_passing = matches!(&self.state, State::ExpectOutcome(transaction) if transaction.passed_over > 0);
        is_passing || self.context.gathering.is_begun()
    }

    /// What the far server has announced. Whoever hands in a letter makes it fit first.
    #[must_use]
    pub const fn extensions(&self) -> &Extensions {
        &self.context.extensions
    }

    /// Our name as it was said to the far server.
    #[must_use]
    pub fn hello(&self) -> &str {
        &self.context.rules.hello
    }

    /// One step.
    #[must_use]
    pub fn handle(mut self, event: Event<'_>) -> (Self, Vec<Effect>) {
        let mut out = Vec::new();
        self.state = step(&mut self.context, self.state, event, &mut out);
        (self, out)
    }
}

fn step(context: &mut Context, state: State, event: Event<'_>, out: &mut Vec<Effect>) -> State {
    match (state, event) {
        (State::Closed, _) => State::Closed,
        (state, Event::Line(line)) if state.takes_lines() => match context.gathering.line(line) {
            Ok(None) => state,
            Ok(Some(reply)) => replied(context, state, &reply, out),
            Err(NoReply(what)) => misspoken(context, state, line, what, out),
        },
        (state, Event::BadLine) => fail(context, state, &babble(context, "a line without end"), out),
        (State::ExpectHandshake, Event::TlsStarted) => starttls::started(context, out),
        (state @ State::ExpectHandshake, Event::TlsFailed(why)) => fail(context, state, &why, out),
        (State::Ready, Event::Letter(letter)) => mail::begin(context, letter, out),
        (State::Ready, Event::NoMore) => quit::quit(out),
        (State::ExpectWritten(transaction), Event::Written) => State::ExpectOutcome(transaction),
        (state, Event::Silent) => {
            let why = context.about(Status::new(4, 4, 2), "did not answer in time");
            over(context, state, &why, out)
        }
        (state, Event::Lost(how)) => {
            let why = context.about(Status::new(4, 4, 2), &format!("broke the connection off ({how})"));
            over(context, state, &why, out)
        }
        // The driver handed in what was not asked for: our bug, and no reason to guess.
        (state, _) => fail(context, state, &Why::ours(Status::new(4, 3, 0), "internal error"), out),
    }
}

/// A line that is none of a reply.
fn misspoken(context: &mut Context, state: State, line: &[u8], what: &str, out: &mut Vec<Effect>) -> State {
    let State::ExpectOutcome(mut transaction) = state else {
        return fail(context, state, &babble(context, what), out);
    };
    // It has all of the letter, and only its word for that is odd.
    let line = without_blanks(line);
    if let Some(yes) = context.gathering.yes(line) {
        return data::oddly_taken(context, *transaction, &yes, out);
    }
    if !context.gathering.is_begun() && !is_answer(line) && transaction.passes_over() {
        return State::ExpectOutcome(transaction);
    }
    fail(context, State::ExpectOutcome(transaction), &babble(context, what), out)
}

/// Nothing more comes.
fn over(context: &mut Context, state: State, why: &Why, out: &mut Vec<Effect>) -> State {
    match (state, context.gathering.begun_yes()) {
        (State::ExpectOutcome(transaction), Some(yes)) => data::oddly_taken(context, *transaction, &yes, out),
        (state, _) => fail(context, state, why, out),
    }
}

/// A whole reply.
fn replied(context: &mut Context, state: State, reply: &FarReply, out: &mut Vec<Effect>) -> State {
    if reply.closes() && !matches!(state, State::ExpectQuit) {
        let why = context.why(reply, (3, 2));
        return fail(context, state, &why, out);
    }
    match state {
        State::ExpectGreeting => greeting::greeted(context, reply, out),
        State::ExpectEhlo => ehlo::answered(context, reply, out),
        State::ExpectHelo => ehlo::helo_answered(context, reply, out),
        State::ExpectStartTls => starttls::answered(context, reply, out),
        State::ExpectMail(transaction) => mail::answered(context, transaction, reply, out),
        State::ExpectRecipient(transaction) => rcpt::answered(context, transaction, reply, out),
        State::ExpectGo(transaction) => data::answered(context, transaction, reply, out),
        State::ExpectWritten(transaction) => data::answered_early(context, transaction, reply, out),
        State::ExpectOutcome(transaction) => data::outcome(context, transaction, reply, out),
        State::ExpectRset => rset::answered(reply, out),
        State::ExpectQuit => close(out),
        // It speaks when nothing was asked.
        state @ (State::Ready | State::ExpectHandshake | State::Closed) => {
            let why = babble(context, "an answer to nothing");
            fail(context, state, &why, out)
        }
    }
}

/// The connection is of no more use; what hung on it is deferred.
fn fail(context: &Context, state: State, why: &Why, out: &mut Vec<Effect>) -> State {
    match state {
        State::Ready | State::ExpectRset | State::ExpectQuit | State::Closed => {}
        State::ExpectGreeting
        | State::ExpectEhlo
        | State::ExpectHelo
        | State::ExpectStartTls
        | State::ExpectHandshake => out.push(Effect::Unusable(for_now(why))),
        State::ExpectMail(transaction)
        | State::ExpectRecipient(transaction)
        | State::ExpectGo(transaction)
        | State::ExpectWritten(transaction)
        | State::ExpectOutcome(transaction) => transaction.lost(context, &for_now(why), out),
    }
    close(out)
}

/// It takes no mail from us at all. Whether that is for good the other hosts must say, too.
fn refuse(context: &Context, state: State, reply: &FarReply, otherwise: (u16, u16), out: &mut Vec<Effect>) -> State {
    let why = context.why(reply, otherwise);
    // Anybody on the way could say so in place of a host that must prove itself.
    if !reply.is_for_good() || context.rules.proves && !context.secure {
        return fail(context, state, &why, out);
    }
    out.push(Effect::Unusable(why));
    close(out)
}

/// A host that fails says nothing about an address: another host, or this one later, may take the letter.
fn for_now(why: &Why) -> Why {
    Why { status: why.status.of_class(4), ..why.clone() }
}

fn close(out: &mut Vec<Effect>) -> State {
    out.push(Effect::Close);
    State::Closed
}

fn babble(context: &Context, what: &str) -> Why {
    context.about(Status::new(4, 5, 0), &format!("does not speak SMTP: {what}"))
}

/// A connection that becomes ready.
fn ready(out: &mut Vec<Effect>) -> State {
    out.push(Effect::Ready);
    State::Ready
}

fn send(out: &mut Vec<Effect>, text: impl AsRef<str>) {
    out.push(Effect::Send(text.as_ref().as_bytes().to_vec()));
}

#[cfg(test)]
mod tests;
