//! The SHA-256 of a whole letter file, frame included: the journal's word on what lies on disk.

use std::io::{self, Write};

use super::ReadAt;

/// SHA-256 of a letter's file.
pub type Digest = [u8; 32];

/// Hashes what passes through it to `W`, so that writing a letter and knowing its digest is one pass.
pub struct Digesting<W> {
    inner: W,
    context: ring::digest::Context,
    length: u64,
}

impl<W: Write> Digesting<W> {
    /// Begins.
    pub fn new(inner: W) -> Self {
        Self { inner, context: ring::digest::Context::new(&ring::digest::SHA256), length: 0 }
    }

    /// What it writes to.
    pub const fn get_mut(&mut self) -> &mut W {
        &mut self.inner
    }

    /// Gives the writer back with the digest and the number of bytes that went to it.
    pub fn finish(self) -> (W, Digest, u64) {
        (self.inner, array(self.context.finish()), self.length)
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.context.update(bytes.get(..count).unwrap_or(bytes));
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W> std::fmt::Debug for Digesting<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Digesting").field("length", &self.length).finish_non_exhaustive()
    }
}

/// The digest of a file on disk.
///
/// # Errors
/// The kernel's.
pub fn digest(file: &impl ReadAt) -> io::Result<Digest> {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let (mut buffer, mut at) = (vec![0; 64 * 1024], 0);
    loop {
        match super::source::fill(file, &mut buffer, at)? {
            0 => return Ok(array(context.finish())),
            count => {
                context.update(&buffer[..count]);
                at += count as u64;
            }
        }
    }
}

fn array(digest: ring::digest::Digest) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}
