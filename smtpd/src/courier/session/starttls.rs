//! STARTTLS (RFC 3207).

use super::events::Effect;
use super::extensions::Extensions;
use super::states::State;
use super::{Context, ehlo, fail, send};
use crate::courier::reply::{FarReply, Gathering};

pub(super) fn starttls(out: &mut Vec<Effect>) -> State {
    send(out, "STARTTLS\r\n");
    State::ExpectStartTls
}

pub(super) fn answered(context: &Context, reply: &FarReply, out: &mut Vec<Effect>) -> State {
    if reply.is_positive() {
        out.push(Effect::StartTls);
        return State::ExpectHandshake;
    }
    let why = context.why(reply, (7, 4));
    fail(context, State::ExpectStartTls, &why, out)
}

/// §4.2: what was learnt in clear is forgotten.
pub(super) fn started(context: &mut Context, out: &mut Vec<Effect>) -> State {
    context.secure = true;
    context.extensions = Extensions::default();
    context.gathering = Gathering::default();
    ehlo::ehlo(context, out)
}
