//! From started to serving: the walls stand, the keeper answers, and on the very first start there is a mailbox.

use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use filter_sandbox::edge::{Answer, AsyncEdge, Numbered};
use filter_sandbox::listener::is_deaf;
use filter_sandbox::zygote::Ready;
use rustix::event::{PollFd, PollFlags, Timespec};
use spool::edges::admin::{MailboxInfo, Reply, Request};
use spool::edges::mailbox::Event;
use tokio::io::AsyncReadExt;

use super::ports::Bound;
use super::roles::Roles;
use super::{heard, logs, say};
use crate::admin;
use crate::cli::{Shared, output};
use crate::data::{DataFolder, is_read_only};
use crate::failure::{Doing, Failure};
use crate::sheet::Sheet;
use crate::unseen;

/// How long all walls may take: a hundred attacks on them take an emulated board, or a busy one, twenty seconds.
const WALLS: Duration = Duration::from_secs(120);
/// How long the keeper may take to answer, restarts included: it reads its whole journal first.
const ANSWERS: Duration = Duration::from_secs(60);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(100);
/// Bytes of `mailbox add --json`'s answer.
const ANSWER: u64 = 4_096;

/// What a start found.
#[derive(Debug)]
pub struct Found {
    /// The mailbox made just now.
    pub first: Option<Sheet>,
    /// Mailboxes there are.
    pub mailboxes: usize,
    /// One of them.
    one: Option<MailboxInfo>,
    /// Mailboxes on the disk that the journal does not know.
    pub lost: usize,
}

/// Waits until each zygote has tried itself and every role has locked itself.
///
/// # Errors
/// In words for the admin: which wall is missing or gave way.
pub fn wait_for_walls(roles: &mut Roles) -> Result<(), Failure> {
    let until = Instant::now() + WALLS;
    for (role, control) in roles.zygotes() {
        let refused = |words: String| Failure::new(format!("{role}: {words}"));
        let mut fds = [PollFd::new(control, PollFlags::IN)];
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(0), tv_nsec: 1_000_000 };
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&left))).doing(|| role.to_string())?;
        match control.recv::<Ready>() {
            Ok((Ready::Serving { zygote: _, worker, attacks }, _)) => {
                tell_layers(role.name(), worker.landlock, attacks, roles.bound())
            }
            Ok((Ready::Due, _)) => {}
            Ok((Ready::Refused(words), _)) => return Err(refused(heard(&words))),
            Err(error) => {
                return Err(refused(format!(
                    "it cannot make workers ({error}); what it said, if it could, stands above"
                )));
            }
        }
    }
    while !roles.all_locked() && Instant::now() < until {
        roles.bury();
        if roles.next_due().is_some() {
            // It says itself why; it is tried again like any other death.
            break;
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn tell_layers(role: &str, landlock: Option<bool>, attacks: usize, bound: &[Bound]) {
    if attacks > 0 {
        say(&format!("{role}: {attacks} attacks on a worker's walls tried, all in vain"));
        if landlock == Some(false) {
            say("WARNING: this kernel has no Landlock; namespaces and seccomp hold without it");
            if !bound.iter().flat_map(|bound| &bound.listeners).all(|listener| is_deaf(listener.as_fd())) {
                say(
                    "WARNING: it also filters listeners for root only: a taken-over mx could connect out; start as root",
                );
            }
        }
    }
}

/// Waits for the keeper, and makes the first mailbox when there is none and somebody can be told its secrets. `None`: there
/// is no way to ask it.
///
/// # Errors
/// In words for the admin.
pub async fn serve(
    shared: &Shared,
    data: &DataFolder,
    domain: &str,
    has_admin_socket: bool,
) -> Result<Option<Found>, Failure> {
    if !has_admin_socket {
        return Ok(None);
    }
    let until = Instant::now() + ANSWERS;
    let mut found = loop {
        match look(data).await {
            Ok(found) => break found,
            Err(failure) if Instant::now() >= until => return Err(failure),
            // It died, and is being started again.
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    };
    if is_read_only(data.path()) {
        return Ok(Some(found));
    }
    let somebody = output::somebody_reads(shared.json);
    forget_unseen(shared, data, &mut found);
    if found.mailboxes == 0 && found.lost == 0 && somebody {
        found.first = Some(add(shared, data, domain).await?);
        found.mailboxes = 1;
    }
    Ok(Some(found))
}

async fn look(data: &DataFolder) -> Result<Found, Failure> {
    let what = || "the keeper does not answer".to_owned();
    let edge = admin::connect(data, admin::ANSWER)?.ok_or_else(|| Failure::new("the keeper does not listen"))?;
    let edge = AsyncEdge::new(edge).doing(what)?;
    let mut found = Found { first: None, mailboxes: 0, one: None, lost: 0 };
    ask(&edge, Request::MailboxList, |reply| match reply {
        Reply::Mailboxes { some, more } => {
            found.mailboxes += some.len();
            found.one = some.into_iter().next();
            more
        }
        _ => false,
    })
    .await?;
    if data.spool_has("mailboxes") {
        ask(&edge, Request::Unknown, |reply| match reply {
            Reply::Unknown { some, more } => {
                found.lost += some.len();
                more
            }
            _ => false,
        })
        .await?;
    }
    Ok(found)
}

/// Takes the first mailbox away again where a start was killed before anybody saw its secrets.
fn forget_unseen(shared: &Shared, data: &DataFolder, found: &mut Found) {
    let left = unseen::left(data);
    let Some(info) = found.one.as_ref().filter(|info| found.mailboxes == 1 && left == Some(info.id)) else { return };
    let Some(address) = info.addresses.first() else { return };
    if info.letters > 0 {
        return say(&format!(
            "nobody has seen the secrets of {address}, so nobody can read what came for it: `postern mailbox remove {address}` \
             removes it, and the next start makes it anew"
        ));
    }
    if removed(shared, data, address) {
        say(
            "a start before this one ended before it could print the first mailbox's secrets: that mailbox was removed again",
        );
        found.mailboxes = 0;
    }
}

fn removed(shared: &Shared, data: &DataFolder, address: &str) -> bool {
    let mut command = command(shared, data, &["mailbox", "remove", address, "--yes"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// One question and the packets of its answer, as long as `take` says that more follow.
async fn ask(edge: &AsyncEdge, request: Request, mut take: impl FnMut(Reply) -> bool) -> Result<(), Failure> {
    let gone = |error| Failure::new(format!("the keeper: {error}"));
    edge.send(&Numbered { number: 1, body: request }, &[]).await.map_err(gone)?;
    loop {
        match edge.recv::<Answer<Reply, Event>>().await.map_err(gone)?.0 {
            Answer::Reply(_, Reply::Working) | Answer::Event(_) => {}
            Answer::Reply(_, Reply::Refused(words)) => return Err(Failure::new(heard(&words))),
            Answer::Reply(_, reply) => {
                if !take(reply) {
                    return Ok(());
                }
            }
        }
    }
}

/// Nobody has seen the first mailbox's secrets, and nobody can: the next start makes it anew.
#[must_use]
pub fn take_back(shared: &Shared, data: &DataFolder, address: &str, unseen: &Failure) -> Failure {
    let words = &unseen.words;
    if removed(shared, data, address) {
        return Failure::new(format!("{words}: nobody has seen the first mailbox's secrets, so it was taken back"));
    }
    Failure::new(format!(
        "{words}: {address} was made, and nobody has seen its secrets: run `postern mailbox remove {address}`"
    ))
}

fn command(shared: &Shared, data: &DataFolder, words: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(words).arg("--data").arg(data.path());
    if let Some(config) = &shared.config {
        command.arg("--config").arg(config);
    }
    command
}

/// Runs `postern mailbox add you`: identities are made in an admin command's short life, never in `up`'s.
async fn add(shared: &Shared, data: &DataFolder, domain: &str) -> Result<Sheet, Failure> {
    let what = || "cannot make the first mailbox".to_owned();
    let mut command = command(shared, data, &["mailbox", "add", &format!("you@{domain}"), "--first", "--json"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().doing(what)?;
    let output = child.stdout.take().ok_or_else(|| Failure::new(what()))?;
    let mut text = zeroize::Zeroizing::new(Vec::with_capacity(1_024));
    let output = logs::receiver(output.into()).doing(what)?;
    output.take(ANSWER).read_to_end(&mut text).await.doing(what)?;
    // It has closed its output, so it is about to end.
    let status = child.wait().doing(what)?;
    let sheet = serde_json::from_slice(&text).ok().and_then(|value| Sheet::from_json(&value));
    sheet.filter(|_| status.success()).ok_or_else(|| Failure::new(format!("{}: it {status}", what())))
}
