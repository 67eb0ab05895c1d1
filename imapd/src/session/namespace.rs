//! NAMESPACE (RFC 2342): one personal namespace without a prefix; nobody else's mail is ever seen.

use super::{Done, Session};
use crate::answer::Answer;
use crate::render;

pub(super) fn run(session: &mut Session) -> Done {
    render::namespace(&mut session.client.out);
    Ok(Answer::ok("That is all"))
}
