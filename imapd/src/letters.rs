//! Opening sealed letters, on threads and ahead of the session that writes them out.
//!
//! The keeper hands out read-only descriptors, [`Openers`] open them with the owner's identities, check what they
//! find, and send the bytes asked for in pieces of at most [`limits::CHUNK`]: no letter is ever whole in memory.
//! A letter whose beginning was sent and whose end turns out damaged breaks the connection off; it is never ended
//! as if all were well.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use filter_sandbox::report::{Span, Summary};
use spool::keys::Identities;
use spool::letter::{Expect, LetterError, Opened};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::command::{Section, SectionItem, SectionText};
use crate::limits;
use crate::render::{self, Slices};

/// What one command wants of every letter it opens.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The summary.
    pub summary: bool,
    /// Bytes of the message.
    pub sections: Vec<SectionItem>,
    /// The whole message, as one more section at the end (for SEARCH).
    pub whole: bool,
}

impl Wanted {
    /// Whether summary and header are enough: the cache may have both.
    #[must_use]
    pub fn is_light(&self) -> bool {
        let of_header = |item: &SectionItem| render::is_of_header(&item.section);
        !self.whole && (self.summary || !self.sections.is_empty()) && self.sections.iter().all(of_header)
    }

    /// Whether what is known of a letter is all that is wanted.
    #[must_use]
    pub fn is_met_by(&self, digest: &Digest) -> bool {
        self.is_light() && (self.sections.is_empty() || digest.header.is_some())
    }
}

/// What lists and header fetches need of a letter.
#[derive(Debug)]
pub struct Digest {
    /// Checked.
    pub summary: Box<Summary>,
    /// The whole header of the message, when it is no longer than [`limits::CACHED_HEADER`].
    pub header: Option<Zeroizing<Vec<u8>>>,
}

/// One letter's output, in this order: one head, then its bytes; or a failure instead of either.
#[derive(Debug)]
pub enum Piece {
    /// The letter is open.
    Head(Head),
    /// The next bytes of the sections, one after another.
    Bytes(Vec<u8>),
    /// It cannot be read (on).
    Failed(LetterError),
}

/// What is known before the bytes come.
#[derive(Debug)]
pub struct Head {
    /// Where it was needed.
    pub digest: Option<Digest>,
    /// For the cache; empty where the cache was not asked.
    pub fresh: Zeroizing<Vec<u8>>,
    /// How many bytes of each section follow; `None` where the letter has no such section. Empty where the digest is all
    /// that was wanted.
    pub lengths: Vec<Option<u64>>,
}

/// One letter to open.
#[derive(Debug)]
pub struct Job {
    /// Its file.
    pub file: File,
    /// Which letter it must be.
    pub expect: Expect,
    /// What to read of it.
    pub wanted: Arc<Wanted>,
    /// Where to.
    pub to: mpsc::Sender<Piece>,
}

/// Opens one letter and sends what is wanted. Blocking.
pub fn open(job: Job, identities: &Identities) {
    // The session may be gone: then nobody misses the rest.
    let _ = read(job, identities);
}

fn read(job: Job, identities: &Identities) -> ControlFlow<()> {
    let Job { file, expect, wanted, to } = job;
    let mut opened = match Opened::open(file, &expect, identities) {
        Ok(opened) => opened,
        Err(error) => return send(&to, Piece::Failed(error)),
    };
    let (head, sections) = match look(&mut opened, &wanted) {
        Ok(found) => found,
        Err(error) => return send(&to, Piece::Failed(error)),
    };
    send(&to, Piece::Head(head))?;
    for slices in sections.into_iter().flatten() {
        if let Err(error) = send_slices(&mut opened, &slices, &to)? {
            return send(&to, Piece::Failed(error));
        }
    }
    ControlFlow::Continue(())
}

fn send(to: &mpsc::Sender<Piece>, piece: Piece) -> ControlFlow<()> {
    if to.blocking_send(piece).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

const fn is_whole_message(section: &Section) -> bool {
    section.part.is_empty() && matches!(section.text, SectionText::Whole)
}

/// What is to be sent, before anything is.
fn look(opened: &mut Opened<File>, wanted: &Wanted) -> Result<(Head, Vec<Option<Slices>>), LetterError> {
    let summary = summary(opened, wanted)?;
    if wanted.is_light()
        && let Some(summary) = summary
    {
        let header = header(opened, &summary)?;
        let digest = Digest { summary: Box::new(summary), header };
        if wanted.is_met_by(&digest) {
            let fresh =
                crate::summaries::encode(opened.summary(), digest.header.as_ref().map(|header| header.as_slice()));
            return Ok((Head { digest: Some(digest), fresh, lengths: Vec::new() }, Vec::new()));
        }
        return streamed(opened, wanted, Some(digest));
    }
    let digest = summary.map(|summary| Digest { summary: Box::new(summary), header: None });
    streamed(opened, wanted, digest)
}

fn streamed(
    opened: &mut Opened<File>,
    wanted: &Wanted,
    digest: Option<Digest>,
) -> Result<(Head, Vec<Option<Slices>>), LetterError> {
    let sections = sections(opened, wanted, digest.as_ref().map(|digest| &*digest.summary))?;
    let lengths = sections.iter().map(|slices| slices.as_ref().map(Slices::len)).collect();
    Ok((Head { digest, fresh: Zeroizing::default(), lengths }, sections))
}

fn header(opened: &mut Opened<File>, summary: &Summary) -> Result<Option<Zeroizing<Vec<u8>>>, LetterError> {
    let span = summary.root.header;
    if span.len() > limits::CACHED_HEADER {
        return Ok(None);
    }
    let mut bytes = Zeroizing::new(opened.read_range(span.start.into(), span.len().into())?);
    without_nul(&mut bytes);
    Ok(Some(bytes))
}

/// RFC 3501 §9: an answer has no NUL. Letters are taken without, but not always were.
pub fn without_nul(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = 0x80);
}

/// The summary, where somebody needs it: whole messages need none.
fn summary(opened: &Opened<File>, wanted: &Wanted) -> Result<Option<Summary>, LetterError> {
    if !wanted.summary && wanted.sections.iter().all(|item| is_whole_message(&item.section)) {
        return Ok(None);
    }
    decode(opened.summary(), opened.size()).map(Some)
}

/// Decodes and checks a summary: it was made by a worker, and what sealed it may have been taken over.
///
/// # Errors
/// [`LetterError::Damaged`].
pub fn decode(raw: &[u8], size: u64) -> Result<Summary, LetterError> {
    let summary: Summary = postcard::from_bytes(raw).map_err(|_| LetterError::Damaged("summary"))?;
    let size = usize::try_from(size).map_err(|_| LetterError::Damaged("too large"))?;
    summary.check(size).map_err(|_| LetterError::Damaged("summary does not fit the letter"))?;
    Ok(summary)
}

/// Where each section's bytes lie; `None` where the letter has no such section.
fn sections(
    opened: &mut Opened<File>,
    wanted: &Wanted,
    summary: Option<&Summary>,
) -> Result<Vec<Option<Slices>>, LetterError> {
    let message = Span { start: 0, end: u32::try_from(opened.size()).map_err(|_| LetterError::OutOfRange)? };
    let whole = || Slices { spans: vec![message], tail: b"" };
    let mut slices = Vec::with_capacity(wanted.sections.len() + 1);
    for item in &wanted.sections {
        let found = match summary {
            _ if is_whole_message(&item.section) => Some(whole()),
            Some(summary) => section(opened, summary, &item.section)?,
            None => None,
        };
        slices.push(found.map(|found| render::cut(&found, item.partial)));
    }
    if wanted.whole {
        slices.push(Some(whole()));
    }
    Ok(slices)
}

fn section(opened: &mut Opened<File>, summary: &Summary, section: &Section) -> Result<Option<Slices>, LetterError> {
    Ok(match (render::resolve(summary, section), &section.text) {
        (render::Wanted::Bytes(slices), _) => Some(slices),
        (render::Wanted::Fields { header, index }, SectionText::Fields { names, not }) => {
            let bytes = opened.read_range(u64::from(header.start), u64::from(header.end - header.start))?;
            Some(render::fields(header, &bytes, index, names, *not))
        }
        _ => None,
    })
}

/// Sends a section in pieces. Short spans (HEADER.FIELDS) are gathered, so that they make one piece and not twenty.
fn send_slices(
    opened: &mut Opened<File>,
    slices: &Slices,
    to: &mpsc::Sender<Piece>,
) -> ControlFlow<(), Result<(), LetterError>> {
    let mut piece = Vec::new();
    for span in &slices.spans {
        let (mut from, end) = (u64::from(span.start), u64::from(span.end));
        while from < end {
            if piece.len() == limits::CHUNK {
                send(to, Piece::Bytes(std::mem::take(&mut piece)))?;
            }
            let room = limits::CHUNK - piece.len();
            let count = usize::try_from(end - from).unwrap_or(room).min(room);
            let filled = piece.len();
            piece.resize(filled + count, 0);
            if let Err(error) = opened.read_into(from, &mut piece[filled..]) {
                return ControlFlow::Continue(Err(error));
            }
            without_nul(&mut piece[filled..]);
            from += count as u64;
        }
    }
    piece.extend_from_slice(slices.tail);
    if !piece.is_empty() {
        send(to, Piece::Bytes(piece))?;
    }
    ControlFlow::Continue(Ok(()))
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

/// Threads that open letters for one command, in the order given; each letter's output waits for its turn in a
/// channel of its own.
#[derive(Debug, Default)]
pub struct Openers {
    shared: Arc<(Mutex<Queue>, Condvar)>,
    threads: usize,
}

impl Openers {
    /// Takes a job, starting another thread when there are fewer than `most`.
    pub fn give(&mut self, job: Job, identities: &Arc<Identities>, most: usize) {
        lock(&self.shared.0).jobs.push_back(job);
        self.shared.1.notify_one();
        if self.threads < most {
            self.threads += 1;
            let (shared, identities) = (self.shared.clone(), identities.clone());
            tokio::task::spawn_blocking(move || work(&shared, &identities));
        }
    }
}

impl Drop for Openers {
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.0);
        queue.closed = true;
        queue.jobs.clear();
        drop(queue);
        self.shared.1.notify_all();
    }
}

fn work((queue, changed): &(Mutex<Queue>, Condvar), identities: &Identities) {
    let mut held = lock(queue);
    loop {
        if let Some(job) = held.jobs.pop_front() {
            drop(held);
            open(job, identities);
            held = lock(queue);
        } else if held.closed {
            return;
        } else {
            held = changed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use filter_sandbox::report::Facts;
    use spool::keys::Identity;
    use spool::letter::{Frame, seal};
    use spool::names::{LetterId, MailboxId};

    use super::*;

    #[test]
    fn an_old_letter_with_nul_is_served_without() {
        let message = b"Subject: a\0b\r\n\r\nwords\0\r\n";
        let identities = Identities::first(MailboxId(1), Identity::generate().unwrap());
        let summary = filter_sandbox::letter::examine(message, &Facts::default()).unwrap().summary;
        let summary = postcard::to_stdvec(&summary).unwrap();
        let frame = Frame {
            mailbox: MailboxId(1),
            letter: LetterId([2; 16]),
            generation: 1,
            arrived: 0,
            size: message.len() as u32,
        };
        let sealed =
            seal(identities.newest().public(), &summary, [message.as_slice()], frame.encode().to_vec()).unwrap();
        let path = std::env::temp_dir().join(format!("postern-nul-{}", std::process::id()));
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.write_all(&sealed).unwrap();
        file.rewind().unwrap();
        let expect = Expect { mailbox: MailboxId(1), letter: frame.letter, size: Some(frame.size) };
        let read = |wanted: Wanted| {
            let (to, mut from) = mpsc::channel(10);
            let file = file.try_clone().unwrap();
            open(Job { file, expect, wanted: Arc::new(wanted), to }, &identities);
            let Some(Piece::Head(head)) = from.try_recv().ok() else { panic!("no head") };
            let bytes = std::iter::from_fn(|| from.try_recv().ok()).flat_map(|piece| match piece {
                Piece::Bytes(bytes) => bytes,
                other => panic!("{other:?}"),
            });
            (head.digest, bytes.collect::<Vec<u8>>())
        };
        let (_, whole) = read(Wanted { whole: true, ..Wanted::default() });
        assert_eq!(whole, b"Subject: a\x80b\r\n\r\nwords\x80\r\n");
        let (digest, _) = read(Wanted { summary: true, ..Wanted::default() });
        assert_eq!(digest.unwrap().header.unwrap().as_slice(), b"Subject: a\x80b\r\n\r\n");
    }
}
