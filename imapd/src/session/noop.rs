//! NOOP (RFC 3501 §6.1.2): a chance to hear news.

use super::Done;
use crate::answer::Answer;

pub(super) fn run() -> Done {
    Ok(Answer::ok("Nothing done"))
}
