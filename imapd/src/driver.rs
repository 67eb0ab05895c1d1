//! One session's loop: read, step through what came, perform it, write once, wait.

use std::io;

use tokio::time::timeout;
use tracing::info;

use crate::grammar::{self, Step};
use crate::limits;
use crate::session::{Ended, Session, append, dispatch};

/// Runs a session to its end and says goodbye where that can still be understood.
pub async fn run(mut session: Session) {
    info!(session = session.number, mailbox = %session.owner.mailbox, device = session.device.0, "session begins");
    let (end, owner) = (session.keeper.end(), session.owner.clone());
    let cut = async {
        tokio::select! {
            () = end => tokio::time::sleep(limits::LAST_WORDS).await,
            () = async { owner.draining().await; tokio::time::sleep(limits::DRAIN).await } => {}
        }
    };
    let ended = tokio::select! {
        biased;
        ended = serve(&mut session) => match ended {
            Ok(never) => match never {},
            Err(ended) => ended,
        },
        // In the middle of a command: whose device was revoked neither goes on reading nor keeps a place by going on slowly,
        // and a server that stops waits for nobody for ever.
        // Where its replies stand `login` knows, and says BYE where that can still be understood.
        () = cut => {
            info!(session = session.number, mailbox = %session.owner.mailbox, "session cut off");
            return;
        }
    };
    info!(session = session.number, mailbox = %session.owner.mailbox, reason = %ended, "session ended");
    if !session.client.is_inside_literal()
        && let Some(bye) = ended.bye()
    {
        session.client.say(&format!("* BYE {bye}\r\n"));
        // The client may be gone; then nobody misses it.
        let _ = session.client.flush().await;
    }
}

async fn serve(session: &mut Session) -> Result<std::convert::Infallible, Ended> {
    let mut bad = 0;
    loop {
        session.client.take_turns().await;
        match session.client.step() {
            Step::Incomplete => wait(session).await?,
            Step::Continue => session.client.say("+ \r\n"),
            Step::Command(bytes) => match grammar::parse(&bytes) {
                Ok(tagged) => bad = if dispatch::perform(session, tagged).await? { 0 } else { bad + 1 },
                Err(refused) => {
                    bad += 1;
                    refused.write(&mut session.client.out);
                }
            },
            Step::Append(head) => append::begin(session, head).await?,
            // A message nobody wanted: its APPEND has been answered.
            Step::Chunk(_) | Step::AppendEnd { .. } => {}
            Step::Refused(refused) => {
                bad += 1;
                refused.write(&mut session.client.out);
                if refused.fault.closes() {
                    session.flush().await?;
                    return Err(Ended::TooMuchAtOnce);
                }
            }
        }
        // Also when more has come already: one that always has another command would never be told.
        if session.owner.is_draining() && !session.client.is_inside_literal() {
            return Err(Ended::Draining);
        }
        if bad > limits::BAD_IN_A_ROW {
            return Err(Ended::NotImap);
        }
        if session.client.is_full() {
            session.flush().await?;
        }
    }
}

/// Everything that came has been done: writes the replies, then waits for more, hearing the keeper meanwhile.
async fn wait(session: &mut Session) -> Result<(), Ended> {
    session.flush().await?;
    session.rest();
    let deadline = tokio::time::sleep(limits::IDLE);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            biased;
            read = session.client.read() => return came(read),
            heard = session.keeper.news() => heard.map_err(|_| Ended::KeeperGone)?,
            () = session.owner.draining() => return Err(Ended::Draining),
            () = &mut deadline => return Err(Ended::Idle),
        }
    }
}

/// What a read means for the session.
///
/// # Errors
/// [`Ended::ClientGone`] at the client's end.
pub fn came(read: io::Result<bool>) -> Result<(), Ended> {
    match read {
        Ok(true) => Ok(()),
        Ok(false) => Err(Ended::ClientGone),
        Err(_) => Err(Ended::ClientGone),
    }
}

/// Reads on in the middle of a command, where silence is not idleness.
///
/// # Errors
/// [`Ended`].
pub async fn read_on(session: &mut Session) -> Result<(), Ended> {
    session.flush().await?;
    let (client, keeper) = (&mut session.client, &mut session.keeper);
    match keeper.during(timeout(limits::STALLED, client.read())).await {
        Ok(read) => came(read),
        Err(_) => Err(Ended::Idle),
    }
}
