//! Which verb is performed by which file, and what follows every verb: the news, then its tagged line.

use super::{Done, Ended, Session, Stop};
use crate::answer::{Answer, Status};
use crate::command::{Command, Tagged};
use crate::view::Expunges;

/// Performs a command and writes its answer; whether the client made sense.
///
/// # Errors
/// [`Ended`].
pub async fn perform(session: &mut Session, tagged: Tagged) -> Result<bool, Ended> {
    let expunges = expunges(&tagged.command);
    let logout = matches!(tagged.command, Command::Logout);
    let answer = match verb(session, &tagged.tag, tagged.command).await {
        Ok(answer) | Err(Stop::Answer(answer)) => answer,
        Err(Stop::End(ended)) => return Err(ended),
    };
    conclude(session, &tagged.tag, &answer, expunges);
    if logout {
        session.flush().await?;
        return Err(Ended::Logout);
    }
    Ok(answer.status != Status::Bad)
}

/// The news, then the tagged line.
pub(super) fn conclude(session: &mut Session, tag: &str, answer: &Answer, expunges: Expunges) {
    super::news::tell(session, expunges);
    answer.write(&mut session.client.out, tag);
}

async fn verb(session: &mut Session, tag: &str, command: Command) -> Done {
    match command {
        Command::Capability => super::capability::run(session),
        Command::Noop => super::noop::run(session).await,
        Command::Logout => super::logout::run(session),
        Command::StartTls => Err(Answer::bad("This port is TLS from its first byte").into()),
        Command::Id(_) => super::id::run(session),
        Command::Authenticate { .. } | Command::Login { .. } => Err(Answer::bad("You are logged in").into()),
        Command::Enable(names) => super::enable::run(session, &names),
        Command::Select(name) => super::select::run(session, name, false).await,
        Command::Examine(name) => super::examine::run(session, name).await,
        Command::Create { name, uses, unknown_use } => super::create::run(session, name, &uses, unknown_use).await,
        Command::Delete(name) => super::delete::run(session, name).await,
        Command::Rename { from, to } => super::rename::run(session, from, to).await,
        Command::Subscribe(name) => super::subscribe::run(session, name, true).await,
        Command::Unsubscribe(name) => super::subscribe::run(session, name, false).await,
        Command::List(list) => super::list::run(session, &list).await,
        Command::Lsub { reference, pattern } => super::lsub::run(session, &reference, &pattern).await,
        Command::Status { name, items } => super::status::run(session, name, items).await,
        Command::Namespace => super::namespace::run(session),
        Command::Idle => super::idle::run(session).await,
        Command::GetQuota(root) => super::getquota::root(session, &root).await,
        Command::GetQuotaRoot(name) => super::getquota::of_folder(session, name).await,
        Command::SetQuota => Err(Answer::no("NOPERM", "Quotas are set by whoever runs this server").into()),
        Command::Check => super::check::run(session).await,
        Command::Close => super::close::run(session).await,
        Command::Unselect => super::unselect::run(session).await,
        Command::Expunge => super::expunge::run(session, None).await,
        Command::UidExpunge(set) => super::expunge::run(session, Some(set)).await,
        Command::Search { uid, returns, key } => super::search::run(session, tag, uid, returns, &key).await,
        Command::Fetch { uid, set, items } => super::fetch::run(session, uid, &set, items).await,
        Command::Store { uid, set, change, silent, flags } => {
            super::store::run(session, uid, &set, change, silent, flags).await
        }
        Command::Copy { uid, set, to } => super::copy::run(session, uid, &set, to).await,
        Command::Move { uid, set, to } => super::r#move::run(session, uid, &set, to).await,
    }
}

/// RFC 3501 §7.4.1: sequence numbers may not move under a command that uses them. The UID commands do not.
const fn expunges(command: &Command) -> Expunges {
    match command {
        Command::Fetch { uid: false, .. } | Command::Store { uid: false, .. } | Command::Search { uid: false, .. } => {
            Expunges::HoldBack
        }
        _ => Expunges::Tell,
    }
}
