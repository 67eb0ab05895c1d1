//! COPY (RFC 3501 §6.4.7) with COPYUID (RFC 4315 §3).

use spool::edges::mailbox::{Reply, Request};

use super::{Done, Ended, Session, Stop, refused_target};
use crate::answer::Answer;
use crate::sequence::{SequenceSet, write_set};

pub(super) async fn run(session: &mut Session, uid: bool, set: &SequenceSet, to: String) -> Done {
    let answer = Answer::ok("Copied");
    Ok(match transfer(session, uid, set, to, false).await? {
        Some(code) => answer.with(code),
        None => answer,
    })
}

/// COPY and MOVE: all or nothing; the COPYUID code, or `None` when the set picked nothing.
pub(super) async fn transfer(
    session: &mut Session,
    uid: bool,
    set: &SequenceSet,
    to: String,
    and_remove: bool,
) -> Result<Option<String>, Stop> {
    let picked = session.pick(uid, set)?;
    let Some(folder) = session.folder.filter(|_| !picked.is_empty()) else { return Ok(None) };
    let view = session.view()?;
    let gone = picked.iter().any(|place| view.facts().get(view.uids()[place]).is_none());
    if gone && !uid {
        // RFC 5530 §3: never a part of what was asked.
        return Err(Answer::no("EXPUNGEISSUED", "Some of these letters are gone").into());
    }
    let uids = picked.uid_set(view.uids());
    let request = Request::Copy { folder, uids, to, and_remove };
    match session.keeper.ask(request, &[]).await.map_err(refused_target)? {
        (Reply::Copied { from, .. }, _) if from.is_empty() => Ok(None),
        (Reply::Copied { uid_validity, from, to }, _) => {
            let mut code = format!("COPYUID {uid_validity} ").into_bytes();
            write_set(&mut code, &from);
            code.push(b' ');
            write_set(&mut code, &to);
            Ok(Some(String::from_utf8_lossy(&code).into_owned()))
        }
        _ => Err(Ended::KeeperGone.into()),
    }
}
