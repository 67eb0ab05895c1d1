//! RSET, after a transaction that came to nothing.

use super::events::Effect;
use super::states::State;
use super::{close, ready, send};
use crate::courier::reply::FarReply;

pub(super) fn rset(out: &mut Vec<Effect>) -> State {
    send(out, "RSET\r\n");
    State::ExpectRset
}

pub(super) fn answered(reply: &FarReply, out: &mut Vec<Effect>) -> State {
    if reply.is_positive() { ready(out) } else { close(out) }
}
