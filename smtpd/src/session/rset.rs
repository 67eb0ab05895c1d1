//! RSET (RFC 5321 §4.1.1.5).

use super::events::Effect;
use super::states::State;
use crate::reply::{bad_arguments, ok};

pub(super) fn rset(state: State, argument: &[u8], out: &mut Vec<Effect>) -> State {
    if !argument.trim_ascii().is_empty() {
        out.push(Effect::Reply(bad_arguments("RSET takes no argument")));
        return state;
    }
    state.abandon(out);
    out.push(Effect::Reply(ok("forgotten")));
    state.reset()
}
