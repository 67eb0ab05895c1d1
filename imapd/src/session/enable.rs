//! ENABLE (RFC 5161): none of what we announce needs it, so nothing is ever enabled.

use super::{Done, Session};
use crate::answer::Answer;

pub(super) fn run(session: &mut Session, _names: &[String]) -> Done {
    session.client.say("* ENABLED\r\n");
    Ok(Answer::ok("Nothing that needs enabling"))
}
