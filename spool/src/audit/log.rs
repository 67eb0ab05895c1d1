//! The whole log on disk.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::{AuditError, Entry, FILE, Line};
use crate::disk::Disk;
use crate::keys::Identities;
use crate::limits;
use crate::names::MailboxId;

/// What the owner reads.
#[derive(Debug, Default)]
pub struct Read {
    /// Entries with the numbers of their lines.
    pub entries: Vec<(u64, Entry)>,
    /// Everything that is wrong with the log.
    pub faults: Vec<AuditError>,
}

/// The lines of the log in a mailbox's folder, as they stand; none when there is no log. A last line without its line
/// end was never finished, and is left out.
///
/// # Errors
/// The disk's; [`AuditError::TooMany`].
pub fn load(folder: &Path) -> Result<Vec<String>, AuditError> {
    lines(&whole(folder)?)
}

/// The log's bytes up to the last line end.
fn whole(folder: &Path) -> Result<Vec<u8>, AuditError> {
    const MOST: u64 = (limits::AUDIT_LINES * limits::AUDIT_LINE) as u64;
    let mut bytes = Vec::new();
    match File::open(folder.join(FILE)) {
        Ok(file) => file.take(MOST).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    bytes.truncate(end);
    Ok(bytes)
}

fn lines(whole: &[u8]) -> Result<Vec<String>, AuditError> {
    let Some(whole) = whole.strip_suffix(b"\n") else { return Ok(Vec::new()) };
    // A byte that is not UTF-8 becomes a sign that no line has, and so a fault of that line.
    let lines: Vec<String> = whole.split(|byte| *byte == b'\n').map(|l| String::from_utf8_lossy(l).into()).collect();
    if lines.len() > limits::AUDIT_LINES { Err(AuditError::TooMany("lines")) } else { Ok(lines) }
}

/// The line that the next one follows: the last that can be read. A damaged line is told by [`check`] and [`read`]
/// for ever, but does not stand in the way of revoking a device.
pub fn last<'a>(lines: impl DoubleEndedIterator<Item = &'a str>) -> Option<Line> {
    lines.rev().find_map(|line| Line::parse(line).ok())
}

/// Appends one finished line, durably: its form and place are checked first, an unfinished last line is cut off.
///
/// # Errors
/// [`AuditError::Outdated`] when it does not follow the last line; the disk's.
pub fn append(disk: &Disk, folder: &Path, mailbox: MailboxId, line: &str) -> Result<Line, AuditError> {
    let before = whole(folder)?;
    let line = super::follows(last(lines(&before)?.iter().map(String::as_str)).as_ref(), line, mailbox)?;
    let mut file = disk.append(&folder.join(FILE))?;
    let end = before.len() as u64;
    if file.file().metadata()?.len() != end {
        file.truncate(end)?;
    }
    if let Err(error) = file.write_all(format!("{line}\n").as_bytes()).and_then(|()| file.sync_data()) {
        // Should this not reach the disk either, half a line is cut off by the next append.
        let _ = file.truncate(end);
        return Err(error.into());
    }
    if before.is_empty() {
        disk.sync_folder(folder)?;
    }
    Ok(line)
}

/// Whether the log is whole, as far as anybody without a key can say; returns its last line.
///
/// # Errors
/// [`AuditError::Broken`] with the first line that is wrong.
pub fn check<'a>(mailbox: MailboxId, lines: impl IntoIterator<Item = &'a str>) -> Result<Option<Line>, AuditError> {
    let mut previous = None;
    for (number, text) in (1..).zip(lines) {
        let line = Line::parse(text).map_err(|_| AuditError::Broken(number, "damaged"))?;
        if !line.holds_after(previous.as_ref(), mailbox) {
            return Err(AuditError::Broken(number, "does not follow the line before it"));
        }
        previous = Some(line);
    }
    Ok(previous)
}

/// Opens every line that can be opened, and says of each other one what is wrong.
#[must_use]
pub fn read<'a>(identities: &Identities, lines: impl IntoIterator<Item = &'a str>) -> Read {
    let mut out = Read::default();
    let mut previous: Option<Line> = None;
    for (number, text) in (1..).zip(lines) {
        let Ok(line) = Line::parse(text) else {
            out.faults.push(AuditError::Broken(number, "damaged"));
            continue;
        };
        if !line.holds_after(previous.as_ref(), identities.mailbox()) {
            out.faults.push(AuditError::Broken(number, "does not follow the line before it"));
        }
        match line.open_anywhere(previous.as_ref(), identities) {
            Ok((entry, fits)) => {
                out.entries.push((number, entry));
                if !fits {
                    out.faults.push(line.misplaced());
                }
            }
            Err(error) => out.faults.push(error),
        }
        previous = Some(line);
    }
    out
}
