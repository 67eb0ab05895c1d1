//! STATUS (RFC 3501 §6.3.10, RFC 7889, RFC 8438).

use spool::edges::mailbox::{Reply, Request};

use super::{Done, Ended, Session};
use crate::answer::Answer;
use crate::command::StatusItems;
use crate::render;

pub(super) async fn run(session: &mut Session, name: String, items: StatusItems) -> Done {
    let (Reply::Status(folder), _) = session.keeper.ask(Request::Status { name }, &[]).await? else {
        return Err(Ended::KeeperGone.into());
    };
    render::status(&mut session.client.out, &folder, items, session.owner.bounds.largest);
    Ok(Answer::ok("That is all"))
}
