//! CREATE (RFC 3501 §6.3.3), with a special use (RFC 6154 §3).

use spool::edges::mailbox::{Request, SpecialUse};

use super::{Done, Session};
use crate::answer::Answer;

pub(super) async fn run(session: &mut Session, name: String, uses: &[SpecialUse], unknown_use: bool) -> Done {
    if unknown_use || uses.len() > 1 {
        return Err(Answer::no("USEATTR", "A folder has one special use, of those that LIST shows").into());
    }
    session.keeper.order(Request::Create { name, special_use: uses.first().copied() }).await?;
    Ok(Answer::ok("Created"))
}
