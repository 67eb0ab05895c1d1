//! NOOP (RFC 5321 §4.1.1.9); its argument, if any, means nothing.

use super::events::Effect;
use super::states::State;
use crate::reply::ok;

pub(super) fn noop(state: State, out: &mut Vec<Effect>) -> State {
    out.push(Effect::Reply(ok("nothing done")));
    state
}
