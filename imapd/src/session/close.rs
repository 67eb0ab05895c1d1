//! CLOSE (RFC 3501 §6.4.2): removes what is \Deleted without telling, and leaves the folder.

use spool::edges::mailbox::{Request, flag};

use super::{Done, Session};
use crate::answer::Answer;

pub(super) async fn run(session: &mut Session) -> Done {
    let view = session.view()?;
    let any = view.facts().letters().iter().any(|fact| fact.flags & flag::DELETED != 0);
    if any && !view.read_only() {
        let folder = session.writable()?;
        session.keeper.order(Request::Expunge { folder, uids: None }).await?;
    }
    session.leave().await?;
    Ok(Answer::ok("Closed"))
}
