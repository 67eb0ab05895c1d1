//! UNSELECT (RFC 3691): CLOSE that removes nothing.

use super::{Done, Session};
use crate::answer::Answer;

pub(super) async fn run(session: &mut Session) -> Done {
    session.view()?;
    session.leave().await?;
    Ok(Answer::ok("Closed"))
}
