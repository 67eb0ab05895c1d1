//! HELP (RFC 5321 §4.1.1.8).

use super::context::Context;
use super::events::Effect;
use super::states::State;
use crate::reply::Reply;

pub(super) fn help(context: &Context, state: State, out: &mut Vec<Effect>) -> State {
    let login = if context.is_submission() { "AUTH " } else { "" };
    let commands = format!("EHLO HELO STARTTLS {login}MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT");
    out.push(Effect::Reply(Reply::new(214, "2.0.0", commands)));
    state
}
