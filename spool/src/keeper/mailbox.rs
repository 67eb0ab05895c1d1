//! The `Mailbox` edge, held by one owner's process after a login: what may be asked, in any order. All of
//! it is about one mailbox, the one the login was for.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use serde::Serialize;

use crate::commit::{Core, NotTaken, With};
use crate::edges::mailbox::{Event, Listed, Refusal, Reply, Request};
use crate::edges::{facts, limits};
use crate::index::folder::fact;
use crate::index::plan::{self, Plan};
use crate::index::{self, name};
use crate::journal::record::Record;
use crate::names::{FolderId, MailboxId};

use super::house::now;
use super::hub::{Hub, Listens};
use super::line::{self, Along, Breach, Service};
use super::seat::Seat;
use super::work;

/// One session.
#[derive(Debug)]
pub struct Mailbox {
    seat: Arc<Seat>,
}

/// A request that waits for its answer.
pub(super) type Asked = line::Asked<Reply, Event>;

impl Mailbox {
    /// Serves one.
    #[must_use]
    pub fn new(seat: Seat) -> Self {
        Self { seat: Arc::new(seat) }
    }

    /// Answers from the mailbox as it is, under the lock.
    fn look(&self, asked: Asked, look: impl FnOnce(&index::Mailbox) -> Result<(Reply, Along), Refusal>) {
        let core = self.seat.house().committer.lock();
        let found = core.index.mailbox(self.seat.mailbox()).ok_or(Refusal::Unavailable).and_then(look);
        let (reply, along) = found.unwrap_or_else(|why| (Reply::Refused(why), Along::Nothing));
        asked.reply_with(core.sequence, reply, along);
    }

    /// Plans, commits and answers, all under one lock, so that events of the change go out before its answer.
    fn change(
        &self,
        asked: Asked,
        frees: bool,
        plan: impl FnOnce(MailboxId, &index::Mailbox) -> Result<(Vec<Record>, Reply), Refusal>,
    ) {
        let (house, id) = (self.seat.house(), self.seat.mailbox());
        let mut core = house.committer.lock();
        let planned = core.index.mailbox(id).ok_or(Refusal::Unavailable).and_then(|mailbox| plan(id, mailbox));
        let reply = planned.and_then(|(entry, reply)| {
            let with = With { letters: &[], frees };
            house.committer.take(&mut core, entry, &with).map_err(refused).map(|_| reply)
        });
        let gone = core.hub.gone(id);
        asked.reply(core.sequence, reply.unwrap_or_else(Reply::Refused));
        drop(core);
        if !gone.is_empty() {
            let house = house.clone();
            tokio::task::spawn_blocking(move || house.caches.remove(id, &gone));
        }
    }

    fn simple(&self, asked: Asked, plan: impl FnOnce(MailboxId, &index::Mailbox) -> Plan) {
        self.change(asked, false, |id, mailbox| plan(id, mailbox).map(|entry| (entry, Reply::Done)));
    }

    fn status(&self, asked: Asked, folder: &str) {
        let core = self.seat.house().committer.lock();
        let id = self.seat.mailbox();
        let status = core.index.mailbox(id).ok_or(Refusal::Unavailable).and_then(|mailbox| {
            let found = name::normal(folder).and_then(|name| mailbox.named(&name)).ok_or(Refusal::NoSuchFolder)?;
            Ok(Reply::Status(found.shown_to_next(core.hub.told(id, found.id()))))
        });
        asked.reply(core.sequence, status.unwrap_or_else(Reply::Refused));
    }

    /// SELECT, EXAMINE. A refused one leaves no folder open (RFC 3501 §6.3.1).
    fn open(&self, asked: Asked, folder: &str, take_recent: bool, known: Option<(FolderId, u64)>) {
        let mut core = self.seat.house().committer.lock();
        let (id, number) = (self.seat.mailbox(), self.seat.number());
        core.hub.listen(id, number, None);
        match opened(&core, id, folder, known) {
            Err(why) => asked.reply(core.sequence, Reply::Refused(why)),
            Ok((reply, along, recent)) => {
                let Reply::Opened { folder, .. } = &reply else { return };
                let folder = folder.id;
                let listens = Listens { folder, line: asked.line().clone(), takes_recent: take_recent };
                core.hub.listen(id, number, Some(listens));
                asked.line().event(0, Event::Opened);
                asked.reply_with(core.sequence, reply, along);
                if let Some(before) = recent.filter(|_| take_recent) {
                    // Not worth refusing a SELECT for: at worst another session calls them \Recent too.
                    let entry = vec![Record::RecentTaken { mailbox: id, folder, before }];
                    let _ = self.seat.house().committer.take(&mut core, entry, &With::default());
                }
            }
        }
    }

    fn copy(
        &self,
        asked: Asked,
        folder: FolderId,
        uids: &crate::edges::mailbox::UidSet,
        (to, and_remove): (&str, bool),
    ) {
        self.change(asked, and_remove, |id, mailbox| {
            let copy = plan::copy(id, mailbox, folder, uids, (to, and_remove))?;
            let reserved = self.seat.house().reserved.of(id);
            let after = mailbox.used().saturating_add(reserved).saturating_add(copy.bytes);
            if copy.bytes > 0 && after > mailbox.profile().quota {
                return Err(Refusal::OverQuota);
            }
            Ok((copy.entry, Reply::Copied { uid_validity: copy.uid_validity, from: copy.from, to: copy.to }))
        });
    }
}

/// Bytes of a folder's letters that go into the answer itself: a memory file costs more.
const HERE: usize = 8 * 1024;

/// The folder with its letters; and up to where \Recent may be taken, if there is any.
fn opened(
    core: &Core<Hub>,
    id: MailboxId,
    folder: &str,
    known: Option<(FolderId, u64)>,
) -> Result<(Reply, Along, Option<u32>), Refusal> {
    let mailbox = core.index.mailbox(id).ok_or(Refusal::Unavailable)?;
    let found = name::normal(folder).and_then(|name| mailbox.named(&name)).ok_or(Refusal::NoSuchFolder)?;
    let told = core.hub.told(id, found.id());
    let folder = found.shown_to_next(told);
    let (letters, along) = if known == Some((folder.id, folder.modseq)) {
        (Listed::Known, Along::Nothing)
    } else {
        listed(facts::to_bytes(found.letters().iter().map(fact)))
    };
    let recent_from = found.recent_from().max(told);
    // Also of those that have been told: the hub forgets it now.
    let recent = (found.shown().recent > 0).then_some(folder.uid_next);
    let keywords = mailbox.keywords().to_vec();
    Ok((Reply::Opened { folder, recent_from, keywords, letters }, along, recent))
}

fn listed(facts: Vec<u8>) -> (Listed, Along) {
    if facts.len() <= HERE { (Listed::Here(facts), Along::Nothing) } else { (Listed::Along, Along::Bytes(facts)) }
}

impl Service for Mailbox {
    type Request = Request;
    type Reply = Reply;
    type Event = Event;
    const AT_ONCE: usize = 16;

    fn request(&mut self, request: Request, mut with: Vec<OwnedFd>, asked: Asked) -> Result<(), Breach> {
        let descriptors = usize::from(matches!(request, Request::Append { .. } | Request::PutSummaries));
        if with.len() != descriptors {
            return Err(Breach("descriptors where none belong, or none where one does"));
        }
        match request {
            Request::Folders => self.look(asked, |mailbox| {
                let folders: Vec<_> = mailbox.folders().iter().map(index::Folder::shown).collect();
                Ok((Reply::Folders, Along::Bytes(encode(&folders)?)))
            }),
            Request::Subscriptions => self.look(asked, |mailbox| {
                let names: Vec<_> = mailbox.subscriptions().iter().collect();
                Ok((Reply::Subscriptions, Along::Bytes(encode(&names)?)))
            }),
            Request::Create { name, special_use } => {
                self.simple(asked, |id, mailbox| plan::create(id, mailbox, &name, special_use, now()));
            }
            Request::Delete { name } => self
                .change(asked, true, |id, mailbox| plan::delete(id, mailbox, &name).map(|entry| (entry, Reply::Done))),
            Request::Rename { from, to } => {
                self.simple(asked, |id, mailbox| plan::rename(id, mailbox, &from, &to, now()));
            }
            Request::Subscribe { name, on } => {
                self.simple(asked, |id, mailbox| plan::subscribe(id, mailbox, &name, on));
            }
            Request::Status { name } => self.status(asked, &name),
            Request::Open { name, take_recent, known } => self.open(asked, &name, take_recent, known),
            Request::Close => {
                let mut core = self.seat.house().committer.lock();
                core.hub.listen(self.seat.mailbox(), self.seat.number(), None);
                asked.reply(core.sequence, Reply::Done);
            }
            Request::Letters { letters } if letters.len() <= limits::OPEN_LETTERS => {
                work::letters(&self.seat, asked, letters);
            }
            Request::Store { folder, uids, change, flags, keywords } => self.change(asked, true, |id, mailbox| {
                let entry = plan::store(id, mailbox, folder, uids, (change, flags, &keywords))?;
                Ok((entry, Reply::Done))
            }),
            Request::Expunge { folder, uids } => self.change(asked, true, |id, mailbox| {
                plan::expunge(id, mailbox, folder, uids.as_ref()).map(|entry| (entry, Reply::Done))
            }),
            Request::Copy { folder, uids, to, and_remove } => self.copy(asked, folder, &uids, (&to, and_remove)),
            Request::Append { name, letter, flags, keywords, arrived } if letter.mailbox == self.seat.mailbox() => {
                if !self.seat.house().knows_generation(&letter) {
                    return Err(Breach("a letter sealed to an identity that the mailbox does not have"));
                }
                let Some(pipe) = with.pop() else { return Err(Breach("no pipe")) };
                let append = work::Append { name, letter, flags, keywords, arrived, pipe };
                work::append(self.seat.clone(), asked, append);
            }
            Request::Summaries { letters } if letters.len() <= limits::SUMMARIES => {
                work::summaries(self.seat.clone(), asked, letters);
            }
            Request::PutSummaries => {
                let Some(file) = with.pop() else { return Err(Breach("no memory file")) };
                work::put_summaries(self.seat.clone(), asked, file);
            }
            Request::Quota => self.look(asked, |mailbox| {
                Ok((Reply::Quota { used: mailbox.used(), limit: mailbox.profile().quota }, Along::Nothing))
            }),
            Request::Append { .. } => return Err(Breach("a letter for another mailbox")),
            Request::Letters { .. } | Request::Summaries { .. } => return Err(Breach("too many letters")),
        }
        Ok(())
    }

    fn without(&mut self, request: Request, asked: Asked) -> Result<(), Breach> {
        match request {
            Request::Append { .. } | Request::PutSummaries => asked.reply(0, Reply::Refused(Refusal::Unavailable)),
            _ => return Err(Breach("descriptors where none belong")),
        }
        Ok(())
    }
}

pub(super) const fn refused(why: NotTaken) -> Refusal {
    match why {
        NotTaken::Full => Refusal::OverQuota,
        NotTaken::Failed => Refusal::Unavailable,
        NotTaken::OnlyReads => Refusal::OnlyReads,
    }
}

fn encode<T: Serialize>(list: &T) -> Result<Vec<u8>, Refusal> {
    postcard::to_stdvec(list).map_err(|_| Refusal::Unavailable)
}
