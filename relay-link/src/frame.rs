//! Messages on a control connection: two bytes of length, then one whole postcard value of at most
//! [`limits::MESSAGE`] bytes. What does not decode to its last byte is the peer's fault, and ends the connection.

use std::fmt;
use std::io;

use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::limits;

/// The peer sent what no message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Longer than any message.
    TooLong,
    /// Bytes that mean nothing, or too many of them.
    Undecodable,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the peer sent a message that is too long",
            Self::Undecodable => "the peer sent a message that cannot be read: is it of another version?",
        })
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for io::Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(io::ErrorKind::InvalidData, malformed)
    }
}

/// Appends a message as it goes on the wire.
///
/// # Errors
/// [`Malformed::TooLong`]: a bug of the caller's, whose texts are bounded.
pub fn encode<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let body = postcard::to_stdvec(message).map_err(|_| Malformed::Undecodable)?;
    let length = u16::try_from(body.len()).ok().filter(|_| body.len() <= limits::MESSAGE);
    out.extend_from_slice(&length.ok_or(Malformed::TooLong)?.to_be_bytes());
    out.extend_from_slice(&body);
    Ok(())
}

/// Bytes that have come, on their way to being messages.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// Takes what has come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message, when it is whole.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Malformed> {
        let Some((length, rest)) = self.bytes.split_first_chunk::<2>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes(*length));
        if length > limits::MESSAGE {
            return Err(Malformed::TooLong);
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let (message, left) = postcard::take_from_bytes(body).map_err(|_| Malformed::Undecodable)?;
        if !left.is_empty() {
            return Err(Malformed::Undecodable);
        }
        self.bytes.drain(..2 + length);
        Ok(Some(message))
    }

    /// Reads until a message is whole; `None` when the peer has finished. Safe to drop and call again.
    ///
    /// # Errors
    /// The stream's, or [`Malformed`].
    pub async fn read<T, S>(&mut self, stream: &mut S) -> io::Result<Option<T>>
    where
        T: DeserializeOwned,
        S: AsyncRead + Unpin,
    {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            if stream.read_buf(&mut self.bytes).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// Writes one message and flushes.
///
/// # Errors
/// The stream's.
pub async fn write<T: Serialize, S: AsyncWrite + Unpin>(stream: &mut S, message: &T) -> io::Result<()> {
    let mut bytes = Vec::new();
    encode(message, &mut bytes)?;
    stream.write_all(&bytes).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn chunking_changes_nothing(messages: Vec<(u8, String)>, step in 1usize..50) {
            let mut wire = Vec::new();
            for message in &messages {
                encode(message, &mut wire).unwrap();
            }
            let (mut frames, mut read) = (Frames::default(), Vec::new());
            for chunk in wire.chunks(step) {
                frames.push(chunk);
                while let Some(message) = frames.take::<(u8, String)>().unwrap() {
                    read.push(message);
                }
            }
            prop_assert_eq!(read, messages);
        }

        #[test]
        fn nonsense_is_an_error_or_awaits_more(bytes: Vec<u8>) {
            let mut frames = Frames::default();
            frames.push(&bytes);
            while let Ok(Some(_)) = frames.take::<(u8, String)>() {}
        }
    }

    #[test]
    fn bounds() {
        let mut frames = Frames::default();
        frames.push(&[0xff, 0xff]);
        assert_eq!(frames.take::<u8>(), Err(Malformed::TooLong), "told before it is gathered");
        let mut frames = Frames::default();
        frames.push(&[0, 2, 1, 1]);
        assert_eq!(frames.take::<u8>(), Err(Malformed::Undecodable), "a byte too many");
        assert_eq!(encode(&vec![1u8; limits::MESSAGE], &mut Vec::new()), Err(Malformed::TooLong));
    }
}
