//! How a letter's age file travels to the keeper: through a pipe that ends in [`END`].
//!
//! The end of a pipe alone says nothing: it looks the same when the writer has finished and when it
//! has died half-way. So the writer puts sixteen bytes behind the age file, and the keeper keeps a
//! letter only if they came, and strips them. Ciphertext holds these bytes at its cut with a chance of
//! 2^-128. The keeper further requires that what came is as long as a letter of the announced size
//! can be.

use std::io::{self, Write};
use std::os::fd::OwnedFd;

/// Behind the last byte of the age file.
pub const END: [u8; 16] = *b"\0postern letter\n";

/// Most bytes a pipe may carry beyond the message itself: summary, age's header and tags, and [`END`].
pub const OVERHEAD: u64 = 2 * 1024 * 1024;

/// So many bytes are held back, so that all of a small letter, or the last piece of a large one, leaves together with
/// [`END`]: each write wakes the keeper. A whole piece is longer, and passes through.
const HELD: usize = 64 * 1024;

/// The writing end of one letter's pipe. Dropped before [`Self::finish`], the letter is not kept.
#[derive(Debug)]
pub struct LetterPipe {
    end: std::fs::File,
    holds: usize,
    /// Written, and not yet in the pipe.
    held: Vec<u8>,
}

impl LetterPipe {
    /// Makes a pipe: the end that goes to the keeper with the request, and the end to write to
    /// (blocking: write from a thread, concurrently with the call).
    ///
    /// # Errors
    /// The kernel's, when no descriptor is left.
    pub fn new() -> io::Result<(OwnedFd, Self)> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        // A larger pipe means fewer turns for both sides; refused, it stays as it is.
        let holds = rustix::pipe::fcntl_setpipe_size(&write, 256 * 1024);
        let holds = holds.or_else(|_| rustix::pipe::fcntl_getpipe_size(&write)).unwrap_or_default();
        Ok((read, Self { end: write.into(), holds, held: Vec::new() }))
    }

    /// Bytes that it takes, in writes of at least some KiB, before anybody reads.
    #[must_use]
    pub const fn holds(&self) -> usize {
        self.holds
    }

    /// Says that the age file is whole, and closes.
    ///
    /// # Errors
    /// The keeper has closed its end: the letter was refused.
    pub fn finish(mut self) -> io::Result<()> {
        self.held.extend_from_slice(&END);
        self.end.write_all(&self.held)
    }
}

impl Write for LetterPipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.held.len() + bytes.len() > HELD {
            self.flush()?;
            if bytes.len() > HELD {
                return self.end.write(bytes);
            }
        }
        self.held.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.end.write_all(&self.held)?;
        self.held.clear();
        Ok(())
    }
}
