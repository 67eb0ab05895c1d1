//! A session after its login: which folder is open is the keeper handle's, what has been said is the client's;
//! here is what both have in common, and how a verb ends.
//!
//! One file a verb. A verb writes its untagged replies and returns its tagged one; `dispatch` tells the news.

pub mod append;
pub mod dispatch;

mod capability;
mod check;
mod close;
mod copy;
mod create;
mod delete;
mod enable;
mod examine;
mod expunge;
mod fetch;
mod getquota;
mod id;
mod idle;
mod list;
mod logout;
mod lsub;
mod r#move;
mod namespace;
mod news;
mod noop;
mod rename;
mod search;
mod select;
mod status;
mod store;
mod subscribe;
mod unselect;

use std::fmt;
use std::rc::Rc;

use spool::edges::mailbox::{Refusal, Request};
use spool::names::{FolderId, SlotId};

use crate::answer::Answer;
use crate::client::Client;
use crate::owner::Owner;
use crate::peers::{Keeper, Unanswered};
use crate::sequence::{Picked, SequenceSet};
use crate::view::{Expunges, View};

/// One client of one owner.
#[derive(Debug)]
pub struct Session {
    /// What all sessions of the mailbox share.
    pub owner: Rc<Owner>,
    /// Folders and sealed letters.
    pub keeper: Keeper,
    /// Commands and replies.
    pub client: Client,
    /// The login's number in the logs.
    pub number: u32,
    /// The device that logged in.
    pub device: SlotId,
    /// The open folder's id.
    folder: Option<FolderId>,
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// LOGOUT; its BYE has been said.
    Logout,
    /// The client closed, or takes nothing any more.
    ClientGone,
    /// The keeper closed the socket: the device was revoked, the mailbox suspended or removed, or the keeper
    /// is being restarted.
    KeeperGone,
    /// Silent for too long.
    Idle,
    /// The server is stopping.
    Draining,
    /// What the client sends is no IMAP.
    NotImap,
    /// A line or literal beyond every bound; its BYE has been said.
    TooMuchAtOnce,
    /// A letter broke off in the middle of being sent.
    BrokenLetter,
}

impl Ended {
    /// What to tell the client, if anything.
    #[must_use]
    pub const fn bye(self) -> Option<&'static str> {
        match self {
            Self::Logout | Self::ClientGone | Self::TooMuchAtOnce | Self::BrokenLetter => None,
            Self::KeeperGone => Some("This login has ended; log in again"),
            Self::Idle => Some("Silent for too long"),
            Self::Draining => Some("The server is stopping"),
            Self::NotImap => Some("Too many commands that are none"),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Logout => "logout",
            Self::ClientGone => "client gone",
            Self::KeeperGone => "mailbox socket closed",
            Self::Idle => "idle",
            Self::Draining => "draining",
            Self::NotImap => "not IMAP",
            Self::TooMuchAtOnce => "too much at once",
            Self::BrokenLetter => "a letter broke off",
        })
    }
}

/// A verb that does not go on.
#[derive(Debug)]
pub enum Stop {
    /// It ends with this answer.
    Answer(Answer),
    /// The session ends.
    End(Ended),
}

impl From<Ended> for Stop {
    fn from(ended: Ended) -> Self {
        Self::End(ended)
    }
}

impl From<Answer> for Stop {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

impl From<Unanswered> for Stop {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Refused(refusal) => Self::Answer(refused(refusal)),
            Unanswered::Down => Self::End(Ended::KeeperGone),
        }
    }
}

/// How a verb ends.
pub type Done = Result<Answer, Stop>;

/// RFC 5530 §3, RFC 6154 §3.
fn refused(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::NoSuchFolder => Answer::no("NONEXISTENT", "There is no such folder"),
        Refusal::Exists => Answer::no("ALREADYEXISTS", "There is a folder of that name"),
        Refusal::Cannot => Answer::no("CANNOT", "That cannot be done with this folder or name"),
        Refusal::UseTaken => Answer::no("USEATTR", "Another folder has that special use"),
        Refusal::Limit => Answer::no("LIMIT", "Too many folders, keywords or letters at once"),
        Refusal::OverQuota => Answer::no("OVERQUOTA", "No room left"),
        Refusal::OnlyReads => {
            Answer::no("UNAVAILABLE", "The server's disk takes no writes now; what is there can be read")
        }
        Refusal::Unavailable => Answer::no("UNAVAILABLE", "The disk failed; nothing was changed"),
    }
}

/// RFC 3501 §6.3.11, §6.4.7: a missing target may be created by the client.
fn refused_target(unanswered: Unanswered) -> Stop {
    match unanswered {
        Unanswered::Refused(Refusal::NoSuchFolder) => {
            Answer::no("TRYCREATE", "There is no such folder; it can be created").into()
        }
        other => other.into(),
    }
}

impl Session {
    /// A fresh login.
    #[must_use]
    pub const fn new(owner: Rc<Owner>, keeper: Keeper, client: Client, number: u32, device: SlotId) -> Self {
        Self { owner, keeper, client, number, device, folder: None }
    }

    /// Writes all replies out, hearing the keeper meanwhile.
    ///
    /// # Errors
    /// [`Ended::ClientGone`].
    pub async fn flush(&mut self) -> Result<(), Ended> {
        if self.client.out.is_empty() {
            return Ok(());
        }
        let (client, keeper) = (&mut self.client, &mut self.keeper);
        keeper.during(client.flush()).await.map_err(|_| Ended::ClientGone)
    }

    /// Gives back what only a busy session needs.
    pub fn rest(&mut self) {
        self.client.shrink();
        self.keeper.shrink();
    }

    /// Whether there is anything to tell.
    fn has_news(&mut self, expunges: Expunges) -> bool {
        self.keeper.view().is_some_and(|view| view.has_news(expunges))
    }

    /// The open folder.
    fn view(&mut self) -> Result<&mut View, Stop> {
        self.keeper.view().ok_or_else(|| Answer::bad("No folder is open").into())
    }

    /// The open folder's id, for a verb that changes it.
    fn writable(&mut self) -> Result<FolderId, Stop> {
        if self.view()?.read_only() {
            return Err(Answer::no("NOPERM", "The folder is open for reading only").into());
        }
        self.folder.ok_or_else(|| Answer::bad("No folder is open").into())
    }

    /// What a set picks out of the view. A number beyond the end is the client's mistake; a UID that is not there
    /// is not (RFC 3501 §6.4.8).
    fn pick(&mut self, uid: bool, set: &SequenceSet) -> Result<Picked, Stop> {
        let view = self.view()?;
        if uid {
            return Ok(set.uids(view.uids()));
        }
        set.positions(view.exists()).map_err(|_| Answer::bad("No letter has that number").into())
    }

    /// Leaves the open folder, if there is one.
    async fn leave(&mut self) -> Result<(), Stop> {
        if self.folder.take().is_some() {
            self.keeper.order(Request::Close).await?;
            self.keeper.forget();
        }
        Ok(())
    }
}
