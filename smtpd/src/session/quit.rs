//! QUIT (RFC 5321 §4.1.1.10).

use super::close;
use super::context::Context;
use super::events::Effect;
use super::states::State;
use crate::reply::Reply;

pub(super) fn quit(context: &Context, state: State, out: &mut Vec<Effect>) -> State {
    close(state, Reply::new(221, "2.0.0", format!("{} goodbye", context.rules.host)), out)
}
