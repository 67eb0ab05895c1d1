//! Reading the journal back at a start.

use std::path::Path;
use std::{fmt, io};

use crate::disk::Disk;
use crate::edges::admin::{Fate, Finding};
use crate::format::FormatError;
use crate::index::Index;

use super::closed::{self, Closed, Mark};
use super::files::{self, Listing, Writer, checkpoint_path, segment_path};
use super::record::{self, Record};
use super::segment::{BadHeader, Kind, Reader, Step, TAG};
use super::sure::Sure;

/// What a start finds.
#[derive(Debug)]
pub struct Opened {
    /// As it was when the last entry was durable.
    pub index: Index,
    /// The number of the last entry.
    pub sequence: u64,
    /// The segment of this run, begun.
    pub writer: Writer,
    /// What is worth telling: cuts and damage.
    pub findings: Vec<Finding>,
    /// Whether entries were lost from the middle: then UIDs must not be trusted any more, and letters
    /// without a record are not strangers.
    pub damaged: bool,
    /// Bytes read since the last checkpoint.
    pub since_checkpoint: u64,
    /// Segments read since the last checkpoint.
    pub segments: usize,
}

/// Why there is no opening it.
#[derive(Debug)]
pub enum OpenError {
    /// The disk's fault.
    Io(io::Error),
    /// Nothing in it opens with this key: the box key is another's, or `recover` is meant.
    Key,
    /// A newer program has written in it: nothing of it may be changed, or taken for damaged.
    Newer(FormatError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "journal: {error}"),
            Self::Key => f.write_str(
                "nothing in the journal opens: this is not the box key it was written with, or it is damaged from its first byte on. \
                 Put the right key back; if this is the right one, run `postern recover`",
            ),
            Self::Newer(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

impl OpenError {
    fn newer(path: &Path, what: &str) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Self::Newer(FormatError::newer(format!("journal/{name} {what}")))
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Of an entry that our key has sealed: nothing on a disk can have damaged it.
const UNKNOWN: &str = "holds something that this one does not know";

fn of_version(path: &Path, version: u16) -> OpenError {
    OpenError::newer(path, &format!("is of version {version}"))
}

/// What has been read so far.
struct Replay<'a> {
    dir: &'a Path,
    key: &'a [u8; 32],
    /// What lies behind is in no file, whatever the kernel says.
    sure: Option<Sure>,
    index: Index,
    sequence: u64,
    /// The last tag of the segment read last that holds anything (none, before the very first); `None` where
    /// it is not known.
    link: Option<Option<[u8; TAG]>>,
    /// That segment, and torn ones since.
    ends: Vec<End>,
    /// Checkpoints that are none.
    bad_checkpoints: Vec<u64>,
    findings: Vec<Finding>,
    damaged: bool,
    /// Entries that opened, in any file.
    opened: u64,
}

/// How a segment ends behind which no other begins.
#[derive(Debug, Clone, Copy)]
struct End {
    number: u64,
    /// Bytes of it that are whole entries.
    good: u64,
    /// Where and how long its unfinished end is.
    torn: Option<(u64, u64)>,
    /// Whether more of it was read than is known to be on the disk.
    unsure: bool,
}

impl Replay<'_> {
    fn tell(&mut self, path: &Path, what: String, fate: Fate) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        tracing::error!(file = %name, "journal: {what}");
        self.findings.push(Finding { place: format!("journal/{name}"), what, fate });
    }

    fn damage(&mut self, path: &Path, what: String) {
        self.damaged = true;
        self.tell(path, what, Fate::Open);
    }

    /// Reads a checkpoint; a damaged one leaves the index as it was.
    fn checkpoint(&mut self, number: u64) -> Result<bool, OpenError> {
        let path = checkpoint_path(self.dir, number);
        let file = std::fs::read(&path)?;
        let mut index = Index::default();
        let mut ended = false;
        let mut reader = match Reader::new(self.key, &file, Kind::Checkpoint, number) {
            Ok(reader) => reader,
            Err(BadHeader::Newer(version)) => return Err(of_version(&path, version)),
            Err(BadHeader::Damaged) => {
                self.bad_checkpoints.push(number);
                self.tell(&path, "is no checkpoint of this journal; the one before is used".to_owned(), Fate::Mended);
                return Ok(false);
            }
        };
        for step in reader.by_ref() {
            let Step::Entry(_, plain) = step else {
                ended = false;
                break;
            };
            let entry = record::decode(&plain).map_err(|_| OpenError::newer(&path, UNKNOWN))?;
            self.opened += 1;
            ended = entry.contains(&Record::End);
            entry.into_iter().for_each(|record| index.apply(0, record, &mut ()));
        }
        if !ended {
            self.bad_checkpoints.push(number);
            self.tell(&path, "damaged; the checkpoint before is used".to_owned(), Fate::Mended);
            return Ok(false);
        }
        index.restored();
        self.index = index;
        Ok(true)
    }

    /// A segment's bytes, as far as they are known to be on the disk; whether there were more.
    fn bytes(&self, number: u64) -> io::Result<(Vec<u8>, bool)> {
        let mut file = std::fs::read(segment_path(self.dir, number))?;
        let most = self.sure.map_or(u64::MAX, |sure| sure.bytes_of(number));
        let unsure = file.len() as u64 > most;
        file.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        Ok((file, unsure))
    }

    /// Reads a segment; how many of its bytes are good. One that was made but never got its first entry
    /// whole holds nothing: the chain goes past it.
    fn segment(&mut self, number: u64) -> Result<u64, OpenError> {
        let path = segment_path(self.dir, number);
        let (file, unsure) = self.bytes(number)?;
        if file.iter().all(|byte| *byte == 0) {
            self.ends.extend(unsure.then_some(End { number, good: 0, torn: None, unsure }));
            return Ok(0);
        }
        let mut reader = match Reader::new(self.key, &file, Kind::Log, number) {
            Ok(reader) => reader,
            Err(BadHeader::Newer(version)) => return Err(of_version(&path, version)),
            Err(BadHeader::Damaged) => {
                self.damage(&path, "its header is damaged; nothing in it can be read".to_owned());
                self.link = None;
                self.ends.clear();
                return Ok(0);
            }
        };
        let (mut first, mut torn) = (None, None);
        for step in reader.by_ref() {
            match step {
                Step::Entry(count, plain) => {
                    self.opened += 1;
                    self.entry(&path, count, &plain, &mut first)?;
                }
                Step::Damage { at, bytes } => self.damage(&path, format!("{bytes} damaged bytes at {at}")),
                // Whether anything durable is missing there, the first entry of a later segment says.
                Step::Torn { at, bytes } => torn = Some((at, bytes)),
            }
        }
        if !reader.is_empty() {
            self.lost_before();
            self.link = Some(Some(reader.link()));
            self.ends.clear();
        }
        if torn.is_some() || unsure || !reader.is_empty() {
            self.ends.push(End { number, good: reader.good(), torn, unsure });
        }
        Ok(reader.good())
    }

    /// The first segment behind a checkpoint has no segment before it to say what its own first entry was, and that entry
    /// was durable before the checkpoint was: one that holds nothing, and yet another was begun behind it, is damaged.
    fn lost_before(&mut self) {
        let first = self.ends.first().filter(|end| end.torn.is_some() && self.link.is_none() && !self.damaged);
        if let Some(End { number, torn: Some((at, bytes)), .. }) = first.copied() {
            self.damage(&segment_path(self.dir, number), format!("{bytes} damaged bytes at {at}"));
        }
    }

    fn entry(&mut self, path: &Path, count: u32, plain: &[u8], first: &mut Option<u64>) -> Result<(), OpenError> {
        let entry = record::decode(plain).map_err(|_| OpenError::newer(path, UNKNOWN))?;
        if let Some(Record::Begin { previous, sequence }) = entry.first() {
            if self.link.is_some_and(|link| link != *previous) {
                self.damage(path, "the end of the segment before it is missing".to_owned());
            }
            *first = Some(*sequence);
            self.sequence = self.sequence.max(sequence.saturating_sub(1));
            self.apply(self.sequence, entry);
            return Ok(());
        }
        if entry.first() == Some(&Record::End) {
            self.apply(self.sequence, entry);
            return Ok(());
        }
        // Without its first entry the segment's numbers go on from the segment before.
        let base = *first.get_or_insert(self.sequence + 1);
        let number = base.saturating_add(u64::from(count)).saturating_sub(1);
        self.sequence = self.sequence.max(number);
        self.apply(number, entry);
        Ok(())
    }

    fn apply(&mut self, number: u64, entry: record::Entry) {
        entry.into_iter().for_each(|record| self.index.apply(number, record, &mut ()));
    }
}

/// Reads the journal in `dir` and begins this run's segment.
///
/// # Errors
/// [`OpenError`].
pub fn open(disk: &Disk, dir: &Path, key: &[u8; 32]) -> Result<Opened, OpenError> {
    open_then(disk, dir, (key, None), || Ok(()))
}

/// As [`open`], believing no more than is `sure`; `first` is done once all was read and understood, before anything is changed.
///
/// # Errors
/// [`OpenError`].
pub fn open_then(
    disk: &Disk,
    dir: &Path,
    (key, sure): (&[u8; 32], Option<Sure>),
    first: impl FnOnce() -> io::Result<()>,
) -> Result<Opened, OpenError> {
    disk.make_folder(dir)?;
    let mut read = read(dir, (key, sure), files::list_only(dir)?)?;
    first()?;
    files::remove_unfinished(dir)?;
    // Only now: under another key every entry looks like an unfinished one.
    settle(disk, &mut read.replay)?;
    // Where it says that something is missing it stays, until that is behind us. Its going is durable with the new
    // segment's name.
    if !read.cut {
        closed::remove(disk, dir)?;
    }
    let replay = &read.replay;
    let first = files::first(replay.link.flatten(), replay.sequence + 1, replay.index.still().collect())?;
    let mut writer = Writer::create(disk, dir, key, read.newest + 1, first.len())?;
    writer.write(std::iter::once(first.as_slice()))?;
    files::keep_reserve(disk, dir);
    Ok(read.opened(writer))
}

/// Reads the journal in `dir` and changes nothing there: this run's segment is in memory.
///
/// # Errors
/// [`OpenError`].
pub fn look(dir: &Path, key: &[u8; 32], sure: Option<Sure>) -> Result<Opened, OpenError> {
    let read = read(dir, (key, sure), files::list_only(dir)?)?;
    let writer = Writer::in_memory(key, read.newest + 1)?;
    Ok(read.opened(writer))
}

/// A journal that was read.
struct Read<'a> {
    replay: Replay<'a>,
    newest: u64,
    bytes: u64,
    segments: usize,
    /// Whether the end is not the one the journal was closed with.
    cut: bool,
}

impl Read<'_> {
    fn opened(self, writer: Writer) -> Opened {
        let Self { replay, bytes, segments, .. } = self;
        Opened {
            index: replay.index,
            sequence: replay.sequence,
            writer,
            findings: replay.findings,
            damaged: replay.damaged,
            since_checkpoint: bytes,
            segments,
        }
    }
}

fn read<'a>(dir: &'a Path, (key, sure): (&'a [u8; 32], Option<Sure>), listing: Listing) -> Result<Read<'a>, OpenError> {
    let mut replay = Replay {
        dir,
        key,
        sure,
        index: Index::default(),
        sequence: 0,
        link: None,
        ends: Vec::new(),
        bad_checkpoints: Vec::new(),
        findings: Vec::new(),
        damaged: false,
        opened: 0,
    };
    let base = newest_checkpoint(&mut replay, &listing)?;
    let segments: Vec<u64> = listing.segments.iter().copied().filter(|number| *number >= base.unwrap_or(0)).collect();
    whole_run(&mut replay, base, &segments, &listing);
    replay.link = base.is_none().then_some(None);
    let mark = closed::read(dir, key)?;
    let (mut bytes, mut end) = (0, None);
    for number in &segments {
        bytes += replay.segment(*number)?;
        if matches!(mark, Mark::Of(closed) if closed.number == *number) {
            end = replay.link;
        }
    }
    let something = !(segments.is_empty() && listing.checkpoints.is_empty());
    // Where the mark opens the key is right, and what does not open is damaged.
    let is_ours = matches!(mark, Mark::Of(_));
    if something && replay.opened == 0 && !is_ours && !never_used(&replay, &segments)? {
        return Err(OpenError::Key);
    }
    let cut = match mark {
        // What was before a checkpoint is not read any more.
        Mark::Of(Closed { number, link }) => number >= base.unwrap_or(0) && end != Some(Some(link)),
        Mark::None | Mark::Damaged => false,
    };
    if cut {
        let what = "the end of the journal is missing: it was cut off after the box was stopped in order";
        replay.damage(&closed::path(dir), what.to_owned());
    }
    if mark == Mark::Damaged {
        let what = "damaged: whether the journal's end was cut off since the last stop is not known";
        replay.tell(&closed::path(dir), what.to_owned(), Fate::Known);
    }
    let newest = listing.segments.iter().chain(&listing.checkpoints).max().copied().unwrap_or(0);
    Ok(Read { replay, newest, bytes, segments: segments.len(), cut })
}

fn newest_checkpoint(replay: &mut Replay<'_>, listing: &Listing) -> Result<Option<u64>, OpenError> {
    for number in listing.checkpoints.iter().rev() {
        if replay.checkpoint(*number)? {
            return Ok(Some(*number));
        }
    }
    Ok(None)
}

/// Tells when segments are missing: before the first, or between two.
fn whole_run(replay: &mut Replay<'_>, base: Option<u64>, segments: &[u64], listing: &Listing) {
    let expected = base.unwrap_or(1);
    let gap = segments.windows(2).find(|pair| pair[0] + 1 != pair[1]).map(|pair| pair[0] + 1);
    let early = segments.first().filter(|first| **first > expected).map(|_| expected);
    // A checkpoint is only ever made with its segment beside it; and no checkpoint at all where there were some.
    let none = segments.is_empty().then_some(expected).filter(|_| base.is_some() || !listing.checkpoints.is_empty());
    if let Some(missing) = early.or(gap).or(none) {
        replay.damage(&segment_path(replay.dir, missing), "this part of the journal is missing".to_owned());
    }
}

fn never_used(replay: &Replay<'_>, segments: &[u64]) -> io::Result<bool> {
    // A start that died before its first commit leaves a header and at most an unfinished first entry.
    for number in segments {
        let (file, _) = replay.bytes(*number)?;
        let end = super::segment::entry_end(&file, super::segment::HEADER).unwrap_or(file.len());
        if file.iter().skip(end).any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(replay.findings.iter().all(Finding::settled))
}

/// Makes what was read what will be read: an unfinished end is cut off, and room that nobody wrote to; what was written but perhaps not
/// synced before a kill is synced (the next segment is chained to it), and a damaged checkpoint makes
/// room among the last two for a good one. What is synced is written once more before it: after a sync that failed the kernel
/// takes what it could not write for written.
fn settle(disk: &Disk, replay: &mut Replay<'_>) -> io::Result<()> {
    for number in std::mem::take(&mut replay.bad_checkpoints) {
        let path = checkpoint_path(replay.dir, number);
        if let Err(error) = disk.rename(&path, &files::damaged_path(&path)) {
            tracing::error!(file = %path.display(), %error, "a damaged checkpoint stays where it is");
        }
    }
    for end in std::mem::take(&mut replay.ends) {
        let path = segment_path(replay.dir, end.number);
        let (bytes, _) = replay.bytes(end.number)?;
        let file = disk.reopen(&path)?;
        if !replay.damaged {
            // The zeros that were written ahead, too: on a full disk the next segment needs their room.
            file.truncate(end.good)?;
        } else if end.unsure {
            file.truncate(bytes.len() as u64)?;
        }
        let good = usize::try_from(end.good).unwrap_or(usize::MAX);
        file.write_at(bytes.get(..good).unwrap_or_default(), 0)?;
        if let Some((at, bytes)) = end.torn.filter(|_| !replay.damaged) {
            replay.tell(&path, format!("an unfinished end of {bytes} bytes at {at} was cut off"), Fate::Usual);
        }
        file.sync_all()?;
    }
    Ok(())
}
