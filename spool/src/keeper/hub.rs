//! Who is told what happens in which folder, and who must hear at once that their login has ended.

use std::collections::HashMap;
use std::sync::Arc;

use filter_sandbox::edge::AsyncEdge;
use tokio::sync::watch;

use crate::edges::mailbox::{Event, Reply};
use crate::index::News;
use crate::names::{FolderId, LetterId, MailboxId, SlotId};

use super::line::{Line, hang_up};

/// IMAP sessions of one mailbox at once: a family's member has several phones with several each.
pub const IMAP_SESSIONS: usize = 40;
/// Sessions of one mailbox that submit.
pub const SUBMISSIONS: usize = 60;

/// A logged-in socket.
#[derive(Debug)]
struct Session {
    number: u64,
    device: SlotId,
    edge: Arc<AsyncEdge>,
    /// IMAP: the folder it has open.
    listens: Option<Listens>,
    imap: bool,
}

/// An open folder.
#[derive(Debug)]
pub struct Listens {
    /// Which.
    pub folder: FolderId,
    /// Where its events go.
    pub line: Line<Reply, Event>,
    /// SELECT, not EXAMINE.
    pub takes_recent: bool,
}

/// All logged-in sockets.
#[derive(Debug, Default)]
pub struct Hub {
    sessions: HashMap<MailboxId, Vec<Session>>,
    next: u64,
    sequence: u64,
    outgoing: watch::Sender<u64>,
    /// Letters no folder holds any more, of mailboxes whose cache may be open.
    gone: HashMap<MailboxId, Vec<LetterId>>,
    /// UIDs below these came while a session had the folder open, and are \\Recent for none that comes later. Only the
    /// next SELECT makes a record of it: what a restart forgets is told as \\Recent twice.
    told: HashMap<(MailboxId, FolderId), u32>,
}

impl Hub {
    /// A new session; `None` when the mailbox has too many of its kind. Its number.
    pub fn enter(&mut self, mailbox: MailboxId, device: SlotId, edge: Arc<AsyncEdge>, imap: bool) -> Option<u64> {
        let sessions = self.sessions.entry(mailbox).or_default();
        let most = if imap { IMAP_SESSIONS } else { SUBMISSIONS };
        if sessions.iter().filter(|session| session.imap == imap).count() >= most {
            return None;
        }
        self.next += 1;
        sessions.push(Session { number: self.next, device, edge, listens: None, imap });
        Some(self.next)
    }

    /// A session has ended.
    pub fn leave(&mut self, mailbox: MailboxId, number: u64) {
        let Some(sessions) = self.sessions.get_mut(&mailbox) else { return };
        sessions.retain(|session| session.number != number);
        if sessions.is_empty() {
            self.sessions.remove(&mailbox);
            self.gone.remove(&mailbox);
        }
    }

    /// Letters that have gone from a mailbox since this was asked last: their summaries are to be forgotten.
    pub fn gone(&mut self, mailbox: MailboxId) -> Vec<LetterId> {
        self.gone.remove(&mailbox).unwrap_or_default()
    }

    /// Whether the mailbox has an IMAP session.
    #[must_use]
    pub fn reads(&self, mailbox: MailboxId) -> bool {
        self.sessions.get(&mailbox).is_some_and(|sessions| sessions.iter().any(|session| session.imap))
    }

    /// The session has that folder open from now on (or none).
    pub fn listen(&mut self, mailbox: MailboxId, number: u64, listens: Option<Listens>) {
        if let Some(listens) = listens.as_ref().filter(|listens| listens.takes_recent) {
            self.told.remove(&(mailbox, listens.folder));
        }
        let sessions = self.sessions.get_mut(&mailbox);
        if let Some(session) =
            sessions.and_then(|sessions| sessions.iter_mut().find(|session| session.number == number))
        {
            session.listens = listens;
        }
    }

    /// UIDs below this were told to a session as \\Recent that had the folder open.
    #[must_use]
    pub fn told(&self, mailbox: MailboxId, folder: FolderId) -> u32 {
        self.told.get(&(mailbox, folder)).copied().unwrap_or(0)
    }

    /// Ends the sessions of a mailbox whose device `ends` picks, at once.
    pub fn hang_up(&self, mailbox: MailboxId, ends: impl Fn(SlotId) -> bool) {
        let sessions = self.sessions.get(&mailbox).into_iter().flatten();
        sessions.filter(|session| ends(session.device)).for_each(|session| hang_up(&session.edge));
    }

    /// The number of the last entry that changed what waits to leave.
    #[must_use]
    pub fn outgoing_changes(&self) -> watch::Receiver<u64> {
        self.outgoing.subscribe()
    }

    fn listeners(&self, mailbox: MailboxId) -> impl Iterator<Item = &Listens> {
        self.sessions.get(&mailbox).into_iter().flatten().filter_map(|session| session.listens.as_ref())
    }
}

impl News for Hub {
    fn at(&mut self, sequence: u64) {
        self.sequence = sequence;
    }

    fn listens(&self, mailbox: MailboxId, folder: FolderId) -> bool {
        self.listeners(mailbox).any(|listens| listens.folder == folder)
    }

    fn folder(&mut self, mailbox: MailboxId, folder: FolderId, event: Event) {
        let mut taken = false;
        for listens in self.listeners(mailbox).filter(|listens| listens.folder == folder) {
            listens.line.event(self.sequence, event.clone());
            taken |= listens.takes_recent;
        }
        match &event {
            Event::Added(facts) if taken => {
                let next = facts.last().map_or(0, |fact| fact.uid.saturating_add(1));
                self.told.insert((mailbox, folder), next);
            }
            Event::FolderGone => drop(self.told.remove(&(mailbox, folder))),
            _ => {}
        }
    }

    fn outgoing(&mut self) {
        self.outgoing.send_replace(self.sequence);
    }

    fn everywhere(&mut self, mailbox: MailboxId, event: Event) {
        for listens in self.listeners(mailbox) {
            listens.line.event(self.sequence, event.clone());
        }
    }

    fn unreferenced(&mut self, mailbox: MailboxId, letter: LetterId) {
        if self.reads(mailbox) {
            self.gone.entry(mailbox).or_default().push(letter);
        }
    }
}
