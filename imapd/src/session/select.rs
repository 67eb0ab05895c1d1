//! SELECT (RFC 3501 §6.3.1).

use spool::edges::mailbox::Folder;

use super::{Done, Session};
use crate::answer::Answer;
use crate::peers::Selected;
use crate::view::View;

pub(super) async fn run(session: &mut Session, name: String, read_only: bool) -> Done {
    // Whether or not this succeeds, the folder open before is closed (RFC 3501 §6.3.1), at the keeper too.
    session.folder = None;
    session.keeper.forget();
    let known = session.owner.folders.borrow().known(&name);
    let mut selected = session.keeper.select(name.clone(), !read_only, known).await?;
    let recent_from = selected.recent_from;
    if selected.letters.is_none() && session.owner.folders.borrow().known(&name) != known {
        // Another session has heard of a change since, this one not yet.
        selected = session.keeper.select(name.clone(), !read_only, None).await?;
    }
    let Selected { folder, keywords, letters, .. } = selected;
    let shared = session.owner.folders.borrow_mut().open(name, folder.id);
    shared.borrow_mut().set_keywords(keywords);
    let view = View::open(shared, &folder, letters, recent_from, read_only);
    session.owner.folders.borrow_mut().shrink();
    tell(session, &view, &folder);
    session.folder = Some(folder.id);
    session.keeper.open(view);
    Ok(if read_only { Answer::ok("Open for reading").with("READ-ONLY") } else { Answer::ok("Open").with("READ-WRITE") })
}

fn tell(session: &mut Session, view: &View, folder: &Folder) {
    let out = &mut session.client.out;
    super::news::flags(out, view);
    let mut text = format!("* {} EXISTS\r\n* {} RECENT\r\n", view.exists(), view.recent());
    if let Some(number) = view.first_unseen() {
        text += &format!("* OK [UNSEEN {number}] The first letter not yet read\r\n");
    }
    text += &format!("* OK [UIDVALIDITY {}] UIDs are valid\r\n", folder.uid_validity);
    text += &format!("* OK [UIDNEXT {}] The next UID\r\n", folder.uid_next);
    out.extend_from_slice(text.as_bytes());
}
