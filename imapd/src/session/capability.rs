//! CAPABILITY (RFC 3501 §6.1.1).

use super::{Done, Session};
use crate::answer::Answer;
use crate::capability;

pub(super) fn run(session: &mut Session) -> Done {
    session.client.say(&format!("* CAPABILITY {}\r\n", capability::logged_in(session.owner.bounds.largest)));
    Ok(Answer::ok("That is all"))
}
