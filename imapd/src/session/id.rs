//! ID (RFC 2971): who we are. What the client says of itself is not kept.

use super::{Done, Session};
use crate::answer::Answer;
use crate::capability;

pub(super) fn run(session: &mut Session) -> Done {
    session.client.say(capability::ID);
    Ok(Answer::ok("Pleased to meet you"))
}
