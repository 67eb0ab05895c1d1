//! The bytes of a letter on their way to a far server, who may take its time: a large letter lies sealed in its file
//! meanwhile, and only one piece of it in memory.

use std::borrow::Cow;
use std::fs::File;
use std::io;

use spool::letter::Opened;

/// Bytes written at once; as many as a letter is sealed in.
const PIECE: usize = 64 * 1024;

/// Where a letter is.
pub enum Text<'a> {
    /// In memory.
    Here(&'a [u8]),
    /// In its file.
    Sealed(&'a mut Opened<File>),
}

impl Text<'_> {
    fn length(&self) -> u64 {
        match self {
            Self::Here(bytes) => bytes.len() as u64,
            Self::Sealed(opened) => opened.size(),
        }
    }
}

/// What is put in front of a letter, and the letter, from the beginning.
pub struct Pieces<'a> {
    before: &'a [u8],
    text: Text<'a>,
    at: u64,
}

impl std::fmt::Debug for Pieces<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pieces").field("size", &self.size()).field("at", &self.at).finish_non_exhaustive()
    }
}

impl<'a> Pieces<'a> {
    /// All of it.
    #[must_use]
    pub const fn new(before: &'a [u8], text: Text<'a>) -> Self {
        Self { before, text, at: 0 }
    }

    /// Nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self::new(&[], Text::Here(&[]))
    }

    /// How many bytes there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.before.len() as u64 + self.text.length()
    }

    /// Whether all were given out.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.at == self.size()
    }

    /// The next piece.
    ///
    /// # Errors
    /// The disk's, or the letter is damaged there: what was sent of it must not be ended.
    pub fn piece(&mut self) -> io::Result<Option<Cow<'a, [u8]>>> {
        let first = usize::try_from(self.at).ok().and_then(|at| self.before.get(at..)).filter(|rest| !rest.is_empty());
        let piece = match first {
            Some(rest) => Cow::Borrowed(head(rest)),
            None => self.of_the_text(self.at - self.before.len() as u64)?,
        };
        self.at += piece.len() as u64;
        Ok((!piece.is_empty()).then_some(piece))
    }

    fn of_the_text(&mut self, at: u64) -> io::Result<Cow<'a, [u8]>> {
        match &mut self.text {
            Text::Here(bytes) => {
                Ok(Cow::Borrowed(head(bytes.get(usize::try_from(at).unwrap_or(usize::MAX)..).unwrap_or_default())))
            }
            Text::Sealed(opened) => {
                let length = opened.size().saturating_sub(at).min(PIECE as u64);
                let piece = tokio::task::block_in_place(|| opened.read_range(at, length));
                piece.map(Cow::Owned).map_err(|error| io::Error::other(error.to_string()))
            }
        }
    }
}

fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(PIECE)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_in_order() {
        let text: Vec<u8> = (0..PIECE * 2 + 5).map(|n| n.to_le_bytes()[0]).collect();
        for before in [&b""[..], b"DKIM-Signature: x\r\n"] {
            let mut pieces = Pieces::new(before, Text::Here(&text));
            let mut all = Vec::new();
            while let Some(piece) = pieces.piece().unwrap() {
                assert!(!pieces.is_at_end() || all.len() + piece.len() == pieces.size() as usize);
                all.extend_from_slice(&piece);
            }
            assert!(pieces.is_at_end() && all == [before, &text].concat());
        }
        assert!(Pieces::none().piece().unwrap().is_none());
    }
}
