//! HELP (RFC 5321 §4.1.1.8).

use super::events::Effect;
use super::states::State;
use crate::reply::Reply;

pub(super) fn help(state: State, out: &mut Vec<Effect>) -> State {
    let commands = "EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT";
    out.push(Effect::Reply(Reply::new(214, "2.0.0", commands)));
    state
}
