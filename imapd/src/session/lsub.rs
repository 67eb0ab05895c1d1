//! LSUB (RFC 3501 §6.3.9).

use super::{Done, Session};
use crate::answer::Answer;
use crate::{list, render};

pub(super) async fn run(session: &mut Session, reference: &str, pattern: &str) -> Done {
    let (folders, subscriptions) = super::list::known(session, true).await?;
    for line in list::lsub(reference, pattern, &folders, &subscriptions) {
        render::lsub_line(&mut session.client.out, &line);
    }
    Ok(Answer::ok("That is all"))
}
