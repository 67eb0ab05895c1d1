//! Lists too long for a packet travel as memory files.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, MemfdFlags, SealFlags};

/// A sealed memory file with these bytes.
///
/// # Errors
/// The kernel's.
pub fn of(bytes: &[u8]) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create("keeper", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(file);
    file.write_all(bytes)?;
    // It must not shrink under a reader that maps it.
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    io::Seek::rewind(&mut file)?;
    Ok(file.into())
}

/// What a peer's memory file holds, at most `most` bytes.
///
/// # Errors
/// Not a plain file, longer, or the kernel's.
pub fn read(file: OwnedFd, most: usize) -> io::Result<Vec<u8>> {
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("not a memory file"));
    }
    let mut file = std::fs::File::from(file);
    io::Seek::rewind(&mut file)?;
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most { Err(io::Error::other("memory file too long")) } else { Ok(bytes) }
}
