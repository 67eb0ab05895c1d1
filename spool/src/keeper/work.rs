//! The mailbox edge's requests that touch files: done in threads, answered when done.

use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Arc;

use rustix::fs::OFlags;
use tokio::sync::OwnedSemaphorePermit;

use crate::commit::With;
use crate::edges::NewLetter;
use crate::edges::mailbox::{Event, Refusal, Reply};
use crate::index::plan;
use crate::journal::record::Record;
use crate::letter::Frame;
use crate::names::{HEAD, LetterId, MailboxId};
use crate::{limits, store};

use super::house::{House, now};
use super::intake::{self, NotIn};
use super::line::{Along, Line};
use super::mailbox::refused;
use super::memory_file;
use super::seat::Seat;

/// Where the answer goes, and the place among a connection's requests under way.
pub(super) type Answering = (u32, Line<Reply, Event>, OwnedSemaphorePermit);

/// Bytes of one memory file of summaries.
const SUMMARIES: usize = 64 * 1024 * 1024;

/// Opens letters for reading, each only if it is the one of that name.
pub(super) fn letters(seat: Arc<Seat>, (number, line, busy): Answering, letters: Vec<LetterId>) {
    tokio::task::spawn_blocking(move || {
        let _busy = busy;
        let mut found = Vec::with_capacity(letters.len());
        let mut descriptors = Vec::with_capacity(letters.len());
        for letter in letters {
            let opened = open_letter(seat.house(), seat.mailbox(), letter);
            found.push(opened.is_some());
            descriptors.extend(opened);
        }
        line.reply_with(number, 0, Reply::Letters(found), Along::Descriptors(descriptors));
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
pub(super) fn append(seat: Arc<Seat>, (number, line, busy): Answering, append: Append) {
    tokio::spawn(async move {
        let Ok(hand) = seat.house().hands.append.clone().acquire_owned().await else { return };
        let done = tokio::task::spawn_blocking(move || {
            let _held = (hand, busy);
            let outcome = run_append(&seat, append, |after, reply| line.reply(number, after, reply));
            if let Err(why) = outcome {
                line.reply(number, 0, Reply::Refused(why));
            }
        });
        let _ = done.await;
    });
}

fn run_append(seat: &Seat, append: Append, answer: impl FnOnce(u64, Reply)) -> Result<(), Refusal> {
    let (house, id) = (seat.house(), seat.mailbox());
    {
        // Before the letter is taken: TRYCREATE and OVERQUOTA cost nobody a transfer.
        let core = house.committer.lock();
        let mailbox = core.index.mailbox(id).ok_or(Refusal::Unavailable)?;
        let folder = crate::index::name::normal(&append.name).and_then(|name| mailbox.named(&name));
        folder.ok_or(Refusal::NoSuchFolder)?;
        let after = mailbox.used().saturating_add(house.reserved.of(id)).saturating_add(append.letter.size.into());
        if after > mailbox.profile().quota {
            return Err(Refusal::OverQuota);
        }
    }
    let arrived = append.arrived.unwrap_or_else(now);
    let arrival = intake::take(house, &append.letter, append.pipe, arrived).map_err(|why| match why {
        NotIn::Full => Refusal::OverQuota,
        NotIn::Disk(error) => {
            tracing::error!(%error, "a letter could not be written");
            Refusal::Unavailable
        }
        NotIn::Sender(what) => {
            tracing::warn!(what, "a letter was not taken");
            Refusal::Unavailable
        }
    })?;
    let mut core = house.committer.lock();
    let placed = core.index.mailbox(id).ok_or(Refusal::Unavailable).and_then(|mailbox| {
        let entry = plan::append_place(mailbox, &arrival, &append.name, append.flags, &append.keywords)?;
        Ok((appended(mailbox, &entry)?, entry))
    });
    let committed = placed.and_then(|(reply, entry)| {
        let with = With { letters: &[(id, arrival.letter)], frees: false };
        house.committer.take(&mut core, entry, &with).map_err(refused).map(|after| (after, reply))
    });
    match committed {
        Ok((after, reply)) => {
            answer(after, reply);
            Ok(())
        }
        Err(why) => {
            drop(core);
            intake::discard(house, &[arrival]);
            Err(why)
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

/// Sealed summaries from the cache.
pub(super) fn summaries(seat: Arc<Seat>, (number, line, busy): Answering, letters: Vec<LetterId>) {
    tokio::task::spawn_blocking(move || {
        let _busy = busy;
        let values = seat.house().caches.get(seat.house(), seat.mailbox(), &letters);
        match postcard::to_stdvec(&values) {
            Ok(bytes) => line.reply_with(number, 0, Reply::Summaries, Along::Bytes(bytes)),
            Err(_) => line.reply(number, 0, Reply::Refused(Refusal::Unavailable)),
        }
    });
}

/// Sealed summaries for the cache.
pub(super) fn put_summaries(seat: Arc<Seat>, (number, line, busy): Answering, file: OwnedFd) {
    tokio::task::spawn_blocking(move || {
        let _busy = busy;
        let read = memory_file::read(file, SUMMARIES);
        let values = read.ok().and_then(|bytes| postcard::from_bytes::<Vec<(LetterId, Vec<u8>)>>(&bytes).ok());
        let Some(values) = values else {
            tracing::warn!("summaries that do not decode; peer dropped");
            return line.end();
        };
        let fits = |(_, value): &(LetterId, Vec<u8>)| value.len() <= limits::CACHE_VALUE;
        if values.iter().all(fits) {
            seat.house().caches.put(seat.house(), seat.mailbox(), &values);
        }
        line.reply(number, 0, Reply::Done);
    });
}
