//! LIST (RFC 3501 §6.3.8, RFC 5258, RFC 6154, RFC 5819).

use spool::edges::mailbox::{Folder, Request};

use super::{Done, Session, Stop};
use crate::answer::Answer;
use crate::command::List;
use crate::{list, render};

pub(super) async fn run(session: &mut Session, command: &List) -> Done {
    // RFC 3501 §6.3.8: the empty pattern asks for the delimiter.
    if !command.extended && command.patterns.iter().all(String::is_empty) {
        render::root_line(&mut session.client.out);
        return Ok(Answer::ok("That is all"));
    }
    let (folders, subscriptions) = known(session, command.subscribed || command.return_subscribed).await?;
    let out = &mut session.client.out;
    for line in list::list(command, &folders, &subscriptions) {
        render::list_line(out, &line);
        if let Some(items) = command.return_status
            && let Some(folder) = folders.iter().find(|folder| folder.name == line.name)
        {
            render::status(out, folder, items, session.owner.bounds.largest);
        }
    }
    Ok(Answer::ok("That is all"))
}

/// All folders, and the subscriptions where somebody needs them.
pub(super) async fn known(session: &mut Session, subscribed: bool) -> Result<(Vec<Folder>, Vec<String>), Stop> {
    let (_, folders) = session.keeper.list(Request::Folders).await?;
    let subscriptions = match subscribed {
        true => session.keeper.list(Request::Subscriptions).await?.1,
        false => Vec::new(),
    };
    Ok((folders, subscriptions))
}
