//! VRFY and EXPN (RFC 5321 §4.1.1.6, 4.1.1.7): who has a mailbox here is nobody's business, and §7.3 lets a
//! server say so.

use super::events::Effect;
use super::states::State;
use crate::reply::Reply;

pub(super) fn vrfy(state: State, out: &mut Vec<Effect>) -> State {
    out.push(Effect::Reply(Reply::new(252, "2.1.5", "not verified; send mail and see")));
    state
}

pub(super) fn expn(state: State, out: &mut Vec<Effect>) -> State {
    out.push(Effect::Reply(Reply::new(502, "5.5.1", "lists are not shown")));
    state
}
