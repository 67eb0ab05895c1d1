//! A letter's file as age wants to read it: positioned reads only, and a bound on the header.

use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

/// Bytes that can be read at any place. Files are read with `pread`: several sessions may share one description.
pub trait ReadAt {
    /// Reads up to `buffer.len()` bytes from `offset`; 0 only at the end.
    ///
    /// # Errors
    /// The kernel's.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// How long it is. A letter never changes.
    ///
    /// # Errors
    /// The kernel's.
    fn length(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }
}

impl ReadAt for &[u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        rest.read(buffer)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_slice().read_at(buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// Fills the buffer as far as the source goes.
pub(super) fn fill(source: &impl ReadAt, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The file from the head that was read already. As [`BufRead`] it ends with the head: age reads its header that
/// way, line by line, and would otherwise read a damaged file whole in search of a line's end.
pub(super) struct Source<S> {
    inner: S,
    head: Vec<u8>,
    length: u64,
    at: u64,
}

impl<S: ReadAt> Source<S> {
    /// `head` is the beginning of `inner`, which is `length` long; reading starts at `at`.
    pub(super) const fn new(inner: S, head: Vec<u8>, length: u64, at: u64) -> Self {
        Self { inner, head, length, at }
    }

    fn in_head(&self) -> &[u8] {
        usize::try_from(self.at).ok().and_then(|at| self.head.get(at..)).unwrap_or_default()
    }
}

impl<S: ReadAt> Read for Source<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut head = self.in_head();
        let count = if !head.is_empty() {
            head.read(buffer)?
        } else if self.at >= self.length {
            0 // Known without asking the kernel.
        } else {
            self.inner.read_at(buffer, self.at)?
        };
        self.at += count as u64;
        Ok(count)
    }
}

impl<S: ReadAt> BufRead for Source<S> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.in_head())
    }

    fn consume(&mut self, count: usize) {
        self.at += count as u64;
    }
}

impl<S: ReadAt> Seek for Source<S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
        };
        self.at = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
