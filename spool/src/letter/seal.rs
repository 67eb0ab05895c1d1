//! Sealing a letter while it streams by: nothing of it is held but one piece of 64 KiB.

use std::io::{self, BufWriter, Write};
use std::iter;

use age::stream::StreamWriter;

use crate::keys::PublicKey;
use crate::limits;

/// Holds age's header and a small letter's only piece, so that these leave in one write; larger writes pass through.
const BUFFER: usize = 66 * 1024;
const PIECE: u64 = 64 * 1024;

/// A letter with its address and nothing in it yet: the work of the public keys is done, and nothing is written.
pub struct Addressed<W: Write>(StreamWriter<BufWriter<W>>);

impl<W: Write> Addressed<W> {
    /// Makes age's header.
    ///
    /// # Errors
    /// No randomness.
    pub fn new(to: &PublicKey, out: W) -> io::Result<Self> {
        let encryptor = age::Encryptor::with_recipients(iter::once(to.recipient() as &dyn age::Recipient))
            .map_err(io::Error::other)?;
        encryptor.wrap_output(BufWriter::with_capacity(BUFFER, out)).map(Self)
    }

    /// Puts the summary in. Then write the message.
    ///
    /// # Errors
    /// `out`'s; `InvalidInput` for a summary over [`limits::SUMMARY`].
    pub fn start(mut self, summary: &[u8]) -> io::Result<Sealer<W>> {
        let length = u32::try_from(summary.len()).ok().filter(|_| summary.len() <= limits::SUMMARY);
        let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "summary too long"))?;
        self.0.write_all(&length.to_le_bytes())?;
        self.0.write_all(summary)?;
        Ok(Sealer(self.0))
    }

    /// Puts everything in: the summary, and the message that lies in parts, in order.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn seal<'a>(self, summary: &[u8], message: impl IntoIterator<Item = &'a [u8]>) -> io::Result<W> {
        let mut sealer = self.start(summary)?;
        message.into_iter().try_for_each(|part| sealer.write_all(part))?;
        sealer.finish()
    }
}

impl<W: Write> std::fmt::Debug for Addressed<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Addressed(..)")
    }
}

/// Seals what is written to it. Without [`Self::finish`] the file is cut short, and opening it is an error.
pub struct Sealer<W: Write>(StreamWriter<BufWriter<W>>);

impl<W: Write> Sealer<W> {
    /// Begins a letter: age's header and the summary. Then write the message.
    ///
    /// # Errors
    /// As [`Addressed::start`].
    pub fn start(to: &PublicKey, summary: &[u8], out: W) -> io::Result<Self> {
        Addressed::new(to, out)?.start(summary)
    }

    /// Writes the last piece with its mark, and gives `out` back.
    ///
    /// # Errors
    /// `out`'s.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()?.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> std::fmt::Debug for Sealer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(..)")
    }
}

/// Seals a whole letter whose message lies in parts, in order.
///
/// # Errors
/// As [`Addressed::start`].
pub fn seal<'a, W: Write>(
    to: &PublicKey,
    summary: &[u8],
    message: impl IntoIterator<Item = &'a [u8]>,
    out: W,
) -> io::Result<W> {
    Addressed::new(to, out)?.seal(summary, message)
}

/// The most bytes an age file of ours has for so long a summary and message.
#[must_use]
pub const fn largest_sealed(summary: u64, message: u64) -> u64 {
    let plain = 4 + summary + message;
    limits::AGE_HEADER as u64 + plain + 16 * (plain / PIECE + 1)
}
