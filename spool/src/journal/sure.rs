//! How far the journal is known to be on the disk, when a sync has failed: the kernel then takes what it could not write for
//! written, and shows it to whoever reads. A keeper whose disk fails leaves this to the next one, in a memory file that `up`
//! gives to each and does not read itself.
//!
//! ```
//! use spool::journal::sure::{Left, Sure};
//! let left = Left::new()?;
//! assert_eq!(left.read(), None);
//! left.write(Some(Sure { segment: 7, bytes: 4_096 }))?;
//! assert_eq!(left.read(), Some(Sure { segment: 7, bytes: 4_096 }));
//! assert_eq!([6, 7, 8].map(|segment| left.read().map_or(0, |sure| sure.bytes_of(segment))), [u64::MAX, 4_096, 0]);
//! left.write(None)?;
//! assert_eq!(left.read(), None);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags};

/// The last of the journal that is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sure {
    /// Its segment, from 1.
    pub segment: u64,
    /// Bytes of that.
    pub bytes: u64,
}

impl Sure {
    /// How many bytes of a segment may be believed.
    #[must_use]
    pub const fn bytes_of(self, segment: u64) -> u64 {
        if segment < self.segment {
            u64::MAX
        } else if segment == self.segment {
            self.bytes
        } else {
            0
        }
    }
}

/// Bytes of the file: both numbers.
const LENGTH: usize = 16;

/// What one keeper leaves to the next.
#[derive(Debug)]
pub struct Left(File);

impl Left {
    /// Nothing yet. Nobody can make it larger.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(rustix::fs::memfd_create("journal-left", flags)?);
        file.set_len(LENGTH as u64)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Self(file))
    }

    /// What was left, if anything.
    #[must_use]
    pub fn read(&self) -> Option<Sure> {
        let mut bytes = [0; LENGTH];
        self.0.read_exact_at(&mut bytes, 0).ok()?;
        let (segment, length) = bytes.split_first_chunk()?;
        let sure = Sure { segment: u64::from_le_bytes(*segment), bytes: u64::from_le_bytes(length.try_into().ok()?) };
        (sure.segment > 0).then_some(sure)
    }

    /// Leaves that.
    ///
    /// # Errors
    /// The kernel's.
    pub fn write(&self, sure: Option<Sure>) -> io::Result<()> {
        let Sure { segment, bytes } = sure.unwrap_or(Sure { segment: 0, bytes: 0 });
        let bytes = [segment.to_le_bytes(), bytes.to_le_bytes()].concat();
        self.0.write_all_at(&bytes, 0)
    }
}

impl From<OwnedFd> for Left {
    fn from(file: OwnedFd) -> Self {
        Self(file.into())
    }
}

impl From<Left> for OwnedFd {
    fn from(left: Left) -> Self {
        left.0.into()
    }
}
