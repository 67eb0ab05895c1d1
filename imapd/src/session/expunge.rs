//! EXPUNGE (RFC 3501 §6.4.3) and UID EXPUNGE (RFC 4315 §2.1). The keeper's event comes before its reply, so
//! that the news told after this verb are its untagged replies.

use spool::edges::mailbox::Request;

use super::{Done, Session};
use crate::answer::Answer;
use crate::sequence::SequenceSet;

pub(super) async fn run(session: &mut Session, set: Option<SequenceSet>) -> Done {
    let folder = session.writable()?;
    let uids = match &set {
        None => None,
        Some(set) => {
            let picked = session.pick(true, set)?;
            if picked.is_empty() {
                return Ok(Answer::ok("Nothing to expunge"));
            }
            Some(picked.uid_set(session.view()?.uids()))
        }
    };
    session.keeper.order(Request::Expunge { folder, uids }).await?;
    Ok(Answer::ok("Expunged"))
}
