//! Whole files that a cut leaves old or new, never between: written beside, synced, renamed, the folder synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Ending of a file being written. What a cut leaves of it is overwritten by the next.
const BESIDE: &str = "new";

/// Replaces a file, or makes it (0600).
///
/// # Errors
/// The kernel's; then the old one is still there, unless only the last sync failed.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_added_extension(BESIDE);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written?;
    sync_folder_of(path)
}

/// Calls a file otherwise, in the same folder.
///
/// # Errors
/// The kernel's.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder_of(to)
}

/// Removes a file; one that is not there is no error.
///
/// # Errors
/// The kernel's.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder_of(path),
    }
}

/// Reads a file of at most `most` bytes; `None` when there is none.
///
/// # Errors
/// The kernel's, and `InvalidData` when it is longer.
pub fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is longer than {most} bytes")));
    }
    Ok(Some(bytes))
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A folder that goes with its test.
    pub(crate) struct Scratch(pub PathBuf);

    impl Scratch {
        pub(crate) fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("relay-link-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn old_or_new() {
        let scratch = Scratch::new("durable");
        let path = scratch.0.join("file");
        assert_eq!(read(&path, 10).unwrap(), None);
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(read(&path, 3).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(read(&path, 2).unwrap_err().kind(), io::ErrorKind::InvalidData);
        // Its place is taken by a folder: the old file stays.
        fs::create_dir(path.with_added_extension(BESIDE)).unwrap();
        assert!(replace(&path, b"three").is_err());
        assert_eq!(read(&path, 3).unwrap().as_deref(), Some(&b"two"[..]));
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(read(&path, 3).unwrap(), None);
    }
}
