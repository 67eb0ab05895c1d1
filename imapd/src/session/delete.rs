//! DELETE (RFC 3501 §6.3.4): the keeper knows which folders stay.

use spool::edges::mailbox::Request;

use super::{Done, Session};
use crate::answer::Answer;

pub(super) async fn run(session: &mut Session, name: String) -> Done {
    session.keeper.order(Request::Delete { name }).await?;
    Ok(Answer::ok("Deleted"))
}
