//! CHECK (RFC 3501 §6.4.1): every change is on the disk before it is answered, so there is nothing to do.

use super::{Done, Session};
use crate::answer::Answer;

pub(super) fn run(session: &mut Session) -> Done {
    session.view()?;
    Ok(Answer::ok("All changes are on the disk"))
}
