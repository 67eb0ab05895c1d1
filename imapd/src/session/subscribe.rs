//! SUBSCRIBE and UNSUBSCRIBE (RFC 3501 §6.3.6, §6.3.7): names, whether they exist or not.

use spool::edges::mailbox::Request;

use super::{Done, Session};
use crate::answer::Answer;

pub(super) async fn run(session: &mut Session, name: String, on: bool) -> Done {
    session.keeper.order(Request::Subscribe { name, on }).await?;
    Ok(Answer::ok(if on { "Subscribed" } else { "Unsubscribed" }))
}
