//! LOGOUT (RFC 3501 §6.1.3).

use super::{Done, Session};
use crate::answer::Answer;

pub(super) fn run(session: &mut Session) -> Done {
    session.client.say("* BYE Until next time\r\n");
    Ok(Answer::ok("Logged out"))
}
