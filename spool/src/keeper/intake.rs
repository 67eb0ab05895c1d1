//! From a pipe to a letter file that is whole, synced and in its place, or to nothing at all.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use crate::edges::NewLetter;
use crate::edges::pipe::END;
use crate::index::plan::Arrival;
use crate::journal::record::Stored;
use crate::letter::{Digesting, Frame, largest_sealed};
use crate::names::{HEAD, LetterId};
use crate::{limits, store};

use super::house::House;

/// A sender that sends nothing for so long has died or hangs.
const IDLE: Duration = Duration::from_secs(30);
/// And so long for a whole letter whose sender waits for as long as it takes.
const WHOLE: Duration = Duration::from_secs(300);
/// Bytes read at once.
const PIECE: usize = 128 * 1024;

/// Why a letter was not taken. Nothing of it is left.
#[derive(Debug)]
pub enum NotIn {
    /// No room on the disk.
    Full,
    /// The disk failed.
    Disk(io::Error),
    /// The pipe: cut short, too long, too slow, or no pipe.
    Sender(&'static str),
}

impl From<io::Error> for NotIn {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Disk(error),
        }
    }
}

/// A pipe's letter, without its end mark.
struct Incoming {
    pipe: std::fs::File,
    buffer: Vec<u8>,
    left: u64,
    until: Instant,
    ended: bool,
}

impl Incoming {
    fn new(pipe: OwnedFd, most: u64, until: Instant) -> Result<Self, NotIn> {
        let stat = rustix::fs::fstat(&pipe).map_err(|_| NotIn::Sender("not a pipe"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Fifo {
            return Err(NotIn::Sender("not a pipe"));
        }
        let mode = rustix::fs::fcntl_getfl(&pipe).map_err(|_| NotIn::Sender("not a pipe"))?;
        if mode & OFlags::RWMODE != OFlags::RDONLY {
            return Err(NotIn::Sender("not a reading end"));
        }
        rustix::io::ioctl_fionbio(&pipe, true).map_err(|_| NotIn::Sender("not a pipe"))?;
        let buffer = Vec::with_capacity(PIECE + END.len());
        Ok(Self { pipe: pipe.into(), buffer, left: most, until, ended: false })
    }

    /// The next bytes of the letter, appended to `out`; `false` at its (marked) end.
    fn next(&mut self, out: &mut Vec<u8>) -> Result<bool, NotIn> {
        while !self.ended && self.buffer.len() <= END.len() {
            self.fill()?;
        }
        if self.ended && self.buffer == END {
            return Ok(false);
        }
        if self.ended && !self.buffer.ends_with(&END) {
            return Err(NotIn::Sender("cut short"));
        }
        let ready = self.buffer.len() - END.len();
        self.left = self.left.checked_sub(ready as u64).ok_or(NotIn::Sender("longer than it can be"))?;
        out.extend(self.buffer.drain(..ready));
        Ok(true)
    }

    fn fill(&mut self) -> Result<(), NotIn> {
        self.buffer.reserve(PIECE);
        let read = loop {
            if Instant::now() >= self.until {
                return Err(NotIn::Sender("too late"));
            }
            // Not filled with zeros first: most of a piece stays free.
            match rustix::io::read(&self.pipe, spare_capacity(&mut self.buffer)) {
                Err(Errno::AGAIN) => self.wait()?,
                Err(Errno::INTR) => {}
                Err(_) => return Err(NotIn::Sender("cannot be read")),
                Ok(read) => break read,
            }
        };
        self.ended = read == 0;
        Ok(())
    }

    fn wait(&self) -> Result<(), NotIn> {
        let left = self.until.saturating_duration_since(Instant::now()).min(IDLE);
        let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let mut waits = [PollFd::from_borrowed_fd(self.pipe.as_fd(), PollFlags::IN)];
        match rustix::event::poll(&mut waits, Some(&left)) {
            Ok(0) => Err(NotIn::Sender("too slow")),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(_) => Err(NotIn::Sender("cannot be read")),
        }
    }
}

/// When a letter must be in whose sender waits for as long as it takes.
#[must_use]
pub fn latest() -> Instant {
    Instant::now() + WHOLE
}

/// Takes one letter in before `until`: its file is whole, synced, and under its name when this returns; the name itself
/// is durable once its folder is synced (the commit does that).
///
/// # Errors
/// [`NotIn`]; nothing is left then.
pub fn take(house: &House, new: &NewLetter, pipe: OwnedFd, arrived: i64, until: Instant) -> Result<Arrival, NotIn> {
    take_to(house, new, (pipe, until), arrived, |letter| {
        house.make_shard(new.mailbox, letter.shard())?;
        Ok(store::letter_path(&house.root, new.mailbox, letter))
    })
}

/// As [`take`], for a letter that is to leave.
///
/// # Errors
/// [`NotIn`]; nothing is left then.
pub fn take_outgoing(
    house: &House,
    new: &NewLetter,
    pipe: OwnedFd,
    arrived: i64,
    until: Instant,
) -> Result<Arrival, NotIn> {
    take_to(house, new, (pipe, until), arrived, |letter| Ok(store::outgoing_path(&house.root, letter)))
}

fn take_to(
    house: &House,
    new: &NewLetter,
    (pipe, until): (OwnedFd, Instant),
    arrived: i64,
    place: impl FnOnce(LetterId) -> io::Result<PathBuf>,
) -> Result<Arrival, NotIn> {
    let incoming = Incoming::new(pipe, largest_sealed(limits::SUMMARY as u64, new.size.into()), until)?;
    let beside = house.root.join("incoming").join(house.random_name()?);
    let taken = write(house, &beside, new, incoming, arrived, place);
    if taken.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    taken
}

fn write(
    house: &House,
    beside: &std::path::Path,
    new: &NewLetter,
    mut incoming: Incoming,
    arrived: i64,
    place: impl FnOnce(LetterId) -> io::Result<PathBuf>,
) -> Result<Arrival, NotIn> {
    let size = u64::from(new.size);
    let mut piece = Vec::with_capacity(PIECE);
    let mut more = true;
    while more && piece.len() < HEAD {
        more = incoming.next(&mut piece)?;
    }
    let letter = LetterId::of(house.shard(), &piece);
    let frame = Frame { mailbox: new.mailbox, letter, generation: new.generation, arrived, size: new.size };
    let mut out = Digesting::new(house.disk.create_new(beside)?);
    out.write_all(&frame.encode())?;
    while !piece.is_empty() {
        out.write_all(&piece)?;
        piece.clear();
        more = more && incoming.next(&mut piece)?;
    }
    let (file, digest, length) = out.finish();
    if length < size + Frame::BYTES as u64 {
        return Err(NotIn::Sender("shorter than it can be"));
    }
    // Named first: a sync of a new file often syncs its folder too, and `incoming/` need not be.
    let place = place(letter)?;
    house.disk.rename_new(beside, &place)?;
    if let Err(error) = file.sync_all() {
        let _ = house.disk.remove(&place);
        return Err(error.into());
    }
    house.committer.syncs.letters.fetch_add(1, Ordering::Relaxed);
    let stored = Stored::new(new.generation, new.size, length);
    Ok(Arrival { mailbox: new.mailbox, letter, digest, size: new.size, stored, arrived })
}

/// Reads a letter that is not kept, so that its sender comes to the next; one that breaks off shows there.
pub fn pass_by(size: u32, pipe: OwnedFd, until: Instant) {
    let most = largest_sealed(limits::SUMMARY as u64, size.into());
    let Ok(mut incoming) = Incoming::new(pipe, most, until) else { return };
    let mut piece = Vec::with_capacity(PIECE);
    while matches!(incoming.next(&mut piece), Ok(true)) {
        piece.clear();
    }
}

/// Takes back letters that did not come to an entry.
pub fn discard(house: &House, arrivals: &[Arrival]) {
    for arrival in arrivals {
        let _ = house.disk.remove(&store::letter_path(&house.root, arrival.mailbox, arrival.letter));
    }
}
