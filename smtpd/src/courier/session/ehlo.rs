//! EHLO, and HELO for those who know no EHLO.

use super::events::{Effect, Tls};
use super::extensions::Extensions;
use super::states::State;
use super::{Context, fail, ready, refuse, send, starttls};
use crate::courier::fate::Status;
use crate::courier::reply::FarReply;

pub(super) fn ehlo(context: &Context, out: &mut Vec<Effect>) -> State {
    send(out, format!("EHLO {}\r\n", context.rules.hello));
    State::ExpectEhlo
}

pub(super) fn answered(context: &mut Context, reply: &FarReply, out: &mut Vec<Effect>) -> State {
    if reply.is_positive() {
        context.extensions = Extensions::read(reply);
        return secured_or_not(context, out);
    }
    // RFC 5321 §3.2: a server that knows no EHLO has no STARTTLS either.
    if reply.is_for_good() && !context.secure && context.rules.tls != Tls::Required {
        send(out, format!("HELO {}\r\n", context.rules.hello));
        return State::ExpectHelo;
    }
    if !context.secure && matches!(reply.code, 500 | 502) {
        return no_encryption(context, out);
    }
    refuse(context, State::ExpectEhlo, reply, (5, 0), out)
}

pub(super) fn helo_answered(context: &Context, reply: &FarReply, out: &mut Vec<Effect>) -> State {
    if reply.is_positive() {
        return ready(out);
    }
    refuse(context, State::ExpectHelo, reply, (5, 0), out)
}

fn secured_or_not(context: &Context, out: &mut Vec<Effect>) -> State {
    if context.secure || context.rules.tls == Tls::Without {
        return ready(out);
    }
    match (context.extensions.start_tls, context.rules.tls) {
        (true, _) => starttls::starttls(out),
        (false, Tls::Required) => no_encryption(context, out),
        (false, _) => ready(out),
    }
}

/// RFC 3463 X.7.4: security features not supported.
fn no_encryption(context: &Context, out: &mut Vec<Effect>) -> State {
    let why = context.about(Status::new(4, 7, 4), "offers no encryption (STARTTLS), and mail never goes in clear");
    fail(context, State::ExpectEhlo, &why, out)
}
