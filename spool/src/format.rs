//! Which format a spool is in: `format` in the spool, in words, made with the spool itself.
//!
//! ```text
//! postern spool, format 2
//! needs postern 0.1.0 or later
//! parts are still in format 1
//! ```
//!
//! | line | says |
//! | --- | --- |
//! | 1 | no program that does not know this format may write here, or believe that it understands what it reads |
//! | 2 | the first version that does, for the words of those that do not |
//! | 3 | only while [`crate::migrate`] has not come to its end: the oldest format that anything here may be in |
//!
//! A newer program raises line 1, durably, **before** it writes anything that an older one would not understand, and then
//! migrates what there is while it serves. So whoever finds a format that it knows may go on, and whoever does not refuses
//! before it has changed a byte. A spool without the file is in format 1.
//!
//! | format | since | what is new |
//! | --- | --- | --- |
//! | 1 | | |
//! | 2 | 0.1.0 | this file; what a start reads of the journal has marked batches throughout |
//!
//! ```
//! # let dir = std::env::temp_dir().join(format!("postern-format-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir)?;
//! use spool::format::{self, Format};
//! assert_eq!(format::look(&dir)?, Format::FIRST);
//! Format::NEWEST.write(&spool::disk::Disk::default(), &dir)?;
//! assert_eq!(format::look(&dir)?, Format::NEWEST);
//! std::fs::write(dir.join("format"), "postern spool, format 99\nneeds postern 7.1 or later\n")?;
//! assert!(format::look(&dir).is_err());
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::disk::Disk;

/// The newest format that this program knows, and the one it writes.
pub const KNOWN: u32 = 2;
/// The first version that knows it.
const NEEDS: &str = "0.1.0";
/// Bytes of the file.
const MOST: usize = 256;
/// Bytes of a version's name in it.
const VERSION: usize = 24;

/// What a spool may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// The newest format that anything in it may be in.
    pub newest: u32,
    /// The oldest.
    pub oldest: u32,
}

/// Why a spool must not be opened; nothing in it was changed.
#[derive(Debug)]
pub enum FormatError {
    /// It was written by a newer program.
    Newer {
        /// What of it is in a format that this program does not know.
        what: String,
        /// The first version that knows it, where that is said.
        needs: Option<String>,
    },
    /// The file says nothing that can be understood.
    Unreadable(PathBuf),
    /// The disk's.
    Io(io::Error),
}

impl FormatError {
    /// Something of the spool that only a newer program knows.
    #[must_use]
    pub fn newer(what: impl Into<String>) -> Self {
        Self::Newer { what: what.into(), needs: None }
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { what, needs } => {
                let needs = needs
                    .as_ref()
                    .map_or_else(|| "the newer version again".to_owned(), |needs| format!("version {needs} or later"));
                write!(
                    f,
                    "this mail was kept by a newer Postern than this one ({}): {what}. Install {needs}; nothing was changed",
                    env!("CARGO_PKG_VERSION")
                )
            }
            Self::Unreadable(path) => write!(
                f,
                "{} should say which format the mail is kept in, and cannot be understood: put it back from a backup, or, if \
                 no other version of Postern than this one ever kept this mail, remove it; nothing was changed",
                path.display()
            ),
            Self::Io(error) => write!(f, "the spool's format: {error}"),
        }
    }
}

impl std::error::Error for FormatError {}

impl From<io::Error> for FormatError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Format {
    /// A spool without the file.
    pub const FIRST: Self = Self { newest: 1, oldest: 1 };
    /// A spool that this program makes.
    pub const NEWEST: Self = Self { newest: KNOWN, oldest: KNOWN };

    /// Writes it, durable.
    ///
    /// # Errors
    /// The disk's: then the old one stands, or the new one.
    pub fn write(self, disk: &Disk, root: &Path) -> io::Result<()> {
        let Self { newest, oldest } = self;
        let mut text = format!("postern spool, format {newest}\nneeds postern {NEEDS} or later\n");
        if oldest < newest {
            text += &format!("parts are still in format {oldest}\n");
        }
        disk.replace(&path(root), text.as_bytes())
    }
}

fn path(root: &Path) -> PathBuf {
    root.join("format")
}

/// What the spool in `root` is in, if this program knows it. Changes nothing.
///
/// # Errors
/// [`FormatError`]: it must not be opened.
pub fn look(root: &Path) -> Result<Format, FormatError> {
    let path = path(root);
    let Some(text) = read(&path)? else { return Ok(Format::FIRST) };
    let Some((format, needs)) = parse(&text) else { return Err(FormatError::Unreadable(path)) };
    if format.newest > KNOWN {
        let what = format!("it is in format {}, and this one knows formats up to {KNOWN}", format.newest);
        return Err(FormatError::Newer { what, needs: Some(needs.to_owned()) });
    }
    Ok(format)
}

/// `up` asks as root, in a folder that the keeper writes in: no link is followed, and nothing but a file is read.
fn read(path: &Path) -> io::Result<Option<String>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        other => File::from(other?),
    };
    let mut bytes = Vec::new();
    if file.metadata()?.is_file() {
        file.take(MOST as u64 + 1).read_to_end(&mut bytes)?;
    }
    bytes.truncate(MOST);
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// What the text says, and the version it needs. Of a format that is not known only the first two lines are.
fn parse(text: &str) -> Option<(Format, &str)> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let newest = number(lines.next()?.strip_prefix("postern spool, format ")?)?;
    let needs = lines.next()?.strip_prefix("needs postern ")?.strip_suffix(" or later")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-+~".contains(&byte);
    if needs.is_empty() || needs.len() > VERSION || !needs.bytes().all(plain) {
        return None;
    }
    let oldest = match lines.next() {
        _ if newest > KNOWN => newest,
        None => newest,
        Some(line) => number(line.strip_prefix("parts are still in format ")?).filter(|oldest| *oldest < newest)?,
    };
    (newest > KNOWN || lines.next().is_none()).then_some((Format { newest, oldest }, needs))
}

fn number(digits: &str) -> Option<u32> {
    digits.parse().ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_understood() {
        let line = "postern spool, format 2\nneeds postern 0.1.0 or later\n";
        let of = |text: &str| parse(text).map(|(format, needs)| (format.newest, format.oldest, needs.to_owned()));
        let needs = || "0.1.0".to_owned();
        assert_eq!(of(line), Some((2, 2, needs())));
        assert_eq!(of(&format!("{line}parts are still in format 1\n")), Some((2, 1, needs())));
        for bad in [
            "",
            "\n",
            "postern spool, format 2\n",
            "postern spool, format 0\nneeds postern 0.1.0 or later\n",
            "postern spool, format two\nneeds postern 0.1.0 or later\n",
            "postern spool, format 2\nneeds postern \x1b[2J or later\n",
            "postern spool, format 2\nneeds postern 0.1.0 or later",
        ] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
        for more in ["parts are still in format 2\n", "parts are still in format 0\n", "\n", "x\n"] {
            assert_eq!(of(&format!("{line}{more}")), None, "{more:?}");
        }
        // Whatever a later format says besides.
        let later = "postern spool, format 99\nneeds postern 12.0~rc1 or later\nand more\nof it\n";
        assert_eq!(of(later), Some((99, 99, "12.0~rc1".to_owned())));
    }

    #[test]
    fn the_words_say_what_to_install_and_that_nothing_happened() {
        let newer = FormatError::Newer { what: "x".to_owned(), needs: Some("9.1".to_owned()) };
        for part in ["version 9.1 or later", "nothing was changed", env!("CARGO_PKG_VERSION")] {
            assert!(newer.to_string().contains(part), "{newer}");
        }
    }
}
