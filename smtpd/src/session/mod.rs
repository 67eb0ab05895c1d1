//! One SMTP session as a pure machine: lines and outcomes in, effects out. No clock, no socket, no
//! randomness.
//!
//! ```text
//!                 EHLO, HELO              MAIL                    RCPT
//!  ExpectHello ──────────────► ExpectMail ────► ExpectBegun ────► ExpectRecipient ◄─► ExpectAnswer
//!      ▲  STARTTLS                 │ AUTH         (budget)           │ DATA     │ BDAT
//!      └── ExpectTls               ▼                                 ▼          ▼
//!                        ExpectResponse, ExpectFields,           ExpectText  ExpectChunk ◄─► ExpectMoreChunks
//!                        ExpectAdmission, ExpectLastResponse         └──► ExpectDelivered ──► ExpectMail
//! ```
//!
//! A state that awaits the outcome of an effect takes no line; the driver performs effects in order and
//! hands each outcome in before it reads on.

use std::sync::Arc;

use wire::sasl;

use crate::limits;
use crate::reply::{Reply, closing};

mod auth;
mod bdat;
mod command;
mod context;
mod data;
mod ehlo;
mod envelope;
mod events;
mod helo;
mod help;
mod mail;
mod noop;
pub mod parameters;
pub mod path;
mod quit;
mod rcpt;
mod rset;
mod starttls;
mod states;
mod vrfy;

use command::Verb;
pub use context::{Owner, Rules, Service, TlsFacts};
pub use envelope::{Accepted, Envelope, Hello, MailParameters, Notify, Outgoing, Return};
pub use events::{Begin, BodyOutcome, Effect, Event, LoginRefusal, Outcome, Spent};

use context::Context;
use states::State;

/// What the driver must do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaits {
    /// Read a line of at most so many bytes, CRLF included.
    Line(usize),
    /// Hand in the outcome of the last effect.
    Outcome,
    /// Close the connection.
    Nothing,
}

/// One connection's session.
#[derive(Debug)]
pub struct Session {
    context: Context,
    state: State,
}

impl Session {
    /// Greets. `tls` is given when TLS came first (465).
    #[must_use]
    pub fn new(rules: Arc<Rules>, tls: Option<TlsFacts>) -> (Self, Vec<Effect>) {
        let greeting = Reply::plain(220, format!("{} ESMTP Postern", rules.host));
        let session = Self { context: Context::new(rules, tls), state: State::ExpectHello };
        (session, vec![Effect::Reply(greeting)])
    }

    /// Goes on where an inbound proxy has left off. On 25 it has greeted, answered EHLO and STARTTLS in our place, and what
    /// was said in clear is forgotten as after any STARTTLS; elsewhere TLS came first and nothing was said.
    #[must_use]
    pub fn taken_up(rules: Arc<Rules>, tls: TlsFacts) -> (Self, Vec<Effect>) {
        let (mut session, greeting) = Self::new(rules, Some(tls));
        session.context.proxied = true;
        let greeting = if session.context.is_submission() { greeting } else { Vec::new() };
        (session, greeting)
    }

    /// What it waits for.
    #[must_use]
    pub fn awaits(&self) -> Awaits {
        match self.state {
            State::ExpectHello | State::ExpectRecipient(_) | State::ExpectMoreChunks(_) => {
                Awaits::Line(limits::COMMAND_LINE)
            }
            // An initial response may come with AUTH.
            State::ExpectMail(_) if self.context.may_log_in() => Awaits::Line(limits::AUTH_LINE),
            State::ExpectMail(_) => Awaits::Line(limits::COMMAND_LINE),
            State::ExpectResponse(_) | State::ExpectLastResponse(_) => Awaits::Line(limits::AUTH_LINE),
            State::Closed => Awaits::Nothing,
            _ => Awaits::Outcome,
        }
    }

    /// Whether mail is under way, which a drain lets finish.
    #[must_use]
    pub const fn in_transaction(&self) -> bool {
        !matches!(self.state, State::ExpectHello | State::ExpectMail(_) | State::Closed)
    }

    /// One step.
    #[must_use]
    pub fn handle(mut self, event: Event<'_>) -> (Self, Vec<Effect>) {
        let mut out = Vec::new();
        self.state = step(&mut self.context, self.state, event, &mut out);
        self.bound(&mut out);
        (self, out)
    }

    // One place for the two counters, so that no verb forgets them.
    fn bound(&mut self, out: &mut Vec<Effect>) {
        let refused = out.iter().filter(|effect| matches!(effect, Effect::Reply(reply) if reply.is_refusal())).count();
        self.context.errors += u32::try_from(refused).unwrap_or(u32::MAX);
        if matches!(self.state, State::Closed) {
            return;
        }
        let why = if self.context.errors >= limits::ERRORS {
            Some("too many errors")
        } else if self.context.login_failures >= limits::LOGIN_FAILURES {
            Some("too many failed logins")
        } else if self.context.commands > limits::COMMANDS {
            Some("too many commands for one session")
        } else {
            None
        };
        if let Some(why) = why
            && self.awaits() != Awaits::Outcome
        {
            let state = std::mem::replace(&mut self.state, State::Closed);
            close(state, closing("4.7.0", format!("{} {why}, closing", self.context.rules.host)), out);
        }
    }
}

fn step(context: &mut Context, state: State, event: Event<'_>, out: &mut Vec<Effect>) -> State {
    match (state, event) {
        (State::Closed, _) => State::Closed,
        (State::ExpectResponse(waiting), Event::Line(line)) => auth::response(context, waiting, line, out),
        (State::ExpectLastResponse(waiting), Event::Line(line)) => auth::last_response(context, waiting, line, out),
        (state, Event::Line(line)) if state.takes_commands() => {
            context.commands += 1;
            dispatch(context, state, line, out)
        }
        (state, Event::TooLong) if state.takes_lines() => auth::give_up(state, out, |out| {
            out.push(Effect::Reply(Reply::new(500, "5.5.6", "line too long")));
        }),
        (state, Event::BareLineEnd) if state.takes_lines() => {
            let why = Reply::new(500, "5.5.2", "bare CR or LF in a command: RFC 5321 2.3.8 forbids it");
            close_after(state, why, context, out)
        }
        (State::ExpectTls, Event::TlsStarted(facts)) => starttls::started(context, facts),
        (State::ExpectBegun(waiting), Event::Begun(outcome)) => mail::begun(waiting, outcome, out),
        (State::ExpectAnswer(waiting), Event::Recipient(answer)) => rcpt::answered(context, waiting, answer, out),
        (State::ExpectText(waiting), Event::Body(outcome)) => data::read(context, waiting, outcome, out),
        (State::ExpectChunk(waiting), Event::Body(outcome)) => bdat::read(context, waiting, outcome, out),
        (State::ExpectDiscarded(waiting), Event::Body(_)) => bdat::discarded(*waiting, out),
        (State::ExpectDelivered(waiting), Event::Deposited(outcome)) => data::delivered(context, waiting, outcome, out),
        (State::ExpectFields(waiting), Event::Fields(fields)) => auth::fields(context, waiting, fields, out),
        (State::ExpectAdmission(waiting), Event::Admitted(answer)) => auth::admitted(context, waiting, answer, out),
        (state, Event::Drain) if !state.takes_lines() => state,
        (state @ State::ExpectDelivered(_), Event::DrainOver) => state,
        (state, Event::Drain | Event::DrainOver) => {
            close(state, closing("4.3.2", format!("{} is stopping, try again", context.rules.host)), out)
        }
        (state, Event::KeeperGone) => {
            let last = context.keeper_gone();
            close(state, last, out)
        }
        (state, Event::TimedOut) => {
            close(state, closing("4.4.2", format!("{} timed out, closing", context.rules.host)), out)
        }
        // The driver handed in what was not asked for: our bug, and no reason to guess.
        (state, _) => close(state, closing("4.3.0", "internal error, try again"), out),
    }
}

/// The commands. Each knows in which states it is in order, and refuses in the others.
fn dispatch(context: &mut Context, state: State, line: &[u8], out: &mut Vec<Effect>) -> State {
    let (verb, argument) = command::split(line);
    match verb {
        Verb::Ehlo => ehlo::ehlo(context, state, argument, out),
        Verb::Helo => helo::helo(context, state, argument, out),
        Verb::StartTls => starttls::starttls(context, state, argument, out),
        Verb::Auth => auth::auth(context, state, argument, out),
        Verb::Mail => mail::mail(context, state, argument, out),
        Verb::Rcpt => rcpt::rcpt(context, state, argument, out),
        Verb::Data => data::data(context, state, argument, out),
        Verb::Bdat => bdat::bdat(context, state, argument, out),
        Verb::Rset => rset::rset(state, argument, out),
        Verb::Noop => noop::noop(state, out),
        Verb::Vrfy => vrfy::vrfy(state, out),
        Verb::Expn => vrfy::expn(state, out),
        Verb::Help => help::help(context, state, out),
        Verb::Quit => quit::quit(context, state, out),
        Verb::Http => close_after(state, Reply::new(502, "5.7.0", "this is a mail server"), context, out),
        Verb::Unknown => {
            out.push(Effect::Reply(Reply::new(500, "5.5.1", "command not known")));
            state
        }
    }
}

fn close_after(state: State, why: Reply, context: &Context, out: &mut Vec<Effect>) -> State {
    out.push(Effect::Reply(why));
    close(state, closing("4.7.0", format!("{} closing", context.rules.host)), out)
}

/// Ends the session with a last reply; a transaction under way is given up.
fn close(state: State, last: Reply, out: &mut Vec<Effect>) -> State {
    state.abandon(out);
    out.push(Effect::Reply(last));
    out.push(Effect::Close);
    State::Closed
}

/// What a session asks of a SASL exchange; `wire` has the machine.
pub use sasl::Fields;

#[cfg(test)]
mod tests;
