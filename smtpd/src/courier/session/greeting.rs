//! The greeting.

use super::events::Effect;
use super::states::State;
use super::{Context, ehlo, fail};
use crate::courier::reply::FarReply;

/// RFC 5321 §3.1: 220, or 554 from a server that takes no mail at all. That is a fault of one host, and says nothing
/// about an address: `fail` makes it temporary, and the next host is tried.
pub(super) fn greeted(context: &Context, reply: &FarReply, out: &mut Vec<Effect>) -> State {
    if !reply.is_positive() {
        let why = context.why(reply, (3, 2));
        return fail(context, State::ExpectGreeting, &why, out);
    }
    ehlo::ehlo(context, out)
}
