//! MOVE (RFC 6851): one step in the keeper. COPYUID goes in an untagged OK before the EXPUNGEs (§4.3).

use super::{Done, Session};
use crate::answer::Answer;
use crate::sequence::SequenceSet;

pub(super) async fn run(session: &mut Session, uid: bool, set: &SequenceSet, to: String) -> Done {
    session.writable()?;
    if let Some(code) = super::copy::transfer(session, uid, set, to, true).await? {
        session.client.say(&format!("* OK [{code}] Moved\r\n"));
    }
    Ok(Answer::ok("Moved"))
}
