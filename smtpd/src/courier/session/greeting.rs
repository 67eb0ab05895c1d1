//! The greeting.

use super::events::Effect;
use super::states::State;
use super::{Context, ehlo, refuse};
use crate::courier::reply::FarReply;

/// RFC 5321 §3.1: 220, or 554 from a server that takes no mail at all. The next host is tried, which may.
pub(super) fn greeted(context: &Context, reply: &FarReply, out: &mut Vec<Effect>) -> State {
    if !reply.is_positive() {
        return refuse(context, State::ExpectGreeting, reply, (3, 2), out);
    }
    ehlo::ehlo(context, out)
}
