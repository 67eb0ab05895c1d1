//! Memory files: how long lists and identities travel beside packets.

use std::io;
use std::os::fd::OwnedFd;

use filter_sandbox::memory;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::limits;

/// Reads a whole memory file that may hold keys.
///
/// # Errors
/// The kernel's; `InvalidData` over [`limits::LIST`].
pub fn read(file: OwnedFd) -> io::Result<Zeroizing<Vec<u8>>> {
    bytes(file).map(Zeroizing::new)
}

/// Reads a whole memory file in which no key is.
///
/// # Errors
/// As [`read`].
pub fn bytes(file: OwnedFd) -> io::Result<Vec<u8>> {
    let size = usize::try_from(memory::size_of_file(&file)?).unwrap_or(usize::MAX);
    if size > limits::LIST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "memory file too long"));
    }
    memory::read_exactly(&file, size)
}

/// Decodes a postcard list, in which no key is.
///
/// # Errors
/// As [`read`]; `InvalidData` when it does not decode.
pub fn decode<T: DeserializeOwned>(file: OwnedFd) -> io::Result<T> {
    postcard::from_bytes(&bytes(file)?).map_err(io::Error::other)
}

/// Makes a memory file with a postcard list.
///
/// # Errors
/// The kernel's.
pub fn encode<T: Serialize>(list: &T) -> io::Result<OwnedFd> {
    let bytes = postcard::to_stdvec(list).map_err(io::Error::other)?;
    memory::file_of(&[&bytes])
}
