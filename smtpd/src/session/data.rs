//! DATA (RFC 5321 §4.1.1.4), and how a message's fate is told.

use super::close;
use super::context::Context;
use super::events::{BodyOutcome, Effect, Outcome};
use super::states::{ExpectDelivered, ExpectMail, ExpectRecipient, ExpectText, State};
use crate::data::Fault;
use crate::reply::{Reply, bad_arguments, ok, out_of_order};

pub(super) fn data(context: &Context, state: State, argument: &[u8], out: &mut Vec<Effect>) -> State {
    let refusal = match state {
        State::ExpectRecipient(ExpectRecipient { envelope }) if !envelope.recipients.is_empty() => {
            if argument.trim_ascii().is_empty() {
                out.push(Effect::Reply(Reply::plain(354, "send it, and end with a dot on a line of its own")));
                out.push(address(&envelope));
                out.push(Effect::ReadText);
                return State::ExpectText(ExpectText { envelope });
            }
            out.push(Effect::Reply(bad_arguments("DATA takes no argument")));
            return State::ExpectRecipient(ExpectRecipient { envelope });
        }
        // RFC 5321 §3.3: 554 is for the client that pipelines after every RCPT failed.
        State::ExpectRecipient(_) => Reply::new(554, "5.5.1", "no valid recipients"),
        State::ExpectMoreChunks(_) => out_of_order("chunks have begun: go on with BDAT"),
        _ => out_of_order(format!("MAIL and RCPT first, {} waits", context.rules.host)),
    };
    out.push(Effect::Reply(refusal));
    state
}

pub(super) fn read(_context: &Context, waiting: ExpectText, outcome: BodyOutcome, out: &mut Vec<Effect>) -> State {
    match refusal(outcome) {
        None => deposit(waiting.envelope, out),
        Some(reply) => {
            out.push(Effect::Abandon(waiting.envelope.transaction));
            out.push(Effect::Reply(reply));
            State::ExpectMail(ExpectMail { hello: waiting.envelope.hello })
        }
    }
}

/// What can be done for the recipients while the message comes.
pub(super) fn address(envelope: &super::Envelope) -> Effect {
    let outgoing = envelope.leaving().map(|(outgoing, _)| outgoing.clone());
    Effect::Address { targets: envelope.targets().into_iter().cloned().collect(), outgoing }
}

/// Hands the whole message over.
pub(super) fn deposit(envelope: super::Envelope, out: &mut Vec<Effect>) -> State {
    let waiting =
        ExpectDelivered { hello: envelope.hello.clone(), id: envelope.id(), transaction: envelope.transaction };
    out.push(Effect::Deposit(envelope));
    State::ExpectDelivered(waiting)
}

/// Why a body cannot be taken.
pub(super) fn refusal(outcome: BodyOutcome) -> Option<Reply> {
    match outcome {
        BodyOutcome::Whole => None,
        BodyOutcome::Faulty(Fault::BareLineEnd) => {
            Some(Reply::new(554, "5.6.0", "bare CR or LF in the message: RFC 5321 2.3.8 forbids it"))
        }
        BodyOutcome::Faulty(Fault::LineTooLong) => Some(Reply::new(554, "5.6.0", "a line of the message is too long")),
        BodyOutcome::TooLarge => Some(Reply::new(552, "5.3.4", "the message is too large")),
        BodyOutcome::NoRoom => Some(Reply::new(452, "4.3.1", "too much mail at once, try again soon")),
    }
}

pub(super) fn delivered(context: &Context, waiting: ExpectDelivered, outcome: Outcome, out: &mut Vec<Effect>) -> State {
    if outcome == Outcome::KeeperGone {
        let last = context.keeper_gone();
        return close(State::ExpectDelivered(waiting), last, out);
    }
    if outcome != Outcome::Delivered {
        out.push(Effect::Abandon(waiting.transaction));
    }
    out.push(Effect::Reply(match outcome {
        // The same words for what is not stored again: else whoever has a letter with a mark could find out whose mark it is.
        Outcome::Delivered | Outcome::Returning => ok(format!("accepted as {}", waiting.id)),
        Outcome::Full => Reply::new(452, "4.3.1", "the disk here is full, try again later"),
        Outcome::Waiting => Reply::new(452, "4.3.1", "too much waits here that is passed on, try again later"),
        Outcome::MailboxFull => {
            Reply::new(452, "4.2.2", "that mailbox is full: there is no room in it for this message")
        }
        Outcome::Failed | Outcome::KeeperGone => Reply::new(451, "4.3.0", "it could not be stored, try again later"),
        Outcome::Unfiltered => Reply::new(451, "4.3.0", "it could not be examined, try again later"),
        Outcome::NotUnderstood => Reply::new(554, "5.6.0", "the message has too many parts or levels"),
        Outcome::PolicyReject => {
            Reply::new(550, "5.7.1", "the domain in From asks that mail failing its checks be refused (DMARC)")
        }
        Outcome::PolicyUndecided => {
            Reply::new(451, "4.7.1", "the domain in From asks for checks (DMARC) that DNS does not answer, try again")
        }
        // RFC 5322 §3.6: one From; RFC 7489 §6.6.1 lets those with more be refused.
        Outcome::ManyAuthors => {
            Reply::new(554, "5.6.0", "the message has more than one From, or too many domains in it")
        }
        Outcome::NoDomain => Reply::new(550, "5.6.0", "From has an address whose domain is no name that could exist"),
        Outcome::LongHeader => Reply::new(554, "5.6.0", "the header of the message is too long"),
        Outcome::Looping => Reply::new(554, "5.4.6", "too many Received fields: a mail loop"),
        Outcome::Nul => Reply::new(554, "5.6.0", "a NUL octet in the message: RFC 2045 2.7 and 2.8 forbid it"),
        Outcome::NotOwned => Reply::new(550, "5.7.1", "this login does not own the address in From"),
        Outcome::Spent { .. } => Reply::new(
            450,
            "4.7.1",
            "this mailbox has sent as much as it may in a day; if that was not you, revoke the device's password",
        ),
        Outcome::NoField { line } => {
            Reply::new(550, "5.6.0", format!("line {line} of the message's header is no header field"))
        }
        Outcome::NoFrom => Reply::new(550, "5.6.0", "the message has no From that can be read"),
    }));
    State::ExpectMail(ExpectMail { hello: waiting.hello })
}
