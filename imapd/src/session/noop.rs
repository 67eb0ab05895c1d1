//! NOOP (RFC 3501 §6.1.2): a chance to hear news. A question to the keeper, because its answer comes behind all
//! events of changes that were acknowledged before, to whichever session.

use spool::edges::mailbox::Request;

use super::{Done, Session};
use crate::answer::Answer;

pub(super) async fn run(session: &mut Session) -> Done {
    session.keeper.order(Request::Quota).await?;
    Ok(Answer::ok("Nothing done"))
}
