//! APPEND (RFC 3501 §6.3.11, RFC 7888, RFC 7889, RFC 4315). The message streams into the sheet of a worker, which
//! examines it as it examines a stranger's; then it is sealed, and only the keeper's record makes it a letter.

use std::os::fd::AsFd;

use filter_sandbox::filter::{Sheet, Unfiltered};
use filter_sandbox::report::Facts;
use spool::edges::mailbox::{Reply, Request};
use spool::edges::pipe::LetterPipe;
use spool::edges::{Into, NewLetter};
use spool::letter;
use tracing::warn;

use super::{Done, Ended, Session, Stop, dispatch, refused_target};
use crate::answer::Answer;
use crate::command::AppendHead;
use crate::driver::read_on;
use crate::grammar::Step;
use crate::view::Expunges;

/// Performs an APPEND whose head has come and whose message follows.
///
/// # Errors
/// [`Ended`].
pub async fn begin(session: &mut Session, head: AppendHead) -> Result<(), Ended> {
    let answer = match append(session, &head).await {
        Ok(answer) | Err(Stop::Answer(answer)) => answer,
        Err(Stop::End(ended)) => return Err(ended),
    };
    dispatch::conclude(session, &head.tag, &answer, Expunges::Tell);
    Ok(())
}

async fn append(session: &mut Session, head: &AppendHead) -> Done {
    let sheet = match admit(session, head).await {
        Ok(sheet) => sheet,
        Err(stop) => {
            session.client.framer().refuse_append(head);
            return Err(stop);
        }
    };
    if head.sync {
        session.client.say("+ Go on\r\n");
    }
    let sheet = take(session, sheet).await?;
    store(session, head, sheet).await
}

/// Everything that can be known before the message comes is said before it comes.
async fn admit(session: &mut Session, head: &AppendHead) -> Result<Sheet, Stop> {
    if head.size == 0 {
        return Err(Answer::bad("There is no empty message").into());
    }
    if head.size > session.owner.bounds.largest {
        return Err(Answer::no("TOOBIG", "The message is larger than this server takes").into());
    }
    let status = Request::Status { name: head.mailbox.clone() };
    session.keeper.ask(status, &[]).await.map_err(refused_target)?;
    if let (Reply::Quota { used, limit }, _) = session.keeper.ask(Request::Quota, &[]).await?
        && used.saturating_add(u64::from(head.size)) > limit
    {
        return Err(Answer::no("OVERQUOTA", "No room left").into());
    }
    let Some(filter) = session.owner.filter() else { return Err(not_now().into()) };
    let size = usize::try_from(head.size).map_err(|_| not_now())?;
    let sheet = filter.sheet(size, &session.owner.appending);
    session.keeper.during(sheet).await.map_err(|why| untaken(session.number, &why).into())
}

fn not_now() -> Answer {
    Answer::no("UNAVAILABLE", "The message cannot be examined now; try again")
}

/// What is the message's own fault would fail again, and a client that is told to would try for ever.
fn untaken(session: u32, why: &Unfiltered) -> Answer {
    if why.is_permanent() {
        return Answer::no("CANNOT", "The message has too many parts, fields or levels");
    }
    warn!(session, %why, "an APPEND was not taken");
    not_now()
}

/// Takes the message to its end, even when something is wrong with it: only then is there a line to answer.
async fn take(session: &mut Session, sheet: Sheet) -> Result<Sheet, Stop> {
    let mut sheet = Ok(sheet);
    // RFC 3501 §9: CHAR8 is any octet but NUL. We could not give such a message back.
    let nul = || Answer::no("CANNOT", "The message has a NUL octet, which no mail may have");
    loop {
        match session.client.step() {
            Step::Incomplete => read_on(session).await?,
            Step::Chunk(bytes) => {
                if sheet.is_ok() && bytes.contains(&0) {
                    sheet = Err(nul());
                }
                if let Ok(taking) = &mut sheet
                    && let Err(why) = session.keeper.during(taking.push(&bytes)).await
                {
                    // What it held is others' at once; the rest of the message is read and forgotten.
                    sheet = Err(untaken(session.number, &why));
                }
            }
            Step::AppendEnd { well_formed: true } => return sheet.map_err(Stop::Answer),
            Step::AppendEnd { well_formed: false } => {
                return Err(Answer::bad("APPEND takes one message, and nothing behind it").into());
            }
            Step::Refused(refused) => {
                refused.write(&mut session.client.out);
                session.flush().await?;
                return Err(Ended::TooMuchAtOnce.into());
            }
            Step::Continue | Step::Command(_) | Step::Append(_) => return Err(Ended::NotImap.into()),
        }
    }
}

/// Examined, sealed, recorded.
async fn store(session: &mut Session, head: &AppendHead, sheet: Sheet) -> Done {
    let examined = session.keeper.during(sheet.examine(&Facts::default())).await;
    let (report, sealed) = examined.map_err(|why| untaken(session.number, &why))?;
    let summary = postcard::to_stdvec(&report.summary).map_err(|_| not_now())?;
    let identities = session.owner.identities();
    let new = NewLetter {
        mailbox: session.owner.mailbox,
        generation: identities.generation(),
        size: head.size,
        into: Into::Inbox,
    };
    let (read, write) = LetterPipe::new().map_err(|_| not_now())?;
    let sealing = tokio::task::spawn_blocking(move || {
        letter::seal(identities.newest().public(), &summary, [sealed.bytes()], write).and_then(LetterPipe::finish)
    });
    let request = Request::Append {
        name: head.mailbox.clone(),
        letter: new,
        flags: head.flags.system,
        keywords: head.flags.keywords.clone(),
        arrived: head.date,
    };
    let answered = {
        let read = read;
        session.keeper.ask(request, &[read.as_fd()]).await
    };
    if let Ok(Err(why)) = sealing.await
        && answered.is_ok()
    {
        warn!(session = session.number, %why, "an appended letter was not written to its end");
    }
    match answered.map_err(refused_target)?.0 {
        Reply::Appended { uid_validity, uid } => {
            Ok(Answer::ok("Appended").with(format!("APPENDUID {uid_validity} {uid}")))
        }
        _ => Err(Ended::KeeperGone.into()),
    }
}
