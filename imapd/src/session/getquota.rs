//! GETQUOTA and GETQUOTAROOT (RFC 9208): one quota a mailbox, of storage, under the root "".

use spool::edges::mailbox::{Reply, Request};

use super::{Done, Session, Stop};
use crate::answer::Answer;
use crate::render;

pub(super) async fn root(session: &mut Session, root: &str) -> Done {
    if !root.is_empty() {
        return Err(Answer::no("NONEXISTENT", "The only quota root is \"\"").into());
    }
    tell(session).await?;
    Ok(Answer::ok("That is all"))
}

pub(super) async fn of_folder(session: &mut Session, name: String) -> Done {
    session.keeper.order(Request::Status { name: name.clone() }).await?;
    render::quota_root(&mut session.client.out, &name);
    tell(session).await?;
    Ok(Answer::ok("That is all"))
}

async fn tell(session: &mut Session) -> Result<(), Stop> {
    if let (Reply::Quota { used, limit }, _) = session.keeper.ask(Request::Quota, &[]).await? {
        render::quota(&mut session.client.out, used, limit);
    }
    Ok(())
}
