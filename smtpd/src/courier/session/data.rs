//! DATA, the letter, and the one answer that makes it the far server's.

use super::events::Effect;
use super::letter::Transaction;
use super::states::State;
use super::{Context, babble, close, fail, ready, rset, send};
use crate::courier::fate::Fate;
use crate::courier::reply::FarReply;

pub(super) const COMMAND: &str = "DATA\r\n";

pub(super) fn data(transaction: Box<Transaction>, out: &mut Vec<Effect>) -> State {
    send(out, COMMAND);
    State::ExpectGo(transaction)
}

pub(super) fn answered(
    context: &Context,
    mut transaction: Box<Transaction>,
    reply: &FarReply,
    out: &mut Vec<Effect>,
) -> State {
    if reply.code == 354 {
        if transaction.has_accepted() {
            out.push(Effect::WriteText);
            return State::ExpectWritten(transaction);
        }
        // RFC 2920 §3.1: it wants a letter for nobody, and gets an empty one.
        send(out, ".\r\n");
        return State::ExpectOutcome(transaction);
    }
    if reply.is_for_now() || reply.is_for_good() {
        transaction.settle(&reply.fate(&context.rules.far, (3, 0)));
        transaction.finish(out);
        return rset::rset(out);
    }
    let why = babble(context, "neither yes nor no to DATA");
    fail(context, State::ExpectGo(transaction), &why, out)
}

/// An answer before the letter is written can only be a refusal; where the stream stands after it nobody knows.
pub(super) fn answered_early(
    context: &Context,
    mut transaction: Box<Transaction>,
    reply: &FarReply,
    out: &mut Vec<Effect>,
) -> State {
    if reply.is_for_now() || reply.is_for_good() {
        transaction.settle(&reply.fate(&context.rules.far, (3, 0)));
        transaction.finish(out);
        return close(out);
    }
    let why = babble(context, "an answer to half a letter");
    fail(context, State::ExpectWritten(transaction), &why, out)
}

pub(super) fn outcome(
    context: &Context,
    mut transaction: Box<Transaction>,
    reply: &FarReply,
    out: &mut Vec<Effect>,
) -> State {
    if !reply.is_answer() && transaction.passes_over() {
        return State::ExpectOutcome(transaction);
    }
    let fate = reply.fate(&context.rules.far, (6, 0));
    let odd = transaction.passed_over > 0 || matches!(fate, Fate::Deferred(_)) && !reply.is_for_now();
    transaction.settle(&fate);
    transaction.finish(out);
    if odd { close(out) } else { ready(out) }
}

/// It has said yes in a way of its own; what else it says nobody knows how to read.
pub(super) fn oddly_taken(
    context: &Context,
    mut transaction: Transaction,
    yes: &FarReply,
    out: &mut Vec<Effect>,
) -> State {
    transaction.settle(&yes.fate(&context.rules.far, (6, 0)));
    transaction.finish(out);
    close(out)
}
