//! HELO (RFC 5321 §4.1.1.1): for clients without extensions.

use super::context::Context;
use super::ehlo::{client_name, refuse};
use super::envelope::Hello;
use super::events::Effect;
use super::states::{ExpectMail, State};
use crate::reply::Reply;

pub(super) fn helo(context: &Context, state: State, argument: &[u8], out: &mut Vec<Effect>) -> State {
    let Some(name) = client_name(argument) else { return refuse(state, out) };
    state.abandon(out);
    out.push(Effect::Reply(Reply::plain(250, context.rules.host.clone())));
    State::ExpectMail(ExpectMail { hello: Hello { name, extended: false } })
}
