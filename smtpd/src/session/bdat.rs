//! BDAT (RFC 3030): a message in counted chunks. A chunk follows its command at once, so one that is
//! refused is still taken off the connection.

use super::close_after;
use super::context::Context;
use super::data::{address, deposit, refusal};
use super::events::{BodyOutcome, Effect};
use super::states::{ExpectChunk, ExpectDiscarded, ExpectMail, ExpectMoreChunks, ExpectRecipient, State};
use crate::reply::{Reply, bad_arguments, ok, out_of_order};

pub(super) fn bdat(context: &Context, state: State, argument: &[u8], out: &mut Vec<Effect>) -> State {
    let Some((octets, last)) = parse(argument) else {
        // Where the next command begins cannot be known: reading on would take a letter for commands.
        return close_after(state, bad_arguments("BDAT size [LAST]"), context, out);
    };
    let envelope = match state {
        State::ExpectRecipient(ExpectRecipient { envelope }) if envelope.recipients.is_empty() => {
            let reply = Reply::new(554, "5.5.1", "no valid recipients");
            return discard(reply, State::ExpectRecipient(ExpectRecipient { envelope }), octets, out);
        }
        State::ExpectRecipient(ExpectRecipient { envelope }) => {
            out.push(address(&envelope));
            envelope
        }
        State::ExpectMoreChunks(ExpectMoreChunks { envelope }) => envelope,
        other => return discard(out_of_order("MAIL and RCPT first"), other, octets, out),
    };
    out.push(Effect::ReadChunk { octets, last });
    State::ExpectChunk(ExpectChunk { envelope, octets, last })
}

pub(super) fn read(_context: &Context, waiting: ExpectChunk, outcome: BodyOutcome, out: &mut Vec<Effect>) -> State {
    let ExpectChunk { envelope, octets, last } = waiting;
    if let Some(reply) = refusal(outcome) {
        // RFC 3030 §2: after a failed chunk the transaction is over; pipelined ones get 503.
        out.push(Effect::Abandon(envelope.transaction));
        out.push(Effect::Reply(reply));
        return State::ExpectMail(ExpectMail { hello: envelope.hello });
    }
    if last {
        return deposit(envelope, out);
    }
    out.push(Effect::Reply(ok(format!("{octets} octets received"))));
    State::ExpectMoreChunks(ExpectMoreChunks { envelope })
}

pub(super) fn discarded(waiting: ExpectDiscarded, out: &mut Vec<Effect>) -> State {
    out.push(Effect::Reply(waiting.reply));
    waiting.then
}

fn discard(reply: Reply, then: State, octets: u64, out: &mut Vec<Effect>) -> State {
    out.push(Effect::Discard { octets });
    State::ExpectDiscarded(Box::new(ExpectDiscarded { reply, then }))
}

fn parse(argument: &[u8]) -> Option<(u64, bool)> {
    let text = std::str::from_utf8(argument).ok()?.trim_matches(' ');
    let (size, last) = match text.split_once(' ') {
        Some((size, word)) if word.trim_start_matches(' ').eq_ignore_ascii_case("LAST") => (size, true),
        Some(_) => return None,
        None => (text, false),
    };
    let digits = !size.is_empty() && size.len() <= 19 && size.bytes().all(|byte| byte.is_ascii_digit());
    Some((digits.then(|| size.parse().ok()).flatten()?, last))
}
