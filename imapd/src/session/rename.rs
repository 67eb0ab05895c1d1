//! RENAME (RFC 3501 §6.3.5); that of INBOX moves its letters, which the keeper knows.

use spool::edges::mailbox::Request;

use super::{Done, Session};
use crate::answer::Answer;

pub(super) async fn run(session: &mut Session, from: String, to: String) -> Done {
    session.keeper.order(Request::Rename { from, to }).await?;
    Ok(Answer::ok("Renamed"))
}
