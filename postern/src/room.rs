//! Room on a disk: of blocks, and of files.

use std::fmt;
use std::path::Path;

use crate::failure::Failure;
use crate::size::Bytes;

/// Files that a first start makes: folders, keys, certificates, the first segments and slots are some thirty.
const FIRST_FILES: u64 = 64;
/// Bytes that it needs: the journal's reserve, and a block for each file on disks whose blocks are large.
const FIRST_BYTES: u64 = 4_000_000;

/// What a disk has left for this user.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Bytes free.
    pub free: u64,
    /// Bytes in all.
    pub size: u64,
    /// Files that can be made; `None` where they are not counted (btrfs).
    pub files: Option<u64>,
}

impl Room {
    /// Where that folder lies.
    ///
    /// # Errors
    /// The kernel's.
    pub fn at(folder: &Path) -> rustix::io::Result<Self> {
        let disk = rustix::fs::statvfs(folder)?;
        let files = if disk.f_files == 0 { None } else { Some(disk.f_favail) };
        Ok(Self { free: disk.f_bavail * disk.f_frsize, size: disk.f_blocks * disk.f_frsize, files })
    }

    fn is_enough_to_begin(self) -> bool {
        self.free >= FIRST_BYTES && self.files.is_none_or(|files| files >= FIRST_FILES)
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} are free", Bytes(self.free), Bytes(self.size))?;
        self.files.map_or(Ok(()), |files| write!(f, ", and {files} more files fit"))
    }
}

/// A first start makes all it needs or nothing: what begins half a house has a mailbox that nobody was told of.
///
/// # Errors
/// In words for the admin, where there is not room for it.
pub fn refuse_too_little(folder: &Path) -> Result<(), Failure> {
    let begun = std::fs::read_dir(folder.join("spool/mailboxes")).is_ok_and(|mut all| all.next().is_some());
    let place = if folder.exists() { folder } else { crate::data::above(folder) };
    match Room::at(place) {
        Ok(room) if !begun && !room.is_enough_to_begin() => Err(Failure::new(format!(
            "there is no room for a mail server where {} lies: {room}; to begin with it needs {}, and {FIRST_FILES} files. \
             Remove what else lies on that disk (`df -h` and `df -i` show what is left), or name another folder with --data DIR",
            folder.display(),
            Bytes(FIRST_BYTES)
        ))),
        // What cannot be looked at, whoever opens it says why.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_begins_where_there_is_room_for_files_and_for_bytes() {
        let enough = |free, files| Room { free, size: 1 << 40, files }.is_enough_to_begin();
        assert!(enough(4_000_000, Some(64)) && enough(4_000_000, None));
        assert!(!enough(3_999_999, Some(1_000)) && !enough(1 << 30, Some(63)));
        assert!(refuse_too_little(&std::env::temp_dir()).is_ok());
        assert!(refuse_too_little(Path::new("/nonexistent/nested/data")).is_ok(), "its own words tell that");
    }
}
