//! The mailbox edge's requests that touch files: done in threads, answered when done.

use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::commit::With;
use crate::edges::NewLetter;
use crate::edges::limits::SUMMARIES_BYTES;
use crate::edges::mailbox::{Refusal, Reply};
use crate::index::plan;
use crate::journal::record::{Record, charge};
use crate::letter::Frame;
use crate::names::{HEAD, LetterId, MailboxId};
use crate::{limits, store};

use super::house::{House, now};
use super::intake::{self, NotIn};
use super::line::Along;
use super::mailbox::{Asked, refused};
use super::memory_file;
use super::reserve::Rooms;
use super::seat::Seat;

/// Opens letters for reading, each only if it is the one of that name; not before they can be sent, so that they do not
/// pile up here for who reads no answers.
pub(super) fn letters(seat: &Arc<Seat>, asked: Asked, letters: Vec<LetterId>) {
    let (among, seat) = (seat.share().opened.clone(), seat.clone());
    asked.reply_opened(among, Reply::Refused(Refusal::Unavailable), move || {
        let opened: Vec<_> =
            letters.into_iter().map(|letter| open_letter(seat.house(), seat.mailbox(), letter)).collect();
        let found = opened.iter().map(Option::is_some).collect();
        (Reply::Letters(found), opened.into_iter().flatten().collect())
    });
}

/// A letter's file, read-only. Two files swapped on disk, or one under a wrong name, are told and not
/// given out: the start of the age file must give the letter's name, and the frame must carry it.
fn open_letter(house: &House, mailbox: MailboxId, letter: LetterId) -> Option<OwnedFd> {
    let path = store::letter_path(&house.root, mailbox, letter);
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) => {
            tracing::warn!(%mailbox, %letter, %error, "a letter cannot be opened");
            return None;
        }
    };
    let mut head = vec![0; Frame::BYTES + HEAD];
    let mut filled = 0;
    while filled < head.len() {
        match file.read_at(&mut head[filled..], filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) => {
                tracing::error!(%mailbox, %letter, %error, "a letter cannot be read");
                return None;
            }
        }
    }
    if crate::recover::is_it(&head[..filled], mailbox, letter) {
        return Some(file.into());
    }
    tracing::error!(%mailbox, %letter, "another file lies in a letter's place; it is not shown. Run `postern spool check`");
    None
}

/// What APPEND brings.
pub(super) struct Append {
    pub name: String,
    pub letter: NewLetter,
    pub flags: u8,
    pub keywords: Vec<String>,
    pub arrived: Option<i64>,
    pub pipe: OwnedFd,
}

/// APPEND.
pub(super) fn append(seat: Arc<Seat>, asked: Asked, append: Append) {
    let Ok(pipe) = seat.share().pipes.clone().try_acquire_owned() else {
        return asked.reply(0, Reply::Refused(Refusal::Unavailable));
    };
    let asked = asked.holding(pipe);
    tokio::spawn(async move {
        // Its mailbox's first: whose letters drip keeps only its own from being taken in.
        let Ok(own) = seat.share().hands.clone().acquire_owned().await else { return };
        let Ok(hand) = seat.house().hands.append.clone().acquire_owned().await else { return };
        let done = tokio::task::spawn_blocking(move || {
            let _hands = (own, hand);
            run_append(&seat, append, asked);
        });
        let _ = done.await;
    });
}

fn run_append(seat: &Seat, append: Append, asked: Asked) {
    let (house, id) = (seat.house(), seat.mailbox());
    let room = admit(house, id, &append);
    let arrived = append.arrived.unwrap_or_else(now);
    let Append { name, letter, flags, keywords, pipe, .. } = append;
    let taken = room.and_then(|room| {
        let arrival =
            intake::take(house, &letter, pipe, arrived, intake::latest()).map_err(|why| not_in(house, why))?;
        Ok((room, arrival))
    });
    let (_room, arrival) = match taken {
        Ok(taken) => taken,
        Err(why) => return asked.reply(0, Reply::Refused(why)),
    };
    // Dropped after the lock: what the answer waits for is written while it is queued.
    let leading = house.committer.leading();
    let mut core = house.committer.lock();
    let placed = core.index.mailbox(id).ok_or(Refusal::Unavailable).and_then(|mailbox| {
        let entry = plan::append_place(mailbox, &arrival, &name, flags, &keywords)?;
        Ok((appended(mailbox, &entry)?, entry))
    });
    let committed = placed.and_then(|(reply, entry)| {
        let with = With { letters: &[(id, arrival.letter)], frees: false };
        leading.take(&mut core, entry, &with).map_err(refused).map(|after| (after, reply))
    });
    match committed {
        // Under the lock, so that no later event goes out before this answer.
        Ok((after, reply)) => asked.reply(after, reply),
        Err(why) => {
            drop(core);
            intake::discard(house, &[arrival]);
            asked.reply(0, Reply::Refused(why));
        }
    }
}

/// Before the letter is taken, TRYCREATE and OVERQUOTA cost nobody a transfer; and its room is kept for it.
fn admit(house: &House, id: MailboxId, append: &Append) -> Result<Rooms, Refusal> {
    if house.manner.only_reads() {
        return Err(Refusal::OnlyReads);
    }
    let core = house.committer.lock();
    let mailbox = core.index.mailbox(id).ok_or(Refusal::Unavailable)?;
    let folder = crate::index::name::normal(&append.name).and_then(|name| mailbox.named(&name));
    folder.ok_or(Refusal::NoSuchFolder)?;
    let size = charge(append.letter.size.into());
    if !mailbox.takes(1) || !house.reserved.fits(mailbox, id, size) {
        return Err(Refusal::OverQuota);
    }
    let mut room = Rooms::new(&house.reserved);
    room.add(id, size);
    Ok(room)
}

fn not_in(house: &House, why: NotIn) -> Refusal {
    match why {
        NotIn::Full => Refusal::OverQuota,
        NotIn::Disk(error) => {
            tracing::error!(%error, "a letter could not be written");
            house.doubts.notify_one();
            Refusal::Unavailable
        }
        NotIn::Sender(what) => {
            tracing::warn!(what, "a letter was not taken");
            Refusal::Unavailable
        }
    }
}

/// RFC 4315 APPENDUID of an entry that is about to be taken.
fn appended(mailbox: &crate::index::Mailbox, entry: &[Record]) -> Result<Reply, Refusal> {
    let placed = entry.iter().find_map(|record| match record {
        Record::Delivered { letters, .. } => letters.first(),
        _ => None,
    });
    let placed = placed.ok_or(Refusal::Unavailable)?;
    let folder = mailbox.folder(placed.folder).ok_or(Refusal::NoSuchFolder)?;
    Ok(Reply::Appended { uid_validity: folder.shown().uid_validity, uid: placed.letter.uid })
}

/// Sealed summaries from the cache, as many from the front as one answer carries.
pub(super) fn summaries(seat: Arc<Seat>, asked: Asked, letters: Vec<LetterId>) {
    tokio::task::spawn_blocking(move || {
        let values = seat.house().caches.get(seat.house(), seat.mailbox(), &letters);
        let values: Vec<_> = values.iter().map(|value| value.as_deref().map(Whole)).collect();
        match postcard::to_stdvec(&values) {
            Ok(bytes) => asked.reply_with(0, Reply::Summaries, Along::Bytes(bytes)),
            Err(_) => asked.reply(0, Reply::Refused(Refusal::Unavailable)),
        }
    });
}

/// Bytes that are written in one piece; serde writes a list of them one by one, to the same effect.
struct Whole<'a>(&'a [u8]);

impl serde::Serialize for Whole<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.0)
    }
}

/// Sealed summaries for the cache.
pub(super) fn put_summaries(seat: Arc<Seat>, asked: Asked, file: OwnedFd) {
    tokio::task::spawn_blocking(move || {
        let read = memory_file::read(file, SUMMARIES_BYTES);
        let values = read.ok().and_then(|bytes| postcard::from_bytes::<Vec<(LetterId, Vec<u8>)>>(&bytes).ok());
        let Some(values) = values else {
            tracing::warn!("summaries that do not decode; peer dropped");
            return asked.line().end();
        };
        let fits = |(_, value): &(LetterId, Vec<u8>)| value.len() <= limits::CACHE_VALUE;
        if values.iter().all(fits) {
            seat.house().caches.put(seat.house(), seat.mailbox(), &values);
        }
        asked.reply(0, Reply::Done);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_one_piece_reads_as_a_list() {
        let values = vec![Some(vec![7; 300]), None, Some(Vec::new())];
        let whole: Vec<_> = values.iter().map(|value| value.as_deref().map(Whole)).collect();
        assert_eq!(postcard::to_stdvec(&whole).unwrap(), postcard::to_stdvec(&values).unwrap());
    }
}
