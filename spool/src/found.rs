//! What starts have found wrong, until somebody acknowledges it with `spool check --repair`: `found`, a line each, in
//! words, so that it can be read whatever else is broken. It names mailboxes by their ids, as the folders beside it do.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::edges::admin::{Fate, Finding};

/// Findings kept; more add nothing.
const MOST: usize = 1_000;

fn path(root: &Path) -> PathBuf {
    root.join("found")
}

/// All of it. What stands in it was dealt with as far as it could be.
///
/// # Errors
/// The disk's.
pub fn read(root: &Path) -> io::Result<Vec<Finding>> {
    let text = match std::fs::read(path(root)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().take(MOST).map(|line| line.split_once(": ").unwrap_or(("found", line)));
    Ok(lines
        .map(|(place, what)| Finding { place: place.to_owned(), what: what.to_owned(), fate: Fate::Known })
        .collect())
}

/// Keeps these and no others, durably.
///
/// # Errors
/// The disk's.
pub fn write(disk: &Disk, root: &Path, findings: &[Finding]) -> io::Result<()> {
    if findings.is_empty() {
        disk.remove(&path(root))?;
        return disk.sync_folder(root);
    }
    let line = |found: &Finding| format!("{}: {}\n", found.place, found.what.replace('\n', " "));
    disk.replace(&path(root), findings.iter().take(MOST).map(line).collect::<String>().as_bytes())
}
