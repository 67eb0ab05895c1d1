//! IDLE (RFC 2177): news are told as they come, until the client says DONE.

use spool::edges::Down;

use super::{Done, Ended, Session};
use crate::answer::Answer;
use crate::driver::came;
use crate::limits;
use crate::view::Expunges;

pub(super) async fn run(session: &mut Session) -> Done {
    session.client.say("+ Waiting\r\n");
    let deadline = tokio::time::sleep(limits::IDLE);
    tokio::pin!(deadline);
    loop {
        if let Some(answer) = done(session)? {
            return Ok(answer);
        }
        super::news::tell(session, Expunges::Tell);
        session.flush().await?;
        // What was heard while that was written is told before there is any waiting.
        if session.has_news(Expunges::Tell) {
            continue;
        }
        session.rest();
        tokio::select! {
            biased;
            read = session.client.read() => came(read)?,
            heard = session.keeper.news() => heard.map_err(|Down| Ended::KeeperGone)?,
            () = session.owner.draining() => return Err(Ended::Draining.into()),
            () = &mut deadline => return Err(Ended::Idle.into()),
        }
    }
}

/// The client's one line, once it has come.
fn done(session: &mut Session) -> Result<Option<Answer>, Ended> {
    match session.client.framer().line() {
        Ok(None) => Ok(None),
        Ok(Some(line)) if line.eq_ignore_ascii_case(b"DONE") => Ok(Some(Answer::ok("Waited"))),
        Ok(Some(_)) => Ok(Some(Answer::bad("IDLE ends with DONE"))),
        Err(_) => Err(Ended::NotImap),
    }
}
